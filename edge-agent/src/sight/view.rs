//! What a camera looks at, told by where edges lie and which way they run.
//!
//! Edges stay where they are when the sun moves, the lamps go on or the camera changes to infra-red; brightness does not.
//! Block by block, because a part of the picture may well be hidden by a lorry, too dark or too bright.

use crate::luma::SmallLuma;

/// Cells along the side of a block.
pub(super) const BLOCK: usize = 10;
/// Mean square of the gradient in grey levels from which on a block shows something.
const LEAST_ENERGY: f32 = 6.0;
/// Correlation of gradients from which on a block shows what it ought to. Blocks of two pictures of different places
/// seldom reach half of it.
const SAME: f32 = 0.4;

/// Brightness differences to the right and downwards of each cell, sorted by blocks: neighbours in a block are neighbours
/// here.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    gradients: Vec<[f32; 2]>,
    /// Where each block ends in `gradients`.
    ends: Vec<usize>,
    /// Variance of the brightness in each block.
    variances: Vec<f32>,
}

/// What two pictures, one after the other, show of each block.
#[derive(Debug)]
pub(super) struct Shown {
    /// Mean square gradient that both pictures have: noise, rain and snow are not the same twice.
    energies: Vec<f32>,
}

/// How a picture compares with another place or time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Likeness {
    /// Blocks that show something in both.
    pub(super) compared: usize,
    /// Those of them that show the same.
    pub(super) same: usize,
}

impl View {
    pub(super) fn of(luma: &SmallLuma) -> Self {
        let (width, height) = (luma.width, luma.height);
        let mut view = Self::default();
        for top in (0..height.saturating_sub(1)).step_by(BLOCK) {
            for left in (0..width.saturating_sub(1)).step_by(BLOCK) {
                let (mut sum, mut squares) = (0.0, 0.0);
                for y in top..(top + BLOCK).min(height - 1) {
                    for x in left..(left + BLOCK).min(width - 1) {
                        let value = |at: usize| f32::from(luma.pixels[at]);
                        let at = y * width + x;
                        view.gradients
                            .push([value(at + 1) - value(at), value(at + width) - value(at)]);
                        sum += value(at);
                        squares += value(at) * value(at);
                    }
                }
                let before = view.ends.last().copied().unwrap_or(0);
                let cells = (view.gradients.len() - before) as f32;
                view.variances
                    .push(squares / cells - (sum / cells) * (sum / cells));
                view.ends.push(view.gradients.len());
            }
        }
        view
    }

    /// Deviation of the brightness in the tenth of the blocks that has most of it, in grey levels. A lens out of focus
    /// leaves it nearly as it was.
    pub(super) fn relief(&self) -> f32 {
        root_of_highest_tenth(&self.variances)
    }

    pub(super) fn blocks(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_of_size(&self, other: &Self) -> bool {
        self.ends == other.ends
    }

    pub(super) fn shown_with(&self, before: &Self) -> Shown {
        let energies = self.block_ranges().map(|range| {
            let cells = range.len().max(1) as f32;
            dot(&self.gradients[range.clone()], &before.gradients[range]) / cells
        });
        Shown {
            energies: energies.collect(),
        }
    }

    /// Compares what is `shown` of this picture with what the `reference` shows.
    pub(super) fn likeness(&self, shown: &Shown, reference: &Self) -> Likeness {
        let mut likeness = Likeness::default();
        for (range, energy) in self.block_ranges().zip(&shown.energies) {
            let cells = range.len().max(1) as f32;
            let (mine, other) = (&self.gradients[range.clone()], &reference.gradients[range]);
            let other_energy = dot(other, other) / cells;
            if *energy < LEAST_ENERGY || other_energy < LEAST_ENERGY {
                continue;
            }
            likeness.compared += 1;
            let correlation = dot(mine, other) / cells / (energy * other_energy).sqrt();
            likeness.same += usize::from(correlation > SAME);
        }
        likeness
    }

    /// Goes towards `other` by `weight`, where that shows something: what is dark now is still known.
    pub(super) fn approach(&mut self, other: &Self, shown: &Shown, weight: f32) {
        let ranges: Vec<_> = self.block_ranges().collect();
        for (range, energy) in ranges.into_iter().zip(&shown.energies) {
            if *energy < LEAST_ENERGY {
                continue;
            }
            let cells = self.gradients[range.clone()].iter_mut();
            for (mine, other) in cells.zip(&other.gradients[range]) {
                for (mine, other) in mine.iter_mut().zip(other) {
                    *mine += (other - *mine) * weight;
                }
            }
        }
    }

    /// Blocks that show something.
    pub(super) fn busy_blocks(&self) -> usize {
        self.shown_with(self).busy_blocks()
    }

    fn block_ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| start..*end)
    }
}

impl Shown {
    pub(super) fn busy_blocks(&self) -> usize {
        let busy = self
            .energies
            .iter()
            .filter(|energy| **energy >= LEAST_ENERGY);
        busy.count()
    }

    /// Gradient of the tenth of the blocks that has most of it, root mean square in grey levels for each cell.
    pub(super) fn contrast(&self) -> f32 {
        root_of_highest_tenth(&self.energies)
    }
}

fn root_of_highest_tenth(values: &[f32]) -> f32 {
    let mut highest = values.to_vec();
    highest.sort_by(|a, b| b.total_cmp(a));
    highest.truncate(highest.len().div_ceil(10));
    let sum: f32 = highest.iter().map(|value| value.max(0.0)).sum();
    (sum / highest.len().max(1) as f32).sqrt()
}

fn dot(a: &[[f32; 2]], b: &[[f32; 2]]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| a[0] * b[0] + a[1] * b[1])
        .sum()
}
