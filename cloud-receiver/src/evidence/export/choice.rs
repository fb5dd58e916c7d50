//! Which batches of a device go into an export: those of the time range, unbroken by number, and one more on either
//! side, so that it can be seen that nothing within the range was left out.

use crate::store::{BatchRow, EvidenceDevice, EvidenceReads, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use wire::{ClockState, Epoch, Record, Seq, SeqRange, Sha256, SignedBatch, UtcMicros};

/// What is chosen of one epoch: by number, without a hole but those of the receiver itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) epoch: Epoch,
    pub(super) rows: Vec<BatchRow>,
    /// Whether more is stored behind it, in this epoch or one that follows.
    pub(super) goes_on: bool,
}

impl Chosen {
    pub(super) fn first(&self) -> Seq {
        self.rows[0].first
    }

    pub(super) fn last(&self) -> Seq {
        self.rows[self.rows.len() - 1].last
    }
}

/// Places of the first and the last chosen batch among an epoch's.
type Span = (usize, usize);

/// `rows`: all batches of the device, by epoch and number. `named`: batches that are known to belong to the range
/// by what they hold.
pub(super) fn choose(
    rows: &[BatchRow],
    range: (UtcMicros, UtcMicros),
    named: &HashSet<i64>,
) -> Vec<Chosen> {
    let mut epochs: BTreeMap<Epoch, Vec<BatchRow>> = BTreeMap::new();
    for row in rows {
        epochs.entry(row.epoch).or_default().push(*row);
    }
    let mut spans: BTreeMap<Epoch, Span> = BTreeMap::new();
    for (epoch, rows) in &epochs {
        if let Some(span) = span_of(rows, range, named) {
            spans.insert(*epoch, span);
        }
    }
    if spans.is_empty() {
        // Nothing was captured in that time: the last batch before it shows what follows it directly.
        let before = rows.iter().filter(|row| row.first_captured_us < range.0);
        if let Some(last) = before.max_by_key(|row| (row.first_captured_us, row.no)) {
            widen(&mut spans, &epochs, last, 1);
        }
    }
    // Twice, because a batch that begins before the range may reach into it: then it takes one more to be before it.
    for _ in 0..2 {
        add_neighbours(&mut spans, &epochs, rows, range);
    }
    let chosen_hashes: HashSet<Sha256> = spans
        .iter()
        .flat_map(|(epoch, (lo, hi))| &epochs[epoch][*lo..=*hi])
        .map(|row| row.sha256)
        .collect();
    let follower: HashMap<Sha256, Sha256> = rows.iter().map(|row| (row.prev, row.sha256)).collect();
    let finish = |(epoch, (lo, hi)): (Epoch, Span)| {
        let all = &epochs[&epoch];
        let next = follower.get(&all[hi].sha256);
        Chosen {
            epoch,
            rows: all[lo..=hi].to_vec(),
            goes_on: hi + 1 < all.len() || next.is_some_and(|hash| !chosen_hashes.contains(hash)),
        }
    };
    spans.into_iter().map(finish).collect()
}

/// The batches of one epoch that hold anything of the range, and one more on either side where there is one.
fn span_of(rows: &[BatchRow], range: (UtcMicros, UtcMicros), named: &HashSet<i64>) -> Option<Span> {
    let is_in = |row: &BatchRow| {
        (range.0 <= row.first_captured_us && row.first_captured_us < range.1)
            || named.contains(&row.no)
    };
    let first = rows.iter().position(is_in);
    let last = rows.iter().rposition(is_in);
    let (first, last) = match first.zip(last) {
        Some(found) => found,
        // None begins in the range, but the epoch runs over it: the batch that begins before it may reach into it.
        None => {
            let before = rows
                .iter()
                .rposition(|row| row.first_captured_us < range.0)?;
            (before + 1 < rows.len()).then_some((before, before))?
        }
    };
    // The batch before may reach into the range, the one before that may not.
    Some((first.saturating_sub(2), (last + 1).min(rows.len() - 1)))
}

/// Where the span begins or ends with its epoch, and within the range, the neighbour stands in another epoch.
fn add_neighbours(
    spans: &mut BTreeMap<Epoch, Span>,
    epochs: &BTreeMap<Epoch, Vec<BatchRow>>,
    rows: &[BatchRow],
    range: (UtcMicros, UtcMicros),
) {
    for (epoch, (lo, hi)) in spans.clone() {
        let all = &epochs[&epoch];
        let (first, last) = (&all[lo], &all[hi]);
        let before = rows.iter().find(|row| lo == 0 && row.sha256 == first.prev);
        let is_open = hi + 1 == all.len() && last.first_captured_us < range.1;
        let after = rows.iter().filter(|row| is_open && row.prev == last.sha256);
        let after = after.min_by_key(|row| (row.first_captured_us, row.no));
        if let Some(neighbour) = before {
            widen(spans, epochs, neighbour, 1);
        }
        if let Some(neighbour) = after {
            widen(spans, epochs, neighbour, 0);
        }
    }
}

/// Takes a batch in, with so many before it in its epoch.
fn widen(
    spans: &mut BTreeMap<Epoch, Span>,
    epochs: &BTreeMap<Epoch, Vec<BatchRow>>,
    row: &BatchRow,
    before: usize,
) {
    let Some(at) = epochs[&row.epoch]
        .iter()
        .position(|other| other.no == row.no)
    else {
        return;
    };
    let span = spans.entry(row.epoch).or_insert((at, at));
    *span = (span.0.min(at.saturating_sub(before)), span.1.max(at));
}

