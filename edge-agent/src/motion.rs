//! Where something moves in the pictures of one camera. Pure; time comes with the picture.
//!
//! A model of each cell of the small luma, what it usually shows and how far it usually strays, is compared with every
//! picture. The parts are old and well tried; they are put together so that they hold at ten pictures a second as well as
//! at one key frame in two seconds, which is why every rate of learning is a time constant and not a share of a picture:
//!
//! - a running mean and deviation for each cell (Pfinder, Wren et al., TPAMI 1997), learned where nothing moves;
//! - a cell that keeps flickering, such as a tree in the wind, learns from all it shows, so that its threshold rises above
//!   the flicker (the "blinking pixels" of SuBSENSE, St-Charles et al., TIP 2015);
//! - a change of light of the whole picture is fitted and taken out ([`light`]), one of a part of it is known by the edges
//!   that stay where they were (Li and Leung, "Integrating intensity and texture differences", TIP 2002);
//! - what came and stays becomes background after a while; what left a hole in a background that had learned it, a
//!   "ghost", does so at once (Cucchiara et al., TPAMI 2003).
//!
//! What stands still does not count as moving even before it has become background.

mod background;
mod light;
mod mask;
mod regions;

use crate::luma::SmallLuma;
use background::{Background, Rates};
use regions::Change;
use std::time::Duration;
use wire::record::NormBox;

/// Pictures closer together than this are a film: what moves is seen in two of them, and a flash of a single one is none.
const FILM_SECONDS: f32 = 0.5;
/// What has not changed for so long stands still.
const STILL_SECONDS: f32 = 2.0;
/// Something that came and stays is background after so long ...
const ABSORB_SECONDS: f32 = 15.0;
/// ... and after so long in the seconds after a start, a cut, a gap or a sudden change of much of the picture.
const ABSORB_HASTY_SECONDS: f32 = 1.0;
const HASTY_SECONDS: f32 = 4.0;
/// Pictures and time before a verdict is given at all.
const LEARN_PICTURES: u32 = 3;
const LEARN_SECONDS: f32 = 0.5;
/// After so long without a picture the sun has moved and the cars were parked anew.
const GAP_SECONDS: f32 = 30.0;
/// So much of the picture cannot be objects: the camera was cut over, switched to infra-red, or the lights went on.
const CUT_SHARE: f32 = 0.5;
/// So much more than in the picture before is learned in haste: either a light, or something so large that it was noticed.
const SUDDEN_SHARE: f32 = 0.25;

/// What moves in one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Motion {
    pub moving: bool,
    /// Share of the picture that moves, 0..=1; masked parts do not count.
    pub share: f32,
    /// Where, joined to boxes that may hold an object each and have some room around it; largest first.
    pub regions: Vec<NormBox>,
}

/// Learns what a camera's picture looks like while nothing moves.
#[derive(Clone, Debug, Default)]
pub struct MotionModel {
    masks: Vec<Vec<[f32; 2]>>,
    scene: Option<Scene>,
}

/// What is known since the picture has its size.
#[derive(Clone, Debug)]
struct Scene {
    width: usize,
    height: usize,
    /// For each cell whether motion in it counts.
    open: Vec<bool>,
    open_cells: usize,
    background: Background,
    began_at: Duration,
    at: Duration,
    pictures: u32,
    hasty_until: Duration,
    /// Share of the picture before that was changed.
    changed_share: f32,
}

impl MotionModel {
    /// `masks` are polygons in fractions of the picture where nothing counts as motion: a tree, a flag, a time of day.
    pub fn new(masks: &[Vec<[f32; 2]>]) -> Self {
        Self {
            masks: masks.to_vec(),
            scene: None,
        }
    }

    /// Takes the next picture, taken `at` on the boot clock. Pictures may be seconds apart. The first ones are learned from
    /// only. One of another size, or of an earlier time, begins anew.
    pub fn update(&mut self, at: Duration, luma: &SmallLuma) -> Motion {
        let known = self.scene.as_mut().filter(|scene| {
            at >= scene.at && (scene.width, scene.height) == (luma.width, luma.height)
        });
        match known {
            Some(scene) => scene.update(at, luma),
            None => {
                self.scene = Some(Scene::begin(at, luma, &self.masks));
                Motion::default()
            }
        }
    }
}

