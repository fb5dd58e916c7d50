//! Comparing what is here with signed heads: what the receiver once said it held must still be here.

use super::chain::{Context, Link};
use super::finding::{Finding, Known};
use super::heads::{Digest, EpochHead};
use super::links::Links;
use crate::ids::{DeviceId, Epoch, Seq};
use crate::receipt::SeqRange;
use std::collections::BTreeSet;

/// What the heads prove.
#[derive(Debug, Default)]
pub(super) struct Anchored {
    pub(super) findings: Vec<Finding>,
    /// Numbers told as removed.
    pub(super) removed: Vec<(Epoch, SeqRange)>,
    /// Number of the newest heads that speak of the device.
    pub(super) newest: Option<u64>,
}

/// Older heads first; each epoch is told once.
pub(super) fn check(
    device: DeviceId,
    links: &Links,
    damaged: &[(Epoch, SeqRange)],
    context: &Context<'_>,
) -> Anchored {
    let mut anchored = Anchored::default();
    let mut told: BTreeSet<Epoch> = BTreeSet::new();
    // The newest first: it says most. Older ones say what newer ones may have been made to forget.
    for heads in context.heads.iter().rev() {
        let Some(head) = heads.device(device) else {
            continue;
        };
        let number = heads.number();
        anchored.newest = anchored.newest.max(Some(number));
        for epoch in &head.epochs {
            if told.contains(&epoch.epoch) {
                continue;
            }
            let found = epoch_differs(device, links, damaged, epoch, number, context);
            if !found.0.is_empty() {
                told.insert(epoch.epoch);
            }
            anchored.findings.extend(found.0);
            anchored
                .removed
                .extend(found.1.into_iter().map(|range| (epoch.epoch, range)));
        }
    }
    anchored
}

fn epoch_differs(
    device: DeviceId,
    links: &Links,
    damaged: &[(Epoch, SeqRange)],
    head: &EpochHead,
    heads: u64,
    context: &Context<'_>,
) -> (Vec<Finding>, Vec<SeqRange>) {
    let epoch = head.epoch;
    let (Some(first), Some(last)) = (links.first_of(epoch), links.last_of(epoch)) else {
        let gone = is_in_range(head, context) && !damaged.iter().any(|(at, _)| *at == epoch);
        let finding = Finding::EpochRemoved {
            device,
            epoch,
            stated: head.last_seq,
            heads,
        };
        return (gone.then_some(finding).into_iter().collect(), Vec::new());
    };
    let mut findings = Vec::new();
    let mut removed = Vec::new();
    let from = if context.range.is_some() {
        first.first
    } else {
        Seq::FIRST
    };
    for hole in links.holes(epoch, from) {
        let stated = head
            .ranges
            .iter()
            .filter_map(|range| overlap(*range, hole.range));
        for range in stated.filter(|range| !is_damaged(damaged, epoch, *range)) {
            let known = Known::Heads(heads);
            findings.push(Finding::RecordsRemoved {
                device,
                epoch,
                first: range.first,
                last: range.last,
                known,
            });
            removed.push(range);
        }
    }
    let ends_after_range = context
        .range
        .is_some_and(|(_, to)| last.begins_us() >= to.0);
    let tail = SeqRange {
        first: last.last.advanced_by(1),
        last: head.last_seq,
    };
    if head.last_seq > last.last && !ends_after_range && !is_damaged(damaged, epoch, tail) {
        findings.push(Finding::TailCut {
            device,
            epoch,
            have: last.last,
            stated: head.last_seq,
            heads,
        });
    }
    if findings.is_empty()
        && !damaged.iter().any(|(at, _)| *at == epoch)
        && is_replaced(links, head)
    {
        findings.push(Finding::HistoryReplaced {
            device,
            epoch,
            heads,
        });
    }
    (findings, removed)
}

/// Whether the batches that were there when the heads were made are others than those here.
fn is_replaced(links: &Links, head: &EpochHead) -> bool {
    let then: Vec<&Link> = links
        .of(head.epoch)
        .filter(|link| head.holds(link.first) && head.holds(link.last))
        .collect();
    let ended_with = then.iter().find(|link| link.last == head.last_seq);
    if ended_with.is_some_and(|link| link.hash != head.last_batch) {
        return true;
    }
    let records: u64 = then.iter().map(|link| link.last.0 - link.first.0 + 1).sum();
    // Of a part of the epoch the digest over all of it cannot be made.
    if records != head.records {
        return false;
    }
    let mut digest = Digest::default();
    then.iter()
        .for_each(|link| digest.add(link.first, link.last, link.hash));
    digest.finish() != head.digest
}

/// Whether any of an epoch that is not here at all belongs into the time range.
fn is_in_range(head: &EpochHead, context: &Context<'_>) -> bool {
    context
        .range
        .is_none_or(|(from, to)| head.first_us < to && head.last_us >= from)
}

fn overlap(a: SeqRange, b: SeqRange) -> Option<SeqRange> {
    let range = SeqRange {
        first: a.first.max(b.first),
        last: a.last.min(b.last),
    };
    (range.first <= range.last).then_some(range)
}

fn is_damaged(damaged: &[(Epoch, SeqRange)], epoch: Epoch, range: SeqRange) -> bool {
    damaged
        .iter()
        .any(|(at, known)| *at == epoch && known.first <= range.first && range.last <= known.last)
}
