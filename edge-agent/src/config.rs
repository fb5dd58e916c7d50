//! The one configuration file of the agent, `edge-agent.toml`, as types.
//!
//! Strict with people: an unknown key, a duplicate camera id or a bad URL is an error that names the line and
//! the remedy. Every key has its unit in its name and a default that runs, so that a file may hold nothing but
//! its cameras. Secrets never show in `Debug`.
//!
//! The types here are plain. [`load()`] reads a file into them and keeps track of where everything stands in it;
//! [`rules`] says what a value may be; a [`problem::ConfigError`] names every mistake at once.

mod document;
pub mod load;
pub mod problem;
pub mod rules;
mod scene;

pub use load::{load, parse};
pub use problem::{ConfigError, Problem};
pub use scene::{
    Holidays, LineConfig, ObjectMaskConfig, Point, ScheduleConfig, SpanConfig, TimeOfDay, Weekday,
    ZoneConfig, ZoneOfTime,
};

use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use wire::CameraId;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub device: DeviceConfig,
    #[serde(default)]
    pub model: ModelConfig,
    #[serde(default)]
    pub capture: CaptureConfig,
    #[serde(default)]
    pub analysis: AnalysisConfig,
    #[serde(default)]
    pub spool: SpoolConfig,
    #[serde(default)]
    pub uplink: UplinkConfig,
    #[serde(default)]
    pub clock: ClockConfig,
    /// When zones and lines make events.
    #[serde(default, rename = "schedule")]
    pub schedules: Vec<ScheduleConfig>,
    #[serde(default, rename = "camera")]
    pub cameras: Vec<CameraConfig>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceConfig {
    /// Identity, spool and status live below this folder.
    pub data_dir: PathBuf,
    /// Unix socket that `edge-agent status` asks; by default `control.sock` in the data folder.
    pub control_socket: Option<PathBuf>,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/edge-agent".into(),
            control_socket: None,
        }
    }
}

impl DeviceConfig {
    pub fn control_socket(&self) -> PathBuf {
        self.control_socket
            .clone()
            .unwrap_or_else(|| self.data_dir.join("control.sock"))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Folder with `model.toml` and the file it names.
    pub dir: PathBuf,
    /// ONNX Runtime's shared library; by default `ORT_DYLIB_PATH`, then the system's search path.
    pub runtime_library: Option<PathBuf>,
    /// Worker threads, each with a session of its own. One serves many cameras.
    pub workers: usize,
    /// Threads ONNX Runtime uses within one inference. More than one is quicker and dearer.
    pub threads_per_worker: usize,
    /// What the network runs on. Where the library or the machine lacks it, the agent says so and does not start.
    pub provider: Provider,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    pub decoder: DecoderPolicy,
}

/// What decodes the cameras' pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderPolicy {
    /// Hardware that has proven to work, otherwise software.
    #[default]
    Auto,
    Software,
}

/// Execution providers of ONNX Runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    #[default]
    Cpu,
    Xnnpack,
    Openvino,
    Cuda,
    Tensorrt,
}

impl Provider {
    pub const ALL: [Self; 5] = [
        Self::Cpu,
        Self::Xnnpack,
        Self::Openvino,
        Self::Cuda,
        Self::Tensorrt,
    ];

    /// As it is written in the configuration and in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Xnnpack => "xnnpack",
            Self::Openvino => "openvino",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            dir: "/usr/share/edge-agent/models/nanodet-g-416-int8".into(),
            runtime_library: None,
            workers: 1,
            threads_per_worker: 1,
            provider: Provider::Cpu,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnalysisConfig {
    /// Most frames of one camera that are looked at in a second.
    pub frames_per_second: f32,
    /// The customer's classes that become events; others are neither followed nor drawn.
    pub classes: Vec<String>,
    /// Detections below this score are dropped; by default what the model's description says.
    pub min_score: Option<f32>,
    /// Whether pictures in which nothing moves are decoded at all.
    pub gate: GateMode,
    /// Every camera is looked at at least this often, even if nothing moves.
    pub glance_seconds: u32,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self {
            frames_per_second: 5.0,
            classes: vec!["person".into(), "vehicle".into(), "bicycle".into()],
            min_score: None,
            gate: GateMode::Auto,
            glance_seconds: 10,
        }
    }
}

