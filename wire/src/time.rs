//! Time as records state it: what the clock said, and how far it may be trusted.
//!
//! A record's time is never rewritten. A later `clock` record, or the offset in the stamp itself, lets the
//! reader compute the true time beside the original.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Microseconds since 1970-01-01T00:00:00Z, as the device's clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcMicros(pub i64);

impl UtcMicros {
    pub fn plus_us(self, us: i64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// `self - earlier` in microseconds; negative if `earlier` is later.
    pub fn since_us(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one boot of the device (Linux `/proc/sys/kernel/random/boot_id`); `boottime_ns` counts within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub Uuid);

/// Trust in the device's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockState {
    /// No usable answer of a time server since the agent started.
    Unsynced,
    /// Servers answered before, but not lately: the error bound grows.
    Holdover,
    /// Enough servers agreed lately.
    Synced,
    /// A state this version does not know. Never written; read as "do not trust".
    #[serde(other)]
    Unknown,
}

/// What is known of the clock at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStamp {
    pub state: ClockState,
    /// True time minus device time, in microseconds; 0 while unsynced.
    pub offset_us: i64,
    /// The true offset lies within `offset_us` plus or minus this; absent while unsynced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_us: Option<u64>,
}

impl ClockStamp {
    pub const UNSYNCED: ClockStamp = ClockStamp {
        state: ClockState::Unsynced,
        offset_us: 0,
        error_us: None,
    };
}

/// When something happened, with all that is needed to judge and correct it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordTime {
    pub captured_at_us: UtcMicros,
    pub boot_id: BootId,
    /// `CLOCK_BOOTTIME` in nanoseconds at the same instant.
    pub boottime_ns: u64,
    pub clock: ClockStamp,
}

impl RecordTime {
    /// The first moment there is: of something that nobody will date, such as a picture that came from no camera.
    pub const BEGINNING: RecordTime = RecordTime {
        captured_at_us: UtcMicros(0),
        boot_id: BootId(Uuid::nil()),
        boottime_ns: 0,
        clock: ClockStamp::UNSYNCED,
    };

    /// The best guess of the true time: the device's time plus its measured offset.
    pub fn corrected_us(&self) -> UtcMicros {
        self.captured_at_us.plus_us(self.clock.offset_us)
    }
}
