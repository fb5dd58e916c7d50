//! A real receiver's inside without its listeners: SQLite store, portal over real TLS, and devices that sign what
//! they deliver. For the portal's tests, and for the gallery that is looked at.

#![allow(clippy::unwrap_used, dead_code, missing_debug_implementations)]

use bytes::Bytes;
use cloud_receiver::auth::password::{self, Hashing};
use cloud_receiver::auth::second_factor::SecondFactor;
use cloud_receiver::auth::totp::{Secret, step_at};
use cloud_receiver::blob::{Announced, Begun, Blobs, Owner};
use cloud_receiver::config::Config;
use cloud_receiver::evidence::export::Sources;
use cloud_receiver::ingest::accept::judge;
use cloud_receiver::keys::Keys;
use cloud_receiver::live::Live;
use cloud_receiver::office::Office;
use cloud_receiver::portal::{self, Claims, Contact, PortalState, Views};
use cloud_receiver::store::sqlite::{FILE_NAME, SqliteStore};
use cloud_receiver::store::{
    AccountBooks, AccountKind, Administration, DeviceRow, DeviceWrites, Enrollments, NewDevice,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;
use wire::claim::Fingerprint;
use wire::heartbeat::{Heartbeat, SpoolReport};
use wire::record::{
    CameraStateRecord, CountRecord, DeviceStateRecord, EventRecord, EventState, GapRecord,
    MediaRecord, NormBox, ObjectBox, PathPoint, Reason,
};
use wire::{
    Batch, Body, BootId, CameraId, ClockStamp, ClockState, ContractId, DeviceId, Epoch, EventId,
    MediaClass, Record, RecordTime, Seq, Sha256, SigningKey, UtcMicros,
};

pub const SECOND_US: i64 = 1_000_000;
const MAX_BLOB_BYTES: u64 = 16 * 1024 * 1024;
pub const MINUTE_US: i64 = 60 * SECOND_US;

pub fn now() -> UtcMicros {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    UtcMicros(i64::try_from(since.as_micros()).unwrap())
}

/// What an account's app has.
pub fn secret_of(login_id: &str) -> Secret {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&Sha256::of(login_id.as_bytes()).0[..20]);
    Secret::from_bytes(bytes)
}

/// What the app shows so many steps from now.
pub fn code_of(login_id: &str, steps: i64) -> String {
    secret_of(login_id).code(step_at(now()) + steps)
}

