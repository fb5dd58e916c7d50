//! The receiver's word that it has stored records: the only thing that lets a device forget them.

use crate::ids::{Epoch, Seq};
use crate::time::UtcMicros;
use serde::{Deserialize, Serialize};

/// Most hole ranges one receipt names. With more, `through` stops before the first range that does not fit.
pub const MAX_HOLES: usize = 64;

/// "Of this epoch I hold every record up to `through`, but for `holes`."
///
/// Sent after the commit, never before. A later receipt may say more, never less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub epoch: Epoch,
    /// Highest record number this receipt speaks of; 0 speaks of none.
    pub through: Seq,
    /// Ranges at or below `through` that are not there yet, ascending, not touching.
    #[serde(default)]
    pub holes: Vec<SeqRange>,
    /// Records refused for good; they count as answered, are parked on the device and reported.
    #[serde(default)]
    pub rejected: Vec<Rejected>,
    /// The receiver's clock; a device that has verified the receiver may raise its time floor from it.
    pub receiver_time_us: UtcMicros,
}

/// An inclusive range of record numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqRange {
    pub first: Seq,
    pub last: Seq,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    pub seq: Seq,
    /// Stable word for programs: `bad_signature`, `bad_shape`, `oversized`, `foreign_camera`, ...
    pub code: String,
}

impl Receipt {
    /// Whether every record of `first ..= last` is stored or refused for good.
    pub fn settles(&self, epoch: Epoch, first: Seq, last: Seq) -> bool {
        self.epoch == epoch
            && last <= self.through
            && !self
                .holes
                .iter()
                .any(|hole| hole.first <= last && first <= hole.last)
    }

    /// Builds a receipt from the ranges the receiver holds (ascending, not overlapping).
    pub fn from_stored(epoch: Epoch, stored: &[SeqRange], now: UtcMicros) -> Self {
        let mut receipt = Self {
            epoch,
            through: Seq(0),
            holes: Vec::new(),
            rejected: Vec::new(),
            receiver_time_us: now,
        };
        for range in stored {
            let expected = receipt.through.advanced_by(1);
            if range.first > expected {
                if receipt.holes.len() == MAX_HOLES {
                    break;
                }
                receipt.holes.push(SeqRange {
                    first: expected,
                    last: Seq(range.first.0 - 1),
                });
            }
            receipt.through = receipt.through.max(range.last);
        }
        receipt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange {
            first: Seq(first),
            last: Seq(last),
        }
    }

    fn of(stored: &[SeqRange]) -> Receipt {
        Receipt::from_stored(Epoch(1), stored, UtcMicros(0))
    }

    #[test]
    fn holes_are_what_is_missing_below_through() {
        let receipt = of(&[range(1, 3), range(4, 4), range(8, 9)]);
        assert_eq!(receipt.through, Seq(9));
        assert_eq!(receipt.holes, [range(5, 7)]);
    }

    #[test]
    fn an_epoch_whose_start_is_missing_has_a_hole_at_its_start() {
        assert_eq!(of(&[range(3, 4)]).holes, [range(1, 2)]);
    }

    #[test]
    fn settles_only_what_is_wholly_there() {
        let receipt = of(&[range(1, 3), range(8, 9)]);
        assert!(receipt.settles(Epoch(1), Seq(1), Seq(3)));
        assert!(receipt.settles(Epoch(1), Seq(8), Seq(9)));
        assert!(!receipt.settles(Epoch(1), Seq(3), Seq(4)));
        assert!(!receipt.settles(Epoch(1), Seq(9), Seq(10)));
        assert!(!receipt.settles(Epoch(2), Seq(1), Seq(3)));
    }

    #[test]
    fn too_many_holes_shorten_the_receipt_instead_of_lying() {
        let stored: Vec<_> = (1..200).map(|i| range(i * 2, i * 2)).collect();
        let receipt = of(&stored);
        assert_eq!(receipt.holes.len(), MAX_HOLES);
        assert_eq!(receipt.through, Seq(2 * MAX_HOLES as u64));
        assert!(!receipt.settles(Epoch(1), Seq(300), Seq(300)));
    }
}