/// What the receiver has not got of the chosen part of an epoch, its edges included.
pub(super) fn not_arrived(stored: &[(Epoch, SeqRange)], chosen: &Chosen) -> Vec<SeqRange> {
    let (mut next, mut holes) = (Seq::FIRST, Vec::new());
    for (_, range) in stored.iter().filter(|(epoch, _)| *epoch == chosen.epoch) {
        if range.first > next {
            holes.push(SeqRange {
                first: next,
                last: Seq(range.first.0 - 1),
            });
        }
        next = range.last.advanced_by(1);
    }
    holes.retain(|hole| {
        hole.last.advanced_by(1) >= chosen.first() && hole.first <= chosen.last().advanced_by(1)
    });
    holes
}

/// Batches made before the box's clock was right are stored under the time that it showed. Where a later clock
/// record tells when that boot began, they are put to their true time.
pub(super) async fn correct_times(
    store: &impl EvidenceReads,
    device: &EvidenceDevice,
    rows: &mut [BatchRow],
) -> Result<()> {
    /// 2020-01-01: this software did not exist before.
    const IMPOSSIBLE_BEFORE: UtcMicros = UtcMicros(1_577_836_800_000_000);
    if device.boots.is_empty() {
        return Ok(());
    }
    for row in rows
        .iter_mut()
        .filter(|row| row.first_captured_us < IMPOSSIBLE_BEFORE && !row.deleted)
    {
        let bytes = store
            .batch_bytes(device.contract, device.device, vec![row.no])
            .await?;
        let Some(bytes) = bytes.into_iter().next().flatten() else {
            continue;
        };
        if let Some(at) = true_time(device, bytes) {
            row.first_captured_us = at;
        }
    }
    Ok(())
}

fn true_time(device: &EvidenceDevice, bytes: Vec<u8>) -> Option<UtcMicros> {
    let batch = SignedBatch::from_bytes(bytes).ok()?.parse().ok()?;
    let record = batch
        .records
        .iter()
        .find_map(|bytes| Record::from_json(bytes).ok())?;
    let boot = device
        .boots
        .iter()
        .find(|boot| boot.boot == record.time.boot_id)?;
    let trusted = matches!(
        record.time.clock.state,
        ClockState::Synced | ClockState::Holdover
    );
    let boottime_us = i64::try_from(record.time.boottime_ns / 1000).ok()?;
    (!trusted).then(|| boot.began_us.plus_us(boottime_us))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hash(no: i64) -> Sha256 {
        if no == 0 {
            Sha256::ZERO
        } else {
            Sha256::of(&no.to_be_bytes())
        }
    }

    /// One record a batch; epoch, number and time of each; each follows the one before in the list.
    fn rows(list: &[(u64, u64, i64)]) -> Vec<BatchRow> {
        let row = |(no, (epoch, first, at)): (i64, &(u64, u64, i64))| BatchRow {
            no,
            epoch: Epoch(*epoch),
            first: Seq(*first),
            last: Seq(*first),
            sha256: hash(no),
            prev: hash(no - 1),
            first_captured_us: UtcMicros(*at),
            deleted: false,
        };
        (1..).zip(list).map(row).collect()
    }

    fn chosen(list: &[(u64, u64, i64)], from: i64, to: i64) -> Vec<(u64, u64, u64, bool)> {
        let chosen = choose(
            &rows(list),
            (UtcMicros(from), UtcMicros(to)),
            &HashSet::new(),
        );
        chosen
            .iter()
            .map(|c| (c.epoch.0, c.first().0, c.last().0, c.goes_on))
            .collect()
    }

    const STORY: [(u64, u64, i64); 7] = [
        (7, 1, 10),
        (7, 2, 20),
        (7, 3, 30),
        (4, 1, 40),
        (4, 2, 50),
        (9, 1, 60),
        (9, 2, 70),
    ];

    #[test]
    fn one_batch_more_is_taken_on_either_side() {
        assert_eq!(chosen(&STORY, 20, 21), [(7, 1, 3, true)]);
        assert_eq!(
            chosen(&STORY, 60, 61),
            [(4, 1, 2, false), (7, 2, 3, false), (9, 1, 2, false)]
        );
        assert_eq!(
            chosen(&STORY, 0, 100),
            [(4, 1, 2, false), (7, 1, 3, false), (9, 1, 2, false)]
        );
    }

    #[test]
    fn the_neighbour_may_stand_in_another_epoch() {
        assert_eq!(
            chosen(&STORY, 40, 51),
            [(4, 1, 2, false), (7, 2, 3, false), (9, 1, 1, true)]
        );
    }

    #[test]
    fn a_time_without_records_shows_what_stands_around_it() {
        assert_eq!(chosen(&STORY, 21, 29), [(7, 1, 3, true)]);
        assert_eq!(chosen(&STORY, 31, 39), [(4, 1, 1, true), (7, 2, 3, false)]);
        assert_eq!(
            chosen(&STORY, 80, 90),
            [(4, 1, 2, false), (7, 2, 3, false), (9, 1, 2, false)]
        );
    }
}
