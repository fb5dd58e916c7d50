//! A disk or a database that does not do as it is told.

use super::*;

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
