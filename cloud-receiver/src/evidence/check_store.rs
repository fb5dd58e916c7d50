//! Checks everything that the receiver itself holds: each signature, the chains, the index beside them, each picture's
//! hash, and its own signed heads - those in the database, and those that were sent out and are brought back.

use super::check_index::{Rows, compare};
use super::export::{EvidenceStore, Sources};
use crate::blob::BlobError;
use crate::store::{BatchRow, EvidenceDevice, HeadsRow, PictureRow, StoreError};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use wire::evidence::export::open_heads;
use wire::evidence::finding::Known;
use wire::evidence::heads::{Heads, check_sequence};
use wire::evidence::{Context, DeviceCheck, DeviceReport, Finding};
use wire::{ContractId, DeviceId, Epoch, Sha256};

/// Batches opened at a time.
const PAGE: usize = 64;

/// What was checked, and what was found.
#[derive(Debug, Default)]
pub struct StoreReport {
    pub findings: Vec<Finding>,
    pub devices: Vec<(EvidenceDevice, DeviceReport)>,
    /// Pictures whose bytes were read and hashed.
    pub pictures: u64,
    /// Heads in the database.
    pub heads: u64,
    /// The newest of them.
    pub newest: Option<HeadsRow>,
    /// Whether heads from outside speak of every device that has delivered anything.
    pub anchored: bool,
}

/// `outside`: verified heads that were kept elsewhere.
pub async fn check<S: EvidenceStore>(
    sources: &Sources<S>,
    contract: Option<ContractId>,
    outside: Vec<Heads>,
) -> Result<StoreReport, StoreError> {
    let mut report = StoreReport::default();
    let spoken_of: HashSet<DeviceId> = outside
        .iter()
        .flat_map(|heads| &heads.sections)
        .flat_map(|section| &section.devices)
        .map(|head| head.device)
        .collect();
    let heads = check_heads(sources, outside, &mut report).await?;
    let devices = sources.store.evidence_devices(contract).await?;
    let erased = sources.store.erased().await?;
    report
        .findings
        .extend(removed_devices(&devices, contract, &erased, &heads));
    // Before any picture is looked at: looking may tell the store that one has gone.
    let mut awaited = Vec::new();
    for device in &devices {
        awaited.push(awaited_of(sources, device).await?);
    }
    let mut pictures: BTreeMap<ContractId, HashSet<Sha256>> = BTreeMap::new();
    for (device, awaited) in devices.into_iter().zip(&awaited) {
        if let Entry::Vacant(contract) = pictures.entry(device.contract) {
            contract.insert(check_blobs(sources, device.contract, &mut report).await?);
        }
        let (awaited, expired) = awaited;
        let here = pictures[&device.contract].union(expired).copied().collect();
        let (one, findings) = check_device(sources, &device, &heads, &here, awaited).await?;
        report.findings.extend(findings);
        report.devices.push((device, one));
    }
    let unnoted = unnoted(sources, contract, &report.findings).await?;
    report.findings.extend(unnoted);
    let silent = report
        .devices
        .iter()
        .filter(|(device, _)| !spoken_of.contains(&device.device));
    report.anchored = silent.map(|(_, one)| one.batches).sum::<u64>() == 0 && !spoken_of.is_empty();
    report
        .findings
        .sort_by_key(|finding| std::cmp::Reverse(finding.weight()));
    Ok(report)
}

/// More batches that are empty than the audit log says were emptied.
async fn unnoted<S: EvidenceStore>(
    sources: &Sources<S>,
    contract: Option<ContractId>,
    findings: &[Finding],
) -> Result<Option<Finding>, StoreError> {
    let batches = findings.iter().map(|finding| match finding {
        Finding::RecordsDeleted { batches, .. } => *batches,
        _ => 0,
    });
    let batches = batches.sum();
    let noted = sources.store.deletions_noted(contract).await?;
    Ok((batches > noted).then_some(Finding::DeletionUnnoted { batches, noted }))
}

