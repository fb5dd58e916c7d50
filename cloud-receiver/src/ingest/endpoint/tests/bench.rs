//! An endpoint that listens, its certificates, and a store whose commits a test can hold back or let fail.

use super::super::{EndpointDeps, Limits, serve};
use crate::ca::Certificate;
use crate::ingest::accept::{Accepted, Refused};
use crate::live::Live;
use crate::seal::SecretKey;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Administration, DeviceRow, DeviceWrites, Enrollments, NewDevice, Result, StoreError,
};
use async_trait::async_trait;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::command::Command;
use wire::heartbeat::Heartbeat;
use wire::{
    Batch, CommandId, DeviceId, Epoch, Receipt, Seq, Sha256, SigningKey, SiteId, UtcMicros,
};

pub(super) const NOW: UtcMicros = UtcMicros(1_700_000_000_000_000);
pub(super) const EPOCH: Epoch = Epoch(7);

/// Long enough for a machine busy with other tests; only ever waited for in full by a test that fails.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Waits until the condition holds.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    within(what, async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !holds().await {
            tick.tick().await;
        }
    })
    .await;
}

pub(super) struct Bench {
    _dir: tempfile::TempDir,
    path: PathBuf,
    pub store: Arc<GatedStore>,
    site: SiteId,
    pub address: SocketAddr,
    ca: Authority,
    pub command_key: Arc<SigningKey>,
    pub stop: CancellationToken,
    pub serving: JoinHandle<()>,
}

impl Bench {
    pub(super) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receiver.db");
        let inner = SqliteStore::open(&path, master(), Live::default(), true).unwrap();
        let contract = inner.add_contract("Acme", NOW).await.unwrap();
        let site = inner.add_site(contract, "Gate", NOW).await.unwrap();
        let store = Arc::new(GatedStore::new(inner));

        let ca = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let command_key = Arc::new(SigningKey::from_seed([200; 32]));
        let stop = CancellationToken::new();
        let deps = EndpointDeps {
            store: store.clone(),
            command_key: Arc::clone(&command_key),
            now: Arc::new(|| NOW),
            limits,
        };
        let serving = tokio::spawn(serve(listener, ca.server(), deps, stop.clone()));
        Self {
            _dir: dir,
            path,
            store,
            site,
            address,
            ca,
            command_key,
            stop,
            serving,
        }
    }

    /// A device that is on file.
    pub(super) async fn device(&self, number: u8) -> Device {
        let device = self.stranger(number);
        let claim = Sha256::of(&[number]);
        let store = &self.store.inner;
        store
            .add_claim(claim, self.site, NOW, NOW.plus_us(1))
            .await
            .unwrap();
        let new = NewDevice {
            device: device.id,
            record_key: device.key.verifying_key(),
            agent_version: "0.1.0".into(),
            certificate: Default::default(),
        };
        store.enroll(claim, new, NOW).await.unwrap().unwrap();
        device
    }

    /// A device with a good certificate of which nothing is on file.
    pub(super) fn stranger(&self, number: u8) -> Device {
        let id = DeviceId(Uuid::from_u128(u128::from(number)));
        Device {
            id,
            key: SigningKey::from_seed([number; 32]),
            tls: self.ca.client(id),
        }
    }

    pub(super) fn tls_without_certificate(&self) -> Arc<ClientConfig> {
        self.ca.client_without_certificate()
    }

    /// The same database, as another process opens it.
    pub(super) fn other_process(&self) -> SqliteStore {
        SqliteStore::open(&self.path, master(), Live::default(), false).unwrap()
    }
}

fn master() -> SecretKey {
    SecretKey::from_bytes([9; 32])
}

pub(super) struct Device {
    pub id: DeviceId,
    key: SigningKey,
    pub tls: Arc<ClientConfig>,
}

impl Device {
    /// A good batch of records `first ..= last`.
    pub(super) fn batch(&self, first: u64, last: u64) -> Vec<u8> {
        self.signed(self.id, first, last)
    }

