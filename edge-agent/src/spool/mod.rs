//! The durable outbox. Between "decided" and "receipt received" the only truth is here.
//!
//! What holds, whatever is cut short:
//! 1. What `put_durable` and `put_media` returned for is on disk; what `put` returned for is in the next commit.
//! 2. A blob's file is complete and fsynced before the row that names it exists.
//! 3. One commit is one batch: signed, chained to the one before, sealed, and stored as it will be sent.
//! 4. Numbers count up without a gap within an epoch; an epoch is drawn at random at every start.
//! 5. Only a receipt settles records and only its own 2xx a blob. Until then they are sent again.
//! 6. What is shed, refused or found damaged is named in a gap record of the same transaction.
//! 7. captured = settled + shed + parked + pending, per camera, class and hour, at any moment.
//!
//! `docs/spool.md` tells why.

mod answers;
mod blob;
mod database;
mod error;
mod handle;
mod inbox;
mod migrate;
mod open_events;
mod outbox;
pub mod quota;
mod reads;
mod rows;
mod seal;
mod shared;
mod shed;
mod tally;
#[cfg(test)]
mod tests;
mod turn;
mod writer;

pub use error::SpoolError;
pub use handle::{Lane, LeasedBatch, LeasedBlob, SpoolHandle};
pub use reads::BalanceLine;
pub use shared::SpoolStats;

use crate::clock::TimeSource;
use crate::config::SpoolConfig;
use crate::health::Health;
use crate::identity::SpoolKey;
use blob::BlobDir;
use database::Layout;
use inbox::Inbox;
use outbox::Author;
use quota::Limits;
use rusqlite::Connection;
use seal::Vault;
use shared::Shared;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use tally::Losses;
use wire::{DeviceId, Epoch, SigningKey, UtcMicros};
use writer::Writer;

/// The device's own keys that the spool needs; enrollment changes none of them.
#[derive(Debug)]
pub struct SpoolKeys {
    pub device_id: DeviceId,
    pub record_key: SigningKey,
    pub spool_key: SpoolKey,
}

/// Opens spools; what is used afterwards is the [`SpoolHandle`].
#[derive(Debug)]
pub struct Spool;

impl Spool {
    /// Opens or creates the spool in `dir` and starts its thread. A damaged database is set aside and reported,
    /// never a reason not to start; one written by a newer agent is.
    ///
    /// Blocks: file and database checks take up to some seconds for a large backlog.
    pub fn open(
        dir: &Path,
        config: &SpoolConfig,
        keys: SpoolKeys,
        time: TimeSource,
        health: &Health,
    ) -> Result<SpoolHandle, SpoolError> {
        let now = time.now().captured_at_us;
        let layout = Layout {
            dir: dir.to_owned(),
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(SpoolError::file("create folder", dir))?;
        let author = Arc::new(Author {
            device: keys.device_id,
            vault: Vault::new(&keys.spool_key, keys.device_id),
            record_key: keys.record_key,
        });

        let mut losses = Losses::default();
        let connection = open_or_set_aside(&layout, keys.device_id, now, &mut losses)?;
        let blobs = BlobDir::open(layout.blobs())?;
        blob::sync_dir(dir)?;
        let missing = sweep(&connection, &blobs)?;
        let epoch = Epoch(rand::random());
        let chain = reads::begin_epoch(&connection, epoch, now)
            .map_err(SpoolError::database("begin an epoch"))?;
        let interrupted = open_events::all(&connection, &author.vault)
            .map_err(SpoolError::database("read the open events"))?;
        let usage = reads::usage(&connection).map_err(SpoolError::database("sum up"))?;

        let inbox = Inbox::new();
        let shared = Arc::new(Shared::new());
        let handle = SpoolHandle {
            inbox: inbox.clone(),
            shared: shared.clone(),
            author: author.clone(),
            blobs: blobs.clone(),
            epoch,
            interrupted: interrupted.into(),
        };
        for sha256 in missing {
            // Reported as unreadable, like a damaged one.
            let end = turn::BlobEnd::Unreadable;
            inbox.request(turn::Request::EndBlob(sha256, end))?;
        }
        let limits = Limits {
            quota_bytes: config.quota_bytes,
            min_free_bytes: config.min_free_bytes,
        };
        let reporter = health.unit("spool", now);
        shared.set(usage, None, 0);
        let writer = Writer::new(
            layout,
            connection,
            author,
            blobs,
            limits,
            time,
            reporter,
            inbox.clone(),
            shared.clone(),
            chain,
            usage,
        );
        start(writer, losses, inbox, shared)?;
        Ok(handle)
    }
}

/// A damaged database is moved away, and the gap record that says so is the first of the new one.
fn open_or_set_aside(
    layout: &Layout,
    device: DeviceId,
    now: UtcMicros,
    losses: &mut Losses,
) -> Result<Connection, SpoolError> {
    match database::open(layout, device, now) {
        Err(error) if database::asks_for_quarantine(&error) => {
            tracing::error!(%error, "the spool is damaged, setting it aside: {error}");
            let set_aside = database::set_aside(layout, now)?;
            losses.merge(writer::quarantine_losses(set_aside, now));
            database::open(layout, device, now)
        }
        opened => opened,
    }
}

/// Files and rows agree after this. Returns the blobs whose file is gone.
fn sweep(connection: &Connection, blobs: &BlobDir) -> Result<Vec<wire::Sha256>, SpoolError> {
    let named = reads::blob_files(connection).map_err(SpoolError::database("list blobs"))?;
    let sweep = blobs.sweep(&named)?;
    if sweep.orphans > 0 {
        let orphans = sweep.orphans;
        tracing::info!(
            orphans,
            "{orphans} files without a row swept from the spool"
        );
    }
    let mut missing = Vec::new();
    for file in &sweep.missing {
        let sha256 = reads::blob_of_file(connection, file)
            .map_err(SpoolError::database("look for a blob"))?;
        missing.extend(sha256);
    }
    Ok(missing)
}

/// The thread `spool`. However it ends, whoever waits is told.
fn start(
    writer: Writer,
    losses: Losses,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
) -> Result<(), SpoolError> {
    let thread = std::thread::Builder::new().name("spool".to_owned());
    let spawned = thread.spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| writer.run(losses));
        let reason = match std::panic::catch_unwind(run) {
            Ok(Ok(())) => None,
            Ok(Err(fatal)) => Some(fatal.to_string()),
            Err(_) => Some("the spool thread panicked".to_owned()),
        };
        if let Some(reason) = &reason {
            tracing::error!(reason, "the spool has ended: {reason}");
        }
        inbox.stop();
        shared.died.send_replace(reason);
        shared.ended.send_replace(true);
    });
    spawned
        .map(drop)
        .map_err(SpoolError::file("start the thread of", Path::new("spool")))
}
