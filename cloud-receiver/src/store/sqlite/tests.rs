//! The store on a real file: whatever the order of arrival, the same end; nothing in clear that should not be.

#![allow(clippy::unwrap_used)]

mod audit_count;
mod device_files;
mod erasure;
mod records;
mod retention;
mod rules;
mod search;

use super::*;
use crate::auth::second_factor::SecondFactor;
use crate::ingest::accept::{Accepted, code, judge};
use crate::store::{
    AccountBooks, AccountKind, Administration, Beside, BlobRow, BlobRows, ClaimRefusal,
    ContractScope, CustomerReads, DeviceRow, DeviceWrites, Enrollments, EventFilter, Holder,
    KeyBook, LinkState, NewDevice, OperatorDesk, SignIn, SignInOutcome,
};
use proptest::prelude::*;
use std::path::PathBuf;
use wire::command::{Command, Request};
use wire::record::{
    AuditRecord, CameraStateRecord, ClockRecord, CountRecord, EventRecord, EventState, MediaRecord,
    NormBox,
};
use wire::{
    Batch, Body, BootId, CameraId, ClockStamp, ClockState, CommandId, EventId, MediaClass, Receipt,
    Record, RecordTime, SeqRange, SigningKey,
};

const NOW: UtcMicros = UtcMicros(1_700_000_000_000_000);

/// A store with one contract, one site and one enrolled device.
struct Bench {
    _dir: tempfile::TempDir,
    path: PathBuf,
    store: SqliteStore,
    contract: ContractId,
    device: DeviceRow,
    key: SigningKey,
}

async fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let master = SecretKey::from_bytes([9; 32]);
    let store = SqliteStore::open(&path, master, Live::default(), true).unwrap();
    let contract = store.add_contract("Acme", NOW).await.unwrap();
    let device = enrolled(&store, contract, 1).await;
    Bench {
        _dir: dir,
        path,
        store,
        contract,
        device,
        key: SigningKey::from_seed([1; 32]),
    }
}

async fn enrolled(store: &SqliteStore, contract: ContractId, number: u8) -> DeviceRow {
    let site = store
        .add_site(contract, &format!("site {number}"), NOW)
        .await
        .unwrap();
    let claim = Sha256::of(&[number]);
    store
        .add_claim(claim, site, NOW, NOW.plus_us(1))
        .await
        .unwrap();
    let device = DeviceId(Uuid::from_u128(u128::from(number)));
    let record_key = SigningKey::from_seed([number; 32]).verifying_key();
    let new = NewDevice {
        device,
        record_key,
        agent_version: "0.1.0".into(),
        certificate: Default::default(),
    };
    store.enroll(claim, new, NOW).await.unwrap().unwrap();
    store.device(device).await.unwrap().unwrap()
}

fn time(captured_at_us: i64) -> RecordTime {
    RecordTime {
        captured_at_us: UtcMicros(captured_at_us),
        boot_id: BootId(Uuid::from_u128(77)),
        boottime_ns: captured_at_us.unsigned_abs() * 1000,
        clock: ClockStamp {
            state: ClockState::Synced,
            offset_us: 5,
            error_us: Some(1),
        },
    }
}

fn camera(number: u128) -> CameraId {
    CameraId(Uuid::from_u128(0xca00 + number))
}

fn camera_state(at: i64, state: &str) -> Record {
    let body = CameraStateRecord {
        camera: camera(1),
        name: "gate".into(),
        state: state.into(),
        reason: None,
        width: None,
        height: None,
        codec: None,
    };
    Record::new(time(at), Body::CameraState(body))
}

fn event(id: u128, revision: u32, opened: i64) -> Record {
    let body = EventRecord {
        id: EventId(Uuid::from_u128(id)),
        revision,
        state: EventState::Updated,
        camera: camera(1),
        class: "person".into(),
        score: revision as f32 / 10.0,
        opened_at_us: UtcMicros(opened),
        last_seen_at_us: UtcMicros(opened + i64::from(revision)),
        closed_at_us: None,
        track: 3,
        rect: NormBox {
            x: 0.1,
            y: 0.1,
            w: 0.2,
            h: 0.2,
        },
        path: Vec::new(),
        zones: vec!["very-private-zone".into()],
        reasons: Vec::new(),
        media: Vec::new(),
    };
    Record::new(time(opened), Body::Event(body))
}

