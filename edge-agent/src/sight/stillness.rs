//! Pictures that have stopped changing although the camera has noise: a frozen picture.
//!
//! A picture in which nothing moves is never twice the same, for a sensor has noise; but what an encoder leaves of it, or a
//! test picture, may be. So noise must have been seen first, all over the picture for minutes, before its absence tells anything.

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
/// How soon the calmest of times is believed, and how slowly forgotten.
const CALMER_SECONDS: f32 = 10.0;
const FORGET_SECONDS: f32 = 3600.0;

#[derive(Debug, Default)]
pub(super) struct Stillness {
    before: Option<SmallLuma>,
    /// Share of blocks that change from picture to picture at the calmest of times.
    calmest: Option<f32>,
    evidence_seconds: f32,
    still_since: Option<Duration>,
}

impl Stillness {
    /// Takes the next picture, `seconds` after the one before. Whether the picture is frozen.
    pub(super) fn update(&mut self, at: Duration, seconds: f32, luma: &SmallLuma) -> bool {
        let Some(before) = self.before.replace(luma.clone()) else {
            return false;
        };
        let changed = changed_share(&before, luma);
        let calmest = self.calmest.get_or_insert(changed);
        let is_noisy = self.evidence_seconds >= EVIDENCE_SECONDS && *calmest >= NOISY;
        if changed <= STILL && is_noisy {
            let since = *self.still_since.get_or_insert(at);
            return (at - since).as_secs_f32() >= FROZEN_SECONDS;
        }
        self.still_since = None;
        self.evidence_seconds += seconds;
        let constant = if changed < *calmest {
            CALMER_SECONDS
        } else {
            FORGET_SECONDS
        };
        *calmest += (changed - *calmest) * (1.0 - (-seconds / constant).exp());
        false
    }
}

/// Share of the blocks of which any cell is another.
fn changed_share(before: &SmallLuma, now: &SmallLuma) -> f32 {
    let (width, height) = (now.width.max(1), now.height);
    let across = width.div_ceil(BLOCK);
    let mut changed = vec![false; across * height.div_ceil(BLOCK)];
    for (index, (before, now)) in before.pixels.iter().zip(&now.pixels).enumerate() {
        let (x, y) = (index % width, index / width);
        changed[y / BLOCK * across + x / BLOCK] |= before != now;
    }
    changed.iter().filter(|changed| **changed).count() as f32 / changed.len().max(1) as f32
}
