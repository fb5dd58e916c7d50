//! The edge agent: cameras in, proven events and pictures out.
//!
//! | module | what it is for |
//! |---|---|
//! | [`cmd`] | the verbs of the command line |
//! | [`agent`] | the composition root: builds, wires, starts and stops everything below |
//! | [`capture`] | RTSP cameras in, newest frame out; the only user of GStreamer |
//! | [`detect`], [`track`], [`event`] | frame to boxes (the only user of ONNX Runtime), boxes to tracks, tracks to events |
//! | [`vision`], [`media`] | the worker loop that joins them; pictures with privacy masks filled |
//! | [`spool`] | the durable outbox: the only truth between "decided" and "receipt received" |
//! | [`uplink`] | delivers from the spool over MQTT or HTTPS; the only maker of TLS settings |
//! | [`identity`], [`enroll`] | who this box is, and to whom it belongs |
//! | [`clock`], [`ntp`] | what time it is, and how far that may be trusted |
//! | [`health`], [`supervise`], [`control`] | how each unit is, starting it again, and telling who asks |
//! | [`config`], [`telemetry`], [`error`] | the configuration file, the log, and what an error asks of its handler |
//! | [`frame`], [`color`], [`geometry`], [`sink`] | what the parts hand to each other |
//!
//! Capture, detect, event, media, spool and uplink do not import each other (the uplink knows the spool's handle); they
//! meet in `vision` and `agent`. Pure: track, event, `detect::decode`, `capture::gate`, `spool::quota`,
//! `uplink::backoff`, `ntp::select`, `ntp::discipline`, `config::rules`.

pub mod agent;
pub mod capture;
pub mod clock;
pub mod cmd;
pub mod color;
pub mod config;
pub mod control;
pub mod detect;
pub mod enroll;
pub mod error;
pub mod event;
pub(crate) mod files;
pub mod frame;
pub mod geometry;
pub mod health;
pub mod identity;
pub mod media;
pub mod ntp;
pub mod sink;
pub mod spool;
pub mod supervise;
pub mod telemetry;
pub mod track;
pub mod uplink;
pub mod vision;
