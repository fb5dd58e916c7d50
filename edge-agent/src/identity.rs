//! Who this device is: its id and keys, made here and never leaving it, and what enrollment added.

mod beside;
pub mod certificate;
mod floor;

pub use beside::Beside;
pub use floor::{SavedFloor, build_time};

use crate::error::{ErrorKind, Kind};
use crate::files;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use wire::{ContractId, DeviceId, Sha256, SigningKey, VerifyingKey};

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
#[derive(Clone, Serialize, Deserialize)]
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
    /// Absent: of a time when receivers did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractId>,
    pub contract_name: String,
    pub site_name: String,
    /// The certificate that this one renewed; none if it came with a claim code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Sha256>,
}

impl std::fmt::Debug for Enrollment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrollment({}, tls key ***)", self.device_url)
    }
}

const FOLDER: &str = "identity";
const DEVICE_FILE: &str = "device.json";
const ENROLLMENT_FILE: &str = "enrollment.json";

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the identity file {} cannot be {what}: {cause}", path.display())]
    Io {
        path: PathBuf,
        what: &'static str,
        cause: io::Error,
    },
    /// Never replaced by a new one: the receiver knows this device by what is in there.
    #[error(
        "the identity file {} is damaged ({cause}); restore it from a backup, or move the folder away and enroll \
         this box as a new device", path.display()
    )]
    Damaged {
        path: PathBuf,
        cause: serde_json::Error,
    },
}

impl Kind for IdentityError {
    fn kind(&self) -> ErrorKind {
        match self {
            IdentityError::Io { .. } => ErrorKind::Config,
            IdentityError::Damaged { .. } => ErrorKind::Corrupt,
        }
    }
}

/// The device's own part as it stands on disk.
#[derive(Serialize, Deserialize)]
struct DeviceFile {
    device_id: DeviceId,
    /// 32 bytes, hexadecimal.
    record_key_seed: String,
    spool_key: String,
}

impl Identity {
    /// Where identity files lie.
    pub fn folder(data_dir: &Path) -> PathBuf {
        data_dir.join(FOLDER)
    }

    /// Reads who this device is; at the very first start, decides it.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::load(data_dir)? {
            return Ok(identity);
        }
        let file = DeviceFile {
            device_id: DeviceId(Uuid::new_v4()),
            record_key_seed: encode(SigningKey::generate().to_seed()),
            spool_key: encode(rand::random()),
        };
        match write_json(data_dir, DEVICE_FILE, &file, files::write_once) {
            Ok(()) => {
                tracing::info!(device.id = %file.device_id, "this box is now device {}", file.device_id);
            }
            // Another process was quicker, such as `enroll` beside `run`: it decided.
            Err(IdentityError::Io { cause, .. })
                if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Self::load(data_dir)?.ok_or_else(|| IdentityError::Io {
            path: Self::folder(data_dir).join(DEVICE_FILE),
            what: "read back",
            cause: io::ErrorKind::NotFound.into(),
        })
    }

    /// As it stands on disk; `None` before the first start.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(file) = read_json::<DeviceFile>(data_dir, DEVICE_FILE)? else {
            return Ok(None);
        };
        let damaged = |cause| IdentityError::Damaged {
            path: Self::folder(data_dir).join(DEVICE_FILE),
            cause,
        };
        let record_seed = decode(&file.record_key_seed).map_err(damaged)?;
        let spool_key = decode(&file.spool_key).map_err(damaged)?;
        Ok(Some(Self {
            device_id: file.device_id,
            record_key: SigningKey::from_seed(record_seed),
            spool_key: SpoolKey(spool_key),
            enrollment: Enrollment::load(data_dir)?,
        }))
    }
}

impl Enrollment {
    /// Keeps what the receiver gave; replaces an earlier enrollment whole, and a renewal of it that is under way.
    pub fn save(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let beside = Beside::new(data_dir);
        let _locked = beside.lock()?;
        beside.discard()?;
        write_json(data_dir, ENROLLMENT_FILE, self, files::write)
    }

    /// Whether what was recorded under this one may be delivered under `next`. In doubt it may not: a customer's pictures
    /// must never reach another's portal.
    pub fn is_of_one_contract_with(&self, next: &Enrollment) -> bool {
        match (self.contract, next.contract) {
            (Some(before), Some(now)) => before == now,
            (Some(_), None) => false,
            // All that an older one tells.
            (None, _) => self.contract_name == next.contract_name,
        }
    }

