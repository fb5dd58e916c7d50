//! A certificate that is renewed while records flow: rightly, with every wrong answer, and with nobody answering.

use super::receiver::Renewer;
use super::*;
use wire::renew::{RenewRequest, RenewResponse};

type Answer = Box<dyn FnOnce(RenewRequest) -> RenewResponse + Send>;

impl Bench {
    /// Enrolled on disk too, as `enroll` leaves it.
    fn enrolled(&self, mqtt_port: u16) -> Running {
        let enrollment = self.enrollment(mqtt_port);
        enrollment.save(self.dir.path()).unwrap();
        self.start_with(enrollment)
    }

    fn on_disk(&self) -> Enrollment {
        Enrollment::load(self.dir.path()).unwrap().unwrap()
    }

    fn is_something_beside(&self) -> bool {
        self.dir
            .path()
            .join("identity/enrollment.next.json")
            .exists()
    }

    /// The receiver's next answer to a request for a certificate.
    fn answer(&self, answer: impl FnOnce(RenewRequest) -> RenewResponse + Send + 'static) {
        let renewer = Renewer(Box::new(answer));
        self.receiver.lock().renewals.push_back(renewer);
    }

    fn good_answer(&self) {
        let ca = self.ca.clone();
        self.answer(move |request| RenewResponse {
            certificate_pem: ca.sign(&request.csr_pem, DEVICE, LONG_VALID),
            ca_pem: ca.pem(),
            receiver_time_us: TIME,
        });
    }

