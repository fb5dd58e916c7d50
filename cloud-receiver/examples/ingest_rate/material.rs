//! A receiver set up in a folder, devices enrolled with it, and batches signed beforehand.

use crate::client::Load;
use cloud_receiver::app::database;
use cloud_receiver::auth::password;
use cloud_receiver::ca::Ca;
use cloud_receiver::clock::now;
use cloud_receiver::config::{Config, Listen};
use cloud_receiver::keys::Keys;
use cloud_receiver::live::Live;
use cloud_receiver::seal::random;
use cloud_receiver::store::sqlite::SqliteStore;
use cloud_receiver::store::{Administration, CapacityBook, Enrollments, NewDevice, Usage};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;
use wire::record::{EventRecord, EventState, NormBox, PathPoint};
use wire::{
    Batch, Body, BootId, CameraId, ClockStamp, ClockState, ContractId, DeviceId, Epoch, EventId,
    Record, RecordTime, Seq, Sha256, SigningKey,
};

/// One more than deliver: the batches of the last are for what is measured without a receiver.
const DEVICES: u8 = 11;

/// The folder of one measurement, beside the build: a temporary folder may be in memory, and what a killed measurement
/// leaves must not lie among the sources.
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Self {
        let program = std::env::current_exe().unwrap();
        let dir = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        Self { dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}

pub struct Device {
    pub id: DeviceId,
    pub key: SigningKey,
    pub tls: Arc<rustls::ClientConfig>,
    pub camera: CameraId,
    next: u64,
    prev: Sha256,
}

pub struct World {
    pub devices: Vec<Device>,
    /// What browsers trust.
    pub ca: CertificateDer<'static>,
    store: SqliteStore,
    contract: ContractId,
}

impl World {
    pub async fn new(site: &Site) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            listen: Listen {
                portal: anywhere,
                device: anywhere,
                mqtt: anywhere,
            },
            ..Config::new(site.dir().join("data"), site.dir().join("keys"))
        };
        std::fs::create_dir_all(&config.data_dir).unwrap();
        std::fs::write(site.dir().join("receiver.toml"), config.to_text()).unwrap();
        let keys = Keys::create(&config.key_dir).unwrap();
        let master = keys.master.clone();
        let store = SqliteStore::open(&database(&config), master, Live::default(), true);
        let store = store.unwrap();
        let contract = store.add_contract("bench", now()).await.unwrap();
        let place = store.add_site(contract, "bench", now()).await.unwrap();
        let mut devices = Vec::new();
        for number in 1..=DEVICES {
            let claim = Sha256(random());
            let expires = now().plus_us(60_000_000);
            store.add_claim(claim, place, now(), expires).await.unwrap();
            let id = DeviceId(Uuid::from_u128(u128::from(number)));
            let key = SigningKey::from_seed([number; 32]);
            let new = NewDevice {
                device: id,
                record_key: key.verifying_key(),
                agent_version: "bench".into(),
                certificate: Default::default(),
            };
            store.enroll(claim, new, now()).await.unwrap().unwrap();
            devices.push(Device {
                id,
                key,
                tls: tls(&keys.ca, id),
                camera: CameraId(Uuid::from_bytes(random())),
                next: 1,
                prev: Sha256::ZERO,
            });
        }
        Self {
            devices,
            ca: keys.ca.certificate_der().clone(),
            store,
            contract,
        }
    }

    /// So many users of the contract; answers their login IDs.
    pub async fn users(&self, count: usize, password: &str) -> Vec<String> {
        // The same password for all: hashing is slow by intent, and not what is measured.
        let hash = password::hash(password).unwrap();
        let mut users = Vec::new();
        for number in 1..=count {
            let login = format!("viewer{number}");
            let added = self
                .store
                .add_user(&login, self.contract, &hash, false, now());
            added.await.unwrap();
            users.push(login);
        }
        users
    }

    /// What is held now, counted in the store.
    pub async fn usage(&self) -> Usage {
        self.store.usage(now()).await.unwrap()
    }

    /// The next batches of a device, each going on where the one before ended.
    pub fn load(&mut self, device: usize, size: usize, count: usize) -> Load {
        let device = &mut self.devices[device];
        let batches = (0..count).map(|_| device.batch(size)).collect();
        Load {
            device: device.id,
            tls: Arc::clone(&device.tls),
            batches,
        }
    }
}

impl Device {
    fn batch(&mut self, size: usize) -> Vec<u8> {
        let events = (0..size).map(|_| event(self.camera)).collect();
        self.batch_of(events)
    }

    pub fn batch_of(&mut self, records: Vec<Record>) -> Vec<u8> {
        let size = records.len();
        let batch = Batch {
            device_id: self.id,
            epoch: Epoch(1),
            first_seq: Seq(self.next),
            prev: self.prev,
            records: records.iter().map(Record::to_json).collect(),
        };
        let signed = batch.sign(&self.key);
        self.next += size as u64;
        self.prev = signed.hash();
        signed.into_bytes()
    }
}

/// About 1 KiB: an event with a short path, the costliest kind there is.
pub fn event(camera: CameraId) -> Record {
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
    // Somebody walks: like everything measured, no two points are alike.
    let [x, y, pace]: [u8; 3] = random();
    let path = (0..12).map(|step: i16| PathPoint {
        at_us: at.plus_us(i64::from(step) * 500_000),
        x: (f32::from(x) + f32::from(step) * f32::from(pace) / 99.0) / 300.0,
        y: (f32::from(y) - f32::from(step) * 0.37) / 300.0,
    });
    let body = EventRecord {
        // As the agent draws them.
        id: EventId(Uuid::now_v7()),
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
        path: path.collect(),
        zones: Vec::new(),
        reasons: Vec::new(),
        media: Vec::new(),
    };
    Record::new(time, Body::Event(body))
}

fn tls(ca: &Ca, id: DeviceId) -> Arc<rustls::ClientConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    // As on file: none is noted there.
    let enrollment = wire::EnrollmentId(uuid::Uuid::nil());
    let life = std::time::Duration::from_secs(3600);
    let (certificate, _) = ca
        .issue_device(&csr.pem().unwrap(), id, enrollment, life, now())
        .unwrap();
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
