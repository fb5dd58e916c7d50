//! Quota and full disks: what gives way, in which order, and that each loss is named.

use super::*;

#[tokio::test]
async fn the_quota_sheds_in_order_and_names_every_item() {
    let bench = Bench::with_quota(16 << 20);
    let spool = bench.open();
    put_events(&bench, &spool, 0..5).await;
    let len = 1_000_000;
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
    for fill in 100..106 {
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
    assert!(spool.stats().report().bytes <= 11 << 20);

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
    spool.close().await;
    assert_adds_up(&bench);
}

#[tokio::test]
async fn records_go_last_and_the_word_about_losses_stays() {
    let bench = Bench::with_quota(16 << 20);
    let spool = bench.open();
    for _ in 0..220 {
        let large = audit_record(&bench, &"x".repeat(60_000));
        spool.put_durable(large).await.unwrap();
    }
    let events = balance_of(&spool, "audit").await;
    assert!(events.shed > 0, "{events:?}");
    assert_eq!(events.captured, 220);
    spool.begin_session();
    let leased = lease_all(&spool).await;
    let named: u64 = gaps(&leased)
        .iter()
        .filter(|gap| gap.class == "audit")
        .map(|gap| gap.count)
        .sum();
    assert_eq!(named, events.shed, "each lost record is named");
    let pending = records(&leased)
        .iter()
        .filter(|record| record.body.kind() == "audit")
        .count();
    assert_eq!(events.pending(), i64::try_from(pending).unwrap());
    spool.close().await;
    assert_adds_up(&bench);
}

#[tokio::test]
async fn the_same_bytes_under_a_dearer_class_are_worth_that_and_counted_so() {
    let bench = Bench::with_quota(16 << 20);
    let spool = bench.open();
    let first = bench.put_picture(&spool, MediaClass::Periodic, 1, 1_000_000);
    assert_eq!(
        bench.put_picture(&spool, MediaClass::Snapshot, 1, 1_000_000),
        first
    );
    // The other way round changes nothing.
    bench.put_picture(&spool, MediaClass::Periodic, 1, 1_000_000);
    for fill in 2..14 {
        bench.put_picture(&spool, MediaClass::Periodic, fill, 1_000_000);
    }
    let snapshots = balance_of(&spool, "snapshot").await;
    assert_eq!((snapshots.captured, snapshots.shed), (1, 0));
    let periodic = balance_of(&spool, "periodic").await;
    assert_eq!(periodic.captured, 12);
    assert!(periodic.shed > 0);
    let blob = spool.lease_blob(Lane::Live).await.unwrap().unwrap();
    assert_eq!((blob.sha256, blob.class), (first, MediaClass::Snapshot));
    spool.close().await;
    assert_adds_up(&bench);
}

#[tokio::test]
async fn a_gap_record_that_has_to_go_says_its_word_again() {
    let bench = Bench::with_quota(16 << 20);
    let spool = bench.open();
    // In nearly every batch one names a loss: such batches have to go, too.
    let mut told = 0;
    for _ in 0..220 {
        let gap = GapRecord {
            from_us: START,
            to_us: START,
            camera: Some(CAMERA),
            class: "snapshot".into(),
            count: 3,
            reason: "media_busy".into(),
        };
        told += 3;
        let record = Record::new(bench.time.now(), Body::Gap(gap));
        spool.put(record).unwrap();
        let large = audit_record(&bench, &"x".repeat(60_000));
        spool.put_durable(large).await.unwrap();
    }
    let named: u64 = gaps(&lease_all(&spool).await)
        .iter()
        .filter(|gap| gap.reason == "media_busy")
        .map(|gap| gap.count)
        .sum();
    assert_eq!(named, told);
    spool.close().await;
    assert_adds_up(&bench);
}

#[tokio::test]
async fn a_delivered_backlog_gives_its_room_back() {
    let bench = Bench::with_quota(16 << 20);
    let spool = bench.open();
    for _ in 0..150 {
        let large = audit_record(&bench, &"x".repeat(60_000));
        spool.put_durable(large).await.unwrap();
    }
    let database = bench.path().join("spool.db");
    spool.settle(receipt(spool.epoch(), 150, &[]));
    eventually("the file is short again", async || {
        balance_of(&spool, "audit").await.settled == 150
            && std::fs::metadata(&database).unwrap().len() < 4 << 20
    })
    .await;
}

#[tokio::test]
async fn an_oversized_record_is_refused_and_its_loss_named() {
    let bench = Bench::new();
    let spool = bench.open();
    let refused = spool
        .put(audit_record(&bench, &"x".repeat(70_000)))
        .unwrap_err();
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
