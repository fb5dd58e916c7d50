//! The cloud receiver: takes in what devices deliver, verifies, stores and shows it.

pub mod auth;
pub mod ingest;
pub mod live;
pub mod seal;
pub mod store;
