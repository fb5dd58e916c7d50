//! Simulated devices: enrolled straight into the receiver's database, with keys, certificates and an MQTT line of
//! their own; so many that real agents would not fit on one machine.

use anyhow::{Context, Result, bail, ensure};
use cloud_receiver::ca::Ca;
use cloud_receiver::clock::now;
use cloud_receiver::keys::Keys;
use cloud_receiver::live::Live;
use cloud_receiver::store::sqlite::{FILE_NAME, SqliteStore};
use cloud_receiver::store::{Administration, Enrollments, NewDevice};
use e2e::fault::Chance;
use e2e::receiver::Receiver;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;
use wire::record::DeviceStateRecord;
use wire::topic::{Channel, Topic};
use wire::{
    Batch, Body, BootId, ClockStamp, DeviceId, Epoch, Receipt, Record, RecordTime, Seq, Sha256,
    SigningKey,
};

/// Nothing of a device takes longer, on however loaded a machine, or the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Device {
    pub id: DeviceId,
    pub record_key: Arc<SigningKey>,
    pub tls: Arc<rustls::ClientConfig>,
}

/// Enrolls `count` devices with a new contract of this name. `folder` is where the receiver was made.
pub async fn enroll(
    folder: &Path,
    contract: &str,
    count: usize,
    chance: &mut Chance,
) -> Result<Vec<Device>> {
    let keys = Keys::load(&folder.join("keys"))?;
    let database = folder.join("data").join(FILE_NAME);
    let store = SqliteStore::open(&database, keys.master.clone(), Live::default(), false)?;
    let contract = store.add_contract(contract, now()).await?;
    let site = store.add_site(contract, "Gate", now()).await?;
    let mut devices = Vec::with_capacity(count);
    for _ in 0..count {
        let id = DeviceId(Uuid::from_u128(u128::from(chance.number(1..u64::MAX))));
        let record_key = SigningKey::generate();
        let claim = Sha256::of(id.0.as_bytes());
        let expires = now().plus_us(60_000_000);
        store.add_claim(claim, site, now(), expires).await?;
        let new = NewDevice {
            device: id,
            record_key: record_key.verifying_key(),
            agent_version: "simulated".into(),
            certificate: Default::default(),
        };
        let enrolled = store.enroll(claim, new, now()).await?;
        ensure!(enrolled.is_ok(), "enrolling was refused: {enrolled:?}");
        devices.push(Device {
            id,
            record_key: Arc::new(record_key),
            tls: tls(&keys.ca, id)?,
        });
    }
    Ok(devices)
}

fn tls(ca: &Ca, id: DeviceId) -> Result<Arc<rustls::ClientConfig>> {
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::default().serialize_request(&key)?;
    // As on file: none is noted there.
    let enrollment = wire::EnrollmentId(uuid::Uuid::nil());
    let life = std::time::Duration::from_secs(3600);
    let (certificate, _) = ca.issue_device(&request.pem()?, id, enrollment, life, now())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.certificate_der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?,
        )?;
    Ok(Arc::new(config))
}

impl Device {
    /// A signed batch of one record.
    pub fn batch(&self, seq: u64) -> Vec<u8> {
        let time = RecordTime {
            captured_at_us: now(),
            boot_id: BootId(Uuid::from_u128(7)),
            boottime_ns: seq,
            clock: ClockStamp::UNSYNCED,
        };
        let body = Body::DeviceState(DeviceStateRecord {
            state: "started".into(),
            agent_version: "simulated".into(),
            model: None,
        });
        let batch = Batch {
            device_id: self.id,
            epoch: Epoch(1),
            first_seq: Seq(seq),
            prev: Sha256::ZERO,
            records: vec![Record::new(time, body).to_json()],
        };
        batch.sign(&self.record_key).into_bytes()
    }

    /// HTTPS as an agent speaks it, over HTTP/2.
    pub fn client(&self) -> Result<reqwest::Client> {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
        Ok(client.timeout(PATIENCE).build()?)
    }

