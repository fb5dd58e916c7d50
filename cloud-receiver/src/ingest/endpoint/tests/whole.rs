//! The endpoint within the whole receiver: devices that enrolled, with rumqttc and with bytes no library would send.

use crate::clock::now;
use crate::store::{Administration, OperatorDesk};
use crate::testing::{Device, Receiver, soon};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, LastWill, Packet, PubAckReason, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;
use wire::command::{Command, Request, SignedCommand};
use wire::topic::{Channel, Topic};
use wire::{CameraId, CommandId, DeviceId, Epoch, Receipt, Seq, Sha256};

impl Device {
    fn topic(&self, channel: Channel) -> String {
        Topic {
            device: self.id,
            channel,
        }
        .to_string()
    }

    fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(self.id.to_string(), "localhost", self.mqtt.port());
        let tls = TlsConfiguration::Rustls(Arc::clone(&self.tls));
        options.set_transport(Transport::tls_with_config(tls));
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(Some(512 * 1024));
        options
    }

    fn connect_with(&self, options: MqttOptions) -> Link {
        let (client, events) = AsyncClient::new(options, 200);
        Link { client, events }
    }

    /// Connected and subscribed to its own two topics.
    async fn link(&self) -> Link {
        let mut link = self.connect_with(self.options());
        assert!(matches!(link.next().await.unwrap(), Packet::ConnAck(_)));
        for channel in [Channel::DownReceipt, Channel::DownCommand] {
            link.client
                .subscribe(self.topic(channel), QoS::AtLeastOnce)
                .await
                .unwrap();
            assert!(matches!(link.next().await.unwrap(), Packet::SubAck(_)));
        }
        link
    }
}

struct Link {
    client: AsyncClient,
    events: EventLoop,
}

