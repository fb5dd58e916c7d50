//! Where time comes from: the real clocks, or simulated ones that a test advances.
//!
//! UTC is for records and people, never for intervals: it jumps. Intervals use `boottime`, which counts through
//! suspend and never goes back.
//!
//! When something else on the machine sets UTC, every stamp from then on says so at once: the offset is reckoned anew
//! for each, from the boot-time clock that nobody sets. A record can therefore be corrected whatever happened to the
//! clock a moment ago.

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::{BootId, ClockStamp, RecordTime, UtcMicros};

pub trait Clocks: Send + Sync + std::fmt::Debug {
    /// What the system's clock says, right or wrong.
    fn utc(&self) -> UtcMicros;
    /// `CLOCK_BOOTTIME`: since this boot, suspend included.
    fn boottime(&self) -> Duration;
    fn boot_id(&self) -> BootId;
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct RealClocks {
    boot_id: BootId,
}

impl RealClocks {
    /// Reads the kernel's boot id; where there is none (not Linux), draws one for this process.
    pub fn new() -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| uuid::Uuid::parse_str(text.trim()).ok())
            .unwrap_or_else(uuid::Uuid::new_v4);
        Self {
            boot_id: BootId(boot_id),
        }
    }
}

impl Default for RealClocks {
    fn default() -> Self {
        Self::new()
    }
}

impl Clocks for RealClocks {
    fn utc(&self) -> UtcMicros {
        // By way of libc, so that a test may set another time for one process.
        let now = SystemTime::now();
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        UtcMicros(match now.duration_since(UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        })
    }

    fn boottime(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(now.tv_sec).expect("boot time is not negative"),
            u32::try_from(now.tv_nsec).expect("nanoseconds are below 10^9"),
        )
    }

    fn boot_id(&self) -> BootId {
        self.boot_id
    }
}

/// What the device's clock says now of a moment by its boot clock: it may have been set since.
pub fn utc_of(clocks: &dyn Clocks, then: Duration) -> UtcMicros {
    let age_us = clocks.boottime().saturating_sub(then).as_micros();
    let age_us = i64::try_from(age_us).unwrap_or(i64::MAX);
    clocks.utc().plus_us(-age_us)
}

/// Clocks a test holds in its hand. Time stands still until `advance`.
#[derive(Debug)]
pub struct SimClocks {
    state: RwLock<(UtcMicros, Duration)>,
    boot_id: BootId,
}

impl SimClocks {
    pub fn new(utc: UtcMicros) -> Self {
        Self {
            state: RwLock::new((utc, Duration::from_secs(1))),
            boot_id: BootId(uuid::Uuid::from_u128(1)),
        }
    }

    pub fn advance(&self, by: Duration) {
        let mut state = self.state.write().expect("no test panics while advancing");
        let by_us =
            i64::try_from(by.as_micros()).expect("tests advance by less than 292,000 years");
        *state = (state.0.plus_us(by_us), state.1 + by);
    }

    /// Somebody sets the clock; the boot-time clock goes on.
    pub fn step_us(&self, by_us: i64) {
        let mut state = self.state.write().expect("no test panics while stepping");
        state.0 = state.0.plus_us(by_us);
    }
}

impl Clocks for SimClocks {
    fn utc(&self) -> UtcMicros {
        self.state.read().expect("no test panics while advancing").0
    }

    fn boottime(&self) -> Duration {
        self.state.read().expect("no test panics while advancing").1
    }

    fn boot_id(&self) -> BootId {
        self.boot_id
    }
}

/// Stamps records: the clocks together with what is known of their trustworthiness. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TimeSource {
    clocks: Arc<dyn Clocks>,
    known: Arc<RwLock<Known>>,
}

/// What is known of the clock, and how the clocks stood to each other then.
#[derive(Clone, Copy, Debug)]
struct Known {
    stamp: ClockStamp,
    /// By the device's own clock.
    utc_at_boot_us: i64,
}

