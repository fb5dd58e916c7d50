//! What one camera's encoded pictures measure while nothing moves, and how far those of the last moment are from it.
//!
//! Sizes follow a saw-tooth: after a key frame an encoder refines what it had no bits for, then settles. So the median is
//! learned for each position in the group of pictures; in front of it stands a level that all positions share and that
//! follows light and noise faster than their shape changes. What counts is the mean deviation over a window, measured by
//! how much that mean varies by itself; single deviations are clipped (as Huber's M-estimator does), so that one large
//! picture says little and three say enough.

use std::collections::VecDeque;
use std::time::Duration;

/// Over so long deviations are summed.
const WINDOW: Duration = Duration::from_millis(750);
/// Groups of pictures without movement until the baseline is one.
const GROUPS_TO_LEARN: usize = 6;
/// A stream with shorter groups still has to show so much.
const SHORTEST_LEARNING: Duration = Duration::from_secs(8);
/// Positions told apart; those behind share the last one.
const POSITIONS: usize = 64;
/// Deviations of single pictures, in spreads, beyond which more says no more: below, and above.
const CLIP: (f32, f32) = (-3.0, 5.0);
/// From the median absolute deviation to the standard deviation of a normal distribution.
const MAD_TO_SIGMA: f32 = 1.4826;
/// However still a stream usually is: its means and its pictures spread by so much at least (natural logarithms, so 0.4 %
/// and 1 %), or the least change of light would be a signal.
const LEAST_SPREAD: f32 = 0.004;
const LEAST_SINGLE_SPREAD: f32 = 0.01;
/// A few seconds hold about ten moments that have nothing to do with each other: the spread of their means is known to a
/// quarter, and chance counts the tail. Taken for so much larger until more of them were seen.
const SPREAD_AT_FIRST: f32 = 1.6;
/// Share by which the spread of means follows one of them. Neighbours share most of their moment.
const MEAN_SPREAD_SHARE: f32 = 1.0 / 800.0;

/// One picture between key frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) at: Duration,
    /// 1 is the first after a key frame.
    pub(super) position: usize,
    /// It is predicted from both sides: smaller by far, and not always at the same place.
    pub(super) is_b: bool,
    /// Natural logarithm of its size or complexity.
    pub(super) value: f32,
    /// Mean deviation of the moment up to it, once there is a baseline.
    pub(super) mean: Option<f32>,
}

/// How fast a sample without movement changes the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Nothing moved and nothing was noticed: light and noise change slowly.
    Slow,
    /// Something was noticed, was looked at, and does not move: the picture is another one now.
    Fast,
}

