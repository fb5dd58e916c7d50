//! Cameras in, frames out.

pub mod latest;
