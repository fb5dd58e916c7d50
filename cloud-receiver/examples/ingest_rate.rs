//! How many records a second the receiver takes in over MQTT, commits and acknowledges: a whole receiver and
//! devices over real TLS on this machine, batches of 10 event-sized records, 16 in flight on each connection.
//!
//! `cargo run --release -p cloud-receiver --example ingest_rate [seconds]` prints a line for 1 and for 8
//! connections, and the memory of this process (devices included).
#![allow(clippy::unwrap_used)]

use cloud_receiver::app::{App, database};
use cloud_receiver::ca::Ca;
use cloud_receiver::clock::now;
use cloud_receiver::config::{Config, Contact, Limits, Listen, default_hosts};
use cloud_receiver::keys::Keys;
use cloud_receiver::live::Live;
use cloud_receiver::seal::random;
use cloud_receiver::store::sqlite::SqliteStore;
use cloud_receiver::store::{Administration, Enrollments, NewDevice};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;
use wire::record::{EventRecord, EventState, NormBox, PathPoint};
use wire::topic::{Channel, Topic};
use wire::{
    Batch, Body, BootId, CameraId, ClockStamp, ClockState, DeviceId, Epoch, EventId, Record,
    RecordTime, Seq, Sha256, SigningKey,
};

const RECORDS: usize = 10;
const IN_FLIGHT: usize = 16;

#[tokio::main]
async fn main() {
    let seconds: u64 = std::env::args()
        .nth(1)
        .map_or(5, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        data_dir: dir.path().join("data"),
        key_dir: dir.path().join("keys"),
        hosts: default_hosts(),
        listen: Listen {
            portal: anywhere,
            device: anywhere,
            mqtt: anywhere,
        },
        limits: Limits::default(),
        contact: Contact::default(),
    };
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let keys = Keys::create(&config.key_dir).unwrap();
    let setup = SqliteStore::open(&database(&config), keys.master, Live::default(), true).unwrap();
    let contract = setup.add_contract("bench", now()).await.unwrap();
    let site = setup.add_site(contract, "bench", now()).await.unwrap();
    let app = App::start(&config).await.unwrap();
    println!("idle: {} MiB resident", resident_mib());
    for connections in [1u8, 8] {
        let mut devices = Vec::new();
        for number in 0..connections {
            let claim = Sha256(random());
            setup
                .add_claim(claim, site, now(), now().plus_us(60_000_000))
                .await
                .unwrap();
            let id = DeviceId(Uuid::from_bytes(random()));
            let key = SigningKey::from_seed([number; 32]);
            let new = NewDevice {
                device: id,
                record_key: key.verifying_key(),
                agent_version: "bench".into(),
            };
            setup.enroll(claim, new, now()).await.unwrap().unwrap();
            devices.push((id, key, tls(&keys.ca, id)));
        }
        let began = Instant::now();
        let until = began + Duration::from_secs(seconds);
        let runs = devices
            .into_iter()
            .map(|(id, key, tls)| tokio::spawn(deliver(app.mqtt, id, key, tls, until)));
        let acknowledged: u64 = futures::future::join_all(runs)
            .await
            .into_iter()
            .map(Result::unwrap)
            .sum();
        let rate = acknowledged as f64 / began.elapsed().as_secs_f64();
        println!(
            "{connections} connection(s): {:.0} batches/s = {:.0} records/s acknowledged; {} MiB resident",
            rate,
            rate * RECORDS as f64,
            resident_mib()
        );
    }
    app.stop().await;
}

/// Sends until the time is over; answers how many batches were acknowledged.
async fn deliver(
    to: SocketAddr,
    id: DeviceId,
    key: SigningKey,
    tls: Arc<rustls::ClientConfig>,
    until: Instant,
) -> u64 {
    let mut options = MqttOptions::new(id.to_string(), "localhost", to.port());
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
    options.set_max_packet_size(Some(512 * 1024));
    // Otherwise the client library reserves room for 65,535 messages, 13 MB, which would be counted here as ours.
    options.set_outgoing_inflight_upper_limit(2 * IN_FLIGHT as u16);
    let (client, mut events) = AsyncClient::new(options, 2 * IN_FLIGHT);
    let receipts = Topic {
        device: id,
        channel: Channel::DownReceipt,
    }
    .to_string();
    client.subscribe(receipts, QoS::AtMostOnce).await.unwrap();
    let topic = Topic {
        device: id,
        channel: Channel::UpBatch,
    }
    .to_string();
    let (mut next, mut prev, mut waiting, mut acknowledged) = (1, Sha256::ZERO, 0, 0);
    let camera = CameraId(Uuid::from_bytes(random()));
    while Instant::now() < until {
        while waiting < IN_FLIGHT {
            let batch = Batch {
                device_id: id,
                epoch: Epoch(1),
                first_seq: Seq(next),
                prev,
                records: (0..RECORDS).map(|_| event(camera).to_json()).collect(),
            };
            let batch = batch.sign(&key);
            prev = batch.hash();
            next += RECORDS as u64;
            client
                .publish(&topic, QoS::AtLeastOnce, false, batch.into_bytes())
                .await
                .unwrap();
            waiting += 1;
        }
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
            waiting -= 1;
            acknowledged += 1;
        }
    }
    acknowledged
}

/// About 1 KiB, as an event with a short path.
fn event(camera: CameraId) -> Record {
    let at = now();
    let time = RecordTime {
        captured_at_us: at,
        boot_id: BootId(Uuid::from_u128(1)),
        boottime_ns: 1,
        clock: ClockStamp {
            state: ClockState::Synced,
            offset_us: 0,
            error_us: Some(1000),
        },
    };
    let body = EventRecord {
        id: EventId(Uuid::from_bytes(random())),
        revision: 1,
        state: EventState::Opened,
        camera,
        class: "person".into(),
        score: 0.9,
        opened_at_us: at,
        last_seen_at_us: at,
        closed_at_us: None,
        track: 1,
        rect: NormBox {
            x: 0.1,
            y: 0.2,
            w: 0.3,
            h: 0.4,
        },
        path: vec![
            PathPoint {
                at_us: at,
                x: 0.25,
                y: 0.75
            };
            12
        ],
        zones: Vec::new(),
        media: Vec::new(),
    };
    Record::new(time, Body::Event(body))
}

fn tls(ca: &Ca, id: DeviceId) -> Arc<rustls::ClientConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let certificate = ca.issue_device(&csr.pem().unwrap(), id, now()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.certificate_der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    Arc::new(config)
}

fn resident_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096 / 1024 / 1024
}
