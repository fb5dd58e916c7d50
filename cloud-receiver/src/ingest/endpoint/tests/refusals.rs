//! Whoever is not entitled, or does not keep to the protocol, is told why and closed.

use super::bench::{Bench, Device, NOW, within};
use super::line::{
    CONNACK, Line, PINGRESP, PUBACK, SUBACK, connect, connect_with, pingreq, publish, publish_raw,
    subscribe, topic,
};
use crate::store::Administration;
use mqtt_protocol_core::mqtt::packet::{
    self as mqtt, AuthenticationMethod, Properties, Property, v5_0,
};
use wire::topic::Channel;

#[tokio::test]
async fn fault_33_without_a_certificate_nothing_is_answered() {
    let bench = Bench::start().await;
    // TLS 1.3 tells a client only afterwards that its handshake failed.
    if let Ok(mut line) = Line::open(&bench, bench.tls_without_certificate()).await {
        line.send(&connect("someone", 60)).await;
        assert_eq!(line.next().await, None);
    }
}

#[tokio::test]
async fn fault_33_only_a_device_in_service_under_its_own_name_is_let_in() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let revoked = bench.device(2).await;
    bench.store.inner.revoke(revoked.id, NOW).await.unwrap();
    let stranger = bench.stranger(3);
    let id = |device: &Device| device.id.to_string();
    let none = Properties::new();
    let method = vec![AuthenticationMethod::new("SCRAM-SHA-256").unwrap().into()];
    let own_will = topic(device.id, Channel::UpOffline);
    let foreign_will = topic(revoked.id, Channel::UpOffline);
    let other_will = topic(device.id, Channel::UpBatch);
    let v3_1_1 = b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02ab".to_vec();
    let cases = [
        (
            "own will",
            &device,
            connect_with(&id(&device), Some(&own_will), none.clone()),
            0,
        ),
        ("unknown", &stranger, connect(&id(&stranger), 60), 0x87),
        ("revoked", &revoked, connect(&id(&revoked), 60), 0x87),
        ("another's name", &device, connect(&id(&revoked), 60), 0x85),
        ("no name", &device, connect("", 60), 0x85),
        (
            "another's will",
            &device,
            connect_with(&id(&device), Some(&foreign_will), none.clone()),
            0x87,
        ),
        (
            "a will that is no will",
            &device,
            connect_with(&id(&device), Some(&other_will), none),
            0x87,
        ),
        (
            "more authentication",
            &device,
            connect_with(&id(&device), None, method),
            0x8C,
        ),
        ("MQTT 3.1.1", &device, v3_1_1, 0x84),
    ];
    for (what, device, greeting, expected) in cases {
        let mut line = Line::open(&bench, device.tls.clone()).await.unwrap();
        line.send(&greeting).await;
        let connack = line.packet().await;
        assert_eq!(
            (connack.kind(), &connack.body[..2]),
            (CONNACK, &[0, expected][..]),
            "{what}"
        );
        if expected != 0 {
            assert_eq!(line.next().await, None, "{what}");
        }
    }
}

#[tokio::test]
async fn connack_says_what_is_offered() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let mut line = Line::open(&bench, device.tls.clone()).await.unwrap();
    line.send(&connect(&device.id.to_string(), 0)).await;
    let connack = line.packet().await;
    let (connack, _) = v5_0::Connack::parse(&connack.body).unwrap();
    assert!(!connack.session_present());
    let offered: Vec<Property> = vec![
        mqtt::SessionExpiryInterval::new(0).unwrap().into(),
        mqtt::MaximumQos::new(1).unwrap().into(),
        mqtt::RetainAvailable::new(0).unwrap().into(),
        mqtt::TopicAliasMaximum::new(0).unwrap().into(),
        mqtt::WildcardSubscriptionAvailable::new(0).unwrap().into(),
        mqtt::SubscriptionIdentifierAvailable::new(0)
            .unwrap()
            .into(),
        mqtt::SharedSubscriptionAvailable::new(0).unwrap().into(),
        // Since the device asked for none.
        mqtt::ServerKeepAlive::new(300).unwrap().into(),
        mqtt::MaximumPacketSize::new(257 * 1024).unwrap().into(),
        mqtt::ReceiveMaximum::new(64).unwrap().into(),
    ];
    assert_eq!(connack.props(), &offered);
}

