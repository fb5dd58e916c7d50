//! The spool on real folders: what it promises in its own words, one test each.

#![allow(clippy::unwrap_used)]

use crate::clock::{SimClocks, TimeSource};
use crate::config::SpoolConfig;
use crate::health::Health;
use crate::identity::SpoolKey;
use crate::sink::Sink;
use crate::spool::{BalanceLine, Lane, LeasedBatch, Spool, SpoolError, SpoolHandle, SpoolKeys};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;
use wire::record::{AuditRecord, EventRecord, EventState, GapRecord, MediaRecord, NormBox};
use wire::{
    Batch, Body, CameraId, DeviceId, Epoch, EventId, MediaClass, Receipt, Record, Rejected, Seq,
    SeqRange, Sha256, SignedBatch, SigningKey, UtcMicros,
};

const CAMERA: CameraId = CameraId(Uuid::from_u128(0xca));
const START: UtcMicros = UtcMicros(1_795_392_000_000_000);

/// A spool folder with clocks a test holds in its hand.
struct Bench {
    dir: TempDir,
    clocks: Arc<SimClocks>,
    time: TimeSource,
    config: SpoolConfig,
}

impl Bench {
    fn new() -> Self {
        Self::with_quota(1 << 30)
    }

    fn with_quota(quota_bytes: u64) -> Self {
        let clocks = Arc::new(SimClocks::new(START));
        Self {
            dir: tempfile::tempdir().unwrap(),
            time: TimeSource::new(clocks.clone()),
            clocks,
            config: SpoolConfig {
                quota_bytes,
                min_free_bytes: 0,
            },
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn open(&self) -> SpoolHandle {
        self.try_open(self.path()).unwrap()
    }

    fn try_open(&self, dir: &Path) -> Result<SpoolHandle, SpoolError> {
        let health = Health::default();
        Spool::open(dir, &self.config, keys(), self.time.clone(), &health)
    }

    fn event(&self, number: u128) -> Record {
        let now = self.time.now();
        let event = EventRecord {
            id: EventId(Uuid::from_u128(number)),
            revision: 1,
            state: EventState::Opened,
            camera: CAMERA,
            class: "person".into(),
            score: 0.5,
            opened_at_us: now.captured_at_us,
            last_seen_at_us: now.captured_at_us,
            closed_at_us: None,
            track: 1,
            rect: NormBox {
                x: 0.0,
                y: 0.0,
                w: 1.0,
                h: 1.0,
            },
            path: Vec::new(),
            zones: Vec::new(),
            media: Vec::new(),
        };
        Record::new(now, Body::Event(event))
    }

    /// A picture of `len` bytes that begins like a JPEG.
    fn put_picture(&self, spool: &SpoolHandle, class: MediaClass, fill: u8, len: usize) -> Sha256 {
        let bytes = picture(fill, len);
        let sha256 = Sha256::of(&bytes);
        let media = MediaRecord {
            sha256,
            class,
            bytes: bytes.len() as u64,
            content_type: "image/jpeg".into(),
            camera: CAMERA,
            width: 1,
            height: 1,
            event: None,
            command: None,
            quality: 0.0,
            masked: false,
            boxes: Vec::new(),
        };
        spool.put_media(self.time.now(), media, bytes).unwrap();
        sha256
    }
}

const JPEG_HEADER: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";

fn picture(fill: u8, len: usize) -> Vec<u8> {
    let mut bytes = JPEG_HEADER.to_vec();
    bytes.resize(len.max(JPEG_HEADER.len()), fill);
    bytes
}

fn keys() -> SpoolKeys {
    SpoolKeys {
        device_id: DeviceId(Uuid::from_u128(7)),
        record_key: SigningKey::from_seed([1; 32]),
        spool_key: SpoolKey([2; 32]),
    }
}

fn audit(bench: &Bench, action: &str) -> Record {
    let audit = AuditRecord {
        actor: "agent".into(),
        action: action.into(),
        outcome: "done".into(),
        command: None,
        detail: None,
    };
    Record::new(bench.time.now(), Body::Audit(audit))
}

async fn put_events(bench: &Bench, spool: &SpoolHandle, numbers: std::ops::Range<u128>) {
    for number in numbers {
        spool.put_durable(bench.event(number)).await.unwrap();
    }
}

/// Leases everything that is ready, backlog first.
async fn lease_all(spool: &SpoolHandle) -> Vec<LeasedBatch> {
    let mut all = spool.lease_batches(1000, Lane::Backlog).await.unwrap();
    all.extend(spool.lease_batches(1000, Lane::Live).await.unwrap());
    all
}

fn open_batch(leased: &LeasedBatch) -> (SignedBatch, Batch) {
    let signed = SignedBatch::from_bytes(leased.signed.to_vec()).unwrap();
    signed.verify(&keys().record_key.verifying_key()).unwrap();
    let batch = signed.parse().unwrap();
    (signed, batch)
}

fn records(leased: &[LeasedBatch]) -> Vec<Record> {
    leased
        .iter()
        .flat_map(|leased| open_batch(leased).1.records)
        .map(|json| Record::from_json(&json).unwrap())
        .collect()
}

fn gaps(leased: &[LeasedBatch]) -> Vec<GapRecord> {
    records(leased)
        .into_iter()
        .filter_map(|record| match record.body {
            Body::Gap(gap) => Some(gap),
            _ => None,
        })
        .collect()
}

/// Each batch names the one before it, numbers have no gap within an epoch, every signature holds.
fn assert_chain(leased: &[LeasedBatch]) {
    let mut prev = Sha256::ZERO;
    let mut expected: Option<(Epoch, Seq)> = None;
    for leased in leased {
        let (signed, batch) = open_batch(leased);
        assert_eq!(batch.prev, prev, "the link of {}", batch.first_seq);
        match expected {
            Some((epoch, next)) if epoch == batch.epoch => assert_eq!(batch.first_seq, next),
            _ => assert_eq!(batch.first_seq, Seq::FIRST),
        }
        expected = Some((batch.epoch, batch.last_seq().advanced_by(1)));
        prev = signed.hash();
    }
}

fn receipt(epoch: Epoch, through: u64, holes: &[(u64, u64)]) -> Receipt {
    Receipt {
        epoch,
        through: Seq(through),
        holes: holes
            .iter()
            .map(|(first, last)| SeqRange {
                first: Seq(*first),
                last: Seq(*last),
            })
            .collect(),
        rejected: Vec::new(),
        receiver_time_us: START,
    }
}

/// Waits until the balance holds what is asked for; requests are done in order, so one look mostly does.
async fn balance_of(spool: &SpoolHandle, class: &str) -> BalanceLine {
    let lines = spool.balance().await.unwrap();
    let mut sum = BalanceLine {
        camera: None,
        class: class.into(),
        hour_us: UtcMicros(0),
        captured: 0,
        settled: 0,
        shed: 0,
        parked: 0,
    };
    for line in lines.iter().filter(|line| line.class == class) {
        sum.captured += line.captured;
        sum.settled += line.settled;
        sum.shed += line.shed;
        sum.parked += line.parked;
    }
    sum
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// As a power cut would leave it: what is on disk now, while the spool still runs.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Polls a condition with a deadline.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_chain_verifies_from_the_first_record_over_three_epochs() {
    let bench = Bench::new();
    let mut epochs = Vec::new();
    for start in 0..3 {
        let spool = bench.open();
        epochs.push(spool.epoch());
        put_events(&bench, &spool, start * 10..start * 10 + 5).await;
        spool.close().await;
    }
    let spool = bench.open();
    let leased = lease_all(&spool).await;
    assert_chain(&leased);
    assert_eq!(records(&leased).len(), 15);
    let mut seen: Vec<Epoch> = leased.iter().map(|batch| batch.epoch).collect();
    seen.dedup();
    assert_eq!(seen, epochs, "each start draws its own epoch");
}

#[tokio::test]
async fn what_waits_together_is_one_batch() {
    let bench = Bench::new();
    let spool = bench.open();
    let putter = spool.clone();
    let burst: Vec<Record> = (0..150).map(|number| bench.event(number)).collect();
    tokio::task::spawn_blocking(move || burst.into_iter().for_each(|r| putter.put(r).unwrap()))
        .await
        .unwrap();
    spool.put_durable(bench.event(999)).await.unwrap();
    let leased = lease_all(&spool).await;
    assert_chain(&leased);
    assert_eq!(records(&leased).len(), 151);
    assert!(leased.len() < 151, "{} batches", leased.len());
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_promised() {
    let bench = Bench::new();
    let spool = bench.open();
    let after = tempfile::tempdir().unwrap();
    for step in 0..5u8 {
        put_events(&bench, &spool, u128::from(step)..u128::from(step) + 1).await;
        let sha256 = bench.put_picture(&spool, MediaClass::Snapshot, step, 2000);
        // Both calls returned, so a copy of the disk as it is now must hold them.
        let copy = after.path().join(step.to_string());
        copy_dir(bench.path(), &copy);
        let reopened = bench.try_open(&copy).unwrap();
        let leased = lease_all(&reopened).await;
        assert_chain(&leased);
        assert_eq!(records(&leased).len(), 2 * (usize::from(step) + 1));
        let blobs = reopened.stats().pending_blobs;
        assert_eq!(blobs, u64::from(step) + 1);
        let mut found = Vec::new();
        while let Some(blob) = reopened.lease_blob(Lane::Backlog).await.unwrap() {
            let bytes = reopened.blob_bytes(&blob).await.unwrap();
            assert_eq!(Sha256::of(&bytes), blob.sha256);
            found.push(blob.sha256);
        }
        assert!(found.contains(&sha256));
        reopened.close().await;
    }
}

#[tokio::test]
async fn files_without_a_row_are_swept_and_rows_without_a_file_are_reported() {
    let bench = Bench::new();
    let spool = bench.open();
    bench.put_picture(&spool, MediaClass::Snapshot, 1, 500);
    bench.put_picture(&spool, MediaClass::Snapshot, 2, 500);
    spool.close().await;

    // A crash between the file and its row, and one in mid-write.
    let blobs = bench.path().join("blobs");
    let real = files_below(&blobs);
    std::fs::write(blobs.join("0123456789abcdef"), b"whole but unnamed").unwrap();
    std::fs::write(blobs.join("0123456789abcdff.tmp"), b"half").unwrap();
    std::fs::remove_file(&real[0]).unwrap();

    let spool = bench.open();
    let mut leased = Vec::new();
    eventually("the gap record is there", async || {
        leased.extend(lease_all(&spool).await);
        !gaps(&leased).is_empty()
    })
    .await;
    assert_eq!(files_below(&blobs), real[1..]);
    let gaps = gaps(&leased);
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (
            gaps[0].class.as_str(),
            gaps[0].reason.as_str(),
            gaps[0].count
        ),
        ("snapshot", "quarantine", 1)
    );
    let balance = balance_of(&spool, "snapshot").await;
    assert_eq!((balance.parked, balance.pending()), (1, 1));
}

#[tokio::test]
async fn a_receipt_settles_what_it_names_and_nothing_in_its_holes() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..9).await;
    assert_eq!(lease_all(&spool).await.len(), 9, "one batch each");
    let epoch = spool.epoch();

