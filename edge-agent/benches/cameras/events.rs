//! What an agent told of a stream, read from its spool after it has stopped, and how much of it another agent told of
//! the same stream. Both were given every picture at the same moment of one machine's clock, so that their times are
//! the stream's times and can be compared.

use anyhow::{Context, Result};
use edge_agent::clock::{RealClocks, TimeSource};
use edge_agent::config::SpoolConfig;
use edge_agent::health::Health;
use edge_agent::identity::Identity;
use edge_agent::spool::{Lane, Spool, SpoolKeys};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wire::record::{CAMERA_CLASS, EventRecord, PathPoint};
use wire::{Body, EventId, Record, SignedBatch};

/// Two events are one when they are no farther apart than this in time ...
const SLACK_US: i64 = 500_000;
/// ... and in place: the mean distance of their paths, in picture widths.
const SAME_PLACE: f32 = 0.1;

/// The last word on every event of an object, in order of their beginning.
pub fn read(data_dir: &Path) -> Result<Vec<EventRecord>> {
    let identity = Identity::load(data_dir)?.context("the agent made no identity")?;
    let keys = SpoolKeys {
        device_id: identity.device_id,
        record_key: identity.record_key,
        spool_key: identity.spool_key,
    };
    let clocks = Arc::new(RealClocks::new());
    let time = TimeSource::new(clocks.clone());
    let spool = Spool::open(
        &data_dir.join("spool"),
        &SpoolConfig::default(),
        keys,
        time,
        &Health::with_clocks(clocks),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut events: BTreeMap<EventId, EventRecord> = BTreeMap::new();
    runtime.block_on(async {
        spool.begin_session();
        loop {
            let batches = spool.lease_batches(64, Lane::Backlog).await?;
            if batches.is_empty() {
                spool.close().await;
                return anyhow::Ok(());
            }
            for batch in batches {
                let batch = SignedBatch::from_bytes(batch.signed.to_vec())?.parse()?;
                for record in &batch.records {
                    let Body::Event(event) = Record::from_json(record)?.body else {
                        continue;
                    };
                    let newer = |known: &EventRecord| known.revision < event.revision;
                    if event.class != CAMERA_CLASS && events.get(&event.id).is_none_or(newer) {
                        events.insert(event.id, event);
                    }
                }
            }
        }
    })?;
    let mut events: Vec<_> = events.into_values().collect();
    events.sort_by_key(first_seen_us);
    Ok(events)
}

/// When its object was seen for the first time.
pub fn first_seen_us(event: &EventRecord) -> i64 {
    let on_path = event.path.first().map(|point| point.at_us.0);
    on_path.unwrap_or(i64::MAX).min(event.opened_at_us.0)
}

/// How much of what `all` tells `some` tells too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recall {
    pub of: usize,
    pub found: usize,
    /// Of those found: how much later `some` saw it first, in seconds, in rising order; below 0 is earlier.
    pub later_seconds: Vec<f64>,
}

impl Recall {
    pub fn share(&self) -> f64 {
        self.found as f64 / self.of.max(1) as f64
    }

    /// Of those found, the share first seen at most so much later.
    pub fn within(&self, seconds: f64) -> f64 {
        let soon = self.later_seconds.iter().filter(|later| **later <= seconds);
        soon.count() as f64 / self.later_seconds.len().max(1) as f64
    }

    pub fn later_quantile(&self, q: f64) -> f64 {
        let index = (self.later_seconds.len().saturating_sub(1) as f64 * q).round() as usize;
        self.later_seconds.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Lower end of Wilson's score interval (1927) at 95 %: what so small a sample still proves.
    pub fn at_least(&self) -> f64 {
        const Z: f64 = 1.96;
        let (n, p) = (self.of as f64, self.share());
        if self.of == 0 {
            return 0.0;
        }
        let middle = p + Z * Z / (2.0 * n);
        let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        (middle - spread) / (1.0 + Z * Z / n)
    }
}

/// An event counts as found when some event of the same camera and class lies beside it in time and place. Not one to
/// one: that a person was followed in two pieces on one side is another matter, which the number of events shows.
pub fn recall(all: &[EventRecord], some: &[EventRecord]) -> Recall {
    let mut recall = Recall {
        of: all.len(),
        ..Recall::default()
    };
    for event in all {
        let first = some
            .iter()
            .filter(|other| same_object(event, other))
            .map(first_seen_us)
            .min();
        if let Some(first) = first {
            recall.found += 1;
            recall
                .later_seconds
                .push((first - first_seen_us(event)) as f64 / 1e6);
        }
    }
    recall.later_seconds.sort_by(f64::total_cmp);
    recall
}

/// Whether an event is found among others.
pub fn is_told(event: &EventRecord, among: &[EventRecord]) -> bool {
    among.iter().any(|other| same_object(event, other))
}

fn same_object(a: &EventRecord, b: &EventRecord) -> bool {
    let begin = first_seen_us(a).max(first_seen_us(b));
    let end = a.last_seen_at_us.0.min(b.last_seen_at_us.0);
    a.camera == b.camera
        && a.class == b.class
        && begin <= end + SLACK_US
        && distance(&a.path, &b.path).is_some_and(|distance| distance <= SAME_PLACE)
}

/// Mean distance of two paths at the times of the first one's points that lie within the second one's time.
fn distance(a: &[PathPoint], b: &[PathPoint]) -> Option<f32> {
    let (from, to) = (b.first()?.at_us.0 - SLACK_US, b.last()?.at_us.0 + SLACK_US);
    let common: Vec<f32> = a
        .iter()
        .filter(|point| (from..=to).contains(&point.at_us.0))
        .map(|point| {
            let (x, y) = place_at(b, point.at_us.0);
            (point.x - x).hypot(point.y - y)
        })
        .collect();
    (!common.is_empty()).then(|| common.iter().sum::<f32>() / common.len() as f32)
}

/// Between the points of a path, of which there is at least one.
fn place_at(path: &[PathPoint], at_us: i64) -> (f32, f32) {
    let after = path.partition_point(|point| point.at_us.0 < at_us);
    let Some(next) = path.get(after) else {
        let last = &path[path.len() - 1];
        return (last.x, last.y);
    };
    let Some(previous) = after.checked_sub(1).map(|index| &path[index]) else {
        return (next.x, next.y);
    };
    let span = (next.at_us.0 - previous.at_us.0).max(1) as f32;
    let part = (at_us - previous.at_us.0) as f32 / span;
    (
        previous.x + (next.x - previous.x) * part,
        previous.y + (next.y - previous.y) * part,
    )
}
