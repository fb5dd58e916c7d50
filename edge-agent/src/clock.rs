//! Where time comes from: the real clocks, or simulated ones that a test advances.
//!
//! UTC is for records and people, never for intervals: it jumps. Intervals use `boottime`, which counts through
//! suspend and never goes back.

use std::sync::{Arc, RwLock};
use std::time::Duration;
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
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        UtcMicros(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)
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
    stamp: Arc<RwLock<ClockStamp>>,
}

impl TimeSource {
    pub fn new(clocks: Arc<dyn Clocks>) -> Self {
        Self {
            clocks,
            stamp: Arc::new(RwLock::new(ClockStamp::UNSYNCED)),
        }
    }

    pub fn clocks(&self) -> &dyn Clocks {
        &*self.clocks
    }

    /// The time of something that happens now.
    pub fn now(&self) -> RecordTime {
        RecordTime {
            captured_at_us: self.clocks.utc(),
            boot_id: self.clocks.boot_id(),
            boottime_ns: u64::try_from(self.clocks.boottime().as_nanos())
                .expect("no machine has been up for 584 years"),
            clock: self.stamp(),
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
        *self
            .stamp
            .read()
            .expect("stamps are copied, never computed, under the lock")
    }

    /// Called by the clock task alone, whenever it knows better.
    pub fn set_stamp(&self, stamp: ClockStamp) {
        *self
            .stamp
            .write()
            .expect("stamps are copied, never computed, under the lock") = stamp;
    }
}
