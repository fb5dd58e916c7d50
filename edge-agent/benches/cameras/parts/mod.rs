//! The parts of the benchmark, each of which can be run alone.

mod cost;
mod many;
mod memory;
mod recall;

pub use cost::cost;
pub use many::many;
pub use memory::memory;
pub use recall::recall;
