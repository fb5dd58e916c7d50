//! What customers are told of: maintenance before it, incidents when they are.

use super::{ContractScope, MailRow, NewMail, Result};
use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;
use wire::{ContractId, UtcMicros};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    Maintenance,
    Incident,
}

impl NoticeKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Incident => "incident",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NoticeRow {
    pub id: Uuid,
    pub kind: NoticeKind,
    /// Begins, or has begun.
    pub from_us: UtcMicros,
    /// Of maintenance: when it ends.
    pub to_us: Option<UtcMicros>,
    /// In the operator's words.
    pub what: String,
    /// The same for those who read English, where the operator gave it.
    pub what_en: Option<String>,
    /// Why it was told less than 14 days before.
    pub urgent_why: Option<String>,
    pub created_us: UtcMicros,
    pub cancelled_us: Option<UtcMicros>,
    /// Of an incident: when it was said to be over.
    pub closed_us: Option<UtcMicros>,
}

impl NoticeRow {
    /// Whether it still concerns anybody.
    pub fn is_current(&self, now: UtcMicros) -> bool {
        self.cancelled_us.is_none()
            && self.closed_us.is_none()
            && self.to_us.is_none_or(|to| now < to)
    }
}

/// What becomes of a notice after it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeEnd {
    /// The maintenance does not take place.
    Cancelled,
    /// The incident is over.
    Closed,
}

/// The operator's book of notices. Each verb puts the mail that it asks for into the outbox in its own commit.
#[async_trait]
pub trait NoticeBook: Send + Sync {
    async fn add_notice(
        &self,
        notice: &NoticeRow,
        contracts: Vec<ContractId>,
        mail: Vec<NewMail>,
    ) -> Result<()>;
    /// In order of their making.
    async fn notices(&self) -> Result<Vec<NoticeRow>>;
    /// Whom it concerns.
    async fn notice_contracts(&self, notice: Uuid) -> Result<Vec<ContractId>>;
    async fn end_notice(
        &self,
        notice: Uuid,
        end: NoticeEnd,
        mail: Vec<NewMail>,
        at: UtcMicros,
    ) -> Result<()>;
    /// The proof of sending, one row for each recipient.
    async fn notice_mail(&self, notice: Uuid) -> Result<Vec<MailRow>>;
}

/// What a customer is shown.
#[async_trait]
pub trait NoticeReads: Send + Sync {
    /// Those that still concern the contract, the earliest first.
    async fn current_notices(&self, scope: ContractScope, at: UtcMicros) -> Result<Vec<NoticeRow>>;
    /// The newest `limit` of all, newest first.
    async fn notices_of(&self, scope: ContractScope, limit: u32) -> Result<Vec<NoticeRow>>;
}
