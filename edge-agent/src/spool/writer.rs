//! The spool thread: the only one that writes. One turn takes whatever waits, makes it one transaction, and only
//! after the commit answers anyone, deletes any file or wakes the uplink.
//!
//! A failed commit is never retried on the same connection: an fsync error leaves it unknown what is on disk.
//! The connection is closed, opened and checked again; the turn counter in the database says whether the commit
//! landed; if not, the same turn, still in memory, is applied again. While that goes on `put` waits.

use crate::clock::TimeSource;
use crate::health::Reporter;
use crate::spool::answers::UNREADABLE;
use crate::spool::blob::BlobDir;
use crate::spool::database::{self, Layout};
use crate::spool::error::SpoolError;
use crate::spool::inbox::{Inbox, Work};
use crate::spool::outbox::{Application, Applied, Author, Chain, Usage};
use crate::spool::quota::{self, Excess, Limits};
use crate::spool::reads;
use crate::spool::seal::Item;
use crate::spool::shared::Shared;
use crate::spool::tally::{Line, Losses, Reason, Span};
use crate::spool::turn::{Request, Turn};
use crate::spool::{Lane, LeasedBatch, LeasedBlob};
use bytes::Bytes;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wire::UtcMicros;

/// How often the thread says that it lives when there is nothing to do.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// Between two attempts to get a failing disk to take a commit.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long a stopping agent goes on trying.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// A lease without a receipt ends after this; the batch is sent again.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// Blobs take longer on a thin line.
const BLOB_LEASE: Duration = Duration::from_secs(600);

/// Leases live in memory only: a restart forgets them, which is what is wanted.
#[derive(Debug, Default)]
struct Leases {
    /// By row, with the boot time at which the lease ends.
    batches: HashMap<i64, Duration>,
    blobs: HashMap<i64, Duration>,
    /// Rows up to these waited when the session began: backlog. Later ones are live.
    backlog_batch: i64,
    backlog_blob: i64,
}

impl Leases {
    fn expire(&mut self, now: Duration) {
        self.batches.retain(|_, ends| *ends > now);
        self.blobs.retain(|_, ends| *ends > now);
    }
}

pub(super) struct Writer {
    pub(super) layout: Layout,
    pub(super) connection: Option<Connection>,
    pub(super) author: Arc<Author>,
    pub(super) blobs: BlobDir,
    pub(super) limits: Limits,
    pub(super) time: TimeSource,
    pub(super) reporter: Reporter,
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) chain: Chain,
    pub(super) usage: Usage,
    leases: Leases,
    more_to_shed: bool,
}

/// The thread cannot go on; the process has to end and start again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fatal(String);