    spool.settle(receipt(epoch, 7, &[(2, 3), (5, 5)]));
    spool.settle(receipt(Epoch(epoch.0 ^ 1), 9, &[]));
    let balance = balance_of(&spool, "event").await;
    assert_eq!((balance.settled, balance.pending()), (4, 5));

    spool.begin_session();
    let left: Vec<u64> = lease_all(&spool)
        .await
        .iter()
        .map(|batch| batch.first_seq.0)
        .collect();
    assert_eq!(left, [2, 3, 5, 8, 9]);

    // The same once more, and the rest: settled once.
    spool.settle(receipt(epoch, 7, &[(2, 3), (5, 5)]));
    spool.settle(receipt(epoch, 9, &[]));
    let balance = balance_of(&spool, "event").await;
    assert_eq!((balance.captured, balance.settled), (9, 9));
    assert_eq!(spool.stats().pending_records, 0);
    assert_eq!(spool.stats().batch_bytes, 0);
}

#[tokio::test]
async fn a_batch_that_is_half_stored_stays() {
    let bench = Bench::new();
    let spool = bench.open();
    let putter = spool.clone();
    let burst: Vec<Record> = (0..50).map(|number| bench.event(number)).collect();
    tokio::task::spawn_blocking(move || burst.into_iter().for_each(|r| putter.put(r).unwrap()))
        .await
        .unwrap();
    spool.put_durable(bench.event(50)).await.unwrap();
    let big = lease_all(&spool)
        .await
        .into_iter()
        .find(|batch| batch.last_seq > batch.first_seq)
        .expect("some wait together");
    let hole = (big.last_seq.0, big.last_seq.0);
    spool.settle(receipt(spool.epoch(), 51, &[hole]));
    balance_of(&spool, "event").await;
    spool.begin_session();
    assert_eq!(lease_all(&spool).await, [big]);
}

