//! How many records a second the MQTT endpoint takes in: signed batches over mutual TLS, into the real store, each
//! counted when its receipt has come back. Usage: `ingest_rate [FOLDER]`, where FOLDER is on the disk to measure.

use anyhow::Context;
use cloud_receiver::clock::now;
use cloud_receiver::ingest::endpoint::{EndpointDeps, Limits, serve};
use cloud_receiver::live::Live;
use cloud_receiver::seal::SecretKey;
use cloud_receiver::store::sqlite::{FILE_NAME, SqliteStore};
use cloud_receiver::store::{Administration, Enrollments, NewDevice};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::topic::{Channel, Topic};
use wire::{Batch, DeviceId, Epoch, Receipt, Seq, Sha256, SigningKey, SiteId};

const RECORDS_A_BATCH: u64 = 10;
const BATCHES_IN_ALL: u64 = 4_000;
const WINDOW: u64 = 32;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let base = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base)?;
    for connections in [1, 8] {
        let path = dir.path().join(format!("{connections}-{FILE_NAME}"));
        let seconds = measure(&path, connections).await?;
        let records = RECORDS_A_BATCH * BATCHES_IN_ALL;
        println!(
            "{connections} connection(s): {records} records in {seconds:.2} s, {:.0} records/s",
            records as f64 / seconds
        );
    }
    Ok(())
}

async fn measure(path: &Path, connections: u8) -> anyhow::Result<f64> {
    let store = SqliteStore::open(path, SecretKey::from_bytes([1; 32]), Live::default(), true)?;
    let contract = store.add_contract("Acme", now()).await?;
    let site = store.add_site(contract, "Gate", now()).await?;
    let ca = Authority::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let stop = CancellationToken::new();
    let deps = EndpointDeps {
        store: Arc::new(store.clone()),
        command_key: Arc::new(SigningKey::generate()),
        now: Arc::new(now),
        limits: Limits::default(),
    };
    let serving = tokio::spawn(serve(listener, ca.server()?, deps, stop.clone()));

    let start = Arc::new(Barrier::new(usize::from(connections) + 1));
    let mut devices = Vec::new();
    for number in 1..=connections {
        let device = enroll(&store, site, number).await?;
        let batches = signed(device, number, BATCHES_IN_ALL / u64::from(connections));
        let tls = ca.client(device)?;
        devices.push(tokio::spawn(deliver(
            device,
            port,
            tls,
            batches,
            start.clone(),
        )));
    }
    start.wait().await;
    let since = Instant::now();
    for device in devices {
        device.await??;
    }
    let seconds = since.elapsed().as_secs_f64();
    stop.cancel();
    serving.await?;
    Ok(seconds)
}

async fn enroll(store: &SqliteStore, site: SiteId, number: u8) -> anyhow::Result<DeviceId> {
    let claim = Sha256::of(&[number]);
    let device = DeviceId(Uuid::from_u128(u128::from(number)));
    store
        .add_claim(claim, site, now(), now().plus_us(60_000_000))
        .await?;
    let new = NewDevice {
        device,
        record_key: key(number).verifying_key(),
        agent_version: "0.1.0".into(),
    };
    store
        .enroll(claim, new, now())
        .await?
        .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    Ok(device)
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

/// Chained batches of events, each event in one batch, about 500 bytes a record.
fn signed(device: DeviceId, number: u8, count: u64) -> Vec<Vec<u8>> {
    let mut prev = Sha256::ZERO;
    let mut batches = Vec::new();
    for index in 0..count {
        let first = index * RECORDS_A_BATCH + 1;
        let batch = Batch {
            device_id: device,
            epoch: Epoch(1),
            first_seq: Seq(first),
            prev,
            records: (first..first + RECORDS_A_BATCH)
                .map(|seq| event(number, seq))
                .collect(),
        };
        let batch = batch.sign(&key(number));
        prev = batch.hash();
        batches.push(batch.into_bytes());
    }
    batches
}

fn event(number: u8, seq: u64) -> Vec<u8> {
    let id = Uuid::from_u128(u128::from(number) << 64 | u128::from(seq));
    let camera = Uuid::from_u128(u128::from(number) << 64);
    let at = 1_700_000_000_000_000 + seq * 1_000_000;
    serde_json::json!({
        "v": 1, "captured_at_us": at, "boot_id": camera, "boottime_ns": seq,
        "clock": {"state": "synced", "offset_us": 0, "error_us": 500},
        "kind": "event", "id": id, "revision": 1, "state": "opened", "camera": camera,
        "class": "person", "score": 0.9, "opened_at_us": at, "last_seen_at_us": at, "track": seq,
        "x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4, "path": [], "zones": ["yard"]
    })
    .to_string()
    .into_bytes()
}

/// Delivers everything with a window of unacknowledged batches, until a receipt settles it all.
async fn deliver(
    device: DeviceId,
    port: u16,
    tls: Arc<ClientConfig>,
    batches: Vec<Vec<u8>>,
    start: Arc<Barrier>,
) -> anyhow::Result<()> {
    let mut options = MqttOptions::new(device.to_string(), "localhost", port);
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)))
        .set_clean_start(true)
        .set_keep_alive(Duration::from_secs(30))
        .set_max_packet_size(Some(256 * 1024));
    let (client, mut events) = AsyncClient::new(options, WINDOW as usize * 2);
    let topic = |channel| Topic { device, channel }.to_string();
    let receipts = Filter::new(topic(Channel::DownReceipt), QoS::AtMostOnce);
    client.subscribe_many([receipts]).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    start.wait().await;

    let last = Seq(batches.len() as u64 * RECORDS_A_BATCH);
    let up = topic(Channel::UpBatch);
    let mut waiting = batches.into_iter();
    let mut on_their_way = 0;
    let (mut acknowledged, mut settled) = (0, false);
    while !settled {
        while on_their_way < WINDOW
            && let Some(batch) = waiting.next()
        {
            client.try_publish(&up, QoS::AtLeastOnce, false, batch)?;
            on_their_way += 1;
        }
        match events.poll().await? {
            Event::Incoming(Packet::PubAck(ack)) => {
                let reason = ack.reason as u8;
                anyhow::ensure!(reason == 0, "batch refused: {reason}");
                on_their_way -= 1;
                acknowledged += 1;
            }
            Event::Incoming(Packet::Publish(publish)) => {
                let receipt: Receipt = serde_json::from_slice(&publish.payload)?;
                anyhow::ensure!(receipt.rejected.is_empty(), "{:?}", receipt.rejected);
                settled = receipt.settles(Epoch(1), Seq(1), last);
            }
            _ => {}
        }
    }
    tracing::debug!(acknowledged, "all of device {device} is settled");
    Ok(())
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key)?.into())?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            roots: Arc::new(roots),
        })
    }

    fn leaf(
        &self,
        name: SanType,
    ) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.into();
        Ok((vec![certificate], key.into()))
    }

    fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone())
                .build()
                .context("the client verifier")?;
        let (chain, key) = self.leaf(SanType::DnsName("localhost".try_into()?))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }

    fn client(&self, device: DeviceId) -> anyhow::Result<Arc<ClientConfig>> {
        let uri = wire::enroll::device_uri(device);
        let (chain, key) = self.leaf(SanType::URI(uri.try_into()?))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(chain, key)?;
        Ok(Arc::new(config))
    }
}
