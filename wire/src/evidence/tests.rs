//! Whatever is done to an export is named: by a stranger, who can change bytes but sign nothing, and by the receiver
//! itself, which can sign a manifest anew but neither speak for a device nor take back its heads.

use super::export::{ExportCheck, append_batch};
use super::finding::{Break, Finding, Known, Weight};
use super::heads::{DeviceHead, Digest, EpochHead, Heads, Section, SignedHeads};
use super::manifest::*;
use crate::digest::Sha256;
use crate::ids::{CameraId, ContractId, DeviceId, Epoch, Seq};
use crate::receipt::SeqRange;
use crate::record::{Body, DeviceStateRecord, GapRecord, MediaClass, MediaRecord, Record};
use crate::sign::SigningKey;
use crate::time::{BootId, ClockStamp, RecordTime, UtcMicros};
use crate::{Batch, SignedBatch};
use proptest::prelude::*;
use uuid::Uuid;

const DEVICE: DeviceId = DeviceId(Uuid::from_u128(1));
const CONTRACT: ContractId = ContractId(Uuid::from_u128(2));
const CAMERA: CameraId = CameraId(Uuid::from_u128(3));
const MINUTE_US: i64 = 60_000_000;
const START_US: i64 = 1_795_392_000_000_000;

fn device_key() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

fn receiver_key() -> SigningKey {
    SigningKey::from_seed([2; 32])
}

fn time(minute: u64) -> RecordTime {
    RecordTime {
        captured_at_us: UtcMicros(START_US + i64::try_from(minute).expect("small") * MINUTE_US),
        boot_id: BootId(Uuid::from_u128(9)),
        boottime_ns: minute,
        clock: ClockStamp::UNSYNCED,
    }
}

fn picture(minute: u64) -> Vec<u8> {
    format!("\u{ff}picture of minute {minute}").into_bytes()
}

/// Every third minute is a picture's record.
fn record(minute: u64) -> Record {
    let body = if minute.is_multiple_of(3) {
        Body::Media(MediaRecord {
            sha256: Sha256::of(&picture(minute)),
            class: MediaClass::Snapshot,
            bytes: 1,
            content_type: "image/jpeg".into(),
            camera: CAMERA,
            width: 1,
            height: 1,
            event: None,
            command: None,
            boxes: Vec::new(),
            quality: 0.0,
            masked: false,
            moment: None,
        })
    } else {
        Body::DeviceState(DeviceStateRecord {
            state: "started".into(),
            agent_version: "1".into(),
            model: None,
        })
    };
    Record::new(time(minute), body)
}

/// What a receiver holds of one device: batches in the order in which they were made, one record a minute.
#[derive(Clone)]
struct Held {
    batches: Vec<SignedBatch>,
    minutes: u64,
    pictures: Vec<Vec<u8>>,
}

impl Held {
    /// `epochs`: of each, how many records its batches have.
    fn of(epochs: &[Vec<u8>]) -> Self {
        let mut held = Self {
            batches: Vec::new(),
            minutes: 0,
            pictures: Vec::new(),
        };
        for (index, epoch) in epochs.iter().enumerate() {
            let mut seq = Seq::FIRST;
            for count in epoch {
                let prev = held.batches.last().map_or(Sha256::ZERO, SignedBatch::hash);
                let records = (0..*count).map(|_| held.next_record()).collect();
                seq = held.push(Epoch(100 - index as u64), seq, prev, records);
            }
        }
        held
    }

    fn next_record(&mut self) -> Vec<u8> {
        self.minutes += 1;
        if self.minutes.is_multiple_of(3) {
            self.pictures.push(picture(self.minutes));
        }
        record(self.minutes).to_json()
    }

    fn push(&mut self, epoch: Epoch, first_seq: Seq, prev: Sha256, records: Vec<Vec<u8>>) -> Seq {
        let batch = Batch {
            device_id: DEVICE,
            epoch,
            first_seq,
            prev,
            records,
        };
        self.batches.push(batch.sign(&device_key()));
        batch.last_seq().advanced_by(1)
    }

    fn parsed(&self) -> Vec<Batch> {
        self.batches
            .iter()
            .map(|batch| batch.parse().expect("ours"))
            .collect()
    }

    fn epochs(&self) -> Vec<Epoch> {
        let mut epochs: Vec<_> = self.parsed().iter().map(|batch| batch.epoch).collect();
        epochs.dedup();
        epochs
    }

