//! The record: one fact a device states, as JSON with a `kind` and a version `v`.
//!
//! Its key is `(device, epoch, seq)`, given by its place in a [`crate::Batch`], so it does not repeat it.
//! Unknown fields are ignored and an unknown `kind` is kept as [`Body::Unknown`]: it is stored, counted and
//! receipted like any other, because a newer device must be able to deliver to an older receiver.

use crate::digest::Sha256;
use crate::ids::{CameraId, CommandId, EventId};
use crate::time::{ClockStamp, RecordTime, UtcMicros};
use serde::{Deserialize, Serialize};

mod read;

/// The version this crate writes.
pub const VERSION: u8 = 1;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    pub v: u8,
    #[serde(flatten)]
    pub time: RecordTime,
    #[serde(flatten)]
    pub body: Body,
}

impl Record {
    pub fn new(time: RecordTime, body: Body) -> Self {
        Self {
            v: VERSION,
            time,
            body,
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("records hold only what JSON can say")
    }

    /// In one pass where the fields stand as [`Record::to_json`] puts them, else in two.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        match read::in_order(bytes)? {
            Some(record) => Ok(record),
            None => read::in_any_order(bytes),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    Event(EventRecord),
    Media(MediaRecord),
    Count(CountRecord),
    CameraState(CameraStateRecord),
    DeviceState(DeviceStateRecord),
    Clock(ClockRecord),
    Gap(GapRecord),
    Audit(AuditRecord),
    /// A kind that a newer device makes. Never written.
    #[serde(skip_serializing)]
    Unknown,
}

impl Body {
    /// The word in `kind`; also the class under which the balance counts a record.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Event(_) => "event",
            Body::Media(_) => "media",
            Body::Count(_) => "count",
            Body::CameraState(_) => "camera_state",
            Body::DeviceState(_) => "device_state",
            Body::Clock(_) => "clock",
            Body::Gap(_) => "gap",
            Body::Audit(_) => "audit",
            Body::Unknown => "unknown",
        }
    }

    /// The camera a record speaks of, where it speaks of one.
    pub fn camera(&self) -> Option<CameraId> {
        match self {
            Body::Event(event) => Some(event.camera),
            Body::Media(media) => Some(media.camera),
            Body::Count(count) => Some(count.camera),
            Body::CameraState(state) => Some(state.camera),
            Body::Gap(gap) => gap.camera,
            Body::DeviceState(_) | Body::Clock(_) | Body::Audit(_) | Body::Unknown => None,
        }
    }
}

/// A rectangle in fractions of the picture: 0 is left or top, 1 is right or bottom.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormBox {
    pub x: f32,
    pub y: f32,
    pub w: f32,
    pub h: f32,
}

/// One object in a picture: what a viewer draws over it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectBox {
    /// `person`, `vehicle`, `bicycle`, ...: the customer's classes, not the model's labels.
    pub class: String,
    pub score: f32,
    #[serde(flatten)]
    pub rect: NormBox,
    /// The track it belongs to, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<u64>,
    /// The open event it belongs to, where it belongs to one: several events may share one picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
}

/// What a record says of an event's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    Opened,
    Updated,
    Closed,
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A fact worth telling the customer. All revisions of one event share `id`; the highest `revision` is the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "read::EventFields")]
pub struct EventRecord {
    pub id: EventId,
    /// 1 with `opened`, then counting up.
    pub revision: u32,
    pub state: EventState,
    pub camera: CameraId,
    pub class: String,
    /// Highest score so far.
    pub score: f32,
    /// Capture time of the frame that confirmed the event.
    pub opened_at_us: UtcMicros,
    pub last_seen_at_us: UtcMicros,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at_us: Option<UtcMicros>,
    /// Local to one run of the camera.
    pub track: u64,
    /// Where the object is at this revision.
    #[serde(flatten)]
    pub rect: NormBox,
    /// Bottom centre of the object over time, thinned; at most [`MAX_PATH_POINTS`].
    #[serde(default)]
    pub path: Vec<PathPoint>,
    /// Names of the zones its object has been in so far.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Why it is told, in order of time; at most [`MAX_REASONS`]. Empty: an object was seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// Blobs known when the record was made; later ones name the event in their own `media` record.
    #[serde(default)]
    pub media: Vec<Sha256>,
}

/// The class of events that speak of a camera and not of an object in its picture.
pub const CAMERA_CLASS: &str = "camera";

