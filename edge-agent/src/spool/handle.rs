//! What the rest of the agent may ask of the spool: put, lease, settle, look.

use crate::error::ErrorKind;
use crate::sink::{Keeping, Refusal, Sink, SinkError};
use crate::spool::blob::{BlobDir, StoredFile};
use crate::spool::error::SpoolError;
use crate::spool::inbox::{Inbox, Refused};
use crate::spool::open_events::Told;
use crate::spool::outbox::{Author, entry_line};
use crate::spool::quota::Rank;
use crate::spool::reads::BalanceLine;
use crate::spool::shared::{Shared, SpoolStats};
use crate::spool::tally::{Line, Losses, Reason, Span};
use crate::spool::turn::{BlobEnd, Done, Entry, NewBlob, Request};
use crate::spool::wipe::Wiped;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use wire::batch::MAX_RECORD_BYTES;
use wire::record::{FileRef, MediaRecord};
use wire::{Body, Epoch, MediaClass, Receipt, Record, RecordTime, Seq, Sha256, UtcMicros};

/// How long `put` waits for room before it gives a record up; longer means that the disk does not write. The
/// loss becomes a gap record once it does.
const PUT_PATIENCE: Duration = Duration::from_secs(30);

/// How long a blob waits for others to give way on a full disk.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// The spool, for everyone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpoolHandle {
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) author: Arc<Author>,
    pub(super) blobs: BlobDir,
    pub(super) epoch: Epoch,
    pub(super) interrupted: Arc<[Record]>,
}

/// A batch taken for sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedBatch {
    /// Its row; names it to `park_batch` and `release_batches`.
    pub id: i64,
    pub epoch: Epoch,
    pub first_seq: Seq,
    pub last_seq: Seq,
    /// Canonical bytes and signature, to be sent as they are.
    pub signed: Bytes,
}

/// Waits for leased batches. Whoever stops waiting in the very moment of the answer leaves nothing leased behind.
struct Leasing<'a> {
    spool: &'a SpoolHandle,
    leased: oneshot::Receiver<Result<Vec<LeasedBatch>, SpoolError>>,
}

impl Drop for Leasing<'_> {
    fn drop(&mut self) {
        self.leased.close();
        if let Ok(Ok(batches)) = self.leased.try_recv() {
            let ids = batches.iter().map(|batch| batch.id).collect();
            self.spool.release_batches(ids);
        }
    }
}

/// A blob taken for sending; its bytes are opened by `blob_bytes` when they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedBlob {
    pub id: i64,
    pub sha256: Sha256,
    pub class: MediaClass,
    /// Of the plain bytes.
    pub bytes: u64,
    pub content_type: String,
    pub(super) file: String,
}

/// Which end of the outbox to take from: today's alarm does not wait behind last month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Committed since the session began.
    Live,
    /// What waited when the session began.
    Backlog,
}

impl Lane {
    /// Rows of this lane as `after < id <= up_to`.
    pub(super) fn range(self, newest_backlog: i64) -> (i64, i64) {
        match self {
            Lane::Live => (newest_backlog, i64::MAX),
            Lane::Backlog => (0, newest_backlog),
        }
    }

    pub fn other(self) -> Self {
        match self {
            Lane::Live => Lane::Backlog,
            Lane::Backlog => Lane::Live,
        }
    }
}

impl Sink for SpoolHandle {
    fn put(&self, record: Record) -> Result<(), SinkError> {
        if self.turns_away(&record) {
            return Ok(());
        }
        self.enqueue(self.entry(&record)?)
    }

    fn try_put(&self, record: Record) -> Result<(), Refusal> {
        if self.turns_away(&record) {
            return Ok(());
        }
        let entry = self.entry(&record).map_err(Refusal::Lost)?;
        match self.inbox.put(entry, Duration::ZERO) {
            Ok(()) => Ok(()),
            Err(Refused::Full(_)) => Err(Refusal::NoRoom(Box::new(record))),
            Err(Refused::Stopped) => Err(Refusal::Lost(SpoolError::Stopped.into())),
        }
    }

    fn wait_for_room(&self, at_most: Duration) -> bool {
        self.inbox.wait_for_room(at_most)
    }

