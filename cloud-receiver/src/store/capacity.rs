//! How much is held, of whom, and how that grew.

use super::{NewMail, Result};
use crate::capacity::{Level, Sample};
use async_trait::async_trait;
use serde::Serialize;
use wire::{ContractId, UtcMicros};

/// What is held of one contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContractUsage {
    pub contract: ContractId,
    pub name: String,
    pub devices: u64,
    pub events: u64,
    pub records: u64,
    /// Of the signed batches, as they are stored.
    pub records_bytes: u64,
    pub objects: u64,
    pub objects_bytes: u64,
    /// Taken in since the moment that was asked for.
    pub recent_records: u64,
    pub recent_objects_bytes: u64,
}

/// All that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// With the log beside it.
    pub database_bytes: u64,
    pub contracts: Vec<ContractUsage>,
}

impl Usage {
    pub fn objects_bytes(&self) -> u64 {
        self.contracts.iter().map(|of| of.objects_bytes).sum()
    }

    pub fn records(&self) -> u64 {
        self.contracts.iter().map(|of| of.records).sum()
    }
}

#[async_trait]
pub trait CapacityBook: Send + Sync {
    /// Reads through the index of everything: seconds where there are millions.
    async fn usage(&self, recent_from: UtcMicros) -> Result<Usage>;
    /// Adds a sample, and forgets those that are older than a year.
    async fn add_sample(&self, sample: Sample) -> Result<()>;
    /// In order of time.
    async fn samples_since(&self, from: UtcMicros) -> Result<Vec<Sample>>;
    async fn capacity_level(&self) -> Result<Level>;
    /// Another level, and the mail that tells of it: both, or neither.
    async fn capacity_told(&self, level: Level, mail: Vec<NewMail>, at: UtcMicros) -> Result<()>;
}
