//! How far back the books go. Balance, starts and ended numbers would grow for as long as the box lives; once a spool
//! is years old, nobody asks any more how many frames an hour of then had. What is let go is summed up, so that the
//! totals stay those of the box's whole life, and `spool audit` says from when on it tells every hour.
//!
//! Never let go: a line of the balance of which something waits, a start of which a record waits or a number is
//! unexplained. Nothing goes by the clock alone: an hour has to be old by the clock and to have many others after it,
//! so a clock that jumps ahead by years takes nothing along that would not have gone anyway.
//!
//! Done in small steps while the spool works, so that neither a start nor a commit waits for years of books.

use crate::spool::reads::Sql;
use crate::spool::tally::HOUR_US;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use std::time::Duration;
use wire::{Epoch, UtcMicros};

/// Hours of recording that the balance tells one by one: 35 days round the clock, so that whoever looks once a month
/// finds the whole month.
pub(super) const KEPT_HOURS: i64 = 35 * 24;
/// Starts of the agent whose record numbers are told.
pub(super) const KEPT_STARTS: i64 = 1_000;
/// Rows of `ended`. Beyond it the oldest neighbours become one row that no longer says which of them ended how.
pub(super) const KEPT_RUNS: i64 = 10_000;
/// Rows of one kind that one step lets go: some milliseconds, and little room in the log.
pub(super) const ROWS_A_STEP: i64 = 1_000;
/// How often it is looked whether something may go.
pub(super) const EVERY: Duration = Duration::from_secs(3_600);

/// What the books no longer tell one by one, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// From this hour on every line of the balance is complete; of an earlier hour a line counts what came since.
    /// Absent: all are.
    pub before_us: Option<UtcMicros>,
    /// Starts of the agent whose record numbers are no longer told.
    pub starts: u64,
    /// Sums of the lines of the balance that are gone; of them nothing waits.
    pub captured: u64,
    pub settled: u64,
    pub shed: u64,
    pub parked: u64,
}

/// `None`: the books tell everything since the spool was made.
pub(super) fn forgotten(connection: &Connection) -> Sql<Option<Forgotten>> {
    connection
        .prepare_cached("select before_us, starts, captured, settled, shed, parked from forgotten")?
        .query_row((), |row| {
            let number = |index| -> Sql<u64> { Ok(row.get::<_, i64>(index)?.cast_unsigned()) };
            Ok(Forgotten {
                before_us: row.get::<_, Option<i64>>(0)?.map(UtcMicros),
                starts: number(1)?,
                captured: number(2)?,
                settled: number(3)?,
                shed: number(4)?,
                parked: number(5)?,
            })
        })
        .optional()
}

/// Items ever lost here, forgotten hours included.
pub(super) fn shed_in_all(connection: &Connection) -> Sql<u64> {
    let shed: i64 = connection
        .prepare_cached(
            "select (select coalesce(sum(shed), 0) from balance)
                  + (select coalesce(sum(shed), 0) from forgotten)",
        )?
        .query_row((), |row| row.get(0))?;
    Ok(shed.cast_unsigned())
}

/// One step. Says whether there is more to let go. `current`: the epoch of this start, which goes on.
pub(super) fn forget(connection: &mut Connection, now: UtcMicros, current: Epoch) -> Sql<bool> {
    let transaction = connection.transaction()?;
    let lines = forget_lines(&transaction, now)?;
    let starts = forget_starts(&transaction)?;
    let strays = forget_strays(&transaction, current)?;
    let runs = join_runs(&transaction)?;
    transaction.commit()?;
    Ok([lines, starts, strays, runs].contains(&ROWS_A_STEP))
}

/// The balance could not be read: what it said of the hours before `from` nobody knows any more.
pub(super) fn lose_before(connection: &Connection, from: UtcMicros) -> Sql<()> {
    connection
        .execute(
            "insert into forgotten (one, before_us) values (1, ?1)
             on conflict do update set
               before_us = max(coalesce(before_us, excluded.before_us), excluded.before_us)",
            [from.0],
        )
        .map(drop)
}

