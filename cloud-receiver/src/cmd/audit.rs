//! `audit`: what is stored of a device, and whether it adds up; and who did what, in `audit_log.rs`.

use super::device::by_name;
use super::{Common, audit_log, deliveries, setup, still_read};
use crate::store::{BatchRow, EvidenceReads, MediaIndex, RecordIndex};
use anyhow::Context;
use serde::Serialize;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use wire::record::GapRecord;
use wire::{Body, Epoch, Record, Seq, Sha256, SignedBatch};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Print every stored record of a device, one JSON line each: its key, and the SHA-256 of its bytes.
    Records {
        /// Id of the device, the beginning of it, or the name of its site.
        #[arg(long)]
        device: String,
    },
    /// Add up what arrived of each camera, hour and class, and name what is missing. Exit code 1: it does not add up.
    Deliveries(deliveries::Args),
    /// Who did what, the newest first.
    List(audit_log::ListArgs),
    /// Check the whole log of who did what, or a file of a part of it. Exit code 1: it is not as it was written.
    Verify(audit_log::VerifyArgs),
    /// Write a part of that log into a file that can be checked by itself.
    Export(audit_log::ExportArgs),
}

/// Batches in memory at a time: at most 256 KiB each.
const PAGE: usize = 100;

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Records { device } => records(common, &device).await.map(|()| ExitCode::SUCCESS),
        Verb::Deliveries(args) => deliveries::run(common, args).await,
        Verb::List(args) => audit_log::list(common, args).await,
        Verb::Verify(args) => audit_log::verify(common, args).await,
        Verb::Export(args) => audit_log::export(common, args).await,
    }
}

/// One stored record.
#[derive(Serialize)]
struct Line {
    epoch: Epoch,
    seq: Seq,
    kind: &'static str,
    /// Of the record's bytes as they were signed.
    sha256: Sha256,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<GapRecord>,
}

#[derive(Serialize)]
struct BlobLine {
    sha256: Sha256,
    arrived: bool,
}

async fn records(common: &Common, wanted: &str) -> anyhow::Result<()> {
    let store = setup(common)?.store;
    let device = by_name(&store, wanted).await?.device;
    let devices = store.evidence_devices(None).await?;
    let contract = devices.iter().find(|row| row.device == device);
    let contract = contract.context("the device is gone")?.contract;
    let mut out = BufWriter::new(io::stdout().lock());
    let (deleted, held): (Vec<BatchRow>, Vec<BatchRow>) = store
        .batch_rows(device)
        .await?
        .into_iter()
        .partition(|row| row.deleted);
    let deleted: u64 = deleted.iter().map(|row| row.last.0 - row.first.0 + 1).sum();
    if deleted > 0 {
        eprintln!("Note: {deleted} records deleted as agreed; they are not listed.");
    }
    for page in held.chunks(PAGE) {
        let numbers = page.iter().map(|row| row.no).collect();
        let bytes = store.batch_bytes(contract, device, numbers).await?;
        for (row, bytes) in page.iter().zip(bytes) {
            let bytes = bytes.with_context(|| format!("stored batch {} does not open", row.no))?;
            let (records, media, _) = store.index_rows(device, *row).await?;
            for line in lines(row, bytes, &records, &media)? {
                let json = serde_json::to_string(&line)?;
                if !still_read(writeln!(out, "{json}"))? {
                    return Ok(());
                }
            }
        }
    }
    still_read(out.flush()).map(|_| ())
}

/// Of the records in a batch those that the index knows: the others were refused.
fn lines(
    row: &BatchRow,
    signed: Vec<u8>,
    records: &[RecordIndex],
    media: &[MediaIndex],
) -> anyhow::Result<Vec<Line>> {
    let batch = SignedBatch::from_bytes(signed)
        .and_then(|signed| signed.parse())
        .with_context(|| format!("stored batch {}", row.no))?;
    let numbered = (batch.first_seq.0..).map(Seq).zip(&batch.records);
    let kept = numbered.filter(|(seq, _)| records.iter().any(|record| record.seq == *seq));
    Ok(kept
        .map(|(seq, bytes)| {
            let body = Record::from_json(bytes).map_or(Body::Unknown, |record| record.body);
            let indexed = media.iter().find(|media| media.seq == seq);
            Line {
                epoch: batch.epoch,
                seq,
                kind: body.kind(),
                sha256: Sha256::of(bytes),
                blob: match &body {
                    Body::Media(media) => Some(BlobLine {
                        sha256: media.sha256,
                        arrived: indexed.is_some_and(|media| media.arrived),
                    }),
                    _ => None,
                },
                gap: match body {
                    Body::Gap(gap) => Some(gap),
                    _ => None,
                },
            }
        })
        .collect())
}