fn snapshot(event: u128, jpeg: &[u8], quality: f32) -> Record {
    let body = MediaRecord {
        sha256: Sha256::of(jpeg),
        class: MediaClass::Snapshot,
        bytes: jpeg.len() as u64,
        content_type: "image/jpeg".into(),
        camera: camera(1),
        width: 640,
        height: 480,
        event: Some(EventId(Uuid::from_u128(event))),
        command: None,
        boxes: Vec::new(),
        quality,
        masked: false,
        moment: None,
    };
    Record::new(time(1000), Body::Media(body))
}

/// Batches of one record each, chained.
fn chain(bench: &Bench, epoch: u64, mut prev: Sha256, records: &[Record]) -> Vec<Vec<u8>> {
    let mut batches = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let batch = Batch {
            device_id: bench.device.device,
            epoch: Epoch(epoch),
            first_seq: Seq(index as u64 + 1),
            prev,
            records: vec![record.to_json()],
        };
        let signed = batch.sign(&bench.key);
        prev = signed.hash();
        batches.push(signed.into_bytes());
    }
    batches
}

fn hash_of(batch: &[u8]) -> Sha256 {
    wire::SignedBatch::from_bytes(batch.to_vec())
        .unwrap()
        .hash()
}

impl Bench {
    fn judged(&self, bytes: &[u8]) -> Accepted {
        judge(&self.device, bytes.to_vec()).unwrap()
    }

    async fn deliver(&self, bytes: &[u8]) -> Receipt {
        let mut receipts = self
            .store
            .accept(vec![self.judged(bytes)], NOW)
            .await
            .unwrap();
        receipts.pop().unwrap().1
    }

    fn scope(&self) -> ContractScope {
        ContractScope::of_session(self.contract)
    }

    /// Everything that must not depend on the order of arrival.
    async fn state(&self) -> String {
        self.store
            .read(|connection| {
                let mut text = String::new();
                for sql in [
                    "select device, epoch, first_seq, sha256, link from batch order by device, epoch, first_seq",
                    "select * from stored_range order by 1, 2, 3",
                    "select device, epoch, seq, kind, camera, event, captured_device_us from record order by 1, 2, 3",
                    "select id, device, name, state, reason, state_us from camera_now order by id",
                    "select id, revision, class, score, opened_us, last_seen_us, closed_us from event order by id",
                    "select device, epoch, seq, sha256, captured_us, arrived from media order by 1, 2, 3",
                    "select * from boot order by 1, 2",
                    "select camera, minute_us, device, epoch, seq from minute_count order by 1, 2, 3, 4, 5",
                    "select device, epoch, seq, state, at_us from state_change order by 1, 2, 3",
                ] {
                    let mut statement = connection.prepare(sql)?;
                    let columns = statement.column_count();
                    let mut rows = statement.query([])?;
                    while let Some(row) = rows.next()? {
                        for column in 0..columns {
                            text += &format!("{:?} ", row.get_ref(column)?);
                        }
                        text.push('\n');
                    }
                }
                Ok(text)
            })
            .await
            .unwrap()
    }