#[tokio::test]
async fn a_rejected_record_is_parked_and_named_and_the_rest_is_settled() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..3).await;
    lease_all(&spool).await;
    let mut answer = receipt(spool.epoch(), 3, &[]);
    answer.rejected.push(Rejected {
        seq: Seq(2),
        code: "bad_shape".into(),
    });
    spool.settle(answer.clone());
    // The receiver repeats itself.
    spool.settle(answer);
    let balance = balance_of(&spool, "event").await;
    assert_eq!(
        (balance.captured, balance.settled, balance.parked),
        (3, 2, 1)
    );
    let leased = lease_all(&spool).await;
    let gaps = gaps(&leased);
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (
            gaps[0].class.as_str(),
            gaps[0].reason.as_str(),
            gaps[0].count
        ),
        ("event", "rejected", 1)
    );
    assert_eq!(gaps[0].camera, Some(CAMERA));
    assert_eq!(spool.stats().parked_records, 1);
}

#[tokio::test]
async fn a_poison_batch_is_parked_whole_and_does_not_breed() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..2).await;
    for leased in lease_all(&spool).await {
        spool.park_batch(leased.id, "bad_signature");
    }
    balance_of(&spool, "event").await;
    let reports = lease_all(&spool).await;
    assert!(!gaps(&reports).is_empty());
    // The receiver wants the reports no more than the records.
    for leased in reports {
        spool.park_batch(leased.id, "bad_signature");
    }
    balance_of(&spool, "gap").await;
    assert_eq!(lease_all(&spool).await, []);
    assert_eq!(balance_of(&spool, "event").await.parked, 2);
}

