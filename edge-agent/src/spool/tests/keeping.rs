//! What is kept, chained, leased, settled and sent again.

use super::*;

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

    bench.clocks.advance(crate::spool::leases::LEASE);
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
async fn records_near_the_limits_fill_batches_but_never_burst_them() {
    let bench = Bench::new();
    let spool = bench.open();
    let putter = spool.clone();
    let large: Vec<Record> = (0..20)
        .map(|_| audit_record(&bench, &"x".repeat(60_000)))
        .collect();
    tokio::task::spawn_blocking(move || large.into_iter().for_each(|r| putter.put(r).unwrap()))
        .await
        .unwrap();
    spool
        .put_durable(audit_record(&bench, "last"))
        .await
        .unwrap();
    let leased = lease_all(&spool).await;
    assert_chain(&leased);
    assert_eq!(records(&leased).len(), 21);
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

fn blob_files(bench: &Bench) -> usize {
    let files = std::fs::read_dir(bench.path().join("blobs"));
    files.unwrap().count()
}

/// Once it returns, the thread does nothing until the sender is dropped.
fn stalled(spool: &SpoolHandle) -> std::sync::mpsc::Sender<()> {
    let until = spool.stall();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !spool.inbox.has_no_requests() {
        assert!(Instant::now() < deadline, "the thread does not come");
        std::thread::yield_now();
    }
    until
}

#[tokio::test]
async fn what_was_put_a_moment_before_a_wipe_goes_with_it() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..5).await;
    let disk = stalled(&spool);
    // More than one batch takes, so that some of it waits behind the wipe's own turn.
    let (_, keeping) = bench.begin_picture(&spool, MediaClass::Snapshot, 1, 2000);
    for number in 5..150 {
        spool.put(bench.event(number)).unwrap();
    }
    let (_, late) = bench.begin_picture(&spool, MediaClass::Snapshot, 2, 2000);
    spool
        .put(audit_record(&bench, "command.picture_now"))
        .unwrap();
    assert_eq!(blob_files(&bench), 2);
    let (wiped, ()) = tokio::join!(spool.wipe(), async { drop(disk) });
    assert_eq!(wiped.unwrap().records, 5);
    // Whoever waits for the commit hears of it.
    keeping.wait_for_ever().unwrap();
    late.wait_for_ever().unwrap();
    let stats = spool.stats();
    assert_eq!((stats.pending_records, stats.pending_blobs), (1, 0));
    assert_eq!(blob_files(&bench), 0);
}

#[tokio::test]
async fn what_slipped_past_the_mark_is_turned_away_behind_it() {
    let bench = Bench::new();
    let spool = bench.open();
    let disk = stalled(&spool);
    let (_, keeping) = bench.begin_picture(&spool, MediaClass::Snapshot, 1, 2000);
    spool.set_contract_ended(true);
    drop(disk);
    keeping.wait_for_ever().unwrap();
    spool
        .put_durable(audit_record(&bench, "command.wipe_contract"))
        .await
        .unwrap();
    let stats = spool.stats();
    assert_eq!((stats.pending_records, stats.pending_blobs), (1, 0));
    assert_eq!(blob_files(&bench), 0);
}

#[tokio::test]
async fn what_an_ended_contract_left_is_destroyed_and_nothing_more_is_kept() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..5).await;
    bench.put_picture(&spool, MediaClass::Snapshot, 1, 2000);
    spool.set_contract_ended(true);
    let wiped = spool.wipe().await.unwrap();
    assert_eq!((wiped.records, wiped.pictures), (6, 1));
    assert_eq!(
        (spool.stats().pending_records, spool.stats().pending_blobs),
        (0, 0)
    );
    assert_eq!(
        std::fs::read_dir(bench.path().join("blobs"))
            .unwrap()
            .count(),
        0
    );

    // What cameras still see is turned away; the answer to the receiver is not.
    put_events(&bench, &spool, 5..9).await;
    bench.put_picture(&spool, MediaClass::Snapshot, 2, 2000);
    let answer = AuditRecord {
        actor: "receiver".into(),
        action: "command.wipe_contract".into(),
        outcome: "done".into(),
        command: None,
        detail: None,
        file: None,
    };
    let answer = Record::new(bench.time.now(), Body::Audit(answer));
    spool.put_durable(answer).await.unwrap();
    assert_eq!(
        (spool.stats().pending_records, spool.stats().pending_blobs),
        (1, 0)
    );

    // The books still add up, also after a restart; enrolled again, it keeps again.
    spool.close().await;
    let spool = bench.open();
    put_events(&bench, &spool, 9..10).await;
    assert_eq!(spool.stats().pending_records, 2);
    let sum =
        |of: fn(&BalanceLine) -> u64, lines: &[BalanceLine]| lines.iter().map(of).sum::<u64>();
    let lines = spool.balance().await.unwrap();
    assert_eq!(
        sum(|line| line.shed, &lines),
        7,
        "six records and a picture"
    );
    // Two records wait: the answer and the new event.
    assert_eq!(sum(|line| line.captured, &lines), 9);
}
