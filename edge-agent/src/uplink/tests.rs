//! The uplink against a receiver in miniature, over real TLS, MQTT and HTTPS on loopback.

#![allow(clippy::unwrap_used)]

mod ca;
mod doubtful; // what the receiver answers wrongly, late, twice or not at all
mod hanging; // the spool does not answer
mod ipv6; // a receiver that has an address and no name
mod receiver;
mod renewal; // of the certificate, and what can go wrong with it
mod time; // by which certificates are judged

use crate::clock::{RealClocks, SimClocks, TimeSource};
use crate::config::{SpoolConfig, UplinkConfig};
use crate::health::Health;
use crate::identity::{Enrollment, SpoolKey};
use crate::sink::Sink;
use crate::spool::{Spool, SpoolHandle, SpoolKeys};
use crate::uplink::https::{DeviceClient, HttpsError, enroll};
use crate::uplink::pace::Pace;
use crate::uplink::{
    Carriage, FlooredTime, TimeFloor, Uplink, UplinkParts, UplinkStatus, https, tls,
};
use bytes::Bytes;
use ca::{Ca, Leaf};
use receiver::{Listening, Receiver, TIME};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;
use wire::claim::Fingerprint;
use wire::command::{Command, Request, SignedCommand};
use wire::enroll::EnrollRequest;
use wire::heartbeat::{Heartbeat, SpoolReport};
use wire::record::{AuditRecord, MediaRecord};
use wire::{
    Body, CameraId, ClockStamp, CommandId, DeviceId, Epoch, MediaClass, Record, Seq, Sha256,
    SigningKey, UtcMicros,
};

const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));
const CAMERA: CameraId = CameraId(Uuid::from_u128(0xca));
const LONG_VALID: (i32, i32) = (2020, 2100);

fn record_key() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

fn command_key() -> SigningKey {
    SigningKey::from_seed([3; 32])
}

/// Receiver, spool and what is needed to start uplinks between them.
struct Bench {
    dir: TempDir,
    receiver: Receiver,
    ca: Arc<Ca>,
    https: Listening,
    spool: SpoolHandle,
    time: TimeSource,
    floor: TimeFloor,
    stop: CancellationToken,
}

struct Running {
    uplink: Uplink,
    commands: mpsc::Receiver<Command>,
}

impl Bench {
    async fn new() -> Self {
        let ca = Ca::new();
        let server = ca.leaf(&["localhost", "127.0.0.1", "::1"], LONG_VALID);
        let receiver = Receiver::new(record_key().verifying_key(), ca.server(&server, Some(&ca)));
        let dir = tempfile::tempdir().unwrap();
        let time = TimeSource::new(Arc::new(RealClocks::new()));
        let config = SpoolConfig {
            quota_bytes: 1 << 30,
            min_free_bytes: 0,
        };
        let keys = SpoolKeys {
            device_id: DEVICE,
            record_key: record_key(),
            spool_key: SpoolKey([2; 32]),
        };
        let health = Health::default();
        let spool = Spool::open(dir.path(), &config, keys, time.clone(), &health).unwrap();
        Self {
            https: receiver.listen_https("127.0.0.1:0").await,
            dir,
            receiver,
            ca: Arc::new(ca),
            spool,
            time,
            floor: TimeFloor::new(None),
            stop: CancellationToken::new(),
        }
    }

    fn enrollment(&self, mqtt_port: u16) -> Enrollment {
        let leaf = self.ca.leaf(&["device"], LONG_VALID);
        enrollment(&self.ca, &leaf, self.https.address.port(), mqtt_port)
    }

    fn start(&self, mqtt_port: u16) -> Running {
        self.start_with(self.enrollment(mqtt_port))
    }

    fn start_with(&self, enrollment: Enrollment) -> Running {
        self.start_beating(enrollment, 60)
    }

    fn start_beating(&self, enrollment: Enrollment, heartbeat_seconds: u32) -> Running {
        let (uplink, commands) = Uplink::start(UplinkParts {
            spool: self.spool.clone(),
            device_id: DEVICE,
            enrollment,
            data_dir: self.dir.path().to_owned(),
            config: UplinkConfig {
                enabled: true,
                mqtt: true,
                heartbeat_seconds,
            },
            heartbeat: Arc::new(heartbeat),
            time: self.time.clone(),
            floor: self.floor.clone(),
            health: Health::default(),
            stop: self.stop.clone(),
        })
        .unwrap();
        Running { uplink, commands }
    }