/// The book of heads by itself, and against what comes from outside. Answers all, in order, for the devices.
async fn check_heads<S: EvidenceStore>(
    sources: &Sources<S>,
    outside: Vec<Heads>,
    report: &mut StoreReport,
) -> Result<Vec<Heads>, StoreError> {
    let key = sources.key.verifying_key();
    let rows = sources.store.heads().await?;
    report.heads = rows.len() as u64;
    let mut own = Vec::new();
    for row in &rows {
        match open_heads(
            &format!("heads no. {} in the database", row.number),
            row.document.as_bytes(),
            &key,
        ) {
            Ok(heads) => own.push(heads),
            Err(finding) => report.findings.push(finding),
        }
    }
    let first = own.iter().map(Heads::number).min().unwrap_or(1);
    report.findings.extend(
        (1..first)
            .take(100)
            .map(|number| Finding::HeadsMissing { number }),
    );
    report.findings.extend(check_sequence(&mut own));
    let have = own.last().map_or(0, Heads::number);
    if let Some(stated) = outside
        .iter()
        .map(Heads::number)
        .max()
        .filter(|stated| *stated > have)
    {
        report.findings.push(Finding::HeadsCut { have, stated });
    }
    report.newest = rows.into_iter().last();
    let mut all = own;
    all.extend(outside);
    let together = check_sequence(&mut all);
    let replaced = together
        .into_iter()
        .filter(|finding| matches!(finding, Finding::HeadsReplaced { .. }));
    let new: Vec<_> = replaced
        .filter(|finding| !report.findings.contains(finding))
        .collect();
    report.findings.extend(new);
    Ok(all)
}

fn removed_devices(
    devices: &[EvidenceDevice],
    contract: Option<ContractId>,
    erased: &[ContractId],
    heads: &[Heads],
) -> Vec<Finding> {
    let mut told = HashSet::new();
    let mut findings = Vec::new();
    for heads in heads.iter().rev() {
        let sections = heads
            .sections
            .iter()
            .filter(|section| contract.is_none_or(|id| id == section.contract))
            // Of these a certificate is left.
            .filter(|section| !erased.contains(&section.contract));
        for head in sections.flat_map(|section| &section.devices) {
            let known = devices.iter().any(|device| device.device == head.device);
            if !known && told.insert(head.device) {
                findings.push(Finding::DeviceRemoved {
                    device: head.device,
                    heads: heads.number(),
                });
            }
        }
    }
    findings
}

/// Opens and hashes every picture of a contract; answers those that are what their name says.
async fn check_blobs<S: EvidenceStore>(
    sources: &Sources<S>,
    contract: ContractId,
    report: &mut StoreReport,
) -> Result<HashSet<Sha256>, StoreError> {
    let mut here = HashSet::new();
    for (sha256, device, _) in sources.store.blob_rows(contract).await? {
        let place = format!("blobs/{contract}/{sha256}");
        let changed = match sources.blobs.get(contract, device, sha256).await {
            Ok(Some(bytes)) => Sha256::of(&bytes) != sha256,
            Ok(None) => continue,
            Err(BlobError::Seal(_)) => true,
            Err(BlobError::Store(error)) => return Err(error),
            Err(error) => return Err(StoreError::Corrupt(format!("{place}: {error}"))),
        };
        report.pictures += 1;
        // Changed, but here: not told as missing beside.
        here.insert(sha256);
        if changed {
            report.findings.push(Finding::PictureChanged {
                device: Some(device),
                sha256,
                place,
            });
        }
    }
    Ok(here)
}

/// Hashes that signed records name and that, by the receiver's rows, have not arrived; and those that were deleted as
/// agreed, which nobody misses.
async fn awaited_of<S: EvidenceStore>(
    sources: &Sources<S>,
    device: &EvidenceDevice,
) -> Result<(HashSet<Sha256>, HashSet<Sha256>), StoreError> {
    let rows = sources.store.picture_rows(device.device, None).await?;
    let gone = rows.iter().filter(|picture| !picture.arrived);
    let (expired, awaited): (Vec<_>, Vec<_>) = gone.partition(|picture| picture.expired);
    let hashes = |rows: Vec<&PictureRow>| rows.iter().map(|picture| picture.sha256).collect();
    Ok((hashes(awaited), hashes(expired)))
}

