//! Copies the log home beside the writer, so that commits do not wait for it.
//!
//! What is durable does not depend on this: a commit is safe in the log. The writer is left with what the last copy
//! missed, when the log has become long ([`super::schema`]); only then, with nothing left to copy, can it begin anew.
//! An error here is no news: the next commit meets the same disk, and tells.

use super::schema;
use crate::store::{Result, StoreError};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// 16 MiB of log that are not home yet are worth a copy: index pages are in it many times, and are copied once.
const PAGES: i64 = 4_096;

/// Its thread ends with it.
pub(super) struct Checkpointer {
    nudge: mpsc::SyncSender<()>,
}

impl Checkpointer {
    pub(super) fn start(path: PathBuf) -> Result<Self> {
        let (nudge, nudges) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || run(&path, &nudges))
            .map_err(|error| StoreError::Database(format!("starting the checkpointer: {error}")))?;
        Ok(Self { nudge })
    }

    /// There may be more to copy. Does not wait.
    pub(super) fn nudge(&self) {
        // A nudge that is not taken yet serves for this one, too.
        let _ = self.nudge.try_send(());
    }
}

fn run(path: &Path, nudges: &mpsc::Receiver<()>) {
    let mut connection = None;
    while nudges.recv().is_ok() {
        if let Err(error) = copy(path, &mut connection) {
            tracing::debug!(%error, "the log was not copied into {}: {error}", path.display());
            // What a failed fsync left behind must not be believed.
            connection = None;
        }
    }
}

fn copy(path: &Path, connection: &mut Option<Connection>) -> Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(schema::open(path)?),
    };
    let (logged, copied) = checkpoint(connection, "noop")?;
    if logged - copied >= PAGES {
        checkpoint(connection, "passive")?;
    }
    Ok(())
}

/// Pages in the log, and how many of them are home.
fn checkpoint(connection: &Connection, mode: &str) -> Result<(i64, i64)> {
    Ok(
        connection.query_row(&format!("pragma wal_checkpoint({mode})"), [], |row| {
            Ok((row.get(1)?, row.get(2)?))
        })?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_copied_and_a_short_one_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("test.db");
        let writer = schema::open(&path).expect("a database");
        writer
            .execute_batch("pragma wal_autocheckpoint = 0; create table t (bytes blob)")
            .expect("a table");
        let mut connection = None;
        let mut state = |pages: i64| {
            writer
                .execute("insert into t values (zeroblob(?1 * 4096))", [pages])
                .expect("a row");
            copy(&path, &mut connection).expect("copied");
            checkpoint(&writer, "noop").expect("figures")
        };
        let (logged, copied) = state(100);
        assert!(logged > 100 && copied == 0, "{copied} of {logged}");
        let (logged, copied) = state(PAGES);
        assert!(logged > PAGES && copied == logged, "{copied} of {logged}");
    }
}
