//! What is delivered is answered after the commit, in order, and what is bad holds up nothing.

use super::bench::{Bench, Device, EPOCH, NOW, until, within};
use super::line::{Line, PINGRESP, pingreq, publish, receipt, topic};
use crate::store::DeviceWrites;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, LastWill, Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use std::time::Duration;
use wire::topic::Channel;
use wire::{Receipt, Seq};

async fn stored(bench: &Bench, device: &Device) -> u64 {
    bench.store.inner.records_stored(device.id).await.unwrap()
}

#[tokio::test]
async fn puback_and_receipt_wait_for_the_commit() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let batch = topic(device.id, Channel::UpBatch);
    let mut line = Line::connected(&bench, &device).await;
    bench.store.hold_commits();
    line.send(&publish(&batch, 1, &device.batch(1, 3))).await;
    line.send(&pingreq()).await;
    assert_eq!(line.packet().await.kind(), PINGRESP, "the session lives");
    assert_eq!(stored(&bench, &device).await, 0);

    bench.store.let_commits_go();
    let receipt = receipt(&line.packet().await);
    assert!(receipt.settles(EPOCH, Seq(1), Seq(3)), "{receipt:?}");
    assert_eq!(line.puback().await, (1, 0));
    assert_eq!(stored(&bench, &device).await, 3);
}

#[tokio::test]
async fn many_on_their_way_are_answered_in_order() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let batch = topic(device.id, Channel::UpBatch);
    let mut line = Line::connected(&bench, &device).await;
    bench.store.hold_commits();
    let mut bytes = Vec::new();
    for number in 1..=60_u16 {
        let first = u64::from(number) * 2 - 1;
        // Packet ids need not rise.
        bytes.extend(publish(
            &batch,
            1000 - number,
            &device.batch(first, first + 1),
        ));
    }
    line.send(&bytes).await;
    bench.store.let_commits_go();
    let (receipts, acks) = line.until_acknowledged(940).await;
    let expected: Vec<_> = (1..=60).map(|number| (1000 - number, 0)).collect();
    assert_eq!(acks, expected);
    assert!(
        receipts
            .windows(2)
            .all(|pair| pair[0].through <= pair[1].through)
    );
    assert!(receipts.last().unwrap().settles(EPOCH, Seq(1), Seq(120)));
    assert!(
        receipts.len() < 20,
        "one receipt for each group, not {}",
        receipts.len()
    );
}

#[tokio::test]
async fn poison_is_refused_by_code_and_holds_up_nothing() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let other = bench.device(2).await;
    let batch = topic(device.id, Channel::UpBatch);
    let mut line = Line::connected(&bench, &device).await;
    let mut bad_signature = device.batch(2, 3);
    *bad_signature.last_mut().unwrap() ^= 1;
    let foreign = device.signed(other.id, 4, 4);
    let payloads = [
        device.batch(1, 1),
        bad_signature,
        b"nonsense".to_vec(),
        foreign,
        device.batch(5, 5),
    ];
    bench.store.hold_commits();
    for (id, payload) in (1..).zip(&payloads) {
        line.send(&publish(&batch, id, payload)).await;
    }
    bench.store.let_commits_go();
    let (receipts, acks) = line.until_acknowledged(5).await;
    assert_eq!(acks, [(1, 0), (2, 0x99), (3, 0x99), (4, 0x99), (5, 0)]);
    let refused: Vec<_> = receipts
        .iter()
        .flat_map(|receipt| &receipt.rejected)
        .map(|rejected| (rejected.seq.0, rejected.code.as_str()))
        .collect();
    assert_eq!(
        refused,
        [
            (2, "bad_signature"),
            (3, "bad_signature"),
            (4, "foreign_device")
        ]
    );
    assert!(
        receipts
            .iter()
            .any(|receipt| receipt.settles(EPOCH, Seq(5), Seq(5)))
    );
    assert_eq!(stored(&bench, &device).await, 2);
    assert_eq!(stored(&bench, &other).await, 0);
}

#[tokio::test]
async fn a_store_that_fails_acknowledges_nothing() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let batch = topic(device.id, Channel::UpBatch);
    bench.store.fail_commits(true);
    let mut line = Line::connected(&bench, &device).await;
    line.send(&publish(&batch, 1, &device.batch(1, 1))).await;
    assert_eq!(line.farewell().await, 0x89);

    bench.store.fail_commits(false);
    let mut line = Line::connected(&bench, &device).await;
    line.send(&publish(&batch, 1, &device.batch(1, 1))).await;
    let (receipts, acks) = line.until_acknowledged(1).await;
    assert_eq!(acks, [(1, 0)]);
    assert!(receipts[0].settles(EPOCH, Seq(1), Seq(1)));
}