    async fn links(&self) -> Vec<LinkState> {
        self.store
            .read(|connection| {
                let mut statement = connection.prepare("select link from batch order by no")?;
                let rows = statement.query_map([], |row| Ok(links::state(row.get(0)?)))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
            .unwrap()
    }
}

fn story() -> Vec<Record> {
    let unsynced = RecordTime {
        clock: ClockStamp::UNSYNCED,
        ..time(2_000)
    };
    let clock = ClockRecord {
        before: ClockStamp::UNSYNCED,
        after: ClockStamp {
            state: ClockState::Synced,
            offset_us: 1_000_000,
            error_us: Some(9),
        },
    };
    let mut early = event(50, 1, 2_000);
    early.time = unsynced;
    let count = CountRecord {
        camera: camera(1),
        minute_us: UtcMicros(1_500),
        class: "person".into(),
        zone: Some("very-private-zone".into()),
        line: None,
        direction: None,
        count: 3,
        peak: Some(2),
    };
    vec![
        camera_state(900, "starting"),
        camera_state(1_000, "running"),
        event(10, 1, 1_000),
        snapshot(10, b"\xff\xd8\xff\xe0picture", 0.5),
        event(10, 2, 1_000),
        early,
        Record::new(time(3_000), Body::Clock(clock)),
        event(10, 3, 1_000),
        Record::new(unsynced, Body::Count(count)),
    ]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_repeats_lead_to_the_same_state(
        order in Just((0..11usize).collect::<Vec<_>>()).prop_shuffle(),
        repeats in proptest::collection::vec(0..11usize, 0..6),
        blob_after in 0..11usize,
    ) {
        runtime().block_on(async {
            let mut states = Vec::new();
            let straight: Vec<usize> = (0..11).collect();
            for (order, repeats, blob_after) in [(&straight, &vec![], 0), (&order, &repeats, blob_after)] {
                let bench = bench().await;
                let mut batches = chain(&bench, 1, Sha256::ZERO, &story());
                let last = hash_of(batches.last().unwrap());
                batches.extend(chain(&bench, 2, last, &[camera_state(5_000, "retrying"), event(11, 1, 5_000)]));
                for (step, index) in order.iter().chain(repeats.iter()).enumerate() {
                    bench.deliver(&batches[*index]).await;
                    if step == blob_after {
                        let blob = BlobRow {
                            contract: bench.contract,
                            sha256: Sha256::of(b"\xff\xd8\xff\xe0picture"),
                            device: bench.device.device,
                            bytes: 11,
                            content_type: "image/jpeg".into(),
                        };
                        bench.store.blob_arrived(blob, NOW).await.unwrap();
                    }
                }
                prop_assert!(bench.links().await.iter().all(|link| *link == LinkState::Ok));
                states.push(bench.state().await);
            }
            prop_assert_eq!(&states[0], &states[1]);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_hole_is_named_until_it_is_filled() {
    let bench = bench().await;
    let batches = chain(&bench, 1, Sha256::ZERO, &story());
    bench.deliver(&batches[0]).await;
    let receipt = bench.deliver(&batches[3]).await;
    assert_eq!(
        (receipt.through, receipt.holes),
        (
            Seq(4),
            vec![SeqRange {
                first: Seq(2),
                last: Seq(3)
            }]
        )
    );
    bench.deliver(&batches[2]).await;
    let receipt = bench.deliver(&batches[1]).await;
    assert_eq!((receipt.through, receipt.holes), (Seq(4), vec![]));
    // A repeat is answered by the same receipt, and changes nothing.
    let state = bench.state().await;
    assert_eq!(bench.deliver(&batches[1]).await.through, Seq(4));
    assert_eq!(bench.state().await, state);
    assert_eq!(
        bench
            .store
            .records_stored(bench.device.device)
            .await
            .unwrap(),
        4
    );
}

#[tokio::test]
async fn other_bytes_under_the_same_numbers_are_refused_and_overwrite_nothing() {
    let bench = bench().await;
    let batches = chain(&bench, 1, Sha256::ZERO, &story());
    bench.deliver(&batches[0]).await;
    let state = bench.state().await;
    let rival = chain(&bench, 1, Sha256::ZERO, &[event(99, 1, 7)]);
    let receipt = bench.deliver(&rival[0]).await;
    assert!(receipt.settles(Epoch(1), Seq(1), Seq(1)));
    assert_eq!(receipt.rejected.len(), 1);
    assert_eq!(
        (receipt.rejected[0].seq, receipt.rejected[0].code.as_str()),
        (Seq(1), code::CONFLICT)
    );
    assert_eq!(bench.state().await, state);
    assert_eq!(bench.store.devices().await.unwrap()[0].rejected, 1);
    // Later receipts do not repeat it: number 1 is stored.
    assert!(bench.deliver(&batches[1]).await.rejected.is_empty());
}

#[tokio::test]
async fn a_refused_batch_is_answered_and_a_good_one_may_still_take_its_place() {
    let bench = bench().await;
    let batches = chain(&bench, 1, Sha256::ZERO, &story());
    let mut broken = batches[1].clone();
    *broken.last_mut().unwrap() ^= 1;
    let refused = judge(&bench.device, broken).unwrap_err();
    let receipt = bench
        .store
        .refuse(bench.device.device, &refused, NOW)
        .await
        .unwrap()
        .unwrap();
    assert!(receipt.settles(Epoch(1), Seq(2), Seq(2)));
    assert!(!receipt.settles(Epoch(1), Seq(1), Seq(1)));
    assert_eq!(receipt.rejected[0].code, code::BAD_SIGNATURE);
    bench.deliver(&batches[0]).await;
    let receipt = bench.deliver(&batches[1]).await;
    assert!(receipt.rejected.is_empty() && receipt.settles(Epoch(1), Seq(1), Seq(2)));
}

/// Epochs that begin where another goes on, several that begin after the same batch, one after nothing, and a batch that
/// names another one than the one before it.
fn tangle(bench: &Bench) -> Vec<Vec<u8>> {
    let states = |at: i64, count: i64| -> Vec<Record> {
        (0..count)
            .map(|n| camera_state(at + n, "running"))
            .collect()
    };
    let first = chain(bench, 1, Sha256::ZERO, &states(100, 4));
    let last = hash_of(&first[3]);
    let mut odd = chain(bench, 6, Sha256::of(b"never sent"), &states(600, 2));
    odd[1] = chain(bench, 6, last, &states(700, 2))[1].clone();
    [
        first.clone(),
        chain(bench, 2, hash_of(&first[1]), &states(200, 2)),
        chain(bench, 3, last, &states(300, 2)),
        chain(bench, 4, last, &states(400, 1)),
        chain(bench, 5, Sha256::ZERO, &states(500, 2)),
        odd,
    ]
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn links_are_the_same_in_any_order(order in Just((0..13usize).collect::<Vec<_>>()).prop_shuffle()) {
        runtime().block_on(async {
            let mut states = Vec::new();
            for order in [(0..13).collect(), order] {
                let bench = bench().await;
                let batches = tangle(&bench);
                for index in order {
                    bench.deliver(&batches[index]).await;
                }
                states.push(bench.state().await);
            }
            prop_assert_eq!(&states[0], &states[1]);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn each_link_of_a_tangle_is_what_the_rules_say() {
    let bench = bench().await;
    for batch in tangle(&bench) {
        bench.deliver(&batch).await;
    }
    use LinkState::{Broken, Ok, Pending};
    let expected = [
        [Ok, Ok, Ok, Ok].as_slice(),
        &[Broken, Ok],
        &[Ok, Ok],
        &[Broken],
        &[Broken, Ok],
        &[Pending, Broken],
    ];
    assert_eq!(bench.links().await, expected.concat());
}

#[tokio::test]
async fn links_show_what_is_missing_restored_or_wiped() {
    let bench = bench().await;
    let first = chain(&bench, 1, Sha256::ZERO, &story());
    bench.deliver(&first[1]).await;
    assert_eq!(bench.links().await, [LinkState::Pending]);
    bench.deliver(&first[0]).await;
    assert_eq!(bench.links().await, [LinkState::Ok, LinkState::Ok]);
    // A spool restored from a copy made after the first batch goes on from there in a new epoch.
    let restored = chain(&bench, 2, hash_of(&first[0]), &[event(60, 1, 9_000)]);
    bench.deliver(&restored[0]).await;
    // A wiped one knows no predecessor at all.
    let wiped = chain(&bench, 3, Sha256::ZERO, &[event(61, 1, 9_500)]);
    bench.deliver(&wiped[0]).await;
    assert_eq!(
        bench.links().await,
        [
            LinkState::Ok,
            LinkState::Ok,
            LinkState::Broken,
            LinkState::Broken
        ]
    );
    assert_eq!(bench.store.devices().await.unwrap()[0].broken_links, 2);
}

#[tokio::test]
async fn a_camera_of_another_contract_is_refused_record_by_record() {
    let bench = bench().await;
    let other = bench.store.add_contract("Other", NOW).await.unwrap();
    let device = enrolled(&bench.store, other, 2).await;
    bench
        .deliver(&chain(&bench, 1, Sha256::ZERO, &[camera_state(1, "running")])[0])
        .await;
    let started = Record::new(
        time(1),
        Body::DeviceState(wire::record::DeviceStateRecord {
            state: "started".into(),
            agent_version: "1".into(),
            model: None,
        }),
    );
    let batch = Batch {
        device_id: device.device,
        epoch: Epoch(1),
        first_seq: Seq(1),
        prev: Sha256::ZERO,
        records: vec![started.to_json(), event(1, 1, 1).to_json()],
    };
    let signed = batch.sign(&SigningKey::from_seed([2; 32]));
    let accepted = judge(&device, signed.into_bytes()).unwrap();
    let receipt = bench
        .store
        .accept(vec![accepted], NOW)
        .await
        .unwrap()
        .pop()
        .unwrap()
        .1;
    assert!(receipt.settles(Epoch(1), Seq(1), Seq(2)));
    assert_eq!(receipt.rejected.len(), 1);
    assert_eq!(
        (receipt.rejected[0].seq, receipt.rejected[0].code.as_str()),
        (Seq(2), code::FOREIGN_CAMERA)
    );
    let scope = ContractScope::of_session(other);
    let all = EventFilter::default();
    assert!(
        bench
            .store
            .events(scope, &all, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        bench
            .store
            .event(scope, EventId(Uuid::from_u128(1)))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_customer_sees_events_pictures_and_proof() {
    let bench = bench().await;
    let jpeg = b"\xff\xd8\xff\xe0picture";
    for batch in chain(&bench, 1, Sha256::ZERO, &story()) {
        bench.deliver(&batch).await;
    }
    let all = EventFilter::default();
    let events = bench
        .store
        .events(bench.scope(), &all, None, 10)
        .await
        .unwrap();
    assert_eq!(
        events.iter().map(|e| e.id.0.as_u128()).collect::<Vec<_>>(),
        [50, 10]
    );
    // Recorded at 2,000 by a clock that was later found to be 1,000,000 behind at the same boot time.
    assert_eq!(events[0].opened_at_us, UtcMicros(1_002_000));
    assert_eq!(
        (events[1].revision, events[1].opened_at_us),
        (3, UtcMicros(1_005))
    );
    assert!(events[1].snapshot.picture().is_none());
    assert!(
        bench
            .store
            .media(bench.scope(), Sha256::of(jpeg))
            .await
            .unwrap()
            .is_none()
    );

    let mut live = bench.store.live.subscribe(bench.scope());
    let blob = BlobRow {
        contract: bench.contract,
        sha256: Sha256::of(jpeg),
        device: bench.device.device,
        bytes: jpeg.len() as u64,
        content_type: "image/jpeg".into(),
    };
    assert!(bench.store.blob_arrived(blob.clone(), NOW).await.unwrap());
    assert!(!bench.store.blob_arrived(blob, NOW).await.unwrap());
    let heard = live.next().await;
    let crate::live::Heard::News(news) = heard else {
        panic!("{heard:?}")
    };
    let expected = crate::live::News::Camera { camera: camera(1) };
    assert!(news.contains(&expected), "{news:?}");

    let detail = bench
        .store
        .event(bench.scope(), events[1].id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        detail.row.snapshot.picture().map(|p| p.sha256),
        Some(Sha256::of(jpeg))
    );
    assert!(detail.proof.signature_ok);
    assert_eq!(
        (detail.proof.link, detail.proof.picture_ok),
        (LinkState::Ok, Some(true))
    );
    assert_eq!(detail.newer.map(|id| id.0.as_u128()), Some(50));
    let overview = bench
        .store
        .overview(bench.scope(), UtcMicros(0))
        .await
        .unwrap();
    let shown = &overview[0].cameras[0];
    assert_eq!(
        (shown.name.as_str(), shown.state.as_str()),
        ("gate", "running")
    );
    assert_eq!(shown.today, [("person".to_owned(), 2)]);
    assert!(shown.latest_picture.is_some());
    assert_eq!(
        bench.store.classes(bench.scope()).await.unwrap(),
        ["person"]
    );

    let cursor = crate::store::EventCursor {
        opened_at_us: events[0].opened_at_us,
        id: events[0].id,
    };
    let older = bench
        .store
        .events(bench.scope(), &all, Some(cursor), 10)
        .await
        .unwrap();
    assert_eq!(older.len(), 1);
    let none = EventFilter {
        class: Some("vehicle".into()),
        ..EventFilter::default()
    };
    assert!(
        bench
            .store
            .events(bench.scope(), &none, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_claim_is_used_once_and_a_race_has_one_winner() {
    let bench = bench().await;
    let site = bench.store.sites().await.unwrap()[0].id;
    let claim = Sha256::of(b"claim");
    bench
        .store
        .add_claim(claim, site, NOW, NOW.plus_us(10))
        .await
        .unwrap();
    let new = |number: u128| NewDevice {
        device: DeviceId(Uuid::from_u128(number)),
        record_key: bench.key.verifying_key(),
        agent_version: "0.1.0".into(),
        certificate: Default::default(),
    };
    let late = bench
        .store
        .enroll(claim, new(20), NOW.plus_us(10))
        .await
        .unwrap();
    assert_eq!(late.unwrap_err(), ClaimRefusal::Expired);
    let unknown = bench
        .store
        .enroll(Sha256::of(b"guess"), new(20), NOW)
        .await
        .unwrap();
    assert_eq!(unknown.unwrap_err(), ClaimRefusal::Unknown);
    let thief = NewDevice {
        record_key: SigningKey::generate().verifying_key(),
        ..new(1)
    };
    let known = bench.store.enroll(claim, thief, NOW).await.unwrap();
    assert_eq!(known.unwrap_err(), ClaimRefusal::DeviceKnown);
    let racers = (20..40).map(|number| bench.store.enroll(claim, new(number), NOW));
    let outcomes = futures::future::join_all(racers).await;
    let won = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Ok(_))))
        .count();
    let used = outcomes
        .iter()
        .filter(|o| matches!(o, Ok(Err(ClaimRefusal::Used))))
        .count();
    assert_eq!((won, used), (1, 19));
    assert_eq!(bench.store.devices().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_device_that_enrolls_again_leaves_its_certificates_and_its_revocation_behind() {
    let bench = bench().await;
    let site = bench.store.sites().await.unwrap()[0].id;
    let device = bench.store.devices().await.unwrap()[0].device;
    assert!(bench.store.revoke(device, NOW).await.unwrap());
    let claim = Sha256::of(b"again");
    let until = NOW.plus_us(10);
    bench
        .store
        .add_claim(claim, site, NOW, until)
        .await
        .unwrap();
    let certificate = |enrollment, not_before_us| Certificate {
        enrollment: EnrollmentId(Uuid::from_u128(enrollment)),
        not_before_us: UtcMicros(not_before_us),
        ..Certificate::default()
    };
    let again = NewDevice {
        device,
        record_key: bench.key.verifying_key(),
        agent_version: "0.2.0".into(),
        certificate: certificate(7, 100),
    };
    bench
        .store
        .enroll(claim, again, NOW)
        .await
        .unwrap()
        .unwrap();
    let row = || async { bench.store.device(device).await.unwrap().unwrap() };
    assert_eq!(row().await.revoked_us, None);
    assert_eq!(row().await.certificate, certificate(7, 100));
    // What it shows is noted: a newer one of the same enrollment only.
    for shown in [
        certificate(7, 300),
        certificate(7, 200),
        certificate(6, 400),
    ] {
        bench.store.certificate_shown(device, shown).await.unwrap();
    }
    assert_eq!(row().await.certificate, certificate(7, 300));
    let listed = &bench.store.devices().await.unwrap()[0];
    assert_eq!(listed.certificate, certificate(7, 300));
    assert_eq!(listed.agent_version, "0.2.0");
}

#[tokio::test]
async fn a_command_of_another_process_is_heard_sent_and_answered() {
    let bench = bench().await;
    let mut changes = bench.store.changes();
    let elsewhere = SqliteStore::open(
        &bench.path,
        SecretKey::from_bytes([9; 32]),
        Live::default(),
        false,
    )
    .unwrap();
    let command = Command {
        id: CommandId(Uuid::from_u128(5)),
        device: bench.device.device,
        issued_at_us: NOW,
        deadline_us: NOW.plus_us(1_000),
        request: Request::PictureNow { camera: camera(1) },
    };
    elsewhere.add_command(&command).await.unwrap();
    let heard = tokio::time::timeout(std::time::Duration::from_secs(5), changes.changed());
    heard.await.expect("heard within 5 s").unwrap();
    let pending = |at| bench.store.pending_commands(bench.device.device, at);
    assert_eq!(pending(NOW).await.unwrap(), std::slice::from_ref(&command));
    assert!(pending(NOW.plus_us(1_000)).await.unwrap().is_empty());
    bench.store.command_sent(command.id, NOW).await.unwrap();
    let answer = AuditRecord {
        actor: "receiver".into(),
        action: "command.picture_now".into(),
        outcome: "done".into(),
        command: Some(command.id),
        detail: Some("sealed words".into()),
        file: None,
    };
    let record = Record::new(time(1), Body::Audit(answer));
    bench
        .deliver(&chain(&bench, 1, Sha256::ZERO, &[record])[0])
        .await;
    let state = elsewhere.command(command.id).await.unwrap().unwrap();
    assert_eq!(state.outcome.as_deref(), Some("done"));
    assert_eq!(state.detail.as_deref(), Some("sealed words"));
    assert!(pending(NOW).await.unwrap().is_empty());
}

#[tokio::test]
async fn accounts_and_sessions_of_each_kind_keep_what_they_are_told() {
    let bench = bench().await;
    let store = &bench.store;
    let add_user = || store.add_user("hana", bench.contract, "hash", true, NOW);
    add_user().await.unwrap();
    assert!(add_user().await.is_err());
    store.add_operator("sora", "hash", NOW).await.unwrap();
    // One name space: a login ID belongs to one person, whatever the door.
    assert!(store.add_operator("hana", "hash", NOW).await.is_err());
    let holder = Holder::Customer {
        contract: bench.contract,
        contract_name: "Acme".into(),
    };
    check_accounts(store, AccountKind::Customer, "hana", "sora", &holder).await;
    check_accounts(
        store,
        AccountKind::Operator,
        "sora",
        "hana",
        &Holder::Operator,
    )
    .await;
}

/// `stranger` is an account of the other kind.
async fn check_accounts(
    store: &SqliteStore,
    kind: AccountKind,
    login_id: &str,
    stranger: &str,
    holder: &Holder,
) {
    let book = store.accounts(kind);
    let sign_in = |outcome| SignIn {
        at: NOW,
        address: [192, 0, 2, 7].into(),
        outcome,
    };
    for outcome in [SignInOutcome::WrongPassword, SignInOutcome::Succeeded] {
        book.record_sign_in(login_id, sign_in(outcome))
            .await
            .unwrap();
    }
    let account = book.account(login_id).await.unwrap().unwrap();
    let history = (account.last_sign_in_us, account.failed_sign_ins);
    assert_eq!(history, (Some(NOW), 1));
    assert!(account.must_change_password);
    for unknown in ["nobody", stranger] {
        assert!(book.account(unknown).await.unwrap().is_none());
        assert!(book.change_password(unknown, "new", NOW).await.is_err());
        let reset = book.reset_password(unknown, "new", false, NOW).await;
        assert!(reset.is_err());
        assert!(book.remove(unknown, NOW).await.is_err());
        let hash = Sha256::of(b"x");
        let begun = book.create_session(unknown, hash, false, NOW).await;
        assert!(begun.is_err(), "{unknown}");
    }
    let token = |n: u8| Sha256::of(&[n]);
    for n in 0..3 {
        book.create_session(login_id, token(n), false, NOW)
            .await
            .unwrap();
    }
    book.touch_session(token(0), NOW.plus_us(9)).await.unwrap();
    book.delete_other_sessions(login_id, token(0), NOW)
        .await
        .unwrap();
    let session = book.session(token(0)).await.unwrap().unwrap();
    let found = (&session.holder, session.last_used_us);
    assert_eq!(found, (holder, NOW.plus_us(9)));
    assert!(book.session(token(1)).await.unwrap().is_none());
    let other = match kind {
        AccountKind::Customer => AccountKind::Operator,
        AccountKind::Operator => AccountKind::Customer,
    };
    let other = store.accounts(other);
    assert!(other.session(token(0)).await.unwrap().is_none());
    other.delete_session(token(0)).await.unwrap();
    assert!(!other.end_session(stranger, token(0), NOW).await.unwrap());
    let listed = book.sessions(login_id).await.unwrap();
    assert_eq!(listed.len(), 1);
    book.reset_password(login_id, "new", false, NOW)
        .await
        .unwrap();
    assert!(book.session(token(0)).await.unwrap().is_none());
    let account = book.account(login_id).await.unwrap().unwrap();
    assert!(!account.must_change_password);
    check_second_factor(store, kind, login_id).await;
}

async fn check_second_factor(store: &SqliteStore, kind: AccountKind, login_id: &str) {
    let book = store.accounts(kind);
    let usual = match kind {
        AccountKind::Customer => Beside::None,
        AccountKind::Operator => Beside::Wanted,
    };
    let beside = async || book.account(login_id).await.unwrap().unwrap().beside;
    assert_eq!(beside().await, usual);
    let abandoned = SecondFactor::begin();
    book.begin_second_factor(login_id, &abandoned)
        .await
        .unwrap();
    let begun = SecondFactor::begin();
    book.begin_second_factor(login_id, &begun).await.unwrap();
    assert_eq!(
        beside().await,
        usual,
        "it does not count before it is confirmed"
    );
    assert!(!book.use_step(login_id, 7).await.unwrap());
    let confirm = async |factor: &SecondFactor| {
        book.confirm_second_factor(login_id, factor, 7, NOW)
            .await
            .unwrap()
    };
    assert!(!confirm(&abandoned).await, "another one was begun since");
    let (factor, codes) = begun.with_recovery_codes();
    assert!(confirm(&factor).await);
    assert!(!confirm(&factor).await, "once is enough");
    assert_eq!(beside().await, Beside::SetUp);
    assert!(
        book.begin_second_factor(login_id, &abandoned)
            .await
            .is_err()
    );
    // Each code is good once.
    for (step, good) in [(7, false), (8, true), (8, false), (6, false), (9, true)] {
        assert_eq!(book.use_step(login_id, step).await.unwrap(), good, "{step}");
    }
    let rest = factor.without(&codes[0]).unwrap();
    let used = async || book.use_recovery_code(login_id, &factor, &rest, NOW).await;
    assert!(used().await.unwrap() && !used().await.unwrap());
    let found = book.second_factor(login_id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&rest));
    let remove = async || book.remove_second_factor(login_id, Sha256::ZERO, NOW).await;
    assert!(remove().await.unwrap() && !remove().await.unwrap());
    assert_eq!(beside().await, usual);
}

#[tokio::test]
async fn the_last_operator_stays_and_a_new_master_key_opens_their_factors() {
    let bench = bench().await;
    let store = &bench.store;
    store.add_operator("sora", "hash", NOW).await.unwrap();
    let book = store.accounts(AccountKind::Operator);
    let refused = book.remove("sora", NOW).await.unwrap_err();
    assert!(matches!(refused, StoreError::LastOperator(_)), "{refused}");
    store.add_operator("umi", "hash", NOW).await.unwrap();
    let factor = SecondFactor::begin();
    book.begin_second_factor("umi", &factor).await.unwrap();
    book.create_session("sora", Sha256::of(b"s"), true, NOW)
        .await
        .unwrap();
    book.remove("sora", NOW).await.unwrap();
    assert!(book.session(Sha256::of(b"s")).await.unwrap().is_none());

    let next = SecretKey::from_bytes([77; 32]);
    store.rewrap(&next).await.unwrap();
    let opened = SqliteStore::open(&bench.path, next, Live::default(), false).unwrap();
    let found = opened.accounts(AccountKind::Operator);
    assert_eq!(found.second_factor("umi").await.unwrap(), Some(factor));
}

#[tokio::test]
async fn a_newer_database_is_refused_and_a_wrong_master_key_says_so() {
    let bench = bench().await;
    let open = |key| {
        SqliteStore::open(
            &bench.path,
            SecretKey::from_bytes([key; 32]),
            Live::default(),
            false,
        )
    };
    let error = open(8).unwrap_err();
    assert!(matches!(error, StoreError::MasterKey { .. }), "{error}");
    bench
        .store
        .write(|connection| Ok(connection.pragma_update(None, "user_version", 999)?))
        .await
        .unwrap();
    let error = open(9).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 999, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("newer"), "{error}");
}

#[tokio::test]
async fn no_record_stands_in_clear_on_the_disk() {
    let bench = bench().await;
    for batch in chain(&bench, 1, Sha256::ZERO, &story()) {
        bench.deliver(&batch).await;
    }
    for entry in std::fs::read_dir(bench.path.parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for needle in [
            &b"very-private-zone"[..],
            b"\"kind\"",
            b"captured_at_us",
            b"caasb1",
        ] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
    }
}

#[tokio::test]
async fn work_that_fails_takes_nobody_along() {
    let bench = bench().await;
    let good = bench.store.add_contract("Another", NOW);
    let bad = bench.store.add_contract("Acme", NOW);
    let (good, bad) = tokio::join!(good, bad);
    assert!(good.is_ok());
    assert!(matches!(bad, Err(StoreError::Exists(_))));
    assert_eq!(bench.store.contracts().await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_events_of_a_batch_are_found_one_by_one() {
    let bench = bench().await;
    let plan: Vec<String> = bench
        .store
        .read(|connection| {
            let sql = format!("explain query plan {}", evidence::EVENTS_OF_BATCH);
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map([1], |row| row.get(3))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
        .unwrap();
    let plan = plan.join("\n");
    assert!(
        plan.contains("SEARCH e ") && plan.contains("(contract=? AND id=?)"),
        "{plan}"
    );
}
