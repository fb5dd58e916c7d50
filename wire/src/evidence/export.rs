//! Checking a whole export: the receiver's signature over the manifest, every file against the manifest, the batches
//! of every device, and the pictures. Bytes come from the caller; so the same check runs in tests, on a phone, in a
//! court's office.
//!
//! A file of batches is `{ length 4, batch } ...`, the lengths big-endian, the batches exactly as they were signed.

use super::chain::{Context, DeviceCheck, DeviceReport};
use super::finding::{Finding, Known, Weight};
use super::heads::{Heads, HeadsError, SignedHeads, check_sequence};
use super::manifest::{DeviceManifest, FileManifest, HEADS, Manifest, PICTURES, RECORDS};
use crate::digest::Sha256;
use crate::ids::{DeviceId, Epoch};
use crate::receipt::SeqRange;
use crate::sign::VerifyingKey;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The check of one export: give it every file once, then finish.
#[derive(Debug)]
pub struct ExportCheck {
    manifest: Manifest,
    key: VerifyingKey,
    files: BTreeMap<String, FileManifest>,
    devices: BTreeMap<DeviceId, DeviceCheck>,
    pictures: HashSet<Sha256>,
    /// Of picture files: what the manifest says, and what their bytes are.
    picture_files: Vec<(String, Sha256)>,
    heads: Vec<Heads>,
    findings: Vec<Finding>,
}

/// What was checked, and what was found.
#[derive(Debug)]
pub struct ExportReport {
    pub manifest: Manifest,
    pub findings: Vec<Finding>,
    pub devices: BTreeMap<DeviceId, DeviceReport>,
    /// Number of the newest heads from outside, if every device of this export is spoken of by some.
    pub anchor: Option<u64>,
}

/// Appends a batch as files of batches hold it.
pub fn append_batch(file: &mut Vec<u8>, batch: &[u8]) {
    let length = u32::try_from(batch.len()).expect("batches are far below 4 GiB");
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(batch);
}

