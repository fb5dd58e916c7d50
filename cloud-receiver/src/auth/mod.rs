//! Who may look: passwords, sign-in and sessions.
//!
//! Holding a [`crate::store::ContractScope`] is the proof of being signed in, and `session.rs` is the only
//! place that makes one. Nothing below this module knows a page or a web framework.

pub mod issue;
pub mod login;
pub mod password;
pub mod second_factor;
pub mod session;
pub mod throttle;
pub mod totp;
