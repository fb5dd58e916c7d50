//! What a check found, each as one sentence that names the device, the epoch, the record numbers, the hash or the
//! file, so that whoever reads it can go and look.

use crate::digest::Sha256;
use crate::ids::{DeviceId, Epoch, Seq};
use serde::Serialize;
use std::fmt;

/// How much a finding weighs in the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Told, and explained by something signed.
    Note,
    /// What is there is genuine, but something is missing, and nobody need have removed it.
    Incomplete,
    /// Something was changed, removed, moved or added.
    Tampered,
}

/// How it is known that something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// The receiver's signed heads of this number say that it held them.
    Heads(u64),
    /// The signed numbers and links of the batches around them.
    Chain,
    /// The receiver's own book of what it has stored.
    Book,
}

/// Why one epoch does not follow another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// It names a batch that another epoch follows already.
    Forked,
    /// It names no batch, although the device had spoken before.
    Forgotten,
    /// It names a batch that is not here.
    Unknown,
    /// Within an epoch: the batch before has another hash than the one it names.
    Mismatch,
}

/// One thing found. `file` and `place` say where in an export or a store it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Finding {
    /// The container itself is not as the receiver writes it.
    ContainerChanged {
        problem: String,
    },
    FileChanged {
        file: String,
    },
    FileRemoved {
        file: String,
    },
    FileAdded {
        file: String,
    },
    ManifestForged,
    ManifestUnreadable {
        problem: String,
    },
    BatchChanged {
        device: DeviceId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
        place: String,
    },
    BatchUnreadable {
        device: DeviceId,
        place: String,
    },
    BatchForeign {
        device: DeviceId,
        found: DeviceId,
        place: String,
    },
    BatchTwice {
        device: DeviceId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
        place: String,
    },
    /// Two batches signed by the device over the same numbers.
    BatchRival {
        device: DeviceId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
        place: String,
    },
    BatchMoved {
        device: DeviceId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
        place: String,
    },
    RecordsRemoved {
        device: DeviceId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
        known: Known,
    },
    /// The receiver says it never had them.
    RecordsNotArrived {
        device: DeviceId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
    },
    TailCut {
        device: DeviceId,
        epoch: Epoch,
        have: Seq,
        stated: Seq,
        heads: u64,
    },
    EpochRemoved {
        device: DeviceId,
        epoch: Epoch,
        stated: Seq,
        heads: u64,
    },
    DeviceRemoved {
        device: DeviceId,
        heads: u64,
    },
    HistoryReplaced {
        device: DeviceId,
        epoch: Epoch,
        heads: u64,
    },
    ChainBroken {
        device: DeviceId,
        epoch: Epoch,
        seq: Seq,
        cause: Break,
    },
    FrontOpen {
        device: DeviceId,
        epoch: Epoch,
        seq: Seq,
    },
    TailOpen {
        device: DeviceId,
        epoch: Epoch,
        seq: Seq,
    },
    PictureChanged {
        device: Option<DeviceId>,
        sha256: Sha256,
        place: String,
    },
    PictureRemoved {
        device: DeviceId,
        epoch: Epoch,
        seq: Seq,
        sha256: Sha256,
    },
    PictureNotArrived {
        device: DeviceId,
        epoch: Epoch,
        seq: Seq,
        sha256: Sha256,
    },
    PictureUnknown {
        sha256: Sha256,
        file: String,
    },
    HeadsUnreadable {
        file: String,
        problem: String,
    },
    HeadsForged {
        file: String,
    },
    HeadsOfAnother {
        file: String,
    },
    HeadsMissing {
        number: u64,
    },
    /// Two of one number, or a successor that names another predecessor.
    HeadsReplaced {
        number: u64,
    },
    HeadsCut {
        have: u64,
        stated: u64,
    },
    /// A time stamp that is not one of these heads.
    StampForged {
        file: String,
        problem: String,
    },
    /// A time stamp that proves nothing.
    StampUnusable {
        file: String,
        problem: String,
    },
    /// What the store shows differs from what the signed record says.
    IndexDiffers {
        device: DeviceId,
        epoch: Epoch,
        seq: Seq,
        column: String,
    },
    Refused {
        device: DeviceId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
        code: String,
    },
    RecordsShed {
        device: DeviceId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
        reason: String,
    },
    PicturesShed {
        device: DeviceId,
        class: String,
        count: u64,
        reason: String,
    },
    /// Only their numbers and hashes are left.
    RecordsDeleted {
        device: DeviceId,
        records: u64,
        batches: u64,
    },
    /// Batches are empty as if deleted as agreed, and the audit log does not tell of it.
    DeletionUnnoted {
        batches: u64,
        noted: u64,
    },
}

