//! Batches at rest: compressed, then sealed under the contract's key.
//!
//! Byte for byte what arrived comes out again. Compressed (LZ4 block format, with its length before it) because JSON
//! shrinks to half, and every page of it is written twice: to the log and home.

use crate::seal::{Name, Purpose, SecretKey};
use crate::store::{Result, StoreError};
use wire::{ContractId, DeviceId, Sha256};

/// By what a sealed batch is bound: its seal opens under no other name.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchName {
    pub(super) contract: ContractId,
    pub(super) device: DeviceId,
    pub(super) hash: Sha256,
}

impl From<BatchName> for Name {
    fn from(name: BatchName) -> Self {
        Name {
            contract: name.contract,
            device: name.device,
            purpose: Purpose::Batch,
            hash: name.hash,
        }
    }
}

pub(super) fn seal(key: &SecretKey, name: BatchName, signed: &[u8]) -> Vec<u8> {
    key.seal(
        &name.into(),
        &lz4_flex::block::compress_prepend_size(signed),
    )
}

pub(super) fn open(key: &SecretKey, name: BatchName, sealed: &[u8]) -> Result<Vec<u8>> {
    let damaged = |error: String| StoreError::Corrupt(format!("a batch: {error}"));
    let packed = key
        .open(&name.into(), sealed)
        .map_err(|error| damaged(error.to_string()))?;
    lz4_flex::block::decompress_size_prepended(&packed).map_err(|error| damaged(error.to_string()))
}
