//! Where a box will be: a constant-velocity Kalman filter over its centre and size. Pure.
//!
//! SORT's filter has no coupling between the four quantities, so it is four filters of two states (value and rate),
//! and no matrix library is needed. Noise is stated per second and in units of the box's own size, so that near and far
//! objects and fast and slow frame rates are treated alike.
//!
//! The size is believed slowly: a walker's box opens and closes with every step (on the PETS film its sides are 0.15 of
//! its width off, its top and bottom 0.045 of its height), and what hides half of a person does not make him smaller.

use wire::record::NormBox;

/// How well a detector knows the centre, in sizes of the box.
const CENTER: f32 = 0.06;
/// How well it knows the width and the height, for one that is to follow the object and not its steps.
const WIDTH: f32 = 0.3;
const HEIGHT: f32 = 0.1;
/// What an object may start with across, in widths a second: a walker makes about three.
const FIRST_RATE: f32 = 3.0;
/// Change of rate across, in widths a second squared.
const ACCELERATION: f32 = 1.4;
/// Upright the same is less of the size: people are taller than wide, and cameras look along the ground.
const UPRIGHT: f32 = 0.4;
/// Sizes change more slowly than places.
const CALMNESS_OF_SIZE: f32 = 0.1;
const SMALLEST: f32 = 1e-4;

#[derive(Clone, Debug)]
pub struct Motion {
    center_x: Line,
    center_y: Line,
    width: Line,
    height: Line,
}

impl Motion {
    pub fn new(rect: &NormBox) -> Self {
        let line = |value: f32, size: f32, deviation: f32, rate: f32| {
            Line::new(value, deviation * size, rate * FIRST_RATE * size)
        };
        let (x, y) = (rect.x + rect.w / 2.0, rect.y + rect.h / 2.0);
        Self {
            center_x: line(x, rect.w, CENTER, 1.0),
            center_y: line(y, rect.h, CENTER, UPRIGHT),
            width: line(rect.w, rect.w, WIDTH, CALMNESS_OF_SIZE),
            height: line(rect.h, rect.h, HEIGHT, CALMNESS_OF_SIZE),
        }
    }

    /// Goes on by `seconds`.
    pub fn predict(&mut self, seconds: f32) {
        let across = ACCELERATION * self.width.value;
        let upright = ACCELERATION * self.height.value;
        self.center_x.predict(seconds, across);
        self.center_y.predict(seconds, UPRIGHT * upright);
        self.width.predict(seconds, CALMNESS_OF_SIZE * across);
        self.height.predict(seconds, CALMNESS_OF_SIZE * upright);
    }

    /// Takes in where the detector saw it. Returns how far its centre was from where it was expected, in sizes.
    pub fn correct(&mut self, rect: &NormBox) -> f32 {
        let (x, y) = (rect.x + rect.w / 2.0, rect.y + rect.h / 2.0);
        let across = (x - self.center_x.value) / rect.w.max(SMALLEST);
        let upright = (y - self.center_y.value) / rect.h.max(SMALLEST);
        self.center_x.correct(x, CENTER * rect.w);
        self.center_y.correct(y, CENTER * rect.h);
        // By the size that is believed: else a small box would count for more than a large one.
        let (width, height) = (self.width.value, self.height.value);
        self.width.correct(rect.w, WIDTH * width);
        self.height.correct(rect.h, HEIGHT * height);
        across.abs().max(upright.abs())
    }

    /// It is not seen: the last change of size was more likely the thing that hides it than a change of the object.
    pub fn coast(&mut self) {
        self.width.rate = 0.0;
        self.height.rate = 0.0;
    }

    /// It stands: what there is of a rate is the detector's noise, which a long time would make a distance of.
    pub fn halt(&mut self) {
        self.coast();
        self.center_x.rate = 0.0;
        self.center_y.rate = 0.0;
    }

    /// Sizes a second, across or upright, whichever is more.
    pub fn speed(&self) -> f32 {
        let rect = self.rect();
        let across = self.center_x.rate.abs() / rect.w;
        across.max(self.center_y.rate.abs() / rect.h)
    }

    /// How likely this box is the object, 0..=1, by its distance from where the object is expected (Mahalanobis 1936):
    /// far off is likelier after a long time, and for one of whom little is known.
    pub fn likeness(&self, rect: &NormBox) -> f32 {
        // The detector is given twice its usual error, for it errs more where two people meet.
        const LENIENCE: f32 = 2.0;
        let distance = |line: &Line, value: f32, deviation: f32| {
            let variance = line.var_value + (LENIENCE * deviation).powi(2);
            (value - line.value).powi(2) / variance.max(SMALLEST.powi(2))
        };
        let squared = distance(&self.center_x, rect.x + rect.w / 2.0, CENTER * rect.w)
            + distance(&self.center_y, rect.y + rect.h / 2.0, CENTER * rect.h)
            + distance(&self.width, rect.w, WIDTH * rect.w)
            + distance(&self.height, rect.h, HEIGHT * rect.h);
        // Four quantities, each off by one deviation: the mean distance of the right box.
        (-squared / (2.0 * 4.0)).exp()
    }