/// One thing that made an event worth telling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Of an object: `zone` (it came into one), `line` (it crossed one), `loitering` (it stayed in a zone for long).
    /// Of a zone: `occupancy` (so many are in it). Of a camera, class [`CAMERA_CLASS`]: `covered`, `turned`,
    /// `defocused`, `frozen`, `black`, `dark`; and [`UNWATCHED`], last, where the event ended without an all-clear.
    pub rule: String,
    /// Of the zone or line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of a line: `in` or `out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// Of `occupancy`: how many at most so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Of `loitering`: seconds of stay that were reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    pub at_us: UtcMicros,
}

/// Of a camera: its agent was stopped or cut off meanwhile, so nobody knows whether, or since when, it sees again.
pub const UNWATCHED: &str = "unwatched";

/// Most reasons of an event.
pub const MAX_REASONS: usize = 32;

/// Most points of an event's path.
pub const MAX_PATH_POINTS: usize = 64;

/// Bottom centre of an object, in fractions of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathPoint {
    pub at_us: UtcMicros,
    pub x: f32,
    pub y: f32,
}

/// Classes of blobs. The order is the order of shedding: what is shed first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaClass {
    Clip,
    /// One picture a minute of every camera: the overview's latest picture.
    Periodic,
    /// A file about the box itself, asked for by a command. As dear as a requested picture, and of no camera.
    Diagnostic,
    /// Asked for by a command.
    Requested,
    /// The picture of an event.
    Snapshot,
    #[serde(other, skip_serializing)]
    Unknown,
}

impl MediaClass {
    pub fn as_str(self) -> &'static str {
        match self {
            MediaClass::Clip => "clip",
            MediaClass::Periodic => "periodic",
            MediaClass::Diagnostic => "diagnostic",
            MediaClass::Requested => "requested",
            MediaClass::Snapshot => "snapshot",
            MediaClass::Unknown => "unknown",
        }
    }
}

/// What a blob is. Being in a signed batch, it is also the proof that the blob is genuine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaRecord {
    pub sha256: Sha256,
    pub class: MediaClass,
    pub bytes: u64,
    pub content_type: String,
    pub camera: CameraId,
    pub width: u32,
    pub height: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    /// Everything found in this very frame; boxes are data beside the picture, never burned in.
    #[serde(default)]
    pub boxes: Vec<ObjectBox>,
    /// Of several snapshots of one event the one of highest quality is shown.
    #[serde(default)]
    pub quality: f32,
    /// Whether a privacy mask was filled before the picture was stored.
    #[serde(default)]
    pub masked: bool,
    /// Of a camera that no longer sees: `before` and `after` it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
}

/// How many tracks were seen, or crossed a line, within one minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountRecord {
    pub camera: CameraId,
    pub minute_us: UtcMicros,
    pub class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    pub count: u32,
    /// Of a zone: the most that were in it at one moment of the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<u32>,
}

/// A camera came, went or changed. The first one of a camera makes it known to the receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraStateRecord {
    pub camera: CameraId,
    /// The name from the device's configuration.
    pub name: String,
    /// `starting`, `running`, `retrying`, `removed`.
    pub state: String,
    /// Why it is not running: `connect`, `auth`, `timeout`, `eos`, `decode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
}

/// The agent started or is stopping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceStateRecord {
    /// `started`, `stopping`.
    pub state: String,
    pub agent_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// The clock was found to be off: lets a reader correct what was recorded earlier in the same boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockRecord {
    pub before: ClockStamp,
    pub after: ClockStamp,
}

/// Something was lost, and this says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapRecord {
    pub from_us: UtcMicros,
    pub to_us: UtcMicros,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraId>,
    /// A media class, or `records`.
    pub class: String,
    pub count: u64,
    /// `quota`, `media_busy`, `quarantine`, `oversized`, `outage`, ...
    pub reason: String,
}

/// Who did what on the device; also the answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// `receiver`, `local:<user>`, `agent`.
    pub actor: String,
    /// `command.picture_now`, `enroll`, `config.change`, ...
    pub action: String,
    /// `done`, `failed`, `refused`.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What was asked for, where that is a file: it travels as a blob, and this is the proof that it is genuine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
}

/// A blob about the box itself, such as its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    pub sha256: Sha256,
    pub bytes: u64,
    pub content_type: String,
}
