//! The cloud receiver: takes in what devices deliver, verifies, stores and shows it.

pub mod app;
pub mod auth;
pub mod blob;
pub mod ca;
pub mod clock;
pub mod cmd;
pub mod config;
pub mod enroll;
pub mod ingest;
pub mod jobs;
pub mod keys;
pub mod live;
pub mod order;
pub mod portal;
pub mod seal;
pub mod store;
pub mod telemetry;
pub mod tls;

#[cfg(test)]
mod testing;
