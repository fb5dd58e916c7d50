//! Tells systemd that we live, but only while the two threads that must not hang make progress: vision and spool.
//!
//! A call that never returns from a foreign library cannot be restarted from inside. Then no word goes to the
//! watchdog, systemd ends the process and starts it again, and the spool has lost nothing.

use crate::health::{Health, UnitState, WorkerStatus};
use crate::spool::SpoolHandle;
use sd_notify::NotifyState;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Units whose threads look at frames. They say that they are alive a few times a second, frames or not.
const VISION: &str = "vision-";
/// A spool that does not answer a question for this long hangs.
const SPOOL_PATIENCE: Duration = Duration::from_secs(10);

type Units = BTreeMap<String, WorkerStatus>;

/// The vision unit, if any, that has done nothing between two looks. One that waits for its restart is its
/// supervisor's business.
fn hanging(before: &Units, now: &Units) -> Option<String> {
    now.iter()
        .filter(|(name, unit)| name.starts_with(VISION) && unit.state == UnitState::Running)
        .find(|(name, unit)| {
            before
                .get(*name)
                .is_some_and(|earlier| earlier.progress == unit.progress)
        })
        .map(|(name, _)| name.clone())
}

/// Until told to stop. Returns at once where systemd asked for no watchdog.
pub(super) async fn run(health: Health, spool: SpoolHandle, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Three looks within the limit, so that one late look is not the end.
    let interval = limit / 3;
    let mut before = health.snapshot();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let now = health.snapshot();
        let spool_hangs = tokio::time::timeout(SPOOL_PATIENCE, spool.balance())
            .await
            .is_err();
        if let Some(unit) = hanging(&before, &now) {
            tracing::error!(unit, "{unit} hangs: not telling systemd that all is well");
        } else if spool_hangs {
            tracing::error!("the spool does not answer: not telling systemd that all is well");
        } else {
            notify_systemd(&[NotifyState::Watchdog]);
        }
        before = now;
    }
}

/// A word to systemd; without systemd it goes nowhere.
pub fn notify_systemd(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::warn!(%error, "systemd could not be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::UtcMicros;

    #[test]
    fn a_unit_that_does_nothing_is_named() {
        let health = Health::default();
        let first = health.unit("vision-0", UtcMicros(0));
        let second = health.unit("vision-1", UtcMicros(0));
        first.progressed(UtcMicros(1));
        second.progressed(UtcMicros(1));
        let before = health.snapshot();
        first.progressed(UtcMicros(2));
        assert_eq!(
            hanging(&before, &health.snapshot()).as_deref(),
            Some("vision-1")
        );
        second.failed(UtcMicros(3), "panicked");
        assert_eq!(
            hanging(&before, &health.snapshot()),
            None,
            "it waits for its restart"
        );
        second.progressed(UtcMicros(4));
        assert_eq!(hanging(&before, &health.snapshot()), None);
    }
}
