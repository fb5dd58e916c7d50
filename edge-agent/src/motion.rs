//! Where something moves in the pictures of one camera. Pure; time comes with the picture.

use crate::luma::SmallLuma;
use std::time::Duration;
use wire::record::NormBox;

/// What moves in one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Motion {
    pub moving: bool,
    /// Share of the picture that moves, 0..=1.
    pub share: f32,
    /// Where, joined to boxes that may hold an object each; largest first.
    pub regions: Vec<NormBox>,
}

/// Learns what a camera's picture looks like while nothing moves.
#[derive(Clone, Debug, Default)]
pub struct MotionModel;

impl MotionModel {
    /// `masks` are polygons in fractions of the picture where nothing counts as motion: a tree, a flag, a time of day.
    pub fn new(_masks: &[Vec<[f32; 2]>]) -> Self {
        Self
    }

    /// Takes the next picture, taken `at` on the boot clock. Pictures may be seconds apart.
    pub fn update(&mut self, _at: Duration, _luma: &SmallLuma) -> Motion {
        Motion {
            moving: true,
            share: 1.0,
            regions: Vec::new(),
        }
    }
}
