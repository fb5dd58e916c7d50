//! The edge agent: cameras in, proven events and pictures out.

pub mod capture;
pub mod clock;
pub mod config;
pub mod error;
pub mod frame;
pub mod health;
pub mod identity;
pub mod sink;
pub mod spool;
pub mod uplink;
