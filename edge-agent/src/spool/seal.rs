//! Sealing at rest: AES-256-GCM (NIST SP 800-38D) under the device's spool key, a random nonce for each item.
//!
//! The associated data says what the bytes are and whose, so that nothing sealed can be put in another's place:
//! one batch for another, a blob for a batch, one device's for another's.

use crate::identity::SpoolKey;
use crate::spool::error::SpoolError;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use wire::{DeviceId, Epoch, EventId, Seq, Sha256};

/// Bytes that sealing adds: nonce and tag.
pub(super) const OVERHEAD: usize = NONCE_LEN + 16;

/// What is sealed: becomes part of the associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Batch { epoch: Epoch, first_seq: Seq },
    Parked { epoch: Epoch, seq: Seq },
    Blob(Sha256),
    OpenEvent(EventId),
}

impl Item {
    fn associated_data(self, device: DeviceId) -> Vec<u8> {
        let (word, rest): (&[u8], Vec<u8>) = match self {
            Item::Batch { epoch, first_seq } => (b"caas/v1/spool/batch\0", key(epoch, first_seq)),
            Item::Parked { epoch, seq } => (b"caas/v1/spool/parked\0", key(epoch, seq)),
            Item::Blob(sha256) => (b"caas/v1/spool/blob\0", sha256.0.to_vec()),
            Item::OpenEvent(id) => (b"caas/v1/spool/open-event\0", id.0.as_bytes().to_vec()),
        };
        [word, device.0.as_bytes(), &rest].concat()
    }
}

fn key(epoch: Epoch, seq: Seq) -> Vec<u8> {
    [epoch.0.to_be_bytes(), seq.0.to_be_bytes()].concat()
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Batch { epoch, first_seq } => write!(f, "batch {epoch}/{first_seq}"),
            Item::Parked { epoch, seq } => write!(f, "parked record {epoch}/{seq}"),
            Item::Blob(sha256) => write!(f, "blob {sha256}"),
            Item::OpenEvent(id) => write!(f, "open event {id}"),
        }
    }
}

/// The key with the device it belongs to.
pub(super) struct Vault {
    key: LessSafeKey,
    device: DeviceId,
    random: SystemRandom,
}

impl Vault {
    pub(super) fn new(key: &SpoolKey, device: DeviceId) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &key.0).expect("AES-256 keys have 32 bytes");
        Self {
            key: LessSafeKey::new(key),
            device,
            random: SystemRandom::new(),
        }
    }

    /// Nonce, ciphertext, tag.
    pub(super) fn seal(&self, item: Item, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .expect("the operating system's random source answers");
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(item.associated_data(self.device)),
                &mut sealed[NONCE_LEN..],
            )
            .expect("items are far below the cipher's limit of 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    pub(super) fn open(&self, item: Item, mut sealed: Vec<u8>) -> Result<Vec<u8>, SpoolError> {
        let unreadable = || SpoolError::Unreadable {
            what: item.to_string(),
        };
        let nonce: [u8; NONCE_LEN] = sealed
            .get(..NONCE_LEN)
            .and_then(|nonce| nonce.try_into().ok())
            .ok_or_else(unreadable)?;
        let len = self
            .key
            .open_within(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(item.associated_data(self.device)),
                &mut sealed,
                NONCE_LEN..,
            )
            .map_err(|_| unreadable())?
            .len();
        sealed.truncate(len);
        Ok(sealed)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault(key ***, {})", self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn vault(device: u128) -> Vault {
        Vault::new(&SpoolKey([7; 32]), DeviceId(Uuid::from_u128(device)))
    }

    const HERE: Item = Item::Batch {
        epoch: Epoch(1),
        first_seq: Seq(2),
    };

    #[test]
    fn opens_in_its_own_place_only() {
        let sealed = vault(1).seal(HERE, b"plain");
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(
            vault(1).open(HERE, sealed.clone()).expect("opens"),
            b"plain"
        );
        let elsewhere = [
            Item::Batch {
                epoch: Epoch(1),
                first_seq: Seq(3),
            },
            Item::Parked {
                epoch: Epoch(1),
                seq: Seq(2),
            },
            Item::Blob(Sha256::of(b"plain")),
        ];
        for item in elsewhere {
            assert!(vault(1).open(item, sealed.clone()).is_err(), "{item}");
        }
        assert!(
            vault(2).open(HERE, sealed).is_err(),
            "another device's place"
        );
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let sealed = vault(1).seal(HERE, b"plain");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(vault(1).open(HERE, changed).is_err(), "byte {index}");
            assert!(vault(1).open(HERE, sealed[..index].to_vec()).is_err());
        }
    }

    #[test]
    fn the_same_bytes_never_look_the_same() {
        assert_ne!(vault(1).seal(HERE, b"x"), vault(1).seal(HERE, b"x"));
    }
}
