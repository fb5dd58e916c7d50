//! The chain of one device: are the numbers without a hole, does each batch name the one before, does each epoch
//! follow another.
//!
//! The same rules as those by which the receiver judges links when batches arrive: within an epoch the next number
//! follows; the first batch of another epoch may follow the last batch of an epoch, and of several that claim it
//! the earliest does; only the very first epoch of a device may name nothing.

use super::chain::{Context, Link};
use super::finding::{Break, Finding};
use super::manifest::Refusal;
use super::pictures::GapSeen;
use crate::digest::Sha256;
use crate::ids::{DeviceId, Epoch, Seq};
use crate::receipt::SeqRange;
use std::collections::{BTreeMap, HashMap};

/// All verified batches of a device, by epoch and number.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_number: BTreeMap<(Epoch, Seq), Link>,
}

impl Links {
    pub(super) fn add(&mut self, link: Link) {
        self.by_number.insert((link.epoch, link.first), link);
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// A batch that is here and shares a number with this one.
    pub(super) fn overlapping(&self, link: &Link) -> Option<&Link> {
        let below = self
            .by_number
            .range((link.epoch, Seq(0))..=(link.epoch, link.last));
        below
            .last()
            .map(|(_, other)| other)
            .filter(|other| other.last >= link.first)
    }

    pub(super) fn of(&self, epoch: Epoch) -> impl DoubleEndedIterator<Item = &Link> {
        self.by_number
            .range((epoch, Seq(0))..=(epoch, Seq(u64::MAX)))
            .map(|(_, link)| link)
    }

    /// Every epoch, earliest first.
    pub(super) fn epochs(&self) -> Vec<Epoch> {
        let mut starts: Vec<(i64, Epoch)> = Vec::new();
        for link in self.by_number.values() {
            if starts.last().is_none_or(|(_, epoch)| *epoch != link.epoch) {
                starts.push((link.begins_us(), link.epoch));
            }
        }
        starts.sort();
        starts.into_iter().map(|(_, epoch)| epoch).collect()
    }

    pub(super) fn first_of(&self, epoch: Epoch) -> Option<&Link> {
        self.of(epoch).next()
    }

    pub(super) fn last_of(&self, epoch: Epoch) -> Option<&Link> {
        self.of(epoch).next_back()
    }

    /// Whether a refusal lies in what is here.
    pub(super) fn touches(&self, refusal: &Refusal) -> bool {
        let ends = self
            .first_of(refusal.epoch)
            .zip(self.last_of(refusal.epoch));
        ends.is_some_and(|(first, last)| {
            refusal.first_seq <= last.last.advanced_by(1)
                && refusal.last_seq.advanced_by(1) >= first.first
        })
    }

    /// Ranges of numbers below the highest that are not here, beginning at `from`.
    pub(super) fn holes(&self, epoch: Epoch, from: Seq) -> Vec<Hole> {
        let (mut next, mut before, mut holes) = (from, None, Vec::new());
        for link in self.of(epoch) {
            if link.first > next {
                let range = SeqRange {
                    first: next,
                    last: Seq(link.first.0 - 1),
                };
                holes.push(Hole {
                    epoch,
                    range,
                    before,
                    after: Some(*link),
                });
            }
            next = next.max(link.last.advanced_by(1));
            before = Some(*link);
        }
        holes
    }
}

/// Numbers that are not here, and what stands around them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) epoch: Epoch,
    pub(super) range: SeqRange,
    before: Option<Link>,
    after: Option<Link>,
}

pub(super) fn within(range: SeqRange, ranges: impl IntoIterator<Item = SeqRange>) -> bool {
    let mut rest: Vec<_> = ranges.into_iter().collect();
    rest.sort_by_key(|range| range.first);
    let mut next = range.first;
    for known in rest {
        if known.first <= next && next <= known.last {
            next = known.last.advanced_by(1);
        }
    }
    next > range.last
}

fn of_epoch(all: &[(Epoch, SeqRange)], epoch: Epoch) -> impl Iterator<Item = SeqRange> + '_ {
    all.iter()
        .filter(move |(at, _)| *at == epoch)
        .map(|(_, range)| *range)
}

/// `removed`: what the heads prove to be removed, and is told there.
pub(super) fn holes_and_breaks(
    device: DeviceId,
    links: &Links,
    damaged: &[(Epoch, SeqRange)],
    removed: &[(Epoch, SeqRange)],
    gaps: &mut [GapSeen],
    context: &Context<'_>,
) -> Vec<Finding> {
    let epochs = links.epochs();
    let by_hash: HashMap<Sha256, Link> = links
        .by_number
        .values()
        .map(|link| (link.hash, *link))
        .collect();
    let view = View {
        device,
        links,
        damaged,
        removed,
        context,
        by_hash: &by_hash,
        epochs: &epochs,
    };
    let mut findings = Vec::new();
    for (index, epoch) in epochs.iter().enumerate() {
        let Some(first) = links.first_of(*epoch) else {
            continue;
        };
        // What a time range leaves out of an epoch before it is no hole; `front` looks at that.
        let from = context.range.map_or(Seq::FIRST, |_| first.first);
        for hole in links.holes(*epoch, from) {
            findings.extend(view.explain(&hole, gaps));
        }
        findings.extend(view.mismatches(*epoch));
        if first.first == Seq::FIRST {
            findings.extend(view.start(first, gaps));
        } else {
            findings.extend(view.front(first, index == 0));
        }
    }
    if let Some(last) = epochs
        .iter()
        .filter_map(|epoch| links.last_of(*epoch))
        .max_by_key(|link| link.begins_us())
    {
        findings.extend(view.tail(last));
    }
    findings
}