impl Scene {
    fn begin(at: Duration, luma: &SmallLuma, masks: &[Vec<[f32; 2]>]) -> Self {
        let open = mask::open_cells(masks, luma.width, luma.height);
        Self {
            width: luma.width,
            height: luma.height,
            open_cells: open.iter().filter(|open| **open).count(),
            open,
            background: Background::new(&luma.pixels),
            began_at: at,
            at,
            pictures: 1,
            hasty_until: at + Duration::from_secs_f32(HASTY_SECONDS),
            changed_share: 0.0,
        }
    }

    fn update(&mut self, at: Duration, luma: &SmallLuma) -> Motion {
        let seconds = (at - self.at).as_secs_f32();
        self.at = at;
        self.pictures += 1;
        if seconds > GAP_SECONDS {
            self.hurry();
        }
        let light = light::Light::of(self.background.mean(), &luma.pixels);
        self.background.relight(light);
        let mut excess = self.background.excess(&luma.pixels, light, &self.open);
        if self.share_of(&excess) > light::WORTH_A_LOOK {
            let (width, mean) = (self.width, self.background.mean());
            light::forgive(&mut excess, &luma.pixels, mean, width);
        }
        let share = self.share_of(&excess);
        let sudden = share - self.changed_share;
        self.changed_share = share;
        if share > CUT_SHARE {
            self.background.replace(&luma.pixels);
            self.changed_share = 0.0;
            self.hurry();
            return self.all_of_it(share);
        }
        if sudden > SUDDEN_SHARE {
            self.hurry();
        }
        let rates = self.rates(seconds);
        self.background.learn(&luma.pixels, &excess, &rates);
        let found = regions::find(&Change {
            width: self.width,
            excess: &excess,
            background: &self.background,
            pixels: &luma.pixels,
            still_seconds: STILL_SECONDS,
            ghost_seconds: ABSORB_HASTY_SECONDS,
            is_film: seconds < FILM_SECONDS,
        });
        self.background.absorb(&found.ghosts, &luma.pixels);
        self.background.remember(&excess);
        if self.is_learning() {
            return Motion::default();
        }
        Motion {
            moving: found.moving_cells > 0,
            share: found.moving_cells as f32 / self.open_cells.max(1) as f32,
            regions: found.boxes,
        }
    }

    fn rates(&self, seconds: f32) -> Rates {
        let is_hasty = self.at < self.hasty_until;
        let absorb_seconds = if is_hasty {
            ABSORB_HASTY_SECONDS
        } else {
            ABSORB_SECONDS
        };
        Rates {
            seconds,
            pictures: self.pictures,
            is_film: seconds < FILM_SECONDS,
            absorb_seconds,
            is_hasty,
        }
    }

    fn hurry(&mut self) {
        self.hasty_until = self.at + Duration::from_secs_f32(HASTY_SECONDS);
    }

    fn is_learning(&self) -> bool {
        self.pictures < LEARN_PICTURES || (self.at - self.began_at).as_secs_f32() < LEARN_SECONDS
    }

    /// Share of the open cells that are changed beyond doubt.
    fn share_of(&self, excess: &[f32]) -> f32 {
        let changed = excess.iter().filter(|excess| **excess > 1.0).count();
        changed as f32 / self.open_cells.max(1) as f32
    }

    /// After a cut nobody knows what moves where.
    fn all_of_it(&self, share: f32) -> Motion {
        if self.is_learning() {
            return Motion::default();
        }
        Motion {
            moving: true,
            share: share.min(1.0),
            regions: vec![NormBox {
                x: 0.0,
                y: 0.0,
                w: 1.0,
                h: 1.0,
            }],
        }
    }
}

#[cfg(test)]
mod tests;
