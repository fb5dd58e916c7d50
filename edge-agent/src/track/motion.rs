//! Where a box will be: a constant-velocity Kalman filter over its centre and size. Pure.
//!
//! SORT's filter has no coupling between the four quantities, so it is four filters of two states (value and rate),
//! and no matrix library is needed. Noise is stated per second and in units of the box's own size, so that near and far
//! objects and fast and slow frame rates are treated alike.

use wire::record::NormBox;

/// How well a detector's box edge is known, in sizes of the box.
const MEASUREMENT: f32 = 0.06;
/// What an object may start with, in sizes a second: a walker makes about three of his widths.
const FIRST_RATE: f32 = 3.0;
/// Change of rate, in sizes a second squared.
const ACCELERATION: f32 = 2.0;
/// Sizes change more slowly than places.
const CALMNESS_OF_SIZE: f32 = 0.3;

#[derive(Clone, Debug)]
pub struct Motion {
    center_x: Line,
    center_y: Line,
    width: Line,
    height: Line,
}

impl Motion {
    pub fn new(rect: &NormBox) -> Self {
        let calm = CALMNESS_OF_SIZE;
        Self {
            center_x: Line::new(rect.x + rect.w / 2.0, rect.w, 1.0),
            center_y: Line::new(rect.y + rect.h / 2.0, rect.h, 1.0),
            width: Line::new(rect.w, rect.w, calm),
            height: Line::new(rect.h, rect.h, calm),
        }
    }

    /// Goes on by `seconds`.
    pub fn predict(&mut self, seconds: f32) {
        let (width, height) = (self.width.value, self.height.value);
        let calm = ACCELERATION * CALMNESS_OF_SIZE;
        self.center_x.predict(seconds, ACCELERATION * width);
        self.center_y.predict(seconds, ACCELERATION * height);
        self.width.predict(seconds, calm * width);
        self.height.predict(seconds, calm * height);
    }

    /// Takes in where the detector saw it.
    pub fn correct(&mut self, rect: &NormBox) {
        self.center_x
            .correct(rect.x + rect.w / 2.0, MEASUREMENT * rect.w);
        self.center_y
            .correct(rect.y + rect.h / 2.0, MEASUREMENT * rect.h);
        self.width.correct(rect.w, MEASUREMENT * rect.w);
        self.height.correct(rect.h, MEASUREMENT * rect.h);
    }

    /// It is not seen: the last change of size was more likely the thing that hides it than a change of the object.
    pub fn coast(&mut self) {
        self.width.rate = 0.0;
        self.height.rate = 0.0;
    }

    pub fn rect(&self) -> NormBox {
        const SMALLEST: f32 = 1e-4;
        let (w, h) = (
            self.width.value.max(SMALLEST),
            self.height.value.max(SMALLEST),
        );
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
    fn new(value: f32, size: f32, liveliness: f32) -> Self {
        Self {
            value,
            rate: 0.0,
            var_value: (MEASUREMENT * size).powi(2),
            covariance: 0.0,
            var_rate: (FIRST_RATE * liveliness * size).powi(2),
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
