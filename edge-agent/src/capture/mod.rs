//! Cameras in, frames out.

pub mod error;
pub mod gst;
pub mod latest;
pub mod replay;

pub use error::{CaptureError, Failure, Reason};
