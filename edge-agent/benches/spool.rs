//! What the spool costs over the bare limits of this disk, in the same run: records against bare SQLite with the same
//! durability (WAL, FULL, up to 100 rows a commit), blobs against bare files (write, fsync, rename, fsync of the
//! folder). Then how long a start takes after a crash with 100,000 records in batches of one, and how much memory a
//! million pending records take. Run: `cargo bench -p edge-agent --bench spool`, with a word to run one part only:
//! `-- records`, `blobs`, `latency`, `start`, `memory`.

use edge_agent::clock::{RealClocks, TimeSource};
use edge_agent::config::SpoolConfig;
use edge_agent::health::Health;
use edge_agent::identity::SpoolKey;
use edge_agent::sink::Sink;
use edge_agent::spool::{Spool, SpoolHandle, SpoolKeys};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;
use wire::record::{EventRecord, EventState, MediaRecord, NormBox, PathPoint};
use wire::{Body, CameraId, DeviceId, EventId, MediaClass, Record, Sha256, SigningKey};

const RECORDS: u32 = 20_000;
const BLOBS: u32 = 200;
/// A snapshot at 1080p.
const BLOB_BYTES: usize = 150_000;
/// The two take turns, so that a busy disk is busy for both.
const ROUNDS: usize = 9;
const SINGLES: usize = 500;
const START_RECORDS: u32 = 100_000;
const MANY_RECORDS: u32 = 1_000_000;
/// Names the child process that measures its own memory, and the folder it does it in.
const MEASURE: &str = "SPOOL_BENCH_MEASURE";

fn main() {
    let time = TimeSource::new(Arc::new(RealClocks::new()));
    if let Ok(dir) = std::env::var(MEASURE) {
        return measure_memory(Path::new(&dir), &time);
    }
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let part = |name: &str, run: fn(&TimeSource)| {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            run(&time);
        }
    };
    part("records", records);
    part("blobs", blobs);
    part("latency", latency);
    part("start", start);
    part("memory", memory);
}

fn records(time: &TimeSource) {
    let record = event(time);
    let json = record.to_json();
    println!("record: {} bytes of JSON", json.len());
    rounds(
        "records/s",
        || per_second(RECORDS, bare_sqlite(&folder("bare"), &json)),
        || per_second(RECORDS, through_spool(time, &record)),
    );
}

fn blobs(time: &TimeSource) {
    println!("blob: {BLOB_BYTES} bytes");
    rounds(
        "blobs/s",
        || per_second(BLOBS, bare_files(&folder("files"))),
        || per_second(BLOBS, blobs_through_spool(time)),
    );
}

/// Bare and spool in turn; the median of the ratios is what counts.
fn rounds(what: &str, bare: impl Fn() -> f64, spool: impl Fn() -> f64) {
    let mut shares = Vec::new();
    for round in 1..=ROUNDS {
        let (bare, spool) = (bare(), spool());
        let share = 100.0 * spool / bare;
        shares.push(share);
        println!("round {round}: bare {bare:.0} {what}, spool {spool:.0} {what} ({share:.0} %)");
    }
    shares.sort_by(f64::total_cmp);
    println!(
        "{what}: median share of the bare limit {:.0} %",
        shares[ROUNDS / 2]
    );
}

