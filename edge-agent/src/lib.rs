//! The edge agent: cameras in, proven events and pictures out.

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
