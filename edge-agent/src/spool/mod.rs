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
mod audit;
mod ballast;
mod blob;
mod carve;
mod commit;
mod database;
mod error;
mod handle;
mod history;
mod inbox;
mod leases;
mod ledger;
mod migrate;
mod open_events;
mod outbox;
mod quarantine;
pub mod quota;
mod reads;
pub mod room;
mod rows;
mod salvage;
mod seal;
mod shared;
mod shed;
mod start;
mod sweep;
mod tally;
#[cfg(test)]
mod tests;
mod turn;
mod wal;
mod wipe;
mod writer;

pub use audit::{Audit, AuditLine, Difference, ParkedRecord, PendingGap, audit};
pub use error::SpoolError;
pub use handle::{Lane, LeasedBatch, LeasedBlob, SpoolHandle};
pub use history::Forgotten;
pub use reads::BalanceLine;
pub use shared::SpoolStats;

use crate::clock::TimeSource;
use crate::config::SpoolConfig;
use crate::health::Health;
use crate::identity::SpoolKey;
use ballast::Ballast;
use database::Layout;
use inbox::Inbox;
use leases::Leases;
use outbox::Author;
use quarantine::Quarantine;
use room::{Limits, Marks};
use seal::Vault;
use shared::Shared;
use start::Site;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wire::{DeviceId, Epoch, SigningKey};
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
    /// Opens or creates the spool in `dir` and starts its thread. A damaged database is rebuilt from what can be read
    /// of it and reported, never a reason not to start; one written by a newer agent is.
    ///
    /// Blocks for well under a second; for a rebuild longer.
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
        let limits = Limits {
            quota_bytes: config.quota_bytes,
            min_free_bytes: config.min_free_bytes,
        };
        let volume = ballast::volume(dir);
        let marks = Marks::new(limits, volume.map(|volume| volume.total_bytes));
        let quarantine = Quarantine::new(layout.quarantine(), marks.quarantine_bytes);
        quarantine.prune();
        let mut ballast = Ballast::find(dir, marks.ballast_bytes);
        let site = Site {
            layout: &layout,
            author: &author,
            marks: &marks,
            quarantine: &quarantine,
        };
        let epoch = Epoch(rand::random());
        let started = start::start(&site, &mut ballast, epoch, now)?;

        let inbox = Inbox::new();
        let shared = Arc::new(Shared::new());
        shared.set(started.usage, 0, None, 0);
        if started.unchecked {
            start::check_beside(&layout, &inbox);
        }
        let handle = SpoolHandle {
            inbox: inbox.clone(),
            shared: shared.clone(),
            author: author.clone(),
            blobs: started.blobs.clone(),
            epoch,
            interrupted: started.interrupted.into(),
        };
        let mut writer = Writer {
            layout,
            connection: Some(started.connection),
            author,
            blobs: started.blobs,
            marks,
            ballast,
            quarantine,
            time,
            reporter: health.unit("spool"),
            inbox: inbox.clone(),
            shared: shared.clone(),
            chain: started.chain,
            usage: started.usage,
            leases: Leases::default(),
            volume,
            deferred: Vec::new(),
            owed: started.first_turn,
            more_to_shed: false,
            more_to_give_back: false,
            alarm: None,
            gives_way_until: Duration::ZERO,
            database_bytes: 0,
            forget_at: Duration::ZERO,
        };
        if let Some(why) = started.alarm {
            writer.raise_alarm(&why);
        }
        spawn(writer, inbox, shared)?;
        Ok(handle)
    }
}

/// The thread `spool`. However it ends, whoever waits is told.
fn spawn(writer: Writer, inbox: Arc<Inbox>, shared: Arc<Shared>) -> Result<(), SpoolError> {
    let thread = std::thread::Builder::new().name("spool".to_owned());
    let spawned = thread.spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| writer.run());
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
