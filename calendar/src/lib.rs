//! Days as Japan keeps them: which are holidays, which are business days. Pure; the clock is the caller's.
//!
//! A crate of its own, because the box on site asks it for its schedules and the receiver for its deadlines, and neither
//! may depend on the other.

pub mod business;
pub mod holidays;

pub use business::BusinessDays;
pub use holidays::is_holiday;
