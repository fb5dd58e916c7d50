//! The pure verdict on what a device delivers.

use wire::{Batch, ContractId, DeviceId, Sha256, SiteId};

/// A batch whose signature and shape were checked; the store may commit it.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub device: DeviceId,
    pub contract: ContractId,
    pub site: SiteId,
    pub batch: Batch,
    /// Exactly what arrived: canonical bytes and signature.
    pub signed_bytes: Vec<u8>,
    pub hash: Sha256,
}
