//! The edge agent: cameras in, proven events and pictures out.
//!
//! The way of a frame, and what serves it; each module is said here in one line and promises more at its top:
//!
//! | module | what it is |
//! |---|---|
//! | [`capture`] | RTSP in, newest decoded frame out, one independent camera each; GStreamer is named below `capture/gst` alone |
//! | [`frame`] | one decoded picture with its time; [`color`], [`geometry`] and [`luma`] are what is computed on it |
//! | [`motion`], [`sight`] | where something moves, and whether a camera still sees. Pure |
//! | [`detect`] | a frame to detections: preprocessing, ONNX Runtime, decoding of its output |
//! | [`track`] | detections to tracks, over frames. Pure |
//! | [`event`] | tracks to events, and which picture shows one best. Pure |
//! | [`vision`] | the workers that take a frame through the last three, for all cameras |
//! | [`media`] | masks, JPEG, off the vision threads |
//! | [`sink`] | the seam between what decides and what keeps |
//! | [`spool`] | the durable outbox; the only truth until a receipt has come |
//! | [`uplink`] | delivers from the spool by MQTT and HTTPS, takes receipts and commands |
//!
//! | around it | |
//! |---|---|
//! | [`agent`] | builds the parts, wires them, starts and stops them in order: the only place where they meet |
//! | [`supervise`], [`health`] | restart a unit that failed; how each one does |
//! | [`control`] | the Unix socket that `edge-agent status` asks |
//! | [`identity`], [`enroll`] | the device's keys and what the receiver gave it; the claim code's exchange |
//! | [`clock`], [`ntp`] | what time it is and how far that can be trusted |
//! | [`config`] | `edge-agent.toml`, strict with people |
//! | [`telemetry`] | logs, and what must not stand in them |
//! | [`diagnostics`] | the recent log and the support bundle, without a secret in them |
//! | [`error`] | what an error asks of whoever handles it |
//! | [`cmd`] | the verbs of the command line |
//!
//! Who may import what, kept by `tests/tidy.rs`:
//! - [`cmd`] knows [`agent`]; [`agent`] knows the parts; the parts know [`frame`], [`clock`], [`sink`], [`error`] and
//!   the crate `wire`. Nothing points upwards.
//! - [`capture`], [`detect`], [`event`] and [`media`] do not import each other; they meet in [`vision`] and [`agent`].
//! - [`media`] and [`vision`] know the spool as a [`sink::Sink`] only, [`uplink`] by its handle.
//! - [`track`], [`event`], `detect::decode`, `capture::gate`, `spool::quota` and `uplink::backoff` are pure: no
//!   runtime, no files, no network, no "now".
//! - gstreamer is named in `capture/gst`, ort in `detect/onnx.rs`, rusqlite in [`spool`], rumqttc in `uplink/mqtt.rs`,
//!   reqwest in `uplink/https.rs`, sntpc in `ntp.rs`, and nowhere else. TLS settings are made in `uplink/tls.rs`.

pub mod agent;
pub mod capture;
pub mod clock;
pub mod cmd;
pub mod color;
pub mod config;
pub mod control;
pub mod detect;
pub mod diagnostics;
pub mod ended;
pub mod enroll;
pub mod error;
pub mod event;
pub(crate) mod files;
pub mod frame;
pub mod geometry;
pub mod health;
pub mod heap;
pub mod identity;
pub mod luma;
pub mod media;
pub mod motion;
pub mod ntp;
pub mod sight;
pub mod sink;
pub mod spool;
pub mod supervise;
pub mod telemetry;
pub mod track;
pub mod uplink;
pub mod vision;
