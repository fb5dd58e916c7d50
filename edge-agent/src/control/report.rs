//! What the running agent says about itself: one report that `status`, `--json` and the support bundle share.
//!
//! For programs too: fields are only ever added, and readers tolerate what they do not know.

use crate::health::WorkerStatus;
use crate::ntp::ClockReport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::{CameraId, DeviceId, UtcMicros};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    pub version: String,
    pub device: DeviceId,
    /// The device's clock when this was said.
    pub now_us: UtcMicros,
    pub started_at_us: UtcMicros,
    pub uptime_seconds: u64,
    pub config_file: String,
    /// Name of the model that looks at frames.
    pub model: String,
    /// What runs it: `cpu`, `openvino`, ...
    #[serde(default)]
    pub provider: String,
    /// What decodes the cameras' streams, as far as one has been needed.
    #[serde(default)]
    pub decoders: Vec<DecoderLine>,
    /// Absent until `edge-agent enroll`.
    pub enrollment: Option<EnrollmentReport>,
    pub cameras: Vec<CameraLine>,
    pub spool: SpoolLine,
    pub uplink: UplinkLine,
    pub clock: ClockReport,
    /// Every unit of the agent by name.
    pub units: BTreeMap<String, WorkerStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnrollmentReport {
    pub contract: String,
    pub site: String,
    pub receiver: String,
    /// When the device's certificate ends; renewed long before, as long as the receiver can be reached.
    #[serde(default)]
    pub certificate_until_us: Option<UtcMicros>,
}

/// A decoder that was chosen, by codec and by what it is used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderLine {
    /// `h264`, `h265`.
    pub codec: String,
    /// `stream`: every picture of a camera; `stills`: single key frames of many.
    pub feed: String,
    /// GStreamer's name of it.
    pub element: String,
    pub hardware: bool,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraLine {
    pub camera: CameraId,
    pub name: String,
    /// `starting`, `running`, `retrying`, `disabled`.
    pub state: String,
    /// Why it is not running: `connect`, `auth`, `timeout`, `eos`, `decode`.
    pub reason: Option<String>,
    pub since_us: UtcMicros,
    pub last_error: Option<String>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub codec: Option<String>,
    pub fps_in: f32,
    pub fps_decoded: f32,
    /// Looks a second: what was given ...
    pub fps_analysed: f32,
    /// ... and what the camera is worth now. More than was given: the machine has not time for all that moves.
    #[serde(default)]
    pub fps_asked: f32,
    #[serde(default)]
    pub gate: GateLine,
    pub frames_in: u64,
    pub frames_decoded: u64,
    pub frames_analysed: u64,
    /// Objects found, in all looks together.
    #[serde(default)]
    pub detections: u64,
    /// Frames that a newer one replaced before anybody looked: loss door 1.
    pub frames_overwritten: u64,
    pub reconnects: u64,
    /// Encoded video kept for what led up to an event.
    pub ring_bytes: u64,
    pub inference_ms_mean: Option<f32>,
    pub inference_ms_p95: Option<f32>,
    pub events_open: u64,
    pub events_total: u64,
    /// Pictures that the media worker had no time for: loss door 2. Their events are untouched.
    pub pictures_missed: u64,
    /// Frames that could not be analysed.
    pub analysis_errors: u64,
}

/// What decides which of a camera's frames are decoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GateLine {
    /// `learning`, `sizes`, `complexity`, `key_frames`, `key_frames_and_openings`, `everything`.
    pub mode: String,
    /// Why it is this one, in a sentence.
    pub why: String,
    /// Everything is decoded at the moment, because something moves or is followed.
    pub active: bool,
    pub triggers: u64,
    /// Decoded from memory: what led up to a movement.
    pub frames_caught_up: u64,
    /// Groups of pictures that were to be decoded whole, and those that were: fewer when too many cameras show something.
    pub turns_asked: u64,
    pub turns_given: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpoolLine {
    pub pending_records: u64,
    pub pending_blobs: u64,
    pub bytes: u64,
    pub quota_bytes: u64,
    pub oldest_pending_us: Option<UtcMicros>,
    /// Refused by the receiver for good, kept for a person to look at.
    pub parked_records: u64,
    /// Dropped at the quota since the spool was made: loss door 3.
    pub shed: u64,
    /// The same as in the cameras' lines, of all cameras.
    pub pictures_missed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UplinkLine {
    /// `mqtt`, `https`, `offline`, `not enrolled`, `disabled`.
    pub carriage: String,
    pub since_us: UtcMicros,
    pub last_error: Option<String>,
    pub batches_sent: u64,
    pub blobs_sent: u64,
    pub receipts: u64,
    pub last_receipt_us: Option<UtcMicros>,
}
