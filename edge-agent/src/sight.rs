//! Whether a camera still sees what it was put up to see. Pure; time comes with the picture.
//!
//! Sabotage detection has been done by comparing a picture with a slowly learned one (Ribnick et al., AVSS 2006; Saglam and
//! Temizel, AVSS 2009), and false alarms are its old trouble. What is compared here are edges and not brightness ([`view`]), only
//! those that two pictures have in common (which rids them of noise, rain and snow), and only where there are any: night takes
//! most of them away and proves nothing. What is told has to last, and to be over it has to be gone by a margin:
//!
//! | told | when | after |
//! |---|---|---|
//! | covered | hardly an edge is left, and the picture is not dark | 8 s |
//! | turned | the edges of nearly all of the picture are other ones | 8 s |
//! | out of focus | fine detail is gone, the coarse contrast is not | 8 s |
//! | black | flat and black at a stroke: no signal, or a lens cap | 8 s |
//! | dark | nothing can be seen for lack of light, most often because the night came | 30 s |
//! | frozen | no noise where noise was before ([`stillness`]) | 60 s |
//!
//! A lorry in front hides much of the picture but hardly all of it; where it does, for longer than a moment, the camera does
//! not see, and that is told. What is wrong may become something else before it is over, most often while somebody works on
//! the camera, hand over the lens, and turns it: each kind is told once a loss.
//!
//! A camera that stays turned is believed in the end, whatever the loss began with: what it shows for [`ACCEPT_SECONDS`] is
//! what it is judged by from then on, and the loss is over. The same is not done for the other losses: nobody puts up a
//! covered camera.

mod stillness;
mod view;

use crate::luma::SmallLuma;
use std::time::Duration;
use stillness::Stillness;
use view::{Likeness, Shown, View};

/// A suspicion has to last so long, a dark one longer; and so long a lost camera has to see well.
const LOST_SECONDS: f32 = 8.0;
const DARK_SECONDS: f32 = 30.0;
const REGAINED_SECONDS: f32 = 5.0;
/// A view that a turned camera has kept for so long is its new one.
const ACCEPT_SECONDS: f32 = 3600.0;
/// After a pause nothing that was suspected before it counts.
const GAP_SECONDS: f32 = 30.0;

/// Time and pictures until the view is known at first, and the time constant of its change.
const LEARN_SECONDS: f32 = 10.0;
const LEARN_PICTURES: u32 = 5;
const VIEW_SECONDS: f32 = 600.0;
/// Time constants of acuity and contrast: they are learned sooner upwards. What a night takes away is not forgotten.
const BETTER_SECONDS: f32 = 600.0;
const WORSE_SECONDS: f32 = 6.0 * 3600.0;
/// Over which time it is asked whether the edges went at a stroke, and what part of the contrast must have been left then.
const LATELY_SECONDS: f32 = 60.0;
const STROKE: f32 = 0.4;

/// Fewer blocks with edges than this share of those known, or of all blocks, and nothing is seen.
const FEW: f32 = 0.08;
const FEW_OF_ALL: f32 = 0.02;
/// Share of the known blocks that has to be comparable before a camera is called turned, and the share of the compared
/// ones that are as they were, below which it is.
const COMPARABLE: f32 = 0.3;
const TURNED: f32 = 0.15;
/// Acuity below this part of what is known is out of focus.
const BLURRED: f32 = 0.35;
/// Least relief, in grey levels, at which acuity says anything.
const LEAST_RELIEF: f32 = 8.0;
/// A lost camera has to be so much better than what is lost.
const MARGIN: f32 = 1.6;

/// Black: nothing brighter than this, and no more between the brightest and the darkest.
const BLACK: u8 = 26;
const FLAT: u8 = 4;
/// Mean luma below which a picture without edges is dark: one that lost them at a stroke, and one that lost them bit by bit,
/// which a camera brightens as long as it can.
const DARK_AT_A_STROKE: f32 = 32.0;
const DARK: f32 = 70.0;

/// Why a camera sees nothing of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blindness {
    Covered,
    Turned,
    Defocused,
    Frozen,
    Black,
    Dark,
}