    fn heads(&self) -> Heads {
        let head = |epoch: Epoch| {
            let mut digest = Digest::default();
            let all: Vec<_> = self
                .batches
                .iter()
                .zip(self.parsed())
                .filter(|(_, batch)| batch.epoch == epoch)
                .collect();
            let (last_signed, last) = all.last().expect("not empty");
            all.iter().for_each(|(signed, batch)| {
                digest.add(batch.first_seq, batch.last_seq(), signed.hash())
            });
            let at = |batch: &Batch| {
                Record::from_json(&batch.records[0])
                    .expect("ours")
                    .time
                    .captured_at_us
            };
            EpochHead {
                epoch,
                last_seq: last.last_seq(),
                records: last.last_seq().0,
                batches: all.len() as u64,
                ranges: vec![SeqRange {
                    first: Seq::FIRST,
                    last: last.last_seq(),
                }],
                last_batch: last_signed.hash(),
                first_us: at(&all[0].1),
                last_us: at(last),
                digest: digest.finish(),
            }
        };
        let device = DeviceHead {
            device: DEVICE,
            record_key: device_key().verifying_key(),
            epochs: self.epochs().into_iter().map(head).collect(),
            refused: 0,
        };
        let section = Section {
            salt: "00".into(),
            contract: CONTRACT,
            devices: vec![device],
        };
        let signed = SignedHeads::sign(
            &receiver_key(),
            7,
            UtcMicros(START_US),
            Sha256::ZERO,
            &[section],
        );
        signed.open(&receiver_key().verifying_key()).expect("ours")
    }

    /// The files of an export of all, manifest and signature last.
    fn export(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut epochs = Vec::new();
        for epoch in self.epochs() {
            let mut file = Vec::new();
            let of_epoch: Vec<_> = self
                .batches
                .iter()
                .filter(|batch| batch.parse().expect("ours").epoch == epoch)
                .collect();
            of_epoch
                .iter()
                .for_each(|batch| append_batch(&mut file, batch.as_bytes()));
            files.push((format!("{RECORDS}{DEVICE}/{epoch}-{:020}.batches", 1), file));
            let ends = of_epoch.iter().map(|batch| batch.parse().expect("ours"));
            epochs.push(EpochManifest {
                epoch,
                first_seq: ends
                    .clone()
                    .map(|batch| batch.first_seq)
                    .min()
                    .expect("some"),
                last_seq: ends.map(|batch| batch.last_seq()).max().expect("some"),
                not_arrived: Vec::new(),
                goes_on: false,
            });
        }
        for (index, picture) in self.pictures.iter().enumerate() {
            files.push((format!("{PICTURES}gate/{index}.jpg"), picture.clone()));
        }
        files.push(("index.html".into(), b"<p>".to_vec()));
        seal(files, epochs, self.minutes)
    }
}

/// Adds a manifest, as the receiver does, over whatever files there are.
fn seal(
    mut files: Vec<(String, Vec<u8>)>,
    epochs: Vec<EpochManifest>,
    minutes: u64,
) -> Vec<(String, Vec<u8>)> {
    let manifest = Manifest {
        v: VERSION,
        made_at_us: UtcMicros(START_US),
        receiver_key: receiver_key().verifying_key(),
        contract: CONTRACT,
        contract_name: "Acme".into(),
        from_us: UtcMicros(START_US),
        to_us: time(minutes + 1).captured_at_us,
        cameras: None,
        all_devices: true,
        devices: vec![DeviceManifest {
            device: DEVICE,
            site_name: "Tokyo".into(),
            record_key: device_key().verifying_key(),
            enrolled_us: UtcMicros(0),
            revoked_us: None,
            cameras: Vec::new(),
            epochs,
            boots: Vec::new(),
            refused: Vec::new(),
            not_arrived: Vec::new(),
            deleted: Vec::new(),
            deleted_gaps: Vec::new(),
        }],
        files: files
            .iter()
            .map(|(path, bytes)| FileManifest {
                path: path.clone(),
                bytes: bytes.len() as u64,
                sha256: Sha256::of(bytes),
            })
            .collect(),
    };
    let json = manifest.to_json();
    let signature = Manifest::sign(&json, &receiver_key());
    files.push((MANIFEST.into(), json));
    files.push((SIGNATURE.into(), signature.into_bytes()));
    files
}