    fn certificate_audits(&self) -> Vec<String> {
        let taken = self.receiver.lock();
        let bodies = taken
            .records
            .values()
            .map(|json| Record::from_json(json).unwrap().body);
        bodies
            .filter_map(|body| match body {
                Body::Audit(audit) if audit.action == "certificate.renew" => Some(audit.outcome),
                _ => None,
            })
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_32_a_renewed_certificate_is_taken_up_while_records_flow() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let running = bench.enrolled(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    let before = bench.on_disk();
    bench.good_answer();
    let (spool, records) = (bench.spool.clone(), 300);
    let audits: Vec<_> = (0..records).map(|n| bench.audit(&format!("{n}"))).collect();
    let feeding = tokio::spawn(async move {
        for audit in audits {
            spool.put_durable(audit).await.unwrap();
        }
    });
    let words = running.uplink.renewal().now(None).await.unwrap();
    assert!(words.contains("2100"), "{words}");
    feeding.await.unwrap();
    eventually("it connects with the new one", || {
        bench.receiver.lock().connects == 2
    })
    .await;
    bench.until_delivered().await;
    assert_eq!(bench.receiver.lock().records.len(), records + 1);
    assert_eq!(bench.certificate_audits(), ["done"]);
    let after = bench.on_disk();
    assert_eq!(after.replaces, Some(before.fingerprint()));
    assert_ne!(
        after.tls_key_pem, before.tls_key_pem,
        "a new key every time"
    );
    assert!(!bench.is_something_beside());
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_32_a_wrong_certificate_in_the_answer_leaves_the_old_one_in_use() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let running = bench.enrolled(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    let before = bench.on_disk().fingerprint();
    let stranger = Arc::new(Ca::new());
    let other_key = bench.ca.leaf(&["device"], LONG_VALID).certificate_pem;
    let good_ca = bench.ca.clone();
    let answer = move |certificate_pem: String, ca_pem: String| RenewResponse {
        certificate_pem,
        ca_pem,
        receiver_time_us: TIME,
    };
    let sign = |ca: &Arc<Ca>, device: DeviceId, valid: (i32, i32)| {
        let (ca, answered_ca) = (ca.clone(), good_ca.pem());
        Box::new(move |request: RenewRequest| {
            answer(ca.sign(&request.csr_pem, device, valid), answered_ca)
        }) as Answer
    };
    let ca = bench.ca.clone();
    let (own_pem, strange) = (ca.pem(), stranger.clone());
    let wrong: Vec<(&str, Answer)> = vec![
        (
            "garbage",
            Box::new({
                let ca_pem = own_pem.clone();
                move |_| answer("garbage".into(), ca_pem)
            }),
        ),
        ("another key", Box::new(move |_| answer(other_key, own_pem))),
        (
            "another device",
            sign(&ca, DeviceId(Uuid::from_u128(8)), LONG_VALID),
        ),
        ("another CA", sign(&stranger, DEVICE, LONG_VALID)),
        ("expired", sign(&ca, DEVICE, (2020, 2021))),
        ("not yet valid", sign(&ca, DEVICE, (2090, 2100))),
        // Consistent in itself, but the receiver does not take it: the one real use tells.
        (
            "another CA throughout",
            Box::new(move |request| {
                answer(
                    strange.sign(&request.csr_pem, DEVICE, LONG_VALID),
                    strange.pem(),
                )
            }),
        ),
    ];
    for (what, renewer) in wrong {
        bench.answer(renewer);
        let refused = running.uplink.renewal().now(None).await;
        assert!(refused.is_err(), "{what}: {refused:?}");
        assert_eq!(bench.on_disk().fingerprint(), before, "{what}");
        assert!(!bench.is_something_beside(), "{what}");
    }
    bench.put("still delivered").await;
    bench.until_delivered().await;
    assert_eq!(
        bench.receiver.lock().connects,
        1,
        "over the same connection"
    );
    assert_eq!(
        bench.certificate_audits(),
        ["failed"],
        "once, not seven times"
    );
    bench.good_answer();
    running.uplink.renewal().now(None).await.unwrap();
    assert_ne!(bench.on_disk().fingerprint(), before);
    bench.stop.cancel();
}

/// The receiver has seen the new certificate then, and counts on it: the box must not go back to the old one.
#[tokio::test(flavor = "multi_thread")]
async fn fault_32_a_certificate_whose_first_use_is_answered_by_an_excuse_is_kept_and_used_again() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let running = bench.enrolled(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    let before = bench.on_disk().fingerprint();
    let (ca, receiver) = (bench.ca.clone(), bench.receiver.clone());
    bench.answer(move |request| {
        receiver.lock().is_busy = true;
        RenewResponse {
            certificate_pem: ca.sign(&request.csr_pem, DEVICE, LONG_VALID),
            ca_pem: ca.pem(),
            receiver_time_us: TIME,
        }
    });
    let refused = running.uplink.renewal().now(None).await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    assert_eq!(bench.on_disk().fingerprint(), before);
    assert!(bench.is_something_beside());
    // There is no second answer to a request: it must be the one it has.
    bench.receiver.lock().is_busy = false;
    running.uplink.renewal().now(None).await.unwrap();
    assert_ne!(bench.on_disk().fingerprint(), before);
    assert!(!bench.is_something_beside());
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_32_what_lies_beside_after_a_power_cut_is_used_and_swapped_in_at_the_next_start() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let before = bench.enrollment(mqtt.address.port());
    before.save(bench.dir.path()).unwrap();
    let leaf = bench.ca.leaf(&["device"], LONG_VALID);
    let next = Enrollment {
        certificate_pem: leaf.certificate_pem.clone(),
        tls_key_pem: leaf.key.serialize_pem(),
        replaces: Some(before.fingerprint()),
        ..before.clone()
    };
    crate::identity::Beside::new(bench.dir.path())
        .put(&next)
        .unwrap();
    let running = bench.start_with(before);
    eventually("it is swapped in", || {
        bench.on_disk().fingerprint() == next.fingerprint()
    })
    .await;
    // The word of it is put once it is done, not before.
    eventually("it is told", || bench.certificate_audits() == ["done"]).await;
    drop(running);
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_32_with_nobody_to_sign_the_box_goes_on_and_tries_again() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let mut enrollment = bench.enrollment(mqtt.address.port());
    // Half of its life is over, and more: due by the receiver's clock.
    let leaf = bench.ca.leaf(&["device"], (2020, 2028));
    enrollment.certificate_pem = leaf.certificate_pem.clone();
    enrollment.tls_key_pem = leaf.key.serialize_pem();
    enrollment.save(bench.dir.path()).unwrap();
    let before = enrollment.fingerprint();
    let running = bench.start_with(enrollment);
    eventually("it has tried in vain", || {
        bench.certificate_audits() == ["failed"]
    })
    .await;
    assert_eq!(running.status().carriage, Carriage::Mqtt);
    assert_eq!(bench.on_disk().fingerprint(), before);
    bench.good_answer();
    eventually("it has succeeded by itself", || {
        bench.on_disk().fingerprint() != before
    })
    .await;
    bench.until_delivered().await;
    bench.stop.cancel();
}
