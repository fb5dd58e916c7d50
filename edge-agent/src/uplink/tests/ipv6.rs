//! A receiver that is known by an IPv6 address: in brackets where a port follows, without them in certificates, and never
//! in SNI, which takes names alone (RFC 6066, section 3).

use super::*;

const ANY_PORT: &str = "[::1]:0";

#[tokio::test(flavor = "multi_thread")]
async fn records_and_pictures_travel_to_an_ipv6_address_over_either_carriage() {
    let bench = Bench::new().await;
    let https = bench.receiver.listen_https(ANY_PORT).await;
    let mqtt = bench.receiver.listen_mqtt(ANY_PORT).await;
    let enrollment = Enrollment {
        device_url: Url::parse(&format!("https://[::1]:{}", https.address.port())).unwrap(),
        mqtt_host: "::1".into(),
        ..bench.enrollment(mqtt.address.port())
    };
    let running = bench.start_with(enrollment);
    running.until_carriage(Carriage::Mqtt).await;
    bench.put_picture(1, 3_000).await;
    bench.put("by mqtt").await;
    bench.until_delivered().await;

    let closed = mqtt.address;
    drop(mqtt);
    running.until_carriage(Carriage::Https).await;
    bench.put("by https").await;
    bench.until_delivered().await;
    {
        let taken = bench.receiver.lock();
        assert_eq!((taken.records.len(), taken.blobs.len()), (3, 1));
        assert_eq!(taken.names_asked_for, [""; 0]);
    }
    let error = running.status().last_error.unwrap();
    assert!(error.contains(&closed.to_string()), "{error}");
    bench.stop.cancel();
}

#[tokio::test]
async fn a_device_enrolls_at_an_ipv6_address_that_stands_in_the_certificate() {
    let ca = Ca::new();
    let fingerprint = Fingerprint::of_certificate(&ca.der());
    for (names, is_trusted) in [(["::1"], true), (["localhost"], false)] {
        let leaf = ca.leaf(&names, LONG_VALID);
        let error = try_enroll_at(ANY_PORT, "[::1]", &ca, &leaf, fingerprint).await;
        let reached = matches!(error, HttpsError::Refused { status: 404, .. });
        let refused = matches!(error, HttpsError::ReceiverRefused { .. });
        assert_eq!((reached, refused), (is_trusted, !is_trusted), "{error}");
    }
}
