//! What is kept for how long: pictures and clips whose agreed time is over go, unless a hold covers them.
//!
//! A signed record that names a picture stays, and so does its row, which says that the picture was deleted as agreed: what
//! is missing by agreement must never look like what was lost.

use super::{Result, Retention};
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
