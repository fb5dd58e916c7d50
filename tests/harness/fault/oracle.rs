//! What became of every obligation.
//!
//! An id becomes an obligation when the spool has accepted it. After the faults have stopped, every obligation is at the
//! receiver with equal payload, everything there was issued, nothing is there twice, and what was shed or parked is
//! named in gap records that are there too.

use super::Said;
use super::feeder::Journal;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use wire::record::GapRecord;
use wire::{Epoch, Seq, Sha256};

/// Reasons of losses before the spool had accepted anything: they excuse no missing obligation.
const NEVER_ACCEPTED: [&str; 4] = ["outage", "oversized", "media_busy", "media_failed"];

/// One line of `cloud-receiver audit records`.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredRecord {
    pub epoch: Epoch,
    pub seq: Seq,
    pub kind: String,
    pub sha256: Sha256,
    pub blob: Option<StoredBlob>,
    pub gap: Option<GapRecord>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct StoredBlob {
    pub sha256: Sha256,
    pub arrived: bool,
}

/// The verdict, when it is a good one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that the spool had accepted.
    pub obligations: u64,
    pub blobs: u64,
    pub received: u64,
    /// Of them, named in gap records instead.
    pub records_named_lost: u64,
    pub blobs_named_lost: u64,
    /// What the gap records say: by class and reason, how many.
    pub gaps: BTreeMap<(String, String), u64>,
}

#[derive(Debug)]
pub struct Oracle {
    tried: HashSet<Sha256>,
    kept: HashSet<Sha256>,
    kept_blobs: HashSet<Sha256>,
    tried_blobs: HashSet<Sha256>,
}

impl Oracle {
    /// Takes everything the feeders said.
    pub fn hear(journal: &Journal) -> Self {
        let mut oracle = Self {
            tried: HashSet::new(),
            kept: HashSet::new(),
            kept_blobs: HashSet::new(),
            tried_blobs: HashSet::new(),
        };
        for said in journal.lock().expect("only pushed").iter() {
            match said {
                Said::Trying { record, blob } => {
                    oracle.tried.insert(*record);
                    oracle.tried_blobs.extend(*blob);
                }
                Said::Kept { record, blob, .. } => {
                    oracle.kept.insert(*record);
                    oracle.kept_blobs.extend(*blob);
                }
                _ => {}
            }
        }
        oracle
    }

    /// How many obligations are not among these.
    pub fn obligations_not_in(&self, stored: &HashSet<Sha256>) -> u64 {
        self.kept.difference(stored).count() as u64
    }

    pub fn obligations(&self) -> u64 {
        self.kept.len() as u64
    }

    /// Judges what the receiver holds.
    pub fn judge(&self, stored: &[StoredRecord]) -> Result<Verdict> {
        let mut times: HashMap<Sha256, u64> = HashMap::new();
        let mut keys = HashSet::new();
        for record in stored {
            ensure!(
                keys.insert((record.epoch, record.seq)),
                "the key {}/{} is stored twice",
                record.epoch,
                record.seq
            );
            *times.entry(record.sha256).or_default() += 1;
        }
        let ours = |record: &&StoredRecord| {
            ["event", "media", "camera_state"].contains(&record.kind.as_str())
        };
        for record in stored.iter().filter(ours) {
            ensure!(
                self.tried.contains(&record.sha256),
                "{} {}/{} was never issued, or its payload was changed",
                record.kind,
                record.epoch,
                record.seq
            );
            ensure!(
                times[&record.sha256] == 1,
                "{} {}/{} is there {} times",
                record.kind,
                record.epoch,
                record.seq,
                times[&record.sha256]
            );
        }
        let gaps = gaps(stored);
        let missing = self
            .kept
            .iter()
            .filter(|hash| !times.contains_key(hash))
            .count() as u64;
        let here: HashSet<Sha256> = stored
            .iter()
            .filter_map(|record| record.blob.as_ref())
            .filter(|blob| blob.arrived)
            .map(|blob| blob.sha256)
            .collect();
        let blobs_missing = self.kept_blobs.difference(&here).count() as u64;
        let is_media = |class: &str| ["clip", "periodic", "requested", "snapshot"].contains(&class);
        let named = |media: bool| -> u64 {
            let lines = gaps.iter().filter(|((class, reason), _)| {
                is_media(class) == media && !NEVER_ACCEPTED.contains(&reason.as_str())
            });
            lines.map(|(_, count)| count).sum()
        };
        ensure!(
            missing <= named(false),
            "{missing} of {} records are gone, and gap records name only {} ({gaps:?})",
            self.kept.len(),
            named(false)
        );
        // Of a picture whose `media` record is lost nobody knows, wherever it lies: that record's gap names it.
        let of_media: u64 = gaps
            .iter()
            .filter(|((class, reason), _)| {
                class == "media" && !NEVER_ACCEPTED.contains(&reason.as_str())
            })
            .map(|(_, count)| count)
            .sum();
        ensure!(
            blobs_missing <= named(true) + of_media,
            "{blobs_missing} of {} pictures are gone, and gap records name only {} and {of_media} of their records ({gaps:?})",
            self.kept_blobs.len(),
            named(true)
        );
        Ok(Verdict {
            obligations: self.kept.len() as u64,
            blobs: self.kept_blobs.len() as u64,
            received: stored.len() as u64,
            records_named_lost: missing,
            blobs_named_lost: blobs_missing,
            gaps,
        })
    }

    /// For tests in which nothing may be lost at all, gap record or not.
    pub fn judge_nothing_lost(&self, stored: &[StoredRecord]) -> Result<Verdict> {
        let verdict = self.judge(stored)?;
        ensure!(
            verdict.records_named_lost == 0 && verdict.blobs_named_lost == 0,
            "something is lost: {verdict:?}"
        );
        Ok(verdict)
    }
}

fn gaps(stored: &[StoredRecord]) -> BTreeMap<(String, String), u64> {
    let mut gaps = BTreeMap::new();
    for gap in stored.iter().filter_map(|record| record.gap.as_ref()) {
        let key = (gap.class.clone(), gap.reason.clone());
        *gaps.entry(key).or_default() += gap.count;
    }
    gaps
}

/// Reads what `cloud-receiver audit records` printed.
pub fn parse(printed: &str) -> Result<Vec<StoredRecord>> {
    let lines = printed.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a record: {line}")))
        .collect()
}
