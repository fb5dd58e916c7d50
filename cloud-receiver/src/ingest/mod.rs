//! How what devices deliver comes in.

pub mod accept;
