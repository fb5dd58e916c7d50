//! What is known of the device's clock as time goes by: unsynced, synced, holdover. Pure.
//!
//! The true time is remembered against the boot-time clock, which nobody sets. So when something else on the
//! machine steps the UTC clock, the offset follows at once instead of being wrong until the next poll.

use super::select::Interval;
use std::time::Duration;
use wire::{ClockStamp, ClockState, UtcMicros};

/// How fast the machine's clock may run wrong without being watched, in millionths. A cheap quartz stays below
/// this from 0 to 70 degrees.
pub const DRIFT_PPM: u64 = 50;

/// Both clocks of the machine at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    pub utc: UtcMicros,
    pub boottime: Duration,
}

impl Instant {
    /// UTC at the boot, as the device's clock has it now.
    fn utc_at_boot_us(self) -> i64 {
        let boottime_us = i64::try_from(self.boottime.as_micros()).unwrap_or(i64::MAX);
        self.utc.plus_us(-boottime_us).0
    }
}

/// Something about the true time, held against the boot-time clock so that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    true_utc_at_boot_us: i64,
    error_us: u64,
    at_boottime: Duration,
}

impl Anchored {
    pub fn new(interval: Interval, at: Instant) -> Self {
        Self {
            true_utc_at_boot_us: at.utc_at_boot_us().saturating_add(interval.offset_us),
            error_us: interval.error_us,
            at_boottime: at.boottime,
        }
    }

    /// The same knowledge later: the offset against what the clock says then, the error grown.
    pub fn at(self, now: Instant) -> Interval {
        let age_us = u64::try_from(self.age(now).as_micros()).unwrap_or(u64::MAX);
        Interval {
            offset_us: self
                .true_utc_at_boot_us
                .saturating_sub(now.utc_at_boot_us()),
            error_us: self
                .error_us
                .saturating_add(age_us.saturating_mul(DRIFT_PPM) / 1_000_000),
        }
    }

    pub fn age(self, now: Instant) -> Duration {
        now.boottime.saturating_sub(self.at_boottime)
    }
}

/// A change that records made earlier should be read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    pub before: ClockStamp,
    pub after: ClockStamp,
}

/// The state of the device's clock.
#[derive(Debug)]
pub struct Discipline {
    holdover_after: Duration,
    agreed: Option<Anchored>,
    stamp: ClockStamp,
}

impl Discipline {
    pub fn new(holdover_after: Duration) -> Self {
        Self {
            holdover_after,
            agreed: None,
            stamp: ClockStamp::UNSYNCED,
        }
    }

    pub fn stamp(&self) -> ClockStamp {
        self.stamp
    }

    /// When servers last agreed.
    pub fn agreed(&self) -> Option<Anchored> {
        self.agreed
    }

    /// Servers agreed on `interval` just now. What they agree on replaces what was believed, unless that is still the
    /// narrower truth: an answer over a slow path does not blur a good one.
    pub fn agree(&mut self, interval: Interval, now: Instant) -> Option<Correction> {
        let new = Anchored::new(interval, now);
        let kept = self.agreed.filter(|known| {
            let known = known.at(now);
            known.overlaps(interval) && known.error_us < interval.error_us
        });
        self.agreed = Some(match kept {
            Some(known) => {
                let known = known.at(now);
                Anchored::new(known, now)
            }
            None => new,
        });
        self.tick(now)
    }

    /// Time went by. Tells when the offset is no longer what earlier records were stamped with.
    pub fn tick(&mut self, now: Instant) -> Option<Correction> {
        let agreed = self.agreed?;
        let interval = agreed.at(now);
        let state = if agreed.age(now) < self.holdover_after {
            ClockState::Synced
        } else {
            ClockState::Holdover
        };
        let after = ClockStamp {
            state,
            offset_us: interval.offset_us,
            error_us: Some(interval.error_us),
        };
        let before = std::mem::replace(&mut self.stamp, after);
        let jumped = match before.error_us {
            None => true,
            Some(error_us) => {
                let before = Interval {
                    offset_us: before.offset_us,
                    error_us,
                };
                !before.overlaps(interval)
            }
        };
        jumped.then_some(Correction { before, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(utc_us: i64, boottime: Duration) -> Instant {
        Instant {
            utc: UtcMicros(utc_us),
            boottime,
        }
    }

    fn interval(offset_us: i64, error_us: u64) -> Interval {
        Interval {
            offset_us,
            error_us,
        }
    }

    #[test]
    fn the_first_agreement_is_a_correction_and_the_next_ones_are_not() {
        let mut clock = Discipline::new(10 * MINUTE);
        assert_eq!(clock.tick(at(0, MINUTE)), None);
        assert_eq!(clock.stamp(), ClockStamp::UNSYNCED);

        let first = clock
            .agree(interval(5_000, 1_000), at(0, MINUTE))
            .expect("first sync");
        assert_eq!(first.before, ClockStamp::UNSYNCED);
        assert_eq!(first.after.offset_us, 5_000);
        assert_eq!(clock.stamp().state, ClockState::Synced);

        assert_eq!(
            clock.agree(
                interval(5_500, 900),
                at(64_000_000, 2 * MINUTE + Duration::from_secs(4))
            ),
            None
        );
    }

    #[test]
    fn without_answers_it_holds_over_and_trusts_itself_less() {
        let mut clock = Discipline::new(10 * MINUTE);
        clock.agree(interval(0, 1_000), at(0, Duration::ZERO));
        assert_eq!(clock.tick(at(600_000_000, 10 * MINUTE)), None);
        let stamp = clock.stamp();
        assert_eq!(stamp.state, ClockState::Holdover);
        // 600 s at 50 ppm are 30 ms.
        assert_eq!(stamp.error_us, Some(31_000));

        clock.agree(interval(0, 1_000), at(660_000_000, 11 * MINUTE));
        assert_eq!(clock.stamp().state, ClockState::Synced);
        assert_eq!(clock.stamp().error_us, Some(1_000));
    }

    #[test]
    fn a_stepped_clock_is_noticed_without_any_server() {
        let mut clock = Discipline::new(10 * MINUTE);
        clock.agree(interval(0, 1_000), at(0, Duration::ZERO));
        // A minute on the boot clock, an hour and a minute on the UTC clock.
        let correction = clock
            .tick(at(3_660_000_000, MINUTE))
            .expect("beyond the bounds");
        assert_eq!(correction.before.offset_us, 0);
        assert_eq!(correction.after.offset_us, -3_600_000_000);
        assert_eq!(
            clock.tick(at(3_661_000_000, MINUTE + Duration::from_secs(1))),
            None
        );
    }

    #[test]
    fn a_blurred_answer_does_not_replace_a_sharp_one() {
        let mut clock = Discipline::new(10 * MINUTE);
        clock.agree(interval(0, 1_000), at(0, Duration::ZERO));
        clock.agree(interval(40_000, 50_000), at(60_000_000, MINUTE));
        assert_eq!(clock.stamp().offset_us, 0);
        assert_eq!(clock.stamp().error_us, Some(4_000));

        // One that contradicts it does.
        let jump = clock.agree(
            interval(90_000, 50_000),
            at(61_000_000, MINUTE + Duration::from_secs(1)),
        );
        assert!(jump.is_some());
        assert_eq!(clock.stamp().offset_us, 90_000);
    }
}
