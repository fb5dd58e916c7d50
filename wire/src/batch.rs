//! The batch: the records of one commit, and the unit of sending, signing and verifying.
//!
//! # Canonical bytes, version 1
//!
//! All integers big-endian:
//!
//! ```text
//! "caasb1\0\0"            8 bytes
//! device_id              16
//! epoch                   8
//! first_seq               8
//! prev                   32   SHA-256 of the batch before; zeros where none is known
//! count                   4
//! count x { length 4, record bytes }
//! signature              64   Ed25519 over the purpose and the SHA-256 of everything above
//! ```
//!
//! The hash of a batch is the SHA-256 of everything above the signature. The first batch of an epoch names the
//! last batch of the epoch before, if the spool still knows it, so the chain runs on across restarts.
//! Lengths come first because what is signed must have exactly one reading.

use crate::digest::Sha256;
use crate::ids::{DeviceId, Epoch, Seq};
use crate::sign::{BadSignature, Purpose, SIGNATURE_LEN, SigningKey, VerifyingKey};
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"caasb1\0\0";
const HEADER_LEN: usize = 8 + 16 + 8 + 8 + 32 + 4;

/// Largest signed batch in bytes, so that one MQTT packet always carries it.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Most records of one batch.
pub const MAX_RECORDS: usize = 100;
/// Largest single record in bytes; such a record always fits a batch of its own.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BatchError {
    #[error("these bytes are not a batch: {0}")]
    Shape(&'static str),
    #[error("the batch has {0} bytes, more than the {MAX_BATCH_BYTES} allowed")]
    Oversized(usize),
    #[error(transparent)]
    BadSignature(#[from] BadSignature),
}

/// The records of one commit, before signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub device_id: DeviceId,
    pub epoch: Epoch,
    pub first_seq: Seq,
    pub prev: Sha256,
    /// Each the JSON of one [`crate::Record`], exactly as made.
    pub records: Vec<Vec<u8>>,
}

impl Batch {
    /// Number of bytes that a signed batch of these record lengths takes.
    pub fn signed_len(record_lens: impl IntoIterator<Item = usize>) -> usize {
        let records: usize = record_lens.into_iter().map(|len| len + 4).sum();
        HEADER_LEN + records + SIGNATURE_LEN
    }

    /// Makes the canonical bytes, once, and signs them.
    pub fn sign(&self, key: &SigningKey) -> SignedBatch {
        let mut bytes = Vec::with_capacity(Self::signed_len(
            self.records.iter().map(std::vec::Vec::len),
        ));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.device_id.0.as_bytes());
        bytes.extend_from_slice(&self.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&self.first_seq.0.to_be_bytes());
        bytes.extend_from_slice(&self.prev.0);
        bytes.extend_from_slice(&len_u32(self.records.len()));
        for record in &self.records {
            bytes.extend_from_slice(&len_u32(record.len()));
            bytes.extend_from_slice(record);
        }
        let hash = Sha256::of(&bytes);
        bytes.extend_from_slice(&key.sign(Purpose::Batch, hash));
        SignedBatch { bytes, hash }
    }
}

fn len_u32(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("batches are far below 4 GiB")
        .to_be_bytes()
}

/// A batch as it is stored and sent: canonical bytes and signature. The signature may still be unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBatch {
    bytes: Vec<u8>,
    hash: Sha256,
}

impl SignedBatch {
    /// Takes bytes from storage or the network. Checks size only; `parse` and `verify` do the rest.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, BatchError> {
        if bytes.len() > MAX_BATCH_BYTES {
            return Err(BatchError::Oversized(bytes.len()));
        }
        if bytes.len() < HEADER_LEN + SIGNATURE_LEN {
            return Err(BatchError::Shape("shorter than an empty batch"));
        }
        let hash = Sha256::of(&bytes[..bytes.len() - SIGNATURE_LEN]);
        Ok(Self { bytes, hash })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What the next batch names as its `prev`.
    pub fn hash(&self) -> Sha256 {
        self.hash
    }

    pub fn verify(&self, key: &VerifyingKey) -> Result<(), BatchError> {
        let signature = &self.bytes[self.bytes.len() - SIGNATURE_LEN..];
        Ok(key.verify(Purpose::Batch, self.hash, signature)?)
    }