impl Pace {
    /// Shares by which the level and a position's median follow one sample.
    fn shares(self) -> (f32, f32) {
        match self {
            Self::Slow => (1.0 / 400.0, 1.0 / 32.0),
            Self::Fast => (1.0 / 20.0, 1.0 / 8.0),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Baseline {
    learned: Option<Learned>,
    samples: Vec<Sample>,
    groups: usize,
    window: Window,
}

#[derive(Debug)]
struct Learned {
    /// By slot; `None` where too little was seen.
    medians: Vec<Option<f32>>,
    level: f32,
    /// Of single pictures, and of means over the window: standard deviations.
    spread: f32,
    mean_spread: f32,
}

impl Baseline {
    pub(super) fn is_learned(&self) -> bool {
        self.learned.is_some()
    }

    /// Share of the learning that is done, 0..=1.
    pub(super) fn progress(&self) -> f32 {
        if self.is_learned() {
            1.0
        } else {
            (self.groups as f32 / GROUPS_TO_LEARN as f32).min(1.0)
        }
    }

    /// Takes the next picture as it arrives: by how many spreads the last moment is above what it usually is. `None`
    /// before that is known.
    pub(super) fn score(&mut self, sample: &mut Sample) -> Option<f32> {
        let learned = self.learned.as_ref()?;
        let deviation = learned.deviation(*sample)?;
        sample.mean = self.window.mean_with(sample.at, deviation);
        sample.mean.map(|mean| mean / learned.mean_spread)
    }

    /// A picture during which nothing moved.
    pub(super) fn learn(&mut self, sample: Sample, pace: Pace) {
        match &mut self.learned {
            Some(learned) => learned.follow(sample, pace),
            None => self.collect(sample),
        }
    }

    /// The stream was interrupted: what is in the window belongs to another time.
    pub(super) fn interrupted(&mut self) {
        self.window = Window::default();
    }

    fn collect(&mut self, sample: Sample) {
        if sample.position == 1 {
            self.groups += 1;
        }
        self.samples.push(sample);
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return;
        };
        let is_enough =
            self.groups > GROUPS_TO_LEARN && last.at.saturating_sub(first.at) >= SHORTEST_LEARNING;
        if is_enough {
            self.learned = Learned::of(&self.samples);
            self.samples = Vec::new();
        }
        // Movement kept cutting groups short: what is too old to be compared goes.
        if self.samples.len() > 64 * POSITIONS {
            *self = Self::default();
        }
    }
}

impl Learned {
    fn of(samples: &[Sample]) -> Option<Self> {
        let medians = (0..2 * POSITIONS)
            .map(|slot| {
                let values = samples
                    .iter()
                    .filter(|sample| slot_of(**sample) == slot)
                    .map(|sample| sample.value);
                let mut values: Vec<f32> = values.collect();
                (values.len() >= GROUPS_TO_LEARN / 2).then(|| median(&mut values))?
            })
            .collect();
        let mut learned = Self {
            medians,
            level: 0.0,
            spread: 1.0,
            mean_spread: 1.0,
        };
        let mut sizes: Vec<f32> = samples
            .iter()
            .filter_map(|sample| learned.raw(*sample))
            .map(f32::abs)
            .collect();
        learned.spread = (median(&mut sizes)? * MAD_TO_SIGMA).max(LEAST_SINGLE_SPREAD);
        let mut window = Window::default();
        let means: Vec<f32> = samples
            .iter()
            .filter_map(|sample| window.mean_with(sample.at, learned.deviation(*sample)?))
            .collect();
        learned.level = median(&mut means.clone())?;
        let mut away: Vec<f32> = means
            .iter()
            .map(|mean| (mean - learned.level).abs())
            .collect();
        learned.mean_spread =
            (median(&mut away)? * MAD_TO_SIGMA * SPREAD_AT_FIRST).max(LEAST_SPREAD);
        Some(learned)
    }

    fn raw(&self, sample: Sample) -> Option<f32> {
        let median = self.medians.get(slot_of(sample)).copied()??;
        Some(sample.value - median - self.level)
    }

    fn deviation(&self, sample: Sample) -> Option<f32> {
        let (low, high) = CLIP;
        self.raw(sample)
            .map(|raw| raw.clamp(low * self.spread, high * self.spread))
    }

    fn follow(&mut self, sample: Sample, pace: Pace) {
        let slot = slot_of(sample);
        let (level_share, median_share) = pace.shares();
        let Some(raw) = self.raw(sample) else {
            self.medians[slot] = Some(sample.value - self.level);
            return;
        };
        let step = match pace {
            Pace::Slow => raw.clamp(-3.0 * self.spread, 3.0 * self.spread),
            Pace::Fast => raw,
        };
        self.level += level_share * step;
        if let Some(median) = &mut self.medians[slot] {
            *median += median_share * (step - level_share * step);
        }
        let before = self.spread;
        self.spread = followed(self.spread, step, level_share).max(LEAST_SINGLE_SPREAD);
        // Noisier pictures make noisier means.
        self.mean_spread *= self.spread / before;
        if let Some(mean) = sample.mean {
            self.mean_spread = followed(self.mean_spread, mean, MEAN_SPREAD_SHARE);
        }
        self.mean_spread = self.mean_spread.max(LEAST_SPREAD);
    }
}

/// A median absolute deviation that follows what is seen: up and down by the same share.
fn followed(spread: f32, deviation: f32, share: f32) -> f32 {
    if deviation.abs() * MAD_TO_SIGMA > spread {
        spread * (1.0 + share)
    } else {
        spread * (1.0 - share)
    }
}

/// Deviations of the last moment.
#[derive(Debug, Default)]
struct Window {
    deviations: VecDeque<(Duration, f32)>,
    /// It has been filled once.
    full: bool,
}

impl Window {
    fn mean_with(&mut self, at: Duration, deviation: f32) -> Option<f32> {
        self.deviations.push_back((at, deviation));
        while let Some((oldest, _)) = self.deviations.front()
            && at.saturating_sub(*oldest) >= WINDOW
        {
            self.deviations.pop_front();
            self.full = true;
        }
        let sum: f32 = self.deviations.iter().map(|(_, deviation)| deviation).sum();
        self.full.then(|| sum / self.deviations.len() as f32)
    }
}

fn slot_of(sample: Sample) -> usize {
    2 * sample.position.min(POSITIONS - 1) + usize::from(sample.is_b)
}

fn median(values: &mut [f32]) -> Option<f32> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f32::total_cmp).1)
}
