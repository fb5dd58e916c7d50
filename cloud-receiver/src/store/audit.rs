//! The audit log: who did what, or looked at what. Append-only, and hash-chained like the records of devices.
//!
//! The hash of an entry is SHA-256 over the words `caas/audit/v1`, the hash of the entry before (32 zero bytes before the
//! first) and every column in the order of the table, each with its length before it as eight bytes, big-endian; an absent
//! one is a length of 2^64 - 1 and nothing. Whoever holds one hash can therefore show that nothing before it was changed.

use super::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wire::evidence::heads::AuditHead;
use wire::{ContractId, DeviceId, Sha256, UtcMicros};

/// Who acts. A store's handle carries it, so that no verb can forget to say who used it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Actor {
    /// The receiver by itself: its jobs.
    #[default]
    System,
    /// Somebody with an account on the receiver's machine, by the command line.
    Console(String),
    /// An operator in the operators' area, by login ID.
    Operator(String),
    /// A customer's user, by login ID.
    User(String),
    Device(DeviceId),
}

impl Actor {
    pub fn kind(&self) -> &'static str {
        match self {
            Actor::System => "system",
            Actor::Console(_) => "console",
            Actor::Operator(_) => "operator",
            Actor::User(_) => "user",
            Actor::Device(_) => "device",
        }
    }

    /// What may stand in clear for ever: not a customer's person.
    pub fn name(&self) -> Option<String> {
        match self {
            Actor::System | Actor::User(_) => None,
            Actor::Console(name) | Actor::Operator(name) => Some(name.clone()),
            Actor::Device(device) => Some(device.to_string()),
        }
    }
}

/// What is to be noted.
#[derive(Clone, Debug)]
pub struct Note {
    pub contract: Option<ContractId>,
    /// Thing and verb: `contract.add`, `picture.view`.
    pub action: &'static str,
    pub subject: Option<String>,
    /// Nothing of it names a customer's person.
    pub detail: Map<String, Value>,
    /// Names, addresses: sealed under the contract's key. Without a contract it would stand in clear, so it must be empty.
    pub personal: Map<String, Value>,
}

impl Note {
    pub fn new(action: &'static str) -> Self {
        Self {
            contract: None,
            action,
            subject: None,
            detail: Map::new(),
            personal: Map::new(),
        }
    }

    pub fn of(mut self, contract: ContractId) -> Self {
        self.contract = Some(contract);
        self
    }

    pub fn on(mut self, subject: impl ToString) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(key.into(), value.into());
        self
    }

    pub fn with_personal(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.personal.insert(key.into(), value.into());
        self
    }
}

/// One entry as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    pub no: u64,
    pub at_us: UtcMicros,
    pub contract: Option<ContractId>,
    pub actor: String,
    pub actor_name: Option<String>,
    pub action: String,
    pub subject: Option<String>,
    /// JSON, byte for byte as it was hashed.
    pub detail: String,
    #[serde(with = "hex", default)]
    pub sealed: Option<Vec<u8>>,
    pub hash: Sha256,
}

impl AuditRow {
    /// The hash that the row must carry behind the one before it.
    pub fn hash_after(&self, before: Sha256) -> Sha256 {
        let contract = self.contract.map(|contract| *contract.0.as_bytes());
        let number = self.no.to_be_bytes();
        let at = self.at_us.0.to_be_bytes();
        let columns: [Option<&[u8]>; 9] = [
            Some(&number),
            Some(&at),
            contract.as_ref().map(<[u8; 16]>::as_slice),
            Some(self.actor.as_bytes()),
            self.actor_name.as_deref().map(str::as_bytes),
            Some(self.action.as_bytes()),
            self.subject.as_deref().map(str::as_bytes),
            Some(self.detail.as_bytes()),
            self.sealed.as_deref(),
        ];
        let mut bytes = b"caas/audit/v1".to_vec();
        bytes.extend(before.0);
        for column in columns {
            let length = column.map_or(u64::MAX, |column| column.len() as u64);
            bytes.extend(length.to_be_bytes());
            bytes.extend(column.unwrap_or_default());
        }
        Sha256::of(&bytes)
    }
}

mod hex {
    use data_encoding::HEXLOWER;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => to.serialize_some(&HEXLOWER.encode(bytes)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let decode = |text: String| HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom);
        text.map(decode).transpose()
    }
}

/// Which entries. All conditions hold together; an absent one holds always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub contract: Option<ContractId>,
    /// A kind of actor, or a name that stands in clear.
    pub actor: Option<String>,
    /// An action, or the beginning of one up to a dot: `sign_in`.
    pub action: Option<String>,
}

/// Where the chain stops being one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditBreak {
    /// The first entry that does not follow from the one before.
    pub no: u64,
    pub problem: String,
}

/// What a walk over the whole chain found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditChain {
    pub entries: u64,
    /// Of the last entry; 32 zero bytes where there is none.
    pub head: Sha256,
    pub broken: Option<AuditBreak>,
}

/// The log, for whoever adds to it or reads it.
#[async_trait]
pub trait AuditBook: Send + Sync {
    /// Notes something that changed nothing in the database: a view, a sign-in that failed. Verbs that change something
    /// note it in their own commit.
    async fn note(&self, actor: Actor, note: Note, at: UtcMicros) -> Result<()>;
    /// At most `limit` entries after a number, in order.
    async fn audit_after(&self, no: u64, limit: u32) -> Result<Vec<AuditRow>>;
    /// What is personal in an entry, where the contract's key is still there.
    async fn audit_personal(&self, row: &AuditRow) -> Result<Option<Map<String, Value>>>;
    /// At most `limit` entries, the newest first; before a number, or from the end.
    async fn audit_newest(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>>;
    /// The newest entry's number and hash; `None`: there is none.
    async fn audit_head(&self) -> Result<Option<AuditHead>>;
    /// The hash of one entry.
    async fn audit_hash(&self, no: u64) -> Result<Option<Sha256>>;
    /// Reads and hashes every entry.
    async fn audit_chain(&self) -> Result<AuditChain>;
}
