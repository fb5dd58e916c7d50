//! A whole receiver on a temporary folder, and devices that enrolled with it: for tests of what listens.

#![allow(clippy::unwrap_used)]

use crate::app::{App, database};
use crate::clock::now;
use crate::config::{Config, Limits, Listen};
use crate::keys::Keys;
use crate::live::Live;
use crate::seal::random;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, SiteRow};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;
use wire::claim::ClaimCode;
use wire::enroll::{EnrollRequest, EnrollResponse, Refusal};
use wire::record::DeviceStateRecord;
use wire::{
    Batch, Body, BootId, ClockStamp, DeviceId, Epoch, Record, RecordTime, Seq, Sha256, SigningKey,
    UtcMicros,
};

/// Everything awaited in tests comes within this, or the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen within {DEADLINE:?}"))
}

pub(crate) struct Receiver {
    _dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) app: App,
    ca: CertificateDer<'static>,
    fingerprint: wire::claim::Fingerprint,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With a word in its configuration, which may go beyond what a person may set.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config {
            listen: Listen {
                portal: anywhere,
                device: anywhere,
                mqtt: anywhere,
            },
            limits: Limits {
                blob_bytes: 8 * 1024 * 1024,
                ..Limits::default()
            },
            ..Config::new(dir.path().join("data"), dir.path().join("keys"))
        };
        change(&mut config);
        std::fs::create_dir_all(&config.data_dir).unwrap();
        let keys = Keys::create(&config.key_dir).unwrap();
        let store = SqliteStore::open(
            &database(&config),
            keys.master.clone(),
            Live::default(),
            true,
        );
        let store = store.unwrap();
        let contract = store.add_contract("Acme", now()).await.unwrap();
        store.add_site(contract, "Tokyo", now()).await.unwrap();
        let app = App::start(&config).await.unwrap();
        Self {
            _dir: dir,
            config,
            app,
            ca: keys.ca.certificate_der().clone(),
            fingerprint: keys.ca.fingerprint(),
        }
    }

    pub(crate) async fn site(&self) -> SiteRow {
        self.app.store.sites().await.unwrap().remove(0)
    }

    pub(crate) async fn claim(&self, valid_us: i64) -> ClaimCode {
        let code = ClaimCode {
            secret: random(),
            fingerprint: self.fingerprint,
        };
        let site = self.site().await.id;
        let created = now().plus_us(-2);
        let expires = created.plus_us(valid_us);
        self.app
            .store
            .add_claim(code.secret_hash(), site, created, expires)
            .await
            .unwrap();
        code
    }

    /// Enrolls over the portal's listener, as a device does.
    pub(crate) async fn enroll(&self, code: &ClaimCode, id: u128) -> Result<Device, Refusal> {
        self.enroll_as(code, id, SigningKey::generate()).await
    }

    /// With a record key that the device has had before.
    pub(crate) async fn enroll_as(
        &self,
        code: &ClaimCode,
        id: u128,
        record_key: SigningKey,
    ) -> Result<Device, Refusal> {
        let tls_key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default()
            .serialize_request(&tls_key)
            .unwrap();
        let id = DeviceId(Uuid::from_u128(id));
        let request = EnrollRequest::new(
            &code.secret,
            id,
            csr.pem().unwrap(),
            &record_key,
            "0.1.0".into(),
        );
        let url = format!(
            "https://127.0.0.1:{}/device/v1/enroll",
            self.app.portal.port()
        );
        let answer = self
            .client(None)
            .post(url)
            .json(&request)
            .send()
            .await
            .unwrap();
        if !answer.status().is_success() {
            return Err(answer.json().await.unwrap());
        }
        let answer: EnrollResponse = answer.json().await.unwrap();
        assert!(
            answer
                .device_url
                .ends_with(&format!(":{}", self.app.device.port()))
        );
        let certificate =
            CertificateDer::from_pem_slice(answer.certificate_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(tls_key.serialize_pem().as_bytes()).unwrap();
        Ok(self
            .device_with(id, record_key, certificate, key)
            .with_command_key(answer.command_key))
    }

    /// A device that shows this certificate.
    pub(crate) fn device_with(
        &self,
        id: DeviceId,
        record_key: SigningKey,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Device {
        let tls = self.tls(Some((certificate, key)));
        Device {
            id,
            record_key,
            client: http(&tls),
            tls,
            url: format!("https://127.0.0.1:{}/device/v1", self.app.device.port()),
            mqtt: self.app.mqtt,
            command_key: SigningKey::from_seed([0; 32]).verifying_key(),
        }
    }

    pub(crate) async fn device(&self, id: u128) -> Device {
        let code = self.claim(60_000_000).await;
        self.enroll(&code, id).await.unwrap()
    }

    /// TLS as a device makes it; without an identity no certificate is shown.
    pub(crate) fn tls(
        &self,
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match identity {
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap(),
            None => builder.with_no_client_auth(),
        })
    }

    pub(crate) fn client(
        &self,
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> reqwest::Client {
        http(&self.tls(identity))
    }

    /// Every file below the data folder but the blob store's marker.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.config.data_dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else if !path.ends_with(crate::blob::MARKER) {
                    files.push(path)
                }
            }
        }
        files
    }
}

fn http(tls: &Arc<rustls::ClientConfig>) -> reqwest::Client {
    let mut tls = (**tls).clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .build()
        .unwrap()
}

pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) record_key: SigningKey,
    pub(crate) client: reqwest::Client,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) url: String,
    pub(crate) mqtt: SocketAddr,
    pub(crate) command_key: wire::VerifyingKey,
}

impl Device {
    fn with_command_key(self, command_key: wire::VerifyingKey) -> Self {
        Self {
            command_key,
            ..self
        }
    }

    /// A signed batch of `count` records.
    pub(crate) fn batch(&self, first: u64, count: usize, prev: Sha256) -> wire::SignedBatch {
        let batch = Batch {
            device_id: self.id,
            epoch: Epoch(1),
            first_seq: Seq(first),
            prev,
            records: vec![record().to_json(); count],
        };
        batch.sign(&self.record_key)
    }

    /// A TLS connection to a listener, for bytes that no client library would send.
    pub(crate) async fn raw(&self, to: SocketAddr) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(to).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .unwrap()
    }
}

pub(crate) fn record() -> Record {
    let time = RecordTime {
        captured_at_us: UtcMicros(1_700_000_000_000_000),
        boot_id: BootId(Uuid::from_u128(7)),
        boottime_ns: 1,
        clock: ClockStamp::UNSYNCED,
    };
    let state = DeviceStateRecord {
        state: "started".into(),
        agent_version: "0.1.0".into(),
        model: None,
    };
    Record::new(time, Body::DeviceState(state))
}
