//! The store on SQLite: one file, one writer, many readers.
//!
//! WAL with `synchronous=FULL`: what was answered survives a power cut (NORMAL does not keep that promise). One
//! thread holds the only write connection of this process and commits whatever is queued in one transaction; it
//! never waits for company. Reads run on their own connections, on blocking threads. Other processes - the
//! operator's commands - write to the same file; [`changes`] hears of that.

mod accept;
mod accounts;
mod admin;
mod alerts;
mod audit;
mod backup;
mod bench;
mod blobs;
mod capacity;
mod changes;
mod checkpoint;
mod contracts;
mod count;
mod customer;
mod desk;
mod device_files;
mod devices;
mod erasure;
mod evidence;
mod heads;
mod held;
mod holds;
mod hours;
mod keyring;
mod labels;
mod links;
mod mail;
mod notices;
mod ranges;
mod readers;
mod records;
mod retention;
mod schema;
mod sealed_batch;
mod subscriptions;
mod writer;

#[cfg(test)]
mod tests;

pub use backup::{Import, RowCounts, Snapshot, SnapshotBlob, check_rows};

use super::{Acting, Actor, OperatorsStore, Result, StoreError};
use crate::ca::{Certificate, Serial};
use crate::live::Live;
use crate::seal::{MasterKeys, Name, Purpose, SecretKey};
use keyring::Keyring;
use readers::Readers;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{ContractId, DeviceId, EnrollmentId, Epoch, Seq, Sha256, UtcMicros};
use writer::Writer;

/// File name of the database below the data folder.
pub const FILE_NAME: &str = "receiver.db";

/// A handle; clones share one writer and one pool of readers.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    keyring: Arc<Keyring>,
    live: Live,
    changes: watch::Receiver<i64>,
    actor: Arc<Actor>,
}

impl SqliteStore {
    /// Opens the database, brings an older one up to date, and refuses a newer one. With `create`, makes it.
    /// `master`: one of these keys must be the one that the database is under.
    pub fn open(
        path: &Path,
        master: impl Into<MasterKeys>,
        live: Live,
        create: bool,
    ) -> Result<Self> {
        if !create && !path.exists() {
            return Err(StoreError::Missing(
                "database in the data folder; run \"cloud-receiver init\" first",
            ));
        }
        let connection = schema::open(path)?;
        let keyring = Keyring::open(&connection, &master.into(), path)?;
        let (writer, ended) = Writer::start(connection, path.to_owned())?;
        let readers = Readers::new(path.to_owned());
        let keyring = Arc::new(keyring);
        let changes = changes::watch_for(path, Arc::clone(&keyring), ended)?;
        Ok(Self {
            keyring,
            writer,
            readers,
            live,
            changes,
            actor: Arc::default(),
        })
    }

    /// The same store, for somebody whose name stands beside everything done through it.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self {
            actor: Arc::new(actor),
            ..self.clone()
        }
    }

    /// In whose name things are done.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Fires when the writer has ended by a panic: the process must not go on as if it could store.
    pub fn writer_failed(&self) -> CancellationToken {
        self.writer.failed()
    }

    /// Whether the store is able to commit: through the writer, with a page that must be written, because a commit of
    /// nothing succeeds on a full disk too; and with room for more than this page, which may be the last one.
    pub async fn probe(&self) -> Result<()> {
        self.readers.room_for_a_batch()?;
        self.write(|connection| {
            connection
                .prepare_cached("update control set version = version")?
                .execute([])?;
            Ok(())
        })
        .await
    }

    /// Reads through every batch of the device: for tests.
    #[cfg(test)]
    pub(crate) async fn records_stored(&self, device: DeviceId) -> Result<u64> {
        self.read(move |connection| {
            let count: i64 = connection.query_row(
                "select count(*) from record where device = ?1",
                [id16(device.0)],
                |row| row.get(0),
            )?;
            Ok(count.cast_unsigned())
        })
        .await
    }

    /// Runs `work` in the writer's next transaction; answers after the commit.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.writer.run(work).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.readers.run(work).await
    }

    /// The contract's key, from memory where it was used before.
    async fn key(&self, contract: ContractId) -> Result<SecretKey> {
        if let Some(key) = self.keyring.known(contract) {
            return Ok(key);
        }
        let keyring = Arc::clone(&self.keyring);
        self.read(move |connection| keyring.load(connection, contract))
            .await
    }
}

impl Acting for SqliteStore {
    fn acting(&self, actor: Actor) -> Arc<dyn OperatorsStore> {
        Arc::new(self.by(actor))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                StoreError::Corrupt(error.to_string())
            }
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::NoSpace(error.to_string()),
            _ => StoreError::Database(error.to_string()),
        }
    }
}

// How the wire's types look to SQLite, and back.

fn id16(id: Uuid) -> [u8; 16] {
    *id.as_bytes()
}

/// SQLite's integers are signed: the same 64 bits.
fn epoch_bits(epoch: Epoch) -> i64 {
    epoch.0.cast_signed()
}

fn epoch_of(bits: i64) -> Epoch {
    Epoch(bits.cast_unsigned())
}

/// Record numbers above 2^63 cannot be stored; the device counts up from 1 and never gets there.
fn seq_bits(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

fn seq_of(bits: i64) -> Seq {
    Seq(bits.cast_unsigned())
}

fn uuid_at(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(index)?))
}

fn hash_at(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Sha256> {
    Ok(Sha256(row.get(index)?))
}

fn time_at(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<UtcMicros> {
    Ok(UtcMicros(row.get(index)?))
}

fn optional_time_at(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Option<UtcMicros>> {
    Ok(row.get::<_, Option<i64>>(index)?.map(UtcMicros))
}

/// Four columns from `index` on: enrollment, serial, from, until.
fn certificate_at(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Certificate> {
    Ok(Certificate {
        enrollment: EnrollmentId(uuid_at(row, index)?),
        serial: Serial(u128::from_be_bytes(row.get(index + 1)?)),
        not_before_us: time_at(row, index + 2)?,
        not_after_us: time_at(row, index + 3)?,
    })
}

/// The name under which something identified by an id, not by a hash, is sealed.
fn name_of_id(contract: ContractId, device: DeviceId, purpose: Purpose, id: Uuid) -> Name {
    Name {
        contract,
        device,
        purpose,
        hash: Sha256::of(id.as_bytes()),
    }
}

/// The name under which the row of a record is sealed.
fn name_of_record(
    contract: ContractId,
    device: DeviceId,
    purpose: Purpose,
    epoch: Epoch,
    seq: Seq,
) -> Name {
    Name {
        contract,
        device,
        purpose,
        hash: Sha256::of(&[epoch.0.to_be_bytes(), seq.0.to_be_bytes()].concat()),
    }
}

fn damaged(what: &'static str) -> impl Fn(crate::seal::SealError) -> StoreError {
    move |error| StoreError::Corrupt(format!("{what}: {error}"))
}
