//! Hears of commands and revocations, whichever process writes them.
//!
//! `PRAGMA data_version` costs a look at shared memory, so it is asked often; only when it moved is the control
//! row read, and only when that moved does anybody wake.

use super::keyring::Keyring;
use super::schema;
use crate::store::{Result, StoreError};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a command of another process may lie unnoticed.
const POLL: Duration = Duration::from_millis(200);

/// Starts the thread that polls; it ends soon after `stop` fires.
pub(super) fn watch_for(
    path: &Path,
    keyring: Arc<Keyring>,
    stop: CancellationToken,
) -> Result<watch::Receiver<i64>> {
    let connection = schema::open_reader(path)?;
    let (sender, receiver) = watch::channel(control_version(&connection)?);
    std::thread::Builder::new()
        .name("store-changes".into())
        .spawn(move || {
            let mut seen = data_version(&connection).ok();
            while !stop.is_cancelled() && !sender.is_closed() {
                std::thread::sleep(POLL);
                let now = data_version(&connection).ok();
                if now == seen {
                    continue;
                }
                if let Ok(version) = control_version(&connection) {
                    // Another process may have destroyed one: then it is gone from here, too.
                    if version != *sender.borrow() && keyring.forget_destroyed(&connection).is_err()
                    {
                        continue;
                    }
                    seen = now;
                    sender.send_if_modified(|known| std::mem::replace(known, version) != version);
                }
            }
        })
        .map_err(|error| StoreError::Database(format!("starting the watch: {error}")))?;
    Ok(receiver)
}

/// To be called in the transaction that makes a change connections must hear of.
pub(super) fn bump(connection: &Connection) -> Result<()> {
    connection
        .prepare_cached("update control set version = version + 1")?
        .execute([])?;
    Ok(())
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("pragma data_version")?
        .query_row([], |row| row.get(0))
}

fn control_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("select version from control")?
        .query_row([], |row| row.get(0))
}