#[tokio::test]
async fn leases_end_by_time_by_release_and_by_restart() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..1).await;
    let leased = lease_all(&spool).await;
    assert_eq!(leased.len(), 1);
    assert_eq!(lease_all(&spool).await, [], "leased once at a time");

    bench.clocks.advance(crate::spool::writer::LEASE);
    assert_eq!(lease_all(&spool).await, leased, "by time");
    spool.release_batches(vec![leased[0].id]);
    assert_eq!(lease_all(&spool).await, leased, "by release");
    spool.begin_session();
    assert_eq!(lease_all(&spool).await, leased, "by a new connection");
    spool.close().await;
    let spool = bench.open();
    assert_eq!(lease_all(&spool).await, leased, "by restart");
}

#[tokio::test]
async fn live_records_do_not_wait_behind_the_backlog() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..3).await;
    spool.begin_session();
    put_events(&bench, &spool, 3..4).await;
    let live = spool.lease_batches(10, Lane::Live).await.unwrap();
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].first_seq, Seq(4));
    let backlog = spool.lease_batches(10, Lane::Backlog).await.unwrap();
    assert_eq!(backlog.len(), 3);
}

#[tokio::test]
async fn nothing_on_disk_is_readable() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..20).await;
    bench.put_picture(&spool, MediaClass::Snapshot, 3, 4000);
    let leased = lease_all(&spool).await;
    spool.park_batch(leased[0].id, "bad_shape");
    balance_of(&spool, "event").await;
    // While it runs (with the write-ahead log) and after a clean end.
    for look in ["running", "closed"] {
        for path in files_below(bench.path()) {
            let bytes = std::fs::read(&path).unwrap();
            for plain in [b"\"kind\"".as_slice(), JPEG_HEADER, b"person"] {
                let found = bytes.windows(plain.len()).any(|window| window == plain);
                assert!(!found, "{look}: {plain:?} in {}", path.display());
            }
        }
        spool.close().await;
    }
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_reported_and_the_agent_starts() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..50).await;
    bench.put_picture(&spool, MediaClass::Snapshot, 1, 500);
    spool.close().await;
    let database = bench.path().join("spool.db");
    let mut bytes = std::fs::read(&database).unwrap();
    for page in 1..bytes.len() / 4096 {
        bytes[page * 4096..page * 4096 + 64].fill(0x5a);
    }
    std::fs::write(&database, bytes).unwrap();

    let spool = bench.open();
    spool.put_durable(bench.event(99)).await.unwrap();
    let leased = lease_all(&spool).await;
    assert_chain(&leased);
    let gaps = gaps(&leased);
    let told: Vec<_> = gaps
        .iter()
        .map(|gap| (gap.class.as_str(), gap.reason.as_str(), gap.count))
        .collect();
    assert!(told.contains(&("records", "quarantine", 0)), "{told:?}");
    assert!(told.contains(&("media", "quarantine", 1)), "{told:?}");
    let kept = files_below(&bench.path().join("quarantine"));
    assert!(kept.iter().any(|path| path.ends_with("spool.db")));
    assert_eq!(records(&leased).len(), 3);
}

