//! How good are tracks, against the truth: the two measures everybody reports. Pure.
//!
//! - CLEAR MOT (Bernardin and Stiefelhagen, EURASIP J. Image and Video Processing 2008, doi:10.1155/2008/246309): a true
//!   object stays paired with the track it had as long as the two overlap; what is left is paired anew, as many as
//!   possible and then as well as possible. Counts misses, false boxes and switches of identity.
//! - IDF1 (Ristani et al., ECCV workshops 2016, arXiv:1609.01775): one track for each true object over the whole film,
//!   chosen so that most boxes agree; F1 of the boxes under that choice.
//!
//! The counts are those of the Python package `motmetrics`; `scripts/compare_motmetrics.py` compares the two on what the bench
//! wrote.

use edge_agent::geometry;
use edge_agent::track::assign::best_pairs;
use std::collections::BTreeMap;
use wire::record::NormBox;

/// A box with the identity it is said to have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marked {
    pub id: u64,
    pub rect: NormBox,
}

/// The boxes of one frame.
pub type Marks = Vec<Marked>;

/// Least overlap (IoU) that makes two boxes the same object.
pub const LEAST_IOU: f32 = 0.5;

/// The figures of one film. Ratios of nothing are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Boxes in the truth.
    pub real: usize,
    /// Boxes published.
    pub found: usize,
    /// Pairs of the two.
    pub paired: usize,
    /// Times a true object was paired with another track than before.
    pub switches: usize,
    /// Times a true object was lost between two sightings.
    pub fragmentations: usize,
    /// Sum of the overlaps (IoU) of all pairs.
    pub overlap: f64,
    /// Pairs that agree with the best choice of one track for each object.
    pub identified: usize,
}

impl Figures {
    /// `truth` and `tracks` hold the same frames in the same order.
    pub fn of(truth: &[Marks], tracks: &[Marks]) -> Self {
        assert_eq!(truth.len(), tracks.len(), "frames of truth and of tracks");
        let mut figures = Self::default();
        let mut lives: BTreeMap<u64, Life> = BTreeMap::new();
        for (truth, tracks) in std::iter::zip(truth, tracks) {
            figures.add(truth, tracks, &mut lives);
        }
        figures.identified = identified(truth, tracks);
        figures
    }

    fn add(&mut self, truth: &Marks, tracks: &Marks, lives: &mut BTreeMap<u64, Life>) {
        self.real += truth.len();
        self.found += tracks.len();
        let mut taken = vec![false; tracks.len()];
        let mut pair_of: Vec<Option<usize>> = vec![None; truth.len()];
        for (object, pair) in std::iter::zip(truth, &mut pair_of) {
            let before = lives.get(&object.id).map(|life| life.track);
            let same = |(index, track): (usize, &Marked)| {
                let stays = Some(track.id) == before && !taken[index];
                stays && geometry::iou(&object.rect, &track.rect) >= LEAST_IOU
            };
            *pair = tracks.iter().enumerate().position(same);
            if let Some(index) = *pair {
                taken[index] = true;
            }
        }
        for (row, column) in new_pairs(truth, &pair_of, tracks, &taken) {
            pair_of[row] = Some(column);
        }
        for (object, pair) in std::iter::zip(truth, pair_of) {
            let life = lives.get_mut(&object.id);
            let Some(track) = pair.map(|index| tracks[index]) else {
                if let Some(life) = life {
                    life.lost = true;
                }
                continue;
            };
            self.paired += 1;
            self.overlap += f64::from(geometry::iou(&object.rect, &track.rect));
            if let Some(life) = life {
                self.switches += usize::from(life.track != track.id);
                self.fragmentations += usize::from(life.lost);
            }
            let (track, lost) = (track.id, false);
            lives.insert(object.id, Life { track, lost });
        }
    }

    pub fn recall(&self) -> f64 {
        ratio(self.paired as f64, self.real)
    }

    pub fn precision(&self) -> f64 {
        ratio(self.paired as f64, self.found)
    }

    /// Multiple object tracking accuracy: 1 less misses, false boxes and switches by true boxes. May be negative.
    pub fn mota(&self) -> f64 {
        let wrong = (self.real - self.paired) + (self.found - self.paired) + self.switches;
        1.0 - ratio(wrong as f64, self.real)
    }

    /// Multiple object tracking precision: mean overlap (IoU) of the pairs. `motmetrics` gives 1 less this.
    pub fn motp(&self) -> f64 {
        ratio(self.overlap, self.paired)
    }

    pub fn idf1(&self) -> f64 {
        ratio(2.0 * self.identified as f64, self.real + self.found)
    }
}

/// What is known of a true object that was paired at least once.
struct Life {
    /// The track it was last paired with.
    track: u64,
    /// It was there since, and unpaired.
    lost: bool,
}

/// Pairs what has none: as many as possible, among those the best overlaps.
fn new_pairs(
    truth: &Marks,
    pair_of: &[Option<usize>],
    tracks: &Marks,
    taken: &[bool],
) -> Vec<(usize, usize)> {
    // A pair more counts for more than any overlap.
    const OVERLAP_COUNTS: f32 = 0.01;
    let rows: Vec<usize> = (0..truth.len())
        .filter(|row| pair_of[*row].is_none())
        .collect();
    let columns: Vec<usize> = (0..tracks.len()).filter(|column| !taken[*column]).collect();
    let likeness = |row: usize, column: usize| {
        let iou = geometry::iou(&truth[rows[row]].rect, &tracks[columns[column]].rect);
        match iou >= LEAST_IOU {
            true => 1.0 - OVERLAP_COUNTS * (1.0 - iou),
            false => 0.0,
        }
    };
    let pairs = best_pairs(rows.len(), columns.len(), 0.5, likeness);
    let there = |(row, column): (usize, usize)| (rows[row], columns[column]);
    pairs.into_iter().map(there).collect()
}

/// Boxes that agree if every object is given the one track, and every track the one object, that together agree most.
fn identified(truth: &[Marks], tracks: &[Marks]) -> usize {
    let mut agree: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (truth, tracks) in std::iter::zip(truth, tracks) {
        for object in truth {
            let close = |track: &&Marked| geometry::iou(&object.rect, &track.rect) >= LEAST_IOU;
            for track in tracks.iter().filter(close) {
                *agree.entry((object.id, track.id)).or_default() += 1;
            }
        }
    }
    let ids = |side: fn(&(u64, u64)) -> u64| -> Vec<u64> {
        let all: std::collections::BTreeSet<u64> = agree.keys().map(side).collect();
        all.into_iter().collect()
    };
    let (objects, names) = (ids(|pair| pair.0), ids(|pair| pair.1));
    let most = agree.values().copied().max().unwrap_or(1) as f32;
    let count = |row: usize, column: usize| {
        let pair = (objects[row], names[column]);
        agree.get(&pair).copied().unwrap_or(0)
    };
    let likeness = |row, column| count(row, column) as f32 / most;
    let pairs = best_pairs(objects.len(), names.len(), 0.5 / most, likeness);
    pairs
        .into_iter()
        .map(|(row, column)| count(row, column))
        .sum()
}

fn ratio(part: f64, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part / whole as f64 }
}
