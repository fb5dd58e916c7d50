//! What every unit of the agent says about itself: one table that `status`, the heartbeat and the watchdog read.

use crate::clock::{self, Clocks, RealClocks};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
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
    /// When it entered this state, as the device's clock says now: it may have been set meanwhile.
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
#[derive(Clone, Debug)]
pub struct Health {
    units: Arc<Mutex<BTreeMap<String, Unit>>>,
    clocks: Arc<dyn Clocks>,
}

#[derive(Debug)]
struct Unit {
    status: WorkerStatus,
    /// Boot time of `since_us`.
    since: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self::with_clocks(Arc::new(RealClocks::new()))
    }
}

impl Health {
    pub fn with_clocks(clocks: Arc<dyn Clocks>) -> Self {
        Self {
            units: Arc::default(),
            clocks,
        }
    }

    /// The reporter of one unit; it starts as `Starting`.
    pub fn unit(&self, name: impl Into<String>) -> Reporter {
        let name = name.into();
        let status = WorkerStatus {
            state: UnitState::Starting,
            since_us: self.clocks.utc(),
            progress: 0,
            beats: 0,
            queue_length: 0,
            consecutive_errors: 0,
            last_error: None,
        };
        let since = self.clocks.boottime();
        self.lock().insert(name.clone(), Unit { status, since });
        Reporter {
            health: self.clone(),
            name,
        }
    }

    pub fn snapshot(&self) -> BTreeMap<String, WorkerStatus> {
        let units = self.lock();
        let told = units.iter().map(|(name, unit)| {
            let status = WorkerStatus {
                since_us: clock::utc_of(&*self.clocks, unit.since),
                ..unit.status.clone()
            };
            (name.clone(), status)
        });
        told.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Unit>> {
        self.units
            .lock()
            .expect("the table is only written and copied under its lock")
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
    pub fn progressed(&self) {
        self.update(Some(UnitState::Running), |status| {
            status.progress += 1;
            status.beats += 1;
            status.consecutive_errors = 0;
        });
    }

    /// It is at work, though nothing is done yet.
    pub fn running(&self) {
        self.update(Some(UnitState::Running), |_| ());
    }

    pub fn failed(&self, error: impl std::fmt::Display) {
        self.update(Some(UnitState::Retrying), |status| {
            status.beats += 1;
            status.consecutive_errors += 1;
            status.last_error = Some(error.to_string());
        });
    }

    /// It waits, and would hear if there were something to do. Says nothing of how well it is.
    pub fn alive(&self) {
        self.update(None, |status| status.beats += 1);
    }

    /// It goes on, but something is wrong that a person has to know.
    pub fn limping(&self, why: impl std::fmt::Display) {
        self.update(Some(UnitState::Retrying), |status| {
            status.progress += 1;
            status.beats += 1;
            status.last_error = Some(why.to_string());
        });
    }

    pub fn queue_length(&self, length: u64) {
        self.update(None, |status| status.queue_length = length);
    }

    pub fn stopped(&self) {
        self.update(Some(UnitState::Stopped), |_| ());
    }

    fn update(&self, enters: Option<UnitState>, change: impl FnOnce(&mut WorkerStatus)) {
        let mut units = self.health.lock();
        let Some(unit) = units.get_mut(&self.name) else {
            return;
        };
        change(&mut unit.status);
        if let Some(state) = enters.filter(|state| *state != unit.status.state) {
            unit.status.state = state;
            unit.since = self.health.clocks.boottime();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClocks;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn since_changes_with_the_state_only() {
        let clocks = Arc::new(SimClocks::new(UtcMicros(0)));
        let health = Health::with_clocks(clocks.clone());
        let unit = health.unit("cap-gate");
        clocks.advance(SECOND);
        unit.failed("no route");
        clocks.advance(SECOND);
        unit.failed("no route");
        let status = &health.snapshot()["cap-gate"];
        assert_eq!(status.state, UnitState::Retrying);
        assert_eq!(status.since_us, UtcMicros(1_000_000));
        assert_eq!(status.consecutive_errors, 2);

        clocks.advance(SECOND);
        unit.progressed();
        let status = &health.snapshot()["cap-gate"];
        assert_eq!(
            (status.state, status.since_us),
            (UnitState::Running, UtcMicros(3_000_000))
        );
        assert_eq!(status.consecutive_errors, 0);
        assert_eq!(status.last_error.as_deref(), Some("no route"));
    }

    #[test]
    fn fault_28_a_clock_that_is_set_moves_since_along_and_not_for_how_long() {
        let clocks = Arc::new(SimClocks::new(UtcMicros(0)));
        let health = Health::with_clocks(clocks.clone());
        let unit = health.unit("spool");
        unit.progressed();
        clocks.advance(10 * SECOND);
        for step_us in [400 * 86_400_000_000, -7_200_000_000] {
            clocks.step_us(step_us);
            let since = health.snapshot()["spool"].since_us;
            assert_eq!(clocks.utc().since_us(since), 10_000_000);
        }
    }
}
