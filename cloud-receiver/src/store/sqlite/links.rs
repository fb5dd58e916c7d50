//! Pure: which of the batches that name the same predecessor is its true successor.
//!
//! The rules, which give the same answer in whatever order batches arrive:
//! - A batch whose predecessor is not here yet is *pending*.
//! - Within an epoch the successor is the batch that goes on with the next record number.
//! - The first batch of another epoch may follow the last batch of an epoch, if no batch of the same epoch does.
//!   When several epochs claim it - a spool restored from a copy - the earliest captured one is the successor.
//! - No predecessor (zeros) is right for the very first batch of a device only: the first batch of an epoch, and
//!   of several such the earliest captured. A spool that was wiped therefore shows as a break.
//! - Everything else is *broken*.

use wire::{Epoch, Seq, Sha256};

/// What decides about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) hash: Sha256,
    pub(super) epoch: Epoch,
    pub(super) first: Seq,
    pub(super) last: Seq,
    /// Corrected capture time of its first record, UTC microseconds.
    pub(super) captured_us: i64,
}

/// What a batch names as the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Zeros.
    Nothing,
    Known(Node),
}

/// Lower follows better; `None` cannot follow at all.
pub(super) fn rank(before: Before, batch: &Node) -> Option<(u8, i64, Sha256)> {
    let starts_epoch = batch.first == Seq::FIRST;
    let class = match before {
        Before::Nothing if starts_epoch => 0,
        Before::Known(known) if known.epoch == batch.epoch => {
            (batch.first.0 == known.last.0 + 1).then_some(0)?
        }
        Before::Known(_) if starts_epoch => 1,
        Before::Nothing | Before::Known(_) => return None,
    };
    Some((class, batch.captured_us, batch.hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, epoch: u64, first: u64, last: u64, captured_us: i64) -> Node {
        Node {
            hash: Sha256::of(name.as_bytes()),
            epoch: Epoch(epoch),
            first: Seq(first),
            last: Seq(last),
            captured_us,
        }
    }

    #[test]
    fn the_next_number_of_the_same_epoch_beats_a_new_epoch_which_beats_a_later_one() {
        let before = Before::Known(node("before", 1, 1, 4, 0));
        let same_epoch = rank(before, &node("a", 1, 5, 6, 90));
        let new_epoch = rank(before, &node("b", 2, 1, 1, 50));
        let later_epoch = rank(before, &node("c", 3, 1, 1, 60));
        assert!(same_epoch.is_some() && same_epoch < new_epoch && new_epoch < later_epoch);
    }

    #[test]
    fn what_leaves_out_records_cannot_follow() {
        let before = Before::Known(node("before", 1, 1, 4, 0));
        assert_eq!(rank(before, &node("skips", 1, 6, 6, 0)), None);
        assert_eq!(rank(before, &node("starts late", 2, 2, 2, 0)), None);
        assert_eq!(
            rank(Before::Nothing, &node("starts late", 2, 2, 2, 0)),
            None
        );
    }
}
