//! Signed heads: what the receiver says it holds of every device, numbered, signed, and each naming the one before.
//!
//! Sent out and kept elsewhere, they bind the receiver: what it once stated it can no longer take back unseen. What
//! is signed is a short statement that lists one hash for each contract; the contract's own **section** hangs on
//! that hash. So heads can be shown to one customer with that customer's section alone: the salt in each section
//! keeps the bare hashes of the others from telling anything.

use crate::digest::{Hasher, Sha256};
use crate::ids::{ContractId, DeviceId, Epoch, Seq};
use crate::receipt::SeqRange;
use crate::sign::{Purpose, SigningKey, VerifyingKey};
use crate::time::UtcMicros;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The version this crate writes.
pub const VERSION: u8 = 1;

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub v: u8,
    /// Counts up from 1 without a gap.
    pub number: u64,
    pub at_us: UtcMicros,
    /// SHA-256 of the statement before; zeros in the first.
    pub previous: Sha256,
    pub receiver_key: VerifyingKey,
    /// SHA-256 of each contract's section, in the order of the hashes.
    pub sections: Vec<Sha256>,
    /// Where the receiver's audit log stood; absent from receivers that had none, and while it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditHead>,
}

/// The newest entry of the receiver's audit log. Its entries are chained by their hashes, so this binds all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    pub no: u64,
    pub hash: Sha256,
}

/// What the receiver holds of one contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// 16 random bytes, hexadecimal.
    pub salt: String,
    pub contract: ContractId,
    pub devices: Vec<DeviceHead>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceHead {
    pub device: DeviceId,
    /// As pinned at enrollment.
    pub record_key: VerifyingKey,
    /// In the order in which their first batches arrived.
    pub epochs: Vec<EpochHead>,
    /// Batches and records refused for good, since ever.
    pub refused: u64,
}

/// One epoch. All of it is of the batches stored at that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochHead {
    pub epoch: Epoch,
    pub last_seq: Seq,
    pub records: u64,
    pub batches: u64,
    /// Which records: more than one range where some had not arrived.
    pub ranges: Vec<SeqRange>,
    /// Hash of the batch with the highest numbers.
    pub last_batch: Sha256,
    /// Captured time of the first record of the first and of the last batch, so that it can be told which time an
    /// epoch belongs to.
    pub first_us: UtcMicros,
    pub last_us: UtcMicros,
    /// Over all batches in the order of their numbers: see [`Digest`].
    pub digest: Sha256,
}

impl EpochHead {
    pub fn holds(&self, seq: Seq) -> bool {
        self.ranges
            .iter()
            .any(|range| range.first <= seq && seq <= range.last)
    }
}

/// Binds every batch of an epoch: SHA-256 over first number, last number and hash of each, in order.
#[derive(Clone, Debug, Default)]
pub struct Digest(Hasher);

impl Digest {
    pub fn add(&mut self, first: Seq, last: Seq, hash: Sha256) {
        self.0.update(&first.0.to_be_bytes());
        self.0.update(&last.0.to_be_bytes());
        self.0.update(&hash.0);
    }

    pub fn finish(self) -> Sha256 {
        self.0.finish()
    }
}

/// Heads as a file: the statement exactly as signed, and the sections exactly as hashed; some may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHeads {
    /// JSON of a [`Statement`].
    pub statement: String,
    /// Ed25519, hexadecimal.
    pub signature: String,
    /// JSON of a [`Section`] each.
    pub sections: Vec<String>,
}

/// Heads whose signature and hashes were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    pub statement: Statement,
    /// What a successor names as its `previous`.
    pub hash: Sha256,
    pub sections: Vec<Section>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeadsError {
    #[error("{0}")]
    Unreadable(String),
    #[error("the signature does not fit")]
    Forged,
    #[error("they are signed by another key, {0}")]
    AnotherKey(VerifyingKey),
}

impl SignedHeads {
    /// Puts the sections in order, states and signs.
    pub fn sign(
        key: &SigningKey,
        number: u64,
        at_us: UtcMicros,
        previous: Sha256,
        sections: &[Section],
    ) -> Self {
        Self::sign_with_audit(key, number, at_us, previous, sections, None)
    }

