//! Runs one named unit, a thread or a task, and starts it again when it fails or panics.
//!
//! Not for the spool's thread: the guardian of what is not yet delivered must not limp, so its end is the end of the
//! process, and systemd starts it again.

use crate::clock::TimeSource;
use crate::health::{Health, Reporter};
use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How the process ends when it must not go on, as after a panic of the spool: `EX_SOFTWARE` of sysexits.h.
pub const PANIC_EXIT_CODE: u8 = 70;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A unit that ran this long before it failed starts its back-off anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// What units share: where they report, what time it is, when to stop.
#[derive(Clone, Debug)]
pub struct Supervisor {
    pub health: Health,
    pub time: TimeSource,
    pub stop: CancellationToken,
    first_wait: Duration,
}

impl Supervisor {
    pub fn new(health: Health, time: TimeSource, stop: CancellationToken) -> Self {
        Self {
            health,
            time,
            stop,
            first_wait: FIRST_WAIT,
        }
    }

    pub fn reporter(&self, name: &str) -> Reporter {
        self.health.unit(name)
    }

    /// Runs `body` on a thread of its own, again and again until it returns `Ok` or stop is asked for.
    pub fn thread<E: Display>(
        &self,
        name: &str,
        mut body: impl FnMut(&Reporter) -> Result<(), E> + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let supervisor = self.clone();
        let unit = name.to_owned();
        // Linux shows fifteen bytes of a thread's name.
        std::thread::Builder::new()
            .name(name.chars().take(15).collect())
            .spawn(move || {
                let reporter = supervisor.reporter(&unit);
                let mut waits = supervisor.waits();
                while !supervisor.stop.is_cancelled() {
                    let started = supervisor.time.clocks().boottime();
                    reporter.running();
                    let outcome = catch_unwind(AssertUnwindSafe(|| body(&reporter)));
                    let Some(failure) = failure(outcome) else {
                        break;
                    };
                    let wait = waits.after(supervisor.time.clocks().boottime() - started);
                    supervisor.failed(&unit, &reporter, &failure, wait);
                    if wait_or_stop(&supervisor.stop, &reporter, wait) {
                        break;
                    }
                }
                reporter.stopped();
            })
    }

    /// As [`Self::thread`], for a task.
    pub fn task<E, F>(
        &self,
        name: &str,
        mut body: impl FnMut(Reporter) -> F + Send + 'static,
    ) -> tokio::task::JoinHandle<()>
    where
        E: Display + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let supervisor = self.clone();
        let unit = name.to_owned();
        tokio::spawn(async move {
            let reporter = supervisor.reporter(&unit);
            let mut waits = supervisor.waits();
            while !supervisor.stop.is_cancelled() {
                let started = supervisor.time.clocks().boottime();
                reporter.running();
                let outcome = match tokio::spawn(body(reporter.clone())).await {
                    Ok(outcome) => Ok(outcome),
                    // Only the end of the runtime cancels it.
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => Err(panic),
                        Err(_) => break,
                    },
                };
                let Some(failure) = failure(outcome) else {
                    break;
                };
                let wait = waits.after(supervisor.time.clocks().boottime() - started);
                supervisor.failed(&unit, &reporter, &failure, wait);
                tokio::select! {
                    () = supervisor.stop.cancelled() => break,
                    () = tokio::time::sleep(wait) => {}
                }
            }
            reporter.stopped();
        })
    }

    fn waits(&self) -> Waits {
        Waits {
            first: self.first_wait,
            next: self.first_wait,
        }
    }

    fn failed(&self, unit: &str, reporter: &Reporter, failure: &str, wait: Duration) {
        reporter.failed(failure);
        tracing::error!(
            unit,
            "{unit} failed and starts again in {} s: {failure}",
            wait.as_secs()
        );
    }
}

/// How long a unit that failed is kept from running again.
#[derive(Debug)]
struct Waits {
    first: Duration,
    next: Duration,
}

impl Waits {
    /// After a run of this length.
    fn after(&mut self, ran: Duration) -> Duration {
        if ran > HEALTHY_AFTER {
            self.next = self.first;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        wait
    }
}

/// Why it has to run again; `None` if it need not.
fn failure<E: Display>(outcome: Result<Result<(), E>, Box<dyn Any + Send>>) -> Option<String> {
    match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(format!("panicked: {}", panic_message(&*panic))),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

/// Waits on a thread, alive all the while; true if stop was asked for.
fn wait_or_stop(stop: &CancellationToken, reporter: &Reporter, wait: Duration) -> bool {
    const STEP: Duration = Duration::from_millis(100);
    let mut left = wait;
    while !left.is_zero() && !stop.is_cancelled() {
        let step = left.min(STEP);
        std::thread::sleep(step);
        reporter.alive();
        left -= step;
    }
    stop.is_cancelled()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RealClocks;
    use crate::health::UnitState;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn supervisor() -> Supervisor {
        let time = TimeSource::new(Arc::new(RealClocks::new()));
        Supervisor {
            first_wait: Duration::from_millis(1),
            ..Supervisor::new(Health::default(), time, CancellationToken::new())
        }
    }

    #[test]
    fn a_panicking_thread_runs_again() {
        let supervisor = supervisor();
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        let thread = supervisor
            .thread("unit", move |_| {
                if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                    panic!("first time");
                }
                Ok::<(), String>(())
            })
            .expect("threads can be made");
        thread.join().expect("the supervisor itself never panics");
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        let status = &supervisor.health.snapshot()["unit"];
        assert_eq!(status.state, UnitState::Stopped);
        assert_eq!(status.last_error.as_deref(), Some("panicked: first time"));
    }

    #[test]
    fn a_unit_that_ran_well_starts_its_back_off_anew() {
        let mut waits = Waits {
            first: FIRST_WAIT,
            next: FIRST_WAIT,
        };
        let mut after = |seconds| waits.after(Duration::from_secs(seconds)).as_secs();
        let soon: Vec<u64> = (0..6).map(|_| after(2)).collect();
        assert_eq!(soon, [1, 2, 4, 8, 15, 15]);
        assert_eq!((after(61), after(2)), (1, 2));
    }

    #[tokio::test]
    async fn a_failing_task_runs_again_until_stop() {
        let supervisor = supervisor();
        let runs = Arc::new(AtomicU32::new(0));
        let (counted, stop) = (runs.clone(), supervisor.stop.clone());
        let task = supervisor.task("unit", move |_| {
            let (counted, stop) = (counted.clone(), stop.clone());
            async move {
                if counted.fetch_add(1, Ordering::Relaxed) == 4 {
                    stop.cancel();
                }
                Err::<(), _>("no luck")
            }
        });
        task.await.expect("the supervisor itself never panics");
        assert_eq!(runs.load(Ordering::Relaxed), 5);
        assert_eq!(supervisor.health.snapshot()["unit"].consecutive_errors, 5);
    }
}
