//! All times of a record are on the clock of that record: what was stamped before the clock was set goes with it. Pure.

use std::time::Duration;
use wire::RecordTime;

/// Less than this is the clock's ordinary steering, or the moment between reading two clocks.
const CLOCK_SET_US: i64 = 100_000;

/// When this boot began, by the clock that the times beside it were told in.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToldIn {
    utc_at_boot_us: i64,
}

impl ToldIn {
    pub(super) fn new(time: &RecordTime) -> Self {
        Self {
            utc_at_boot_us: utc_at_boot_us(time),
        }
    }

    /// By how much the clock was set since, as by the first sync after a boot in 1970; zero for less than matters. From
    /// now on the times count as told in the new clock.
    pub(super) fn set_by_us(&mut self, time: &RecordTime) -> i64 {
        let set_by_us = utc_at_boot_us(time).saturating_sub(self.utc_at_boot_us);
        if set_by_us.abs() < CLOCK_SET_US {
            return 0;
        }
        self.utc_at_boot_us += set_by_us;
        set_by_us
    }
}

fn utc_at_boot_us(time: &RecordTime) -> i64 {
    let boottime_us = i64::try_from(time.boottime_ns / 1000).unwrap_or(i64::MAX);
    time.captured_at_us.0.saturating_sub(boottime_us)
}

/// Intervals are taken from the clock that never jumps.
pub(super) fn monotonic(time: &RecordTime) -> Duration {
    Duration::from_nanos(time.boottime_ns)
}
