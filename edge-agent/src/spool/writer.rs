//! The spool thread: the only one that writes. One turn takes whatever waits, makes it one transaction, and only
//! after the commit answers anyone, deletes any file or wakes the uplink. `commit.rs` tells what a disk that does
//! not write leads to, `leases.rs` what is taken for sending.

use crate::clock::TimeSource;
use crate::health::Reporter;
use crate::spool::ballast::{self, Ballast};
use crate::spool::blob::BlobDir;
use crate::spool::database::Layout;
use crate::spool::error::SpoolError;
use crate::spool::history;
use crate::spool::inbox::{Inbox, Work};
use crate::spool::leases::Leases;
use crate::spool::outbox::{Applied, Author, Chain, Usage};
use crate::spool::quarantine::Quarantine;
use crate::spool::reads::{self, PAGE_BYTES};
use crate::spool::room::{Marks, Volume};
use crate::spool::shared::Shared;
use crate::spool::turn::{Entry, Request, Turn};
use crate::spool::wipe::Wiped;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// How often the thread says that it lives when there is nothing to do.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// How long `status` shows that the database was damaged.
const ALARM_LASTS: Duration = Duration::from_secs(3600);
/// What is shed for the disk makes room for a moment only: without this, `status` would tell of it by chance.
const GIVES_WAY_FOR: Duration = Duration::from_secs(15);

pub(super) struct Writer {
    pub(super) layout: Layout,
    pub(super) connection: Option<Connection>,
    pub(super) author: Arc<Author>,
    pub(super) blobs: BlobDir,
    pub(super) marks: Marks,
    pub(super) ballast: Ballast,
    pub(super) quarantine: Quarantine,
    pub(super) time: TimeSource,
    pub(super) reporter: Reporter,
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) chain: Chain,
    pub(super) usage: Usage,
    pub(super) leases: Leases,
    /// The disk, as last seen.
    pub(super) volume: Option<Volume>,
    /// Came in while a commit was being tried again; done first thing afterwards.
    pub(super) deferred: Vec<Request>,
    /// What the next turn has to say besides its own.
    pub(super) owed: Turn,
    pub(super) more_to_shed: bool,
    pub(super) more_to_give_back: bool,
    /// Why `status` shows the spool as troubled, and until when by the boot clock.
    pub(super) alarm: Option<(String, Duration)>,
    /// Until when, by the boot clock, `status` says that the disk makes the spool give way.
    pub(super) gives_way_until: Duration,
    pub(super) database_bytes: u64,
    /// When old books may be let go next, by the boot clock.
    pub(super) forget_at: Duration,
}

/// What became of free pages.
struct Given {
    any: bool,
    more: bool,
}

/// The thread cannot go on; the process has to end and start again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fatal(pub(super) String);

impl Writer {
    /// Works until the inbox is closed and empty.
    pub(super) fn run(mut self) -> Result<(), Fatal> {
        self.begin_session();
        let first = std::mem::take(&mut self.owed);
        self.turn(first)?;
        let mut housekept = Instant::now();
        loop {
            let busy = self.more_to_shed
                || self.more_to_give_back
                || !self.deferred.is_empty()
                || !self.owed.is_empty();
            let patience = if busy { Duration::ZERO } else { IDLE_TICK };
            let work = self.inbox.take(patience);
            let last = work.last;
            self.work(work)?;
            if housekept.elapsed() >= IDLE_TICK || self.more_to_give_back {
                self.housekeep()?;
                housekept = Instant::now();
            }
            if last {
                self.reporter.stopped();
                return Ok(());
            }
        }
    }

    fn work(&mut self, work: Work) -> Result<(), Fatal> {
        let mut turn = std::mem::take(&mut self.owed);
        turn.entries = work.entries;
        turn.losses.merge(work.losses);
        turn.shed_on = self.more_to_shed;
        let (mut questions, mut room_made, mut wipes) = (Vec::new(), Vec::new(), Vec::new());
        let deferred = std::mem::take(&mut self.deferred);
        for request in deferred.into_iter().chain(work.requests) {
            match request {
                Request::Settle(receipt) => turn.add_receipt(receipt),
                Request::ParkBatch { id, code } => turn.refused_batches.push((id, code)),
                Request::EndBlob(sha256, end) => turn.ended_blobs.push((sha256, end)),
                Request::MakeRoom { bytes, rank, done } => {
                    turn.want_room(bytes, rank);
                    room_made.push(done);
                }
                Request::Wipe(done) => {
                    turn.wipe = true;
                    wipes.push(done);
                }
                // Before the turn: what is committed from here on is live.
                Request::BeginSession => self.begin_session(),
                Request::Damaged(why) => self.mend(&why)?,
                question => questions.push(question),
            }
        }
        if turn.wipe {
            turn.entries.extend(self.inbox.take_entries());
        }
        // What was put a moment before the mark may come a moment after the wipe.
        if turn.wipe || self.shared.contract_ended.load(Ordering::Relaxed) {
            self.turn_away(&mut turn);
        }
        let wiped = self.turn(turn)?;
        if !wipes.is_empty() {
            self.quarantine.clear();
        }
        for done in wipes {
            // Whoever stopped waiting does not need to know.
            let _ = done.send(wiped);
        }
        room_made.iter().for_each(tell);
        // Also without work: the sign of life that the watchdog looks for.
        self.publish();
        if !questions.is_empty() {
            for question in questions {
                self.answer(question);
            }
            self.publish();
        }
        Ok(())
    }

