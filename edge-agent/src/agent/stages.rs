//! What stops together, and how long the whole may take: one deadline for all, so that stages that hang cannot add up
//! to more than systemd's patience.

use std::thread::JoinHandle as Thread;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle as Task;
use tokio_util::sync::CancellationToken;

/// Kept for the last stage, the spool, whatever the others took: what is in its hand must reach the disk.
const FOR_THE_SPOOL: Duration = Duration::from_secs(3);

/// The time that is left for stopping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    at: Instant,
}

impl Ending {
    pub(super) fn within(budget: Duration) -> Self {
        Self {
            at: Instant::now() + budget,
        }
    }

    /// How long a stage may take: `most`, and never what the spool needs.
    pub(super) fn patience(self, most: Duration) -> Duration {
        most.min(self.left().saturating_sub(FOR_THE_SPOOL))
    }

    /// All that is left.
    pub(super) fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// Threads that stop together.
pub(super) struct Stage {
    pub(super) stop: CancellationToken,
    pub(super) threads: Vec<Thread<()>>,
}

impl Stage {
    pub(super) async fn end(self, name: &str, patience: Duration) {
        self.stop.cancel();
        let threads = self.threads;
        blocking(name, patience, move || {
            for thread in threads {
                let _ = thread.join();
            }
        })
        .await;
    }
}

/// Tasks that stop together.
pub(super) struct TaskStage {
    pub(super) stop: CancellationToken,
    pub(super) tasks: Vec<Task<()>>,
}

impl TaskStage {
    pub(super) async fn end(self, name: &str, patience: Duration) {
        self.stop.cancel();
        let all = futures::future::join_all(self.tasks);
        if tokio::time::timeout(patience, all).await.is_err() {
            left_behind(name);
        }
    }
}

/// Does something that blocks, but waits no longer than `patience`.
pub(super) async fn blocking(name: &str, patience: Duration, work: impl FnOnce() + Send + 'static) {
    let done = tokio::task::spawn_blocking(work);
    if tokio::time::timeout(patience, done).await.is_err() {
        left_behind(name);
    }
}

fn left_behind(name: &str) {
    tracing::warn!("{name} did not stop in time and is left behind");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_that_hang_cannot_take_what_the_spool_needs() {
        let ending = Ending::within(Duration::from_secs(12));
        assert_eq!(
            ending.patience(Duration::from_secs(2)),
            Duration::from_secs(2)
        );
        let greedy = ending.patience(Duration::from_secs(60));
        assert!(greedy <= Duration::from_secs(9), "{greedy:?}");
        let late = Ending::within(Duration::from_secs(1));
        assert_eq!(late.patience(Duration::from_secs(2)), Duration::ZERO);
        assert!(late.left() > Duration::ZERO);
    }
}