/// Checks files as a user does who knows the receiver's key, with heads from outside or without.
fn check(files: &[(String, Vec<u8>)], heads: Option<Heads>) -> Vec<Finding> {
    check_with(files, heads.into_iter().collect())
}

fn check_with(files: &[(String, Vec<u8>)], heads: Vec<Heads>) -> Vec<Finding> {
    let named = |name: &str| {
        files
            .iter()
            .find(|(path, _)| path == name)
            .map_or(&[][..], |(_, bytes)| bytes)
    };
    let key = receiver_key().verifying_key();
    let mut check = match ExportCheck::new(named(MANIFEST), named(SIGNATURE), Some(key)) {
        Ok(check) => check,
        Err(finding) => return vec![finding],
    };
    let mut sorted: Vec<_> = files
        .iter()
        .filter(|(path, _)| path != MANIFEST && path != SIGNATURE)
        .collect();
    sorted.sort();
    for (path, bytes) in sorted {
        if ExportCheck::wants_bytes(path) {
            check.whole_file(path, bytes);
        } else {
            check.hashed_file(path, Sha256::of(bytes));
        }
    }
    check.finish(heads).findings
}

fn is_named(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.weight() > Weight::Note && !finding.to_string().is_empty())
}

fn story() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(1u8..4, 1..6), 1..5)
}

#[test]
fn what_is_untouched_is_genuine() {
    let held = Held::of(&[vec![2, 1, 3], vec![1], vec![4, 4]]);
    assert_eq!(check(&held.export(), None), []);
    assert_eq!(check(&held.export(), Some(held.heads())), []);
}

#[test]
fn every_single_changed_byte_of_every_file_is_named() {
    let held = Held::of(&[vec![2, 2], vec![2]]);
    let good = held.export();
    for file in 0..good.len() {
        for at in 0..good[file].1.len() {
            let mut changed = good.clone();
            changed[file].1[at] ^= 1;
            let findings = check(&changed, Some(held.heads()));
            assert!(is_named(&findings), "{} byte {at}", good[file].0);
        }
    }
}

#[test]
fn a_tail_that_the_receiver_cuts_off_is_told_by_its_earlier_heads_only() {
    let held = Held::of(&[vec![2, 2], vec![2, 1]]);
    let mut cut = held.clone();
    cut.batches.pop();
    assert_eq!(check(&cut.export(), None), []);
    let findings = check(&cut.export(), Some(held.heads()));
    let (epoch, have, stated) = (Epoch(99), Seq(2), Seq(3));
    assert_eq!(
        findings,
        [Finding::TailCut {
            device: DEVICE,
            epoch,
            have,
            stated,
            heads: 7
        }]
    );
    cut.batches.pop();
    cut.pictures.pop();
    let findings = check(&cut.export(), Some(held.heads()));
    assert_eq!(
        findings,
        [Finding::EpochRemoved {
            device: DEVICE,
            epoch,
            stated,
            heads: 7
        }]
    );
}

#[test]
fn a_spool_set_back_to_an_older_copy_and_one_that_was_wiped_show_as_breaks() {
    let mut held = Held::of(&[vec![2], vec![2]]);
    let fork_at = held.batches[0].hash();
    let records = vec![held.next_record()];
    held.push(Epoch(50), Seq::FIRST, fork_at, records);
    let records = vec![held.next_record()];
    held.push(Epoch(40), Seq::FIRST, Sha256::ZERO, records);
    let broken = |epoch, cause| Finding::ChainBroken {
        device: DEVICE,
        epoch: Epoch(epoch),
        seq: Seq::FIRST,
        cause,
    };
    let findings = check(&held.export(), None);
    assert_eq!(
        findings,
        [broken(50, Break::Forked), broken(40, Break::Forgotten)]
    );
    assert!(
        findings
            .iter()
            .all(|finding| finding.weight() == Weight::Incomplete)
    );
}