    /// Reads the canonical bytes back. Refuses trailing bytes, so there is one reading only.
    pub fn parse(&self) -> Result<Batch, BatchError> {
        let mut rest = Cursor(&self.bytes[..self.bytes.len() - SIGNATURE_LEN]);
        if &rest.take::<8>()? != MAGIC {
            return Err(BatchError::Shape("unknown format or version"));
        }
        let device_id = DeviceId(Uuid::from_bytes(rest.take()?));
        let epoch = Epoch(u64::from_be_bytes(rest.take()?));
        let first_seq = Seq(u64::from_be_bytes(rest.take()?));
        let prev = Sha256(rest.take()?);
        let count = rest.take_len()?;
        if count == 0 || count > MAX_RECORDS {
            return Err(BatchError::Shape("the number of records is out of range"));
        }
        if first_seq.0 == 0 || first_seq.0.checked_add(count as u64).is_none() {
            return Err(BatchError::Shape("record numbers are out of range"));
        }
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            let len = rest.take_len()?;
            if len > MAX_RECORD_BYTES {
                return Err(BatchError::Shape("a record is oversized"));
            }
            records.push(rest.take_slice(len)?.to_vec());
        }
        if !rest.0.is_empty() {
            return Err(BatchError::Shape("bytes after the last record"));
        }
        Ok(Batch {
            device_id,
            epoch,
            first_seq,
            prev,
            records,
        })
    }
}

impl Batch {
    /// Number of the last record. Batches from `parse` hold at least one.
    pub fn last_seq(&self) -> Seq {
        Seq(self.first_seq.0 + self.records.len() as u64 - 1)
    }
}

/// Reads from the front; running out is an error, never a panic.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take_slice(&mut self, len: usize) -> Result<&'a [u8], BatchError> {
        let (head, tail) = self
            .0
            .split_at_checked(len)
            .ok_or(BatchError::Shape("cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        let slice = self.take_slice(N)?;
        Ok(slice.try_into().expect("take_slice returns N bytes"))
    }

    fn take_len(&mut self) -> Result<usize, BatchError> {
        Ok(u32::from_be_bytes(self.take()?) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Batch {
        Batch {
            device_id: DeviceId(Uuid::from_u128(1)),
            epoch: Epoch(2),
            first_seq: Seq(3),
            prev: Sha256::of(b"before"),
            records: vec![b"{\"kind\":\"a\"}".to_vec(), b"{}".to_vec()],
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    #[test]
    fn signed_bytes_read_back_and_verify() {
        let signed = sample().sign(&key());
        let arrived = SignedBatch::from_bytes(signed.as_bytes().to_vec()).expect("shape");
        assert_eq!(arrived.hash(), signed.hash());
        assert_eq!(arrived.verify(&key().verifying_key()), Ok(()));
        assert_eq!(arrived.parse(), Ok(sample()));
        assert_eq!(sample().last_seq(), Seq(4));
    }

    #[test]
    fn every_single_changed_byte_is_noticed() {
        let signed = sample().sign(&key()).into_bytes();
        for index in 0..signed.len() {
            let mut changed = signed.clone();
            changed[index] ^= 1;
            let batch = SignedBatch::from_bytes(changed).expect("same length");
            assert!(
                batch.verify(&key().verifying_key()).is_err(),
                "byte {index}"
            );
        }
    }

    #[test]
    fn a_cut_batch_is_refused_wherever_it_is_cut() {
        let signed = sample().sign(&key()).into_bytes();
        for len in 0..signed.len() {
            let outcome = SignedBatch::from_bytes(signed[..len].to_vec())
                .and_then(|batch| batch.verify(&key().verifying_key()));
            assert!(outcome.is_err(), "cut to {len}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(batch) = SignedBatch::from_bytes(bytes) {
                let _ = batch.parse();
            }
        }

        #[test]
        fn any_records_survive_the_round_trip(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 1..=MAX_RECORDS),
            first in 1u64..u64::MAX / 2,
        ) {
            let batch = Batch { first_seq: Seq(first), records, ..sample() };
            let signed = batch.sign(&key());
            prop_assert_eq!(
                signed.as_bytes().len(),
                Batch::signed_len(batch.records.iter().map(Vec::len))
            );
            prop_assert_eq!(signed.parse(), Ok(batch));
        }
    }
}