#[tokio::test]
async fn a_database_that_is_no_database_or_anothers_is_set_aside_too() {
    let bench = Bench::new();
    std::fs::write(bench.path().join("spool.db"), vec![7; 9000]).unwrap();
    let spool = bench.open();
    put_events(&bench, &spool, 0..1).await;
    spool.close().await;

    let foreign = SpoolKeys {
        device_id: DeviceId(Uuid::from_u128(8)),
        ..keys()
    };
    let health = Health::default();
    let spool = Spool::open(
        bench.path(),
        &bench.config,
        foreign,
        bench.time.clone(),
        &health,
    )
    .unwrap();
    let leased = lease_all(&spool).await;
    assert_eq!(gaps(&leased).len(), 1);
}

#[tokio::test]
async fn a_flipped_byte_in_a_batch_or_a_blob_is_noticed_parked_and_named() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..3).await;
    bench.put_picture(&spool, MediaClass::Snapshot, 1, 500);
    spool.close().await;

    let blob = files_below(&bench.path().join("blobs")).remove(0);
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let database = rusqlite::Connection::open(bench.path().join("spool.db")).unwrap();
    let sealed: Vec<u8> = database
        .query_row("select sealed from batch where id = 2", (), |row| {
            row.get(0)
        })
        .unwrap();
    let mut changed = sealed.clone();
    changed[40] ^= 1;
    database
        .execute("update batch set sealed = ?1 where id = 2", [changed])
        .unwrap();
    drop(database);

    let spool = bench.open();
    let leased = spool.lease_batches(10, Lane::Backlog).await.unwrap();
    assert_eq!(leased.len(), 3, "the others go on: two events, one media");
    let found = spool.lease_blob(Lane::Backlog).await.unwrap().unwrap();
    assert!(matches!(
        spool.blob_bytes(&found).await,
        Err(SpoolError::Unreadable { .. })
    ));
    balance_of(&spool, "snapshot").await;
    let told = gaps(&lease_all(&spool).await);
    let mut told: Vec<_> = told
        .iter()
        .map(|gap| (gap.class.as_str(), gap.reason.as_str(), gap.count))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [("event", "quarantine", 1), ("snapshot", "quarantine", 1)]
    );
    assert_eq!(files_below(&bench.path().join("quarantine")).len(), 1);
    assert_eq!(balance_of(&spool, "event").await.parked, 1);
    assert_eq!(balance_of(&spool, "snapshot").await.parked, 1);
}

