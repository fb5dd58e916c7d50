//! Changes of light: of the whole picture, by auto exposure, clouds or lamps, and of parts of it.
//!
//! The whole: a gain and an offset are fitted from what is expected to what is seen, by least squares over the cells that
//! agree with the fit so far, beginning at the median. Objects, which are fewer, do not agree and do not count.
//! A part: light makes what it falls on brighter or darker and leaves its edges where they are, an object has edges of its
//! own. So where the gradients around a cell are those that are expected, but for their strength, only light has changed.

use super::regions::WEAK;

/// Share of the picture from which on it is worth asking whether only light has changed. Below it, it might be the one
/// person far away.
pub(super) const WORTH_A_LOOK: f32 = 0.02;

/// A median change up to this and residuals up to that are no change of light, in grey levels.
const SAME_OFFSET: f32 = 1.0;
const SAME_SPREAD: f32 = 2.0;
/// Residual, in median absolute deviations, up to which a cell agrees; at least so many grey levels.
const AGREES: f32 = 3.0;
const AGREES_LEAST: f32 = 4.0;
const ROUNDS: usize = 3;
/// Where so many grey levels are left, something else than light has changed.
const BAD_FIT: f32 = 8.0;
/// One cell in so many is asked; odd, so that neighbouring rows give different columns.
const SAMPLE: usize = 3;
/// Without so much contrast in grey levels a gain cannot be told from an offset.
const LEAST_SPREAD: f32 = 6.0;
const GAINS: std::ops::RangeInclusive<f32> = 0.1..=10.0;

/// Half the side of the square around a cell in which gradients are compared.
const REACH: usize = 2;
/// Least strength of the expected gradients, root mean square in grey levels for each cell.
const LEAST_GRADIENT: f32 = 4.0;
/// Correlation of gradients from which on they are the same.
const SAME_GRADIENTS: f32 = 0.8;

/// How the light of the whole picture has changed: `gain * value + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Light {
    gain: f32,
    offset: f32,
    /// See [`Light::spread`].
    spread: f32,
}

impl Light {
    const SAME: Self = Self {
        gain: 1.0,
        offset: 0.0,
        spread: 0.0,
    };

    /// From what is expected to what is seen.
    pub(super) fn of(expected: &[f32], seen: &[u8]) -> Self {
        let residual = |light: Self| {
            let pairs = expected.iter().zip(seen).step_by(SAMPLE);
            pairs.map(move |(expected, seen)| f32::from(*seen) - light.of_value(*expected))
        };
        let offset = median(residual(Self::SAME));
        let shifted = Self {
            offset,
            ..Self::SAME
        };
        let spread = median(residual(shifted).map(f32::abs));
        if offset.abs() <= SAME_OFFSET && spread <= SAME_SPREAD {
            return Self {
                spread,
                ..Self::SAME
            };
        }
        let mut light = Self { spread, ..shifted };
        for _ in 0..ROUNDS {
            let near = (AGREES * light.spread).max(AGREES_LEAST);
            let pairs = expected.iter().zip(seen).step_by(SAMPLE);
            let agreeing = pairs.zip(residual(light));
            light = Self::fit(
                agreeing
                    .filter(|(_, residual)| residual.abs() <= near)
                    .map(|((expected, seen), _)| (*expected, f32::from(*seen))),
            )
            .unwrap_or(light);
            light.spread = median(residual(light).map(f32::abs));
        }
        if light.spread > BAD_FIT {
            return Self::SAME;
        }
        light
    }