    fn put_media(
        &self,
        time: RecordTime,
        media: MediaRecord,
        bytes: Vec<u8>,
    ) -> Result<(), SinkError> {
        self.begin_media(time, media, bytes)?.wait_for_ever()
    }

    fn begin_media(
        &self,
        time: RecordTime,
        media: MediaRecord,
        bytes: Vec<u8>,
    ) -> Result<Keeping, SinkError> {
        let record = Record::new(time, Body::Media(media.clone()));
        if self.turns_away(&record) {
            return Ok(Keeping::done());
        }
        let line = Line::of_blob(Some(media.camera), media.class, record.time.captured_at_us);
        // A record too large for its batch takes its blob along.
        let mut entry = self.entry(&record).inspect_err(|_| {
            self.lost(Reason::Oversized, line.clone(), record.time.captured_at_us);
        })?;
        let file = self
            .store_blob(media.sha256, media.class, &bytes)
            .map_err(|error| {
                let reason = if error.is_full() {
                    Reason::DiskFull
                } else {
                    Reason::Outage
                };
                self.lost(reason, line.clone(), entry.at);
                SinkError::from(error)
            })?;
        entry.blob = Some(NewBlob {
            sha256: media.sha256,
            class: media.class,
            camera: Some(media.camera),
            bytes: bytes.len() as u64,
            content_type: media.content_type,
            file,
        });
        let (sender, committed) = std::sync::mpsc::sync_channel(1);
        entry.done = Some(Done::Thread(sender));
        self.enqueue(entry)?;
        Ok(Keeping::until(committed))
    }
}

impl SpoolHandle {
    /// Like `put`, but returns after the commit. For what must not be lost by a crash a moment later, such as
    /// the answer to a command.
    pub async fn put_durable(&self, record: Record) -> Result<(), SinkError> {
        if self.turns_away(&record) {
            return Ok(());
        }
        let mut entry = self.entry(&record)?;
        let (sender, committed) = oneshot::channel();
        entry.done = Some(Done::Task(sender));
        let handle = self.clone();
        // Waiting for room blocks, so it does not happen on a runtime thread.
        tokio::task::spawn_blocking(move || handle.enqueue(entry))
            .await
            .map_err(|_| SinkError::from(SpoolError::Stopped))??;
        committed.await.map_err(|_| SpoolError::Stopped.into())
    }

    /// Keeps the answer to a command together with the file that it names, both or neither; returns after the commit.
    pub async fn put_answer_with_file(
        &self,
        record: Record,
        file: FileRef,
        bytes: Vec<u8>,
    ) -> Result<(), SinkError> {
        let mut entry = self.entry(&record)?;
        let (sender, committed) = oneshot::channel();
        entry.done = Some(Done::Task(sender));
        let handle = self.clone();
        // Writing a file and waiting for room block, so they do not happen on a runtime thread.
        let queued = tokio::task::spawn_blocking(move || {
            // Nothing is lost where it fails: whoever asked is told, and may ask again.
            let stored = handle.store_blob(file.sha256, MediaClass::Diagnostic, &bytes)?;
            entry.blob = Some(NewBlob {
                sha256: file.sha256,
                class: MediaClass::Diagnostic,
                camera: None,
                bytes: bytes.len() as u64,
                content_type: file.content_type,
                file: stored,
            });
            handle.enqueue(entry)
        });
        queued
            .await
            .map_err(|_| SinkError::from(SpoolError::Stopped))??;
        committed.await.map_err(|_| SpoolError::Stopped.into())
    }

    /// Whether nothing is kept any more but answers to the receiver.
    pub fn has_contract_ended(&self) -> bool {
        self.shared.contract_ended.load(Ordering::Relaxed)
    }

    /// From now on nothing is kept but answers to the receiver, or everything again.
    pub fn set_contract_ended(&self, ended: bool) {
        self.shared.contract_ended.store(ended, Ordering::Relaxed);
    }

    /// What an ended contract's cameras still see is nobody's any more.
    fn turns_away(&self, record: &Record) -> bool {
        self.has_contract_ended() && !matches!(record.body, Body::Audit(_))
    }

    /// Destroys everything that waits for delivery; answers after the commit.
    pub async fn wipe(&self) -> Result<Wiped, SpoolError> {
        let (sender, answer) = oneshot::channel();
        self.inbox.request(Request::Wipe(sender))?;
        answer.await.map_err(|_| SpoolError::Stopped)
    }

