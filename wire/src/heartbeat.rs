//! What a device says about itself every minute. Not a record: it is not kept, only the latest one counts.

use crate::ids::{CameraId, Epoch};
use crate::time::{ClockStamp, UtcMicros};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub sent_at_us: UtcMicros,
    pub epoch: Epoch,
    pub agent_version: String,
    pub uptime_seconds: u64,
    pub clock: ClockStamp,
    /// Time since a time server last answered; absent if none ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_checked_seconds_ago: Option<u64>,
    pub spool: SpoolReport,
    /// `mqtt`, or `https` while MQTT is blocked.
    pub carriage: String,
    #[serde(default)]
    pub cameras: Vec<CameraReport>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolReport {
    pub pending_records: u64,
    pub pending_blobs: u64,
    pub bytes: u64,
    pub parked_records: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_pending_us: Option<UtcMicros>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraReport {
    pub camera: CameraId,
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub since_us: UtcMicros,
    pub frames_per_second_in: f32,
    pub frames_per_second_analysed: f32,
}
