//! Which record numbers are done with, and how they ended. With the pending batches this covers every number ever
//! given, so that an audit can name a number that is missing instead of saying that some sum is off by one.
//!
//! Neighbours with the same end are one row: a device that delivers all it sees keeps one row an epoch.

use rusqlite::{Connection, OptionalExtension, params};
use wire::{Epoch, Seq};

type Sql<T> = Result<T, rusqlite::Error>;

/// How a record's stay in the spool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Settled,
    Shed,
    Parked,
}

impl End {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            End::Settled => "settled",
            End::Shed => "shed",
            End::Parked => "parked",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    epoch: Epoch,
    first: u64,
    last: u64,
    how: End,
}

/// What one turn ends; written at its close, so that a receipt for a thousand batches writes one row.
#[derive(Debug, Default)]
pub(super) struct Ends(Vec<Run>);

impl Ends {
    pub(super) fn add(&mut self, epoch: Epoch, first: Seq, count: u64, how: End) {
        if count == 0 {
            return;
        }
        let (first, last) = (first.0, first.0 + count - 1);
        match self.0.last_mut() {
            Some(run) if run.epoch == epoch && run.how == how && run.last + 1 == first => {
                run.last = last;
            }
            _ => self.0.push(Run {
                epoch,
                first,
                last,
                how,
            }),
        }
    }

    pub(super) fn write(mut self, connection: &Connection) -> Sql<()> {
        self.0.sort_unstable();
        for run in self.0 {
            write_run(connection, run)?;
        }
        Ok(())
    }
}

/// Writes a run, joined with the rows it touches.
fn write_run(connection: &Connection, mut run: Run) -> Sql<()> {
    let epoch = run.epoch.0.to_be_bytes();
    let before: Option<i64> = connection
        .prepare_cached(
            "select first_seq from (select first_seq, last_seq, how from ended
                 where epoch = ?1 and first_seq < ?2 order by first_seq desc limit 1)
             where last_seq = ?2 - 1 and how = ?3",
        )?
        .query_row(
            params![epoch, integer(run.first), run.how.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    let after: Option<i64> = connection
        .prepare_cached(
            "select last_seq from ended where epoch = ?1 and first_seq = ?2 + 1 and how = ?3",
        )?
        .query_row(params![epoch, integer(run.last), run.how.as_str()], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(last) = after {
        connection
            .prepare_cached("delete from ended where epoch = ?1 and first_seq = ?2 + 1")?
            .execute(params![epoch, integer(run.last)])?;
        run.last = last.cast_unsigned();
    }
    if let Some(first) = before {
        run.first = first.cast_unsigned();
    }
    connection
        .prepare_cached(
            "insert into ended (epoch, first_seq, last_seq, how) values (?1, ?2, ?3, ?4)
             on conflict do update set last_seq = excluded.last_seq, how = excluded.how",
        )?
        .execute(params![
            epoch,
            integer(run.first),
            integer(run.last),
            run.how.as_str()
        ])?;
    Ok(())
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ends: &[&[(u64, u64, End)]]) -> Vec<(i64, i64, String)> {
        let connection = Connection::open_in_memory().expect("opens");
        connection
            .execute_batch(include_str!("schema.sql"))
            .expect("creates");
        for turn in ends {
            let mut all = Ends::default();
            for (first, count, how) in *turn {
                all.add(Epoch(7), Seq(*first), *count, *how);
            }
            all.write(&connection).expect("writes");
        }
        let mut statement = connection
            .prepare("select first_seq, last_seq, how from ended order by first_seq")
            .expect("prepares");
        statement
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .expect("reads")
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn neighbours_with_one_end_are_one_row_in_whatever_order_they_come() {
        use End::{Parked, Settled};
        let all = [(1, 9, "settled".to_owned())];
        assert_eq!(rows(&[&[(1, 3, Settled), (4, 6, Settled)]]), all);
        assert_eq!(rows(&[&[(4, 6, Settled)], &[(1, 3, Settled)]]), all);
        let between: &[&[_]] = &[&[(1, 3, Settled), (7, 3, Settled)], &[(4, 3, Settled)]];
        assert_eq!(rows(between), all);
        assert_eq!(
            rows(&[&[(1, 3, Settled), (4, 1, Parked), (5, 5, Settled)]]),
            [
                (1, 3, "settled".to_owned()),
                (4, 4, "parked".to_owned()),
                (5, 9, "settled".to_owned())
            ]
        );
    }
}
