//! The time floor: the earliest moment it can possibly be, so that TLS works on a box that woke up in 1970.
//!
//! Raised only by what a verified receiver said, never by a time server alone: a liar must not push a box into a
//! future from which it never returns. Whoever keeps the identity persists it (`changes`).

use crate::clock::TimeSource;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::sync::{Arc, Mutex};
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

/// The verifier's clock: the device's, corrected by what time servers say, but never before the floor. What a
/// verified receiver stated since this start, carried on by the boot-time clock, is better than either: it does
/// not jump when somebody sets the clock.
#[derive(Clone, Debug)]
pub struct FlooredTime {
    time: TimeSource,
    floor: TimeFloor,
    stated: Arc<Mutex<Option<Stated>>>,
}

/// What a verified receiver's clock said, and when on ours.
#[derive(Clone, Copy, Debug)]
struct Stated {
    utc: UtcMicros,
    boottime: Duration,
}

impl FlooredTime {
    pub fn new(time: TimeSource, floor: TimeFloor) -> Self {
        Self {
            time,
            floor,
            stated: Arc::default(),
        }
    }

    /// Only for a time that a receiver stated whose certificate was verified.
    pub fn heard(&self, verified: UtcMicros) {
        self.floor.raise(verified);
        let boottime = self.time.clocks().boottime();
        *self.lock() = Some(Stated {
            utc: verified,
            boottime,
        });
    }

    /// The receiver's clock now, if it was heard since this start.
    pub fn of_receiver(&self) -> Option<UtcMicros> {
        let stated = (*self.lock())?;
        let passed = self
            .time
            .clocks()
            .boottime()
            .saturating_sub(stated.boottime);
        let passed_us = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        Some(stated.utc.plus_us(passed_us))
    }

    /// How long ago the receiver was heard, if it was since this start.
    pub fn age_of_statement(&self) -> Option<Duration> {
        let stated = (*self.lock())?;
        Some(
            self.time
                .clocks()
                .boottime()
                .saturating_sub(stated.boottime),
        )
    }

    /// The best guess at the true time.
    pub fn now(&self) -> UtcMicros {
        let now = self.time.now();
        let guess = match now.clock.state {
            ClockState::Synced | ClockState::Holdover => now.corrected_us(),
            // Somebody may have set it, or its battery is flat.
            ClockState::Unsynced | ClockState::Unknown => {
                self.of_receiver().unwrap_or(now.captured_at_us)
            }
        };
        guess.max(self.floor.get())
    }

    /// A time that is certainly past, where the clock may have jumped ahead of the true one: by it a certificate
    /// that only seems to have expired is looked at once more. `None`: there is no reason to doubt the clock.
    pub fn in_doubt(&self) -> Option<UtcMicros> {
        let floor = self.floor.get();
        match (self.of_receiver(), self.time.stamp().state) {
            (Some(stated), _) => Some(stated.max(floor)),
            (None, ClockState::Synced | ClockState::Holdover) => None,
            (None, ClockState::Unsynced | ClockState::Unknown) => Some(floor),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stated>> {
        self.stated
            .lock()
            .expect("it is only copied under the lock")
    }
}

/// As TLS counts it.
pub(super) fn unix_time(at: UtcMicros) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(at.0).unwrap_or(0)))
}

impl TimeProvider for FlooredTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.now()))
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
    fn what_the_receiver_stated_survives_a_jump_of_the_clock() {
        const DAYS_400_US: i64 = 400 * 24 * 3600 * 1_000_000;
        let clocks = Arc::new(SimClocks::new(OLDEST_BUILD.plus_us(DAYS_400_US)));
        let time = TimeSource::new(clocks.clone());
        let verifier = FlooredTime::new(time, TimeFloor::new(None));
        assert_eq!(verifier.now(), OLDEST_BUILD.plus_us(DAYS_400_US));
        assert_eq!(verifier.in_doubt(), Some(OLDEST_BUILD));
        verifier.heard(OLDEST_BUILD.plus_us(5));
        clocks.advance(Duration::from_secs(1));
        let expected = OLDEST_BUILD.plus_us(1_000_005);
        assert_eq!(verifier.of_receiver(), Some(expected));
        assert_eq!(verifier.now(), expected);
        assert_eq!(verifier.in_doubt(), Some(expected));
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
