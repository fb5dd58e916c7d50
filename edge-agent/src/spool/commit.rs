//! How a turn reaches the disk, whatever the disk does.
//!
//! Full: the transaction is undone and nothing is in doubt. The ballast is given up, then the quarantine, then the files
//! that this commit would delete afterwards, and more and more is shed in the order of its worth, until a commit finds
//! room; if none does, all of it again later. (Files go before their rows only here: without it, what comes in or
//! another program takes the ballast's room, and nothing can be deleted for want of room to say so. A crash in between
//! leaves rows without files, which the next start names.)
//!
//! Anything else leaves in doubt what is on disk: an fsync that failed may have dropped what it should have written,
//! and would report success the second time. So the connection is closed, the files are opened and checked again,
//! and the log is written into the database anew, with fsyncs of its own. Then the turn counter tells whether the
//! commit landed; if not, the same turn, still in memory, is applied again.
//!
//! While that goes on, questions are answered, so that status and watchdog know that the thread lives.

use crate::spool::blob::BlobDir;
use crate::spool::database;
use crate::spool::error::SpoolError;
use crate::spool::outbox::{Application, Applied, Room, Sql};
use crate::spool::reads::{self, PAGE_BYTES};
use crate::spool::room::STARVED_STEP_BYTES;
use crate::spool::start;
use crate::spool::turn::{Request, Turn};
use crate::spool::writer::{Fatal, Writer};
use crate::spool::{ballast, leases::Leases};
use rusqlite::{Connection, TransactionBehavior};
use std::time::{Duration, Instant};

/// Between two attempts to get a failing disk to take a commit.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long a stopping agent goes on trying.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How often in a row more is shed for one commit: 1, 4 and 16 MiB.
const STARVED_STEPS: u32 = 3;

/// A commit that failed; `landed` is what is true if it is on disk in spite of the error, by its turn number.
#[derive(Debug)]
struct Failed {
    error: SpoolError,
    landed: Option<Box<(i64, Applied)>>,
}

/// Why there is no connection.
enum NotReady {
    Spool(SpoolError),
    Fatal(Fatal),
}

impl From<SpoolError> for NotReady {
    fn from(error: SpoolError) -> Self {
        Self::Spool(error)
    }
}

impl From<Fatal> for NotReady {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

impl From<SpoolError> for Failed {
    fn from(error: SpoolError) -> Self {
        Self {
            error,
            landed: None,
        }
    }
}

impl Writer {
    /// Returns only with the turn committed, or with the word that the process has to end.
    pub(super) fn commit(&mut self, turn: &Turn) -> Result<Applied, Fatal> {
        let mut give_up_at = None;
        let mut starved = 0;
        // Of the attempt before.
        let mut landed: Option<Box<(i64, Applied)>> = None;
        // At which step files were deleted before their rows.
        let mut deleted_early = None;
        loop {
            let error = match self.ready() {
                Ok(()) => {
                    if let Some(landed) = self.take_landed(landed.take()) {
                        return Ok(landed);
                    }
                    if deleted_early.is_none() {
                        self.volume = ballast::volume(&self.layout.dir);
                    }
                    match self.attempt(turn, starved_bytes(starved)) {
                        Ok(applied) => return Ok(applied),
                        Err(failed) => {
                            landed = failed.landed;
                            failed.error
                        }
                    }
                }
                Err(NotReady::Fatal(fatal)) => return Err(fatal),
                Err(NotReady::Spool(error)) => error,
            };
            if error.is_full() {
                self.disk_is_full(&error);
                if self.give_way() {
                    continue;
                }
                // From now on no less may be shed: the room that this makes is not looked at.
                if self.delete_early(landed.as_deref()) {
                    deleted_early = Some(starved);
                    continue;
                }
                if self.ask_for_more(&mut starved) {
                    continue;
                }
                starved = deleted_early.unwrap_or(0);
            } else {
                self.report_failure(&error);
                // In doubt from here on: opened and checked again before the next attempt.
                self.connection = None;
            }
            if self.inbox.is_closing() {
                let give_up_at = *give_up_at.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                if Instant::now() > give_up_at {
                    return Err(Fatal(format!(
                        "{} records could not be written before the agent stopped: {error}",
                        turn.entries.len()
                    )));
                }
            }
            self.wait_for_the_disk(&error);
        }
    }