async fn check_device<S: EvidenceStore>(
    sources: &Sources<S>,
    device: &EvidenceDevice,
    heads: &[Heads],
    pictures: &HashSet<Sha256>,
    awaited: &HashSet<Sha256>,
) -> Result<(DeviceReport, Vec<Finding>), StoreError> {
    let store = &sources.store;
    let rows = store.batch_rows(device.device).await?;
    let mut check = DeviceCheck::new(device.device, device.record_key, &device.boots);
    let mut findings = Vec::new();
    for page in rows.chunks(PAGE) {
        for row in page.iter().filter(|row| row.deleted) {
            check.deleted(&row.as_deleted());
        }
        let held: Vec<_> = page.iter().filter(|row| !row.deleted).collect();
        let numbers = held.iter().map(|row| row.no).collect();
        let opened = store
            .batch_bytes(device.contract, device.device, numbers)
            .await?;
        for (row, bytes) in held.into_iter().zip(opened) {
            let place = format!("row {} of table batch", row.no);
            match bytes {
                None => {
                    let place = format!("{place}, its seal does not open");
                    check.unreadable(row.epoch, row.first, row.last, &place);
                }
                Some(bytes) => {
                    if let Some((batch, hash)) = check.take(bytes, &place) {
                        findings.extend(differs_from_row(device, row, &batch, hash));
                        findings.extend(index_of(sources, device, row, &batch).await?);
                    }
                }
            }
        }
    }
    for gap in &device.deleted_gaps {
        check.deleted_gap(gap);
    }
    let mut report = check.finish(&Context {
        range: None,
        not_arrived: &device.holes(),
        refused: &device.refused,
        goes_on: &[],
        heads,
        otherwise: Known::Book,
        pictures_here: Some(pictures),
        pictures_not_arrived: awaited,
        cameras: None,
    });
    findings.append(&mut report.findings);
    findings.extend(orphans(sources, device, &findings).await?);
    Ok((report, findings))
}

fn differs_from_row(
    device: &EvidenceDevice,
    row: &BatchRow,
    batch: &wire::Batch,
    hash: Sha256,
) -> Option<Finding> {
    let columns = [
        (row.epoch == batch.epoch, "epoch of the batch"),
        (row.first == batch.first_seq, "first number of the batch"),
        (row.last == batch.last_seq(), "last number of the batch"),
        (row.prev == batch.prev, "predecessor of the batch"),
        (row.sha256 == hash, "SHA-256 of the batch"),
    ];
    let (_, column) = columns.into_iter().find(|(right, _)| !right)?;
    Some(Finding::IndexDiffers {
        device: device.device,
        epoch: batch.epoch,
        seq: batch.first_seq,
        column: column.to_owned(),
    })
}

async fn index_of<S: EvidenceStore>(
    sources: &Sources<S>,
    device: &EvidenceDevice,
    row: &BatchRow,
    batch: &wire::Batch,
) -> Result<Vec<Finding>, StoreError> {
    let (records, media, events) = sources.store.index_rows(device.device, *row).await?;
    let single = device
        .refused
        .iter()
        .filter(|refusal| !refusal.whole_batch && refusal.epoch == row.epoch);
    let refused = single.map(|refusal| refusal.first_seq).collect();
    Ok(compare(
        device.device,
        batch,
        &Rows {
            records,
            media,
            events,
        },
        &refused,
    ))
}

/// Index rows whose batch is gone, where that is not told already.
async fn orphans<S: EvidenceStore>(
    sources: &Sources<S>,
    device: &EvidenceDevice,
    told: &[Finding],
) -> Result<Vec<Finding>, StoreError> {
    let removed: HashSet<Epoch> = told
        .iter()
        .filter_map(|finding| match finding {
            Finding::RecordsRemoved { epoch, .. }
            | Finding::TailCut { epoch, .. }
            | Finding::EpochRemoved { epoch, .. } => Some(*epoch),
            _ => None,
        })
        .collect();
    let rows = sources.store.rows_without_batch(device.device).await?;
    let untold = rows.into_iter().filter(|(epoch, _)| match epoch {
        Some(epoch) => !removed.contains(epoch),
        None => removed.is_empty(),
    });
    Ok(untold
        .map(|(epoch, seq)| Finding::IndexDiffers {
            device: device.device,
            epoch: epoch.unwrap_or(Epoch(0)),
            seq,
            column: "no signed batch holds it".to_owned(),
        })
        .collect())
}