    /// Tells one certificate from another.
    pub fn fingerprint(&self) -> Sha256 {
        Sha256::of(self.certificate_pem.as_bytes())
    }

    /// As it stands on disk; `None` until the device is enrolled.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        read_json(data_dir, ENROLLMENT_FILE)
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(
    data_dir: &Path,
    name: &str,
) -> Result<Option<T>, IdentityError> {
    let path = Identity::folder(data_dir).join(name);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            let what = "read";
            return Err(IdentityError::Io { path, what, cause });
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|cause| IdentityError::Damaged { path, cause })
}

fn write_json(
    data_dir: &Path,
    name: &str,
    value: &impl Serialize,
    write: fn(&Path, &str, &[u8]) -> io::Result<()>,
) -> Result<(), IdentityError> {
    let folder = Identity::folder(data_dir);
    let json = serde_json::to_vec_pretty(value).expect("identities hold only what JSON can say");
    let written = files::secret_folder(&folder).and_then(|()| write(&folder, name, &json));
    written.map_err(|cause| IdentityError::Io {
        path: folder.join(name),
        what: "written",
        cause,
    })
}

fn encode(secret: [u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(&secret)
}

fn decode(text: &str) -> Result<[u8; 32], serde_json::Error> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| serde::de::Error::custom("a key is not 64 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrollment() -> Enrollment {
        Enrollment {
            certificate_pem: "certificate".into(),
            tls_key_pem: "private".into(),
            ca_pem: "ca".into(),
            device_url: "https://receiver.example:8444".parse().expect("valid"),
            mqtt_host: "receiver.example".into(),
            mqtt_port: 8883,
            command_key: SigningKey::from_seed([1; 32]).verifying_key(),
            contract: None,
            contract_name: "契約".into(),
            site_name: "本店".into(),
            replaces: None,
        }
    }

    #[test]
    fn a_device_stays_who_it_is() {
        let data = tempfile::tempdir().expect("temp dir");
        assert!(Identity::load(data.path()).expect("empty").is_none());
        let first = Identity::load_or_create(data.path()).expect("created");
        let again = Identity::load_or_create(data.path()).expect("loaded");
        assert_eq!(first.device_id, again.device_id);
        assert_eq!(first.record_key.to_seed(), again.record_key.to_seed());
        assert_eq!(first.spool_key, again.spool_key);
        assert!(again.enrollment.is_none());

        enrollment().save(data.path()).expect("saved");
        let enrolled = Identity::load_or_create(data.path()).expect("loaded");
        assert_eq!(enrolled.device_id, first.device_id);
        let kept = enrolled.enrollment.expect("enrolled");
        assert_eq!(kept.tls_key_pem, "private");
        assert_eq!(kept.site_name, "本店");
        assert!(!format!("{kept:?}").contains("private"));
    }

    #[test]
    fn in_doubt_two_enrollments_are_not_of_one_contract() {
        let of = |number: Option<u128>, name: &str| Enrollment {
            contract: number.map(|number| ContractId(Uuid::from_u128(number))),
            contract_name: name.into(),
            ..enrollment()
        };
        for (before, now, is_one) in [
            (of(Some(1), "a"), of(Some(1), "renamed"), true),
            (of(Some(1), "a"), of(Some(2), "a"), false),
            (of(Some(1), "a"), of(None, "a"), false),
            (of(None, "a"), of(Some(1), "a"), true),
            (of(None, "a"), of(Some(1), "b"), false),
            (of(None, "a"), of(None, "b"), false),
        ] {
            assert_eq!(before.is_of_one_contract_with(&now), is_one);
        }
    }

    #[test]
    fn a_damaged_identity_is_never_replaced() {
        let data = tempfile::tempdir().expect("temp dir");
        Identity::load_or_create(data.path()).expect("created");
        let path = Identity::folder(data.path()).join(DEVICE_FILE);
        for damaged in ["", "{", r#"{"device_id":"x"}"#] {
            std::fs::write(&path, damaged).expect("write");
            let error = Identity::load_or_create(data.path()).expect_err("damaged");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(std::fs::read_to_string(&path).expect("read"), damaged);
        }
    }
}
