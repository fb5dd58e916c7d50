//! What is damaged on disk is noticed, carried over as far as it can be read, and named.

use super::*;

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
async fn a_database_that_breaks_in_mid_run_is_rebuilt_with_all_that_it_held() {
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
    put_events(&bench, &spool, 0..3).await;
    let sha256 = bench.put_picture(&spool, MediaClass::Snapshot, 1, 500);
    intruder(&bench)
        .execute_batch("drop table balance")
        .unwrap();
    put_events(&bench, &spool, 4..5).await;
    let mut leased = Vec::new();
    eventually("the word about the damage is there", async || {
        spool.begin_session();
        leased = lease_all(&spool).await;
        !gaps(&leased).is_empty()
    })
    .await;
    assert_chain(&leased);
    let kinds: Vec<_> = records(&leased)
        .iter()
        .map(|record| record.body.kind())
        .collect();
    assert_eq!(kinds, ["event", "event", "event", "media", "event", "gap"]);
    assert_eq!(gaps(&leased)[0].reason, "quarantine");
    let blob = spool.lease_blob(Lane::Backlog).await.unwrap().unwrap();
    assert_eq!(blob.sha256, sha256);
    let why = health.snapshot()["spool"].last_error.clone().unwrap();
    assert!(why.contains("damaged"), "{why}");
    spool.close().await;
    assert_adds_up(&bench);
}

/// A spool of so many events in batches of one, closed, or left as a power cut would leave it.
async fn filled(bench: &Bench, events: u128, cut_off: bool) -> u64 {
    let spool = bench.open();
    put_events(bench, &spool, 0..events).await;
    for fill in 0..3 {
        bench.put_picture(&spool, MediaClass::Snapshot, fill, 500);
    }
    if cut_off {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(bench.path(), copy.path());
        spool.close().await;
        std::fs::remove_dir_all(bench.path()).unwrap();
        copy_dir(copy.path(), bench.path());
    } else {
        spool.close().await;
    }
    u64::try_from(events).unwrap() + 3
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x55;
    std::fs::write(path, bytes).unwrap();
}

/// Opens again: what is there and what is named as lost are together what was put, and the audit agrees.
async fn assert_all_accounted(bench: &Bench, put: u64, what: &str) -> (u64, u64) {
    let spool = bench.open();
    spool.put_durable(bench.event(9999)).await.unwrap();
    let leased = lease_all(&spool).await;
    let there = records(&leased)
        .iter()
        .filter(|record| record.body.kind() != "gap")
        .count() as u64;
    let named: u64 = gaps(&leased)
        .iter()
        .filter(|gap| matches!(gap.class.as_str(), "event" | "media"))
        .map(|gap| gap.count)
        .sum();
    spool.close().await;
    assert_eq!(
        there + named,
        put + 1,
        "{what}: {there} there, {named} named"
    );
    assert_adds_up(bench);
    (there, named)
}

#[tokio::test]
async fn a_damaged_page_costs_what_stood_in_it_and_nothing_else() {
    for batch in [20, 60, 100] {
        let bench = Bench::new();
        let put = filled(&bench, 120, false).await;
        let database = bench.path().join("spool.db");
        let sealed: Vec<u8> = intruder(&bench)
            .query_row("select sealed from batch where id = ?1", [batch], |row| {
                row.get(0)
            })
            .unwrap();
        let mut bytes = std::fs::read(&database).unwrap();
        let at = bytes
            .windows(64)
            .position(|window| window == &sealed[..64])
            .unwrap();
        let page = at - at % 4096;
        bytes[page..page + 200].fill(0x5a);
        std::fs::write(&database, bytes).unwrap();
        let (there, named) = assert_all_accounted(&bench, put, "a page").await;
        assert!(there > 100, "{there} there, {named} named");
    }
}

#[tokio::test]
async fn without_a_schema_the_rows_are_found_in_their_pages() {
    let bench = Bench::new();
    let put = filled(&bench, 120, false).await;
    let database = bench.path().join("spool.db");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[..4096].fill(0x5a);
    std::fs::write(&database, bytes).unwrap();
    let (there, named) = assert_all_accounted(&bench, put, "the schema").await;
    assert_eq!((there, named), (put + 1, 0));
    assert_eq!(bench.open().stats().pending_blobs, 3);
}

#[tokio::test]
async fn a_flipped_byte_in_the_log_is_noticed_and_costs_little() {
    let bench = Bench::new();
    let put = filled(&bench, 60, true).await;
    let log = bench.path().join("spool.db-wal");
    let middle = std::fs::metadata(&log).unwrap().len() as usize / 2;
    flip(&log, middle);
    let (there, _) = assert_all_accounted(&bench, put, "the log").await;
    assert!(there > 40, "{there} there");
    let kept = files_below(&bench.path().join("quarantine"));
    assert!(kept.iter().any(|path| path.ends_with("spool.db-wal")));
}

#[tokio::test]
async fn a_rebuild_that_was_cut_off_begins_again_or_is_finished() {
    let bench = Bench::new();
    let put = filled(&bench, 20, false).await;
    let rebuild = bench.path().join("rebuild");
    // Cut off in the building: what is half there goes.
    std::fs::create_dir(&rebuild).unwrap();
    std::fs::write(rebuild.join("spool.db"), b"half").unwrap();
    assert_all_accounted(&bench, put, "half built").await;
    // Cut off between the two renames: the new one takes its place, and no old log is laid over it.
    std::fs::create_dir(&rebuild).unwrap();
    std::fs::rename(bench.path().join("spool.db"), rebuild.join("spool.db")).unwrap();
    std::fs::write(bench.path().join("spool.db-wal"), b"of the old one").unwrap();
    assert_all_accounted(&bench, put + 1, "finished").await;
    assert!(!rebuild.exists());
}

#[tokio::test]
async fn missing_records_and_files_are_named_by_their_keys() {
    use crate::spool::Difference;
    let bench = Bench::new();
    filled(&bench, 5, false).await;
    assert_adds_up(&bench);
    let database = intruder(&bench);
    let epoch: [u8; 8] = database
        .query_row("select epoch from epoch", (), |row| row.get(0))
        .unwrap();
    database
        .execute("delete from batch where first_seq = 3", ())
        .unwrap();
    drop(database);
    std::fs::remove_file(files_below(&bench.path().join("blobs")).remove(0)).unwrap();
    let stray = "0123456789abcdef0123456789abcdef";
    std::fs::write(bench.path().join("blobs").join(stray), b"stray").unwrap();

    let audit = crate::spool::audit(bench.path(), &keys()).unwrap();
    let missing = Difference::MissingRecords {
        epoch: Epoch(u64::from_be_bytes(epoch)),
        first_seq: Seq(3),
        last_seq: Seq(3),
    };
    assert!(audit.differences.contains(&missing), "{audit:?}");
    let file = stray.to_owned();
    assert!(
        audit
            .differences
            .contains(&Difference::FileWithoutRow { file })
    );
    let names_a_blob = |difference: &Difference| matches!(difference, Difference::BlobWithoutFile { class, .. } if class == "snapshot");
    assert!(audit.differences.iter().any(names_a_blob));
}
