//! The narrow seam to the database: every read and write the receiver makes, by what it is for.
//!
//! SQLite stands behind it now, PostgreSQL comes; so no SQL, no connection and no row type leaves this module.
//! Everything a customer may see takes a [`ContractScope`], which only a signed-in session can make: there is
//! no way to ask for "all events". Payloads come and go in clear; sealing them at rest is the store's work.

mod accounts;
mod acting;
mod admin;
mod alerts;
mod audit;
mod capacity;
mod contracts;
mod counts;
mod device_files;
mod erasure;
mod evidence;
mod keys;
mod labels;
mod mail;
mod missing;
mod notices;
pub mod retention;
mod search;
mod security;
pub mod sqlite;
mod subscriptions;

pub use accounts::{
    AccountBooks, AccountKind, AccountListing, AccountRow, Accounts, Beside, Holder,
    SessionListing, SessionRow, SignIn, SignInOutcome,
};
pub use acting::{Acting, OperatorsStore};
pub use admin::{
    Administration, BlobRow, BlobRows, ClaimRefusal, CommandState, ContractRow, DeviceListing,
    DeviceReport, Enrollments, EpochDeliveries, HeldBlob, MissingBlobs, NewDevice, OperatorDesk,
    OverdueMedia, Place, ReportedCamera, SiteRow,
};

pub use alerts::{
    AlertBook, AlertKind, AlertReads, AlertRow, AlertStep, Matter, Watched, WatchedCamera,
};
pub use audit::{Actor, AuditBook, AuditBreak, AuditChain, AuditFilter, AuditRow, Note};
pub use capacity::{CapacityBook, ContractUsage, Usage};
pub use contracts::{ContractBook, ContractDetail, Retention, Terms};
pub use counts::{CountSeries, Counted};
pub use device_files::{DeviceFile, DeviceFileBook, DeviceFileRow};
pub use erasure::{Ending, ErasureBook, ErasureRow, Hold, NewErasure, Step};
pub use evidence::{
    AuditRows, BatchRow, EventIndex, EvidenceDevice, EvidenceEvent, EvidenceReads, HeadsBook,
    HeadsRow, HeadsStamp, HourRow, MediaIndex, PictureRow, RecordIndex, SentBy,
};
pub use keys::{KeyBook, OpenClaims};
pub use mail::{Letter, MailBook, MailChoice, MailKind, MailRow, NewMail, Outcome};
pub use missing::{Awaited, Hole, Loss, Missing, Spot, Stop, Window};
pub use notices::{NoticeBook, NoticeEnd, NoticeKind, NoticeReads, NoticeRow};

pub use labels::{CameraRow, LabelBook};
pub use search::{Direction, EventCounts, EventCursor, Found, SplitBy, Stock, TagRow, Tagged};
pub use security::{Audited, DeviceFacts, HeadsFacts, SecurityFacts, SecurityReads};
pub use subscriptions::{
    NEXT_QUESTION_US, NewEvent, NotifierBook, Question, Queued, Rhythm, SubscriptionBook,
    SubscriptionRow, Wishes,
};

use crate::ca::Certificate;
use crate::seal::MasterId;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wire::record::{ObjectBox, PathPoint, Reason};
use wire::{
    CameraId, ClockStamp, CommandId, ContractId, DeviceId, Epoch, EventId, MediaClass, Receipt,
    Sha256, SiteId, UtcMicros, VerifyingKey,
};

/// The right to see one contract's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContractScope(ContractId);

impl ContractScope {
    /// For the session extractor, and for nobody else: holding a scope is the proof of being signed in.
    pub(crate) fn of_session(contract: ContractId) -> Self {
        Self(contract)
    }

    pub fn contract(self) -> ContractId {
        self.0
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database: {0}")]
    Database(String),
    /// Room on the disk cures it.
    #[error("the disk of the database is full: {0}")]
    NoSpace(String),
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    #[error("there is no such {0}")]
    Missing(&'static str),
    #[error("{0} exists already")]
    Exists(&'static str),
    /// What was asked does not fit what is there now.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(
        "{0} is the last operator, and nobody could come in any more; add another one first: \"operator add\""
    )]
    LastOperator(String),
    /// The database was written by a newer version of this program.
    #[error(
        "the database {path} has version {found}, newer than {known} which this program knows; \
         install the newer cloud-receiver, or restore the backup made before the update"
    )]
    Newer {
        path: String,
        found: i64,
        known: i64,
    },
    /// Nothing of it could be read.
    #[error(
        "the database {path} is under master key {wanted}, and the key on disk is {found}; if \"key rotate\" runs, wait \
         for its end; else restore the master key from your sealed copy"
    )]
    MasterKey {
        path: String,
        wanted: MasterId,
        found: MasterId,
    },
}

/// Why it does not fit. A kind and no text, because the portal says it in the operator's language; as text it is the command
/// line's wording, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error(
        "the contract is being erased, which cannot be undone; \"erase list\" shows how far it is"
    )]
    BeingErased,
    #[error(
        "{0} hold(s) keep what the contract has; \"hold list\" shows why, \"hold remove\" lifts one"
    )]
    Held(u64),
    #[error("the contract goes on")]
    GoesOn,
    #[error("the key backup cannot be written: {0}")]
    KeyBackup(String),
}

