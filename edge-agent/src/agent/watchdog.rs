//! Tells systemd that we live, but only while every unit that handles data comes round: vision, media, spool, and each
//! camera's own thread.
//!
//! A call that never returns, from a foreign library or from a disk, cannot be restarted from inside. Then no word goes
//! to the watchdog, systemd ends the process and starts it again, and the spool has lost nothing. A unit that fails and
//! tries again is alive: a disk that refuses every write is no reason to stop watching.

use crate::health::{Health, UnitState, WorkerStatus};
use sd_notify::NotifyState;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Names of the units that are watched begin so. Each comes round at least once a second, with work or without; while
/// it works, at every piece.
const WATCHED: [&str; 4] = ["vision-", "media", "spool", "cap-"];
/// No piece of work is judged sooner, however short systemd's patience: the slowest unit comes round once a second.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);
/// How often is looked, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Units = BTreeMap<String, WorkerStatus>;

/// Since when each unit has stood still.
#[derive(Debug, Default)]
struct Pulse {
    seen: BTreeMap<String, (u64, Instant)>,
}

impl Pulse {
    /// The units that have not come round for longer than `patience`.
    fn still(&mut self, units: &Units, now: Instant, patience: Duration) -> Vec<String> {
        let watched = |name: &str| WATCHED.iter().any(|prefix| name.starts_with(prefix));
        let mut still = Vec::new();
        for (name, unit) in units.iter().filter(|(name, _)| watched(name)) {
            let (beats, since) = self.seen.entry(name.clone()).or_insert((unit.beats, now));
            if *beats != unit.beats || unit.state == UnitState::Stopped {
                (*beats, *since) = (unit.beats, now);
            } else if now.saturating_duration_since(*since) > patience {
                still.push(name.clone());
            }
        }
        still
    }
}

/// Until told to stop. Returns at once where systemd asked for no watchdog.
pub(super) async fn run(health: Health, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Well before systemd's patience ends, so that a unit that is merely slow is not the end.
    let patience = (limit / 3).max(LEAST_PATIENCE);
    let look_every = (limit / 3).min(LOOK_EVERY);
    let mut pulse = Pulse::default();
    let mut complained = Vec::new();
    loop {
        let still = pulse.still(&health.snapshot(), Instant::now(), patience);
        if still.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = notify_systemd(NotifyState::Watchdog) => {}
            }
        }
        for unit in still.iter().filter(|unit| !complained.contains(*unit)) {
            tracing::error!(
                unit,
                "{unit} has not come round for {} s: not telling systemd that all is well",
                patience.as_secs()
            );
        }
        complained = still;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(look_every) => {}
        }
    }
}

/// A word to systemd; without systemd it goes nowhere. A systemd that does not listen, as while it reloads, keeps its
/// sender waiting: so the word is sent beside the runtime's own threads, which carry everything else.
pub async fn notify_systemd(word: NotifyState<'static>) {
    let sent = tokio::task::spawn_blocking(move || sd_notify::notify(&[word])).await;
    if let Ok(Err(error)) = sent {
        tracing::warn!(%error, "systemd could not be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_unit_that_stands_still_is_named_and_one_that_fails_and_tries_again_is_not() {
        let health = Health::default();
        let names = ["vision-0", "media", "spool", "cap-gate", "uplink"];
        let [vision, media, spool, camera, _uplink] = names.map(|name| health.unit(name));
        let mut pulse = Pulse::default();
        let began = Instant::now();
        let mut still_at = |seconds| {
            let now = began + Duration::from_secs(seconds);
            pulse.still(&health.snapshot(), now, PATIENCE)
        };
        assert_eq!(still_at(0), [""; 0]);
        vision.progressed();
        media.alive();
        spool.failed("the disk refuses");
        camera.failed("no route");
        assert_eq!(still_at(20), [""; 0]);
        media.alive();
        spool.failed("the disk refuses");
        assert_eq!(still_at(40), [""; 0]);
        assert_eq!(still_at(41), ["cap-gate", "vision-0"]);
        // The uplink waits for the network as long as it likes.
        assert_eq!(still_at(61), ["cap-gate", "media", "spool", "vision-0"]);
        vision.progressed();
        camera.stopped();
        assert_eq!(still_at(62), ["media", "spool"]);
    }
}
