//! Where facts go: the spool, or a test's list. The seam between what decides and what keeps.

mod losses;
mod waiting;

pub use losses::Losses;
pub use waiting::WaitingRoom;

use crate::error::{ErrorKind, Kind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use wire::record::MediaRecord;
use wire::{Record, RecordTime};

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the spool did not take it: {message}")]
pub struct SinkError {
    pub kind: ErrorKind,
    pub message: String,
}

impl SinkError {
    fn stopped() -> Self {
        Self {
            kind: ErrorKind::Transient,
            message: "it has stopped".into(),
        }
    }
}

impl Kind for SinkError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// Why a record was not taken at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// There is no room now; here it is back.
    NoRoom(Box<Record>),
    /// It will never be taken.
    Lost(SinkError),
}

pub trait Sink: Send + Sync {
    /// Queues a record for the next commit. Waits while 256 are queued.
    fn put(&self, record: Record) -> Result<(), SinkError>;

    /// The same without waiting.
    fn try_put(&self, record: Record) -> Result<(), Refusal> {
        self.put(record).map_err(Refusal::Lost)
    }

    /// Keeps a blob and the record that names it, blob first. Both are durable when it returns.
    fn put_media(
        &self,
        time: RecordTime,
        media: MediaRecord,
        bytes: Vec<u8>,
    ) -> Result<(), SinkError>;

    /// The same, for one who has to show signs of life meanwhile: the blob is durable when it returns, the record when
    /// the answer says so.
    fn begin_media(
        &self,
        time: RecordTime,
        media: MediaRecord,
        bytes: Vec<u8>,
    ) -> Result<Keeping, SinkError> {
        self.put_media(time, media, bytes).map(|()| Keeping(None))
    }

    /// Waits until a record would be taken without waiting; `false` if it would not be by then.
    fn wait_for_room(&self, _at_most: Duration) -> bool {
        true
    }
}

/// A record on its way to the disk.
#[derive(Debug)]
pub struct Keeping(Option<Receiver<()>>);

impl Keeping {
    /// `committed` hears of the commit, or is closed without a word.
    pub fn until(committed: Receiver<()>) -> Self {
        Self(Some(committed))
    }

    /// Nothing is to be waited for.
    pub fn done() -> Self {
        Self(None)
    }

    /// `None` if it is not decided by then: ask again.
    pub fn wait(&self, at_most: Duration) -> Option<Result<(), SinkError>> {
        let Some(committed) = &self.0 else {
            return Some(Ok(()));
        };
        match committed.recv_timeout(at_most) {
            Ok(()) => Some(Ok(())),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(SinkError::stopped())),
        }
    }

    /// However long it takes.
    pub fn wait_for_ever(self) -> Result<(), SinkError> {
        self.0.map_or(Ok(()), |committed| {
            committed.recv().map_err(|_| SinkError::stopped())
        })
    }
}