    /// As above, but naming `id`.
    pub(super) fn signed(&self, id: DeviceId, first: u64, last: u64) -> Vec<u8> {
        let record = |seq: u64| {
            format!(
                r#"{{"v":1,"captured_at_us":{seq},"boot_id":"{}","boottime_ns":1,
                    "clock":{{"state":"unsynced","offset_us":0}},"kind":"device_state",
                    "state":"started","agent_version":"1"}}"#,
                Uuid::from_u128(1)
            )
            .into_bytes()
        };
        let batch = Batch {
            device_id: id,
            epoch: EPOCH,
            first_seq: Seq(first),
            prev: Sha256::ZERO,
            records: (first..=last).map(record).collect(),
        };
        batch.sign(&self.key).into_bytes()
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().into();
        let issuer = Issuer::new(params, key);
        Self { issuer, root }
    }

    fn leaf(&self, name: SanType) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().into();
        (vec![certificate], key.into())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        Arc::new(roots)
    }

    fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots(), Arc::clone(&provider))
                .build()
                .unwrap();
        let (chain, key) = self.leaf(SanType::DnsName("localhost".try_into().unwrap()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }

    fn client(&self, device: DeviceId) -> Arc<ClientConfig> {
        let uri = wire::enroll::device_uri(device);
        let (chain, key) = self.leaf(SanType::URI(uri.try_into().unwrap()));
        let config = self.client_builder().with_client_auth_cert(chain, key);
        Arc::new(config.unwrap())
    }

    fn client_without_certificate(&self) -> Arc<ClientConfig> {
        Arc::new(self.client_builder().with_no_client_auth())
    }

    fn client_builder(
        &self,
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
    }
}

/// The real store, with a gate before each commit.
pub(super) struct GatedStore {
    pub inner: SqliteStore,
    is_open: watch::Sender<bool>,
    is_failing: AtomicBool,
}

impl GatedStore {
    fn new(inner: SqliteStore) -> Self {
        Self {
            inner,
            is_open: watch::Sender::new(true),
            is_failing: AtomicBool::new(false),
        }
    }

    pub(super) fn hold_commits(&self) {
        self.is_open.send_replace(false);
    }

    pub(super) fn let_commits_go(&self) {
        self.is_open.send_replace(true);
    }

    pub(super) fn fail_commits(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::SeqCst);
    }
}

#[async_trait]
impl DeviceWrites for GatedStore {
    async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>> {
        self.inner.device(device).await
    }

    async fn heard(
        &self,
        device: DeviceId,
        heartbeat: Option<&Heartbeat>,
        at: UtcMicros,
    ) -> Result<()> {
        self.inner.heard(device, heartbeat, at).await
    }

    async fn certificate_shown(&self, device: DeviceId, certificate: Certificate) -> Result<()> {
        self.inner.certificate_shown(device, certificate).await
    }

    async fn accept(
        &self,
        batches: Vec<Accepted>,
        at: UtcMicros,
    ) -> Result<Vec<(DeviceId, Receipt)>> {
        let mut gate = self.is_open.subscribe();
        gate.wait_for(|is_open| *is_open).await.unwrap();
        if self.is_failing.load(Ordering::SeqCst) {
            return Err(StoreError::Database("no space left on device".into()));
        }
        self.inner.accept(batches, at).await
    }

    async fn pending_commands(&self, device: DeviceId, at: UtcMicros) -> Result<Vec<Command>> {
        self.inner.pending_commands(device, at).await
    }

    async fn command_sent(&self, command: CommandId, at: UtcMicros) -> Result<()> {
        self.inner.command_sent(command, at).await
    }

    async fn refuse(
        &self,
        device: DeviceId,
        refused: &Refused,
        at: UtcMicros,
    ) -> Result<Option<Receipt>> {
        self.inner.refuse(device, refused, at).await
    }

    fn changes(&self) -> watch::Receiver<i64> {
        self.inner.changes()
    }
}