#[tokio::test]
async fn a_newer_database_is_refused_in_clear_words() {
    let bench = Bench::new();
    bench.open().close().await;
    let database = rusqlite::Connection::open(bench.path().join("spool.db")).unwrap();
    database
        .execute("insert into schema_version values (99, 1)", ())
        .unwrap();
    drop(database);
    let refused = bench.try_open(bench.path()).unwrap_err();
    assert!(matches!(refused, SpoolError::Newer { found: 99, .. }));
    assert!(refused.to_string().contains("newer agent"), "{refused}");
    assert!(!bench.path().join("quarantine").exists());
}

#[tokio::test]
async fn the_quota_sheds_in_order_and_names_every_item() {
    let bench = Bench::with_quota(200_000);
    let spool = bench.open();
    put_events(&bench, &spool, 0..5).await;
    let len = 20_000;
    // Out of order on purpose: what goes first is what is worth least, not what came first.
    let classes = [
        MediaClass::Snapshot,
        MediaClass::Requested,
        MediaClass::Periodic,
        MediaClass::Clip,
    ];
    let mut by_class = Vec::new();
    for (fill, class) in (0..).zip(classes.into_iter().cycle().take(8)) {
        by_class.push((class, bench.put_picture(&spool, class, fill, len)));
    }
    assert_eq!(spool.stats().pending_blobs, 8);
    for fill in 100..104 {
        bench.put_picture(&spool, MediaClass::Snapshot, fill, len);
    }

    let shed = |class: &str| {
        let class = class.to_owned();
        let spool = spool.clone();
        async move { balance_of(&spool, &class).await.shed }
    };
    assert_eq!(shed("clip").await, 2);
    assert_eq!(shed("periodic").await, 2, "down to the low-water mark");
    assert_eq!(shed("requested").await + shed("snapshot").await, 0);
    assert_eq!(shed("event").await, 0, "records last");
    assert!(spool.stats().report().bytes <= 200_000);

    // Exactly what was shed is named.
    let leased = lease_all(&spool).await;
    let mut told = std::collections::BTreeMap::new();
    for gap in gaps(&leased) {
        assert_eq!((gap.reason.as_str(), gap.camera), ("quota", Some(CAMERA)));
        *told.entry(gap.class).or_insert(0) += gap.count;
    }
    assert_eq!(told, [("clip".into(), 2), ("periodic".into(), 2)].into());
    let on_disk = files_below(&bench.path().join("blobs")).len() as u64;
    assert_eq!(on_disk, spool.stats().pending_blobs);
}

#[tokio::test]
async fn records_go_last_and_the_word_about_losses_stays() {
    let bench = Bench::with_quota(60_000);
    let spool = bench.open();
    put_events(&bench, &spool, 0..200).await;
    let events = balance_of(&spool, "event").await;
    assert!(events.shed > 0, "{events:?}");
    assert_eq!(events.captured, 200);
    spool.begin_session();
    let leased = lease_all(&spool).await;
    let named: u64 = gaps(&leased)
        .iter()
        .filter(|gap| gap.class == "event")
        .map(|gap| gap.count)
        .sum();
    assert_eq!(named, events.shed, "each lost record is named");
    let pending = records(&leased)
        .iter()
        .filter(|record| record.body.kind() == "event")
        .count();
    assert_eq!(events.pending(), i64::try_from(pending).unwrap());
}

