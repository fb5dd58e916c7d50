//! What is missing from a timeline, and what is known of why: as the database has it, before anybody words it.

use serde::Serialize;
use wire::heartbeat::Heartbeat;
use wire::{CameraId, DeviceId, SiteId, UtcMicros};

/// A stretch of time: from, and up to but without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    pub from_us: UtcMicros,
    pub to_us: UtcMicros,
}

/// Everything that touches a window of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Missing {
    pub losses: Vec<Loss>,
    pub stops: Vec<Stop>,
    /// Devices as they are now, with what of theirs has not arrived.
    pub awaited: Vec<Awaited>,
    /// There were more losses than are read at once; the oldest were left out.
    pub cut: bool,
}

/// Where something is missing: at a camera, or at a device and so at all of its cameras.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Spot {
    pub site: SiteId,
    pub site_name: String,
    pub device: DeviceId,
    pub camera: Option<(CameraId, String)>,
}

/// A gap record: lost for good, as the device states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    pub spot: Spot,
    /// A media class or a kind of record.
    pub class: String,
    pub reason: String,
    /// 0: the device does not know how many.
    pub count: u64,
    pub from_us: UtcMicros,
    pub to_us: UtcMicros,
    /// Otherwise the device's clock was not set, and the times are when the loss was told.
    pub when_known: bool,
}

/// Nothing was watched: a camera gave no video, or the device did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stop {
    pub spot: Spot,
    /// Of a camera: as it said at last.
    pub reason: Option<String>,
    pub from_us: UtcMicros,
    /// Absent: it goes on.
    pub to_us: Option<UtcMicros>,
}

/// A device that was heard at least once and is in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Awaited {
    pub spot: Spot,
    pub heard_us: UtcMicros,
    pub heartbeat: Option<Heartbeat>,
    pub holes: Vec<Hole>,
}

/// Record numbers between two stored ones that are not here, though nobody refused them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    pub records: u64,
    pub from_us: UtcMicros,
    pub to_us: UtcMicros,
}
