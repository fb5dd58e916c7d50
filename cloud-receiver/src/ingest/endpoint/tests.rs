//! The endpoint over real TLS, before a real database, against a real client and against raw bytes.

#![allow(clippy::unwrap_used)]

mod bench;
mod delivery;
mod fuzz;
mod lifecycle;
mod line;
mod refusals;
mod whole;
