//! Read connections, lent one at a time to blocking threads. In WAL mode they never wait for the writer.

use super::schema;
use crate::disk::Room;
use crate::store::{Result, StoreError};
use rusqlite::Connection;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Reads at the same time; further ones wait their turn.
const CONNECTIONS: usize = 8;

#[derive(Clone)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Readers({})", self.path.display())
    }
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path: Arc::new(path),
            idle: Arc::default(),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let connection = this.take()?;
            let outcome = work(&connection);
            // One that met a failing disk is not used again.
            let failing = matches!(
                outcome,
                Err(StoreError::Database(_) | StoreError::Corrupt(_) | StoreError::NoSpace(_))
            );
            if !failing {
                this.idle().push(connection);
            }
            drop(permit);
            outcome
        });
        done.await
            .unwrap_or_else(|error| Err(StoreError::Database(format!("a read ended: {error}"))))
    }

    /// A connection of one's own, for a read that takes long.
    pub(super) fn open_one(&self) -> Result<Connection> {
        schema::open_reader(&self.path)
    }

    /// Of the disk that the database is on.
    pub(super) fn room_for_a_batch(&self) -> Result<()> {
        /// The largest batch, and the pages of its index rows.
        const BYTES: u64 = 1024 * 1024;
        let folder = self.path.parent().unwrap_or(&self.path);
        let room = Room::at(folder)
            .map_err(|error| StoreError::Database(format!("{}: {error}", folder.display())))?;
        if room.free_bytes < BYTES {
            let (free, path) = (room.free_bytes, self.path.display());
            return Err(StoreError::NoSpace(format!(
                "{free} bytes are left for {path}"
            )));
        }
        Ok(())
    }

    fn take(&self) -> Result<Connection> {
        let idle = self.idle().pop();
        idle.map_or_else(|| schema::open_reader(&self.path), Ok)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