#[tokio::test]
async fn what_is_sent_again_is_answered_again() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let batch = topic(device.id, Channel::UpBatch);
    for _ in 0..2 {
        let mut line = Line::connected(&bench, &device).await;
        line.send(&publish(&batch, 1, &device.batch(1, 2))).await;
        let (receipts, acks) = line.until_acknowledged(1).await;
        assert_eq!(acks, [(1, 0)]);
        assert!(receipts[0].settles(EPOCH, Seq(1), Seq(2)));
        assert_eq!(stored(&bench, &device).await, 2);
    }
}

#[tokio::test]
async fn a_packet_may_come_byte_by_byte() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let mut line = Line::connected(&bench, &device).await;
    let packet = publish(&topic(device.id, Channel::UpBatch), 1, &device.batch(1, 1));
    for byte in packet {
        line.send(&[byte]).await;
    }
    let (receipts, _) = line.until_acknowledged(1).await;
    assert!(receipts[0].settles(EPOCH, Seq(1), Seq(1)));
}

#[tokio::test]
async fn heartbeats_are_kept_and_unreadable_ones_told() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let mut line = Line::connected(&bench, &device).await;
    let up = topic(device.id, Channel::UpHeartbeat);
    let json = format!(
        r#"{{"sent_at_us":5,"epoch":"{EPOCH}","agent_version":"0.1.0","uptime_seconds":60,
            "clock":{{"state":"unsynced","offset_us":0}},"carriage":"mqtt",
            "spool":{{"pending_records":1,"pending_blobs":0,"bytes":9,"parked_records":0}}}}"#
    );
    line.send(&publish(&up, 1, json.as_bytes())).await;
    assert_eq!(line.puback().await, (1, 0));
    line.send(&publish(&up, 2, b"{}")).await;
    assert_eq!(line.puback().await, (2, 0x99));
    let row = bench.store.device(device.id).await.unwrap().unwrap();
    assert_eq!(row.heard_us, Some(NOW));
    assert_eq!(row.heartbeat.unwrap().uptime_seconds, 60);
}

#[tokio::test]
async fn every_connection_that_commits_gets_its_own_receipt() {
    let bench = Bench::start().await;
    bench.store.hold_commits();
    let mut lines = Vec::new();
    for number in 1..=8 {
        let device = bench.device(number).await;
        let mut line = Line::connected(&bench, &device).await;
        let last = u64::from(number);
        line.send(&publish(
            &topic(device.id, Channel::UpBatch),
            1,
            &device.batch(1, last),
        ))
        .await;
        lines.push((line, last));
    }
    bench.store.let_commits_go();
    for (mut line, last) in lines {
        let (receipts, _) = line.until_acknowledged(1).await;
        assert_eq!(receipts.len(), 1);
        assert_eq!(receipts[0].through, Seq(last));
    }
}

#[tokio::test]
async fn without_a_subscription_no_receipt_is_pushed() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let mut line = Line::greeted(&bench, &device).await;
    line.send(&publish(
        &topic(device.id, Channel::UpBatch),
        1,
        &device.batch(1, 1),
    ))
    .await;
    assert_eq!(line.puback().await, (1, 0));
    assert_eq!(stored(&bench, &device).await, 1);
}

/// The client library that devices use.
#[tokio::test]
async fn a_common_client_delivers_and_gets_its_receipt() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let mut options = MqttOptions::new(device.id.to_string(), "localhost", bench.address.port());
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
            device.tls.clone(),
        )))
        .set_clean_start(true)
        .set_keep_alive(Duration::from_secs(5))
        .set_last_will(LastWill::new(
            topic(device.id, Channel::UpOffline),
            Vec::new(),
            QoS::AtLeastOnce,
            false,
            None,
        ));
    let (client, mut events) = AsyncClient::new(options, 16);
    let down = [Channel::DownReceipt, Channel::DownCommand]
        .map(|channel| Filter::new(topic(device.id, channel), QoS::AtLeastOnce));
    client.subscribe_many(down).await.unwrap();
    let up = topic(device.id, Channel::UpBatch);
    for number in 1..=5 {
        client
            .publish(&up, QoS::AtLeastOnce, false, device.batch(number, number))
            .await
            .unwrap();
    }
    let (mut acknowledged, mut settled) = (0, false);
    within("receipts", async {
        while acknowledged < 5 || !settled {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::PubAck(ack)) => {
                    assert_eq!(ack.reason, PubAckReason::Success);
                    acknowledged += 1;
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    let receipt: Receipt = serde_json::from_slice(&publish.payload).unwrap();
                    settled |= receipt.settles(EPOCH, Seq(1), Seq(5));
                }
                _ => {}
            }
        }
    })
    .await;

    // At the end it is told, in a form it understands.
    bench.stop.cancel();
    let end = within("the end", async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::Disconnect(goodbye))) => {
                    break goodbye.reason_code as u8;
                }
                Ok(_) => {}
                Err(rumqttc::v5::ConnectionError::MqttState(
                    rumqttc::v5::StateError::ServerDisconnect { reason_code, .. },
                )) => break reason_code as u8,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert_eq!(end, 0x8B);
    until("all sessions ended", || async {
        bench.serving.is_finished()
    })
    .await;
}