/// Device time of the boot.
fn utc_at_boot_us(utc: UtcMicros, boottime: Duration) -> i64 {
    let boottime_us = i64::try_from(boottime.as_micros()).unwrap_or(i64::MAX);
    utc.0.saturating_sub(boottime_us)
}

impl TimeSource {
    pub fn new(clocks: Arc<dyn Clocks>) -> Self {
        Self {
            clocks,
            known: Arc::new(RwLock::new(Known {
                stamp: ClockStamp::UNSYNCED,
                utc_at_boot_us: 0,
            })),
        }
    }

    pub fn clocks(&self) -> &dyn Clocks {
        &*self.clocks
    }

    /// The time of something that happens now.
    pub fn now(&self) -> RecordTime {
        let (utc, boottime) = (self.clocks.utc(), self.clocks.boottime());
        RecordTime {
            captured_at_us: utc,
            boot_id: self.clocks.boot_id(),
            boottime_ns: u64::try_from(boottime.as_nanos())
                .expect("no machine has been up for 584 years"),
            clock: self.known().stamp_at(utc, boottime),
        }
    }

    /// The time of something that happened `age` ago.
    pub fn before(&self, age: Duration) -> RecordTime {
        let now = self.now();
        let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let age_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        RecordTime {
            captured_at_us: now.captured_at_us.plus_us(-age_us),
            boottime_ns: now.boottime_ns.saturating_sub(age_ns),
            ..now
        }
    }

    pub fn stamp(&self) -> ClockStamp {
        let (utc, boottime) = (self.clocks.utc(), self.clocks.boottime());
        self.known().stamp_at(utc, boottime)
    }

    /// Called by the clock task alone, whenever it knows better: true of the clocks as they stand now.
    pub fn set_stamp(&self, stamp: ClockStamp) {
        let (utc, boottime) = (self.clocks.utc(), self.clocks.boottime());
        self.set_stamp_of(stamp, utc, boottime);
    }

    /// The same for clocks that were read a moment ago.
    pub fn set_stamp_of(&self, stamp: ClockStamp, utc: UtcMicros, boottime: Duration) {
        *self
            .known
            .write()
            .expect("what is known is copied, never computed, under the lock") = Known {
            stamp,
            utc_at_boot_us: utc_at_boot_us(utc, boottime),
        };
    }

    fn known(&self) -> Known {
        *self
            .known
            .read()
            .expect("what is known is copied, never computed, under the lock")
    }
}

impl Known {
    /// The stamp for clocks that show this: what the device's clock was set by since is not the true time's doing.
    fn stamp_at(self, utc: UtcMicros, boottime: Duration) -> ClockStamp {
        if self.stamp.error_us.is_none() {
            return self.stamp;
        }
        let set_by_us = utc_at_boot_us(utc, boottime).saturating_sub(self.utc_at_boot_us);
        ClockStamp {
            offset_us: self.stamp.offset_us.saturating_sub(set_by_us),
            ..self.stamp
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ClockState;

    const DAY_US: i64 = 86_400_000_000;

    #[test]
    fn fault_28_a_clock_that_is_set_makes_no_record_wrong_not_even_the_next_one() {
        let clocks = Arc::new(SimClocks::new(UtcMicros(1_000_000)));
        let time = TimeSource::new(clocks.clone());
        clocks.advance(Duration::from_secs(600));
        clocks.step_us(56 * 365 * DAY_US);
        assert_eq!(time.now().clock, ClockStamp::UNSYNCED, "nothing is known");

        let offset_us = 123_000;
        time.set_stamp(ClockStamp {
            state: ClockState::Synced,
            offset_us,
            error_us: Some(1_000),
        });
        let truth = time.now().corrected_us();
        for step_us in [400 * DAY_US, -800 * DAY_US, 3_600_000_000, -7_200_000_000] {
            clocks.step_us(step_us);
            assert_eq!(time.now().corrected_us(), truth, "set by {step_us} us");
        }
        clocks.advance(Duration::from_secs(5));
        assert_eq!(time.now().corrected_us(), truth.plus_us(5_000_000));
        let before = time.before(Duration::from_secs(5));
        assert_eq!(before.corrected_us(), truth);
    }
}