impl StoreError {
    /// The same once more: one failed commit is the answer to many.
    fn again(&self) -> Self {
        match self {
            Self::NoSpace(what) => Self::NoSpace(what.clone()),
            Self::Corrupt(what) => Self::Corrupt(what.clone()),
            Self::Database(what) => Self::Database(what.clone()),
            Self::Conflict(what) => Self::Conflict(what.clone()),
            other => Self::Database(other.to_string()),
        }
    }
}

impl From<crate::keys::KeysError> for StoreError {
    fn from(error: crate::keys::KeysError) -> Self {
        Self::Conflict(Conflict::KeyBackup(error.to_string()))
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// One site with its cameras, as the overview shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteOverview {
    pub site: SiteId,
    pub name: String,
    pub cameras: Vec<CameraOverview>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraOverview {
    pub camera: CameraId,
    pub device: DeviceId,
    pub name: String,
    /// As the device last said: `starting`, `running`, `retrying`, `removed`.
    pub state: String,
    pub reason: Option<String>,
    pub state_since_us: UtcMicros,
    /// When the device was last heard, by the receiver's clock. Silence of the device is silence of the camera.
    pub device_heard_us: Option<UtcMicros>,
    pub latest_picture: Option<PictureRef>,
    /// Why it cannot see now, if its device says so.
    pub blind: Option<Blind>,
    /// Events opened since the given start of the day, by class.
    pub today: Vec<(String, u64)>,
}

/// A camera that runs, and shows nothing of what it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blind {
    /// The event that says so.
    pub event: EventId,
    /// As its newest reason says: `covered`, `turned`, ...; none where the record cannot be read.
    pub rule: Option<String>,
    pub since_us: UtcMicros,
}

/// A picture that can be shown: its blob has arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PictureRef {
    pub sha256: Sha256,
    /// Device time corrected by its measured offset.
    pub captured_at_us: UtcMicros,
    pub width: u32,
    pub height: u32,
    pub boxes: Vec<ObjectBox>,
}

/// Which events. All conditions hold together; an absent one holds always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter {
    pub site: Option<SiteId>,
    pub camera: Option<CameraId>,
    pub class: Option<String>,
    /// Opened at or after.
    pub from_us: Option<UtcMicros>,
    /// Opened before.
    pub to_us: Option<UtcMicros>,
    /// Carried by the event, its camera or its site.
    pub tag: Option<String>,
    /// As pages write it.
    pub least_score_percent: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRow {
    pub id: EventId,
    pub camera: CameraId,
    pub camera_name: String,
    pub site: SiteId,
    pub site_name: String,
    pub class: String,
    pub score: f32,
    /// Device time corrected by its measured offset.
    pub opened_at_us: UtcMicros,
    pub last_seen_at_us: UtcMicros,
    pub closed_at_us: Option<UtcMicros>,
    pub revision: u32,
    /// When its first record was stored, by the receiver's clock.
    pub received_at_us: UtcMicros,
    pub snapshot: Snapshot,
    pub time_known: TimeKnown,
    /// Names of the zones its object has been in.
    pub zones: Vec<String>,
    /// Why it is told, in order of time; times corrected as those above.
    pub reasons: Vec<Reason>,
}

/// The picture of an event, or what is known of its absence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Snapshot {
    /// The one of highest quality that has arrived.
    Here(PictureRef),
    /// A signed record says that there is one; it has not arrived. When that record did, by the receiver's clock.
    Announced { received_at_us: UtcMicros },
    /// It was here, and was deleted when its agreed time was over.
    Expired,
    /// The device says that it lost pictures of the camera meanwhile, and why (a gap record).
    Lost { reason: String },
    /// Nothing was said of one.
    Unheard,
}

/// What the times of an event rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeKnown {
    /// The device's clock was right.
    Synced,
    /// It was not, and was put right later.
    Corrected,
    /// It was not, and could not be: the times are estimated from when the records arrived.
    ByArrival,
    /// It was not known to be right. The times are as the device said.
    AsSaid,
}

impl Snapshot {
    pub fn picture(&self) -> Option<&PictureRef> {
        match self {
            Snapshot::Here(picture) => Some(picture),
            _ => None,
        }
    }
}

/// All that the event page shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventDetail {
    pub row: EventRow,
    pub device: DeviceId,
    pub path: Vec<PathPoint>,
    /// Of a camera that no longer sees.
    pub moments: Option<Moments>,
    pub clock: ClockStamp,
    pub proof: Proof,
    /// Its own, its camera's and its site's.
    pub tags: Vec<String>,
    /// Neighbours in time within the contract.
    pub older: Option<EventId>,
    pub newer: Option<EventId>,
}

/// What a camera saw before it happened, and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moments {
    pub before: Snapshot,
    pub after: Snapshot,
}