#[tokio::test]
async fn an_oversized_record_is_refused_and_its_loss_named() {
    let bench = Bench::new();
    let spool = bench.open();
    let refused = spool.put(audit(&bench, &"x".repeat(70_000))).unwrap_err();
    assert!(refused.message.contains("larger"), "{refused}");
    put_events(&bench, &spool, 0..1).await;
    let mut leased = Vec::new();
    eventually("the loss is named", async || {
        leased.extend(lease_all(&spool).await);
        !gaps(&leased).is_empty()
    })
    .await;
    assert_eq!(gaps(&leased)[0].reason, "oversized");
    let balance = balance_of(&spool, "audit").await;
    assert_eq!((balance.captured, balance.shed), (1, 1));
}

#[tokio::test]
async fn records_near_the_limits_fill_batches_but_never_burst_them() {
    let bench = Bench::new();
    let spool = bench.open();
    let putter = spool.clone();
    let large: Vec<Record> = (0..20)
        .map(|_| audit(&bench, &"x".repeat(60_000)))
        .collect();
    tokio::task::spawn_blocking(move || large.into_iter().for_each(|r| putter.put(r).unwrap()))
        .await
        .unwrap();
    spool.put_durable(audit(&bench, "last")).await.unwrap();
    let leased = lease_all(&spool).await;
    assert_chain(&leased);
    assert_eq!(records(&leased).len(), 21);
}

#[tokio::test]
async fn the_same_picture_twice_is_one_blob() {
    let bench = Bench::new();
    let spool = bench.open();
    let first = bench.put_picture(&spool, MediaClass::Periodic, 1, 500);
    let second = bench.put_picture(&spool, MediaClass::Periodic, 1, 500);
    assert_eq!(first, second);
    assert_eq!(spool.stats().pending_blobs, 1);
    eventually("the second file is gone", async || {
        files_below(&bench.path().join("blobs")).len() == 1
    })
    .await;
    let blob = spool.lease_blob(Lane::Live).await.unwrap().unwrap();
    assert_eq!(spool.blob_bytes(&blob).await.unwrap(), picture(1, 500));
    spool.settle_blob(blob.sha256);
    let balance = balance_of(&spool, "periodic").await;
    assert_eq!((balance.captured, balance.settled), (1, 1));
    assert_eq!(files_below(&bench.path().join("blobs")).len(), 0);
}

#[tokio::test]
async fn pictures_go_by_worth_then_by_age() {
    let bench = Bench::new();
    let spool = bench.open();
    let periodic = bench.put_picture(&spool, MediaClass::Periodic, 1, 100);
    let snapshot = bench.put_picture(&spool, MediaClass::Snapshot, 2, 100);
    let later = bench.put_picture(&spool, MediaClass::Snapshot, 3, 100);
    let asked = bench.put_picture(&spool, MediaClass::Requested, 4, 100);
    let mut order = Vec::new();
    while let Some(blob) = spool.lease_blob(Lane::Live).await.unwrap() {
        order.push(blob.sha256);
    }
    assert_eq!(order, [asked, snapshot, later, periodic]);
}

#[tokio::test]
async fn a_restored_yesterday_reuses_no_number() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..2).await;
    spool.close().await;
    let yesterday = tempfile::tempdir().unwrap();
    copy_dir(bench.path(), yesterday.path());
    let spool = bench.open();
    put_events(&bench, &spool, 2..4).await;
    let today: Vec<_> = lease_all(&spool).await;
    spool.close().await;

    let restored = bench.try_open(yesterday.path()).unwrap();
    put_events(&bench, &restored, 4..6).await;
    let again = lease_all(&restored).await;
    let keys = |batches: &[LeasedBatch]| -> Vec<_> {
        batches.iter().map(|b| (b.epoch, b.first_seq)).collect()
    };
    assert_eq!(keys(&today)[..2], keys(&again)[..2]);
    assert!(
        !keys(&today)[2..]
            .iter()
            .any(|key| keys(&again).contains(key))
    );
}

#[tokio::test]
async fn a_closed_spool_refuses_and_says_so() {
    let bench = Bench::new();
    let spool = bench.open();
    spool.close().await;
    assert!(spool.put(bench.event(1)).is_err());
    assert!(spool.put_durable(bench.event(1)).await.is_err());
    assert!(matches!(
        spool.lease_batches(1, Lane::Live).await,
        Err(SpoolError::Stopped)
    ));
}

