//! A device's end of the line, packet by packet: whatever bytes a test wants to send, and whole packets back.

use super::bench::{Bench, Device, within};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Properties, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::packet::{Packet, v5_0};
use rustls::ClientConfig;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::topic::{Channel, Topic};
use wire::{DeviceId, Receipt};

pub(super) struct Line {
    stream: TlsStream<TcpStream>,
}

/// A packet as it came: first byte and body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Raw {
    pub(super) fn kind(&self) -> u8 {
        self.first >> 4
    }
}

pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const SUBACK: u8 = 9;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;

impl Line {
    pub(super) async fn open(bench: &Bench, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let tcp = TcpStream::connect(bench.address).await?;
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(tls).connect(name, tcp).await?;
        Ok(Self { stream })
    }

    /// Connected, let in, subscribed to what devices subscribe to.
    pub(super) async fn connected(bench: &Bench, device: &Device) -> Self {
        let mut line = Self::greeted(bench, device).await;
        let own = [Channel::DownReceipt, Channel::DownCommand].map(|c| topic(device.id, c));
        line.send(&subscribe(1, &own.each_ref().map(String::as_str)))
            .await;
        let suback = line.packet().await;
        assert_eq!((suback.kind(), &suback.body[2..]), (SUBACK, &[0, 0, 0][..]));
        line
    }

    /// Connected and let in.
    pub(super) async fn greeted(bench: &Bench, device: &Device) -> Self {
        let mut line = Self::open(bench, Arc::clone(&device.tls)).await.unwrap();
        line.send(&connect(&device.id.to_string(), 60)).await;
        let connack = line.packet().await;
        assert_eq!((connack.kind(), &connack.body[..2]), (CONNACK, &[0, 0][..]));
        line
    }

    /// Sends; the other side may have closed already, which what comes back will tell.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes).await;
    }

    pub(super) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next packet. None at the end of the connection.
    pub(super) async fn next(&mut self) -> Option<Raw> {
        within("a packet or the end", self.read()).await.ok()
    }

    pub(super) async fn packet(&mut self) -> Raw {
        self.next().await.expect("a packet, not the end")
    }

    async fn read(&mut self) -> io::Result<Raw> {
        let first = self.stream.read_u8().await?;
        let mut len = 0_usize;
        for shift in (0..28).step_by(7) {
            let byte = self.stream.read_u8().await?;
            len |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).await?;
        Ok(Raw { first, body })
    }

    /// The reason of the DISCONNECT that comes next; it has four bytes, and nothing follows it.
    pub(super) async fn farewell(&mut self) -> u8 {
        let packet = self.packet().await;
        assert_eq!(packet.kind(), DISCONNECT, "{packet:?}");
        assert_eq!(packet.body.len(), 2, "reason and property length");
        assert_eq!(self.next().await, None);
        packet.body[0]
    }

    /// The next PUBACK: packet id and reason.
    pub(super) async fn puback(&mut self) -> (u16, u8) {
        let packet = self.packet().await;
        assert_eq!(packet.kind(), PUBACK, "{packet:?}");
        let id = u16::from_be_bytes([packet.body[0], packet.body[1]]);
        (id, packet.body.get(2).copied().unwrap_or(0))
    }

    /// Reads up to and including the PUBACK of `last`: all receipts and all PUBACKs that came.
    pub(super) async fn until_acknowledged(&mut self, last: u16) -> (Vec<Receipt>, Vec<(u16, u8)>) {
        let (mut receipts, mut acks) = (Vec::new(), Vec::new());
        while acks.last().is_none_or(|(id, _)| *id != last) {
            let packet = self.packet().await;
            match packet.kind() {
                PUBLISH => receipts.push(receipt(&packet)),
                PUBACK => acks.push((
                    u16::from_be_bytes([packet.body[0], packet.body[1]]),
                    packet.body.get(2).copied().unwrap_or(0),
                )),
                _ => panic!("{packet:?}"),
            }
        }
        (receipts, acks)
    }
}

/// The payload of a QoS 0 PUBLISH with its topic.
pub(super) fn message(packet: &Raw) -> (String, Vec<u8>) {
    assert_eq!(packet.first, PUBLISH << 4, "QoS 0, not retained");
    let (publish, _) = v5_0::Publish::parse(0, packet.body.clone().into()).unwrap();
    let payload = publish.payload().as_slice().to_vec();
    (publish.topic_name().to_owned(), payload)
}

pub(super) fn receipt(packet: &Raw) -> Receipt {
    let (topic, json) = message(packet);
    assert!(topic.ends_with("/down/receipt"), "{topic}");
    serde_json::from_slice(&json).unwrap()
}

pub(super) fn topic(device: DeviceId, channel: Channel) -> String {
    Topic { device, channel }.to_string()
}

pub(super) fn connect(client_id: &str, keep_alive_seconds: u16) -> Vec<u8> {
    v5_0::Connect::builder()
        .client_id(client_id)
        .unwrap()
        .keep_alive(keep_alive_seconds)
        .clean_start(true)
        .build()
        .unwrap()
        .to_continuous_buffer()
}

pub(super) fn connect_with(
    client_id: &str,
    will_topic: Option<&str>,
    properties: Properties,
) -> Vec<u8> {
    let builder = v5_0::Connect::builder()
        .client_id(client_id)
        .unwrap()
        .keep_alive(60)
        .clean_start(true)
        .props(properties);
    let builder = match will_topic {
        Some(topic) => builder
            .will_message(topic, b"gone", Qos::AtLeastOnce, false)
            .unwrap(),
        None => builder,
    };
    builder.build().unwrap().to_continuous_buffer()
}

pub(super) fn subscribe(packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let options = SubOpts::new().set_qos(Qos::AtLeastOnce);
    let entries = filters
        .iter()
        .map(|filter| SubEntry::new(*filter, options).unwrap())
        .collect::<Vec<_>>();
    v5_0::Subscribe::builder()
        .packet_id(packet_id)
        .entries(entries)
        .build()
        .unwrap()
        .to_continuous_buffer()
}

/// A PUBLISH of any shape. `flags`: DUP, QoS and RETAIN bits; a packet id where there is one; properties raw.
pub(super) fn publish_raw(
    flags: u8,
    topic: &str,
    packet_id: Option<u16>,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    body.extend(packet_id.into_iter().flat_map(u16::to_be_bytes));
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    let mut packet = vec![0x30 | flags];
    let mut len = body.len();
    loop {
        let more = len > 127;
        packet.push((len & 0x7F) as u8 | if more { 0x80 } else { 0 });
        len >>= 7;
        if !more {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// A QoS 1 PUBLISH.
pub(super) fn publish(topic: &str, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    publish_raw(0b0010, topic, Some(packet_id), &[], payload)
}

pub(super) fn pingreq() -> Vec<u8> {
    Packet::from(v5_0::Pingreq::new()).to_continuous_buffer()
}
