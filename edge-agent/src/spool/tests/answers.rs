//! Answers that bring a file about the box: kept, counted, given up and destroyed like everything else.

use super::*;
use wire::record::FileRef;

fn log(fill: u8, len: usize) -> (FileRef, Vec<u8>) {
    let bytes = vec![fill; len];
    let file = FileRef {
        sha256: Sha256::of(&bytes),
        bytes: bytes.len() as u64,
        content_type: "text/plain".into(),
    };
    (file, bytes)
}

async fn put_log(bench: &Bench, spool: &SpoolHandle, fill: u8, len: usize) -> FileRef {
    let (file, bytes) = log(fill, len);
    let mut record = audit_record(bench, "command.log_excerpt");
    if let Body::Audit(audit) = &mut record.body {
        audit.file = Some(file.clone());
    }
    spool
        .put_answer_with_file(record, file.clone(), bytes)
        .await
        .unwrap();
    file
}

async fn of_files(spool: &SpoolHandle) -> Vec<BalanceLine> {
    let lines = spool.balance().await.unwrap();
    let files = lines.into_iter().filter(|line| line.class == "diagnostic");
    files.collect()
}

#[tokio::test]
async fn an_answer_and_its_file_are_kept_together_and_counted_as_the_boxs_own() {
    let bench = Bench::new();
    let spool = bench.open();
    let file = put_log(&bench, &spool, 1, 3000).await;
    spool.close().await;
    let spool = bench.open();
    let stats = spool.stats();
    assert_eq!((stats.pending_records, stats.pending_blobs), (1, 1));
    let [line] = of_files(&spool).await.try_into().unwrap();
    assert_eq!((line.camera, line.captured, line.settled), (None, 1, 0));
    let blob = spool.lease_blob(Lane::Backlog).await.unwrap().unwrap();
    assert_eq!(
        (blob.sha256, blob.class, &*blob.content_type),
        (file.sha256, MediaClass::Diagnostic, "text/plain")
    );
    assert_eq!(spool.blob_bytes(&blob).await.unwrap(), vec![1; 3000]);
    spool.settle_blob(file.sha256);
    spool
        .put_durable(audit_record(&bench, "next"))
        .await
        .unwrap();
    let [line] = of_files(&spool).await.try_into().unwrap();
    assert_eq!((line.captured, line.settled), (1, 1));
    spool.close().await;
    let audit = crate::spool::audit(bench.path(), &keys()).unwrap();
    assert!(audit.differences.is_empty(), "{:?}", audit.differences);
}

#[tokio::test]
async fn a_file_that_gives_way_is_named_as_lost_and_the_answer_stays() {
    let bench = Bench::with_quota(1 << 20);
    let spool = bench.open();
    put_log(&bench, &spool, 1, 400_000).await;
    for fill in 2..6 {
        bench.put_picture(&spool, MediaClass::Snapshot, fill, 200_000);
    }
    spool
        .put_durable(audit_record(&bench, "next"))
        .await
        .unwrap();
    let [line] = of_files(&spool).await.try_into().unwrap();
    assert_eq!(
        (line.captured, line.shed),
        (1, 1),
        "it went before pictures of events"
    );
    let batches = lease_all(&spool).await;
    let gaps = gaps(&batches);
    assert!(
        gaps.iter()
            .any(|gap| gap.camera.is_none() && gap.class == "diagnostic" && gap.reason == "quota"),
        "{gaps:?}"
    );
}

#[tokio::test]
async fn the_end_of_a_contract_destroys_files_and_lets_none_pass_behind_it() {
    let bench = Bench::new();
    let spool = bench.open();
    put_log(&bench, &spool, 1, 3000).await;
    spool.set_contract_ended(true);
    let wiped = spool.wipe().await.unwrap();
    assert_eq!((wiped.records, wiped.pictures), (1, 1));
    put_log(&bench, &spool, 2, 3000).await;
    let stats = spool.stats();
    assert_eq!((stats.pending_records, stats.pending_blobs), (1, 0));
    let files = std::fs::read_dir(bench.path().join("blobs")).unwrap();
    assert_eq!(files.count(), 0);
}