/// A second program that changes the database while the spool runs.
fn intruder(bench: &Bench) -> rusqlite::Connection {
    rusqlite::Connection::open(bench.path().join("spool.db")).unwrap()
}

#[tokio::test]
async fn a_commit_that_fails_is_made_again_and_the_record_kept_once() {
    let bench = Bench::new();
    let health = Health::default();
    let spool = Spool::open(
        bench.path(),
        &bench.config,
        keys(),
        bench.time.clone(),
        &health,
    )
    .unwrap();
    put_events(&bench, &spool, 0..1).await;
    let intruder = intruder(&bench);
    intruder.execute_batch("begin immediate").unwrap();
    spool.put(bench.event(1)).unwrap();
    eventually("the failure is shown", async || {
        health.snapshot()["spool"].consecutive_errors > 0
    })
    .await;
    intruder.execute_batch("rollback").unwrap();
    put_events(&bench, &spool, 2..3).await;
    let leased = lease_all(&spool).await;
    assert_chain(&leased);
    assert_eq!(records(&leased).len(), 3);
    assert_eq!(balance_of(&spool, "event").await.captured, 3);
}

#[tokio::test]
async fn a_database_that_breaks_in_mid_run_is_set_aside_and_the_record_kept() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..3).await;
    intruder(&bench)
        .execute_batch("drop table balance")
        .unwrap();
    put_events(&bench, &spool, 3..4).await;
    let mut leased = Vec::new();
    eventually(
        "the record and the word about the loss are there",
        async || {
            leased.extend(lease_all(&spool).await);
            leased.len() == 2
        },
    )
    .await;
    let found = records(&leased);
    assert_eq!(found[0].body.kind(), "event");
    assert_eq!(leased[0].first_seq, Seq(4), "the epoch goes on");
    assert_eq!(gaps(&leased)[0].reason, "quarantine");
}

fn with_state(mut record: Record, revision: u32, state: EventState) -> Record {
    let Body::Event(event) = &mut record.body else {
        panic!("an event");
    };
    event.revision = revision;
    event.state = state;
    record
}

fn interrupted(spool: &SpoolHandle) -> Vec<(u128, u32)> {
    let told = spool.interrupted_events().iter().map(|record| {
        let Body::Event(event) = &record.body else {
            panic!("an event: {record:?}");
        };
        (event.id.0.as_u128(), event.revision)
    });
    told.collect()
}

#[tokio::test]
async fn fault_39_events_that_were_open_are_known_at_the_next_start_until_they_are_ended() {
    let bench = Bench::new();
    let spool = bench.open();
    assert_eq!(interrupted(&spool), []);
    put_events(&bench, &spool, 1..4).await;
    for record in [
        with_state(bench.event(2), 2, EventState::Updated),
        with_state(bench.event(3), 2, EventState::Closed),
    ] {
        spool.put_durable(record).await.unwrap();
    }
    // Delivered and settled: that an event is open must not hang on its batches.
    for leased in lease_all(&spool).await {
        spool.settle(receipt(leased.epoch, leased.last_seq.0, &[]));
    }
    while spool.stats().pending_records > 0 {
        spool.balance().await.unwrap();
    }
    spool.close().await;

    let spool = bench.open();
    assert_eq!(interrupted(&spool), [(1, 1), (2, 2)]);
    let end = with_state(bench.event(1), 2, EventState::Closed);
    spool.put_durable(end).await.unwrap();
    spool.close().await;
    assert_eq!(interrupted(&bench.open()), [(2, 2)]);
}

#[tokio::test]
async fn of_more_open_events_than_a_box_can_have_the_newest_are_known() {
    let bench = Bench::new();
    let spool = bench.open();
    for number in 1..=1100 {
        spool.put(bench.event(number)).unwrap();
    }
    spool.close().await;
    let known = interrupted(&bench.open());
    assert_eq!((known.len(), known[0]), (1024, (77, 1)));
}
