//! What one backup holds, signed by the receiver's evidence key: nobody puts another's rows in the place of these, or takes
//! some away.

use anyhow::{Context, ensure};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;
use wire::evidence::heads::AuditHead;
use wire::sign::Purpose;
use wire::{ContractId, Sha256, SigningKey, UtcMicros, VerifyingKey};

const VERSION: u8 = 1;

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub v: u8,
    /// Bound into every seal of it.
    pub id: Uuid,
    /// The moment whose state it holds.
    pub made_at_us: UtcMicros,
    pub receiver_key: VerifyingKey,
    pub receiver_version: String,
    pub schema_version: i64,
    /// The end of the audit log then.
    pub audit: Option<AuditHead>,
    /// Id of the master key that opens the receiver's part.
    pub master_key: String,
    /// Of the key backup as it was then. A later one opens it too, but for contracts erased since.
    pub key_backup_sha256: Sha256,
    pub receiver: Part,
    pub contracts: Vec<ContractPart>,
}

/// A sealed file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    #[serde(flatten)]
    pub file: SealedFile,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFile {
    pub bytes: u64,
    pub sha256: Sha256,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractPart {
    pub contract: ContractId,
    pub part: Part,
    /// The list of its objects.
    pub objects: SealedFile,
    pub object_count: u64,
    /// Of all objects, as they are sealed.
    pub object_bytes: u64,
}

/// An object of a contract, in its sealed list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Of what is in it, by which the receiver knows it.
    pub sha256: Sha256,
    /// Who brought it: bound into its seal.
    pub device: wire::DeviceId,
    /// Of the file.
    pub sealed: Sha256,
    pub bytes: u64,
    /// Of the receiver's file: while both stay, it is taken for unchanged.
    pub modified_ns: i64,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignedManifest {
    manifest: String,
    signature: String,
}

impl SignedManifest {
    pub fn sign(manifest: &Manifest, key: &SigningKey) -> Self {
        let manifest = serde_json::to_string(manifest).expect("manifests are plain data");
        let signature = key.sign(Purpose::Backup, Sha256::of(manifest.as_bytes()));
        Self {
            manifest,
            signature: HEXLOWER.encode(&signature),
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("it is plain data")
    }

    /// Signed by the key that it names; whose that is, is for the caller to know.
    pub fn open(text: &[u8]) -> anyhow::Result<Manifest> {
        let signed: Self = serde_json::from_slice(text).context("this is no manifest")?;
        let manifest: Manifest =
            serde_json::from_str(&signed.manifest).context("this is no manifest")?;
        ensure!(
            manifest.v == VERSION,
            "manifests of version {} are not known here; install a newer cloud-receiver",
            manifest.v
        );
        let signature = HEXLOWER.decode(signed.signature.as_bytes())?;
        let digest = Sha256::of(signed.manifest.as_bytes());
        let fits = manifest
            .receiver_key
            .verify(Purpose::Backup, digest, &signature);
        ensure!(fits.is_ok(), "the signature does not fit: it was changed");
        Ok(manifest)
    }
}

impl Manifest {
    pub const VERSION: u8 = VERSION;

    pub fn must_be_of(&self, key: &VerifyingKey) -> anyhow::Result<()> {
        ensure!(
            self.receiver_key == *key,
            "the backup is signed by key {}, and the key folder holds {key}: put the sealed copy of that receiver's keys there",
            self.receiver_key
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_manifest_is_its_signers_and_cannot_be_changed() {
        let key = SigningKey::generate();
        let file = SealedFile {
            bytes: 7,
            sha256: Sha256::ZERO,
        };
        let manifest = Manifest {
            v: VERSION,
            id: Uuid::new_v4(),
            made_at_us: UtcMicros(1),
            receiver_key: key.verifying_key(),
            receiver_version: "1".into(),
            schema_version: 8,
            audit: None,
            master_key: "ab".into(),
            key_backup_sha256: Sha256::ZERO,
            receiver: Part {
                file,
                rows: BTreeMap::new(),
            },
            contracts: Vec::new(),
        };
        let text = SignedManifest::sign(&manifest, &key).to_json();
        let opened = SignedManifest::open(&text).unwrap();
        assert_eq!(opened, manifest);
        opened.must_be_of(&key.verifying_key()).unwrap();
        let other = SigningKey::generate().verifying_key();
        assert!(opened.must_be_of(&other).is_err());
        let text = String::from_utf8(text).unwrap();
        let forged = text.replace(r#"\"bytes\":7"#, r#"\"bytes\":8"#);
        assert_ne!(forged, text);
        assert!(SignedManifest::open(forged.as_bytes()).is_err());
    }
}
