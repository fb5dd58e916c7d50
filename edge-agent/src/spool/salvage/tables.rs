//! The small tables of a damaged database, and what takes the place of one that cannot be read.

use super::damages::pending_now;
use super::whole::ignore_refused;
use crate::spool::reads::Sql;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params};

/// Where the chain ended, if that can be read; the newest view wins.
pub(super) fn carry_meta(from: &Connection, to: &Connection) -> Sql<()> {
    let read = from.query_row(
        "select head_hash, next_seq, turn, parked from meta",
        (),
        |row| {
            let head: [u8; 32] = row.get(0)?;
            let number = |column| row.get::<_, i64>(column);
            Ok((head, number(1)?, number(2)?, number(3)?))
        },
    );
    if let Ok((head, next_seq, turn, parked)) = read {
        to.execute(
            "update meta set head_hash = ?1, next_seq = ?2, turn = ?3, parked = ?4 where turn < ?3",
            params![head, next_seq, turn, parked],
        )?;
    }
    Ok(())
}

/// The small tables, each whole or not at all. Names those that could not be read.
pub(super) fn carry_tables(from: &Connection, to: &mut Connection) -> Sql<Vec<&'static str>> {
    let transaction = to.transaction()?;
    let mut unreadable = Vec::new();
    for (table, columns) in [
        ("epoch", 4),
        ("ended", 4),
        ("parked", 6),
        ("open_event", 3),
        ("balance", 7),
        ("forgotten", 7),
    ] {
        let Ok(rows) = whole_table(from, table, columns) else {
            tracing::warn!(table, "the table {table} cannot be read and is made anew");
            unreadable.push(table);
            continue;
        };
        let places = vec!["?"; columns].join(", ");
        let sql = format!("insert or ignore into {table} values ({places})");
        let mut insert = transaction.prepare(&sql)?;
        for row in rows {
            insert
                .execute(rusqlite::params_from_iter(row))
                .or_else(ignore_refused)?;
        }
    }
    transaction.commit()?;
    Ok(unreadable)
}

fn whole_table(from: &Connection, table: &str, columns: usize) -> Sql<Vec<Vec<SqlValue>>> {
    let mut statement = from.prepare(&format!("select * from {table}"))?;
    if statement.column_count() != columns {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    statement
        .query_map((), |row| {
            (0..columns).map(|column| row.get(column)).collect()
        })?
        .collect()
}

/// A balance from nothing: what is there was captured; what was settled before nobody knows any more.
pub(super) fn count_what_is_there(to: &Connection) -> Sql<()> {
    to.execute("delete from balance", ())?;
    for (line, count) in pending_now(to)? {
        to.execute(
            "insert into balance (camera, class, hour_us, captured) values (?1, ?2, ?3, ?4)",
            params![line.camera_key(), line.class, line.hour_us, count],
        )?;
    }
    Ok(())
}
