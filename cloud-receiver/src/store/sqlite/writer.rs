//! The one thread that writes. It commits whatever is queued in one transaction and never waits for company:
//! measured, waiting 10 ms for more makes one connection ten times slower and eight no faster.
//!
//! Each piece of work runs in a savepoint of its own, so that one that fails does not take others along, and is
//! answered only after the commit.
//!
//! After a failed commit the connection is never used again: what a failed fsync left in the page cache must not be
//! believed, and trying the fsync again would believe it. It is closed first, then one is opened anew and must show
//! the last batch that was answered. Until that succeeds every piece of work is answered with the cause, and tried
//! anew with the next one: a full or read-only disk heals by itself, and readers go on meanwhile.

use super::checkpoint::Checkpointer;
use super::schema;
use crate::store::{Result, StoreError};
use rusqlite::Connection;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Queued pieces of work; when full, callers wait, and with them the connections they serve.
const QUEUE: usize = 1024;
/// Most pieces of work in one transaction.
const GROUP: usize = 256;
/// A database that does not commit is told of when it begins, and then this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    failed: CancellationToken,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Starts the thread. The token fires when the last handle is gone and the thread has ended.
    pub(super) fn start(
        connection: Connection,
        path: PathBuf,
    ) -> Result<(Self, CancellationToken)> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let checkpointer = Checkpointer::start(path.clone())?;
        let ended = CancellationToken::new();
        let failed = CancellationToken::new();
        let guard = (ended.clone().drop_guard(), FailGuard(failed.clone()));
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                let _guard = guard;
                Loop {
                    connection: Some(connection),
                    path,
                    checkpointer,
                    queue,
                    last_batch: 0,
                    failing: None,
                }
                .run();
            })
            .map_err(|error| StoreError::Database(format!("starting the writer: {error}")))?;
        Ok((Self { jobs, failed }, ended))
    }

    pub(super) fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Work {
            work: Some(work),
            outcome: None,
            reply,
        };
        let gone = || StoreError::Database("the writer has ended".into());
        self.jobs.send(Box::new(job)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Tells a panic of the writer from its orderly end.
struct FailGuard(CancellationToken);

impl Drop for FailGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// Work in two steps, so that its answer can wait for the commit.
trait Job: Send {
    /// The error, if the work failed: it is what ended the transaction, should that have ended.
    fn run(&mut self, connection: &Connection) -> Option<StoreError>;
    fn answer(self: Box<Self>, committed: std::result::Result<(), &StoreError>);
}

struct Work<T, F> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) -> Option<StoreError> {
        let work = self.work.take().expect("each job runs once");
        let outcome = in_savepoint(connection, work);
        let failed = outcome.as_ref().err().map(StoreError::again);
        self.outcome = Some(outcome);
        failed
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), &StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Err(error), _) => Err(error.again()),
            (Ok(()), None) => Err(StoreError::Database("the work was not done".into())),
        };
        // Whoever asked may have gone away; the work is done all the same.
        let _ = self.reply.send(outcome);
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    connection.prepare_cached("savepoint work")?.execute([])?;
    let outcome = work(connection);
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    match outcome {
        Ok(done) => {
            run("release work")?;
            Ok(done)
        }
        Err(error) => {
            if run("rollback to work")
                .and_then(|_| run("release work"))
                .is_err()
            {
                // On a full or failing disk SQLite has ended the transaction by itself. Else it must end now: what
                // cannot be undone must not be committed.
                let _ = connection.execute_batch("rollback");
            }
            Err(error)
        }
    }
}

struct Loop {
    /// Absent after a commit failed and no new one could be had yet.
    connection: Option<Connection>,
    path: PathBuf,
    checkpointer: Checkpointer,
    queue: mpsc::Receiver<Box<dyn Job>>,
    /// Row of the newest batch that was committed here, which a new connection must show.
    last_batch: i64,
    failing: Option<Failing>,
}

/// Since when nothing is committed, and when that was last told.
struct Failing {
    since: Instant,
    told: Instant,
}

impl Loop {
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut jobs = vec![first];
            let committed = self.commit(&mut jobs);
            match &committed {
                Ok(()) => {
                    self.healed();
                    self.checkpointer.nudge();
                }
                Err(error) => {
                    // Before anybody is told: who comes again must not find the old one.
                    self.connection = None;
                    self.failed(error);
                }
            }
            for job in jobs {
                job.answer(committed.as_ref().copied());
            }
        }
    }

    /// One transaction of the given job and of all that are queued behind it.
    fn commit(&mut self, jobs: &mut Vec<Box<dyn Job>>) -> Result<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => reopen(&self.path, self.last_batch)?,
        };
        let connection = self.connection.insert(connection);
        connection.prepare_cached("begin immediate")?.execute([])?;
        let mut failed = jobs[0].run(connection);
        while !connection.is_autocommit()
            && jobs.len() < GROUP
            && let Ok(mut job) = self.queue.try_recv()
        {
            failed = job.run(connection);
            jobs.push(job);
        }
        if connection.is_autocommit() {
            let gone = || StoreError::Database("the transaction ended in mid-work".into());
            return Err(failed.unwrap_or_else(gone));
        }
        connection.prepare_cached("commit")?.execute([])?;
        self.last_batch = newest_batch(connection)?;
        Ok(())
    }

    fn failed(&mut self, error: &StoreError) {
        let now = Instant::now();
        let failing = self.failing.get_or_insert(Failing {
            since: now,
            told: now - TELL_EVERY,
        });
        if now.duration_since(failing.told) >= TELL_EVERY {
            failing.told = now;
            let seconds = now.duration_since(failing.since).as_secs();
            tracing::error!(
                %error, seconds,
                "the database {} does not commit: nothing is taken in, devices keep what they have, and the \
                 database is opened anew with every attempt; check the disk", self.path.display()
            );
        }
    }

    fn healed(&mut self) {
        if let Some(failing) = self.failing.take() {
            let seconds = failing.since.elapsed().as_secs();
            tracing::warn!(seconds, "the database commits again, after {seconds} s");
        }
    }
}

fn newest_batch(connection: &Connection) -> Result<i64> {
    Ok(connection
        .prepare_cached("select coalesce(max(no), 0) from batch")?
        .query_row([], |row| row.get(0))?)
}

/// A new connection, which must show what was answered before.
fn reopen(path: &std::path::Path, last_batch: i64) -> Result<Connection> {
    let connection = schema::open(path)?;
    let found = newest_batch(&connection)?;
    if found < last_batch {
        return Err(StoreError::Corrupt(format!(
            "{} shows batches up to {found}, but {last_batch} was committed and answered; \
             stop the receiver and check the disk before anything is written over it",
            path.display()
        )));
    }
    Ok(connection)
}
