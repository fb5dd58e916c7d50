//! Evidence: how anybody can check, offline, that what the receiver holds or hands out is what devices stated.
//!
//! Three parties sign, and each check needs only their public keys:
//!
//! - the **device** signs every batch and names the batch before it ([`crate::batch`]): what is in a batch cannot be
//!   changed, and what stands between two batches cannot be left out or moved;
//! - the **receiver** signs, regularly, what it holds of every device ([`heads`]). Kept outside, these statements are
//!   the anchor against the receiver itself: a tail that is cut off later is missing from what it once stated;
//! - the receiver signs the list of what an **export** holds ([`manifest`]): every file, the pinned record keys of
//!   the devices, and what it had refused or had not got.
//!
//! When a contract has ended, what is left is an [`erasure`] certificate.
//!
//! [`chain`] checks the batches of one device, [`export`] a whole export; what they find are [`finding::Finding`]s,
//! each one sentence that names the thing. No I/O and no clock: callers bring bytes.

mod anchor;
pub mod chain;
pub mod erasure;
pub mod export;
pub mod finding;
pub mod heads;
mod links;
pub mod manifest;
mod pictures;

pub use chain::{Context, DeviceCheck, DeviceReport};
pub use finding::{Finding, Weight};
pub use heads::{DeviceHead, EpochHead, SignedHeads};
pub use manifest::Manifest;

#[cfg(test)]
mod tests;