    /// This start's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest record of each event that was open when the agent was last cut off. Whoever records their end does it
    /// once: what was recorded is not told at the next start.
    pub fn interrupted_events(&self) -> &[Record] {
        &self.interrupted
    }

    pub fn stats(&self) -> SpoolStats {
        self.shared.stats()
    }

    /// Every record put so far is committed and settled.
    pub fn is_drained(&self) -> bool {
        // In this order: what leaves the inbox stands in the figures before the thread comes for more.
        self.inbox.is_idle() && self.stats().pending_records == 0
    }

    /// The counters of every camera, class and hour that the books still tell one by one.
    pub async fn balance(&self) -> Result<Vec<BalanceLine>, SpoolError> {
        let (sender, answer) = oneshot::channel();
        self.inbox.request(Request::Balance(sender))?;
        answer.await.map_err(|_| SpoolError::Stopped)?
    }

    /// Items that gave way since the spool was made.
    pub async fn shed_in_all(&self) -> Result<u64, SpoolError> {
        let (sender, answer) = oneshot::channel();
        self.inbox.request(Request::ShedInAll(sender))?;
        answer.await.map_err(|_| SpoolError::Stopped)?
    }

    /// Stops the thread in its work until the other end is dropped, as a disk call does that does not return.
    #[cfg(test)]
    pub fn stall(&self) -> std::sync::mpsc::Sender<()> {
        let (until, stalled) = std::sync::mpsc::channel();
        self.tell(Request::Stall(stalled));
        until
    }

    /// Everything leased is ready again; what waits now is backlog, what comes later is live.
    pub fn begin_session(&self) {
        self.tell(Request::BeginSession);
    }

    /// Takes up to `limit` batches, oldest of the lane first. They come back by `release_batches`, by
    /// `begin_session`, or a minute later.
    pub async fn lease_batches(
        &self,
        limit: usize,
        lane: Lane,
    ) -> Result<Vec<LeasedBatch>, SpoolError> {
        let (answer, leased) = oneshot::channel();
        self.inbox.request(Request::LeaseBatches {
            limit,
            lane,
            answer,
        })?;
        let mut leasing = Leasing {
            spool: self,
            leased,
        };
        (&mut leasing.leased)
            .await
            .map_err(|_| SpoolError::Stopped)?
    }

    pub fn release_batches(&self, ids: Vec<i64>) {
        self.tell(Request::ReleaseBatches(ids));
    }

    /// Forgets what the receipt answers, at the next commit. Should that never come, the batch is sent again.
    pub fn settle(&self, receipt: Receipt) {
        self.tell(Request::Settle(receipt));
    }

    /// Sets a whole batch aside that the receiver refuses for good, and reports it.
    pub fn park_batch(&self, id: i64, code: impl Into<String>) {
        let code = code.into();
        self.tell(Request::ParkBatch { id, code });
    }

    /// Takes one blob, the dearest class first and of that the oldest.
    pub async fn lease_blob(&self, lane: Lane) -> Result<Option<LeasedBlob>, SpoolError> {
        let (answer, leased) = oneshot::channel();
        self.inbox.request(Request::LeaseBlob { lane, answer })?;
        leased.await.map_err(|_| SpoolError::Stopped)?
    }

    /// Opens a blob. One that cannot be opened is set aside, reported, and an error; so is one that another lease settled
    /// meanwhile, of which nothing is left to report.
    pub async fn blob_bytes(&self, blob: &LeasedBlob) -> Result<Bytes, SpoolError> {
        let (handle, file, sha256) = (self.clone(), blob.file.clone(), blob.sha256);
        let read = tokio::task::spawn_blocking(move || {
            handle.blobs.read(&handle.author.vault, &file, sha256)
        });
        let bytes = read.await.map_err(|_| SpoolError::Stopped)?;
        if matches!(
            bytes,
            Err(SpoolError::Unreadable { .. } | SpoolError::Gone { .. })
        ) {
            self.tell(Request::EndBlob(sha256, BlobEnd::Unreadable));
        }
        bytes.map(Bytes::from)
    }

    pub fn release_blob(&self, blob: &LeasedBlob) {
        self.tell(Request::ReleaseBlob(blob.id));
    }

