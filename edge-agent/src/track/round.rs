//! The hand-out of one look's detections to the tracks: what is taken is not offered again. Pure.

use super::followed::Followed;
use super::{TrackerConfig, assign};
use crate::detect::Detection;
use crate::geometry;
use std::time::Duration;

pub(super) struct Round<'a> {
    tracks: &'a mut [Followed],
    detections: &'a [Detection],
    taken: Vec<bool>,
    at: Duration,
    config: &'a TrackerConfig,
}

impl<'a> Round<'a> {
    pub fn new(
        tracks: &'a mut [Followed],
        detections: &'a [Detection],
        at: Duration,
        config: &'a TrackerConfig,
    ) -> Self {
        Self {
            taken: vec![false; detections.len()],
            tracks,
            detections,
            at,
            config,
        }
    }

    /// One stage: gives detections that are left to tracks that are left, so that the sum of `likeness` is largest;
    /// no pair below `least`.
    pub fn give(
        &mut self,
        offered: &[usize],
        least: f32,
        likeness: impl Fn(&Followed, &Detection) -> f32,
    ) {
        let offered = self.left(offered);
        let waiting: Vec<usize> = (0..self.tracks.len())
            .filter(|index| self.tracks[*index].detection.is_none())
            .collect();
        let pairs = assign::best_pairs(waiting.len(), offered.len(), least, |row, column| {
            likeness(
                &self.tracks[waiting[row]],
                &self.detections[offered[column]],
            )
        });
        for (row, column) in pairs {
            let index = offered[column];
            self.taken[index] = true;
            self.tracks[waiting[row]].found(self.at, index, &self.detections[index], self.config);
        }
    }

    /// What is left and is not an object once more that has a detection already: one of the same class that overlaps by
    /// more than `most`.
    pub fn new_objects(&mut self, offered: &[usize], most: f32) -> Vec<usize> {
        let mut new = self.left(offered);
        new.retain(|index| {
            let found = &self.detections[*index];
            let given = std::iter::zip(self.detections, &self.taken).filter(|(_, taken)| **taken);
            let mut same_class = given.filter(|(other, _)| other.class == found.class);
            let again = same_class.any(|(other, _)| geometry::iou(&other.rect, &found.rect) > most);
            self.taken[*index] = !again;
            !again
        });
        new
    }

    fn left(&self, offered: &[usize]) -> Vec<usize> {
        let free = |index: &usize| !self.taken[*index];
        offered.iter().copied().filter(free).collect()
    }
}
