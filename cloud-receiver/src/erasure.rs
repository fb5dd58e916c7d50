//! The end of a contract: when what it has is due to be erased, and the erasing itself (clause 11).
//!
//! [`standing`] is pure: where a contract stands, by its period, its work, its holds and the calendar. [`carry_out`] does the
//! steps that the store keeps count of, one after the other, as often as it takes.

pub mod carry_out;
pub mod standing;

pub use carry_out::{Erasing, Turn};
pub use standing::{Standing, rules};