pub struct World {
    _dir: tempfile::TempDir,
    pub store: Arc<SqliteStore>,
    pub live: Live,
    pub address: SocketAddr,
    /// The portal's own certificate, DER.
    pub certificate: Vec<u8>,
    pub hashing: Hashing,
    pub blobs: Arc<Blobs>,
    pub views: Arc<Views>,
    pub office: Office,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    /// Starts a portal on a free port.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::default();
        let keys = Keys::create(&dir.path().join("keys")).unwrap();
        let master = keys.master.clone();
        let path = dir.path().join(FILE_NAME);
        let store = Arc::new(SqliteStore::open(&path, master, live.clone(), true).unwrap());
        let blobs = Arc::new(Blobs::open(dir.path(), store.clone(), MAX_BLOB_BYTES).unwrap());
        let stop = CancellationToken::new();
        let contact = Contact {
            name: "みなとセキュリティ株式会社".into(),
            mail: Some("support@example.jp".into()),
            phone: Some("03-0000-0000".into()),
        };
        let hashing = Hashing::new().unwrap();
        let key = Arc::new(keys.evidence);
        let exports = Sources {
            store: (*store).clone(),
            blobs: blobs.clone(),
            key: key.clone(),
        };
        let mut config = Config::new(dir.path().to_owned(), dir.path().join("keys"));
        config.heads.path = dir.path().join("heads");
        config.erasure.key_backup = dir.path().join("copies/contract-keys.json");
        let office = Office::new((*store).clone(), config, blobs.clone(), key);
        let office = office.with_ca(Arc::new(keys.ca));
        let mut state = PortalState::new(
            store.clone(),
            blobs.clone(),
            Arc::new(exports),
            live.clone(),
            hashing.clone(),
            contact,
            stop.clone(),
        );
        state.claims = Some(Arc::new(Claims {
            fingerprint: Fingerprint::of_certificate(b"the receiver's own"),
            url: "https://portal.example:8443".into(),
        }));
        state.office = Some(Arc::new(office.clone()));
        let views = Arc::clone(&state.views);
        let (address, certificate) = serve(portal::router(state), stop.clone()).await;
        Self {
            _dir: dir,
            store,
            live,
            address,
            certificate,
            hashing,
            blobs,
            views,
            office,
            stop,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// An account; the password is not to be changed unless asked.
    pub async fn user(
        &self,
        contract: ContractId,
        login_id: &str,
        password: &str,
        must_change: bool,
    ) {
        let hash = password::hash(password).unwrap();
        self.store
            .add_user(login_id, contract, &hash, must_change, now())
            .await
            .unwrap();
    }

    /// An operator; the password is not to be changed unless asked.
    pub async fn operator(&self, login_id: &str, password: &str, must_change: bool) {
        let hash = password::hash(password).unwrap();
        self.store
            .add_operator(login_id, &hash, now())
            .await
            .unwrap();
        let operators = self.store.accounts(AccountKind::Operator);
        operators
            .reset_password(login_id, &hash, must_change, now())
            .await
            .unwrap();
        self.second_factor(AccountKind::Operator, login_id).await;
    }

    /// From now on nothing can be added to the audit log.
    pub fn fill_audit(&self) {
        let connection = rusqlite::Connection::open(self._dir.path().join(FILE_NAME)).unwrap();
        let sql =
            "create trigger full before insert on audit begin select raise(abort, 'full'); end";
        connection.execute_batch(sql).unwrap();
    }

    /// From now on it takes entries again.
    pub fn empty_audit(&self) {
        let connection = rusqlite::Connection::open(self._dir.path().join(FILE_NAME)).unwrap();
        connection.execute_batch("drop trigger full").unwrap();
    }

    /// Sets up the second factor whose codes a [`super::browser::Browser`] knows; none of its codes was used yet.
    pub async fn second_factor(&self, kind: AccountKind, login_id: &str) {
        let accounts = self.store.accounts(kind);
        accounts
            .remove_second_factor(login_id, Sha256::ZERO, now())
            .await
            .unwrap();
        let factor = SecondFactor {
            secret: secret_of(login_id),
            recovery: vec![],
        };
        accounts
            .begin_second_factor(login_id, &factor)
            .await
            .unwrap();
        let confirmed = accounts
            .confirm_second_factor(login_id, &factor, 0, now())
            .await;
        assert!(confirmed.unwrap());
    }

    /// A new site of the contract with one enrolled device.
    pub async fn device(&self, contract: ContractId, site: &str) -> Device {
        let site = self.store.add_site(contract, site, now()).await.unwrap();
        let device = DeviceId(Uuid::now_v7());
        let claim = Sha256::of(device.0.as_bytes());
        let expires = now().plus_us(MINUTE_US);
        self.store
            .add_claim(claim, site, now(), expires)
            .await
            .unwrap();
        let key = SigningKey::generate();
        let new = NewDevice {
            device,
            record_key: key.verifying_key(),
            agent_version: "0.1.0".into(),
            certificate: Default::default(),
        };
        self.store.enroll(claim, new, now()).await.unwrap().unwrap();
        Device {
            row: self.store.device(device).await.unwrap().unwrap(),
            key,
            epoch: Epoch(rand::random()),
            next: Seq::FIRST,
            prev: Sha256::ZERO,
        }
    }

    /// Delivers records as one signed batch.
    pub async fn deliver(&self, device: &mut Device, records: Vec<Record>) {
        self.deliver_at(device, records, now()).await;
    }

    /// They arrive then.
    pub async fn deliver_at(&self, device: &mut Device, records: Vec<Record>, at: UtcMicros) {
        let signed = device.batch(records);
        self.take_in(device, signed, at).await;
    }

    /// A batch comes in, perhaps not for the first time.
    pub async fn take_in(&self, device: &Device, signed: Vec<u8>, at: UtcMicros) {
        let accepted = judge(&device.row, signed).expect("a good batch");
        let receipts = self.store.accept(vec![accepted], at).await.unwrap();
        assert!(
            receipts
                .iter()
                .all(|(_, receipt)| receipt.rejected.is_empty()),
            "{receipts:?}"
        );
    }

    pub async fn heard(&self, device: &Device, at: UtcMicros) {
        self.store.heard(device.row.device, None, at).await.unwrap();
    }

    /// What a device says of itself every minute.
    pub async fn heartbeat(&self, device: &Device, heartbeat: &Heartbeat) {
        self.heartbeat_at(device, heartbeat, now()).await;
    }

    pub async fn heartbeat_at(&self, device: &Device, heartbeat: &Heartbeat, at: UtcMicros) {
        self.store
            .heard(device.row.device, Some(heartbeat), at)
            .await
            .unwrap();
    }

    /// Uploads a blob.
    pub async fn blob(&self, device: &Device, bytes: &[u8]) -> Sha256 {
        let sha256 = Sha256::of(bytes);
        let owner = Owner {
            contract: device.row.contract,
            device: device.row.device,
        };
        let announced = Announced {
            sha256,
            offset: 0,
            length: bytes.len() as u64,
            content_type: "image/jpeg".into(),
        };
        if let Begun::Upload(mut upload) = self.blobs.begin(owner, announced).await.unwrap() {
            upload.write(Bytes::copy_from_slice(bytes)).await.unwrap();
            upload.end(now()).await.unwrap();
        }
        sha256
    }
}

/// One appliance, as far as the cloud can tell.
pub struct Device {
    pub row: DeviceRow,
    key: SigningKey,
    epoch: Epoch,
    next: Seq,
    prev: Sha256,
}

impl Device {
    /// The next batch, signed.
    pub fn batch(&mut self, records: Vec<Record>) -> Vec<u8> {
        let batch = Batch {
            device_id: self.row.device,
            epoch: self.epoch,
            first_seq: self.next,
            prev: self.prev,
            records: records.iter().map(Record::to_json).collect(),
        };
        self.next = self.next.advanced_by(records.len() as u64);
        let signed = batch.sign(&self.key);
        self.prev = signed.hash();
        signed.into_bytes()
    }