    pub fn rect(&self) -> NormBox {
        let w = self.width.value.max(SMALLEST);
        let h = self.height.value.max(SMALLEST);
        NormBox {
            x: self.center_x.value - w / 2.0,
            y: self.center_y.value - h / 2.0,
            w,
            h,
        }
    }
}

/// One value, its rate of change, and their covariance.
#[derive(Clone, Debug)]
struct Line {
    value: f32,
    rate: f32,
    var_value: f32,
    covariance: f32,
    var_rate: f32,
}

impl Line {
    /// A value known to `deviation`, with a rate of which only the usual size is known.
    fn new(value: f32, deviation: f32, usual_rate: f32) -> Self {
        Self {
            value,
            rate: 0.0,
            var_value: deviation.powi(2),
            covariance: 0.0,
            var_rate: usual_rate.powi(2),
        }
    }

    /// White noise of acceleration with this standard deviation acts during the step.
    fn predict(&mut self, seconds: f32, acceleration: f32) {
        let noise = acceleration.powi(2);
        self.value += self.rate * seconds;
        self.var_value += 2.0 * seconds * self.covariance
            + seconds.powi(2) * self.var_rate
            + noise * seconds.powi(4) / 4.0;
        self.covariance += seconds * self.var_rate + noise * seconds.powi(3) / 2.0;
        self.var_rate += noise * seconds.powi(2);
    }

    fn correct(&mut self, measured: f32, deviation: f32) {
        let variance = self.var_value + deviation.powi(2);
        if variance <= 0.0 {
            return;
        }
        let gain_value = self.var_value / variance;
        let gain_rate = self.covariance / variance;
        let surprise = measured - self.value;
        self.value += gain_value * surprise;
        self.rate += gain_rate * surprise;
        self.var_rate -= gain_rate * self.covariance;
        self.covariance *= 1.0 - gain_value;
        self.var_value *= 1.0 - gain_value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32) -> NormBox {
        NormBox {
            x,
            y: 0.3,
            w: 0.04,
            h: 0.2,
        }
    }

    #[test]
    fn a_walker_is_expected_where_he_will_be() {
        let mut motion = Motion::new(&at(0.2));
        for step in 1..=5 {
            motion.predict(0.2);
            motion.correct(&at(0.2 + 0.01 * step as f32));
        }
        for _ in 0..5 {
            motion.coast();
            motion.predict(0.2);
        }
        let rect = motion.rect();
        assert!((rect.x - 0.3).abs() < 0.01, "{rect:?}");
        assert!((rect.h - 0.2).abs() < 0.01, "{rect:?}");
    }

    #[test]
    fn a_box_that_opens_and_closes_with_every_step_is_believed_in_the_middle() {
        let breathing = |step: usize| {
            let w = if step.is_multiple_of(2) { 0.05 } else { 0.03 };
            NormBox {
                x: 0.5 - w / 2.0,
                w,
                ..at(0.0)
            }
        };
        let mut motion = Motion::new(&breathing(0));
        for step in 1..=20 {
            motion.predict(0.2);
            motion.correct(&breathing(step));
        }
        assert!((motion.rect().w - 0.04).abs() < 0.003, "{motion:?}");
    }

    #[test]
    fn likeness_falls_with_distance_and_more_slowly_for_the_unknown() {
        let mut known = Motion::new(&at(0.2));
        for _ in 0..10 {
            known.predict(0.2);
            known.correct(&at(0.2));
        }
        let mut fresh = Motion::new(&at(0.2));
        known.predict(0.2);
        fresh.predict(0.2);
        assert!(known.likeness(&at(0.2)) > 0.99);
        assert!(known.likeness(&at(0.22)) < known.likeness(&at(0.21)));
        assert!(fresh.likeness(&at(0.22)) > known.likeness(&at(0.22)));
    }

    #[test]
    fn steps_of_any_length_add_up() {
        let mut fine = Motion::new(&at(0.2));
        let mut coarse = fine.clone();
        for _ in 0..10 {
            fine.predict(0.1);
        }
        coarse.predict(1.0);
        assert_eq!(fine.rect(), coarse.rect());
        assert!((fine.center_x.var_rate - coarse.center_x.var_rate).abs() < 0.06);
    }
}
