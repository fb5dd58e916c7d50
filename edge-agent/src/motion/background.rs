//! What each cell of a picture usually shows, and how far it usually strays from that.

use super::light::{FORGIVEN, Light};

/// Time constants of learning, in seconds: of the mean; of the deviation, which rises sooner than it falls, so that the
/// pause between two gusts of wind is not forgotten at once; and of how often a cell flickers, of which only a film tells
/// the truth.
const MEAN_SECONDS: f32 = 8.0;
const MEAN_HASTY_SECONDS: f32 = 0.5;
const MEAN_FORGIVEN_SECONDS: f32 = 0.5;
const DEVIATION_UP_SECONDS: f32 = 10.0;
const DEVIATION_DOWN_SECONDS: f32 = 60.0;
const FLICKER_FILM_SECONDS: f32 = 15.0;
const FLICKER_SLOW_SECONDS: f32 = 300.0;

/// A cell that changes and changes back more often than this, per second, shows nothing but flicker. People who pass do not
/// come every other second.
const FLICKERING: f32 = 0.4;

/// Change that is always noticed less than this, in grey levels, is none: the floor under a camera without noise.
const LEAST_CHANGE: f32 = 6.0;
/// Threshold in deviations. The deviation leans to its upper side, near 1.5 sigma, so this is 5 sigma.
const DEVIATIONS: f32 = 3.3;
/// Least threshold in what the whole picture strays by at this moment: when a night's gain comes up, no cell is first.
const SPREADS: f32 = 7.0;
const MOST_SPREAD: f32 = 16.0;
/// Deviation assumed until it is known, in grey levels.
const DEVIATION_AT_FIRST: f32 = 2.0;
/// How far the estimate of a change of light may be wrong, as part of that change.
const LIGHT_DOUBT: f32 = 0.2;
/// How far beyond its threshold a cell may pull its deviation up by one picture, in thresholds.
const PULL: f32 = 3.0;

/// What learning depends on in one picture.
#[derive(Debug)]
pub(super) struct Rates {
    /// Since the picture before.
    pub(super) seconds: f32,
    /// So far, this one too.
    pub(super) pictures: u32,
    pub(super) is_film: bool,
    /// What stays for so long is background.
    pub(super) absorb_seconds: f32,
    /// Much of the picture has just changed.
    pub(super) is_hasty: bool,
}

impl Rates {
    /// Weight of this picture for a time constant, in seconds.
    fn weight(&self, constant_seconds: f32) -> f32 {
        1.0 - (-self.seconds / constant_seconds).exp()
    }
}

/// One value of each kind for each cell, rows first.
#[derive(Clone, Debug)]
pub(super) struct Background {
    mean: Vec<f32>,
    /// Mean absolute, in grey levels.
    deviation: Vec<f32>,
    /// Changes from calm to changed, per second.
    flicker: Vec<f32>,
    /// What a changed cell shows, and for how many seconds it has shown just that.
    newcomer: Vec<u8>,
    stayed: Vec<f32>,
    /// Whether the cell was changed in the picture before.
    changed: Vec<bool>,
}

impl Background {
    pub(super) fn new(pixels: &[u8]) -> Self {
        let cells = pixels.len();
        Self {
            mean: pixels.iter().map(|pixel| f32::from(*pixel)).collect(),
            deviation: vec![DEVIATION_AT_FIRST; cells],
            flicker: vec![0.0; cells],
            newcomer: pixels.to_vec(),
            stayed: vec![0.0; cells],
            changed: vec![false; cells],
        }
    }

    pub(super) fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Seconds for which cell `index` has shown the same change.
    pub(super) fn stayed(&self, index: usize) -> f32 {
        self.stayed[index]
    }

    /// Whether cell `index` was changed in the picture before.
    pub(super) fn was_changed(&self, index: usize) -> bool {
        self.changed[index]
    }

    /// Takes a change of light of the whole picture into what is expected.
    pub(super) fn relight(&mut self, light: Light) {
        if light.is_same() {
            return;
        }
        for mean in &mut self.mean {
            *mean = light.of_value(*mean);
        }
    }