    /// The agent starts anew: numbers begin again in a new epoch, and the chain goes on.
    pub fn restart(&mut self) {
        self.epoch = Epoch(rand::random());
        self.next = Seq::FIRST;
    }

    /// Loses the batch on the way: the next one's link stays open.
    pub fn lose(&mut self, records: Vec<Record>) {
        self.batch(records);
    }
}

pub fn time(at: UtcMicros, clock: ClockStamp) -> RecordTime {
    RecordTime {
        captured_at_us: at,
        boot_id: BootId(Uuid::from_u128(77)),
        boottime_ns: 3_600_000_000_000,
        clock,
    }
}

pub const SYNCED: ClockStamp = ClockStamp {
    state: ClockState::Synced,
    offset_us: 0,
    error_us: Some(2_400),
};

pub fn heartbeat(clock: ClockStamp, pending_records: u64, parked_records: u64) -> Heartbeat {
    Heartbeat {
        sent_at_us: now(),
        epoch: Epoch(1),
        agent_version: "0.1.7".into(),
        uptime_seconds: 60,
        clock,
        clock_checked_seconds_ago: Some(12),
        spool: SpoolReport {
            pending_records,
            pending_blobs: 3,
            bytes: 4096,
            parked_records,
            oldest_pending_us: None,
        },
        carriage: "mqtt".into(),
        cameras: vec![],
    }
}

pub fn camera_state(
    camera: CameraId,
    name: &str,
    state: &str,
    reason: Option<&str>,
    since: UtcMicros,
) -> Record {
    let body = CameraStateRecord {
        camera,
        name: name.into(),
        state: state.into(),
        reason: reason.map(Into::into),
        width: Some(768),
        height: Some(576),
        codec: Some("h264".into()),
    };
    Record::new(time(since, SYNCED), Body::CameraState(body))
}

/// The agent of a device has `started`, or is `stopping`.
pub fn device_state(state: &str, at: UtcMicros) -> Record {
    let body = DeviceStateRecord {
        state: state.into(),
        agent_version: "0.1.7".into(),
        model: None,
    };
    Record::new(time(at, SYNCED), Body::DeviceState(body))
}

/// What a device says it lost, told at the end of it.
pub fn gap(
    camera: Option<CameraId>,
    class: &str,
    reason: &str,
    count: u64,
    from_us: UtcMicros,
    to_us: UtcMicros,
) -> Record {
    let body = GapRecord {
        from_us,
        to_us,
        camera,
        class: class.into(),
        count,
        reason: reason.into(),
    };
    Record::new(time(to_us, SYNCED), Body::Gap(body))
}

/// An event and the picture that goes with it.
#[derive(Clone)]
pub struct Scene {
    pub event: EventId,
    pub camera: CameraId,
    pub class: &'static str,
    pub opened: UtcMicros,
    pub closed: Option<UtcMicros>,
    pub revision: u32,
    pub boxes: Vec<ObjectBox>,
    pub path: Vec<PathPoint>,
    pub zones: Vec<String>,
    pub reasons: Vec<Reason>,
    pub clock: ClockStamp,
}

impl Scene {
    pub fn new(camera: CameraId, class: &'static str, opened: UtcMicros) -> Self {
        Self {
            event: EventId(Uuid::now_v7()),
            camera,
            class,
            opened,
            closed: Some(opened.plus_us(23 * SECOND_US)),
            revision: 1,
            boxes: vec![object(class, 0.91, [0.4, 0.3, 0.1, 0.3])],
            path: vec![],
            zones: vec![],
            reasons: vec![],
            clock: SYNCED,
        }
    }

