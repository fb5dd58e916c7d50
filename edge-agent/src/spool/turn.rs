//! What the spool thread is given: records on their way in, requests, and the turn that one transaction makes of them.

use crate::spool::blob::StoredFile;
use crate::spool::error::SpoolError;
use crate::spool::open_events::Told;
use crate::spool::reads::BalanceLine;
use crate::spool::tally::{Line, Losses};
use crate::spool::{Lane, LeasedBatch, LeasedBlob};
use tokio::sync::oneshot;
use wire::{CameraId, MediaClass, Receipt, Sha256, UtcMicros};

/// A record on its way into the next commit.
pub(super) struct Entry {
    pub(super) json: Vec<u8>,
    pub(super) line: Line,
    pub(super) at: UtcMicros,
    pub(super) blob: Option<NewBlob>,
    /// What it says of an event.
    pub(super) told: Option<Told>,
    /// Hears of the commit; dropped unheard if the spool stops first.
    pub(super) done: Option<Done>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({:?}, {} bytes)", self.line, self.json.len())
    }
}

/// How one who waits for a commit is told: a thread or a task.
pub(super) enum Done {
    Thread(std::sync::mpsc::SyncSender<()>),
    Task(oneshot::Sender<()>),
}

impl Done {
    pub(super) fn tell(self) {
        // Whoever stopped waiting does not need to know.
        match self {
            Done::Thread(sender) => drop(sender.try_send(())),
            Done::Task(sender) => drop(sender.send(())),
        }
    }
}

/// A blob whose file is durable and has no row yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewBlob {
    pub(super) sha256: Sha256,
    pub(super) class: MediaClass,
    pub(super) camera: CameraId,
    pub(super) bytes: u64,
    pub(super) content_type: String,
    pub(super) file: StoredFile,
}

/// How a blob's stay in the spool ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BlobEnd {
    Settled,
    Refused { code: String },
    Unreadable,
}

/// What the uplink and `status` ask of the thread.
#[derive(Debug)]
pub(super) enum Request {
    Settle(Receipt),
    ParkBatch {
        id: i64,
        code: String,
    },
    EndBlob(Sha256, BlobEnd),
    LeaseBatches {
        limit: usize,
        lane: Lane,
        answer: oneshot::Sender<Result<Vec<LeasedBatch>, SpoolError>>,
    },
    ReleaseBatches(Vec<i64>),
    LeaseBlob {
        lane: Lane,
        answer: oneshot::Sender<Result<Option<LeasedBlob>, SpoolError>>,
    },
    ReleaseBlob(i64),
    /// Everything leased is ready again, and what waits now is backlog.
    BeginSession,
    Balance(oneshot::Sender<Result<Vec<BalanceLine>, SpoolError>>),
}

/// Everything one transaction changes.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) entries: Vec<Entry>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) refused_batches: Vec<(i64, String)>,
    pub(super) ended_blobs: Vec<(Sha256, BlobEnd)>,
    pub(super) losses: Losses,
    /// The quota was still exceeded after the turn before.
    pub(super) shed_on: bool,
}

impl Turn {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.receipts.is_empty()
            && self.refused_batches.is_empty()
            && self.ended_blobs.is_empty()
            && self.losses.is_empty()
            && !self.shed_on
    }

    /// A later receipt of an epoch says all that an earlier one said, but for what it rejected.
    pub(super) fn add_receipt(&mut self, mut receipt: Receipt) {
        if let Some(known) = self.receipts.iter_mut().find(|r| r.epoch == receipt.epoch) {
            if known.through > receipt.through {
                std::mem::swap(known, &mut receipt);
            }
            let earlier = std::mem::replace(known, receipt);
            for rejected in earlier.rejected {
                if !known.rejected.iter().any(|r| r.seq == rejected.seq) {
                    known.rejected.push(rejected);
                }
            }
        } else {
            self.receipts.push(receipt);
        }
    }
}
