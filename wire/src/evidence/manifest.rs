//! The manifest of an export: what the receiver says, under its signature, that the file holds, and what it knows
//! about what the file does not hold.

use crate::digest::Sha256;
use crate::ids::{CameraId, ContractId, DeviceId, Epoch, Seq};
use crate::receipt::SeqRange;
use crate::sign::{Purpose, SigningKey, VerifyingKey};
use crate::time::{BootId, UtcMicros};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The version this crate writes.
pub const VERSION: u8 = 1;
/// Names of the manifest, and of its signature in hexadecimal, in an export.
pub const MANIFEST: &str = "manifest.json";
pub const SIGNATURE: &str = "manifest.sig";
/// Below these names lie batches, pictures and the heads.
pub const RECORDS: &str = "records/";
pub const PICTURES: &str = "pictures/";
pub const HEADS: &str = "heads/";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub v: u8,
    pub made_at_us: UtcMicros,
    /// The pinned record keys below are the receiver's word, given by its signature over this very manifest.
    pub receiver_key: VerifyingKey,
    pub contract: ContractId,
    pub contract_name: String,
    /// Captured at or after.
    pub from_us: UtcMicros,
    /// Captured before.
    pub to_us: UtcMicros,
    /// Of which cameras pictures were asked for; absent: of all. Records come whole, of all cameras of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras: Option<Vec<CameraId>>,
    /// Whether the devices below are all that the contract has, not a choice of them.
    pub all_devices: bool,
    pub devices: Vec<DeviceManifest>,
    /// Every file but the manifest and its signature.
    pub files: Vec<FileManifest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileManifest {
    pub path: String,
    pub bytes: u64,
    pub sha256: Sha256,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceManifest {
    pub device: DeviceId,
    pub site_name: String,
    pub record_key: VerifyingKey,
    pub enrolled_us: UtcMicros,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_us: Option<UtcMicros>,
    pub cameras: Vec<CameraManifest>,
    pub epochs: Vec<EpochManifest>,
    /// When boots began, for records made before the box's clock was right.
    #[serde(default)]
    pub boots: Vec<Boot>,
    /// Refused for good when they arrived: never part of what is proven.
    #[serde(default)]
    pub refused: Vec<Refusal>,
    /// Pictures that signed records of this export name, and that had not arrived when it was made.
    #[serde(default)]
    pub not_arrived: Vec<Sha256>,
    /// Batches of the chosen part whose records the receiver deleted when their agreed time was over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<DeletedBatch>,
    /// What gap records said that went with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted_gaps: Vec<DeletedGap>,
}

/// What is left of a batch whose records were deleted as agreed: its place in the chain, on the receiver's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedBatch {
    pub epoch: Epoch,
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub sha256: Sha256,
    pub prev: Sha256,
    /// Corrected capture time of its first record.
    pub first_us: UtcMicros,
}

/// Losses that gap records named which were deleted as agreed, summed by the hour in which they began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedGap {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraId>,
    pub class: String,
    pub hour_us: UtcMicros,
    pub count: u64,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraManifest {
    pub camera: CameraId,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochManifest {
    pub epoch: Epoch,
    /// What this export holds of it.
    pub first_seq: Seq,
    pub last_seq: Seq,
    /// Between these two, what the receiver had not got.
    #[serde(default)]
    pub not_arrived: Vec<SeqRange>,
    /// Whether the receiver held more of this epoch, or of one that follows it, when it made the export.
    pub goes_on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    pub boot: BootId,
    pub began_us: UtcMicros,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub epoch: Epoch,
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub code: String,
    /// Of the batch.
    pub sha256: Sha256,
    /// Nothing of the batch was stored; else only these records of it are not shown.
    pub whole_batch: bool,
    pub at_us: UtcMicros,
}

impl Manifest {
    /// The bytes that are signed and stored.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("manifests are plain data")
    }

    /// The signature over those bytes, as it stands in its file.
    pub fn sign(json: &[u8], key: &SigningKey) -> String {
        HEXLOWER.encode(&key.sign(Purpose::Export, Sha256::of(json)))
    }

    pub fn is_signed_by(json: &[u8], signature: &[u8], key: &VerifyingKey) -> bool {
        HEXLOWER.decode(signature).is_ok_and(|bytes| {
            key.verify(Purpose::Export, Sha256::of(json), &bytes)
                .is_ok()
        })
    }
}
