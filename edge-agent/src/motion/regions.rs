//! Changed cells joined to things, and things to boxes.

use super::background::Background;
use crate::geometry;
use wire::record::NormBox;

/// A cell changed by this much of its threshold belongs to a thing of which another part is changed beyond doubt.
pub(super) const WEAK: f32 = 0.7;
/// A thing has at least so many cells, and so much excess in all; no cell counts for more than `STRONGEST`.
const LEAST_CELLS: usize = 3;
const LEAST_EXCESS: f32 = 4.5;
/// The same where no picture a moment ago can confirm it: encoders turn noise into blocks of several cells, in one key frame
/// of seven at 4.5. A walker of 2 x 4 cells has 15 and more.
const LEAST_EXCESS_ONCE: f32 = 10.0;
const STRONGEST: f32 = 3.0;
/// Cells across and down over which parts of a thing are joined: legs and trunk of a person come apart more often than
/// two people who walk side by side.
const JOIN: (usize, usize) = (1, 2);
/// One in so many of its cells must have been changed in the picture before; of a thing of so many cells, nearby.
const TWICE: usize = 4;
const LARGER_CELLS: usize = 12;
/// A thing of which so much has not changed for a while stands still.
const STILL_PART: f32 = 0.9;
/// How much more contrast its outline must have in the background than in the picture to be what something left behind.
const GHOST_CONTRAST: f32 = 1.4;
/// Room around a thing on each side: at least so many cells, else so much of its size.
const MARGIN_CELLS: f32 = 2.0;
const MARGIN: f32 = 0.15;
/// Boxes that share so much of the smaller one are one.
const SHARED: f32 = 0.3;

/// What is known of one picture.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) width: usize,
    /// In thresholds for each cell.
    pub(super) excess: &'a [f32],
    pub(super) background: &'a Background,
    pub(super) pixels: &'a [u8],
    /// What has stayed for so long is still.
    pub(super) still_seconds: f32,
    /// What has stayed for so long may be a ghost.
    pub(super) ghost_seconds: f32,
    /// The picture before was taken a moment ago: what moves was changed in it, too, at about the same place.
    pub(super) is_film: bool,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) boxes: Vec<NormBox>,
    /// Cells of all moving things.
    pub(super) moving_cells: usize,
    /// Cells where something has gone that the background had learned.
    pub(super) ghosts: Vec<usize>,
}

pub(super) fn find(change: &Change<'_>) -> Found {
    let mut found = Found::default();
    for thing in things(change) {
        if !change.is_enough(&thing) {
            continue;
        }
        if change.is_ghost(&thing) {
            found.ghosts.extend(thing);
        } else if change.is_seen_twice(&thing) && !change.is_still(&thing) {
            found.moving_cells += thing.len();
            found.boxes.push(change.box_of(&thing));
        }
    }
    found.boxes = join(found.boxes);
    found
}

/// Cells that belong together, each cell once.
fn things(change: &Change<'_>) -> Vec<Vec<usize>> {
    let (width, excess) = (change.width, change.excess);
    let height = excess.len() / width.max(1);
    let mut taken = vec![false; excess.len()];
    let mut things = Vec::new();
    for seed in (0..excess.len()).filter(|index| excess[*index] > 1.0) {
        if taken[seed] {
            continue;
        }
        taken[seed] = true;
        let mut thing = vec![seed];
        let mut next = 0;
        while let Some(index) = thing.get(next).copied() {
            next += 1;
            let (x, y) = (index % width, index / width);
            for y in y.saturating_sub(1 + JOIN.1)..(y + 2 + JOIN.1).min(height) {
                for x in x.saturating_sub(1 + JOIN.0)..(x + 2 + JOIN.0).min(width) {
                    let other = y * width + x;
                    if excess[other] > WEAK && !taken[other] {
                        taken[other] = true;
                        thing.push(other);
                    }
                }
            }
        }
        things.push(thing);
    }
    things
}