    /// How far each cell is from what is expected, in thresholds: above 1 is changed. Zero where nothing counts.
    pub(super) fn excess(&self, pixels: &[u8], light: Light, open: &[bool]) -> Vec<f32> {
        let cells = self.mean.iter().zip(&self.deviation).zip(pixels).zip(open);
        let least = (SPREADS * light.spread()).clamp(LEAST_CHANGE, MOST_SPREAD);
        cells
            .map(|(((mean, deviation), pixel), open)| {
                let doubt = LIGHT_DOUBT * light.shift_to(*mean).abs();
                let limit = (DEVIATIONS * deviation).max(least) + doubt;
                let distance = (f32::from(*pixel) - mean).abs();
                if *open { distance / limit } else { 0.0 }
            })
            .collect()
    }

    /// Learns from a picture: all of what is calm, of what is changed only whether it flickers and whether it stays.
    pub(super) fn learn(&mut self, pixels: &[u8], excess: &[f32], rates: &Rates) {
        // At first every picture counts the same.
        let at_first = 1.0 / rates.pictures as f32;
        let mean_weight = rates.weight(if rates.is_hasty {
            MEAN_HASTY_SECONDS
        } else {
            MEAN_SECONDS
        });
        let mean_weight = mean_weight.max(at_first);
        let forgiven_weight = rates.weight(MEAN_FORGIVEN_SECONDS);
        let up = rates.weight(DEVIATION_UP_SECONDS);
        let down = rates.weight(DEVIATION_DOWN_SECONDS);
        let flicker_weight = rates.weight(if rates.is_film {
            FLICKER_FILM_SECONDS
        } else {
            FLICKER_SLOW_SECONDS
        });
        for (index, (pixel, excess)) in pixels.iter().zip(excess).enumerate() {
            let value = f32::from(*pixel);
            let is_changed = *excess > 1.0;
            let onset = if is_changed && !self.changed[index] {
                1.0 / rates.seconds.max(0.01)
            } else {
                0.0
            };
            self.flicker[index] += (onset - self.flicker[index]) * flicker_weight;
            // A light that lasts, not a flash.
            if *excess == FORGIVEN && self.changed[index] {
                self.mean[index] += (value - self.mean[index]) * forgiven_weight;
            } else if *excess >= 0.0 && !is_changed || self.flicker[index] > FLICKERING {
                let distance = value - self.mean[index];
                self.mean[index] += distance * mean_weight;
                let limit = (DEVIATIONS * self.deviation[index]).max(LEAST_CHANGE);
                let step = distance.abs().min(PULL * limit) - self.deviation[index];
                self.deviation[index] += step * if step > 0.0 { up } else { down };
            }
            self.wait(index, *pixel, is_changed, rates);
        }
    }

    /// Whether what a changed cell shows stays, and has stayed long enough to be background.
    fn wait(&mut self, index: usize, pixel: u8, is_changed: bool, rates: &Rates) {
        if !is_changed {
            self.stayed[index] = 0.0;
            self.newcomer[index] = pixel;
            return;
        }
        let limit = (DEVIATIONS * self.deviation[index]).max(LEAST_CHANGE);
        if f32::from(pixel.abs_diff(self.newcomer[index])) > limit {
            self.stayed[index] = 0.0;
            self.newcomer[index] = pixel;
            return;
        }
        self.stayed[index] += rates.seconds;
        if self.stayed[index] >= rates.absorb_seconds {
            self.mean[index] = f32::from(pixel);
        }
    }

    /// These cells show the true background.
    pub(super) fn absorb(&mut self, cells: &[usize], pixels: &[u8]) {
        for index in cells {
            self.mean[*index] = f32::from(pixels[*index]);
        }
    }

    /// All of the picture is new.
    pub(super) fn replace(&mut self, pixels: &[u8]) {
        for (mean, pixel) in self.mean.iter_mut().zip(pixels) {
            *mean = f32::from(*pixel);
        }
        self.stayed.fill(0.0);
        self.changed.fill(false);
    }

    /// Keeps which cells were changed, for the next picture.
    pub(super) fn remember(&mut self, excess: &[f32]) {
        for (changed, excess) in self.changed.iter_mut().zip(excess) {
            *changed = *excess > 1.0 || *excess == FORGIVEN;
        }
    }
}
