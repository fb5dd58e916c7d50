//! From bytes to receipt, for both carriages: judge, commit, answer. And who may deliver at all.

use super::accept::{Accepted, Numbers, Refused, judge};
use crate::clock::now;
use crate::store::{DeviceRow, DeviceWrites, StoreError};
use std::sync::Arc;
use wire::{DeviceId, Receipt};

/// What became of one delivered batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Committed, or refused for good and noted: the receipt says which.
    Receipt(Receipt),
    /// So damaged that no receipt can speak of it.
    Unreadable(&'static str),
}

#[derive(Clone)]
pub struct Intake {
    store: Arc<dyn DeviceWrites>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intake")
    }
}

/// Why a device with a good certificate is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    Unknown,
    Revoked,
}

impl TurnedAway {
    pub fn code(self) -> &'static str {
        match self {
            TurnedAway::Unknown => "device_unknown",
            TurnedAway::Revoked => "device_revoked",
        }
    }

    pub fn message(self) -> &'static str {
        match self {
            TurnedAway::Unknown => "this receiver does not know the device; enroll it",
            TurnedAway::Revoked => "the device was revoked; enroll it anew with a claim code",
        }
    }
}

impl Intake {
    pub fn new(store: Arc<dyn DeviceWrites>) -> Self {
        Self { store }
    }

    pub fn store(&self) -> &Arc<dyn DeviceWrites> {
        &self.store
    }

    /// The device of a certificate, if it may deliver now.
    pub async fn admit(
        &self,
        device: DeviceId,
    ) -> Result<Result<DeviceRow, TurnedAway>, StoreError> {
        Ok(match self.store.device(device).await? {
            None => Err(TurnedAway::Unknown),
            Some(row) if row.revoked_us.is_some() => Err(TurnedAway::Revoked),
            Some(row) => Ok(row),
        })
    }

    /// Takes in one signed batch. An error means that nothing was decided: the device sends again.
    pub async fn batch(&self, device: &DeviceRow, bytes: Vec<u8>) -> Result<Delivered, StoreError> {
        match judge(device, bytes) {
            Ok(accepted) => {
                let numbers = Numbers::of(&accepted.batch);
                let receipt = self.commit(vec![accepted]).await?.pop();
                receipt.map(Delivered::Receipt).ok_or_else(|| {
                    StoreError::Database(format!("no receipt for epoch {}", numbers.epoch))
                })
            }
            Err(refused) => self.refuse(device, &refused).await,
        }
    }

    /// Commits batches that were judged; one receipt for each epoch among them.
    pub async fn commit(&self, batches: Vec<Accepted>) -> Result<Vec<Receipt>, StoreError> {
        let receipts = self.store.accept(batches, now()).await?;
        Ok(receipts.into_iter().map(|(_, receipt)| receipt).collect())
    }

    /// Notes a batch that was refused.
    pub async fn refuse(
        &self,
        device: &DeviceRow,
        refused: &Refused,
    ) -> Result<Delivered, StoreError> {
        let receipt = self.store.refuse(device.device, refused, now()).await?;
        Ok(receipt.map_or_else(
            || {
                tracing::warn!(
                    device.id = %device.device, refusal.code = refused.code,
                    "a device sent bytes that are no batch"
                );
                Delivered::Unreadable(refused.code)
            },
            Delivered::Receipt,
        ))
    }
}