impl Change<'_> {
    fn is_enough(&self, thing: &[usize]) -> bool {
        let excess: f32 = thing
            .iter()
            .map(|index| self.excess[*index].min(STRONGEST))
            .sum();
        let least = if self.is_film {
            LEAST_EXCESS
        } else {
            LEAST_EXCESS_ONCE
        };
        thing.len() >= LEAST_CELLS && excess >= least
    }

    /// A flash, a drop or a flake is gone in the next picture of a film. What is larger than those may be fast: it may have
    /// moved by its own size.
    fn is_seen_twice(&self, thing: &[usize]) -> bool {
        if !self.is_film {
            return true;
        }
        let was_changed = |index: &usize| self.background.was_changed(*index);
        let there = thing.iter().copied().filter(was_changed).count();
        if thing.len() < LARGER_CELLS {
            return there * TWICE >= thing.len();
        }
        let ([left, top], [right, bottom]) = self.corners(thing);
        let (across, down) = (right - left, bottom - top);
        let last_row = (self.excess.len() / self.width).min(bottom + down);
        let around = (top.saturating_sub(down)..last_row).flat_map(|y| {
            let row = y * self.width;
            row + left.saturating_sub(across)..row + self.width.min(right + across)
        });
        around.filter(was_changed).count() * TWICE >= thing.len()
    }

    fn is_still(&self, thing: &[usize]) -> bool {
        self.stayed_part(thing, self.still_seconds) >= STILL_PART
    }

    /// Part of the surely changed cells that have stayed so long.
    fn stayed_part(&self, thing: &[usize], seconds: f32) -> f32 {
        let changed = thing.iter().filter(|index| self.excess[**index] > 1.0);
        let (mut stayed, mut all) = (0, 0);
        for index in changed {
            all += 1;
            stayed += usize::from(self.background.stayed(*index) >= seconds);
        }
        stayed as f32 / all.max(1) as f32
    }

    /// Something that stays, and whose outline is in the background but not in the picture.
    fn is_ghost(&self, thing: &[usize]) -> bool {
        if self.stayed_part(thing, self.ghost_seconds) < STILL_PART {
            return false;
        }
        let mean = self.background.mean();
        let (mut in_picture, mut in_background) = (0.0, 0.0);
        for inner in thing.iter().copied() {
            let (x, last) = (inner % self.width, self.width - 1);
            let neighbours = [
                (x > 0).then(|| inner - 1),
                (x < last).then(|| inner + 1),
                inner.checked_sub(self.width),
                Some(inner + self.width).filter(|below| *below < mean.len()),
            ];
            for outer in neighbours.into_iter().flatten() {
                if self.excess[outer] <= WEAK {
                    in_picture += f32::from(self.pixels[inner].abs_diff(self.pixels[outer]));
                    in_background += (mean[inner] - mean[outer]).abs();
                }
            }
        }
        in_background > GHOST_CONTRAST * in_picture
    }

    /// First column and row of a thing, and those behind its last.
    fn corners(&self, thing: &[usize]) -> ([usize; 2], [usize; 2]) {
        let nothing = ([usize::MAX; 2], [0; 2]);
        thing
            .iter()
            .fold(nothing, |([left, top], [right, bottom]), index| {
                let (x, y) = (index % self.width, index / self.width);
                (
                    [left.min(x), top.min(y)],
                    [right.max(x + 1), bottom.max(y + 1)],
                )
            })
    }

    /// With room around it, cut to the picture.
    fn box_of(&self, thing: &[usize]) -> NormBox {
        let ([left, top], [right, bottom]) = self.corners(thing);
        let margin = |size: usize| (size as f32 * MARGIN).max(MARGIN_CELLS);
        let (across, down) = (margin(right - left), margin(bottom - top));
        let (width, height) = (self.width as f32, (self.excess.len() / self.width) as f32);
        geometry::from_corners(
            (left as f32 - across) / width,
            (top as f32 - down) / height,
            (right as f32 + across) / width,
            (bottom as f32 + down) / height,
        )
    }
}

/// Joins boxes until no two share much; largest first.
fn join(mut boxes: Vec<NormBox>) -> Vec<NormBox> {
    let mut joined: Vec<NormBox> = Vec::new();
    while let Some(mut one) = boxes.pop() {
        let meets = |other: &NormBox| {
            let smaller = geometry::area(&one).min(geometry::area(other));
            geometry::overlap(&one, other) > SHARED * smaller
        };
        match joined.iter().position(meets) {
            // What has grown may meet others: it goes round once more.
            Some(index) => {
                one = around_both(&one, &joined.swap_remove(index));
                boxes.push(one);
            }
            None => joined.push(one),
        }
    }
    joined.sort_by(|a, b| geometry::area(b).total_cmp(&geometry::area(a)));
    joined
}

fn around_both(a: &NormBox, b: &NormBox) -> NormBox {
    geometry::from_corners(
        a.x.min(b.x),
        a.y.min(b.y),
        (a.x + a.w).max(b.x + b.w),
        (a.y + a.h).max(b.y + b.h),
    )
}