fn per_second(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

fn folder(name: &str) -> tempfile::TempDir {
    // Beside the build, so that it is this disk and not a memory file system.
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tempfile::Builder::new()
        .prefix(name)
        .tempdir_in(base)
        .expect("a folder")
}

/// The most SQLite can do with this durability: a row a record, 100 rows a commit, nothing else.
fn bare_sqlite(dir: &tempfile::TempDir, json: &[u8]) -> Duration {
    let mut connection = rusqlite::Connection::open(dir.path().join("bare.db")).expect("opens");
    connection
        .query_row("pragma journal_mode = wal", (), |_| Ok(()))
        .expect("WAL");
    connection
        .pragma_update(None, "synchronous", "full")
        .expect("FULL");
    connection
        .execute_batch("create table record (id integer primary key, json blob not null) strict")
        .expect("creates");
    let start = Instant::now();
    for _ in 0..RECORDS / 100 {
        let transaction = connection.transaction().expect("begins");
        for _ in 0..100 {
            transaction
                .prepare_cached("insert into record (json) values (?1)")
                .and_then(|mut statement| statement.execute([json]))
                .expect("inserts");
        }
        transaction.commit().expect("commits");
    }
    start.elapsed()
}

/// JSON, batch, hash, signature, chain, seal, balance and commit; four threads put, as cameras would.
fn through_spool(time: &TimeSource, record: &Record) -> Duration {
    let dir = folder("spool");
    let spool = open(dir.path(), time);
    let start = Instant::now();
    put_all(&spool, record, RECORDS);
    let took = start.elapsed();
    runtime().block_on(spool.close());
    took
}

/// Returns once all are durable.
fn put_all(spool: &SpoolHandle, record: &Record, count: u32) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..count / 4 {
                    spool.put(record.clone()).expect("takes it");
                }
            });
        }
    });
    runtime()
        .block_on(spool.put_durable(record.clone()))
        .expect("commits");
}

/// The most files can do with this durability, one at a time, as the one media worker makes them.
fn bare_files(dir: &tempfile::TempDir) -> Duration {
    let bytes = vec![7; BLOB_BYTES];
    let start = Instant::now();
    for number in 0..BLOBS {
        let temporary = dir.path().join("new");
        let mut file = File::create_new(&temporary).expect("creates");
        file.write_all(&bytes).expect("writes");
        file.sync_all().expect("fsyncs");
        drop(file);
        std::fs::rename(&temporary, dir.path().join(number.to_string())).expect("renames");
        File::open(dir.path())
            .and_then(|folder| folder.sync_all())
            .expect("fsyncs the folder");
    }
    start.elapsed()
}

/// Seal, file, and the record that names it, each durable before the next.
fn blobs_through_spool(time: &TimeSource) -> Duration {
    let dir = folder("spool");
    let spool = open(dir.path(), time);
    let mut bytes = vec![7; BLOB_BYTES];
    let start = Instant::now();
    for number in 0..BLOBS {
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let media = MediaRecord {
            sha256: Sha256::of(&bytes),
            class: MediaClass::Snapshot,
            bytes: bytes.len() as u64,
            content_type: "image/jpeg".into(),
            camera: CameraId(Uuid::from_u128(2)),
            width: 1920,
            height: 1080,
            event: None,
            command: None,
            boxes: Vec::new(),
            quality: 0.5,
            masked: false,
            moment: None,
        };
        spool
            .put_media(time.now(), media, bytes.clone())
            .expect("takes it");
    }
    let took = start.elapsed();
    runtime().block_on(spool.close());
    took
}

fn latency(time: &TimeSource) {
    let (dir, record) = (folder("single"), event(time));
    let spool = open(dir.path(), time);
    let runtime = runtime();
    let mut latencies: Vec<Duration> = (0..SINGLES)
        .map(|_| {
            let start = Instant::now();
            runtime
                .block_on(spool.put_durable(record.clone()))
                .expect("commits");
            start.elapsed()
        })
        .collect();
    runtime.block_on(spool.close());
    latencies.sort_unstable();
    let at = |percent: usize| latencies[latencies.len() * percent / 100];
    println!(
        "put to commit, one at a time: p50 {:?}, p95 {:?}, p99 {:?}",
        at(50),
        at(95),
        at(99)
    );
}

