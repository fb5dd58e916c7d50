//! Who this device is: its id and keys, made here and never leaving it, and what enrollment added.

use wire::{DeviceId, SigningKey, VerifyingKey};

/// The device's own part exists from the first start on, so that every record is signed; enrollment comes later
/// and changes neither id nor record key.
#[derive(Debug)]
pub struct Identity {
    pub device_id: DeviceId,
    /// Signs batches; pinned by the receiver at enrollment.
    pub record_key: SigningKey,
    /// Seals spool payloads and blobs at rest (AES-256-GCM).
    pub spool_key: SpoolKey,
    pub enrollment: Option<Enrollment>,
}

/// 32 secret bytes; `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct SpoolKey(pub [u8; 32]);

impl std::fmt::Debug for SpoolKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SpoolKey(***)")
    }
}

/// What the receiver gave at enrollment.
#[derive(Clone)]
pub struct Enrollment {
    pub certificate_pem: String,
    /// Made on the device.
    pub tls_key_pem: String,
    /// What both device listeners of the receiver are verified against.
    pub ca_pem: String,
    pub device_url: url::Url,
    pub mqtt_host: String,
    pub mqtt_port: u16,
    pub command_key: VerifyingKey,
    pub contract_name: String,
    pub site_name: String,
}

impl std::fmt::Debug for Enrollment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrollment({}, tls key ***)", self.device_url)
    }
}