struct View<'a> {
    device: DeviceId,
    links: &'a Links,
    damaged: &'a [(Epoch, SeqRange)],
    removed: &'a [(Epoch, SeqRange)],
    context: &'a Context<'a>,
    by_hash: &'a HashMap<Sha256, Link>,
    epochs: &'a [Epoch],
}

impl View<'_> {
    /// What becomes of a hole: named already, explained, not arrived, or removed.
    fn explain(&self, hole: &Hole, gaps: &mut [GapSeen]) -> Option<Finding> {
        let (device, epoch, range) = (self.device, hole.epoch, hole.range);
        let (first, last) = (range.first, range.last);
        if within(range, of_epoch(self.damaged, epoch))
            || within(range, of_epoch(self.removed, epoch))
        {
            return None;
        }
        let refused = self
            .context
            .refused
            .iter()
            .filter(|refusal| refusal.whole_batch && refusal.epoch == epoch);
        let refused = refused.map(|refusal| SeqRange {
            first: refusal.first_seq,
            last: refusal.last_seq,
        });
        if within(range, refused) {
            return None;
        }
        let span_us = (
            hole.before.map_or(i64::MIN, |link| link.begins_us()),
            hole.after.map_or(i64::MAX, |link| link.ends_us()),
        );
        if let Some(reason) = GapSeen::use_up_records(gaps, last.0 - first.0 + 1, span_us) {
            return Some(Finding::RecordsShed {
                device,
                epoch,
                first,
                last,
                reason,
            });
        }
        Some(
            if within(range, of_epoch(self.context.not_arrived, epoch)) {
                Finding::RecordsNotArrived {
                    device,
                    epoch,
                    first,
                    last,
                }
            } else {
                Finding::RecordsRemoved {
                    device,
                    epoch,
                    first,
                    last,
                    known: self.context.otherwise,
                }
            },
        )
    }

    /// Batches that go on with the next number, but name another batch before them.
    fn mismatches(&self, epoch: Epoch) -> Vec<Finding> {
        let all: Vec<_> = self.links.of(epoch).collect();
        let wrong = all.windows(2).filter(|pair| {
            pair[1].first == pair[0].last.advanced_by(1) && pair[1].prev != pair[0].hash
        });
        wrong
            .map(|pair| self.broken(pair[1], Break::Mismatch))
            .collect()
    }

    fn broken(&self, link: &Link, cause: Break) -> Finding {
        Finding::ChainBroken {
            device: self.device,
            epoch: link.epoch,
            seq: link.first,
            cause,
        }
    }

    /// An epoch that does not begin with its first record begins with a batch that lies before the time range: so
    /// that it shows that nothing of the range was left out.
    fn front(&self, first: &Link, earliest: bool) -> Option<Finding> {
        let (from, _) = self.context.range?;
        if first.ends_us() < from.0 {
            return None;
        }
        let (device, epoch) = (self.device, first.epoch);
        let missing = of_epoch(self.context.not_arrived, epoch)
            .find(|range| range.last.advanced_by(1) == first.first);
        Some(match missing {
            Some(range) => Finding::RecordsNotArrived {
                device,
                epoch,
                first: range.first,
                last: range.last,
            },
            None if earliest => Finding::FrontOpen {
                device,
                epoch,
                seq: first.first,
            },
            None => {
                let (first, last) = (Seq::FIRST, Seq(first.first.0 - 1));
                Finding::RecordsRemoved {
                    device,
                    epoch,
                    first,
                    last,
                    known: self.context.otherwise,
                }
            }
        })
    }

    /// The first batch of an epoch must follow the last batch of another, alone.
    fn start(&self, first: &Link, gaps: &mut [GapSeen]) -> Option<Finding> {
        if first.prev == Sha256::ZERO {
            let is_very_first = self.epochs.first() == Some(&first.epoch);
            return (!is_very_first).then(|| self.broken(first, Break::Forgotten));
        }
        let Some(before) = self.by_hash.get(&first.prev) else {
            let before_range = self
                .context
                .range
                .is_some_and(|(from, _)| first.ends_us() < from.0);
            let refused = self
                .context
                .refused
                .iter()
                .any(|refusal| refusal.sha256 == first.prev);
            // Named already: what it follows is what was changed or removed.
            let named = !self.damaged.is_empty() || !self.removed.is_empty();
            if before_range || refused || named {
                return None;
            }
            let span_us = (i64::MIN, first.ends_us());
            return match GapSeen::use_up_records(gaps, 1, span_us) {
                Some(_) => None,
                None => Some(self.broken(first, Break::Unknown)),
            };
        };
        let goes_on = self
            .links
            .last_of(before.epoch)
            .is_some_and(|last| last.hash != before.hash);
        let rivals = self
            .epochs
            .iter()
            .filter_map(|epoch| self.links.first_of(*epoch));
        let winner = rivals
            .filter(|rival| rival.first == Seq::FIRST && rival.prev == first.prev)
            .min_by_key(|rival| (rival.begins_us(), rival.hash));
        let is_winner = winner.is_some_and(|winner| winner.hash == first.hash);
        (goes_on || !is_winner).then(|| self.broken(first, Break::Forked))
    }

    /// The latest batch of a time range must lie after it, or be the newest that the receiver holds.
    fn tail(&self, last: &Link) -> Option<Finding> {
        let (_, to) = self.context.range?;
        let open = last.begins_us() < to.0 && self.context.goes_on.contains(&last.epoch);
        open.then_some(Finding::TailOpen {
            device: self.device,
            epoch: last.epoch,
            seq: last.last,
        })
    }
}