    /// A device client of its own, as the media workers use it.
    fn client(&self) -> DeviceClient {
        let enrollment = self.enrollment(1);
        let time = FlooredTime::new(self.time.clone(), self.floor.clone());
        let config = tls::device_config(&enrollment, time, tls::HTTP_ALPN).unwrap();
        DeviceClient::new(config, enrollment.device_url).unwrap()
    }

    async fn put(&self, action: &str) {
        self.spool.put_durable(self.audit(action)).await.unwrap();
    }

    fn audit(&self, action: &str) -> Record {
        let audit = AuditRecord {
            actor: "agent".into(),
            action: action.into(),
            outcome: "done".into(),
            command: None,
            detail: None,
            file: None,
        };
        Record::new(self.time.now(), Body::Audit(audit))
    }

    async fn put_picture(&self, fill: u8, len: usize) -> Sha256 {
        let bytes = vec![fill; len];
        let media = MediaRecord {
            sha256: Sha256::of(&bytes),
            class: MediaClass::Snapshot,
            bytes: len as u64,
            content_type: "image/jpeg".into(),
            camera: CAMERA,
            width: 1,
            height: 1,
            event: None,
            command: None,
            boxes: Vec::new(),
            quality: 0.0,
            masked: false,
            moment: None,
        };
        let (spool, time, sha256) = (self.spool.clone(), self.time.now(), media.sha256);
        tokio::task::spawn_blocking(move || spool.put_media(time, media, bytes).unwrap())
            .await
            .unwrap();
        sha256
    }

    async fn until_delivered(&self) {
        eventually("everything is settled", || {
            let stats = self.spool.stats();
            stats.pending_records == 0 && stats.pending_blobs == 0
        })
        .await;
    }

    /// The first one may come behind records that went the same way.
    async fn until_heartbeat(&self, carriage: &str) {
        eventually("a heartbeat says how it came", || {
            let taken = self.receiver.lock();
            taken
                .heartbeats
                .iter()
                .any(|beat| beat.carriage == carriage)
        })
        .await;
    }

    /// Signed by the receiver, for this device, with time left.
    fn command(&self, id: u128) -> Command {
        let now = self.time.now().captured_at_us;
        Command {
            id: CommandId(Uuid::from_u128(id)),
            device: DEVICE,
            issued_at_us: now,
            // Far beyond the receiver's own stated time, which raises the floor.
            deadline_us: now.max(TIME).plus_us(600_000_000),
            request: Request::PictureNow { camera: CAMERA },
        }
    }
}

impl Running {
    fn status(&self) -> UplinkStatus {
        self.uplink.watch().status()
    }

    async fn until_carriage(&self, carriage: Carriage) {
        eventually(carriage.as_str(), || self.status().carriage == carriage).await;
    }
}

fn enrollment(ca: &Ca, leaf: &Leaf, https_port: u16, mqtt_port: u16) -> Enrollment {
    Enrollment {
        certificate_pem: leaf.certificate_pem.clone(),
        tls_key_pem: leaf.key.serialize_pem(),
        ca_pem: ca.pem(),
        device_url: Url::parse(&format!("https://127.0.0.1:{https_port}")).unwrap(),
        mqtt_host: "127.0.0.1".into(),
        mqtt_port,
        command_key: command_key().verifying_key(),
        contract: None,
        contract_name: "contract".into(),
        site_name: "site".into(),
        replaces: None,
    }
}

fn heartbeat(carriage: Carriage) -> Heartbeat {
    Heartbeat {
        sent_at_us: UtcMicros(1),
        epoch: Epoch(1),
        agent_version: "test".into(),
        uptime_seconds: 1,
        clock: ClockStamp::UNSYNCED,
        clock_checked_seconds_ago: None,
        spool: SpoolReport::default(),
        carriage: carriage.as_str().into(),
        cameras: Vec::new(),
    }
}

