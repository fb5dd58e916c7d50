//! What the Security page shows of a contract: facts, read when the page is asked for.

use super::{ContractDetail, ContractScope, Result};
use async_trait::async_trait;
use serde::Serialize;
use wire::heartbeat::Heartbeat;
use wire::{DeviceId, UtcMicros};

#[derive(Clone, Debug)]
pub struct SecurityFacts {
    pub contract: ContractDetail,
    /// Since when the contract has its data key; absent: it has none any more.
    pub key_since_us: Option<UtcMicros>,
    pub devices: Vec<DeviceFacts>,
    /// Signed batches held, and how many of them do not follow the one before.
    pub batches: u64,
    pub broken_links: u64,
    /// The newest signed statement of what is held, by this receiver over all contracts.
    pub heads: Option<HeadsFacts>,
    /// General users of the contract.
    pub users: u64,
    /// Of them, who still has the password that was issued.
    pub issued_passwords: u64,
    pub tags: u64,
    /// Erasures of contracts that have ended, by this receiver: how many, and when the last was finished.
    pub erased: Option<(u64, UtcMicros)>,
    /// Backups made of this receiver, and when the last was.
    pub backups: Option<(u64, UtcMicros)>,
    /// What the contract was told of: maintenance, and incidents.
    pub maintenance: Option<(u64, UtcMicros)>,
    pub incidents: Option<(u64, UtcMicros)>,
    /// Entries of the audit log about this contract, by their action: how many, and the last of them.
    pub audited: Vec<Audited>,
}

/// A device of the contract that is in service.
#[derive(Clone, Debug)]
pub struct DeviceFacts {
    pub device: DeviceId,
    pub site_name: String,
    pub agent_version: String,
    pub heard_us: Option<UtcMicros>,
    pub certificate_until_us: UtcMicros,
    pub heartbeat: Option<Heartbeat>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeadsFacts {
    pub number: u64,
    pub at_us: UtcMicros,
    /// When it left the receiver, by whichever way.
    pub sent_us: Option<UtcMicros>,
    /// When a time-stamp authority says that it existed.
    pub stamped_us: Option<UtcMicros>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audited {
    pub action: String,
    pub count: u64,
    pub last_us: UtcMicros,
}

impl SecurityFacts {
    /// What the audit log says of these actions together.
    pub fn audited(&self, is_meant: impl Fn(&str) -> bool) -> Option<(u64, UtcMicros)> {
        let found = self.audited.iter().filter(|row| is_meant(&row.action));
        found.fold(None, |sum, row| {
            let (count, last) = sum.unwrap_or((0, row.last_us));
            Some((count + row.count, last.max(row.last_us)))
        })
    }
}

#[async_trait]
pub trait SecurityReads: Send + Sync {
    async fn security_facts(&self, scope: ContractScope) -> Result<SecurityFacts>;
}
