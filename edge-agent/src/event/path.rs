//! Where an object walked, in at most [`MAX_PATH_POINTS`] points, however long it walks. Pure.

use wire::UtcMicros;
use wire::record::{MAX_PATH_POINTS, PathPoint};

/// Keeps the first and the newest point, and between them points that are at least `spacing` apart. When it is full,
/// every second point goes and the spacing doubles: the shape stays, the detail halves.
#[derive(Clone, Debug)]
pub(super) struct Path {
    kept: Vec<PathPoint>,
    newest: Option<PathPoint>,
    /// In fractions of the picture.
    spacing: f32,
}

const FIRST_SPACING: f32 = 0.01;

impl Default for Path {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            newest: None,
            spacing: FIRST_SPACING,
        }
    }
}

impl Path {
    pub(super) fn push(&mut self, at_us: UtcMicros, x: f32, y: f32) {
        let point = PathPoint { at_us, x, y };
        self.newest = Some(point);
        let far = self
            .kept
            .last()
            .is_none_or(|last| (last.x - x).hypot(last.y - y) >= self.spacing);
        if !far {
            return;
        }
        // One place is left for the newest point.
        if self.kept.len() == MAX_PATH_POINTS - 1 {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.spacing *= 2.0;
        }
        self.kept.push(point);
    }

    /// The clock was set: what was is told in its new time.
    pub(super) fn shift_us(&mut self, by_us: i64) {
        for point in self.kept.iter_mut().chain(&mut self.newest) {
            point.at_us = point.at_us.plus_us(by_us);
        }
    }

    pub(super) fn points(&self) -> Vec<PathPoint> {
        let mut points = self.kept.clone();
        if let Some(newest) = self.newest
            && points.last() != Some(&newest)
        {
            points.push(newest);
        }
        for point in &mut points {
            point.x = crate::geometry::round4(point.x);
            point.y = crate::geometry::round4(point.y);
        }
        points
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_path_stays_short_and_keeps_both_ends(steps in prop::collection::vec((0.0_f32..1.0, 0.0_f32..1.0), 1..2000)) {
            let mut path = Path::default();
            for (index, (x, y)) in steps.iter().enumerate() {
                path.push(UtcMicros(index as i64), *x, *y);
                prop_assert!(path.points().len() <= MAX_PATH_POINTS);
            }
            let points = path.points();
            prop_assert_eq!(points[0].at_us, UtcMicros(0));
            prop_assert_eq!(points.last().unwrap().at_us, UtcMicros(steps.len() as i64 - 1));
            prop_assert!(points.windows(2).all(|pair| pair[0].at_us < pair[1].at_us));
        }
    }

    #[test]
    fn standing_adds_nothing() {
        let mut path = Path::default();
        for index in 0..100 {
            path.push(UtcMicros(index), 0.5, 0.5);
        }
        assert_eq!(path.points().len(), 2);
    }
}