    /// Lets what is no answer to the receiver go, as if it had been put later. It was never counted.
    fn turn_away(&self, turn: &mut Turn) {
        let entries = std::mem::take(&mut turn.entries);
        let (mut kept, gone): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.is_audit);
        for answer in &mut kept {
            // A file about the box speaks of the contract's cameras.
            if let Some(blob) = answer.blob.take() {
                self.blobs.remove(&blob.file.name);
            }
        }
        turn.entries = kept;
        for entry in gone {
            if let Some(blob) = &entry.blob {
                self.blobs.remove(&blob.file.name);
            }
            if let Some(done) = entry.done {
                done.tell();
            }
        }
    }

    /// Commits a turn and does what follows from it.
    fn turn(&mut self, mut turn: Turn) -> Result<Wiped, Fatal> {
        if turn.is_empty() {
            return Ok(Wiped::default());
        }
        let applied = self.commit(&turn)?;
        self.chain = applied.chain;
        self.usage = applied.usage;
        self.database_bytes = applied.database_bytes;
        self.more_to_shed = applied.more_to_shed;
        self.let_go(&applied);
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
        self.checkpoint_if_due();
        Ok(applied.wiped)
    }

    /// After the commit only: leases and files of rows that are gone.
    fn let_go(&mut self, applied: &Applied) {
        for id in &applied.gone_batches {
            self.leases.batches.remove(id);
        }
        for id in &applied.gone_blobs {
            self.leases.blobs.remove(id);
        }
        for file in &applied.files_to_delete {
            self.blobs.remove(file);
        }
        for file in &applied.files_to_quarantine {
            self.blobs.quarantine(file, self.quarantine.path());
        }
        if !applied.files_to_quarantine.is_empty() {
            self.quarantine.prune();
        }
        if applied.shed_for_disk {
            self.gives_way_until = self.time.clocks().boottime() + GIVES_WAY_FOR;
        }
        if applied.shed > 0 {
            tracing::warn!(
                shed = applied.shed,
                "the spool is full: {} items shed, each named in a gap record",
                applied.shed
            );
        }
    }

    pub(super) fn answer(&mut self, request: Request) {
        self.leases.expire(self.time.clocks().boottime());
        match request {
            // A disk that hung for long leaves many questions behind whose askers have long asked again.
            Request::LeaseBatches { answer, .. } if answer.is_closed() => {}
            // Whoever stopped waiting never got it, and nobody else would for as long as the lease lasts.
            Request::LeaseBatches {
                limit,
                lane,
                answer,
            } => {
                if let Err(Ok(unheard)) = answer.send(self.lease_batches(limit, lane)) {
                    for batch in unheard {
                        self.leases.batches.remove(&batch.id);
                    }
                    self.shared.batches_ready.notify_one();
                }
            }
            Request::LeaseBlob { lane, answer } => {
                if let Err(Ok(Some(unheard))) = answer.send(self.lease_blob(lane)) {
                    self.leases.blobs.remove(&unheard.id);
                    self.shared.blobs_ready.notify_one();
                }
            }
            Request::ReleaseBatches(ids) => {
                for id in ids {
                    self.leases.batches.remove(&id);
                }
                self.shared.batches_ready.notify_one();
            }
            Request::ReleaseBlob(id) => {
                self.leases.blobs.remove(&id);
                self.shared.blobs_ready.notify_one();
            }
            Request::Balance(answer) => {
                drop(answer.send(self.read("read the balance", reads::balance)));
            }
            Request::ShedInAll(answer) => {
                drop(answer.send(self.read("add up what was shed", history::shed_in_all)));
            }
            #[cfg(test)]
            Request::Stall(until) => drop(until.recv()),
            Request::Settle(_)
            | Request::ParkBatch { .. }
            | Request::EndBlob(..)
            | Request::MakeRoom { .. }
            | Request::Wipe(_)
            | Request::Damaged(_)
            | Request::BeginSession => {}
        }
    }

    pub(super) fn read<T>(
        &self,
        doing: &'static str,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, SpoolError> {
        let connection = self.connection.as_ref().ok_or(SpoolError::Stopped)?;
        query(connection).map_err(SpoolError::database(doing))
    }

    /// Once a second: others may have filled or freed the disk, and pages that a delivered backlog has left go back
    /// to it.
    fn housekeep(&mut self) -> Result<(), Fatal> {
        self.volume = ballast::volume(&self.layout.dir);
        let is_low = self.volume.is_some_and(|volume| self.marks.is_low(volume));
        self.more_to_shed |= is_low && self.usage.blobs > 0;
        self.more_to_give_back = false;
        self.recover()?;
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let given_back = reads::free_bytes(connection).and_then(|free| {
            // Some are kept: the next records would only ask for them again.
            let surplus = free.saturating_sub(self.marks.wal_bytes) / PAGE_BYTES;
            let step = surplus.min(self.marks.wal_bytes / 2 / PAGE_BYTES);
            if step > 0 {
                reads::give_pages_back(connection, step)?;
            }
            Ok(Given {
                any: step > 0,
                more: surplus > step,
            })
        });
        match given_back {
            Ok(Given { any: false, .. }) => {}
            // The file becomes shorter when the log is copied into it.
            Ok(Given { more, .. }) => {
                self.more_to_give_back = more;
                self.checkpoint();
            }
            Err(error) => self.housekeeping_failed(SpoolError::database("give pages back")(error)),
        }
        self.forget();
        Ok(())
    }

    /// Lets go of what the books need no longer tell, a step at a time.
    fn forget(&mut self) {
        let now = self.time.clocks().boottime();
        let Some(connection) = self.connection.as_mut().filter(|_| now >= self.forget_at) else {
            return;
        };
        let at = self.time.now().captured_at_us;
        match history::forget(connection, at, self.chain.epoch) {
            // The rest at the next look.
            Ok(true) => {}
            Ok(false) => self.forget_at = now + history::EVERY,
            Err(error) => {
                self.forget_at = now + history::EVERY;
                self.housekeeping_failed(SpoolError::database("let go of old books")(error));
            }
        }
    }

    /// It was a commit like any other. One that found the disk full has changed nothing.
    fn housekeeping_failed(&mut self, error: SpoolError) {
        if !error.is_full() {
            self.report_failure(&error);
            self.connection = None;
        }
    }

    /// Brings the figures that others read up to date and says that the thread lives.
    pub(super) fn publish(&mut self) {
        let oldest = self
            .read("read the oldest record", reads::oldest_pending)
            .ok()
            .flatten();
        let leased = self.leases.batches.len() as u64;
        self.shared
            .set(self.usage, self.database_bytes, oldest, leased);
        self.reporter.queue_length(self.inbox.len() as u64);
        if self.connection.is_none() {
            return;
        }
        match self.trouble() {
            Some(trouble) => self.reporter.limping(trouble),
            None => self.reporter.progressed(),
        }
    }

    /// What a field engineer has to know although the spool goes on. Takes the ballast back when there is room.
    fn trouble(&mut self) -> Option<String> {
        if !self.ballast.is_held() || self.volume.is_none() {
            self.volume = ballast::volume(&self.layout.dir);
        }
        let volume = self.volume?;
        if !self.ballast.is_held() && self.marks.has_room_for_ballast(volume) {
            match self.ballast.take() {
                Ok(()) => tracing::info!("the spool holds its ballast"),
                Err(error) => tracing::debug!(%error, "no room for the ballast yet: {error}"),
            }
        }
        let free = volume.free_bytes;
        if !self.ballast.is_held() {
            return Some(format!(
                "the disk is full ({free} bytes free): the spool's reserve is given up and the least valuable is \
                 shed; make room on {}",
                self.layout.dir.display()
            ));
        }
        let now = self.time.clocks().boottime();
        if self.marks.is_low(volume) || now < self.gives_way_until {
            return Some(format!(
                "the disk is nearly full ({free} bytes, {} inodes free): pictures are shed; make room on {}",
                volume
                    .free_inodes
                    .map_or("enough".into(), |free| free.to_string()),
                self.layout.dir.display()
            ));
        }
        if self.alarm.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.alarm = None;
        }
        self.alarm.as_ref().map(|(why, _)| why.clone())
    }

    /// Damage was found and mended as far as it could be: a gap record tells the cloud, this tells `status`.
    pub(super) fn raise_alarm(&mut self, why: &str) {
        let until = self.time.clocks().boottime() + ALARM_LASTS;
        let words = format!(
            "the spool was damaged ({why}); what could be read was carried over, the rest is named in gap records; \
             see {}",
            self.quarantine.path().display()
        );
        self.alarm = Some((words, until));
    }
}

/// Whoever stopped waiting does not need to know.
fn tell(done: &SyncSender<()>) {
    let _ = done.try_send(());
}
