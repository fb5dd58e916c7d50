//! What was agreed with a customer: until when, in which language, who is written to, how long what is kept.

use super::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wire::{ContractId, UtcMicros};

/// What was agreed. Sealed at rest, because it names people. Unknown settings of a newer version are kept out, not
/// refused; absent ones are the usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Of mails to the contacts and of the portal's first page: `ja` or `en`.
    pub language: String,
    /// IANA name of the time zone in which the contract's days begin.
    pub zone: String,
    /// Addresses of the customer's administrators: notices go there.
    pub contacts: Vec<String>,
    /// An issued password may be kept; else it must be changed at the first sign-in.
    pub keeps_issued_passwords: bool,
    /// Nobody signs in without a second factor.
    pub needs_second_factor: bool,
    /// Mails about events may carry a small picture.
    pub pictures_in_mail: bool,
    pub retention: Retention,
    /// A device or camera that is not heard of for so long is told of.
    pub silent_after_minutes: u32,
    /// So is a device whose clock is off by more.
    pub clock_off_ms: u64,
}

/// For how many days what is kept; absent: as long as the contract lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Events, counts, and everything else that is a record.
    pub records_days: Option<u32>,
    pub snapshots_days: Option<u32>,
    pub periodic_days: Option<u32>,
    pub requested_days: Option<u32>,
    pub clips_days: Option<u32>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            language: "ja".into(),
            zone: "Asia/Tokyo".into(),
            contacts: Vec::new(),
            keeps_issued_passwords: false,
            needs_second_factor: false,
            pictures_in_mail: false,
            retention: Retention::default(),
            silent_after_minutes: 10,
            clock_off_ms: 1000,
        }
    }
}

/// A contract with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContractDetail {
    pub id: ContractId,
    pub name: String,
    pub created_us: UtcMicros,
    /// The first moment after its period; absent: none was agreed.
    pub until_us: Option<UtcMicros>,
    /// When work for it was said to be done.
    pub done_us: Option<UtcMicros>,
    pub terms: Terms,
}

/// Contracts one by one.
#[async_trait]
pub trait ContractBook: Send + Sync {
    async fn contract(&self, id: ContractId) -> Result<Option<ContractDetail>>;
    async fn set_terms(&self, id: ContractId, terms: &Terms, at: UtcMicros) -> Result<()>;
    async fn set_until(
        &self,
        id: ContractId,
        until: Option<UtcMicros>,
        at: UtcMicros,
    ) -> Result<()>;
}
