//! Ed25519 signatures (RFC 8032) with a purpose mixed in, so that a signature made over a batch can never be
//! shown as one over a command.

use crate::digest::Sha256;
use data_encoding::HEXLOWER_PERMISSIVE;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// What a signature is over. The text is part of what is signed and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Batch,
    Command,
    Enrollment,
    /// The receiver's statement of what it holds, see [`crate::evidence::heads`].
    Heads,
    /// The receiver's list of what an export holds, see [`crate::evidence::manifest`].
    Export,
    /// The receiver's statement that a contract is erased, see [`crate::evidence::erasure`].
    Erasure,
    /// The receiver's copy of a part of its audit log.
    Audit,
    /// The receiver's list of what a backup of it holds.
    Backup,
}

impl Purpose {
    fn context(self) -> &'static [u8] {
        match self {
            Purpose::Batch => b"caas/v1/batch\0",
            Purpose::Command => b"caas/v1/command\0",
            Purpose::Enrollment => b"caas/v1/enrollment\0",
            Purpose::Heads => b"caas/v1/heads\0",
            Purpose::Export => b"caas/v1/export\0",
            Purpose::Erasure => b"caas/v1/erasure\0",
            Purpose::Audit => b"caas/v1/audit\0",
            Purpose::Backup => b"caas/v1/backup\0",
        }
    }

    fn message(self, digest: Sha256) -> Vec<u8> {
        [self.context(), &digest.0].concat()
    }
}

/// A private signing key. Never serialised by this crate; `to_seed` is for the one place that stores it.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
}

impl SigningKey {
    /// Draws a key from the operating system's random source.
    pub fn generate() -> Self {
        let random = ring::rand::SystemRandom::new();
        let seed = ring::rand::generate::<[u8; 32]>(&random)
            .expect("the operating system's random source answers")
            .expose();
        Self::from_seed(seed)
    }

    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are a seed");
        Self { pair, seed }
    }

    /// The 32 secret bytes, for sealed storage.
    pub fn to_seed(&self) -> [u8; 32] {
        self.seed
    }

    pub fn verifying_key(&self) -> VerifyingKey {
        let bytes = self.pair.public_key().as_ref();
        VerifyingKey(bytes.try_into().expect("Ed25519 keys have 32 bytes"))
    }

    pub fn sign(&self, purpose: Purpose, digest: Sha256) -> [u8; SIGNATURE_LEN] {
        let signature = self.pair.sign(&purpose.message(digest));
        signature
            .as_ref()
            .try_into()
            .expect("Ed25519 signatures have 64 bytes")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(***, public {})", self.verifying_key())
    }
}

/// A public key, 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey(pub [u8; 32]);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the signature does not belong to these bytes and this key")]
pub struct BadSignature;

impl VerifyingKey {
    pub fn verify(
        &self,
        purpose: Purpose,
        digest: Sha256,
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&purpose.message(digest), signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a public key is 64 hexadecimal digits")]
pub struct ParseKeyError;

impl FromStr for VerifyingKey {
    type Err = ParseKeyError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        HEXLOWER_PERMISSIVE
            .decode(s.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(ParseKeyError)
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_purpose_bytes_and_key_only() {
        let key = SigningKey::from_seed([7; 32]);
        let digest = Sha256::of(b"records");
        let signature = key.sign(Purpose::Batch, digest);
        let public = key.verifying_key();

        assert_eq!(public.verify(Purpose::Batch, digest, &signature), Ok(()));
        assert!(public.verify(Purpose::Command, digest, &signature).is_err());
        assert!(
            public
                .verify(Purpose::Batch, Sha256::of(b"recordz"), &signature)
                .is_err()
        );
        let other = SigningKey::from_seed([8; 32]).verifying_key();
        assert!(other.verify(Purpose::Batch, digest, &signature).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::from_seed([0xab; 32]);
        assert!(!format!("{key:?}").contains("abab"));
    }
}