    /// The same with where the audit log stands.
    pub fn sign_with_audit(
        key: &SigningKey,
        number: u64,
        at_us: UtcMicros,
        previous: Sha256,
        sections: &[Section],
        audit: Option<AuditHead>,
    ) -> Self {
        let text = |section| serde_json::to_string(section).expect("sections are plain data");
        let mut hashed: Vec<_> = sections
            .iter()
            .map(text)
            .map(|text| (Sha256::of(text.as_bytes()), text))
            .collect();
        hashed.sort();
        let statement = Statement {
            v: VERSION,
            number,
            at_us,
            previous,
            receiver_key: key.verifying_key(),
            sections: hashed.iter().map(|(hash, _)| *hash).collect(),
            audit,
        };
        let statement = serde_json::to_string(&statement).expect("statements are plain data");
        let signature = key.sign(Purpose::Heads, Sha256::of(statement.as_bytes()));
        Self {
            statement,
            signature: HEXLOWER.encode(&signature),
            sections: hashed.into_iter().map(|(_, text)| text).collect(),
        }
    }

    /// What a successor names as its `previous`.
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.statement.as_bytes())
    }

    /// The same heads with the section of one contract only.
    pub fn for_contract(&self, contract: ContractId) -> Self {
        let is_theirs = |text: &&String| {
            serde_json::from_str::<Section>(text).is_ok_and(|section| section.contract == contract)
        };
        Self {
            sections: self.sections.iter().filter(is_theirs).cloned().collect(),
            ..self.clone()
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("signed heads are plain data")
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self, HeadsError> {
        serde_json::from_slice(bytes).map_err(|error| HeadsError::Unreadable(error.to_string()))
    }

    /// The key that the statement claims to be signed by: for whoever pins it from heads that they kept themselves.
    pub fn claimed_key(&self) -> Result<VerifyingKey, HeadsError> {
        Ok(self.read_statement()?.receiver_key)
    }

    /// Verifies everything: the signature under `key`, and that each section here is one that was signed.
    pub fn open(&self, key: &VerifyingKey) -> Result<Heads, HeadsError> {
        let statement = self.read_statement()?;
        let signature = HEXLOWER
            .decode(self.signature.as_bytes())
            .map_err(|_| HeadsError::Forged)?;
        if key.verify(Purpose::Heads, self.hash(), &signature).is_err() {
            return Err(if statement.receiver_key == *key {
                HeadsError::Forged
            } else {
                HeadsError::AnotherKey(statement.receiver_key)
            });
        }
        let mut sections = Vec::with_capacity(self.sections.len());
        for text in &self.sections {
            if !statement.sections.contains(&Sha256::of(text.as_bytes())) {
                return Err(HeadsError::Forged);
            }
            let section = serde_json::from_str(text)
                .map_err(|error| HeadsError::Unreadable(error.to_string()))?;
            sections.push(section);
        }
        Ok(Heads {
            hash: self.hash(),
            statement,
            sections,
        })
    }

    fn read_statement(&self) -> Result<Statement, HeadsError> {
        serde_json::from_str(&self.statement)
            .map_err(|error| HeadsError::Unreadable(error.to_string()))
    }
}

impl Heads {
    pub fn number(&self) -> u64 {
        self.statement.number
    }

    /// What these heads say of a device, if its section is here.
    pub fn device(&self, device: DeviceId) -> Option<&DeviceHead> {
        let mut devices = self.sections.iter().flat_map(|section| &section.devices);
        devices.find(|head| head.device == device)
    }
}

/// Checks heads among themselves: one each number, each naming the one before. Sorts them by number and keeps one of
/// each; copies may carry other sections, so all are kept that differ in those.
pub fn check_sequence(heads: &mut [Heads]) -> Vec<super::Finding> {
    use super::Finding;
    heads.sort_by_key(Heads::number);
    let mut findings = Vec::new();
    for pair in heads.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        if before.number() == after.number() {
            if before.hash != after.hash {
                findings.push(Finding::HeadsReplaced {
                    number: before.number(),
                });
            }
            continue;
        }
        if before.number() + 1 == after.number() {
            if after.statement.previous != before.hash {
                findings.push(Finding::HeadsReplaced {
                    number: before.number(),
                });
            }
            continue;
        }
        findings.extend(
            (before.number() + 1..after.number())
                .take(100)
                .map(|number| Finding::HeadsMissing { number }),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn key() -> SigningKey {
        SigningKey::from_seed([3; 32])
    }

    fn section(id: u128) -> Section {
        Section {
            salt: format!("{id:032x}"),
            contract: ContractId(Uuid::from_u128(id)),
            devices: Vec::new(),
        }
    }

    fn heads(number: u64, previous: Sha256) -> SignedHeads {
        SignedHeads::sign(
            &key(),
            number,
            UtcMicros(7),
            previous,
            &[section(1), section(2)],
        )
    }

    #[test]
    fn heads_open_whole_and_for_one_contract_and_under_their_key_only() {
        let whole = heads(1, Sha256::ZERO);
        let public = key().verifying_key();
        assert_eq!(whole.open(&public).map(|heads| heads.sections.len()), Ok(2));
        let theirs = whole.for_contract(ContractId(Uuid::from_u128(2)));
        let opened = theirs.open(&public).expect("opens");
        assert_eq!(opened.sections, [section(2)]);
        assert!(!theirs.sections.concat().contains(&format!("{:032x}", 1)));
        let other = SigningKey::from_seed([4; 32]).verifying_key();
        assert_eq!(whole.open(&other), Err(HeadsError::AnotherKey(public)));
    }

    #[test]
    fn an_audit_head_is_signed_and_its_absence_changes_nothing() {
        let audit = AuditHead {
            no: 9,
            hash: Sha256::of(b"entry 9"),
        };
        let sign = |audit| {
            SignedHeads::sign_with_audit(
                &key(),
                1,
                UtcMicros(7),
                Sha256::ZERO,
                &[section(1)],
                audit,
            )
        };
        let public = key().verifying_key();
        let opened = sign(Some(audit)).open(&public).expect("opens");
        assert_eq!(opened.statement.audit, Some(audit));
        let without = sign(None);
        assert!(
            !without.statement.contains("audit"),
            "as it was before there was one"
        );
        assert_eq!(without.open(&public).expect("opens").statement.audit, None);
        let mut forged = sign(Some(audit));
        forged.statement = forged.statement.replace("\"no\":9", "\"no\":8");
        assert_eq!(forged.open(&public), Err(HeadsError::Forged));
    }

    #[test]
    fn every_changed_byte_of_heads_is_noticed() {
        let good = serde_json::to_vec(&heads(1, Sha256::ZERO)).expect("json");
        for index in 0..good.len() {
            let mut changed = good.clone();
            changed[index] ^= 1;
            let outcome = SignedHeads::from_json(&changed)
                .and_then(|heads| heads.open(&key().verifying_key()));
            assert!(outcome.is_err(), "byte {index} {}", char::from(good[index]));
        }
    }

    #[test]
    fn a_sequence_with_a_hole_or_a_replaced_one_is_told() {
        let open = |signed: &SignedHeads| signed.open(&key().verifying_key()).expect("opens");
        let first = heads(1, Sha256::ZERO);
        let second = heads(2, first.hash());
        let third = heads(3, second.hash());
        assert_eq!(
            check_sequence(&mut [open(&third), open(&first), open(&second)]),
            []
        );
        let missing = super::super::Finding::HeadsMissing { number: 2 };
        assert_eq!(check_sequence(&mut [open(&first), open(&third)]), [missing]);
        let forged = heads(2, Sha256::of(b"another past"));
        let replaced = |number| super::super::Finding::HeadsReplaced { number };
        assert_eq!(
            check_sequence(&mut [open(&first), open(&forged)]),
            [replaced(1)]
        );
        assert_eq!(
            check_sequence(&mut [open(&second), open(&forged)]),
            [replaced(2)]
        );
    }
}