impl Link {
    async fn next(&mut self) -> Result<Packet, ConnectionError> {
        soon("a packet of the receiver", async {
            loop {
                match self.events.poll().await {
                    Ok(Event::Incoming(packet)) => return Ok(packet),
                    Ok(Event::Outgoing(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        })
        .await
    }

    async fn send(&self, topic: String, payload: Vec<u8>) {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)
            .await
            .unwrap();
    }

    /// The reason by which the receiver says goodbye.
    async fn goodbye(&mut self) -> DisconnectReasonCode {
        loop {
            match self.next().await {
                Ok(Packet::Disconnect(disconnect)) => return disconnect.reason_code,
                Ok(_) => {}
                Err(ConnectionError::MqttState(rumqttc::v5::StateError::ServerDisconnect {
                    reason_code,
                    ..
                })) => return reason_code,
                Err(error) => panic!("cut without a goodbye: {error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_acknowledged_and_receipted_after_the_commit() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let mut link = device.link().await;
    let mut prev = Sha256::ZERO;
    let mut batches = Vec::new();
    for index in 0..100 {
        let batch = device.batch(index * 3 + 1, 3, prev);
        prev = batch.hash();
        batches.push(batch.into_bytes());
    }
    for batch in &batches {
        link.send(device.topic(Channel::UpBatch), batch.clone())
            .await;
    }
    let (mut acknowledged, mut through) = (0, Seq(0));
    while acknowledged < batches.len() || through < Seq(300) {
        match link.next().await.unwrap() {
            Packet::PubAck(puback) => {
                assert_eq!(puback.reason, PubAckReason::Success);
                acknowledged += 1;
                // Committed before it is acknowledged.
                let stored = receiver.app.store.records_stored(device.id).await.unwrap();
                assert!(stored >= acknowledged as u64 * 3);
            }
            Packet::Publish(publish) => {
                let receipt: Receipt = serde_json::from_slice(&publish.payload).unwrap();
                assert!(receipt.through >= through && receipt.rejected.is_empty());
                assert!(receipt.settles(Epoch(1), Seq(1), receipt.through));
                through = receipt.through;
            }
            _ => {}
        }
    }
    // The largest batch there can be, and a repeat.
    let record =
        |len: usize| format!("{{\"v\":9,\"filler\":\"{}\"}}", "x".repeat(len)).into_bytes();
    let mut large = wire::Batch {
        device_id: device.id,
        epoch: Epoch(1),
        first_seq: Seq(301),
        prev,
        records: vec![record(50_000); 5],
    };
    let missing = wire::batch::MAX_BATCH_BYTES - large.sign(&device.record_key).as_bytes().len();
    large.records[4] = record(50_000 + missing);
    let large = large.sign(&device.record_key).into_bytes();
    assert_eq!(large.len(), wire::batch::MAX_BATCH_BYTES);
    link.send(device.topic(Channel::UpBatch), large).await;
    link.send(device.topic(Channel::UpBatch), batches[5].clone())
        .await;
    let mut refused = 0;
    while through < Seq(305) {
        if let Packet::Publish(publish) = link.next().await.unwrap() {
            let receipt: Receipt = serde_json::from_slice(&publish.payload).unwrap();
            (through, refused) = (receipt.through, receipt.rejected.len());
        }
    }
    assert_eq!(refused, 5, "these records have no time");
    assert_eq!(
        receiver.app.store.records_stored(device.id).await.unwrap(),
        300
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_reaches_only_what_is_its_own() {
    let receiver = Receiver::start().await;
    let (device, other) = (receiver.device(1).await, receiver.device(2).await);
    let mut link = device.link().await;
    let foreign = [
        other.topic(Channel::UpBatch),
        other.topic(Channel::DownCommand),
        device.topic(Channel::DownReceipt),
        "caas/v1/x".to_owned(),
    ];
    for topic in foreign {
        link.send(topic.clone(), device.batch(1, 1, Sha256::ZERO).into_bytes())
            .await;
        let answered = loop {
            if let Packet::PubAck(puback) = link.next().await.unwrap() {
                break puback.reason;
            }
        };
        assert_eq!(answered, PubAckReason::NotAuthorized, "{topic}");
    }
    for filter in [
        other.topic(Channel::DownCommand),
        "#".into(),
        "caas/v1/+/down/receipt".into(),
    ] {
        link.client
            .subscribe(filter.clone(), QoS::AtMostOnce)
            .await
            .unwrap();
        let codes = loop {
            if let Packet::SubAck(suback) = link.next().await.unwrap() {
                break suback.return_codes;
            }
        };
        assert_eq!(codes, [SubscribeReasonCode::NotAuthorized], "{filter}");
    }
    // A batch of another device under the own topic: refused by receipt, stored nowhere.
    link.send(
        device.topic(Channel::UpBatch),
        other.batch(1, 1, Sha256::ZERO).into_bytes(),
    )
    .await;
    let receipt: Receipt = loop {
        if let Packet::Publish(publish) = link.next().await.unwrap() {
            break serde_json::from_slice(&publish.payload).unwrap();
        }
    };
    assert_eq!(receipt.rejected[0].code, "foreign_device");
    link.send(device.topic(Channel::UpBatch), b"junk".to_vec())
        .await;
    link.send(device.topic(Channel::UpHeartbeat), b"junk".to_vec())
        .await;
    for _ in 0..2 {
        let reason = loop {
            if let Packet::PubAck(puback) = link.next().await.unwrap()
                && puback.reason != PubAckReason::Success
            {
                break puback.reason;
            }
        };
        assert_eq!(reason, PubAckReason::PayloadFormatInvalid);
    }
    for id in [device.id, other.id] {
        assert_eq!(receiver.app.store.records_stored(id).await.unwrap(), 0);
    }

    let refused = |outcome: Result<Packet, ConnectionError>| match outcome {
        Err(ConnectionError::ConnectionRefused(code)) => code,
        other => panic!("not refused: {other:?}"),
    };
    let mut options = device.options();
    options.set_client_id(other.id.to_string());
    let outcome = device.connect_with(options).next().await;
    assert_eq!(
        refused(outcome),
        ConnectReturnCode::ClientIdentifierNotValid
    );
    let mut options = device.options();
    let will = other.topic(Channel::UpOffline);
    options.set_last_will(LastWill::new(will, "gone", QoS::AtLeastOnce, false, None));
    let outcome = device.connect_with(options).next().await;
    assert_eq!(refused(outcome), ConnectReturnCode::NotAuthorized);
    let mut options = device.options();
    let will = device.topic(Channel::UpOffline);
    options.set_last_will(LastWill::new(will, "gone", QoS::AtLeastOnce, false, None));
    assert!(matches!(
        device.connect_with(options).next().await,
        Ok(Packet::ConnAck(_))
    ));
    // Without a certificate there is no session at all.
    let mut options = device.options();
    let tls = TlsConfiguration::Rustls(receiver.tls(None));
    options.set_transport(Transport::tls_with_config(tls));
    assert!(device.connect_with(options).next().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_arrive_signed_also_when_given_while_away() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let command = |number| Command {
        id: CommandId(Uuid::from_u128(number)),
        device: device.id,
        issued_at_us: now(),
        deadline_us: now().plus_us(60_000_000),
        request: Request::PictureNow {
            camera: CameraId(Uuid::from_u128(4)),
        },
    };
    receiver.app.store.add_command(&command(1)).await.unwrap();
    let mut link = device.link().await;
    for number in [1, 2] {
        if number == 2 {
            receiver.app.store.add_command(&command(2)).await.unwrap();
        }
        let publish = loop {
            if let Packet::Publish(publish) = link.next().await.unwrap() {
                break publish;
            }
        };
        assert_eq!(publish.topic, device.topic(Channel::DownCommand));
        let signed: SignedCommand = serde_json::from_slice(&publish.payload).unwrap();
        let opened = signed.open(&device.command_key, device.id, now()).unwrap();
        assert_eq!(opened.id.0.as_u128(), number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_by_name_when_taken_over_revoked_or_stopped() {
    let receiver = Receiver::start().await;
    let (device, other) = (receiver.device(1).await, receiver.device(2).await);
    let mut old = device.link().await;
    let mut new = device.link().await;
    assert_eq!(old.goodbye().await, DisconnectReasonCode::SessionTakenOver);
    let mut stays = other.link().await;
    receiver.app.store.revoke(device.id, now()).await.unwrap();
    assert_eq!(new.goodbye().await, DisconnectReasonCode::NotAuthorized);
    let outcome = device.connect_with(device.options()).next().await;
    assert!(matches!(
        outcome,
        Err(ConnectionError::ConnectionRefused(
            ConnectReturnCode::NotAuthorized
        ))
    ));
    let stopping = tokio::spawn(async move { receiver.app.stop().await });
    assert_eq!(
        stays.goodbye().await,
        DisconnectReasonCode::ServerShuttingDown
    );
    soon("the stop", stopping).await.unwrap();
}

/// `0x10`, length, then protocol name and level, flags, keep-alive, no properties, client id.
fn connect(device: DeviceId, flags: u8, keep_alive_seconds: u8) -> Vec<u8> {
    let id = device.to_string();
    let mut body = b"\x00\x04MQTT\x05".to_vec();
    body.extend([flags, 0, keep_alive_seconds, 0, 0, id.len() as u8]);
    body.extend(id.as_bytes());
    packet(0x10, &body)
}

fn publish(flags: u8, topic: &str, packet_id: u16) -> Vec<u8> {
    let mut body = vec![0, topic.len() as u8];
    body.extend(topic.as_bytes());
    body.extend(packet_id.to_be_bytes());
    body.extend(b"\x00payload");
    packet(0x30 | flags, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8], body].concat()
}

/// Sends the bytes and reads until the receiver closes.
async fn answer_to(device: &Device, bytes: &[u8]) -> Vec<u8> {
    let mut stream = device.raw(device.mqtt).await;
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    // How it is closed - with or without TLS's own goodbye - does not matter.
    let _ = soon("the receiver closes", stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_library_sends_ends_the_connection_by_reason_code() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let connected = connect(device.id, 0x02, 60);
    let own = device.topic(Channel::UpBatch);
    let oversize = [&[0x32, 0xff, 0xff, 0xff, 0x7f][..], &[0; 64]].concat();
    let cases: [(&str, Vec<u8>, u8); 8] = [
        ("packet id 0", publish(0x02, &own, 0), 0x82),
        (
            "a wildcard in a topic",
            publish(0x02, "caas/v1/+/up/batch", 1),
            0x90,
        ),
        ("QoS 2", publish(0x04, &own, 1), 0x9b),
        ("retained", publish(0x03, &own, 1), 0x9a),
        (
            "subscription with packet id 0",
            packet(0x82, b"\x00\x00\x00\x00\x01a\x00"),
            0x82,
        ),
        ("oversize", oversize, 0x95),
        ("a second CONNECT", connected.clone(), 0x82),
        ("a reserved packet type", vec![0x00, 0x00], 0x81),
    ];
    for (name, bytes, code) in cases {
        let answer = answer_to(&device, &[connected.clone(), bytes].concat()).await;
        let connack_len = 2 + usize::from(*answer.get(1).expect("a CONNACK"));
        assert_eq!(
            (answer[0], answer[3]),
            (0x20, 0x00),
            "{name}: connected first"
        );
        let goodbye = &answer[connack_len..];
        assert_eq!(goodbye, [0xE0, 0x02, code, 0x00], "{name}");
    }
    for (name, bytes) in [
        ("a PUBLISH before CONNECT", publish(0x02, &own, 1)),
        ("a ping before CONNECT", vec![0xC0, 0x00]),
        (
            "oversize before CONNECT",
            vec![0x10, 0xff, 0xff, 0xff, 0x7f],
        ),
        ("HTTP", b"GET / HTTP/1.1\r\n".repeat(10)),
    ] {
        let answer = answer_to(&device, &bytes).await;
        assert!(answer.is_empty(), "{name}: {answer:?}");
    }
    // MQTT 3.1.1 is told which version is spoken here, or at least not served.
    let mut old = connected.clone();
    old[8] = 4;
    let answer = answer_to(&device, &old).await;
    assert!(
        answer.is_empty() || answer.get(3).is_some_and(|code| *code >= 0x80),
        "{answer:?}"
    );
    assert_eq!(
        receiver.app.store.records_stored(device.id).await.unwrap(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_device_is_sent_away_after_one_and_a_half_keep_alives() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let began = std::time::Instant::now();
    let answer = answer_to(&device, &connect(device.id, 0x02, 1)).await;
    assert!(
        began.elapsed() >= Duration::from_millis(1_400),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(answer[answer.len() - 4..], [0xE0, 0x02, 0x8D, 0x00]);
}
