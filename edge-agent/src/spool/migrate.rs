//! Numbered, forward-only steps from an empty file to the schema in `schema.sql`, one transaction each.

use crate::spool::error::SpoolError;
use rusqlite::Connection;
use std::path::Path;
use wire::UtcMicros;

/// Each step's SQL; its number is its place, from 1.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_outbox.sql"),
    include_str!("migrations/0002_open_events.sql"),
    include_str!("migrations/0003_forgotten.sql"),
];

/// Brings the database to the newest version; refuses one that is newer than this program.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    now: UtcMicros,
) -> Result<(), SpoolError> {
    let found = version(connection).map_err(SpoolError::database("read its version"))?;
    let known = STEPS.len() as u32;
    if found > known {
        return Err(SpoolError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (number, sql) in (1..).zip(STEPS).skip(found as usize) {
        apply(connection, number, sql, now).map_err(SpoolError::database("migrate"))?;
    }
    Ok(())
}

fn apply(
    connection: &mut Connection,
    number: u32,
    sql: &str,
    now: UtcMicros,
) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(sql)?;
    transaction.execute(
        "insert into schema_version (version, applied_at_us) values (?1, ?2)",
        (number, now.0),
    )?;
    transaction.commit()
}

fn version(connection: &Connection) -> Result<u32, rusqlite::Error> {
    let has_table: bool = connection.query_row(
        "select exists (select 1 from sqlite_schema where name = 'schema_version')",
        (),
        |row| row.get(0),
    )?;
    if !has_table {
        return Ok(0);
    }
    connection.query_row(
        "select coalesce(max(version), 0) from schema_version",
        (),
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn objects(connection: &Connection) -> Vec<(String, String)> {
        let mut statement = connection
            .prepare("select name, sql from sqlite_schema where sql is not null order by name")
            .unwrap();
        statement
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn every_step_applied_equals_the_readable_schema() {
        let mut migrated = Connection::open_in_memory().unwrap();
        migrate(&mut migrated, Path::new("memory"), UtcMicros(1)).unwrap();
        let fresh = Connection::open_in_memory().unwrap();
        fresh.execute_batch(include_str!("schema.sql")).unwrap();
        assert_eq!(objects(&migrated), objects(&fresh));
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        for _ in 0..2 {
            migrate(&mut connection, Path::new("memory"), UtcMicros(1)).unwrap();
        }
        assert_eq!(version(&connection).unwrap(), STEPS.len() as u32);
    }
}