#[test]
fn a_gap_record_accounts_for_what_the_box_shed_and_no_more() {
    let mut held = Held::of(&[vec![1, 1, 1, 1, 1, 1, 1]]);
    let gap = GapRecord {
        from_us: UtcMicros(START_US),
        to_us: time(20).captured_at_us,
        camera: None,
        class: "device_state".into(),
        count: 1,
        reason: "quota".into(),
    };
    let (prev, seq) = (held.batches[6].hash(), Seq(8));
    held.minutes += 1;
    let record = Record::new(time(held.minutes), Body::Gap(gap)).to_json();
    held.push(Epoch(100), seq, prev, vec![record]);
    let mut shed = held.clone();
    shed.batches.remove(1);
    let told = |first, last| Finding::RecordsShed {
        device: DEVICE,
        epoch: Epoch(100),
        first: Seq(first),
        last: Seq(last),
        reason: "quota".into(),
    };
    assert_eq!(check(&shed.export(), None), [told(2, 2)]);
    shed.batches.remove(3);
    let findings = check(&shed.export(), None);
    let (first, last, known) = (Seq(5), Seq(5), Known::Chain);
    assert!(
        findings.contains(&Finding::RecordsRemoved {
            device: DEVICE,
            epoch: Epoch(100),
            first,
            last,
            known
        }),
        "{findings:?}"
    );
    // Heads say that the receiver held it: then the gap record is no excuse.
    let findings = check(&shed.export(), Some(held.heads()));
    assert_eq!(
        findings
            .iter()
            .filter(|finding| finding.weight() == Weight::Tampered)
            .count(),
        2,
        "{findings:?}"
    );
}

#[test]
fn what_was_refused_and_what_had_not_arrived_is_told_as_such() {
    let mut held = Held::of(&[vec![1, 1, 1, 1, 1]]);
    let gone = held.batches.remove(1);
    held.batches.remove(2);
    held.pictures.clear();
    let mut files = held.export();
    let at = |name: &str| {
        files
            .iter()
            .position(|(path, _)| path == name)
            .expect("there")
    };
    let (json_at, signature_at) = (at(MANIFEST), at(SIGNATURE));
    let mut manifest: Manifest = serde_json::from_slice(&files[json_at].1).expect("ours");
    let stated = &mut manifest.devices[0];
    let (epoch, two, four) = (Epoch(100), Seq(2), Seq(4));
    stated.refused.push(Refusal {
        epoch,
        first_seq: two,
        last_seq: two,
        code: "bad_signature".into(),
        sha256: gone.hash(),
        whole_batch: true,
        at_us: UtcMicros(0),
    });
    stated.epochs[0].not_arrived.push(SeqRange {
        first: four,
        last: four,
    });
    stated.not_arrived.push(Sha256::of(&picture(3)));
    let json = manifest.to_json();
    files[signature_at].1 = Manifest::sign(&json, &receiver_key()).into_bytes();
    files[json_at].1 = json;
    let device = DEVICE;
    let findings = check(&files, None);
    let expected = [
        Finding::RecordsNotArrived {
            device,
            epoch,
            first: four,
            last: four,
        },
        Finding::PictureNotArrived {
            device,
            epoch,
            seq: Seq(3),
            sha256: Sha256::of(&picture(3)),
        },
        Finding::Refused {
            device,
            epoch,
            first: two,
            last: two,
            code: "bad_signature".into(),
        },
    ];
    assert_eq!(findings, expected);
}