#[tokio::test]
async fn before_connect_nothing_is_answered() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let batch = topic(device.id, Channel::UpBatch);
    let offline = topic(device.id, Channel::DownReceipt);
    let cases = [
        ("PUBLISH", publish(&batch, 1, b"x")),
        ("PUBLISH, QoS 0", publish_raw(0, &batch, None, &[], b"x")),
        ("SUBSCRIBE", subscribe(1, &[&offline])),
        ("PINGREQ", pingreq()),
        ("DISCONNECT", vec![0xE0, 0]),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a huge packet", vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("a CONNECT cut short", vec![0x10, 3, 0, 4, b'M']),
    ];
    for (what, bytes) in cases {
        let mut line = Line::open(&bench, device.tls.clone()).await.unwrap();
        line.send(&bytes).await;
        match line.next().await {
            None => {}
            // Where it was meant as a CONNECT, saying no is right too.
            Some(packet) => {
                assert_eq!(packet.kind(), CONNACK, "{what}");
                assert!(packet.body[1] >= 0x80, "{what}");
                assert_eq!(line.next().await, None, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_how_and_closed() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let other = bench.device(2).await;
    let batch = topic(device.id, Channel::UpBatch);
    let foreign = topic(other.id, Channel::UpBatch);
    let down = topic(device.id, Channel::DownReceipt);
    let subscribe_0 = {
        let mut bytes = subscribe(9, &[&down]);
        bytes[2..4].fill(0);
        bytes
    };
    let cases = [
        (
            "a second CONNECT",
            connect(&device.id.to_string(), 60),
            0x82,
        ),
        ("packet id 0", publish(&batch, 0, b"x"), 0x82),
        ("SUBSCRIBE with packet id 0", subscribe_0, 0x82),
        (
            "QoS 2",
            publish_raw(0b0100, &batch, Some(1), &[], b"x"),
            0x9B,
        ),
        (
            "QoS 2 with packet id 0",
            publish_raw(0b0100, &batch, Some(0), &[], b"x").repeat(2),
            0x9B,
        ),
        (
            "QoS 3",
            publish_raw(0b0110, &batch, Some(1), &[], b"x"),
            0x81,
        ),
        (
            "retained",
            publish_raw(0b0011, &batch, Some(1), &[], b"x"),
            0x9A,
        ),
        (
            "a wildcard",
            publish(&batch.replace("batch", "+"), 1, b"x"),
            0x90,
        ),
        ("everything", publish("#", 1, b"x"), 0x90),
        (
            "a topic alias",
            publish_raw(2, &batch, Some(1), &[0x23, 0, 1], b"x"),
            0x94,
        ),
        (
            "an alias alone",
            publish_raw(2, "", Some(1), &[0x23, 0, 1], b"x"),
            0x94,
        ),
        ("no topic", publish("", 1, b"x"), 0x94),
        ("a huge packet", vec![0x32, 0xFF, 0xFF, 0xFF, 0x7F], 0x95),
        ("one byte too many", vec![0x32, 0xFD, 0x87, 0x10], 0x95),
        (
            "a length that never ends",
            vec![0x32, 0xFF, 0xFF, 0xFF, 0xFF],
            0x81,
        ),
        ("packet type 0", vec![0x00, 0], 0x81),
        ("a packet only servers send", vec![0xD0, 0], 0x82),
        ("PUBACK for nothing", vec![0x40, 2, 0, 1], 0x82),
        ("PUBREL for nothing", vec![0x62, 2, 0, 1], 0x82),
        ("AUTH", vec![0xF0, 0], 0x82),
        (
            "QoS 0 to a foreign topic",
            publish_raw(0, &foreign, None, &[], b"x"),
            0x87,
        ),
        (
            "QoS 0 to an own down topic",
            publish_raw(0, &down, None, &[], b"x"),
            0x87,
        ),
    ];
    for (what, bytes, expected) in cases {
        let mut line = Line::greeted(&bench, &device).await;
        line.send(&bytes).await;
        let packet = line.packet().await;
        let told = (packet.first, packet.body.as_slice());
        assert_eq!(told, (0xE0, &[expected, 0][..]), "{what}");
        assert_eq!(line.next().await, None, "{what}");
    }
}

#[tokio::test]
async fn fault_33_foreign_topics_are_refused_one_by_one() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let other = bench.device(2).await;
    let mut line = Line::greeted(&bench, &device).await;

    let filters = [
        topic(device.id, Channel::DownReceipt),
        topic(other.id, Channel::DownReceipt),
        topic(device.id, Channel::UpBatch),
        "caas/v1/+/down/command".into(),
        "#".into(),
        format!("$share/x/{}", topic(device.id, Channel::DownCommand)),
        topic(device.id, Channel::DownCommand),
    ];
    line.send(&subscribe(5, &filters.each_ref().map(String::as_str)))
        .await;
    let suback = line.packet().await;
    assert_eq!(suback.kind(), SUBACK);
    assert_eq!(suback.body, [0, 5, 0, 0, 0x87, 0x87, 0x87, 0x87, 0x9E, 0]);

    for (id, channel) in [
        (1, Channel::UpBatch),
        (2, Channel::UpOffline),
        (3, Channel::DownReceipt),
    ] {
        line.send(&publish(&topic(other.id, channel), id, b"x"))
            .await;
        assert_eq!(line.puback().await, (id, 0x87));
    }
    line.send(&publish("elsewhere", 4, b"x")).await;
    assert_eq!(line.puback().await, (4, 0x87));
    // And the session goes on.
    line.send(&publish(&topic(device.id, Channel::UpOffline), 5, b""))
        .await;
    assert_eq!(line.puback().await, (5, 0));
}

#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let batch = topic(device.id, Channel::UpBatch);
    bench.store.hold_commits();

    let mut line = Line::greeted(&bench, &device).await;
    line.send(&publish(&batch, 7, &device.batch(1, 1))).await;
    line.send(&publish(&batch, 7, &device.batch(2, 2))).await;
    assert_eq!(line.farewell().await, 0x82, "a packet id in use");

    let mut line = Line::greeted(&bench, &device).await;
    for number in 1..=64 {
        let signed = device.batch(number, number);
        line.send(&publish(&batch, u16::try_from(number).unwrap(), &signed))
            .await;
    }
    line.send(&pingreq()).await;
    assert_eq!(line.packet().await.kind(), PINGRESP, "64 are allowed");
    line.send(&publish(&batch, 65, &device.batch(65, 65))).await;
    assert_eq!(line.farewell().await, 0x93, "the 65th is not");
}

#[tokio::test]
async fn the_largest_batch_passes_and_is_judged() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let batch = topic(device.id, Channel::UpBatch);
    let mut line = Line::greeted(&bench, &device).await;
    for (id, len) in [
        (1, wire::batch::MAX_BATCH_BYTES),
        (2, wire::batch::MAX_BATCH_BYTES + 1),
    ] {
        line.send(&publish(&batch, id, &vec![0; len])).await;
        let puback = within("PUBACK", line.packet()).await;
        assert_eq!(
            (puback.kind(), &puback.body[..3]),
            (PUBACK, &[0, id as u8, 0x99][..])
        );
    }
}
