//! Devices that do nothing but send what was signed beforehand: as little of a client as can be, the same for every
//! server, so that it is not the client that is measured.

use crate::material::World;
use crate::process::Server;
use cloud_receiver::seal::random;
use futures::StreamExt;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::topic::{Channel, Topic};
use wire::{DeviceId, Sha256};

/// As an agent: so many publishes may wait for their PUBACK, and so many posts for their answer.
const IN_FLIGHT: usize = 32;
const POSTS: usize = 4;
const PUTS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    Mqtt,
    Https,
}

impl Carriage {
    pub fn word(self) -> &'static str {
        match self {
            Carriage::Mqtt => "MQTT",
            Carriage::Https => "HTTPS",
        }
    }
}

/// What one device delivers.
pub struct Load {
    pub device: DeviceId,
    pub tls: Arc<rustls::ClientConfig>,
    pub batches: Vec<Vec<u8>>,
}

/// Returns when everything was acknowledged.
pub async fn deliver(server: &Server, carriage: Carriage, loads: Vec<Load>) {
    let (mqtt, https) = (server.mqtt, server.https);
    let devices = loads.into_iter().map(|load| {
        tokio::spawn(async move {
            match carriage {
                Carriage::Mqtt => over_mqtt(mqtt, load).await,
                Carriage::Https => over_https(https, load).await,
            }
        })
    });
    for done in futures::future::join_all(devices).await {
        done.unwrap();
    }
}

async fn over_mqtt(port: u16, load: Load) {
    let mut line = connect(port, load.device, &load.tls).await;
    let topic = batches_of(load.device);
    let (mut sent, mut acknowledged) = (0, 0);
    let (mut out, mut input) = (Vec::new(), bytes::BytesMut::with_capacity(16 * 1024));
    while acknowledged < load.batches.len() {
        while sent < load.batches.len() && sent - acknowledged < IN_FLIGHT {
            publish(&mut out, &topic, packet_id(sent), &load.batches[sent]);
            sent += 1;
        }
        line.write_all(&out).await.unwrap();
        line.flush().await.unwrap();
        out.clear();
        let read = line.read_buf(&mut input).await.unwrap();
        assert!(read > 0, "the server closed the connection");
        while let Some((kind, body)) = next_packet(&mut input) {
            if kind >> 4 == 4 {
                // No reason code means success; 0x10 is "nobody has subscribed".
                assert!(
                    matches!(body.get(2), None | Some(0 | 0x10)),
                    "refused: {body:?}"
                );
                acknowledged += 1;
            }
        }
    }
}

fn topic(device: DeviceId, channel: Channel) -> String {
    Topic { device, channel }.to_string()
}

/// The topic of a device's batches.
pub fn batches_of(device: DeviceId) -> String {
    topic(device, Channel::UpBatch)
}

pub fn packet_id(number: usize) -> u16 {
    (number % 60_000) as u16 + 1
}

pub async fn connect(
    port: u16,
    device: DeviceId,
    tls: &Arc<rustls::ClientConfig>,
) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::clone(tls));
    let mut line = connector.connect(name, tcp).await.unwrap();
    let client = device.to_string();
    let mut connect = b"\0\x04MQTT\x05\x02\0\x3c\0".to_vec();
    text(&mut connect, &client);
    let mut subscribe = vec![0, 1, 0];
    text(&mut subscribe, &topic(device, Channel::DownReceipt));
    subscribe.push(0);
    let mut hello = Vec::new();
    packet(&mut hello, 0x10, &[&connect]);
    packet(&mut hello, 0x82, &[&subscribe]);
    line.write_all(&hello).await.unwrap();
    line.flush().await.unwrap();
    let mut input = bytes::BytesMut::new();
    loop {
        line.read_buf(&mut input).await.unwrap();
        while let Some((kind, body)) = next_packet(&mut input) {
            match kind >> 4 {
                2 => assert_eq!(body[1], 0, "the server refuses the connection"),
                9 => return line,
                _ => {}
            }
        }
    }
}

pub fn publish(out: &mut Vec<u8>, topic: &str, id: u16, payload: &[u8]) {
    let mut head = Vec::with_capacity(topic.len() + 5);
    text(&mut head, topic);
    head.extend_from_slice(&id.to_be_bytes());
    head.push(0);
    packet(out, 0x32, &[&head, payload]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A fixed header and what follows it.
pub fn packet(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    out.push(kind);
    let mut left: usize = parts.iter().map(|part| part.len()).sum();
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        out.push((left % 128) as u8 | more);
        left /= 128;
        if left == 0 {
            break;
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// The next whole packet: its first byte, and what follows its length.
pub fn next_packet(input: &mut bytes::BytesMut) -> Option<(u8, bytes::BytesMut)> {
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = usize::from(*input.get(at)?);
        length |= (byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte < 0x80 {
            break;
        }
    }
    if input.len() < at + length {
        return None;
    }
    let kind = input[0];
    let mut whole = input.split_to(at + length);
    let body = whole.split_off(at);
    Some((kind, body))
}

pub fn http(tls: &Arc<rustls::ClientConfig>) -> reqwest::Client {
    let mut tls = (**tls).clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
    client.build().unwrap()
}

async fn over_https(port: u16, load: Load) {
    let client = http(&load.tls);
    let url = format!("https://localhost:{port}/device/v1/batch");
    futures::stream::iter(load.batches)
        .map(|batch| {
            let post = client.post(&url).body(batch).send();
            async move { assert!(post.await.unwrap().status().is_success()) }
        })
        .buffer_unordered(POSTS)
        .for_each(|()| async {})
        .await;
}

/// Every blob another one; answers how long it took.
pub async fn put_blobs(
    server: &Server,
    world: &World,
    devices: usize,
    each: usize,
    bytes: usize,
) -> Duration {
    let port = server.https;
    let noise: Vec<u8> = (0..bytes / 32).flat_map(|_| random::<32>()).collect();
    let mut puts = Vec::new();
    for device in &world.devices[..devices] {
        let blobs: Vec<_> = (0..each)
            .map(|_| [&random::<32>()[..], &noise].concat())
            .collect();
        let named: Vec<_> = blobs
            .into_iter()
            .map(|blob| (Sha256::of(&blob), blob))
            .collect();
        puts.push((http(&device.tls), named));
    }
    let began = Instant::now();
    let devices = puts.into_iter().map(|(client, blobs)| {
        tokio::spawn(async move {
            futures::stream::iter(blobs)
                .map(|(name, blob)| {
                    let url = format!("https://localhost:{port}/device/v1/blobs/{name}");
                    let put = client.put(url).header("upload-length", blob.len());
                    let put = put.body(blob).send();
                    async move { assert_eq!(put.await.unwrap().status(), 201) }
                })
                .buffer_unordered(PUTS)
                .for_each(|()| async {})
                .await;
        })
    });
    for done in futures::future::join_all(devices).await {
        done.unwrap();
    }
    began.elapsed()
}
