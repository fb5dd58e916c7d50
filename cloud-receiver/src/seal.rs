//! Sealing of what is kept: AES-256-GCM under the contract's key, bound to the thing it belongs to.
//!
//! Every object gets a key of its own (HKDF-SHA256, RFC 5869, from the contract's key and the object's name), so
//! that the limit of random nonces under one key (NIST SP 800-38D, section 8.3) is never near. The name -
//! contract, device, purpose and hash - is associated data as well: a sealed object moved to another row, device
//! or contract does not open. Destroying the contract's key therefore erases everything sealed under it.

mod master;

pub use master::{MasterId, MasterKeys};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use wire::{ContractId, DeviceId, Sha256};
use zeroize::Zeroize;

/// Length of all keys here, in bytes.
pub const KEY_LEN: usize = 32;
/// How many bytes sealing adds.
pub const OVERHEAD: usize = NONCE_LEN + 16;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("sealed data does not open: it was changed, moved, or sealed under another key")]
pub struct SealError;

/// What a sealed object is: never mistaken for one of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Batch,
    Media,
    Count,
    Heartbeat,
    Command,
    CommandAnswer,
    Blob,
    Audit,
    Terms,
    Mail,
    Subscription,
    Hold,
    SecondFactor,
    /// Rows of a backup.
    Backup,
    /// Which objects belong to a backup.
    BackupObjects,
}

impl Purpose {
    fn word(self) -> &'static [u8] {
        match self {
            Purpose::Batch => b"batch",
            Purpose::Media => b"media",
            Purpose::Count => b"count",
            Purpose::Heartbeat => b"heartbeat",
            Purpose::Command => b"command",
            Purpose::CommandAnswer => b"command-answer",
            Purpose::Blob => b"blob",
            Purpose::Audit => b"audit",
            Purpose::Terms => b"terms",
            Purpose::Mail => b"mail",
            Purpose::Subscription => b"subscription",
            Purpose::Hold => b"hold",
            Purpose::SecondFactor => b"second-factor",
            Purpose::Backup => b"backup",
            Purpose::BackupObjects => b"backup-objects",
        }
    }
}

/// The full name of a sealed object within the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    pub contract: ContractId,
    pub device: DeviceId,
    pub purpose: Purpose,
    /// Content hash where there is one, else the hash of the object's id.
    pub hash: Sha256,
}

impl Name {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"caas/seal/v1/".to_vec();
        bytes.extend_from_slice(self.purpose.word());
        bytes.push(0);
        bytes.extend_from_slice(self.contract.0.as_bytes());
        bytes.extend_from_slice(self.device.0.as_bytes());
        bytes.extend_from_slice(&self.hash.0);
        bytes
    }
}

/// 32 secret bytes. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; KEY_LEN]);

impl SecretKey {
    pub fn generate() -> Self {
        Self(random())
    }

    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// For the one place that writes it to a file of its own, or wraps it.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Nonce, then ciphertext, then tag.
    pub fn seal(&self, name: &Name, plain: &[u8]) -> Vec<u8> {
        let name = name.bytes();
        seal_under(&self.derive(&[&name]), &name, plain)
    }

    pub fn open(&self, name: &Name, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let name = name.bytes();
        open_under(&self.derive(&[&name]), &name, sealed)
    }

    /// Wraps a contract's key under this one, which then is the master key.
    pub fn wrap(&self, contract: ContractId, key: &SecretKey) -> Vec<u8> {
        let name = wrap_name(contract);
        seal_under(&self.derive(&[&name]), &name, &key.0)
    }

    pub fn unwrap(&self, contract: ContractId, wrapped: &[u8]) -> Result<SecretKey, SealError> {
        let name = wrap_name(contract);
        let bytes = open_under(&self.derive(&[&name]), &name, wrapped)?;
        Ok(Self(bytes.try_into().map_err(|_| SealError)?))
    }

    /// The key of one stream of chunks; `salt` is random and new for every stream.
    pub fn stream_key(&self, name: &Name, salt: &[u8]) -> LessSafeKey {
        self.derive(&[&name.bytes(), salt])
    }

    fn derive(&self, info: &[&[u8]]) -> LessSafeKey {
        let key = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &self.0)
            .expand(info, &AES_256_GCM)
            .map(UnboundKey::from)
            .expect("32 bytes are within what HKDF gives");
        LessSafeKey::new(key)
    }
}

impl Drop for SecretKey {
    /// A key that was destroyed is not to be found in the memory of a process that goes on.
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(***)")
    }
}

fn wrap_name(contract: ContractId) -> Vec<u8> {
    [&b"caas/wrap/v1/"[..], contract.0.as_bytes()].concat()
}

fn seal_under(key: &LessSafeKey, associated: &[u8], plain: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = random();
    let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated),
            &mut sealed[NONCE_LEN..],
        )
        .expect("what is sealed is far below the 64 GiB limit of GCM");
    sealed.extend_from_slice(tag.as_ref());
    sealed
}

fn open_under(key: &LessSafeKey, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
    let mut body = body.to_vec();
    let plain_len = key
        .open_in_place(nonce, Aad::from(associated), &mut body)
        .map_err(|_| SealError)?
        .len();
    body.truncate(plain_len);
    Ok(body)
}

/// Bytes of the operating system's random source.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system's random source answers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn name() -> Name {
        Name {
            contract: ContractId(Uuid::from_u128(1)),
            device: DeviceId(Uuid::from_u128(2)),
            purpose: Purpose::Batch,
            hash: Sha256::of(b"x"),
        }
    }

    #[test]
    fn opens_only_under_its_own_name_and_key() {
        let key = SecretKey::from_bytes([7; 32]);
        let sealed = key.seal(&name(), b"plain");
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(key.open(&name(), &sealed), Ok(b"plain".to_vec()));
        let foreign = [
            Name {
                contract: ContractId(Uuid::from_u128(9)),
                ..name()
            },
            Name {
                device: DeviceId(Uuid::from_u128(9)),
                ..name()
            },
            Name {
                purpose: Purpose::Blob,
                ..name()
            },
            Name {
                hash: Sha256::of(b"y"),
                ..name()
            },
        ];
        for other in foreign {
            assert_eq!(key.open(&other, &sealed), Err(SealError), "{other:?}");
        }
        let other_key = SecretKey::from_bytes([8; 32]);
        assert_eq!(other_key.open(&name(), &sealed), Err(SealError));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let key = SecretKey::from_bytes([7; 32]);
        let sealed = key.seal(&name(), b"plain");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(key.open(&name(), &changed), Err(SealError), "byte {index}");
            assert_eq!(
                key.open(&name(), &sealed[..index]),
                Err(SealError),
                "cut {index}"
            );
        }
    }

    #[test]
    fn a_wrapped_key_opens_for_its_contract_only() {
        let master = SecretKey::generate();
        let key = SecretKey::generate();
        let wrapped = master.wrap(ContractId(Uuid::from_u128(1)), &key);
        assert_eq!(
            master.unwrap(ContractId(Uuid::from_u128(1)), &wrapped),
            Ok(key)
        );
        assert_eq!(
            master.unwrap(ContractId(Uuid::from_u128(2)), &wrapped),
            Err(SealError)
        );
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?}", SecretKey::from_bytes([0xab; 32])),
            "SecretKey(***)"
        );
    }
}
