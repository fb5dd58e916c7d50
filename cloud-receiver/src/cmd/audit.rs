//! `audit`: what is stored of a device, and whether it adds up.

use super::device::by_name;
use super::{Common, deliveries, setup};
use crate::store::{StoredBatch, StoredBatches};
use anyhow::Context;
use serde::Serialize;
use std::io::Write;
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
}

/// Batches in memory at a time: at most 256 KiB each.
const PAGE: u32 = 100;

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Records { device } => records(common, &device).await.map(|()| ExitCode::SUCCESS),
        Verb::Deliveries(args) => deliveries::run(common, args).await,
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
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut after = 0;
    loop {
        let page = store.batches(device, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.no;
        for batch in &page {
            for line in lines(batch)? {
                serde_json::to_writer(&mut out, &line)?;
                out.write_all(b"\n")?;
            }
        }
    }
    Ok(out.flush()?)
}

fn lines(stored: &StoredBatch) -> anyhow::Result<Vec<Line>> {
    let batch = SignedBatch::from_bytes(stored.signed.clone())
        .and_then(|signed| signed.parse())
        .with_context(|| format!("stored batch {}", stored.no))?;
    let numbered = (batch.first_seq.0..).map(Seq).zip(&batch.records);
    let kept = numbered.filter(|(seq, _)| stored.stored.contains(seq));
    Ok(kept
        .map(|(seq, bytes)| {
            let body = Record::from_json(bytes).map_or(Body::Unknown, |record| record.body);
            Line {
                epoch: batch.epoch,
                seq,
                kind: body.kind(),
                sha256: Sha256::of(bytes),
                blob: match &body {
                    Body::Media(media) => Some(BlobLine {
                        sha256: media.sha256,
                        arrived: stored.blobs_here.contains(&media.sha256),
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
