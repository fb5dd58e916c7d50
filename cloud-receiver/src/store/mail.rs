//! The outbox: mail that must arrive, and the proof that it was taken.
//!
//! A message is added in the commit of what it tells of. The receiver then offers it to the mail server until that takes it or
//! three days are over. What is personal in it - the recipient, the words, the server's answer - is sealed under the contract's
//! key.

use super::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::{ContractId, UtcMicros};

/// What a message says, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// A JPEG, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// Where one POST stops such mails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MailKind {
    Notice,
    Alert,
    /// Asks whether an address is whose it is said to be.
    Confirm,
    Event,
}

impl MailKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Alert => "alert",
            Self::Confirm => "confirm",
            Self::Event => "event",
        }
    }
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// Whose people it is to; absent: the operator's own.
    pub contract: Option<ContractId>,
    pub kind: MailKind,
    /// The notice that it tells of. Of mail to a user the store sets it, to find what must not be sent any more.
    pub about: Option<Uuid>,
    pub letter: Letter,
}

/// What came of the attempts to send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the server said when it took the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Of the last attempt that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MailRow {
    pub no: u64,
    /// The Message-ID's first part.
    pub id: Uuid,
    pub contract: Option<ContractId>,
    pub kind: String,
    pub about: Option<Uuid>,
    pub created_us: UtcMicros,
    /// From when its three days count.
    pub offered_us: UtcMicros,
    pub due_us: UtcMicros,
    pub attempts: u32,
    pub tried_us: Option<UtcMicros>,
    pub taken_us: Option<UtcMicros>,
    pub taken_by: Option<String>,
    pub given_up_us: Option<UtcMicros>,
    pub letter: Letter,
    pub outcome: Outcome,
}

/// Which messages to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailChoice {
    /// Neither taken nor given up.
    Waiting,
    GivenUp,
    /// All about one notice.
    About(Uuid),
    One(u64),
    /// The newest.
    Newest(u32),
}

#[async_trait]
pub trait MailBook: Send + Sync {
    /// Adds messages that tell of nothing that is written with them.
    async fn add_mail(&self, mail: Vec<NewMail>, at: UtcMicros) -> Result<()>;
    async fn mail(&self, choice: MailChoice) -> Result<Vec<MailRow>>;
    /// Messages whose time has come, in order.
    async fn mail_due(&self, at: UtcMicros, limit: u32) -> Result<Vec<MailRow>>;
    /// When the next one is due.
    async fn next_mail_due(&self) -> Result<Option<UtcMicros>>;
    async fn mail_taken(&self, row: &MailRow, by: &str, answer: &str, at: UtcMicros) -> Result<()>;
    /// `again`: when it is tried next; absent: it is given up.
    async fn mail_failed(
        &self,
        row: &MailRow,
        problem: &str,
        again: Option<UtcMicros>,
        at: UtcMicros,
    ) -> Result<()>;
    /// Offers messages again that were given up, or that wait for their next attempt, at once. How many.
    async fn retry_mail(&self, numbers: Vec<u64>, at: UtcMicros) -> Result<u64>;
    /// Forgets what nobody asks for proof of: mail to users about events of before a moment that is settled, and operators'
    /// own alerts, which name customers in clear, once they were settled before another one.
    async fn forget_mail(&self, events: UtcMicros, alerts: UtcMicros) -> Result<u64>;
}