/// The worst case: every record a batch of its own, the log not copied into the database, nothing in the cache.
fn start(time: &TimeSource) {
    let dir = folder("start");
    let record = event(time);
    let spool = open(dir.path(), time);
    let runtime = runtime();
    for _ in 0..START_RECORDS {
        runtime
            .block_on(spool.put_durable(record.clone()))
            .expect("commits");
    }
    let bytes = std::fs::metadata(dir.path().join("spool.db")).map_or(0, |meta| meta.len());
    // As a crash would leave it: copied while the spool runs.
    let crashed = folder("crashed");
    copy_durably(dir.path(), crashed.path());
    runtime.block_on(spool.close());
    let dropped = drop_caches();
    let start = Instant::now();
    let again = open(crashed.path(), time);
    let took = start.elapsed();
    assert!(again.stats().pending_records >= u64::from(START_RECORDS));
    runtime.block_on(again.close());
    let cache = if dropped {
        "cold"
    } else {
        "WARM: caches cannot be dropped here"
    };
    println!(
        "start with {START_RECORDS} records in batches of one ({} MB, {cache} cache): {took:?}",
        bytes / 1_000_000
    );
}

fn copy_durably(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("lists").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).expect("makes a folder");
            copy_durably(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copies");
            File::open(&target)
                .and_then(|file| file.sync_all())
                .expect("fsyncs");
        }
    }
}

/// Needs root.
fn drop_caches() -> bool {
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// In processes of their own: what one with nothing to deliver takes, and what one with a million records takes.
fn memory(time: &TimeSource) {
    let (empty, full) = (folder("empty"), folder("full"));
    runtime().block_on(open(empty.path(), time).close());
    let spool = open(full.path(), time);
    put_all(&spool, &event(time), MANY_RECORDS);
    runtime().block_on(spool.close());
    let without = measured(empty.path());
    let with = measured(full.path());
    println!(
        "resident memory after start, checks, delivery of 32 batches and 1,000 more records: {without} kB with \
         nothing pending, {with} kB with {MANY_RECORDS} records pending: {:+} kB",
        with - without
    );
}

fn measured(dir: &Path) -> i64 {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .env(MEASURE, dir)
        .output()
        .expect("runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.trim().parse().unwrap_or_else(|_| {
        let words = String::from_utf8_lossy(&output.stderr);
        panic!("the measuring process said {printed:?} and {words}")
    })
}

/// In the child: opens, works a little, says what it has come to hold.
fn measure_memory(dir: &Path, time: &TimeSource) {
    let spool = open(dir, time);
    let runtime = runtime();
    put_all(&spool, &event(time), 1000);
    runtime.block_on(async {
        for lane in [
            edge_agent::spool::Lane::Backlog,
            edge_agent::spool::Lane::Live,
        ] {
            drop(spool.lease_batches(32, lane).await.expect("leases"));
        }
        drop(spool.balance().await.expect("answers"));
    });
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .expect("peak of resident memory");
    println!("{}", peak.trim());
    runtime.block_on(spool.close());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn open(dir: &Path, time: &TimeSource) -> SpoolHandle {
    let config = SpoolConfig {
        quota_bytes: 8 << 30,
        min_free_bytes: 0,
    };
    let keys = SpoolKeys {
        device_id: DeviceId(Uuid::from_u128(1)),
        record_key: SigningKey::from_seed([1; 32]),
        spool_key: SpoolKey([2; 32]),
    };
    Spool::open(dir, &config, keys, time.clone(), &Health::default()).expect("opens")
}

/// An event with a path of 16 points: what an update of a walker looks like.
fn event(time: &TimeSource) -> Record {
    let now = time.now();
    let at = now.captured_at_us;
    let event = EventRecord {
        id: EventId(Uuid::from_u128(1)),
        revision: 2,
        state: EventState::Updated,
        camera: CameraId(Uuid::from_u128(2)),
        class: "person".into(),
        score: 0.87,
        opened_at_us: at,
        last_seen_at_us: at,
        closed_at_us: None,
        track: 3,
        rect: NormBox {
            x: 0.25,
            y: 0.5,
            w: 0.125,
            h: 0.25,
        },
        path: vec![
            PathPoint {
                at_us: at,
                x: 0.3,
                y: 0.7
            };
            16
        ],
        zones: vec!["entrance".into()],
        reasons: Vec::new(),
        media: Vec::new(),
    };
    Record::new(now, Body::Event(event))
}