/// Lines of hours that are old by the clock and by what came after them.
fn forget_lines(transaction: &Transaction<'_>, now: UtcMicros) -> Sql<i64> {
    let newest_kept: Option<i64> = transaction
        .prepare_cached(
            "select hour_us from (select distinct hour_us from balance)
             order by hour_us desc limit 1 offset ?1",
        )?
        .query_row([KEPT_HOURS - 1], |row| row.get(0))
        .optional()?;
    let Some(newest_kept) = newest_kept else {
        return Ok(0);
    };
    let this_hour = now.0 - now.0.rem_euclid(HOUR_US);
    let before = newest_kept.min(this_hour.saturating_sub((KEPT_HOURS - 1) * HOUR_US));
    let going = "select camera, class, hour_us, captured, settled, shed, parked from balance
                 where hour_us < ?1 and captured = settled + shed + parked
                 order by camera, class, hour_us limit ?2";
    let (count, sums) = transaction.prepare_cached(&format!(
        "select count(*), coalesce(sum(captured), 0), coalesce(sum(settled), 0), coalesce(sum(shed), 0),
                coalesce(sum(parked), 0) from ({going})"
    ))?
    .query_row(params![before, ROWS_A_STEP], |row| {
        let sums: [i64; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
        Ok((row.get::<_, i64>(0)?, sums))
    })?;
    if count == 0 {
        return Ok(0);
    }
    lose_before(transaction, UtcMicros(before))?;
    let [captured, settled, shed, parked] = sums;
    transaction.execute(
        "update forgotten set captured = captured + ?1, settled = settled + ?2, shed = shed + ?3,
           parked = parked + ?4",
        [captured, settled, shed, parked],
    )?;
    transaction.execute(
        &format!(
            "delete from balance where (camera, class, hour_us) in
               (select camera, class, hour_us from ({going}))"
        ),
        params![before, ROWS_A_STEP],
    )?;
    Ok(count)
}

/// Starts with all their numbers, of which nothing waits and nothing is unexplained.
fn forget_starts(transaction: &Transaction<'_>) -> Sql<i64> {
    let going: Vec<(i64, [u8; 8])> = transaction
        .prepare_cached(
            "select ordinal, epoch from epoch e
             where ordinal <= (select max(ordinal) from epoch) - ?1
               and not exists (select 1 from batch b where b.epoch = e.epoch)
               and last_seq = (select coalesce(sum(r.last_seq - r.first_seq + 1), 0) from ended r
                               where r.epoch = e.epoch)
             order by ordinal limit ?2",
        )?
        .query_map([KEPT_STARTS, ROWS_A_STEP], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Sql<_>>()?;
    for (ordinal, epoch) in &going {
        transaction
            .prepare_cached("delete from ended where epoch = ?1")?
            .execute([epoch])?;
        transaction
            .prepare_cached("delete from epoch where ordinal = ?1")?
            .execute([ordinal])?;
    }
    let count = going.len() as i64;
    if count > 0 {
        transaction.execute(
            "insert into forgotten (one, starts) values (1, ?1)
             on conflict do update set starts = starts + excluded.starts",
            [count],
        )?;
    }
    Ok(count)
}

/// A salvage may find a batch of a start that was let go; once it has ended again, its numbers go, too.
fn forget_strays(transaction: &Transaction<'_>, current: Epoch) -> Sql<i64> {
    transaction
        .prepare_cached(
            "delete from ended where (epoch, first_seq) in
               (select epoch, first_seq from ended r
                where epoch <> ?1 and exists (select 1 from forgotten where starts > 0)
                  and not exists (select 1 from epoch e where e.epoch = r.epoch)
                  and not exists (select 1 from batch b where b.epoch = r.epoch) limit ?2)",
        )?
        .execute(params![current.0.to_be_bytes(), ROWS_A_STEP])
        .map(|gone| gone as i64)
}

/// The oldest neighbours in `ended` become one row each, for as long as there are too many.
fn join_runs(transaction: &Transaction<'_>) -> Sql<i64> {
    let excess: i64 = transaction
        .prepare_cached("select count(*) from ended")?
        .query_row([], |row| row.get::<_, i64>(0))?
        - KEPT_RUNS;
    if excess <= 0 {
        return Ok(0);
    }
    // Epoch, where the one begins, where its neighbour begins and ends.
    let pairs: Vec<([u8; 8], i64, i64, i64)> = transaction
        .prepare_cached(
            "select a.epoch, a.first_seq, b.first_seq, b.last_seq from epoch e
             join ended a on a.epoch = e.epoch
             join ended b on b.epoch = a.epoch and b.first_seq = a.last_seq + 1
             order by e.ordinal, a.first_seq limit ?1",
        )?
        .query_map([excess.min(ROWS_A_STEP)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Sql<_>>()?;
    let mut run: Option<([u8; 8], i64, i64)> = None;
    for (epoch, first, next, last) in &pairs {
        // The one of this pair may be the neighbour of the pair before.
        let begin = match run {
            Some((of, begin, end)) if of == *epoch && end + 1 == *next => begin,
            _ => *first,
        };
        run = Some((*epoch, begin, *last));
        transaction
            .prepare_cached("delete from ended where epoch = ?1 and first_seq = ?2")?
            .execute(params![epoch, next])?;
        transaction
            .prepare_cached(
                "update ended set last_seq = ?3, how = 'forgotten' where epoch = ?1 and first_seq = ?2",
            )?
            .execute(params![epoch, begin, last])?;
    }
    Ok(pairs.len() as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::spool::audit::{Unexplained, unexplained};

    const NOW: UtcMicros = UtcMicros(1_795_392_000_000_000);
    const THIS: Epoch = Epoch(u64::MAX);

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(include_str!("schema.sql"))
            .unwrap();
        let meta =
            "insert into meta values (1, zeroblob(16), zeroblob(32), 1, 0, 0, 0, 0, 0, 0, 0, 0)";
        connection.execute(meta, ()).unwrap();
        connection
    }

    fn forget_all(connection: &mut Connection) {
        while forget(connection, NOW, THIS).unwrap() {}
    }

    /// Two captured in each of these hours; one settled, one shed.
    fn record(connection: &Connection, hours: impl Iterator<Item = i64>) {
        for hour in hours {
            let line = "insert into balance values (x'', 'event', ?1, 2, 1, 1, 0)";
            connection.execute(line, [NOW.0 + hour * HOUR_US]).unwrap();
        }
    }

    fn lines(connection: &Connection) -> i64 {
        let count = "select count(*) from balance";
        connection.query_row(count, (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn old_hours_go_into_a_sum_and_those_of_which_something_waits_stay() {
        let mut connection = database();
        record(&connection, -3_000..0);
        let waiting = "update balance set settled = 0 where hour_us = ?1";
        connection
            .execute(waiting, [NOW.0 - 2_500 * HOUR_US])
            .unwrap();
        assert!(forget(&mut connection, NOW, THIS).unwrap(), "in steps");
        forget_all(&mut connection);
        assert_eq!(lines(&connection), KEPT_HOURS + 1);
        let gone = 3_000 - KEPT_HOURS.unsigned_abs() - 1;
        assert_eq!(
            forgotten(&connection).unwrap(),
            Some(Forgotten {
                before_us: Some(UtcMicros(NOW.0 - KEPT_HOURS * HOUR_US)),
                starts: 0,
                captured: 2 * gone,
                settled: gone,
                shed: gone,
                parked: 0
            })
        );
        assert_eq!(shed_in_all(&connection).unwrap(), 3_000);
    }

    #[test]
    fn fault_28_a_clock_that_jumps_ahead_takes_no_hour_along() {
        let mut connection = database();
        record(&connection, -400..0);
        let next_year = NOW.plus_us(9_600 * HOUR_US);
        assert!(!forget(&mut connection, next_year, THIS).unwrap());
        assert_eq!(
            (lines(&connection), forgotten(&connection).unwrap()),
            (400, None)
        );
        // And what was recorded while it was wrong does not push out what comes after.
        record(&connection, 9_600..12_000);
        forget_all(&mut connection);
        assert_eq!(lines(&connection), 400 + 2_400);
    }

    fn start(connection: &Connection, epoch: u64, last_seq: i64) {
        connection
            .execute(
                "insert into epoch (epoch, started_us, last_seq) values (?1, 0, ?2)",
                params![epoch.to_be_bytes(), last_seq],
            )
            .unwrap();
    }

    fn end(connection: &Connection, epoch: u64, first: i64, last: i64, how: &str) {
        connection
            .execute(
                "insert into ended values (?1, ?2, ?3, ?4)",
                params![epoch.to_be_bytes(), first, last, how],
            )
            .unwrap();
    }

    fn wait(connection: &Connection, epoch: u64, seq: i64) {
        connection
            .execute(
                "insert into batch values (null, ?1, ?2, 1, 0, 0, '[]', zeroblob(40))",
                params![epoch.to_be_bytes(), seq],
            )
            .unwrap();
    }

    #[test]
    fn old_starts_go_unless_something_waits_or_is_unexplained() {
        let mut connection = database();
        for number in 0..2_000 {
            start(&connection, number, 5);
            let last = if number == 8 { 3 } else { 4 };
            end(&connection, number, 1, last, "settled");
            if number == 7 {
                wait(&connection, number, 5);
            } else {
                end(&connection, number, 5, 5, "parked");
            }
        }
        let missing = vec![(Epoch(8), 4, 4)];
        let as_before = Unexplained {
            missing,
            doubled: Vec::new(),
        };
        assert_eq!(unexplained(&connection).unwrap(), as_before);
        forget_all(&mut connection);
        assert_eq!(forgotten(&connection).unwrap().unwrap().starts, 998);
        assert_eq!(unexplained(&connection).unwrap(), as_before);

        // Out of a damaged database comes a batch of a start that is gone: no riddle, and no trace once it has ended.
        wait(&connection, 100, 3);
        assert_eq!(unexplained(&connection).unwrap(), as_before);
        let batch = "delete from batch where first_seq = 3";
        connection.execute(batch, ()).unwrap();
        end(&connection, 100, 3, 3, "settled");
        forget_all(&mut connection);
        let strays = "select count(*) from ended where epoch = ?1";
        let left: i64 = connection
            .query_row(strays, [100u64.to_be_bytes()], |row| row.get(0))
            .unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn the_oldest_of_too_many_ends_become_one_that_still_covers_them() {
        let mut connection = database();
        start(&connection, 1, 30_000);
        for number in 1..=15_000 {
            let how = ["settled", "parked"][number as usize % 2];
            end(&connection, 1, 2 * number - 1, 2 * number, how);
        }
        // A record that waits is no end, and keeps its neighbours apart.
        connection
            .execute("delete from ended where first_seq = 201", ())
            .unwrap();
        wait(&connection, 1, 201);
        wait(&connection, 1, 202);
        forget_all(&mut connection);
        let count = |how: &str| -> i64 {
            let sql = "select count(*) from ended where how = ?1";
            connection.query_row(sql, [how], |row| row.get(0)).unwrap()
        };
        assert_eq!(count("forgotten"), 2);
        assert_eq!(count("settled") + count("parked") + 2, KEPT_RUNS);
        assert_eq!(unexplained(&connection).unwrap(), Unexplained::default());
    }
}
