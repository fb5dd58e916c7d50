//! Reads a damaged table: portion by portion, and around what cannot be read.

use crate::spool::reads::Sql;
use rusqlite::Connection;

/// Rows written in one go.
pub(super) const ROWS_A_COMMIT: usize = 500;

/// How far beyond the last row that could be read others are looked for, if the tables do not say how many there are.
const BLIND_STEPS: i64 = 10_000;

/// Reads a table in order of its ids, stepping over what cannot be read.
pub(super) struct Walk<'a> {
    from: &'a Connection,
    sql: String,
    after: i64,
    last: i64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(from: &'a Connection, table: &str, columns: &str) -> Self {
        let counted = from.query_row(
            "select seq from sqlite_sequence where name = ?1",
            [table],
            |row| row.get(0),
        );
        Self {
            from,
            sql: format!(
                "select {columns} from {table} where id > ?1 order by id limit {ROWS_A_COMMIT}"
            ),
            after: 0,
            last: counted.unwrap_or(BLIND_STEPS),
        }
    }

    /// The next rows that can be read; none: this is the end.
    pub(super) fn portion<T>(
        &mut self,
        mut read: impl FnMut(&rusqlite::Row<'_>) -> Sql<T>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        while found.is_empty() {
            match self.scan(&mut found, &mut read) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) if self.after >= self.last => break,
                Err(_) => self.after += 1,
            }
        }
        found
    }

    /// How many rows were there, readable or not.
    fn scan<T>(
        &mut self,
        found: &mut Vec<T>,
        read: &mut impl FnMut(&rusqlite::Row<'_>) -> Sql<T>,
    ) -> Sql<usize> {
        let mut statement = self.from.prepare_cached(&self.sql)?;
        let mut rows = statement.query([self.after])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if id <= self.after {
                // A damaged tree that leads back would never end.
                return Err(rusqlite::Error::QueryReturnedMoreThanOneRow);
            }
            self.after = id;
            seen += 1;
            found.extend(read(row));
        }
        Ok(seen)
    }
}
