//! What every unit of the agent says about itself: one table that `status`, the heartbeat and the watchdog read.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use wire::UtcMicros;

/// How a unit is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    Starting,
    Running,
    /// Failed and waiting to try again.
    Retrying,
    Stopped,
}

/// One unit's own words about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    pub state: UnitState,
    /// When it entered this state.
    pub since_us: UtcMicros,
    /// Counts up with every piece of work done.
    pub progress: u64,
    /// Counts up whenever it comes round, with work or without, well or not: a unit in which this stands still hangs.
    #[serde(default)]
    pub beats: u64,
    pub queue_length: u64,
    pub consecutive_errors: u32,
    pub last_error: Option<String>,
}

/// The shared table, by unit name (`vision-0`, `spool`, `cap-<camera>`, ...). Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    units: Arc<Mutex<BTreeMap<String, WorkerStatus>>>,
}

impl Health {
    /// The reporter of one unit; it starts as `Starting`.
    pub fn unit(&self, name: impl Into<String>, now: UtcMicros) -> Reporter {
        let name = name.into();
        let status = WorkerStatus {
            state: UnitState::Starting,
            since_us: now,
            progress: 0,
            beats: 0,
            queue_length: 0,
            consecutive_errors: 0,
            last_error: None,
        };
        self.lock().insert(name.clone(), status);
        Reporter {
            health: self.clone(),
            name,
        }
    }

    pub fn snapshot(&self) -> BTreeMap<String, WorkerStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, WorkerStatus>> {
        self.units
            .lock()
            .expect("the table is only copied under its lock")
    }
}

/// Through which one unit reports.
#[derive(Clone, Debug)]
pub struct Reporter {
    health: Health,
    name: String,
}

impl Reporter {
    /// One piece of work is done and all is well.
    pub fn progressed(&self, now: UtcMicros) {
        self.update(|status| {
            status.progress += 1;
            status.beats += 1;
            enter(status, UnitState::Running, now);
            status.consecutive_errors = 0;
        });
    }

    /// It is at work, though nothing is done yet.
    pub fn running(&self, now: UtcMicros) {
        self.update(|status| enter(status, UnitState::Running, now));
    }

    pub fn failed(&self, now: UtcMicros, error: impl std::fmt::Display) {
        self.update(|status| {
            status.beats += 1;
            enter(status, UnitState::Retrying, now);
            status.consecutive_errors += 1;
            status.last_error = Some(error.to_string());
        });
    }

    /// It waits, and would hear if there were something to do. Says nothing of how well it is.
    pub fn alive(&self) {
        self.update(|status| status.beats += 1);
    }

    /// It goes on, but something is wrong that a person has to know.
    pub fn limping(&self, now: UtcMicros, why: impl std::fmt::Display) {
        self.update(|status| {
            status.progress += 1;
            status.beats += 1;
            enter(status, UnitState::Retrying, now);
            status.last_error = Some(why.to_string());
        });
    }

    pub fn queue_length(&self, length: u64) {
        self.update(|status| status.queue_length = length);
    }

    pub fn stopped(&self, now: UtcMicros) {
        self.update(|status| enter(status, UnitState::Stopped, now));
    }

    fn update(&self, change: impl FnOnce(&mut WorkerStatus)) {
        if let Some(status) = self.health.lock().get_mut(&self.name) {
            change(status);
        }
    }
}

fn enter(status: &mut WorkerStatus, state: UnitState, now: UtcMicros) {
    if status.state != state {
        status.state = state;
        status.since_us = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_changes_with_the_state_only() {
        let health = Health::default();
        let unit = health.unit("cap-gate", UtcMicros(1));
        unit.failed(UtcMicros(2), "no route");
        unit.failed(UtcMicros(3), "no route");
        let status = &health.snapshot()["cap-gate"];
        assert_eq!(status.state, UnitState::Retrying);
        assert_eq!(status.since_us, UtcMicros(2));
        assert_eq!(status.consecutive_errors, 2);

        unit.progressed(UtcMicros(4));
        let status = &health.snapshot()["cap-gate"];
        assert_eq!(
            (status.state, status.since_us),
            (UnitState::Running, UtcMicros(4))
        );
        assert_eq!(status.consecutive_errors, 0);
        assert_eq!(status.last_error.as_deref(), Some("no route"));
    }
}
