//! What the spool thread shows to everyone else: figures, wake-ups, and whether it lives.

use crate::spool::outbox::Usage;
use crate::spool::room::Fill;
use serde::Serialize;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use tokio::sync::{Notify, watch};
use wire::UtcMicros;
use wire::heartbeat::SpoolReport;

#[derive(Debug)]
pub(super) struct Shared {
    stats: Mutex<SpoolStats>,
    /// Rung after a commit that added batches, or when leases ended.
    pub(super) batches_ready: Notify,
    pub(super) blobs_ready: Notify,
    /// Why the thread ended before it was asked to.
    pub(super) died: watch::Sender<Option<String>>,
    pub(super) ended: watch::Sender<bool>,
    /// Nothing is taken in but answers to the receiver: the contract has ended.
    pub(super) contract_ended: AtomicBool,
}

/// The spool in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolStats {
    pub pending_records: u64,
    pub pending_batches: u64,
    /// Batches that are sent and wait for their receipt.
    pub leased_batches: u64,
    pub pending_blobs: u64,
    pub batch_bytes: u64,
    pub blob_bytes: u64,
    /// On the disk: database pages in use and blob files, with their last blocks.
    pub disk_bytes: u64,
    pub parked_records: u64,
    pub oldest_pending_us: Option<UtcMicros>,
}

impl SpoolStats {
    pub fn report(&self) -> SpoolReport {
        SpoolReport {
            pending_records: self.pending_records,
            pending_blobs: self.pending_blobs,
            bytes: self.disk_bytes,
            parked_records: self.parked_records,
            oldest_pending_us: self.oldest_pending_us,
        }
    }
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            stats: Mutex::default(),
            batches_ready: Notify::new(),
            blobs_ready: Notify::new(),
            died: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            contract_ended: AtomicBool::new(false),
        }
    }

    pub(super) fn set(
        &self,
        usage: Usage,
        database_bytes: u64,
        oldest: Option<UtcMicros>,
        leased_batches: u64,
    ) {
        let fill = Fill {
            database_bytes,
            blobs: usage.blobs,
            blob_bytes: usage.blob_bytes,
            ..Fill::default()
        };
        *self.lock() = SpoolStats {
            pending_records: usage.records,
            pending_batches: usage.batches,
            leased_batches,
            pending_blobs: usage.blobs,
            batch_bytes: usage.batch_bytes,
            blob_bytes: usage.blob_bytes,
            disk_bytes: fill.used_bytes(),
            parked_records: usage.parked,
            oldest_pending_us: oldest,
        };
    }

    pub(super) fn stats(&self) -> SpoolStats {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SpoolStats> {
        self.stats
            .lock()
            .expect("figures are only copied under the lock")
    }
}
