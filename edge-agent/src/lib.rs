//! The edge agent: cameras in, proven events and pictures out.

pub mod capture;
pub mod clock;
pub mod color;
pub mod config;
pub mod detect;
pub mod error;
pub mod event;
pub mod frame;
pub mod geometry;
pub mod health;
pub mod identity;
pub mod media;
pub mod sink;
pub mod track;
pub mod vision;
