//! Where facts go: the spool, or a test's list. The seam between what decides and what keeps.

use crate::error::{ErrorKind, Kind};
use wire::record::MediaRecord;
use wire::{Record, RecordTime};

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the spool did not take it: {message}")]
pub struct SinkError {
    pub kind: ErrorKind,
    pub message: String,
}

impl Kind for SinkError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

pub trait Sink: Send + Sync {
    /// Queues a record for the next commit. Waits while 256 are queued: slots upstream absorb it.
    fn put(&self, record: Record) -> Result<(), SinkError>;

    /// Keeps a blob and the record that names it, blob first. Both are durable when it returns.
    fn put_media(
        &self,
        time: RecordTime,
        media: MediaRecord,
        bytes: Vec<u8>,
    ) -> Result<(), SinkError>;
}
