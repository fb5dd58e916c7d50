//! `export`: one file with what happened, and the proof of it.

use super::lookup::{Candidate, find};
use super::{Common, Setup, console, report, setup};
use crate::blob::Blobs;
use crate::clock::now;
use crate::evidence::export::{self, Sources, Summary, Wanted};
use crate::evidence::local;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, AuditBook, ContractRow, EvidenceDevice, EvidenceReads, Note};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use wire::{CameraId, ContractId, DeviceId, SiteId, UtcMicros};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name or id of the contract.
    #[arg(long)]
    contract: String,
    /// Only this site: name or id.
    #[arg(long)]
    site: Option<String>,
    /// Only this device: id, the beginning of it, or the name of its site.
    #[arg(long)]
    device: Option<String>,
    /// Only this camera's pictures: name or id.
    #[arg(long)]
    camera: Option<String>,
    /// From when on: 2026-11-22, 2026-11-22T14:30 (local), or with an offset.
    #[arg(long, value_parser = local::parse)]
    from: UtcMicros,
    /// Until when, exclusive.
    #[arg(long, value_parser = local::parse)]
    to: UtcMicros,
    /// The file to write; it must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Pieces on their way to the disk.
const PIECES: usize = 8;

pub(super) async fn run(common: &Common, args: Args) -> anyhow::Result<()> {
    let setup = setup(common)?;
    let contract = contract_by_name(&setup.store, &args.contract).await?;
    let devices = setup.store.evidence_devices(Some(contract.id)).await?;
    let wanted = Wanted {
        made_at: now(),
        from: args.from,
        to: args.to,
        site: args
            .site
            .as_deref()
            .map(|name| site(&devices, name))
            .transpose()?,
        device: args
            .device
            .as_deref()
            .map(|name| device(&devices, name))
            .transpose()?,
        camera: args
            .camera
            .as_deref()
            .map(|name| camera(&devices, name))
            .transpose()?,
    };
    let key = setup.keys.evidence.verifying_key();
    let sources = sources(setup)?;
    // Noted first: what left cannot be taken back.
    let note = Note::new("export.write")
        .of(contract.id)
        .with("from_us", args.from.0)
        .with("to_us", args.to.0);
    sources.store.note(console(), note, now()).await?;
    let summary = write(&sources, contract.id, &wanted, &args.out).await?;
    let mut words = format!(
        "{}: {} events, {} pictures, {} signed records; devices: {}; {:.1} MB\n\
         Check it anywhere with:  cloud-receiver verify --export {} --receiver-key {key}",
        args.out.display(),
        summary.events,
        summary.pictures,
        summary.records,
        summary.devices,
        summary.bytes as f64 / 1e6,
        args.out.display(),
    );
    if summary.deleted_records > 0 {
        words += &format!(
            "\n{} records of this time, and next to it, were deleted as agreed: only their numbers and hashes are in it",
            summary.deleted_records
        );
    }
    for unreadable in &summary.unreadable {
        words += &format!(
            "\nNOT in it, because it cannot be read any more: {unreadable}; run \"cloud-receiver verify\""
        );
    }
    report(common, &summary, &words)
}

/// What exports and checks are made of.
pub(super) fn sources(setup: Setup) -> anyhow::Result<Sources<SqliteStore>> {
    let limit = setup.config.limits.blob_bytes;
    let blobs = Blobs::beside(&setup.config.data_dir, Arc::new(setup.store.clone()), limit)
        .with_context(|| format!("opening the blobs in {}", setup.config.data_dir.display()))?;
    Ok(Sources {
        store: setup.store,
        blobs: Arc::new(blobs),
        key: Arc::new(setup.keys.evidence),
    })
}

async fn write(
    sources: &Sources<SqliteStore>,
    contract: ContractId,
    wanted: &Wanted,
    out: &Path,
) -> anyhow::Result<Summary> {
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(out)
        .await
        .with_context(|| {
            format!(
                "creating {}; choose a name that does not exist yet",
                out.display()
            )
        })?;
    let (sender, mut pieces) = mpsc::channel::<bytes::Bytes>(PIECES);
    let writing = async move {
        while let Some(piece) = pieces.recv().await {
            file.write_all(&piece).await?;
        }
        file.sync_all().await
    };
    let (made, written) = tokio::join!(
        export::of_contract(sources, contract, wanted, sender),
        writing
    );
    let outcome = written
        .with_context(|| format!("writing {}", out.display()))
        .and(made.map_err(anyhow::Error::from));
    if outcome.is_err() {
        // Half an export is worse than none.
        let _ = tokio::fs::remove_file(out).await;
    }
    outcome
}

pub(super) async fn contract_by_name(
    store: &SqliteStore,
    wanted: &str,
) -> anyhow::Result<ContractRow> {
    let candidates = store.contracts().await?.into_iter().map(|row| Candidate {
        id: row.id.to_string(),
        names: vec![row.name.clone()],
        thing: row,
    });
    find(
        "contract",
        wanted,
        "\"contract list\" shows them",
        candidates.collect(),
    )
}

fn site(devices: &[EvidenceDevice], wanted: &str) -> anyhow::Result<SiteId> {
    let found = devices
        .iter()
        .find(|device| device.site_name == wanted || device.site.to_string() == wanted);
    match found {
        Some(device) => Ok(device.site),
        None => {
            bail!("the contract has no site \"{wanted}\" with a device; \"site list\" shows them")
        }
    }
}

fn device(devices: &[EvidenceDevice], wanted: &str) -> anyhow::Result<DeviceId> {
    let candidates = devices.iter().map(|device| Candidate {
        id: device.device.to_string(),
        names: vec![device.site_name.clone()],
        thing: device.device,
    });
    find(
        "device",
        wanted,
        "\"device list\" shows them",
        candidates.collect(),
    )
}

fn camera(devices: &[EvidenceDevice], wanted: &str) -> anyhow::Result<CameraId> {
    let candidates = devices
        .iter()
        .flat_map(|device| &device.cameras)
        .map(|(id, name)| Candidate {
            id: id.to_string(),
            names: vec![name.clone()],
            thing: *id,
        });
    find(
        "camera",
        wanted,
        "\"device list\" shows them",
        candidates.collect(),
    )
}