/// What is decoded while nothing moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateMode {
    /// Key frames, or what the stream allows.
    #[default]
    Auto,
    /// Everything, always.
    Off,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// Most bytes the spool may take; beyond it the least valuable media is shed, and counted.
    pub quota_bytes: u64,
    /// Free space the spool leaves on its disk.
    pub min_free_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            quota_bytes: 8 << 30,
            min_free_bytes: 512 << 20,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UplinkConfig {
    /// With `false` the box works alone and keeps everything in its spool.
    pub enabled: bool,
    /// With `false` records always go over HTTPS.
    pub mqtt: bool,
    pub heartbeat_seconds: u32,
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mqtt: true,
            heartbeat_seconds: 60,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// `host` or `host:port`; three or more, so that one that lies is outvoted.
    pub servers: Vec<String>,
    pub poll_seconds: u32,
    /// Without an answer for this long, `synced` becomes `holdover`.
    pub holdover_after_seconds: u32,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self {
            servers: [
                "ntp.nict.jp",
                "ntp.jst.mfeed.ad.jp",
                "time.google.com",
                "time.cloudflare.com",
            ]
            .map(String::from)
            .to_vec(),
            poll_seconds: 64,
            holdover_after_seconds: 600,
        }
    }
}

/// Its `Debug` shows neither where the camera is nor who logs in: `url` may hold a login and tokens.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraConfig {
    /// Minted once (`edge-agent camera new-id`) and kept for the camera's life.
    pub id: CameraId,
    pub name: String,
    /// `rtsp://` or `rtsps://`, with or without user and password (percent-encoded there).
    pub url: String,
    /// Beside the URL, as they are, without any encoding; they win over the URL's.
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Instead of `password`: a file that holds it. A relative path is looked for in systemd's credentials folder,
    /// then beside the configuration. Its content stands in `password` once the configuration is loaded.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    #[serde(default)]
    pub transport: Transport,
    /// For `rtsps://`: the CA that signed the camera's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    #[serde(default = "default_true")]
    pub enabled: bool,
    /// One picture every so many seconds for the overview; 0 turns it off.
    #[serde(default = "default_periodic_seconds")]
    pub periodic_picture_seconds: u32,
    /// Polygons in fractions of the picture, `[[x, y], ...]`, filled before a picture is stored or sent.
    #[serde(default)]
    pub privacy_masks: Vec<Vec<Point>>,
    /// Polygons in which nothing counts as motion: a tree, a flag, the time of day in the picture.
    #[serde(default)]
    pub motion_masks: Vec<Vec<Point>>,
    /// With `false` an object makes an event only by a zone or a line, also where none is drawn.
    #[serde(default = "default_true")]
    pub object_events: bool,
    /// Where objects are ignored.
    #[serde(default, rename = "object_mask")]
    pub object_masks: Vec<ObjectMaskConfig>,
    #[serde(default, rename = "zone")]
    pub zones: Vec<ZoneConfig>,
    #[serde(default, rename = "line")]
    pub lines: Vec<LineConfig>,
}

impl fmt::Debug for CameraConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart by name: whoever adds a field decides here whether it may be shown.
        let Self {
            id,
            name,
            url: _,
            user: _,
            password: _,
            password_file,
            transport,
            ca_file,
            enabled,
            periodic_picture_seconds,
            privacy_masks,
            motion_masks,
            object_events,
            object_masks,
            zones,
            lines,
        } = self;
        f.debug_struct("CameraConfig")
            .field("id", id)
            .field("name", name)
            .field("password_file", password_file)
            .field("transport", transport)
            .field("ca_file", ca_file)
            .field("enabled", enabled)
            .field("periodic_picture_seconds", periodic_picture_seconds)
            .field("privacy_masks", privacy_masks)
            .field("motion_masks", motion_masks)
            .field("object_events", object_events)
            .field("object_masks", object_masks)
            .field("zones", zones)
            .field("lines", lines)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    #[default]
    Tcp,
    Udp,
}

fn default_true() -> bool {
    true
}

fn default_periodic_seconds() -> u32 {
    60
}

/// A password: readable by the code that needs it, never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn debug_shows_no_credential_wherever_it_stands() {
        let config: Config = toml::from_str(
            r#"
            [[camera]]
            id = "00000000-0000-0000-0000-000000000001"
            name = "gate"
            url = "rtsp://hidden-anna:hidden-word@10.0.0.12/live?token=hidden-token"
            user = "hidden-ben"
            password = "hidden-other"
            "#,
        )
        .unwrap();
        let text = format!("{config:?} {config:#?}");
        assert!(text.contains("gate"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }
}