impl ExportCheck {
    /// Begins with the manifest. `key`: the receiver's evidence key that the user trusts; without one, the key that
    /// the manifest itself claims is used, which proves only that the export fits together.
    pub fn new(json: &[u8], signature: &[u8], key: Option<VerifyingKey>) -> Result<Self, Finding> {
        let manifest: Manifest =
            serde_json::from_slice(json).map_err(|error| Finding::ManifestUnreadable {
                problem: error.to_string(),
            })?;
        let key = key.unwrap_or(manifest.receiver_key);
        let mut findings = Vec::new();
        if !Manifest::is_signed_by(json, signature, &key) {
            findings.push(Finding::ManifestForged);
        }
        let check = |device: &DeviceManifest| {
            (
                device.device,
                DeviceCheck::new(device.device, device.record_key, &device.boots),
            )
        };
        Ok(Self {
            devices: manifest.devices.iter().map(check).collect(),
            files: manifest
                .files
                .iter()
                .map(|file| (file.path.clone(), file.clone()))
                .collect(),
            manifest,
            key,
            pictures: HashSet::new(),
            picture_files: Vec::new(),
            heads: Vec::new(),
            findings,
        })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether a file must be given whole; of all others the hash is enough.
    pub fn wants_bytes(path: &str) -> bool {
        path.starts_with(RECORDS) || path.starts_with(HEADS)
    }

    /// Checks a file of batches or heads. To be called in the order of the names.
    pub fn whole_file(&mut self, path: &str, bytes: &[u8]) {
        let before = self.findings.len();
        if path.starts_with(HEADS) {
            self.own_heads(path, bytes);
        } else {
            self.batches(path, bytes);
        }
        let named = self.findings.len() > before;
        let judged = self.judge(path, Sha256::of(bytes));
        // What was changed within it is named more exactly already.
        if !(named && matches!(judged, Some(Finding::FileChanged { .. }))) {
            self.findings.extend(judged);
        }
    }

    /// Checks any other file by its hash.
    pub fn hashed_file(&mut self, path: &str, sha256: Sha256) {
        let listed = self.files.get(path).map(|file| file.sha256);
        match self.judge(path, sha256) {
            Some(Finding::FileChanged { .. }) if path.starts_with(PICTURES) => {
                let stated = listed.expect("only a listed file is called changed");
                // It is here, though changed: not missing beside.
                self.pictures.insert(stated);
                let place = path.to_owned();
                self.findings.push(Finding::PictureChanged {
                    device: None,
                    sha256: stated,
                    place,
                });
            }
            judged => self.findings.extend(judged),
        }
        if path.starts_with(PICTURES) && listed == Some(sha256) {
            self.pictures.insert(sha256);
            self.picture_files.push((path.to_owned(), sha256));
        }
    }

    /// Whether the manifest knows the file so. Each file is taken off the list, so that what is left is missing.
    fn judge(&mut self, path: &str, sha256: Sha256) -> Option<Finding> {
        let file = path.to_owned();
        match self.files.remove(path) {
            None => Some(Finding::FileAdded { file }),
            Some(listed) if listed.sha256 != sha256 => Some(Finding::FileChanged { file }),
            Some(_) => None,
        }
    }

    fn batches(&mut self, path: &str, bytes: &[u8]) {
        let device = path
            .strip_prefix(RECORDS)
            .and_then(|rest| rest.split('/').next()?.parse().ok());
        let Some((device, check)) = device.and_then(|id| Some((id, self.devices.get_mut(&id)?)))
        else {
            return;
        };
        let (mut rest, mut number) = (bytes, 0);
        while !rest.is_empty() {
            number += 1;
            let place = format!("{path}, batch {number}");
            let Some((batch, after)) = next_batch(rest) else {
                self.findings
                    .push(Finding::BatchUnreadable { device, place });
                return;
            };
            check.take(batch.to_vec(), &place);
            rest = after;
        }
    }

    fn own_heads(&mut self, path: &str, bytes: &[u8]) {
        match open_heads(path, bytes, &self.key) {
            Ok(heads) => self.heads.push(heads),
            Err(finding) => self.findings.push(finding),
        }
    }

    /// Checks what needs everything. `outside`: verified heads that the user kept elsewhere.
    pub fn finish(mut self, outside: Vec<Heads>) -> ExportReport {
        let anchor = anchor_of(&self.manifest, &outside);
        let mut heads = std::mem::take(&mut self.heads);
        heads.extend(outside);
        // Nobody need have kept them all: only what contradicts itself counts.
        let contradictions = check_sequence(&mut heads).into_iter();
        self.findings.extend(
            contradictions.filter(|finding| !matches!(finding, Finding::HeadsMissing { .. })),
        );
        let manifest = &self.manifest;
        let by_id: HashMap<DeviceId, &DeviceManifest> = manifest
            .devices
            .iter()
            .map(|device| (device.device, device))
            .collect();
        let mut devices = BTreeMap::new();
        for (id, mut check) in std::mem::take(&mut self.devices) {
            let stated = by_id[&id];
            stated.deleted.iter().for_each(|batch| check.deleted(batch));
            for gap in &stated.deleted_gaps {
                check.deleted_gap(gap);
            }
            devices.insert(
                id,
                finish_device(check, stated, manifest, &heads, &self.pictures),
            );
        }
        if manifest.all_devices {
            self.findings.extend(removed_devices(manifest, &heads));
        }
        let named = |sha256: &Sha256| {
            devices
                .values()
                .any(|report: &DeviceReport| report.named_pictures.contains(sha256))
        };
        for (file, sha256) in self
            .picture_files
            .iter()
            .filter(|(_, sha256)| !named(sha256))
        {
            self.findings.push(Finding::PictureUnknown {
                sha256: *sha256,
                file: file.clone(),
            });
        }
        // A picture that is missing is named by the record that speaks of it.
        let left = std::mem::take(&mut self.files);
        let told = |file: &FileManifest| file.path.starts_with(PICTURES) && named(&file.sha256);
        self.findings.extend(
            left.into_values()
                .filter(|file| !told(file))
                .map(|file| Finding::FileRemoved { file: file.path }),
        );
        let mut findings = self.findings;
        findings.extend(
            devices
                .values_mut()
                .flat_map(|report| std::mem::take(&mut report.findings)),
        );
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight()));
        ExportReport {
            manifest: self.manifest,
            findings,
            devices,
            anchor,
        }
    }
}

