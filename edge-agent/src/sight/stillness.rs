//! Pictures that have stopped changing although the camera has noise: a frozen picture.
//!
//! A picture in which nothing moves is never twice the same, for a sensor has noise; but what an encoder leaves of it, or a
//! test picture, may be. So noise must have been seen first, all over the picture for minutes, before its absence tells anything;
//! and in the same light, for the black of a dark room has no noise.
//!
//! A camera that freezes goes on encoding, and each key frame comes out a little different: by one grey level. Noise that is
//! stronger than that is missed where only such changes are left. Under a constant bit rate a frozen picture
//! changes by more than that, and is not told from noise.

use super::view::BLOCK;
use crate::luma::SmallLuma;
use std::time::Duration;

/// Noise must have been seen for so long ...
const EVIDENCE_SECONDS: f32 = 60.0;
/// ... in this share of the blocks, at the calmest of times,
const NOISY: f32 = 0.3;
/// and then in no more than this share ...
const STILL: f32 = 0.01;
/// ... for so long.
const FROZEN_SECONDS: f32 = 60.0;
/// Grey levels by which a cell has to be another to be called changed: each is judged by itself.
const LEVELS: [u8; 2] = [1, 2];
/// The picture is in another light than the noise was seen in, from so much of its brightness and so many grey levels on.
const OTHER_LIGHT: f32 = 0.15;
const OTHER_LIGHT_LEVELS: f32 = 4.0;
/// How soon the calmest of times is believed, and how slowly forgotten.
const CALMER_SECONDS: f32 = 10.0;
const FORGET_SECONDS: f32 = 3600.0;

#[derive(Debug, Default)]
pub(super) struct Stillness {
    before: Option<SmallLuma>,
    noises: [Noise; LEVELS.len()],
}

/// How much changes by so many grey levels.
#[derive(Debug, Default)]
struct Noise {
    /// Share of blocks that change from picture to picture at the calmest of times.
    calmest: Option<f32>,
    evidence_seconds: f32,
    /// Mean luma of the last pictures in which there was noise.
    light: f32,
    still_since: Option<Duration>,
}

impl Stillness {
    /// Takes the next picture, `seconds` after the one before. Whether the picture is frozen.
    pub(super) fn update(&mut self, at: Duration, seconds: f32, luma: &SmallLuma) -> bool {
        let Some(before) = self.before.replace(luma.clone()) else {
            return false;
        };
        let sum: u32 = luma.pixels.iter().map(|value| u32::from(*value)).sum();
        let light = sum as f32 / luma.pixels.len().max(1) as f32;
        let changed = changed_shares(&before, luma);
        let mut is_frozen = false;
        for (noise, changed) in self.noises.iter_mut().zip(changed) {
            is_frozen |= noise.update(at, seconds, changed, light);
        }
        is_frozen
    }
}

impl Noise {
    fn update(&mut self, at: Duration, seconds: f32, changed: f32, light: f32) -> bool {
        let weight = |constant: f32| 1.0 - (-seconds / constant).exp();
        if self.evidence_seconds >= EVIDENCE_SECONDS && changed <= STILL {
            let other = OTHER_LIGHT * self.light + OTHER_LIGHT_LEVELS;
            if (light - self.light).abs() > other {
                *self = Self::default();
            } else if self.calmest >= Some(NOISY) {
                let since = *self.still_since.get_or_insert(at);
                return (at - since).as_secs_f32() >= FROZEN_SECONDS;
            }
        }
        if self.evidence_seconds == 0.0 {
            self.light = light;
        }
        let calmest = self.calmest.get_or_insert(changed);
        let constant = if changed < *calmest {
            CALMER_SECONDS
        } else {
            FORGET_SECONDS
        };
        *calmest += (changed - *calmest) * weight(constant);
        self.light += (light - self.light) * weight(CALMER_SECONDS);
        self.evidence_seconds += seconds;
        self.still_since = None;
        false
    }
}

/// Share of the blocks of which any cell is another, for each of [`LEVELS`].
fn changed_shares(before: &SmallLuma, now: &SmallLuma) -> [f32; LEVELS.len()] {
    let (width, height) = (now.width.max(1), now.height);
    let across = width.div_ceil(BLOCK);
    let mut most = vec![0_u8; across * height.div_ceil(BLOCK)];
    for (index, (before, now)) in before.pixels.iter().zip(&now.pixels).enumerate() {
        let (x, y) = (index % width, index / width);
        let block = &mut most[y / BLOCK * across + x / BLOCK];
        *block = (*block).max(before.abs_diff(*now));
    }
    LEVELS.map(|level| {
        let changed = most.iter().filter(|most| **most >= level).count();
        changed as f32 / most.len().max(1) as f32
    })
}