    pub async fn line(&self, port: u16) -> Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        Ok(connector.connect(name, tcp).await?)
    }

    /// An MQTT session, let in and subscribed to receipts.
    pub async fn session(&self, port: u16) -> Result<Session> {
        let mut session = Session {
            device: self.id,
            line: self.line(port).await?,
            input: Vec::new(),
        };
        let mut connect = b"\0\x04MQTT\x05\x02\0\x3c\0".to_vec();
        text(&mut connect, &self.id.to_string());
        let mut subscribe = vec![0, 1, 0];
        text(&mut subscribe, &session.topic(Channel::DownReceipt));
        subscribe.push(0);
        session.send(0x10, &connect).await?;
        let (kind, body) = session.next().await?;
        ensure!(
            kind == 0x20 && body[1] == 0,
            "REFUSED: CONNACK says {:#04x}",
            body.get(1).copied().unwrap_or(0xff)
        );
        session.send(0x82, &subscribe).await?;
        let (kind, _) = session.next().await?;
        ensure!(
            kind == 0x90,
            "the subscription was answered with {kind:#04x}"
        );
        Ok(session)
    }
}

/// One MQTT connection.
pub struct Session {
    device: DeviceId,
    line: TlsStream<TcpStream>,
    input: Vec<u8>,
}

impl Session {
    /// Delivers one batch; returns its receipt.
    pub async fn deliver(&mut self, batch: &[u8]) -> Result<Receipt> {
        let mut publish = Vec::with_capacity(batch.len() + 128);
        text(&mut publish, &self.topic(Channel::UpBatch));
        publish.extend_from_slice(&[0, 1, 0]);
        publish.extend_from_slice(batch);
        self.send(0x32, &publish).await?;
        let (kind, body) = self.next().await?;
        match kind >> 4 {
            3 => {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                Ok(serde_json::from_slice(&body[3 + topic..])?)
            }
            4 => bail!("PUBACK without a receipt before it: {body:?}"),
            _ => bail!("the session was ended: {kind:#04x} {body:?}"),
        }
    }

    /// Returns when the session has ended.
    pub async fn ended(&mut self) {
        while self.read().await.is_ok() {}
    }

    fn topic(&self, channel: Channel) -> String {
        let device = self.device;
        Topic { device, channel }.to_string()
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let mut packet = vec![kind];
        let mut left = body.len();
        loop {
            packet.push((left % 128) as u8 | if left > 127 { 0x80 } else { 0 });
            left /= 128;
            if left == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.line.write_all(&packet).await?;
        Ok(self.line.flush().await?)
    }

    async fn next(&mut self) -> Result<(u8, Vec<u8>)> {
        let whole = async {
            loop {
                if let Some(packet) = self.take() {
                    return Ok(packet);
                }
                self.read().await?;
            }
        };
        tokio::time::timeout(PATIENCE, whole)
            .await
            .context("no answer in time")?
    }

    async fn read(&mut self) -> Result<()> {
        let read = self.line.read_buf(&mut self.input).await?;
        ensure!(read > 0, "the receiver closed the connection");
        Ok(())
    }

    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let (mut length, mut at) = (0, 1);
        loop {
            let byte = usize::from(*self.input.get(at)?);
            length |= (byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte < 0x80 {
                break;
            }
        }
        if self.input.len() < at + length {
            return None;
        }
        let packet: Vec<u8> = self.input.drain(..at + length).collect();
        Some((packet[0], packet[at..].to_vec()))
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A receiver below `folder`, serving.
pub fn receiver(folder: &Path) -> Result<Receiver> {
    let mut receiver = Receiver::init(folder)?;
    receiver.serve()?;
    Ok(receiver)
}

/// What `/healthz` says of records and of blobs.
pub async fn health(receiver: &Receiver) -> Result<(String, String)> {
    let client = e2e::customer::client(receiver)?;
    let url = format!("{}/healthz", receiver.portal_url());
    let health: serde_json::Value = client.get(url).send().await?.json().await?;
    let word = |key: &str| health[key].as_str().unwrap_or_default().to_owned();
    Ok((word("records"), word("blobs")))
}
