//! How far a change of the CA is: which there are, who has followed, and what still needs the one before.

use crate::ca::Ca;
use crate::jobs::succession::is_behind;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, DeviceListing, KeyBook, OpenClaims};
use serde::Serialize;
use wire::{DeviceId, UtcMicros};

/// What people and programs are told of one CA.
#[derive(Clone, Debug, Serialize)]
pub struct Authority {
    pub fingerprint: String,
    pub until_us: UtcMicros,
    /// Of a CA before: when it was succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded_us: Option<UtcMicros>,
}

impl Authority {
    /// The present one, and the one before that is still trusted.
    pub fn of(ca: &Ca) -> anyhow::Result<(Self, Option<Self>)> {
        let current = Self {
            fingerprint: ca.fingerprint().to_string(),
            until_us: ca.not_after()?,
            succeeded_us: None,
        };
        let before = match ca.before() {
            None => None,
            Some(before) => Some(Self {
                fingerprint: before.fingerprint().to_string(),
                until_us: before.not_after()?,
                succeeded_us: Some(before.since()?),
            }),
        };
        Ok((current, before))
    }
}

/// A device, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    pub device: DeviceId,
    pub contract: String,
    pub site: String,
    pub certificate_until_us: UtcMicros,
    pub heard_us: Option<UtcMicros>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub current: Authority,
    /// Absent where no other CA is trusted.
    pub before: Option<Authority>,
    /// Devices whose newest certificate is of the present CA.
    pub followed: usize,
    /// Devices in service whose newest certificate is of another one, and has not expired.
    pub behind: Vec<Holder>,
    /// Claim codes that name the CA before.
    pub codes: OpenClaims,
}

impl Change {
    pub async fn of(store: &SqliteStore, ca: &Ca, at: UtcMicros) -> anyhow::Result<Self> {
        let (current, before) = Authority::of(ca)?;
        let devices = store.devices().await?;
        let (followed, behind) = divided(&devices, ca, at);
        let succeeded = before.as_ref().and_then(|before| before.succeeded_us);
        let codes = match succeeded {
            // Known to the second only: one code too many is better than one that is void.
            Some(since) => store.open_claims(since.plus_us(1_000_000), at).await?,
            None => OpenClaims {
                count: 0,
                until_us: None,
            },
        };
        Ok(Self {
            current,
            before,
            followed,
            behind,
            codes,
        })
    }

    /// Nobody needs the CA before any more.
    pub fn is_done(&self) -> bool {
        self.before.is_some() && self.behind.is_empty() && self.codes.count == 0
    }
}

/// How many devices in service hold a certificate of this CA, and which are behind.
fn divided(devices: &[DeviceListing], ca: &Ca, at: UtcMicros) -> (usize, Vec<Holder>) {
    let is_here = |device: &&DeviceListing| {
        device.revoked_us.is_none() && device.certificate.serial.is_of(ca.fingerprint())
    };
    let behind = devices
        .iter()
        .filter(|device| is_behind(device, ca, at))
        .map(|device| Holder {
            device: device.device,
            contract: device.contract.clone(),
            site: device.site.clone(),
            certificate_until_us: device.certificate.not_after_us,
            heard_us: device.heard_us,
        });
    (devices.iter().filter(is_here).count(), behind.collect())
}
