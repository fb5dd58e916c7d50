//! What users want to be told of by mail. Their own setting, sealed as personal data.

use super::{ContractScope, NewMail, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wire::{CameraId, ContractId, DeviceId, EventId, Sha256, SiteId, UtcMicros};

/// When mail is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rhythm {
    /// As it happens, and then not again for the cool-down.
    #[default]
    AtOnce,
    Hourly,
    Daily,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    pub address: String,
    /// `ja` or `en`.
    pub language: String,
    /// Empty: every class.
    pub classes: Vec<String>,
    /// With `sites` empty too: every camera.
    pub cameras: Vec<CameraId>,
    pub sites: Vec<SiteId>,
    /// Only events that opened from this hour of the contract's day
    pub from_hour: u8,
    /// until this one, perhaps of the next day; where both are the same, at any time.
    pub to_hour: u8,
    pub cool_down_minutes: u32,
    pub rhythm: Rhythm,
    /// The secret of the link that stops all of this.
    pub stop_token: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRow {
    pub login_id: String,
    pub contract: ContractId,
    /// The address' owner said yes.
    pub confirmed_us: Option<UtcMicros>,
    pub stopped_us: Option<UtcMicros>,
    pub mailed_us: Option<UtcMicros>,
    /// Until when the question that was mailed can be answered.
    pub confirm_until_us: Option<UtcMicros>,
    /// Without an address: it was dropped.
    pub wishes: Wishes,
}

/// Nobody's mailbox is filled with questions: a user asks one in so long.
pub const NEXT_QUESTION_US: i64 = 5 * 60 * 1_000_000;

/// The question to the owner of an address.
#[derive(Clone, Debug)]
pub struct Question {
    pub token_hash: Sha256,
    pub until_us: UtcMicros,
    pub mail: NewMail,
}

/// An event as far as wishes concern it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub no: i64,
    pub id: EventId,
    pub contract: ContractId,
    pub site: SiteId,
    pub site_name: String,
    pub camera: CameraId,
    pub camera_name: String,
    pub class: String,
    pub opened_us: UtcMicros,
    pub received_us: UtcMicros,
}

/// An event that waits for the next mail to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub login_id: String,
    pub event_no: i64,
    pub event: EventId,
    /// It was long past when it arrived.
    pub late: bool,
    /// Not mailed before.
    pub due_us: UtcMicros,
}

#[async_trait]
pub trait SubscriptionBook: Send + Sync {
    async fn subscription(
        &self,
        scope: ContractScope,
        login_id: &str,
    ) -> Result<Option<SubscriptionRow>>;
    /// With a question where the address is not confirmed; then nothing is sent before it is answered. Says whether it was
    /// done: it is not where the last question is too young, or where the address is confirmed no more and there is no question.
    async fn set_subscription(
        &self,
        scope: ContractScope,
        login_id: &str,
        wishes: Wishes,
        question: Option<Question>,
        at: UtcMicros,
    ) -> Result<bool>;
    /// Forgets the address and everything else, except when the last question was.
    async fn drop_subscription(
        &self,
        scope: ContractScope,
        login_id: &str,
        at: UtcMicros,
    ) -> Result<()>;
    /// The owner of the address says yes. With `sure` absent it is only asked whether there is a question.
    async fn confirm_address(&self, token: Sha256, at: UtcMicros, sure: bool) -> Result<bool>;
    /// The link of a mail. With `sure` absent it is only asked whether it is one.
    async fn stop_subscription(&self, token: Sha256, at: UtcMicros, sure: bool) -> Result<bool>;
}

/// What the job that writes the mail needs.
#[async_trait]
pub trait NotifierBook: Send + Sync {
    /// Those who may be written to.
    async fn active_subscriptions(&self) -> Result<Vec<SubscriptionRow>>;
    /// Events that have not been compared with what users want, in order of their coming.
    async fn uncompared_events(&self, limit: u32) -> Result<Vec<NewEvent>>;
    /// They are compared now, up to this one.
    async fn compared(&self, through: i64, queued: Vec<Queued>) -> Result<()>;
    /// What waits for a user, in order of its coming; nothing where nothing of it is due.
    async fn queued_for(&self, login_id: &str, at: UtcMicros) -> Result<Vec<(NewEvent, bool)>>;
    /// A picture of an event that has arrived.
    async fn picture_of_event(
        &self,
        contract: ContractId,
        event: EventId,
    ) -> Result<Option<(DeviceId, Sha256)>>;
    /// Puts the mail into the outbox, and takes what it tells of from what waits, in one commit.
    async fn queue_mailed(
        &self,
        login_id: &str,
        through: i64,
        mail: NewMail,
        at: UtcMicros,
    ) -> Result<()>;
}