impl Writer {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        layout: Layout,
        connection: Connection,
        author: Arc<Author>,
        blobs: BlobDir,
        limits: Limits,
        time: TimeSource,
        reporter: Reporter,
        inbox: Arc<Inbox>,
        shared: Arc<Shared>,
        chain: Chain,
        usage: Usage,
    ) -> Self {
        Self {
            layout,
            connection: Some(connection),
            author,
            blobs,
            limits,
            time,
            reporter,
            inbox,
            shared,
            chain,
            usage,
            leases: Leases::default(),
            more_to_shed: false,
        }
    }

    /// Works until the inbox is closed and empty.
    pub(super) fn run(mut self, first_losses: Losses) -> Result<(), Fatal> {
        self.begin_session()?;
        self.turn(Turn {
            losses: first_losses,
            ..Turn::default()
        })?;
        loop {
            let patience = if self.more_to_shed {
                Duration::ZERO
            } else {
                IDLE_TICK
            };
            let work = self.inbox.take(patience);
            let last = work.last;
            self.work(work)?;
            if last {
                self.reporter.stopped(self.time.now().captured_at_us);
                return Ok(());
            }
        }
    }

    fn work(&mut self, work: Work) -> Result<(), Fatal> {
        let mut turn = Turn {
            entries: work.entries,
            losses: work.losses,
            shed_on: self.more_to_shed,
            ..Turn::default()
        };
        let mut reads = Vec::new();
        for request in work.requests {
            match request {
                Request::Settle(receipt) => turn.add_receipt(receipt),
                Request::ParkBatch { id, code } => turn.refused_batches.push((id, code)),
                Request::EndBlob(sha256, end) => turn.ended_blobs.push((sha256, end)),
                // Before the turn: what is committed from here on is live.
                Request::BeginSession => self.begin_session()?,
                read => reads.push(read),
            }
        }
        self.turn(turn)?;
        // Also without work: the sign of life that the watchdog looks for.
        self.publish();
        if !reads.is_empty() {
            for read in reads {
                self.answer(read)?;
            }
            self.publish();
        }
        Ok(())
    }

    /// Commits a turn and does what follows from it.
    fn turn(&mut self, mut turn: Turn) -> Result<(), Fatal> {
        if turn.is_empty() {
            return Ok(());
        }
        let applied = self.commit(&turn)?;
        self.chain = applied.chain;
        self.usage = applied.usage;
        self.more_to_shed = applied.more_to_shed;
        for id in applied.gone_batches {
            self.leases.batches.remove(&id);
        }
        for id in applied.gone_blobs {
            self.leases.blobs.remove(&id);
        }
        for file in &applied.files_to_delete {
            self.blobs.remove(file);
        }
        for file in &applied.files_to_quarantine {
            self.blobs.quarantine(file, &self.layout.quarantine());
        }
        if applied.shed > 0 {
            tracing::warn!(
                shed = applied.shed,
                spool.bytes = self.usage.bytes(),
                "the spool is full: {} items shed, each named in a gap record",
                applied.shed
            );
        }
        // Whoever hears of the commit finds it in the figures.
        self.publish();
        for entry in &mut turn.entries {
            if let Some(done) = entry.done.take() {
                done.tell();
            }
        }
        if applied.new_batches > 0 {
            self.shared.batches_ready.notify_one();
        }
        if applied.new_blobs > 0 {
            self.shared.blobs_ready.notify_one();
        }
        Ok(())
    }

    /// Returns only with the turn committed, or with the word that the process has to end.
    fn commit(&mut self, turn: &Turn) -> Result<Applied, Fatal> {
        let mut gave_up_at = None;
        loop {
            let Failed { error, landed } = match self.attempt(turn) {
                Ok(applied) => return Ok(applied),
                Err(failed) => failed,
            };
            self.report_failure(&error);
            if self.reopen()?
                && let Some(landed) = landed
                && self.turn_number() == Some(landed.0)
            {
                return Ok(landed.1);
            }
            if self.inbox.is_closing() {
                let give_up_at = *gave_up_at.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                if Instant::now() > give_up_at {
                    return Err(Fatal(format!(
                        "{} records could not be written before the agent stopped: {error}",
                        turn.entries.len()
                    )));
                }
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// One try. The error carries what would be true if the commit landed in spite of it.
    fn attempt(&mut self, turn: &Turn) -> Result<Applied, Failed> {
        let limits = self.limits;
        let free = free_bytes(&self.layout);
        let excess = |used| -> Excess { quota::excess(limits, used, free) };
        let Some(connection) = &mut self.connection else {
            return Err(SpoolError::Stopped.into());
        };
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(SpoolError::database("begin"))?;
        let now = self.time.now();
        let applied = Application::new(&transaction, &self.author, now, self.chain, self.usage)
            .run(turn, excess)
            .map_err(SpoolError::database("write records"))?;
        let number =
            reads::turn_number(&transaction).map_err(SpoolError::database("count the commit"))?;
        match transaction.commit() {
            Ok(()) => Ok(applied),
            Err(source) => Err(Failed {
                error: SpoolError::database("commit")(source),
                landed: Some(Box::new((number, applied))),
            }),
        }
    }

    /// Closes, opens and checks again. A database found damaged is set aside and an empty one started; the
    /// records in hand go into that. `false`: it cannot be opened now.
    fn reopen(&mut self) -> Result<bool, Fatal> {
        self.connection = None;
        let now = self.time.now().captured_at_us;
        let opened = database::open(&self.layout, self.author.device, now);
        match opened {
            Ok(connection) => {
                self.connection = Some(connection);
                Ok(true)
            }
            Err(error) if database::asks_for_quarantine(&error) => {
                tracing::error!(%error, "the spool's database is damaged, setting it aside: {error}");
                self.start_afresh(now).map_err(|error| {
                    Fatal(format!("a damaged spool cannot be set aside: {error}"))
                })?;
                Ok(false)
            }
            Err(error @ SpoolError::Newer { .. }) => Err(Fatal(error.to_string())),
            Err(error) => {
                self.report_failure(&error);
                Ok(false)
            }
        }
    }

    fn start_afresh(&mut self, now: UtcMicros) -> Result<(), SpoolError> {
        let set_aside = database::set_aside(&self.layout, now)?;
        self.blobs = BlobDir::open(self.layout.blobs())?;
        let connection = database::open(&self.layout, self.author.device, now)?;
        let head = self.chain.head;
        let begun = reads::begin_epoch(&connection, self.chain.epoch, now)
            .map_err(SpoolError::database("begin an epoch"))?;
        // Same run of the agent, same epoch: numbers and chain go on where they stood.
        self.chain = Chain {
            next_seq: self.chain.next_seq,
            head,
            ..begun
        };
        self.usage = Usage::default();
        self.leases = Leases::default();
        self.connection = Some(connection);
        self.inbox.lost(quarantine_losses(set_aside, now));
        Ok(())
    }

    fn turn_number(&self) -> Option<i64> {
        self.connection
            .as_ref()
            .and_then(|connection| reads::turn_number(connection).ok())
    }

    fn report_failure(&self, error: &SpoolError) {
        self.reporter.failed(self.time.now().captured_at_us, error);
        tracing::error!(%error, "the spool cannot write and tries again: {error}");
    }

    fn answer(&mut self, request: Request) -> Result<(), Fatal> {
        self.leases.expire(self.time.clocks().boottime());
        match request {
            Request::LeaseBatches {
                limit,
                lane,
                answer,
            } => {
                let leased = self.lease_batches(limit, lane);
                let refused = self.take_unreadable(leased, answer);
                self.turn(refused)?;
            }
            Request::ReleaseBatches(ids) => {
                for id in ids {
                    self.leases.batches.remove(&id);
                }
                self.shared.batches_ready.notify_one();
            }
            Request::LeaseBlob { lane, answer } => {
                // Whoever stopped waiting never got it: the lease runs out.
                drop(answer.send(self.lease_blob(lane)));
            }
            Request::ReleaseBlob(id) => {
                self.leases.blobs.remove(&id);
                self.shared.blobs_ready.notify_one();
            }
            Request::Balance(answer) => {
                let balance = self.read("read the balance", reads::balance);
                drop(answer.send(balance));
            }
            Request::Settle(_)
            | Request::ParkBatch { .. }
            | Request::EndBlob(..)
            | Request::BeginSession => {}
        }
        Ok(())
    }

    fn begin_session(&mut self) -> Result<(), Fatal> {
        let (backlog_batch, backlog_blob) = self
            .read("read the newest ids", reads::newest_ids)
            .unwrap_or((i64::MAX, i64::MAX));
        self.leases = Leases {
            backlog_batch,
            backlog_blob,
            ..Leases::default()
        };
        self.shared.batches_ready.notify_one();
        self.shared.blobs_ready.notify_one();
        Ok(())
    }

    fn read<T>(
        &self,
        doing: &'static str,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, SpoolError> {
        let connection = self.connection.as_ref().ok_or(SpoolError::Stopped)?;
        query(connection).map_err(SpoolError::database(doing))
    }

    fn lease_batches(&mut self, limit: usize, lane: Lane) -> LeaseOutcome {
        let (after, up_to) = lane.range(self.leases.backlog_batch);
        let is_leased = |id| self.leases.batches.contains_key(&id);
        let stored = self.read("lease batches", |connection| {
            reads::next_batches(connection, after, up_to, limit, is_leased)
        })?;
        let ends = self.time.clocks().boottime() + LEASE;
        let mut leased = Vec::with_capacity(stored.len());
        let mut unreadable = Vec::new();
        for batch in stored {
            let item = Item::Batch {
                epoch: batch.epoch,
                first_seq: batch.first_seq,
            };
            match self.author.vault.open(item, batch.sealed) {
                Ok(signed) => {
                    self.leases.batches.insert(batch.id, ends);
                    leased.push(LeasedBatch {
                        id: batch.id,
                        epoch: batch.epoch,
                        first_seq: batch.first_seq,
                        last_seq: batch.first_seq.advanced_by(batch.records - 1),
                        signed: Bytes::from(signed),
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "setting aside what cannot be opened: {error}");
                    unreadable.push(batch.id);
                }
            }
        }
        Ok((leased, unreadable))
    }

    /// Answers with what could be opened; what could not is parked by the turn this returns.
    fn take_unreadable(
        &self,
        leased: LeaseOutcome,
        answer: oneshot::Sender<Result<Vec<LeasedBatch>, SpoolError>>,
    ) -> Turn {
        let mut turn = Turn::default();
        let leased = leased.map(|(leased, unreadable)| {
            turn.refused_batches = unreadable
                .into_iter()
                .map(|id| (id, UNREADABLE.to_owned()))
                .collect();
            leased
        });
        // Whoever stopped waiting never got them: the leases run out.
        drop(answer.send(leased));
        turn
    }

    fn lease_blob(&mut self, lane: Lane) -> Result<Option<LeasedBlob>, SpoolError> {
        let (after, up_to) = lane.range(self.leases.backlog_blob);
        let is_leased = |id| self.leases.blobs.contains_key(&id);
        let stored = self.read("lease a blob", |connection| {
            reads::next_blob(connection, after, up_to, is_leased)
        })?;
        Ok(stored.map(|blob| {
            let ends = self.time.clocks().boottime() + BLOB_LEASE;
            self.leases.blobs.insert(blob.id, ends);
            // There may be another one for another worker.
            self.shared.blobs_ready.notify_one();
            LeasedBlob {
                id: blob.id,
                sha256: blob.sha256,
                class: reads::media_class(&blob.class),
                bytes: blob.bytes,
                content_type: blob.content_type,
                file: blob.file,
            }
        }))
    }

    /// Brings the figures that others read up to date and says that the thread lives.
    fn publish(&mut self) {
        let oldest = self
            .read("read the oldest record", reads::oldest_pending)
            .ok()
            .flatten();
        let leased = self.leases.batches.len() as u64;
        self.shared.set(self.usage, oldest, leased);
        self.reporter.queue_length(self.inbox.len() as u64);
        if self.connection.is_some() {
            self.reporter.progressed(self.time.now().captured_at_us);
        }
    }
}

/// A commit that failed; `landed` is what is true if it is on disk in spite of the error, by its turn number.
#[derive(Debug)]
struct Failed {
    error: SpoolError,
    landed: Option<Box<(i64, Applied)>>,
}

impl From<SpoolError> for Failed {
    fn from(error: SpoolError) -> Self {
        Self {
            error,
            landed: None,
        }
    }
}

/// What could be leased, and the rows that could not be opened.
type LeaseOutcome = Result<(Vec<LeasedBatch>, Vec<i64>), SpoolError>;

/// The words of the gap record for a database that was set aside: how many records it held nobody knows.
pub(super) fn quarantine_losses(set_aside: database::SetAside, now: UtcMicros) -> Losses {
    let from = set_aside.changed_at.unwrap_or(now).min(now);
    let mut losses = Losses::default();
    let span = |count| Span {
        count,
        from,
        to: now,
    };
    losses.add(Reason::Quarantine, Line::new(None, "records", now), span(0));
    if set_aside.blobs > 0 {
        let line = Line::new(None, "media", now);
        losses.add(Reason::Quarantine, line, span(set_aside.blobs));
    }
    losses
}

fn free_bytes(layout: &Layout) -> Option<u64> {
    let stat = rustix::fs::statvfs(&layout.dir).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}
