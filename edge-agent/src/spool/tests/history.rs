//! What the books let go of, and that they still add up.

use super::*;
use crate::spool::history::KEPT_HOURS;
use crate::spool::tally::HOUR_US;

#[tokio::test]
async fn a_spool_that_is_years_old_keeps_its_sums_and_what_waits() {
    let bench = Bench::new();
    let spool = bench.open();
    put_events(&bench, &spool, 0..1).await;
    spool.close().await;
    let years = KEPT_HOURS + 500;
    let settled = intruder(&bench);
    for hour in 1..=years {
        settled
            .execute(
                "insert into balance values (x'', 'event', ?1, 3, 2, 1, 0)",
                [START.0 - START.0.rem_euclid(HOUR_US) + hour * HOUR_US],
            )
            .unwrap();
    }
    drop(settled);
    bench
        .clocks
        .advance(Duration::from_secs(3_600) * u32::try_from(years).unwrap());

    let spool = bench.open();
    let look = || crate::spool::audit(bench.path(), &keys()).unwrap();
    eventually("old hours are let go", async || look().forgotten.is_some()).await;
    let audit = look();
    assert_eq!(audit.differences, []);
    assert_eq!(audit.lines.len() as i64, KEPT_HOURS);
    // The first event still waits, in an hour that is not told any more.
    assert_eq!(audit.earlier.len(), 1);
    assert_eq!(audit.earlier[0].pending, 1);
    let shed = spool.shed_in_all().await.unwrap();
    assert_eq!(
        shed,
        years.unsigned_abs(),
        "the sum is that of all its life"
    );

    for leased in lease_all(&spool).await {
        spool.settle(receipt(leased.epoch, leased.last_seq.0, &[]));
    }
    eventually("it is settled", async || spool.is_drained()).await;
    bench.clocks.advance(Duration::from_secs(3_600));
    eventually("then that goes, too", async || look().earlier.is_empty()).await;
    assert_adds_up(&bench);
}

#[tokio::test]
async fn what_was_let_go_is_known_after_a_rebuild_and_so_is_that_the_balance_was_lost() {
    let this_hour = UtcMicros(START.0 - START.0.rem_euclid(HOUR_US));
    let next_hour = this_hour.plus_us(HOUR_US);
    for (lost, before) in [("open_event", this_hour), ("balance", next_hour)] {
        let bench = Bench::new();
        let spool = bench.open();
        put_events(&bench, &spool, 0..1).await;
        spool.close().await;
        let words = format!(
            "insert into forgotten values (1, {}, 5, 10, 9, 1, 0); drop table {lost}",
            this_hour.0
        );
        intruder(&bench).execute_batch(&words).unwrap();

        let spool = bench.open();
        // The gap record of a lost balance is committed with it.
        spool.put_durable(bench.event(1)).await.unwrap();
        let audit = crate::spool::audit(bench.path(), &keys()).unwrap();
        assert_eq!(audit.differences, [], "{lost}");
        let forgotten = audit.forgotten.unwrap();
        assert_eq!(forgotten.before_us, Some(before), "{lost}");
        assert_eq!((forgotten.starts, forgotten.captured), (5, 10), "{lost}");
        let told = if lost == "balance" {
            audit.earlier
        } else {
            audit.lines
        };
        let events = told.iter().find(|line| line.balance.class == "event");
        assert_eq!(events.map(|line| line.pending), Some(2), "{lost}");
    }
}
