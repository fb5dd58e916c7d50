//! By what time certificates are judged: a box that woke up in 1970, clocks that jumped, time servers that lie.

use super::*;
use wire::ClockState;

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// A box's clock, what it thinks of it, and its floor.
struct Clock {
    time: TimeSource,
    floor: TimeFloor,
}

impl Clock {
    fn at(utc: UtcMicros, floor: Option<UtcMicros>) -> Self {
        Self {
            time: TimeSource::new(Arc::new(SimClocks::new(utc))),
            floor: TimeFloor::new(floor),
        }
    }

    fn synced(self, offset_us: i64) -> Self {
        self.time.set_stamp(ClockStamp {
            state: ClockState::Synced,
            offset_us,
            error_us: Some(1_000),
        });
        self
    }

    fn verifier(&self) -> FlooredTime {
        FlooredTime::new(self.time.clone(), self.floor.clone())
    }
}

/// What a device with this clock makes of a receiver whose certificate is good in these years.
async fn meet(clock: &FlooredTime, server: (i32, i32)) -> Result<UtcMicros, HttpsError> {
    let ca = Ca::new();
    let leaf = ca.leaf(&["127.0.0.1"], server);
    let receiver = Receiver::new(record_key().verifying_key(), ca.server(&leaf, Some(&ca)));
    let listening = receiver.listen_https("127.0.0.1:0").await;
    let device = ca.leaf(&["device"], LONG_VALID);
    let enrollment = enrollment(&ca, &device, listening.address.port(), 1);
    let config = tls::device_config(&enrollment, clock.clone(), tls::HTTP_ALPN).unwrap();
    DeviceClient::new(config, enrollment.device_url)
        .unwrap()
        .time()
        .await
}

fn is_refused(outcome: &Result<UtcMicros, HttpsError>) -> bool {
    matches!(outcome, Err(HttpsError::ReceiverRefused { .. }))
}

#[tokio::test]
async fn fault_30_a_box_in_1970_judges_by_its_floor() {
    let woken = Clock::at(UtcMicros(0), None);
    let verifier = woken.verifier();
    assert_eq!(meet(&verifier, LONG_VALID).await, Ok(TIME));
    // Truly expired, or not valid yet as far as the floor knows.
    let expired = meet(&verifier, (2020, 2025)).await;
    assert!(is_refused(&expired), "{expired:?}");
    let future = meet(&verifier, (2028, 2029)).await;
    assert!(is_refused(&future), "{future:?}");
    assert!(
        future.unwrap_err().to_string().contains("not valid yet"),
        "the words name it"
    );
    // Once time servers, or a floor that rose, say that it is 2028, it is valid; and 2027 is over.
    let in_2028 = UtcMicros(1_840_000_000_000_000);
    for clock in [
        Clock::at(UtcMicros(0), None).synced(in_2028.0),
        Clock::at(UtcMicros(0), Some(in_2028)),
    ] {
        assert_eq!(meet(&clock.verifier(), (2028, 2029)).await, Ok(TIME));
        let over = meet(&clock.verifier(), (2026, 2027)).await;
        assert!(is_refused(&over), "{over:?}");
    }
}

#[tokio::test]
async fn fault_30_a_clock_set_back_or_ahead_changes_nothing() {
    let years_400_days = 400 * DAY_US;
    // Ahead, and nobody has confirmed it: what has expired by it alone has not.
    let ahead = Clock::at(TIME.plus_us(years_400_days), Some(TIME)).verifier();
    assert_eq!(meet(&ahead, (2026, 2026)).await, Ok(TIME));
    let expired = meet(&ahead, (2020, 2025)).await;
    assert!(is_refused(&expired), "{expired:?}");
    // Back: the floor holds.
    let back = Clock::at(TIME.plus_us(-years_400_days), Some(TIME)).verifier();
    let expired = meet(&back, (2020, 2025)).await;
    assert!(is_refused(&expired), "{expired:?}");
    // A majority of liars: refused as long as they are believed, and the floor did not rise with them.
    let lied_to = Clock::at(TIME, Some(TIME)).synced(years_400_days);
    let refused = meet(&lied_to.verifier(), (2026, 2026)).await;
    assert!(is_refused(&refused), "{refused:?}");
    assert_eq!(lied_to.floor.get(), TIME);
    let honest_again = lied_to.synced(0);
    assert_eq!(meet(&honest_again.verifier(), (2026, 2026)).await, Ok(TIME));
    // Unless a verified receiver was heard since the start: then a jump is seen through.
    let jumped = Clock::at(TIME, Some(TIME)).synced(years_400_days);
    let verifier = jumped.verifier();
    verifier.heard(TIME);
    assert_eq!(meet(&verifier, (2026, 2026)).await, Ok(TIME));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_30_the_floor_rises_by_a_verified_receiver_only() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let mut foreign = bench.enrollment(mqtt.address.port());
    foreign.ca_pem = Ca::new().pem();
    let running = bench.start_with(foreign);
    let before = bench.floor.get();
    eventually("the receiver is refused", || {
        let error = running.status().last_error.unwrap_or_default();
        error.contains("cannot be trusted")
    })
    .await;
    assert_eq!(bench.floor.get(), before);
    assert!(
        running
            .uplink
            .adopt(bench.enrollment(mqtt.address.port()))
            .unwrap()
    );
    bench.put("delivered").await;
    bench.until_delivered().await;
    assert_eq!(bench.floor.get(), TIME);
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_30_a_device_whose_own_certificate_has_expired_says_so_and_keeps_its_records() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let leaf = bench.ca.leaf(&["device"], (2020, 2025));
    let expired = Enrollment {
        certificate_pem: leaf.certificate_pem.clone(),
        tls_key_pem: leaf.key.serialize_pem(),
        ..bench.enrollment(mqtt.address.port())
    };
    bench.put("kept").await;
    let running = bench.start_with(expired);
    eventually("it says so", || {
        let error = running.status().last_error.unwrap_or_default();
        error.contains("has expired") && error.contains("enroll --again")
    })
    .await;
    assert!(running.status().is_refused);
    assert_eq!(bench.spool.stats().pending_records, 1);
    // The way back: it is enrolled again, and goes on without a restart.
    let again = bench.enrollment(mqtt.address.port());
    assert!(running.uplink.adopt(again).unwrap());
    bench.until_delivered().await;
    assert!(!running.status().is_refused);
    bench.stop.cancel();
}
