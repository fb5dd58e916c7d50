//! How what devices deliver comes in: their identity, the two carriages, and the verdict on each batch.

pub mod accept;
pub mod crowd;
pub mod endpoint;
pub mod https;
pub mod identity;
pub mod intake;
pub mod listener;
