//! What the spool costs over bare SQLite with the same durability (WAL, FULL, up to 100 rows a commit) on this disk,
//! and how long one record takes from `put` to its commit. Run: `cargo bench -p edge-agent --bench spool`.

use edge_agent::clock::{RealClocks, TimeSource};
use edge_agent::config::SpoolConfig;
use edge_agent::health::Health;
use edge_agent::identity::SpoolKey;
use edge_agent::sink::Sink;
use edge_agent::spool::{Spool, SpoolHandle, SpoolKeys};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;
use wire::record::{EventRecord, EventState, NormBox, PathPoint};
use wire::{Body, CameraId, DeviceId, EventId, Record, SigningKey};

const RECORDS: u32 = 20_000;
/// The two take turns, so that a busy disk is busy for both.
const ROUNDS: usize = 9;
const SINGLES: usize = 500;

fn main() {
    let time = TimeSource::new(Arc::new(RealClocks::new()));
    let record = event(&time);
    let json = record.to_json();
    println!("record: {} bytes of JSON", json.len());
    let mut shares = Vec::new();
    for round in 1..=ROUNDS {
        let bare = per_second(|| bare_sqlite(&folder("bare"), &json));
        let spool = per_second(|| through_spool(&time, &record));
        let share = 100.0 * spool / bare;
        shares.push(share);
        println!(
            "round {round}: bare SQLite {bare:.0} records/s, spool {spool:.0} records/s ({share:.0} %)"
        );
    }
    shares.sort_by(f64::total_cmp);
    println!("median share of bare SQLite: {:.0} %", shares[ROUNDS / 2]);
    let mut latencies = latencies(&time, &record);
    latencies.sort_unstable();
    let at = |percent: usize| latencies[latencies.len() * percent / 100];
    println!(
        "put to commit, one at a time: p50 {:?}, p95 {:?}, p99 {:?}",
        at(50),
        at(95),
        at(99)
    );
}

fn per_second(work: impl FnOnce() -> Duration) -> f64 {
    f64::from(RECORDS) / work().as_secs_f64()
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
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..RECORDS / 4 {
                    spool.put(record.clone()).expect("takes it");
                }
            });
        }
    });
    runtime()
        .block_on(spool.put_durable(record.clone()))
        .expect("commits");
    let took = start.elapsed();
    runtime().block_on(spool.close());
    took
}

fn latencies(time: &TimeSource, record: &Record) -> Vec<Duration> {
    let dir = folder("single");
    let spool = open(dir.path(), time);
    let runtime = runtime();
    let latencies = (0..SINGLES)
        .map(|_| {
            let start = Instant::now();
            runtime
                .block_on(spool.put_durable(record.clone()))
                .expect("commits");
            start.elapsed()
        })
        .collect();
    runtime.block_on(spool.close());
    latencies
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
        media: Vec::new(),
    };
    Record::new(now, Body::Event(event))
}