    /// Least squares. `None` where the points do not tell.
    fn fit(points: impl Iterator<Item = (f32, f32)>) -> Option<Self> {
        let (mut n, mut x, mut y, mut xx, mut xy) = (0.0_f64, 0.0, 0.0, 0.0, 0.0);
        for (expected, seen) in points {
            let (expected, seen) = (f64::from(expected), f64::from(seen));
            n += 1.0;
            x += expected;
            y += seen;
            xx += expected * expected;
            xy += expected * seen;
        }
        if n == 0.0 {
            return None;
        }
        let variance = xx / n - (x / n) * (x / n);
        if variance < f64::from(LEAST_SPREAD * LEAST_SPREAD) {
            return Some(Self {
                gain: 1.0,
                offset: ((y - x) / n) as f32,
                spread: 0.0,
            });
        }
        let gain = (xy / n - x / n * y / n) / variance;
        let light = Self {
            gain: gain as f32,
            offset: (y / n - gain * x / n) as f32,
            spread: 0.0,
        };
        GAINS.contains(&light.gain).then_some(light)
    }

    pub(super) fn is_same(self) -> bool {
        self.gain == Self::SAME.gain && self.offset == Self::SAME.offset
    }

    /// Median absolute difference that is left, in grey levels: two thirds of the noise's sigma.
    pub(super) fn spread(self) -> f32 {
        self.spread
    }

    pub(super) fn of_value(self, value: f32) -> f32 {
        (self.gain * value + self.offset).clamp(0.0, 255.0)
    }

    /// By how much light has changed what is `value` now.
    pub(super) fn shift_to(self, value: f32) -> f32 {
        let inverse = 1.0 / self.gain;
        value - (value - self.offset) * inverse
    }
}

/// Of differences of luma, to a quarter of a grey level.
fn median(values: impl Iterator<Item = f32>) -> f32 {
    const STEPS: f32 = 4.0;
    const MIDDLE: i32 = 1024;
    let mut counts = [0_u32; 2 * MIDDLE as usize + 1];
    let mut total = 0;
    for value in values {
        // Cut, not rounded: rounding is a call into the library where the processor has no instruction for it.
        let bin = (value * STEPS + MIDDLE as f32 + 0.5) as i32;
        counts[bin.clamp(0, 2 * MIDDLE) as usize] += 1;
        total += 1;
    }
    let mut below = 0;
    let bin = counts.iter().position(|count| {
        below += count;
        2 * below >= total
    });
    bin.map_or(0.0, |bin| (bin as i32 - MIDDLE) as f32 / STEPS)
}

/// What [`forgive`] makes of a cell on which only light has changed.
pub(super) const FORGIVEN: f32 = -1.0;

/// Marks what is changed in brightness only: cells whose surroundings have the gradients that are expected.
pub(super) fn forgive(excess: &mut [f32], seen: &[u8], expected: &[f32], width: usize) {
    let height = excess.len() / width.max(1);
    let rows = REACH + 1..height.saturating_sub(REACH + 1);
    let columns = REACH + 1..width.saturating_sub(REACH + 1);
    for y in rows {
        for x in columns.clone() {
            let at = y * width + x;
            if excess[at] > WEAK && has_its_edges(seen, expected, width, at) {
                excess[at] = FORGIVEN;
            }
        }
    }
}

/// Whether the square around cell `at` has the gradients that are expected there, but for their strength.
fn has_its_edges(seen: &[u8], expected: &[f32], width: usize, at: usize) -> bool {
    let (mut both, mut of_seen, mut of_expected) = (0.0, 0.0, 0.0);
    let side = 2 * REACH + 1;
    let corner = at - REACH * width - REACH;
    for start in (0..side).map(|row| corner + row * width) {
        for cell in start..start + side {
            for (before, behind) in [(cell - 1, cell + 1), (cell - width, cell + width)] {
                let seen = f32::from(seen[behind]) - f32::from(seen[before]);
                let expected = expected[behind] - expected[before];
                both += seen * expected;
                of_seen += seen * seen;
                of_expected += expected * expected;
            }
        }
    }
    let least = LEAST_GRADIENT * LEAST_GRADIENT * (side * side) as f32;
    of_expected > least && both > SAME_GRADIENTS * (of_seen * of_expected).sqrt()
}
