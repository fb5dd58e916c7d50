//! Erasure certificates: what of a contract was destroyed, how many before and after, when, and by whose order.
//!
//! Signed by the receiver's evidence key under a purpose of its own. A certificate outlives what it speaks of, so it holds
//! nothing that could not stand in public: the customer is in it as a salted hash of the name. Whoever knows the name can
//! check that the certificate is about it ([`Certificate::is_of`]); whoever does not reads nothing from it.

use crate::digest::Sha256;
use crate::ids::{ContractId, DeviceId};
use crate::sign::{Purpose, SigningKey, VerifyingKey};
use crate::time::UtcMicros;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version this crate writes.
pub const VERSION: u8 = 1;

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub v: u8,
    /// Of the erasure.
    pub id: Uuid,
    pub contract: ContractId,
    pub name: NameHash,
    pub receiver_key: VerifyingKey,
    pub period: Period,
    pub order: Order,
    /// Each step with the moment at which it was done, in order.
    pub steps: Vec<StepDone>,
    pub counts: Vec<KindCount>,
    pub devices: Vec<DeviceWipe>,
    pub copies: Copies,
}

/// SHA-256 over the salt's 32 hexadecimal digits and the customer's name in UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameHash {
    /// 16 random bytes, hexadecimal.
    pub salt: String,
    pub sha256: Sha256,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    pub from_us: UtcMicros,
    /// The first moment after it; absent: it was open, and erased on request.
    pub until_us: Option<UtcMicros>,
    /// When work for the contract was said to be done.
    pub done_us: Option<UtcMicros>,
    /// By when it had to be erased; absent for an early one.
    pub due_us: Option<UtcMicros>,
}

/// By whom, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// `period_over` or `on_request`.
    pub reason: String,
    /// The operator's words, of one on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Kind of actor, as in the audit log: `system`, `console`, `operator`.
    pub actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
    pub at_us: UtcMicros,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDone {
    pub step: String,
    pub at_us: UtcMicros,
}

/// How many of one kind there were when everything had been shut, and how many are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    pub kind: String,
    pub before: u64,
    pub after: u64,
}

/// What a device said to the order to wipe what it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWipe {
    pub device: DeviceId,
    /// `done`, `failed`, `refused`; `unconfirmed` of one that has not answered.
    pub outcome: String,
    pub answered_us: Option<UtcMicros>,
}

/// Copies that the receiver cannot reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// A backup of the database made before this moment holds the contract's rows; its index columns in clear, all else
    /// under the destroyed key. To be destroyed.
    pub backups_before_us: UtcMicros,
    /// Copies of the key backup that were made with "key backup" while the contract's key stood in it. To be destroyed:
    /// with the master key they would open what such a backup holds.
    pub key_backups: Vec<KeyBackup>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBackup {
    pub at_us: UtcMicros,
    /// Where it was written to.
    pub path: String,
}

impl NameHash {
    pub fn of(salt: [u8; 16], name: &str) -> Self {
        let salt = HEXLOWER.encode(&salt);
        let sha256 = Self::hash(&salt, name);
        Self { salt, sha256 }
    }

    fn hash(salt: &str, name: &str) -> Sha256 {
        Sha256::of(&[salt.as_bytes(), name.as_bytes()].concat())
    }

    pub fn is_of(&self, name: &str) -> bool {
        Self::hash(&self.salt, name) == self.sha256
    }
}

impl Certificate {
    pub fn is_of(&self, name: &str) -> bool {
        self.name.is_of(name)
    }

    /// Whether nothing is left of any kind.
    pub fn is_complete(&self) -> bool {
        self.counts.iter().all(|count| count.after == 0)
    }

    pub fn sign(&self, key: &SigningKey) -> SignedCertificate {
        let certificate = serde_json::to_string(self).expect("certificates are plain data");
        let digest = Sha256::of(certificate.as_bytes());
        SignedCertificate {
            signature: HEXLOWER.encode(&key.sign(Purpose::Erasure, digest)),
            certificate,
        }
    }
}

/// A certificate as a file: the text exactly as signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCertificate {
    /// JSON of a [`Certificate`].
    pub certificate: String,
    /// Ed25519, hexadecimal.
    pub signature: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("it is not an erasure certificate: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("its signature does not fit: it was changed, or another receiver made it")]
    Forged,
}

impl SignedCertificate {
    /// Verifies before reading.
    pub fn open(&self, key: &VerifyingKey) -> Result<Certificate, CertificateError> {
        let signature = HEXLOWER.decode(self.signature.as_bytes());
        let signature = signature.map_err(|_| CertificateError::Forged)?;
        let digest = Sha256::of(self.certificate.as_bytes());
        key.verify(Purpose::Erasure, digest, &signature)
            .map_err(|_| CertificateError::Forged)?;
        Ok(serde_json::from_str(&self.certificate)?)
    }
}