impl Blindness {
    /// The word of the record's reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Turned => "turned",
            Self::Defocused => "defocused",
            Self::Frozen => "frozen",
            Self::Black => "black",
            Self::Dark => "dark",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SightChange {
    Lost(Blindness),
    Regained,
}

/// Judges one camera's pictures.
#[derive(Debug, Default)]
pub struct SightModel {
    at: Option<Duration>,
    before: Option<View>,
    known: Known,
    /// What a turned camera shows instead.
    newcomer: Known,
    stillness: Stillness,
    /// Contrast over the last minute in which something was seen.
    lately: f32,
    /// The last picture was in no trouble and shows what is known.
    is_clear: bool,
    suspicion: Option<(Blindness, Duration)>,
    well_since: Option<Duration>,
    lost: Option<Told>,
}

/// What was told of a loss that is not over: a bit for each kind. What wavers between two of them is not told over and over.
#[derive(Clone, Copy, Debug, Default)]
struct Told(u8);

impl Told {
    /// `None` if it was told already.
    fn and(self, kind: Blindness) -> Option<Self> {
        let bit = 1 << kind as u8;
        (self.0 & bit == 0).then_some(Self(self.0 | bit))
    }
}

/// What a view has been like for a while.
#[derive(Debug, Default)]
struct Known {
    view: Option<View>,
    acuity: f32,
    contrast: f32,
    seconds: f32,
    pictures: u32,
}

/// One picture, measured.
#[derive(Debug)]
struct Sighting {
    mean: f32,
    /// Luma of all but the darkest and brightest fiftieth.
    darkest: u8,
    brightest: u8,
    view: View,
    shown: Shown,
    contrast: f32,
    /// Fine detail by coarse relief; `None` where there is too little of that.
    acuity: Option<f32>,
    is_frozen: bool,
}

impl SightModel {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next picture, taken `at` on the boot clock; one a second is plenty. Tells a change once. A picture of
    /// another size, or of an earlier time, begins anew, but for a loss that was told.
    pub fn update(&mut self, at: Duration, luma: &SmallLuma) -> Option<SightChange> {
        let view = View::of(luma);
        let fits = self
            .before
            .as_ref()
            .is_some_and(|before| before.is_of_size(&view));
        let seconds = self.at.and_then(|before| at.checked_sub(before));
        self.at = Some(at);
        let before = self.before.replace(view);
        let Some((seconds, before)) = seconds.filter(|_| fits).zip(before) else {
            *self = Self {
                at: self.at,
                before: self.before.take(),
                lost: self.lost,
                ..Self::default()
            };
            return None;
        };
        let seconds = seconds.as_secs_f32();
        if seconds > GAP_SECONDS {
            (self.suspicion, self.well_since) = (None, None);
        }
        let is_frozen = self.stillness.update(at, seconds, luma);
        let sighting = Sighting::of(luma, &before, is_frozen);
        let trouble = self.trouble(&sighting);
        let known = self.known.view.as_ref();
        self.is_clear = trouble.is_none() && known.is_none_or(|known| sighting.is_like(known));
        self.learn(&sighting, seconds, trouble);
        self.settle(at, trouble)
    }

    /// Whether this picture shows what the camera ought to see: one to be kept as the `before` of a later change.
    pub fn is_good(&self) -> bool {
        self.lost.is_none() && self.is_clear && self.known.is_enough()
    }

    /// What is wrong with this picture taken alone. A lost camera is held to more.
    fn trouble(&self, sighting: &Sighting) -> Option<Blindness> {
        let margin = if self.lost.is_some() { MARGIN } else { 1.0 };
        let known = self.known.view.as_ref().filter(|_| self.known.is_enough());
        let known_blocks = known.map_or(0, View::busy_blocks) as f32;
        let few = (FEW * known_blocks).max(FEW_OF_ALL * sighting.view.blocks() as f32);
        if (sighting.shown.busy_blocks() as f32) < margin * few {
            return Some(self.nothing_seen(sighting));
        }
        if let Some(known) = known {
            let Likeness { compared, same } = sighting.view.likeness(&sighting.shown, known);
            let is_comparable = compared as f32 >= COMPARABLE * known_blocks;
            if is_comparable && (same as f32) < margin * TURNED * compared as f32 {
                return Some(Blindness::Turned);
            }
            let limit = margin * BLURRED * self.known.acuity;
            if sighting.acuity.is_some_and(|acuity| acuity < limit) {
                return Some(Blindness::Defocused);
            }
        }
        sighting.is_frozen.then_some(Blindness::Frozen)
    }

    /// Of a picture without edges: why.
    fn nothing_seen(&self, sighting: &Sighting) -> Blindness {
        let at_a_stroke = !self.known.is_enough() || self.lately > STROKE * self.known.contrast;
        let is_flat = sighting.brightest - sighting.darkest <= FLAT;
        let dark = if at_a_stroke && self.known.is_enough() {
            DARK_AT_A_STROKE
        } else {
            DARK
        };
        if at_a_stroke && is_flat && sighting.brightest <= BLACK {
            Blindness::Black
        } else if sighting.mean < dark {
            Blindness::Dark
        } else {
            Blindness::Covered
        }
    }