impl ExportReport {
    /// The weight of the heaviest finding; notes do not count.
    pub fn worst(&self) -> Option<Weight> {
        let weights = self.findings.iter().map(Finding::weight);
        weights.filter(|weight| *weight > Weight::Note).max()
    }
}

fn anchor_of(manifest: &Manifest, outside: &[Heads]) -> Option<u64> {
    let speak = |heads: &&Heads, device: &DeviceManifest| heads.device(device.device).is_some();
    let with_records = || {
        manifest
            .devices
            .iter()
            .filter(|device| !device.epochs.is_empty())
    };
    let covered = with_records().all(|device| outside.iter().any(|heads| speak(&heads, device)));
    let speaking = outside
        .iter()
        .filter(|heads| with_records().any(|device| speak(heads, device)));
    speaking.map(Heads::number).max().filter(|_| covered)
}

/// Reads and verifies one heads file.
pub fn open_heads(file: &str, bytes: &[u8], key: &VerifyingKey) -> Result<Heads, Finding> {
    let file = file.to_owned();
    SignedHeads::from_json(bytes)
        .and_then(|signed| signed.open(key))
        .map_err(|error| match error {
            HeadsError::Unreadable(problem) => Finding::HeadsUnreadable { file, problem },
            HeadsError::Forged => Finding::HeadsForged { file },
            HeadsError::AnotherKey(_) => Finding::HeadsOfAnother { file },
        })
}

fn next_batch(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

fn finish_device(
    check: DeviceCheck,
    stated: &DeviceManifest,
    manifest: &Manifest,
    heads: &[Heads],
    pictures: &HashSet<Sha256>,
) -> DeviceReport {
    let ranges = |epoch: &super::manifest::EpochManifest| {
        let at = epoch.epoch;
        epoch
            .not_arrived
            .iter()
            .map(move |range| (at, *range))
            .collect::<Vec<_>>()
    };
    let not_arrived: Vec<(Epoch, SeqRange)> = stated.epochs.iter().flat_map(ranges).collect();
    let goes_on: Vec<Epoch> = stated
        .epochs
        .iter()
        .filter(|epoch| epoch.goes_on)
        .map(|epoch| epoch.epoch)
        .collect();
    let pictures_not_arrived = stated.not_arrived.iter().copied().collect();
    check.finish(&Context {
        range: Some((manifest.from_us, manifest.to_us)),
        not_arrived: &not_arrived,
        refused: &stated.refused,
        goes_on: &goes_on,
        heads,
        otherwise: Known::Chain,
        pictures_here: Some(pictures),
        pictures_not_arrived: &pictures_not_arrived,
        cameras: manifest.cameras.as_deref(),
    })
}

/// Devices of the contract that heads name with something in the time range, and the export does not know.
fn removed_devices(manifest: &Manifest, heads: &[Heads]) -> Vec<Finding> {
    let mut told = HashSet::new();
    let mut findings = Vec::new();
    for heads in heads.iter().rev() {
        let theirs = heads
            .sections
            .iter()
            .filter(|section| section.contract == manifest.contract);
        for head in theirs.flat_map(|section| &section.devices) {
            let known = manifest
                .devices
                .iter()
                .any(|device| device.device == head.device);
            let spoke = head
                .epochs
                .iter()
                .any(|epoch| epoch.first_us < manifest.to_us && epoch.last_us >= manifest.from_us);
            if !known && spoke && told.insert(head.device) {
                findings.push(Finding::DeviceRemoved {
                    device: head.device,
                    heads: heads.number(),
                });
            }
        }
    }
    findings
}
