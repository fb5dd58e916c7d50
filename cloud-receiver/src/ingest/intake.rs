//! From bytes to receipt, for both carriages: judge, commit, answer. And who may deliver at all.

use super::accept::{Accepted, Numbers, Refused, judge};
use super::identity::Presented;
use crate::clock::now;
use crate::store::{DeviceRow, DeviceWrites, StoreError};
use std::sync::Arc;
use wire::Receipt;

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
    /// It has enrolled again since.
    Superseded,
}

/// Why a device on file is turned away, if it is. TLS has judged that the certificate is ours and not expired.
pub fn turned_away(row: &DeviceRow, presented: &Presented) -> Option<TurnedAway> {
    if row.revoked_us.is_some() {
        Some(TurnedAway::Revoked)
    } else if row.certificate.enrollment != presented.certificate.enrollment {
        Some(TurnedAway::Superseded)
    } else {
        None
    }
}

impl TurnedAway {
    pub fn code(self) -> &'static str {
        match self {
            TurnedAway::Unknown => "device_unknown",
            TurnedAway::Revoked => "device_revoked",
            TurnedAway::Superseded => "certificate_superseded",
        }
    }

    pub fn message(self) -> &'static str {
        match self {
            TurnedAway::Unknown => "this receiver does not know the device; enroll it",
            TurnedAway::Revoked => "the device was revoked; enroll it anew with a claim code",
            TurnedAway::Superseded => {
                "the device has enrolled again since it got this certificate; only the new one counts"
            }
        }
    }
}

/// What the device list tells of a device's certificate is what the device has shown, not what it was sent.
pub async fn note_shown(
    store: &dyn DeviceWrites,
    row: &DeviceRow,
    presented: &Presented,
) -> Result<(), StoreError> {
    let shown = presented.certificate;
    let known = row.certificate;
    if shown.serial != known.serial && shown.not_before_us >= known.not_before_us {
        store.certificate_shown(row.device, shown).await?;
    }
    Ok(())
}

impl Intake {
    pub fn new(store: Arc<dyn DeviceWrites>) -> Self {
        Self { store }
    }

    pub fn store(&self) -> &Arc<dyn DeviceWrites> {
        &self.store
    }

    /// The device of a certificate, if it may deliver now. A certificate that it has not shown before is noted.
    pub async fn admit(
        &self,
        presented: &Presented,
    ) -> Result<Result<DeviceRow, TurnedAway>, StoreError> {
        let Some(row) = self.store.device(presented.device).await? else {
            return Ok(Err(TurnedAway::Unknown));
        };
        if let Some(turned) = turned_away(&row, presented) {
            return Ok(Err(turned));
        }
        note_shown(self.store.as_ref(), &row, presented).await?;
        Ok(Ok(row))
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