    /// One try. The error carries what would be true if the commit landed in spite of it.
    fn attempt(&mut self, turn: &Turn, starved_bytes: u64) -> Result<Applied, Failed> {
        let room = Room {
            marks: self.marks,
            volume: self.volume,
            starved_bytes,
        };
        let Some(connection) = &mut self.connection else {
            return Err(SpoolError::Stopped.into());
        };
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(SpoolError::database("begin"))?;
        let now = self.time.now();
        let applied = Application::new(&transaction, &self.author, now, self.chain, self.usage)
            .run(turn, room)
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

    /// Room that is kept for this, and what nobody waits for.
    fn give_way(&mut self) -> bool {
        self.ballast.release() || self.quarantine.clear()
    }

    /// The files that the failed attempt would have deleted after its commit.
    fn delete_early(&self, failed: Option<&(i64, Applied)>) -> bool {
        let files = failed.map_or(&[][..], |(_, applied)| &applied.files_to_delete);
        let deleted = files.iter().filter(|file| self.blobs.remove(file));
        deleted.count() > 0
    }

    /// More is to be shed in the next attempt; `false`: all has been tried, begin again after a pause.
    fn ask_for_more(&mut self, starved: &mut u32) -> bool {
        let left = self.usage.batches + self.usage.blobs;
        // A disk that has room and yet says that it has none is out of order: what it holds is no help.
        let is_short = self.volume.is_none_or(|volume| self.marks.is_short(volume))
            || self.database_bytes >= self.marks.high_bytes;
        if left == 0 || !is_short || *starved == STARVED_STEPS {
            return false;
        }
        *starved += 1;
        true
    }

    /// Questions are answered meanwhile; what changes something waits for its turn.
    fn wait_for_the_disk(&mut self, error: &SpoolError) {
        let until = Instant::now() + RETRY_PAUSE;
        loop {
            self.reporter.limping(format_args!(
                "the spool cannot write and tries again: {error}"
            ));
            let left = until.saturating_duration_since(Instant::now());
            let requests = self.inbox.take_requests(left);
            if requests.is_empty() && left.is_zero() {
                return;
            }
            for request in requests {
                if request.is_question() {
                    self.answer(request);
                } else {
                    self.deferred.push(request);
                }
            }
        }
    }

    /// What the attempt before would have changed, if its commit is on disk in spite of the error.
    fn take_landed(&self, landed: Option<Box<(i64, Applied)>>) -> Option<Applied> {
        let (number, applied) = *landed?;
        (self.turn_number() == Some(number)).then_some(applied)
    }

    /// With an open connection whose log is not in doubt; after a failure it is opened and checked anew.
    fn ready(&mut self) -> Result<(), NotReady> {
        if self.connection.is_some() {
            return Ok(());
        }
        let now = self.time.now().captured_at_us;
        match database::open(&self.layout, self.author.device, &self.marks, now) {
            Ok(opened) => {
                // What a failed fsync left in doubt is written once more.
                checkpoint(&opened.connection, "truncate")
                    .map_err(SpoolError::database("write the log anew"))?;
                self.connection = Some(opened.connection);
                if opened.unchecked {
                    start::check_beside(&self.layout, &self.inbox);
                }
                Ok(())
            }
            Err(error) if database::asks_for_salvage(&error) => self.salvage(&error.to_string()),
            Err(error @ SpoolError::Newer { .. }) => Err(NotReady::Fatal(Fatal(error.to_string()))),
            Err(error) => Err(NotReady::Spool(error)),
        }
    }

    /// Sets the damaged database aside and goes on with what can be read of it. Same run of the agent, same epoch:
    /// numbers and chain go on where they stood.
    fn salvage(&mut self, why: &str) -> Result<(), NotReady> {
        self.connection = None;
        let now = self.time.now().captured_at_us;
        tracing::error!("the spool's database is damaged, carrying over what can be read: {why}");
        match self.start_anew(now) {
            Ok(()) => {
                self.raise_alarm(why);
                Ok(())
            }
            // The caller makes room and tries again.
            Err(error) if error.is_full() => Err(NotReady::Spool(error)),
            Err(error) => Err(NotReady::Fatal(Fatal(format!(
                "a damaged spool cannot be set aside: {error}"
            )))),
        }
    }

    /// The check beside the work found damage.
    pub(super) fn mend(&mut self, why: &str) -> Result<(), Fatal> {
        match self.salvage(why) {
            Err(NotReady::Fatal(fatal)) => Err(fatal),
            Err(NotReady::Spool(error)) => {
                self.report_failure(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// A connection that was given up comes back without work, too: others wait to read.
    pub(super) fn recover(&mut self) -> Result<(), Fatal> {
        match self.ready() {
            Err(NotReady::Fatal(fatal)) => Err(fatal),
            Err(NotReady::Spool(error)) => {
                self.report_failure(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn start_anew(&mut self, now: wire::UtcMicros) -> Result<(), SpoolError> {
        let mut anew = start::rebuild(
            &self.layout,
            &self.author,
            &self.marks,
            &self.quarantine,
            now,
        )?;
        self.blobs = BlobDir::open(self.layout.blobs())?;
        let damages = start::damages(&mut anew, now)?;
        self.usage = reads::usage(&anew).map_err(SpoolError::database("sum up"))?;
        self.leases = Leases::default();
        self.connection = Some(anew);
        self.begin_session();
        self.owed.absorb(damages);
        Ok(())
    }

    fn turn_number(&self) -> Option<i64> {
        self.connection
            .as_ref()
            .and_then(|connection| reads::turn_number(connection).ok())
    }

    pub(super) fn report_failure(&self, error: &SpoolError) {
        self.reporter.failed(error);
        tracing::error!(%error, "the spool cannot write and tries again: {error}");
    }

    fn disk_is_full(&mut self, error: &SpoolError) {
        self.reporter.failed(error);
        if self.ballast.is_held() {
            tracing::error!(%error, "the disk is full, the spool makes room: {error}");
        }
    }

    /// Copies the log into the database once it has reached its size. SQLite would do the same at every commit, and
    /// keep an error to itself.
    pub(super) fn checkpoint_if_due(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let is_due = log_pages(connection)
            .is_ok_and(|pages| pages.cast_unsigned() * PAGE_BYTES >= self.marks.wal_bytes);
        if is_due {
            self.checkpoint();
        }
    }

    pub(super) fn checkpoint(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let Err(source) = checkpoint(connection, "passive") else {
            return;
        };
        let error = SpoolError::database("checkpoint the log")(source);
        if error.is_full() {
            self.disk_is_full(&error);
            // The next one, a commit later, finds the room.
            if !self.ballast.release() {
                self.quarantine.clear();
            }
            return;
        }
        // The next turn opens and checks it again.
        self.report_failure(&error);
        self.connection = None;
    }
}

fn starved_bytes(step: u32) -> u64 {
    match step {
        0 => 0,
        step => STARVED_STEP_BYTES << (2 * (step - 1)),
    }
}

/// Pages in the log.
fn log_pages(connection: &Connection) -> Sql<i64> {
    connection
        .prepare_cached("pragma wal_checkpoint(noop)")?
        .query_row((), |row| row.get(1))
}

fn checkpoint(connection: &Connection, mode: &str) -> Sql<()> {
    connection.query_row(&format!("pragma wal_checkpoint({mode})"), (), |_| Ok(()))
}

impl Request {
    /// Reads, or changes nothing but leases.
    pub(super) fn is_question(&self) -> bool {
        matches!(
            self,
            Request::LeaseBatches { .. }
                | Request::ReleaseBatches(_)
                | Request::LeaseBlob { .. }
                | Request::ReleaseBlob(_)
                | Request::Balance(_)
                | Request::ShedInAll(_)
        )
    }
}