    pub fn event_record(&self) -> Record {
        let own = self.boxes.first();
        let body = EventRecord {
            id: self.event,
            revision: self.revision,
            state: if self.closed.is_some() {
                EventState::Closed
            } else {
                EventState::Opened
            },
            camera: self.camera,
            class: self.class.into(),
            score: own.map_or(0.5, |object| object.score),
            opened_at_us: self.opened,
            last_seen_at_us: self.closed.unwrap_or(self.opened.plus_us(4 * SECOND_US)),
            closed_at_us: self.closed,
            track: 1,
            rect: own.map_or(
                NormBox {
                    x: 0.0,
                    y: 0.0,
                    w: 0.1,
                    h: 0.1,
                },
                |object| object.rect,
            ),
            path: self.path.clone(),
            zones: self.zones.clone(),
            reasons: self.reasons.clone(),
            media: vec![],
        };
        Record::new(time(self.opened, self.clock), Body::Event(body))
    }

    /// The first object of a scene is the event's own.
    pub fn snapshot_record(&self, jpeg: &[u8], size: (u32, u32)) -> Record {
        let mut boxes = self.boxes.clone();
        if let Some(own) = boxes.first_mut() {
            own.event = Some(self.event);
        }
        let body = MediaRecord {
            event: Some(self.event),
            ..picture(jpeg, size, self.camera, MediaClass::Snapshot, boxes)
        };
        Record::new(time(self.opened, self.clock), Body::Media(body))
    }
}

/// A picture of a camera that no longer sees: `before` or `after` it happened.
pub fn moment_record(scene: &Scene, moment: &str, jpeg: &[u8], at: UtcMicros) -> Record {
    let body = MediaRecord {
        event: Some(scene.event),
        moment: Some(moment.into()),
        ..picture(jpeg, (768, 576), scene.camera, MediaClass::Snapshot, vec![])
    };
    Record::new(time(at, SYNCED), Body::Media(body))
}

/// A thing that made an event worth telling; of a camera the name is empty.
pub fn reason(rule: &str, name: &str, at_us: UtcMicros) -> Reason {
    Reason {
        rule: rule.into(),
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        direction: None,
        count: None,
        seconds: None,
        at_us,
    }
}

/// So many in the whole picture within the minute that begins then; told at its end.
pub fn count(camera: CameraId, class: &str, count: u32, minute_us: UtcMicros) -> CountRecord {
    CountRecord {
        camera,
        minute_us,
        class: class.into(),
        zone: None,
        line: None,
        direction: None,
        count,
        peak: None,
    }
}

pub fn count_record(count: CountRecord) -> Record {
    let told = count.minute_us.plus_us(MINUTE_US);
    Record::new(time(told, SYNCED), Body::Count(count))
}

pub fn periodic_record(camera: CameraId, jpeg: &[u8], size: (u32, u32), at: UtcMicros) -> Record {
    let body = picture(jpeg, size, camera, MediaClass::Periodic, vec![]);
    Record::new(time(at, SYNCED), Body::Media(body))
}

fn picture(
    jpeg: &[u8],
    size: (u32, u32),
    camera: CameraId,
    class: MediaClass,
    boxes: Vec<ObjectBox>,
) -> MediaRecord {
    MediaRecord {
        sha256: Sha256::of(jpeg),
        class,
        bytes: jpeg.len() as u64,
        content_type: "image/jpeg".into(),
        camera,
        width: size.0,
        height: size.1,
        event: None,
        command: None,
        boxes,
        quality: 0.8,
        masked: false,
        moment: None,
    }
}

pub fn object(class: &str, score: f32, [x, y, w, h]: [f32; 4]) -> ObjectBox {
    ObjectBox {
        class: class.into(),
        score,
        rect: NormBox { x, y, w, h },
        track: None,
        event: None,
    }
}

/// The portal on plain TLS with a certificate of its own, HTTP/2 and HTTP/1.1.
async fn serve(router: axum::Router, stop: CancellationToken) -> (SocketAddr, Vec<u8>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .unwrap();
    let certificate = made.cert.der().to_vec();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let port = std::env::var("PORTAL_PORT")
        .ok()
        .and_then(|p| p.parse().ok())
        .unwrap_or(0_u16);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => match accepted { Ok(accepted) => accepted, Err(_) => continue },
            };
            let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
            tokio::spawn(async move {
                // As the receiver's own listener: else an answer waits for the client's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                let Ok(tls) = acceptor.accept(stream).await else {
                    return;
                };
                let service = router.map_request(
                    move |mut request: hyper::Request<hyper::body::Incoming>| {
                        request
                            .extensions_mut()
                            .insert(axum::extract::ConnectInfo(peer));
                        request.map(axum::body::Body::new)
                    },
                );
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let connection =
                    builder.serve_connection(TokioIo::new(tls), TowerToHyperService::new(service));
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = connection => {}
                }
            });
        }
    });
    (address, certificate)
}
