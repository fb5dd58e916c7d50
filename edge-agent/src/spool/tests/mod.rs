//! The spool on real folders: what it promises in its own words, one test each.

#![allow(clippy::unwrap_used)]

use crate::clock::{SimClocks, TimeSource};
use crate::config::SpoolConfig;
use crate::health::Health;
use crate::identity::SpoolKey;
use crate::sink::{Keeping, Sink};
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

mod answers;
mod damage;
mod failing;
mod history;
mod keeping;
mod room;

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
            reasons: Vec::new(),
            media: Vec::new(),
        };
        Record::new(now, Body::Event(event))
    }

    /// A picture of `len` bytes that begins like a JPEG.
    fn put_picture(&self, spool: &SpoolHandle, class: MediaClass, fill: u8, len: usize) -> Sha256 {
        let (sha256, keeping) = self.begin_picture(spool, class, fill, len);
        keeping.wait_for_ever().unwrap();
        sha256
    }

    /// The same without waiting for the commit.
    fn begin_picture(
        &self,
        spool: &SpoolHandle,
        class: MediaClass,
        fill: u8,
        len: usize,
    ) -> (Sha256, Keeping) {
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
            moment: None,
            boxes: Vec::new(),
        };
        let keeping = spool.begin_media(self.time.now(), media, bytes);
        (sha256, keeping.unwrap())
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

fn audit_record(bench: &Bench, action: &str) -> Record {
    let audit = AuditRecord {
        actor: "agent".into(),
        action: action.into(),
        outcome: "done".into(),
        command: None,
        detail: None,
        file: None,
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

/// What `edge-agent spool audit` would say.
#[track_caller]
fn assert_adds_up(bench: &Bench) {
    let audit = crate::spool::audit(bench.path(), &keys()).unwrap();
    assert_eq!(audit.differences, []);
}

/// Polls a condition with a deadline.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

/// A second program that changes the database while the spool runs.
fn intruder(bench: &Bench) -> rusqlite::Connection {
    rusqlite::Connection::open(bench.path().join("spool.db")).unwrap()
}
