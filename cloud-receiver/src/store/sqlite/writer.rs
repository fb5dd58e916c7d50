//! The one thread that writes. It commits whatever is queued in one transaction and never waits for company:
//! measured, waiting 10 ms for more makes one connection ten times slower and eight no faster.
//!
//! Each piece of work runs in a savepoint of its own, so that one that fails does not take others along, and is
//! answered only after the commit. After a failed commit the connection is closed and opened anew: what a failed
//! fsync left in the page cache must not be believed.

use super::schema;
use crate::store::{Result, StoreError};
use rusqlite::Connection;
use std::fmt;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Queued pieces of work; when full, callers wait, and with them the connections they serve.
const QUEUE: usize = 1024;
/// Most pieces of work in one transaction.
const GROUP: usize = 256;

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
        let ended = CancellationToken::new();
        let failed = CancellationToken::new();
        let guard = (ended.clone().drop_guard(), FailGuard(failed.clone()));
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                let _guard = guard;
                Loop {
                    connection,
                    path,
                    queue,
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
    fn run(&mut self, connection: &Connection);
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
    fn run(&mut self, connection: &Connection) {
        let work = self.work.take().expect("each job runs once");
        self.outcome = Some(in_savepoint(connection, work));
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), &StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Err(error), _) => Err(StoreError::Database(error.to_string())),
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
    if outcome.is_err() {
        connection.prepare_cached("rollback to work")?.execute([])?;
    }
    connection.prepare_cached("release work")?.execute([])?;
    outcome
}

struct Loop {
    connection: Connection,
    path: PathBuf,
    queue: mpsc::Receiver<Box<dyn Job>>,
}

impl Loop {
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut jobs = vec![first];
            let committed = self.commit(&mut jobs);
            for job in jobs {
                job.answer(committed.as_ref().copied());
            }
            if let Err(error) = committed {
                tracing::error!(%error, "the database did not commit; opening it anew");
                self.reopen();
            }
        }
    }

    /// One transaction of the given job and of all that are queued behind it.
    fn commit(&mut self, jobs: &mut Vec<Box<dyn Job>>) -> Result<()> {
        self.connection
            .prepare_cached("begin immediate")?
            .execute([])?;
        jobs[0].run(&self.connection);
        while jobs.len() < GROUP
            && let Ok(mut job) = self.queue.try_recv()
        {
            job.run(&self.connection);
            jobs.push(job);
        }
        let committed = self.connection.prepare_cached("commit")?.execute([]);
        if let Err(error) = committed {
            // Already rolled back by SQLite, or not: either way nothing of it may stay.
            let _ = self.connection.execute_batch("rollback");
            return Err(error.into());
        }
        Ok(())
    }

    /// Keeps the old connection where a new one cannot be had; the next commit tells.
    fn reopen(&mut self) {
        match schema::open(&self.path) {
            Ok(connection) => self.connection = connection,
            Err(error) => tracing::error!(%error, "the database cannot be opened anew"),
        }
    }
}