/// Polls a condition with a deadline; the runtime's timer only paces it.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A port where nothing listens.
async fn closed_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_travel_by_mqtt_and_pictures_by_https_until_nothing_is_left() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    for number in 0..40 {
        bench.put(&format!("before {number}")).await;
    }
    let running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    let picture = bench.put_picture(1, 3_000).await;
    bench.put("after").await;
    bench.until_delivered().await;

    {
        let taken = bench.receiver.lock();
        assert_eq!(taken.records.len(), 42);
        assert!(taken.deliveries.iter().all(|(_, _, by)| *by == "mqtt"));
        assert_eq!(taken.blobs[&picture], vec![1; 3_000]);
    }
    bench.until_heartbeat("mqtt").await;
    assert_eq!(bench.floor.get(), TIME, "raised by a verified receiver");
    let status = running.status();
    assert_eq!(status.last_error, None);
    assert_eq!(status.blobs_sent, 1);

    bench.stop.cancel();
    running.uplink.join().await;
    eventually("the goodbye arrives", || {
        bench.receiver.lock().goodbyes == 1
    })
    .await;
    assert_eq!(bench.receiver.lock().wills, 0, "a goodbye sends no will");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_published_within_milliseconds() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    let mut latencies = Vec::new();
    for number in 1..=50 {
        let put = Instant::now();
        bench.spool.put(bench.audit("now")).unwrap();
        eventually("it arrives", || {
            bench.receiver.lock().records.len() == number
        })
        .await;
        latencies.push(put.elapsed());
    }
    latencies.sort_unstable();
    println!(
        "put to receiver: p50 {:?}, p95 {:?}",
        latencies[25], latencies[47]
    );
    assert!(latencies[25] < Duration::from_millis(100), "{latencies:?}");
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_comes_back_and_nothing_is_lost_or_doubled() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    bench.receiver.lock().withhold_receipts = true;
    let running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    for number in 0..20 {
        bench.put(&format!("{number}")).await;
    }
    // In flight, taken, but never receipted: then the line breaks.
    eventually("some are taken", || {
        !bench.receiver.lock().records.is_empty()
    })
    .await;
    bench.receiver.lock().withhold_receipts = false;
    bench.receiver.cut_mqtt();
    bench.put("after the cut").await;
    bench.until_delivered().await;
    assert_eq!(bench.receiver.lock().records.len(), 21);
    assert_eq!(bench.receiver.lock().connects, 2);
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_far_above_the_librarys_limit_ends_no_session() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    // About 100 KiB; the library's own limit is 10 KiB.
    bench.receiver.lock().foreign_refusals = 2_500;
    let running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    for number in 0..5 {
        bench.put(&format!("{number}")).await;
        bench.until_delivered().await;
    }
    assert_eq!(bench.receiver.lock().connects, 1);
    assert_eq!(running.status().carriage, Carriage::Mqtt);
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_17_a_half_open_link_is_noticed_within_one_and_a_half_keep_alives() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    bench.receiver.lock().is_deaf = true;
    let running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    let connected = Instant::now();
    eventually("the silence is noticed", || {
        let error = running.status().last_error.unwrap_or_default();
        error.contains("no longer answers")
    })
    .await;
    // 10 s to the first ping and 5 s for its answer; a second more for a busy machine.
    assert!(connected.elapsed() < Duration::from_secs(16));
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mqtt_blocked_records_go_over_https_and_back_when_it_opens() {
    let bench = Bench::new().await;
    let port = closed_port().await;
    let mut running = bench.start(port);
    bench.put("blocked").await;
    bench.until_delivered().await;
    running.until_carriage(Carriage::Https).await;
    let status = running.status();
    let why = status.last_error.unwrap();
    assert!(why.contains("MQTT"), "{why}");
    assert_eq!(bench.receiver.lock().deliveries[0].2, "https");
    bench.until_heartbeat("https").await;

    // Commands come by long poll meanwhile.
    let command = bench.command(1);
    let signed = command.sign(&command_key());
    bench.receiver.lock().commands.push(signed);
    assert_eq!(running.commands.recv().await.unwrap(), command);

    let _mqtt = bench
        .receiver
        .listen_mqtt(&format!("127.0.0.1:{port}"))
        .await;
    running.until_carriage(Carriage::Mqtt).await;
    bench.put("open again").await;
    bench.until_delivered().await;
    let last = *bench.receiver.lock().deliveries.last().unwrap();
    assert_eq!(last.2, "mqtt");
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_batch_is_parked_on_either_carriage_and_the_rest_goes_on() {
    for mqtt_works in [true, false] {
        let bench = Bench::new().await;
        bench.receiver.lock().is_poison = Some(Seq(2));
        let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
        let port = if mqtt_works {
            mqtt.address.port()
        } else {
            closed_port().await
        };
        for number in 1..=3 {
            bench.put(&format!("{number}")).await;
        }
        let _running = bench.start(port);
        bench.until_delivered().await;
        let kinds = bench.receiver.kinds();
        assert_eq!(kinds, ["audit", "audit", "gap"], "mqtt {mqtt_works}");
        assert_eq!(bench.spool.stats().parked_records, 1);
        bench.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_verified_done_once_and_refused_in_writing() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let mut running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    eventually("the receiver knows the device", || {
        !bench.receiver.lock().heartbeats.is_empty()
    })
    .await;

    let good = bench.command(1);
    let late = Command {
        deadline_us: UtcMicros(5),
        ..bench.command(2)
    };
    let foreign = Command {
        device: DeviceId(Uuid::from_u128(8)),
        ..bench.command(3)
    };
    let last = bench.command(5);
    let forged: SignedCommand = bench.command(4).sign(&SigningKey::from_seed([9; 32]));
    for signed in [
        good.sign(&command_key()),
        good.sign(&command_key()),
        late.sign(&command_key()),
        late.sign(&command_key()),
        foreign.sign(&command_key()),
        forged,
        last.sign(&command_key()),
    ] {
        bench.receiver.command(signed);
    }
    assert_eq!(running.commands.recv().await.unwrap(), good);
    assert_eq!(
        running.commands.recv().await.unwrap(),
        last,
        "and only once"
    );
    bench.until_delivered().await;
    let taken = bench.receiver.lock();
    let refusals: Vec<_> = taken
        .records
        .values()
        .filter_map(|json| match Record::from_json(json).unwrap().body {
            Body::Audit(audit) => Some((audit.outcome, audit.command)),
            _ => None,
        })
        .collect();
    let refused = |command| ("refused".to_owned(), command);
    assert_eq!(
        refusals,
        [refused(Some(late.id)), refused(None), refused(None)]
    );
    drop(taken);
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_says_so_and_keeps_its_records() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    bench.receiver.lock().refuses_device = true;
    bench.put("kept").await;
    let running = bench.start(mqtt.address.port());
    eventually("it is told", || running.status().is_refused).await;
    let status = running.status();
    assert_eq!(status.carriage, Carriage::Offline);
    let why = status.last_error.unwrap();
    assert!(why.contains("revoked"), "{why}");
    assert_eq!(bench.spool.stats().pending_records, 1);
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_agent_offers_what_it_has() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    bench.spool.put(bench.audit("last words")).unwrap();
    bench.stop.cancel();
    running.uplink.join().await;
    assert_eq!(bench.receiver.lock().records.len(), 1);
    bench.spool.close().await;
}

#[tokio::test]
async fn an_upload_that_was_cut_goes_on_where_it_ended() {
    let bench = Bench::new().await;
    let client = bench.client();
    let bytes = Bytes::from(vec![5; 2_500_000]);
    let sha256 = Sha256::of(&bytes);
    let pace = Pace::default();
    bench.receiver.lock().cut_blob_at = Some(70_000);
    let cut = client.put_blob(sha256, "video/mp4", &bytes, &pace).await;
    assert!(
        matches!(cut, Err(HttpsError::Unreachable { .. })),
        "{cut:?}"
    );
    client
        .put_blob(sha256, "video/mp4", &bytes, &pace)
        .await
        .unwrap();
    assert_eq!(bench.receiver.lock().blobs[&sha256], bytes);
    // Once more: it is there already.
    client
        .put_blob(sha256, "video/mp4", &bytes, &pace)
        .await
        .unwrap();

    // A small one is not asked about first: it hears of its offset by the conflict.
    let small = Bytes::from(vec![6; 100_000]);
    let sha256 = Sha256::of(&small);
    bench.receiver.lock().cut_blob_at = Some(30_000);
    assert!(
        client
            .put_blob(sha256, "image/jpeg", &small, &pace)
            .await
            .is_err()
    );
    client
        .put_blob(sha256, "image/jpeg", &small, &pace)
        .await
        .unwrap();
    assert_eq!(bench.receiver.lock().blobs[&sha256], small);
}

#[tokio::test]
async fn wrong_bytes_are_poison_and_everything_else_may_pass() {
    let bench = Bench::new().await;
    let client = bench.client();
    let named_wrongly = Sha256::of(b"something else");
    let refused = client
        .put_blob(
            named_wrongly,
            "image/jpeg",
            &Bytes::from_static(b"bytes"),
            &Pace::default(),
        )
        .await
        .unwrap_err();
    assert!(refused.is_poison(), "{refused}");
    let refused = client
        .post_batch(Bytes::from_static(b"no batch"), Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!((refused.is_poison(), refused.code()), (true, "bad_shape"));
    bench.receiver.lock().refuses_device = true;
    let refused = client.time().await.unwrap_err();
    assert!(!refused.is_poison(), "{refused}");
}

/// What an enrolling device makes of a receiver that presents `leaf` and its CA.
async fn try_enroll(ca: &Ca, leaf: &Leaf, fingerprint: Fingerprint) -> HttpsError {
    try_enroll_at("127.0.0.1:0", "localhost", ca, leaf, fingerprint).await
}

/// The same with a receiver that listens at `address` and is called `host`.
async fn try_enroll_at(
    address: &str,
    host: &str,
    ca: &Ca,
    leaf: &Leaf,
    fingerprint: Fingerprint,
) -> HttpsError {
    let receiver = Receiver::new(record_key().verifying_key(), ca.server(leaf, None));
    let listening = receiver.listen_https(address).await;
    let url = Url::parse(&format!("https://{host}:{}", listening.address.port())).unwrap();
    let clocks = Arc::new(SimClocks::new(UtcMicros(0)));
    let time = FlooredTime::new(TimeSource::new(clocks), TimeFloor::new(None));
    let config = tls::enrollment_config(fingerprint, time).unwrap();
    let request = EnrollRequest::new(b"s", DEVICE, "csr".into(), &record_key(), "1".into());
    enroll(config, &url, &request).await.unwrap_err()
}

#[tokio::test]
async fn an_enrolling_device_talks_to_the_receiver_of_its_claim_code_only() {
    let ca = Ca::new();
    let leaf = ca.leaf(&["localhost"], LONG_VALID);
    let reached = |error: &HttpsError| matches!(error, HttpsError::Refused { status: 404, .. });

    let by_ca = try_enroll(&ca, &leaf, Fingerprint::of_certificate(&ca.der())).await;
    assert!(
        reached(&by_ca),
        "its CA is named, though it is 1970: {by_ca}"
    );
    let pinned = try_enroll(&ca, &leaf, Fingerprint::of_certificate(&leaf.der)).await;
    assert!(reached(&pinned), "its own certificate is named: {pinned}");

    let other = Fingerprint::of_certificate(&Ca::new().der());
    let wrong = try_enroll(&ca, &leaf, other).await;
    assert!(matches!(wrong, HttpsError::WrongReceiver { .. }), "{wrong}");

    // An impostor shows the right CA beside a certificate that this CA never signed.
    let impostor = Ca::new().leaf(&["localhost"], LONG_VALID);
    let refused = try_enroll(&ca, &impostor, Fingerprint::of_certificate(&ca.der())).await;
    assert!(
        matches!(refused, HttpsError::ReceiverRefused { .. }),
        "{refused}"
    );

    let elsewhere = ca.leaf(&["elsewhere.example"], LONG_VALID);
    let refused = try_enroll(&ca, &elsewhere, Fingerprint::of_certificate(&ca.der())).await;
    assert!(
        matches!(refused, HttpsError::ReceiverRefused { .. }),
        "{refused}"
    );

    let expired = ca.leaf(&["localhost"], (2020, 2021));
    let refused = try_enroll(&ca, &expired, Fingerprint::of_certificate(&ca.der())).await;
    assert!(
        matches!(refused, HttpsError::ReceiverRefused { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_receiver_of_another_ca_gets_nothing() {
    let bench = Bench::new().await;
    let leaf = bench.ca.leaf(&["device"], LONG_VALID);
    let mut enrollment = enrollment(&bench.ca, &leaf, bench.https.address.port(), 1);
    enrollment.ca_pem = Ca::new().pem();
    let time = FlooredTime::new(bench.time.clone(), bench.floor.clone());
    let config = tls::device_config(&enrollment, time, tls::HTTP_ALPN).unwrap();
    let client = DeviceClient::new(config, enrollment.device_url).unwrap();
    let refused = client.time().await.unwrap_err();
    assert!(
        matches!(refused, HttpsError::ReceiverRefused { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_device_of_another_ca_is_told_in_words() {
    let bench = Bench::new().await;
    let stranger = Ca::new().leaf(&["device"], LONG_VALID);
    let enrollment = enrollment(&bench.ca, &stranger, bench.https.address.port(), 1);
    let time = FlooredTime::new(bench.time.clone(), bench.floor.clone());
    let config = tls::device_config(&enrollment, time, tls::HTTP_ALPN).unwrap();
    let client = DeviceClient::new(config, enrollment.device_url).unwrap();
    let refused: https::HttpsError = client.time().await.unwrap_err();
    assert!(
        matches!(refused, HttpsError::DeviceRefused { .. }),
        "{refused}"
    );
}