impl Finding {
    pub fn weight(&self) -> Weight {
        match self {
            Finding::Refused { .. }
            | Finding::RecordsShed { .. }
            | Finding::RecordsDeleted { .. }
            | Finding::PicturesShed { .. } => Weight::Note,
            Finding::RecordsNotArrived { .. }
            | Finding::ChainBroken {
                cause: Break::Forked | Break::Forgotten | Break::Unknown,
                ..
            }
            | Finding::FrontOpen { .. }
            | Finding::TailOpen { .. }
            | Finding::HeadsMissing { .. }
            | Finding::HeadsUnreadable { .. }
            | Finding::HeadsOfAnother { .. }
            | Finding::StampUnusable { .. }
            | Finding::PictureNotArrived { .. } => Weight::Incomplete,
            _ => Weight::Tampered,
        }
    }
}

/// A finding for programs: its fields, its weight and its sentence.
#[derive(Clone, Debug, Serialize)]
pub struct Told<'a> {
    pub weight: Weight,
    pub sentence: String,
    #[serde(flatten)]
    pub finding: &'a Finding,
}

impl<'a> From<&'a Finding> for Told<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            weight: finding.weight(),
            sentence: finding.to_string(),
            finding,
        }
    }
}

/// "record 5" or "records 5-8", of an epoch of a device.
struct Numbers(DeviceId, Epoch, Seq, Seq);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(device, epoch, first, last) = self;
        if first == last {
            write!(f, "device {device}, epoch {epoch}, record {first}")
        } else {
            write!(f, "device {device}, epoch {epoch}, records {first}-{last}")
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Finding::*;
        match self {
            ContainerChanged { problem } => {
                write!(f, "the file itself was changed or damaged: {problem}")
            }
            FileChanged { file } => write!(
                f,
                "{file} was changed: its SHA-256 is not the one in the signed manifest"
            ),
            FileRemoved { file } => write!(f, "{file} was removed: the signed manifest lists it"),
            FileAdded { file } => {
                write!(f, "{file} was added: the signed manifest does not list it")
            }
            ManifestForged => write!(
                f,
                "manifest.json was changed: the receiver's signature does not fit it"
            ),
            ManifestUnreadable { problem } => write!(f, "manifest.json cannot be read: {problem}"),
            BatchChanged {
                device,
                epoch,
                first,
                last,
                place,
            } => write!(
                f,
                "{} ({place}): changed, the device's signature does not fit",
                Numbers(*device, *epoch, *first, *last)
            ),
            BatchUnreadable { device, place } => write!(
                f,
                "device {device} ({place}): changed, this is no batch any more"
            ),
            BatchForeign {
                device,
                found,
                place,
            } => write!(
                f,
                "device {device} ({place}): a batch of device {found} was put in its place"
            ),
            BatchTwice {
                device,
                epoch,
                first,
                last,
                place,
            } => write!(
                f,
                "{} ({place}): added, the same batch stands there twice",
                Numbers(*device, *epoch, *first, *last)
            ),
            BatchRival {
                device,
                epoch,
                first,
                last,
                place,
            } => write!(
                f,
                "{} ({place}): the device signed two different batches with these numbers",
                Numbers(*device, *epoch, *first, *last)
            ),
            BatchMoved {
                device,
                epoch,
                first,
                last,
                place,
            } => write!(
                f,
                "{} ({place}): reordered, the batch stands after a later one",
                Numbers(*device, *epoch, *first, *last)
            ),
            RecordsRemoved {
                device,
                epoch,
                first,
                last,
                known,
            } => {
                let numbers = Numbers(*device, *epoch, *first, *last);
                match known {
                    Known::Heads(number) => write!(
                        f,
                        "{numbers}: removed, heads no. {number} say that the receiver held them"
                    ),
                    Known::Chain => write!(
                        f,
                        "{numbers}: removed, the signed batches around them leave no other reading"
                    ),
                    Known::Book => write!(
                        f,
                        "{numbers}: removed, the receiver's book of stored records still lists them"
                    ),
                }
            }
            RecordsNotArrived {
                device,
                epoch,
                first,
                last,
            } => write!(
                f,
                "{}: missing, the receiver says that they had not arrived",
                Numbers(*device, *epoch, *first, *last)
            ),
            TailCut {
                device,
                epoch,
                have,
                stated,
                heads,
            } => write!(
                f,
                "device {device}, epoch {epoch}: cut off at the tail, it ends at record {have}, and heads no. {heads} say that the receiver held {stated}"
            ),
            EpochRemoved {
                device,
                epoch,
                stated,
                heads,
            } => write!(
                f,
                "device {device}, epoch {epoch}: removed as a whole, heads no. {heads} say that the receiver held it up to record {stated}"
            ),
            DeviceRemoved { device, heads } => write!(
                f,
                "device {device}: removed as a whole, heads no. {heads} name it"
            ),
            HistoryReplaced {
                device,
                epoch,
                heads,
            } => write!(
                f,
                "device {device}, epoch {epoch}: replaced, these are not the batches that heads no. {heads} speak of"
            ),
            ChainBroken {
                device,
                epoch,
                seq,
                cause,
            } => {
                write!(
                    f,
                    "device {device}, epoch {epoch}, record {seq}: the chain is broken here, "
                )?;
                match cause {
                    Break::Forked => write!(
                        f,
                        "it follows a batch that another epoch follows already: the box's spool was set back to an older copy"
                    ),
                    Break::Forgotten => write!(
                        f,
                        "it names no batch before it although the device had spoken before: the box's spool was wiped or set aside"
                    ),
                    Break::Unknown => {
                        write!(f, "the batch that it names as the one before is not here")
                    }
                    Break::Mismatch => write!(
                        f,
                        "the batch before it has another hash than the one that it names"
                    ),
                }
            }
            FrontOpen { device, epoch, seq } => write!(
                f,
                "device {device}, epoch {epoch}: cut off at the front, it begins with record {seq}, which lies within the time range"
            ),
            TailOpen { device, epoch, seq } => write!(
                f,
                "device {device}, epoch {epoch}: cut off at the tail, it ends with record {seq}, and the signed manifest says that the receiver held more"
            ),
            PictureChanged {
                device: Some(device),
                sha256,
                place,
            } => write!(
                f,
                "picture {sha256} of device {device} ({place}): changed or swapped, its bytes have another SHA-256"
            ),
            PictureChanged {
                device: None,
                sha256,
                place,
            } => write!(
                f,
                "picture {sha256} ({place}): changed or swapped, its bytes have another SHA-256"
            ),
            PictureRemoved {
                device,
                epoch,
                seq,
                sha256,
            } => write!(
                f,
                "picture {sha256}: removed; {} names it",
                Numbers(*device, *epoch, *seq, *seq)
            ),
            PictureNotArrived {
                device,
                epoch,
                seq,
                sha256,
            } => write!(
                f,
                "picture {sha256}: missing, the receiver says that it had not arrived; {} names it",
                Numbers(*device, *epoch, *seq, *seq)
            ),
            PictureUnknown { sha256, file } => write!(
                f,
                "{file}: added, no signed record names a picture {sha256}"
            ),
            HeadsUnreadable { file, problem } => {
                write!(f, "{file} cannot be read as signed heads: {problem}")
            }
            HeadsForged { file } => write!(
                f,
                "{file}: changed, the receiver's signature does not fit these heads"
            ),
            HeadsOfAnother { file } => write!(
                f,
                "{file}: these heads are signed by another receiver's key"
            ),
            HeadsMissing { number } => write!(
                f,
                "heads no. {number} are missing between those that are here"
            ),
            HeadsReplaced { number } => write!(
                f,
                "heads no. {number} were replaced: they are not the ones that their successor, or a copy of them, names"
            ),
            HeadsCut { have, stated } => write!(
                f,
                "the receiver's own list of heads was cut off: it ends with no. {have}, and no. {stated} was sent out"
            ),
            StampForged { file, problem } => write!(
                f,
                "{file}: changed or swapped, this time stamp is not one of these heads: {problem}"
            ),
            StampUnusable { file, problem } => {
                write!(f, "{file}: this time stamp proves nothing: {problem}")
            }
            IndexDiffers {
                device,
                epoch,
                seq,
                column,
            } => write!(
                f,
                "{}: what the database shows ({column}) is not what the signed record says",
                Numbers(*device, *epoch, *seq, *seq)
            ),
            Refused {
                device,
                epoch,
                first,
                last,
                code,
            } => write!(
                f,
                "{}: refused by the receiver when they arrived ({code})",
                Numbers(*device, *epoch, *first, *last)
            ),
            RecordsShed {
                device,
                epoch,
                first,
                last,
                reason,
            } => write!(
                f,
                "{}: shed on the box ({reason}), a signed gap record says so",
                Numbers(*device, *epoch, *first, *last)
            ),
            PicturesShed {
                device,
                class,
                count,
                reason,
            } => write!(
                f,
                "device {device}: {count} of class {class} lost on the box ({reason}), signed gap records say so"
            ),
            RecordsDeleted {
                device,
                records,
                batches,
            } => write!(
                f,
                "device {device}: {records} records in {batches} batches deleted as agreed, says the receiver; their numbers and hashes still fit the chain, what they said cannot be checked any more"
            ),
            DeletionUnnoted { batches, noted } => write!(
                f,
                "{batches} batches are empty as if deleted as agreed, and the audit log tells of {noted} only: records were taken out by another way"
            ),
        }
    }
}
