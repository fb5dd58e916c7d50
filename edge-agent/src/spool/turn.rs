//! What the spool thread is given: records on their way in, requests, and the turn that one transaction makes of them.

use crate::spool::blob::StoredFile;
use crate::spool::error::SpoolError;
use crate::spool::open_events::Told;
use crate::spool::quota::Rank;
use crate::spool::reads::BalanceLine;
use crate::spool::tally::{Line, Losses, Span};
use crate::spool::wipe::Wiped;
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
    /// Says what an agent did, such as an order of the receiver: kept where all else is turned away.
    pub(super) is_audit: bool,
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
    /// Absent where it is of no camera, such as the box's own log.
    pub(super) camera: Option<CameraId>,
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
    ShedInAll(oneshot::Sender<Result<u64, SpoolError>>),
    /// The disk had no room for a blob's file: whatever is worth no more than it may give way.
    MakeRoom {
        bytes: u64,
        rank: Rank,
        done: std::sync::mpsc::SyncSender<()>,
    },
    /// Everything that waits is destroyed.
    Wipe(oneshot::Sender<Wiped>),
    /// The check beside the work found the database damaged.
    Damaged(String),
    /// As a disk call that does not return, until the sender is gone.
    #[cfg(test)]
    Stall(std::sync::mpsc::Receiver<()>),
}

/// Everything one transaction changes.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) entries: Vec<Entry>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) refused_batches: Vec<(i64, String)>,
    pub(super) ended_blobs: Vec<(Sha256, BlobEnd)>,
    pub(super) losses: Losses,
    /// What a damaged database had counted as pending and no longer held.
    pub(super) damaged: Vec<(Line, Span)>,
    /// With this turn all that was lost by a salvage is named.
    pub(super) names_salvage: bool,
    /// Room for a blob: its size, and the rank up to which others give way for it.
    pub(super) room_wanted: Option<(u64, Rank)>,
    /// Everything that waited before this turn is destroyed.
    pub(super) wipe: bool,
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
            && self.damaged.is_empty()
            && !self.names_salvage
            && self.room_wanted.is_none()
            && !self.shed_on
            && !self.wipe
    }

    /// Takes over what another turn had to say of damages.
    pub(super) fn absorb(&mut self, other: Turn) {
        self.losses.merge(other.losses);
        self.damaged.extend(other.damaged);
        self.ended_blobs.extend(other.ended_blobs);
        self.names_salvage |= other.names_salvage;
    }

    /// Several who wait for room get it together; nothing goes that any of them would not outlive.
    pub(super) fn want_room(&mut self, bytes: u64, rank: Rank) {
        self.room_wanted = Some(match self.room_wanted {
            Some((more, other)) => (bytes + more, rank.min(other)),
            None => (bytes, rank),
        });
    }

    /// Mostly a later receipt of an epoch says all that an earlier one said, but for what it rejected. Over HTTPS
    /// receipts of posts side by side come in any order, and one may lack what another answers: both are kept.
    pub(super) fn add_receipt(&mut self, mut receipt: Receipt) {
        let comparable = self.receipts.iter_mut().find(|known| {
            known.epoch == receipt.epoch
                && (says_all_of(&receipt, known) || says_all_of(known, &receipt))
        });
        let Some(known) = comparable else {
            self.receipts.push(receipt);
            return;
        };
        if !says_all_of(&receipt, known) {
            std::mem::swap(known, &mut receipt);
        }
        let lesser = std::mem::replace(known, receipt);
        for rejected in lesser.rejected {
            if !known.rejected.iter().any(|r| r.seq == rejected.seq) {
                known.rejected.push(rejected);
            }
        }
    }
}

/// Whether everything that `other` answers is answered by `receipt` too.
fn says_all_of(receipt: &Receipt, other: &Receipt) -> bool {
    receipt.through >= other.through
        && receipt.holes.iter().all(|hole| {
            hole.first > other.through
                || other
                    .holes
                    .iter()
                    .any(|known| known.first <= hole.first && hole.last <= known.last)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Epoch, Seq, SeqRange};

    fn receipt(through: u64, hole: Option<(u64, u64)>) -> Receipt {
        let range = |(first, last)| SeqRange {
            first: Seq(first),
            last: Seq(last),
        };
        Receipt {
            epoch: Epoch(1),
            through: Seq(through),
            holes: hole.map(range).into_iter().collect(),
            rejected: Vec::new(),
            receiver_time_us: UtcMicros(0),
        }
    }

    /// Through and first hole of what is left of two receipts in one turn.
    fn turn(one: Receipt, other: Receipt) -> Vec<(u64, usize)> {
        let mut turn = Turn::default();
        turn.add_receipt(one);
        turn.add_receipt(other);
        let left = turn.receipts.iter();
        left.map(|r| (r.through.0, r.holes.len())).collect()
    }

    #[test]
    fn a_receipt_that_lacks_what_another_answers_does_not_displace_it() {
        let (first, both) = (receipt(5, None), receipt(9, None));
        let second_alone = receipt(9, Some((1, 5)));
        assert_eq!(turn(first.clone(), both.clone()), [(9, 0)]);
        assert_eq!(turn(both.clone(), first.clone()), [(9, 0)]);
        assert_eq!(turn(both.clone(), second_alone.clone()), [(9, 0)]);
        assert_eq!(turn(second_alone.clone(), both), [(9, 0)]);
        assert_eq!(turn(first.clone(), second_alone.clone()), [(5, 0), (9, 1)]);
        assert_eq!(turn(second_alone, first), [(9, 1), (5, 0)]);
    }
}
