//! What the receiver does by itself while it serves.

pub mod alerts;
pub mod capacity;
pub mod certificate;
pub mod erasure;
pub mod heads;
pub mod mail;
pub mod notify;
pub mod portal_certificate;
pub mod retention;
pub mod sign_ins;
pub mod succession;
pub mod sweep;
pub mod watchdog;
