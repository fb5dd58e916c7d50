//! The time floor: the earliest moment it can possibly be, so that TLS works on a box that woke up in 1970.
//!
//! Raised only by what a verified receiver said, never by a time server alone: a liar must not push a box into a
//! future from which it never returns. Whoever keeps the identity persists it (`changes`).

use crate::clock::TimeSource;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wire::{ClockState, UtcMicros};

/// No build of this program is older: 2026-11-01T00:00:00Z.
const OLDEST_BUILD: UtcMicros = UtcMicros(1_793_491_200_000_000);

/// Shared by whoever hears of verified time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TimeFloor {
    floor: Arc<watch::Sender<UtcMicros>>,
}

impl TimeFloor {
    /// `saved` is what was persisted, if anything was.
    pub fn new(saved: Option<UtcMicros>) -> Self {
        let floor = saved.unwrap_or(OLDEST_BUILD).max(OLDEST_BUILD);
        Self {
            floor: Arc::new(watch::Sender::new(floor)),
        }
    }

    pub fn get(&self) -> UtcMicros {
        *self.floor.borrow()
    }

    /// Only for a time that a receiver stated whose certificate was verified. Never goes back.
    pub fn raise(&self, verified: UtcMicros) {
        self.floor.send_if_modified(|floor| {
            let raised = verified > *floor;
            *floor = (*floor).max(verified);
            raised
        });
    }

    /// For the one that persists it.
    pub fn changes(&self) -> watch::Receiver<UtcMicros> {
        self.floor.subscribe()
    }
}

/// The verifier's clock: the device's, corrected by what time servers say, but never before the floor.
#[derive(Clone, Debug)]
pub struct FlooredTime {
    time: TimeSource,
    floor: TimeFloor,
}

impl FlooredTime {
    pub fn new(time: TimeSource, floor: TimeFloor) -> Self {
        Self { time, floor }
    }

    pub fn now(&self) -> UtcMicros {
        let now = self.time.now();
        let measured = match now.clock.state {
            ClockState::Synced | ClockState::Holdover => now.corrected_us(),
            ClockState::Unsynced | ClockState::Unknown => now.captured_at_us,
        };
        measured.max(self.floor.get())
    }
}

impl TimeProvider for FlooredTime {
    fn current_time(&self) -> Option<UnixTime> {
        let us = u64::try_from(self.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(us)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClocks;
    use wire::ClockStamp;

    fn at(utc: i64, floor: &TimeFloor) -> (TimeSource, FlooredTime) {
        let time = TimeSource::new(Arc::new(SimClocks::new(UtcMicros(utc))));
        (time.clone(), FlooredTime::new(time, floor.clone()))
    }

    #[test]
    fn a_box_that_woke_up_in_1970_uses_the_floor() {
        let floor = TimeFloor::new(None);
        let (_, verifier) = at(5, &floor);
        assert_eq!(verifier.now(), OLDEST_BUILD);
        let later = OLDEST_BUILD.plus_us(1_000_000);
        floor.raise(later);
        assert_eq!(verifier.now(), later);
        floor.raise(OLDEST_BUILD);
        assert_eq!(floor.get(), later, "never goes back");
    }

    #[test]
    fn a_measured_offset_corrects_the_clock() {
        let floor = TimeFloor::new(None);
        let (time, verifier) = at(OLDEST_BUILD.0, &floor);
        time.set_stamp(ClockStamp {
            state: ClockState::Synced,
            offset_us: 7_000_000,
            error_us: Some(10),
        });
        assert_eq!(verifier.now(), OLDEST_BUILD.plus_us(7_000_000));
    }
}
