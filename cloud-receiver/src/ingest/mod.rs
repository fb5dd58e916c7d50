//! How what devices deliver comes in.

pub mod accept;
pub mod endpoint;
pub mod identity;