#[test]
fn heads_that_the_user_did_not_keep_are_no_fault() {
    let held = Held::of(&[vec![2, 1]]);
    let device = held.heads().sections.remove(0);
    let signed = SignedHeads::sign(
        &receiver_key(),
        3,
        UtcMicros(START_US),
        Sha256::ZERO,
        &[device],
    );
    let old = signed.open(&receiver_key().verifying_key()).expect("ours");
    let files = held.export();
    assert_eq!(check_with(&files, vec![old, held.heads()]), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn anything_that_was_held_is_genuine(epochs in story()) {
        let held = Held::of(&epochs);
        prop_assert_eq!(check(&held.export(), Some(held.heads())), []);
    }

    #[test]
    fn a_batch_that_the_receiver_leaves_out_is_named(epochs in story(), which in any::<prop::sample::Index>()) {
        let held = Held::of(&epochs);
        let mut tampered = held.clone();
        let gone = which.index(held.batches.len());
        tampered.batches.remove(gone);
        prop_assume!(!tampered.batches.is_empty());
        let batch = held.batches[gone].parse().expect("ours");
        let findings = check(&tampered.export(), Some(held.heads()));
        let named = findings.iter().any(|finding| match finding {
            Finding::RecordsRemoved { epoch, first, last, .. } => (*epoch, *first, *last) == (batch.epoch, batch.first_seq, batch.last_seq()),
            Finding::TailCut { epoch, stated, .. } => (*epoch, *stated) == (batch.epoch, batch.last_seq()),
            Finding::EpochRemoved { epoch, .. } => *epoch == batch.epoch,
            Finding::FrontOpen { epoch, seq, .. } => (*epoch, *seq) == (batch.epoch, batch.last_seq().advanced_by(1)),
            _ => false,
        });
        prop_assert!(named, "{:?}", findings);
        // Without heads, all but the very last is named by the chain alone.
        let last = held.batches.len() - 1;
        prop_assert!(gone == last || is_named(&check(&tampered.export(), None)));
    }

    #[test]
    fn a_batch_put_in_twice_or_moved_is_named(epochs in story(), which in any::<prop::sample::Index>()) {
        let held = Held::of(&epochs);
        let one = which.index(held.batches.len());
        let batch = held.batches[one].parse().expect("ours");
        let mut doubled = held.clone();
        doubled.batches.insert(one, held.batches[one].clone());
        let findings = check(&doubled.export(), None);
        let is_twice = matches!(&findings[..], [Finding::BatchTwice { epoch, first, .. }] if (*epoch, *first) == (batch.epoch, batch.first_seq));
        prop_assert!(is_twice, "{:?}", findings);
        let mut moved = held.clone();
        let two = (one + 1) % held.batches.len();
        let other = held.batches[two].parse().expect("ours");
        prop_assume!(one != two && other.epoch == batch.epoch);
        moved.batches.swap(one, two);
        let findings = check(&moved.export(), None);
        let is_moved = findings.iter().any(|finding| matches!(finding, Finding::BatchMoved { .. }));
        prop_assert!(is_moved, "{:?}", findings);
    }

    #[test]
    fn a_record_that_the_receiver_rewrites_is_named(epochs in story(), which in any::<prop::sample::Index>()) {
        let held = Held::of(&epochs);
        let one = which.index(held.batches.len());
        let mut batch = held.batches[one].parse().expect("ours");
        batch.records[0] = record(1_000_000).to_json();
        let mut tampered = held.clone();
        tampered.batches[one] = batch.sign(&receiver_key());
        let findings = check(&tampered.export(), Some(held.heads()));
        let named = findings.iter().any(|finding| matches!(finding, Finding::BatchChanged { epoch, first, .. }
            if (*epoch, *first) == (batch.epoch, batch.first_seq)));
        prop_assert!(named, "{:?}", findings);
    }

    #[test]
    fn a_tail_of_any_length_is_named(epochs in story(), cut in any::<prop::sample::Index>()) {
        let held = Held::of(&epochs);
        prop_assume!(held.batches.len() > 1);
        let mut tampered = held.clone();
        tampered.batches.truncate(1 + cut.index(held.batches.len() - 1));
        let findings = check(&tampered.export(), Some(held.heads()));
        let is_cut = |finding: &Finding| matches!(finding, Finding::TailCut { .. } | Finding::EpochRemoved { .. });
        prop_assert!(findings.iter().any(is_cut), "{:?}", findings);
    }

    #[test]
    fn a_picture_that_is_swapped_left_out_or_put_in_is_named(epochs in story(), which in any::<prop::sample::Index>()) {
        let held = Held::of(&epochs);
        prop_assume!(!held.pictures.is_empty());
        let one = which.index(held.pictures.len());
        let sha256 = Sha256::of(&held.pictures[one]);
        let mut swapped = held.clone();
        swapped.pictures[one] = b"another picture".to_vec();
        let unknown = Sha256::of(b"another picture");
        let findings = check(&swapped.export(), None);
        let is_removed = |finding: &Finding| matches!(finding, Finding::PictureRemoved { sha256: gone, .. } if *gone == sha256);
        let is_unknown = |finding: &Finding| matches!(finding, Finding::PictureUnknown { sha256, .. } if *sha256 == unknown);
        prop_assert!(findings.iter().any(is_removed) && findings.iter().any(is_unknown), "{:?}", findings);
        // A stranger cannot sign: then the very file is named.
        let mut files = held.export();
        let file = files.iter_mut().find(|(_, bytes)| *bytes == held.pictures[one]).expect("there");
        file.1 = b"another picture".to_vec();
        let place = file.0.clone();
        prop_assert_eq!(check(&files, None), [Finding::PictureChanged { device: None, sha256, place }]);
        files.retain(|(path, bytes)| !path.starts_with(PICTURES) || bytes != b"another picture");
        let findings = check(&files, None);
        prop_assert!(matches!(&findings[..], [Finding::PictureRemoved { sha256: gone, .. }] if *gone == sha256), "{:?}", findings);
    }
}
