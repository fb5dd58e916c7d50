//! Tells systemd that we live, but only while the two threads that must not hang make progress: vision and spool.
//!
//! A call that never returns from a foreign library cannot be restarted from inside. Then no word goes to the
//! watchdog, systemd ends the process and starts it again, and the spool has lost nothing.

use super::cameras::Cameras;
use crate::health::{Health, UnitState};
use crate::spool::SpoolHandle;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Units whose threads look at frames.
const VISION: &str = "vision-";
/// Frames that may pass a vision unit by before its silence counts: it may be asleep between two looks.
const FRAMES_UNNOTICED: u64 = 50;
/// A spool that does not answer a question for this long hangs.
const SPOOL_PATIENCE: Duration = Duration::from_secs(10);

/// What is compared between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reading {
    frames_decoded: u64,
    /// Sum over all vision units.
    vision_progress: u64,
    /// A vision unit waits for its restart: that is the supervisor's business, and it is not stuck.
    is_restarting: bool,
}

/// Pictures came, and nobody looked at any.
fn vision_hangs(before: Reading, now: Reading) -> bool {
    !now.is_restarting
        && now.vision_progress == before.vision_progress
        && now.frames_decoded > before.frames_decoded.saturating_add(FRAMES_UNNOTICED)
}

fn read(health: &Health, cameras: &Cameras) -> Reading {
    let mut reading = Reading {
        frames_decoded: cameras.frames_decoded(),
        ..Reading::default()
    };
    for (name, unit) in health.snapshot() {
        if name.starts_with(VISION) {
            reading.vision_progress += unit.progress;
            reading.is_restarting |= unit.state == UnitState::Retrying;
        }
    }
    reading
}

/// Until told to stop. Returns at once where systemd asked for no watchdog.
pub(super) async fn run(
    health: Health,
    cameras: Cameras,
    spool: SpoolHandle,
    stop: CancellationToken,
) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Three looks within the limit, so that one late look is not the end.
    let interval = limit / 3;
    let mut before = read(&health, &cameras);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let now = read(&health, &cameras);
        let spool_hangs = tokio::time::timeout(SPOOL_PATIENCE, spool.balance())
            .await
            .is_err();
        if vision_hangs(before, now) {
            tracing::error!("frames come but vision looks at none: not telling systemd that all is well");
        } else if spool_hangs {
            tracing::error!("the spool does not answer: not telling systemd that all is well");
        } else {
            before = now;
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// A word to systemd; without systemd it goes nowhere.
pub(super) fn notify(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::warn!(%error, "systemd could not be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_only_while_pictures_pass() {
        let reading = |frames_decoded, vision_progress| Reading {
            frames_decoded,
            vision_progress,
            is_restarting: false,
        };
        let before = reading(1000, 300);
        assert!(!vision_hangs(before, reading(1000, 300)), "no camera delivers");
        assert!(!vision_hangs(before, reading(1300, 400)), "at work");
        assert!(!vision_hangs(before, reading(1010, 300)), "asleep between two looks");
        assert!(vision_hangs(before, reading(1300, 300)));
        let restarting = Reading {
            is_restarting: true,
            ..reading(1300, 300)
        };
        assert!(!vision_hangs(before, restarting));
    }
}