/// What was checked to call an event genuine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// Every batch that states this event or its snapshot is signed by the device's pinned record key.
    pub signature_ok: bool,
    /// State of the link of the newest of these batches to its predecessor.
    pub link: LinkState,
    pub epoch: Epoch,
    pub first_seq: u64,
    pub batch_sha256: Sha256,
    pub record_key: VerifyingKey,
    /// Each stored picture was hashed when it arrived and equals what the signed record names.
    pub picture_ok: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// The batch before has not arrived yet.
    Pending,
    Ok,
    Broken,
}

/// A blob's clear facts, by which it may be served.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaRow {
    pub sha256: Sha256,
    pub device: DeviceId,
    pub class: MediaClass,
    pub content_type: String,
    pub bytes: u64,
    pub captured_at_us: UtcMicros,
}

/// A device as its certificate names it, with what the receiver has on file.
#[derive(Clone, Debug)]
pub struct DeviceRow {
    pub device: DeviceId,
    pub contract: ContractId,
    pub site: SiteId,
    pub record_key: VerifyingKey,
    pub revoked_us: Option<UtcMicros>,
    /// The newest certificate that it has shown.
    pub certificate: Certificate,
    pub heard_us: Option<UtcMicros>,
    pub heartbeat: Option<wire::heartbeat::Heartbeat>,
}

/// What the portal asks, always within a contract.
#[async_trait]
pub trait CustomerReads: Send + Sync {
    /// `day_start_us`: since when "today" counts, in the contract's time zone.
    async fn overview(
        &self,
        scope: ContractScope,
        day_start_us: UtcMicros,
    ) -> Result<Vec<SiteOverview>>;
    /// At most `limit` events older than `before`, newest first.
    async fn events(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        before: Option<EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>>;
    /// At most `limit` events beyond `from`, in the direction of the search; and how far it came, if it gave up.
    async fn find(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        from: Option<EventCursor>,
        direction: Direction,
        limit: u32,
    ) -> Result<Found>;
    async fn event(&self, scope: ContractScope, id: EventId) -> Result<Option<EventDetail>>;
    /// Only a blob that has arrived and that a signed record of this contract names.
    async fn media(&self, scope: ContractScope, sha256: Sha256) -> Result<Option<MediaRow>>;
    /// What is missing from a window of time, for the filter's site and camera. Its other conditions do not count.
    async fn missing(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        window: Window,
    ) -> Result<Missing>;
    /// How many events of the filter opened in each of the `steps` equal parts of the window, whatever their score.
    async fn density(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        window: Window,
        steps: u32,
    ) -> Result<Vec<u64>>;
    /// What was counted in each of the `steps` equal parts of the window, for the filter's site, camera and class.
    async fn counts(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        window: Window,
        steps: u32,
    ) -> Result<Vec<CountSeries>>;
    /// How many events of the filter's site, camera, class and tagged places opened between each two of the edges, which
    /// are in order and begin quarters of an hour. Read from what is counted by hour: single events' tags do not count.
    async fn event_counts(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        edges: Vec<UtcMicros>,
        split: SplitBy,
    ) -> Result<Vec<EventCounts>>;
    /// Pictures of the filter's site and camera, by when they were captured: between each two of the edges.
    async fn stock(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        edges: Vec<UtcMicros>,
    ) -> Result<Vec<Stock>>;
    /// Tags of the contract, for the filter.
    async fn tags(&self, scope: ContractScope) -> Result<Vec<String>>;
    /// Classes seen so far, for the filter.
    async fn classes(&self, scope: ContractScope) -> Result<Vec<String>>;
}

/// What devices need.
#[async_trait]
pub trait DeviceWrites: Send + Sync {
    async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>>;
    async fn heard(
        &self,
        device: DeviceId,
        heartbeat: Option<&wire::heartbeat::Heartbeat>,
        at: UtcMicros,
    ) -> Result<()>;
    /// Notes a certificate that a device has shown, unless it was issued before the one that is known.
    async fn certificate_shown(&self, device: DeviceId, certificate: Certificate) -> Result<()>;
    /// Stores verified batches in one commit, and answers a receipt for each epoch they touch. Doing it twice
    /// changes nothing.
    async fn accept(
        &self,
        batches: Vec<crate::ingest::accept::Accepted>,
        at: UtcMicros,
    ) -> Result<Vec<(DeviceId, Receipt)>>;
    /// Commands due for a device that it has not answered yet.
    async fn pending_commands(
        &self,
        device: DeviceId,
        at: UtcMicros,
    ) -> Result<Vec<wire::command::Command>>;
    async fn command_sent(&self, command: CommandId, at: UtcMicros) -> Result<()>;
    /// Notes a batch that was refused before it came to a commit, and answers a receipt that says so. What the
    /// receipt refuses counts as answered in this receipt only.
    async fn refuse(
        &self,
        device: DeviceId,
        refused: &crate::ingest::accept::Refused,
        at: UtcMicros,
    ) -> Result<Option<Receipt>>;
    /// Counts up when open connections should look again for commands and revocations, whichever process wrote
    /// them.
    fn changes(&self) -> tokio::sync::watch::Receiver<i64>;
}