    /// Forgets a blob that the receiver answered with a 2xx.
    pub fn settle_blob(&self, sha256: Sha256) {
        self.tell(Request::EndBlob(sha256, BlobEnd::Settled));
    }

    /// Sets a blob aside that the receiver refuses for good, and reports it.
    pub fn park_blob(&self, sha256: Sha256, code: impl Into<String>) {
        let code = code.into();
        self.tell(Request::EndBlob(sha256, BlobEnd::Refused { code }));
    }

    /// Returns when batches may be ready: after a commit, or when leases ended. May return for nothing.
    pub async fn batches_ready(&self) {
        self.shared.batches_ready.notified().await;
    }

    /// Like `batches_ready`, for blobs; wakes one waiter.
    pub async fn blobs_ready(&self) {
        self.shared.blobs_ready.notified().await;
    }

    /// Returns, with the reason, if the spool thread ends before it was asked to: the process must then end too,
    /// because nothing is kept any more.
    pub async fn died(&self) -> String {
        let mut died = self.shared.died.subscribe();
        match died.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the spool is gone".to_owned(),
        }
    }

    /// Writes what is queued and ends the thread. Later puts are refused.
    pub async fn close(&self) {
        self.inbox.close();
        let mut ended = self.shared.ended.subscribe();
        // An error means that the thread is gone, which is what is wanted.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Writes the file of a blob. On a full disk what is worth no more gives way first.
    fn store_blob(
        &self,
        sha256: Sha256,
        class: MediaClass,
        bytes: &[u8],
    ) -> Result<StoredFile, SpoolError> {
        let write = || self.blobs.write(&self.author.vault, sha256, bytes);
        match write() {
            Err(error) if error.is_full() => {
                let (done, made) = std::sync::mpsc::sync_channel(1);
                self.inbox.request(Request::MakeRoom {
                    bytes: bytes.len() as u64,
                    rank: Rank::of_media(class),
                    done,
                })?;
                // Without an answer the disk does not write anything at all.
                made.recv_timeout(ROOM_PATIENCE).map_err(|_| error)?;
                write()
            }
            written => written,
        }
    }

    fn entry(&self, record: &Record) -> Result<Entry, SinkError> {
        let entry = Entry {
            json: record.to_json(),
            line: entry_line(record),
            at: record.time.captured_at_us,
            blob: None,
            told: Told::by(record),
            is_audit: matches!(record.body, Body::Audit(_)),
            done: None,
        };
        let bytes = entry.json.len();
        if bytes > MAX_RECORD_BYTES {
            self.lost(Reason::Oversized, entry.line.clone(), entry.at);
            return Err(SinkError {
                kind: ErrorKind::Permanent,
                message: format!(
                    "a record of {bytes} bytes is larger than the {MAX_RECORD_BYTES} allowed; its loss is recorded"
                ),
            });
        }
        Ok(entry)
    }

    fn enqueue(&self, entry: Entry) -> Result<(), SinkError> {
        match self.inbox.put(entry, PUT_PATIENCE) {
            Ok(()) => Ok(()),
            Err(Refused::Stopped) => Err(SpoolError::Stopped.into()),
            Err(Refused::Full(entry)) => {
                self.lost(Reason::Outage, entry.line.clone(), entry.at);
                if let Some(blob) = &entry.blob {
                    self.blobs.remove(&blob.file.name);
                    let line = Line::of_blob(blob.camera, blob.class, entry.at);
                    self.lost(Reason::Outage, line, entry.at);
                }
                Err(SinkError {
                    kind: ErrorKind::Transient,
                    message: format!(
                        "the disk did not take a record within {} s; its loss is recorded",
                        PUT_PATIENCE.as_secs()
                    ),
                })
            }
        }
    }

    fn lost(&self, reason: Reason, line: Line, at: UtcMicros) {
        let mut losses = Losses::default();
        losses.add(reason, line, Span::one(at));
        self.inbox.lost(losses);
    }

    /// Asks for something whose loss is harmless: the receiver or the uplink repeats it.
    fn tell(&self, request: Request) {
        if let Err(error) = self.inbox.request(request) {
            tracing::debug!(%error, "a word to the spool was dropped: {error}");
        }
    }
}
