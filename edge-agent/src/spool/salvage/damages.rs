//! What a salvage has lost: what the books call pending is compared with what is there, and every difference has a name
//! or a place in the books afterwards.

use crate::spool::audit;
use crate::spool::reads::{self, Sql};
use crate::spool::rows::blob_camera;
use crate::spool::tally::{HOUR_US, Line, Span, Tally};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use wire::{Epoch, UtcMicros};

/// What a salvage has lost, to be named by the first commit.
#[derive(Debug, Default)]
pub(in crate::spool) struct Damages {
    pub(in crate::spool) lines: Vec<(Line, Span)>,
    /// The balance was lost, too: how many more are missing nobody knows.
    pub(in crate::spool) beyond_counting: bool,
    pub(in crate::spool) is_salvaged: bool,
}

/// Compares what the balance calls pending with what is there. May be asked again until the answer is committed.
pub(in crate::spool) fn damages(connection: &mut Connection) -> Sql<Damages> {
    let salvaged: i64 = connection.query_row("select salvaged from meta", (), |row| row.get(0))?;
    if salvaged == 0 {
        return Ok(Damages::default());
    }
    let mut damages = Damages {
        is_salvaged: true,
        beyond_counting: salvaged == 2,
        ..Damages::default()
    };
    let transaction = connection.transaction()?;
    let mut there = pending_now(&transaction)?;
    for known in reads::balance(&transaction)? {
        let line = Line {
            camera: known.camera,
            class: known.class.clone(),
            hour_us: known.hour_us.0,
        };
        let lost = known.pending() - there.remove(&line).unwrap_or(0);
        if lost > 0 {
            let span = Span {
                count: lost.unsigned_abs(),
                from: UtcMicros(line.hour_us),
                to: UtcMicros(line.hour_us + HOUR_US - 1),
            };
            damages.lines.push((line, span));
        } else if lost < 0 {
            risen(&transaction, &line, -lost)?;
        }
    }
    for (line, count) in there {
        risen(&transaction, &line, count)?;
    }
    name_lost_numbers(&transaction)?;
    transaction.commit()?;
    Ok(damages)
}

/// What is pending, counted from the rows themselves.
pub(in crate::spool) fn pending_now(connection: &Connection) -> Sql<BTreeMap<Line, i64>> {
    let mut pending = BTreeMap::new();
    let mut batches = connection.prepare("select tally from batch")?;
    let mut rows = batches.query(())?;
    while let Some(row) = rows.next()? {
        let tally = Tally::from_json(row.get_ref(0)?.as_str()?).unwrap_or_default();
        for (line, span) in tally.iter() {
            *pending.entry(line.clone()).or_default() += span.count.cast_signed();
        }
    }
    let mut blobs = connection.prepare("select class, camera, captured_us from blob")?;
    let mut rows = blobs.query(())?;
    while let Some(row) = rows.next()? {
        let camera = blob_camera(row.get(1)?);
        let class: String = row.get(0)?;
        let line = Line::new(camera, &class, UtcMicros(row.get(2)?));
        *pending.entry(line).or_default() += 1;
    }
    Ok(pending)
}

/// More is there than the balance knew: settled once and back again from an older view. It settles once more.
fn risen(connection: &Connection, line: &Line, count: i64) -> Sql<()> {
    connection
        .prepare_cached(
            "insert into balance (camera, class, hour_us, captured) values (?1, ?2, ?3, ?4)
             on conflict do update set
               captured = captured + max(0, ?4 - settled), settled = max(0, settled - ?4)",
        )?
        .execute(params![line.camera_key(), line.class, line.hour_us, count])?;
    Ok(())
}

/// Numbers that are neither pending nor ended were lost with the damage: parked, so that each has a name. Those
/// that are both have risen again: pending.
fn name_lost_numbers(connection: &Connection) -> Sql<()> {
    let keys = audit::unexplained(connection)?;
    for (epoch, first, last) in keys.missing {
        insert_ended(connection, epoch, first, last, "parked")?;
    }
    for (epoch, first, last) in keys.doubled {
        let overlapping: Vec<(i64, i64, String)> = connection
            .prepare_cached(
                "select first_seq, last_seq, how from ended
                 where epoch = ?1 and first_seq <= ?3 and last_seq >= ?2",
            )?
            .query_map(
                params![
                    epoch.0.to_be_bytes(),
                    first.cast_signed(),
                    last.cast_signed()
                ],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?
            .collect::<Sql<_>>()?;
        for (row_first, row_last, how) in overlapping {
            connection
                .prepare_cached("delete from ended where epoch = ?1 and first_seq = ?2")?
                .execute(params![epoch.0.to_be_bytes(), row_first])?;
            let (row_first, row_last) = (row_first.cast_unsigned(), row_last.cast_unsigned());
            insert_ended(connection, epoch, row_first, first - 1, &how)?;
            insert_ended(connection, epoch, last + 1, row_last, &how)?;
        }
    }
    Ok(())
}

/// An empty range is none.
fn insert_ended(
    connection: &Connection,
    epoch: Epoch,
    first: u64,
    last: u64,
    how: &str,
) -> Sql<()> {
    if first <= last {
        connection
            .prepare_cached(
                "insert into ended (epoch, first_seq, last_seq, how) values (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                epoch.0.to_be_bytes(),
                first.cast_signed(),
                last.cast_signed(),
                how
            ])?;
    }
    Ok(())
}
