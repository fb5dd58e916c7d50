//! What is kept for how long: what is older goes, unless a hold covers it.
//!
//! Of a picture the signed record stays, and its row, which says that the picture was deleted as agreed; of records the numbers
//! and hashes of their batches, and how many they were. What is missing by agreement must never look like what was lost.

use super::{ContractScope, Result, Retention};
use async_trait::async_trait;
use wire::{ContractId, MediaClass, Sha256, UtcMicros};

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// The moment before which pictures of each class were captured that may go; absent: none may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutoffs {
    pub snapshot: Option<UtcMicros>,
    pub periodic: Option<UtcMicros>,
    pub requested: Option<UtcMicros>,
    pub clip: Option<UtcMicros>,
}

impl Cutoffs {
    pub fn of(retention: &Retention, now: UtcMicros) -> Self {
        let before = |days: Option<u32>| days.map(|days| now.plus_us(-i64::from(days) * DAY_US));
        Self {
            snapshot: before(retention.snapshots_days),
            periodic: before(retention.periodic_days),
            requested: before(retention.requested_days),
            clip: before(retention.clips_days),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.each().iter().all(|(_, cutoff)| cutoff.is_none())
    }

    pub(super) fn each(&self) -> [(MediaClass, Option<UtcMicros>); 4] {
        [
            (MediaClass::Snapshot, self.snapshot),
            (MediaClass::Periodic, self.periodic),
            (MediaClass::Requested, self.requested),
            (MediaClass::Clip, self.clip),
        ]
    }
}

/// The moment before which records were made that may go; `None`: none may.
pub fn records_cutoff(retention: &Retention, now: UtcMicros) -> Option<UtcMicros> {
    let days = retention.records_days?;
    Some(now.plus_us(-i64::from(days) * DAY_US))
}

/// What one commit took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordsGone {
    pub records: u64,
    pub batches: u64,
    /// Batches, also those that stay. None: there are no more to be looked at.
    pub looked_at: u64,
}

/// Records: events, gaps, states, counts. They are kept for as long as a picture that belongs to them.
#[async_trait]
pub trait RecordBook: Send + Sync {
    /// Takes the records out of up to `at_most` batches.
    async fn expire_records(
        &self,
        contract: ContractId,
        cutoff: UtcMicros,
        at_most: u32,
        at: UtcMicros,
    ) -> Result<RecordsGone>;
    /// What stands beside the records and goes by its own age: counts of minutes, answers to commands, letters about events;
    /// up to `at_most` of each. Answers how many, and the files that are to be deleted after the commit.
    async fn expire_beside(
        &self,
        contract: ContractId,
        cutoff: UtcMicros,
        at_most: u32,
        at: UtcMicros,
    ) -> Result<(u64, Vec<Sha256>)>;
}

/// What pages ask.
#[async_trait]
pub trait RetentionReads: Send + Sync {
    /// Of the time before this moment records were deleted as agreed; `None`: none ever were.
    async fn records_before(&self, scope: ContractScope) -> Result<Option<UtcMicros>>;
}

#[async_trait]
pub trait RetentionBook: Send + Sync {
    /// Forgets up to `at_most` pictures that may go, and answers them: their files are to be deleted after the commit. A
    /// file that stays behind is an orphan, which is swept.
    async fn expire(
        &self,
        contract: ContractId,
        cutoffs: Cutoffs,
        at_most: u32,
        at: UtcMicros,
    ) -> Result<Vec<Sha256>>;
}