    fn learn(&mut self, sighting: &Sighting, seconds: f32, trouble: Option<Blindness>) {
        match (trouble, self.lost) {
            (None, None) => {
                self.known.learn(sighting, seconds);
                // From the first picture on: a camera may be covered half a minute after it was put up.
                let at_first = 1.0 / self.known.pictures as f32;
                let weight = (1.0 - (-seconds / LATELY_SECONDS).exp()).max(at_first);
                self.lately += (sighting.contrast - self.lately) * weight;
                self.newcomer = Known::default();
            }
            (Some(Blindness::Turned), Some(_)) => {
                if self
                    .newcomer
                    .view
                    .as_ref()
                    .is_some_and(|view| !sighting.is_like(view))
                {
                    self.newcomer = Known::default();
                }
                // Nobody saw what it showed during a pause.
                self.newcomer.learn(sighting, seconds.min(GAP_SECONDS));
                if self.newcomer.seconds > ACCEPT_SECONDS {
                    self.known = std::mem::take(&mut self.newcomer);
                }
            }
            _ => {}
        }
    }

    /// Tells what has lasted.
    fn settle(&mut self, at: Duration, trouble: Option<Blindness>) -> Option<SightChange> {
        let lasted = |since: Duration, seconds: f32| (at - since).as_secs_f32() >= seconds;
        let Some(kind) = trouble else {
            self.suspicion = None;
            self.lost?;
            let since = *self.well_since.get_or_insert(at);
            if !lasted(since, REGAINED_SECONDS) {
                return None;
            }
            (self.lost, self.well_since) = (None, None);
            return Some(SightChange::Regained);
        };
        self.well_since = None;
        // A loss becomes another one when that has lasted by itself.
        let since = match self.suspicion {
            Some((before, since)) if self.lost.is_none() || before == kind => since,
            _ => at,
        };
        self.suspicion = Some((kind, since));
        let needed = match kind {
            Blindness::Dark => DARK_SECONDS,
            // It has lasted a minute already.
            Blindness::Frozen => 0.0,
            _ => LOST_SECONDS,
        };
        if !lasted(since, needed) {
            return None;
        }
        let told = self.lost.unwrap_or_default().and(kind)?;
        (self.suspicion, self.lost) = (None, Some(told));
        Some(SightChange::Lost(kind))
    }
}

impl Known {
    fn is_enough(&self) -> bool {
        self.seconds >= LEARN_SECONDS && self.pictures >= LEARN_PICTURES
    }

    fn learn(&mut self, sighting: &Sighting, seconds: f32) {
        self.pictures += 1;
        self.seconds += seconds;
        // At first every picture counts the same.
        let at_first = 1.0 / self.pictures as f32;
        let weight = |constant: f32| (1.0 - (-seconds / constant).exp()).max(at_first);
        match &mut self.view {
            Some(view) => view.approach(&sighting.view, &sighting.shown, weight(VIEW_SECONDS)),
            None => self.view = Some(sighting.view.clone()),
        }
        let learn = |known: &mut f32, now: f32| {
            let is_better = now > *known;
            *known += (now - *known)
                * weight(if is_better {
                    BETTER_SECONDS
                } else {
                    WORSE_SECONDS
                });
        };
        learn(&mut self.contrast, sighting.contrast);
        if let Some(acuity) = sighting.acuity {
            learn(&mut self.acuity, acuity);
        }
    }
}

impl Sighting {
    fn of(luma: &SmallLuma, before: &View, is_frozen: bool) -> Self {
        let mut counts = [0_usize; 256];
        for pixel in &luma.pixels {
            counts[usize::from(*pixel)] += 1;
        }
        let cells = luma.pixels.len();
        let sum: usize = (0..).zip(counts).map(|(value, count)| value * count).sum();
        // The smallest luma that `part` of the cells do not exceed.
        let quantile = |part: usize| {
            let mut below = 0;
            let found = (0..=u8::MAX).zip(counts).find(|(_, count)| {
                below += count;
                below * 50 > cells * part
            });
            found.map_or(u8::MAX, |(value, _)| value)
        };
        let view = View::of(luma);
        let shown = view.shown_with(before);
        let (contrast, relief) = (shown.contrast(), view.relief());
        Self {
            mean: sum as f32 / cells.max(1) as f32,
            darkest: quantile(1),
            brightest: quantile(49),
            contrast,
            acuity: (relief >= LEAST_RELIEF).then(|| luma.detail / relief),
            view,
            shown,
            is_frozen,
        }
    }

    fn is_like(&self, known: &View) -> bool {
        let Likeness { compared, same } = self.view.likeness(&self.shown, known);
        same * 2 >= compared
    }
}

#[cfg(test)]
mod tests;
