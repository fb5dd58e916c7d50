//! What an operator does, however it was asked for: the commands (`cmd/`) and the operators' area of the portal call the
//! same functions, so that a rule holds for both or for neither.
//!
//! What was asked for and is not done is a [`Refusal`]: a kind, because the portal says it in the operator's language. As
//! text it is the command line's wording, with the option that mends it.

pub mod authority;
pub mod backups;
pub mod capacity;
pub mod ending;
pub mod heads;
pub mod labels;
pub mod letters;
pub mod notices;
pub mod operators;
pub mod secrets;
pub mod terms;

use crate::blob::Blobs;
use crate::ca::Ca;
use crate::config::Config;
use crate::erasure::Erasing;
use crate::evidence::local;
use crate::notice::{DAY_US, Faulty, NOTICE_DAYS};
use crate::store::sqlite::SqliteStore;
use crate::store::{Actor, Conflict, StoreError};
use jiff::civil::Date;
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;
use wire::{SigningKey, UtcMicros};

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("\"{0}\" is no time zone; an example is Asia/Tokyo")]
    Zone(String),
    #[error("--contact: \"{0}\" is no mail address")]
    Address(String),
    #[error("a language is ja or en")]
    Language,
    #[error("{0}: out of range; \"contract set --help\" tells the bounds")]
    OutOfRange(&'static str),
    #[error("the contract runs until {0} already")]
    RunsAlready(Date),
    #[error(
        "{0} hold(s) keep what \"{1}\" has; \"hold list\" shows why, \"hold remove\" lifts one"
    )]
    Held(u64, String),
    #[error(
        "contract \"{0}\" is not to be erased: {1}; to do so at the customer's request, say --now and --why"
    )]
    NotDue(String, String),
    #[error("{0}: say it in words")]
    Wordless(&'static str),
    #[error("--from must be before --to")]
    HoldEndsBeforeItBegins,
    #[error("--to: it ends before it begins")]
    EndsBeforeItBegins,
    #[error("--from: {} is past; an incident is told by \"notice incident\"", local::minute(*.0))]
    Past(UtcMicros),
    #[error(
        "--from: {} is {} days ahead, and customers are promised {NOTICE_DAYS}; choose {} or later, or say \
         --urgent --why \"REASON\", which they read",
        local::minute(*.from), .from.since_us(*.at) / DAY_US, local::minute(earliest(*.at))
    )]
    TooSoon { from: UtcMicros, at: UtcMicros },
    #[error("--since: {} is in the future; what is planned is told by \"notice maintenance\"", local::minute(*.0))]
    Future(UtcMicros),
    #[error("--at: the incident cannot have ended before it began, nor in the future")]
    EndedWhen,
    #[error("there is no contract that it could concern; \"contract list\" shows them")]
    NobodyConcerned,
    #[error("this notice is over already; \"notice show {0}\" says since when")]
    NoticeOver(Uuid),
    #[error("a login ID has 1 to 64 letters, digits, dots, dashes, underscores or @")]
    LoginId,
    #[error("the tag is empty")]
    TagEmpty,
    #[error("a tag has at most {} signs, and no line breaks", labels::LONGEST_TAG)]
    TagLong,
    #[error("there is no event {0}; its id is in the address of its page")]
    NoSuchEvent(String),
    #[error("{0}: the name is empty, or has line breaks")]
    Nameless(&'static str),
    #[error("another backup is being made or checked; wait for its end")]
    BackupBusy,
    #[error("no backup was ever made; \"backup --out DIR\" makes the first, and says where")]
    NoBackupYet,
    /// A text of the operator's own, as it was written or as it is on the disk.
    #[error(transparent)]
    Letter(#[from] Faulty),
    #[error("{0}")]
    Unwritable(String),
    /// What is there now stands against it.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error("{0} exists already")]
    Exists(&'static str),
    #[error("{}", StoreError::LastOperator(.0.clone()))]
    LastOperator(String),
}

/// The first moment that maintenance may begin at without being urgent, told now.
pub fn earliest(at: UtcMicros) -> UtcMicros {
    at.plus_us(NOTICE_DAYS * DAY_US + 60_000_000)
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(StoreError),
    /// With what led to it.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(conflict) => Refusal::Conflict(conflict).into(),
            StoreError::Exists(what) => Refusal::Exists(what).into(),
            StoreError::LastOperator(login_id) => Refusal::LastOperator(login_id).into(),
            other => Self::Store(other),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// What the operators' area works with: the running receiver's own parts.
#[derive(Clone, Debug)]
pub struct Office {
    /// Everything done through it is noted in its actor's name.
    pub store: SqliteStore,
    pub config: Arc<Config>,
    pub blobs: Arc<Blobs>,
    pub key: Arc<SigningKey>,
    /// The one that this program serves with.
    pub ca: Option<Arc<Ca>>,
    /// How full it was when somebody last looked.
    kept: Arc<capacity::Kept>,
    /// One backup at a time, made or checked.
    backup_turn: Arc<Semaphore>,
}

impl Office {
    pub fn new(
        store: SqliteStore,
        config: Config,
        blobs: Arc<Blobs>,
        key: Arc<SigningKey>,
    ) -> Self {
        Self {
            store,
            config: Arc::new(config),
            blobs,
            key,
            ca: None,
            kept: Arc::default(),
            backup_turn: Arc::new(Semaphore::new(1)),
        }
    }

    #[must_use]
    pub fn with_ca(self, ca: Arc<Ca>) -> Self {
        Self {
            ca: Some(ca),
            ..self
        }
    }

    /// The same, for somebody.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self {
            store: self.store.by(actor),
            ..self.clone()
        }
    }

    pub fn erasing(&self) -> Erasing {
        let (blobs, key) = (Arc::clone(&self.blobs), Arc::clone(&self.key));
        Erasing::new(&self.config, self.store.clone(), blobs, key)
    }
}

/// Words that somebody will read.
pub fn worded(option: &'static str, text: &str) -> std::result::Result<String, Refusal> {
    match text.trim() {
        "" => Err(Refusal::Wordless(option)),
        text => Ok(text.to_owned()),
    }
}
