//! What a polygon may be. Pure: corners in, what is wrong with them out.

use crate::config::Point;
use crate::geometry::polygon::{area, crosses_itself};

/// Most corners: an outline of a zone, not a drawing.
const MAX_POINTS: usize = 64;
/// Smallest mask that hides anything, in square fractions of the picture.
const MIN_MASK_AREA: f32 = 1e-6;
/// Smallest zone that anybody can stand in: a hundredth of the picture each way.
const MIN_ZONE_AREA: f32 = 1e-4;

pub(super) const MASK_REMEDY: &str =
    "a mask is [[x, y], ...] with three points or more, each from 0 (left, top) to 1";
pub(super) const ZONE_REMEDY: &str = "write points = [[x, y], ...], three or more, each from 0 (left, top) to 1, in the order in which one walks around it";

/// What is wrong with a mask. One that crosses itself hides what it hides.
pub(super) fn wrong_with_mask(points: &[Point]) -> Option<String> {
    if points.len() < 3 {
        return Some(format!("has {} point(s)", points.len()));
    }
    if let Some([x, y]) = points.iter().find(|point| !is_in_picture(point)) {
        return Some(format!("has the point [{x}, {y}] outside the picture"));
    }
    (area(points) < MIN_MASK_AREA).then(|| "covers nothing".into())
}

/// What is wrong with a zone's outline: more than with a mask, since it must be clear what is inside.
pub(super) fn wrong_with_zone(points: &[Point]) -> Option<String> {
    if points.is_empty() {
        return Some("has no `points`".into());
    }
    if points.len() > MAX_POINTS {
        return Some(format!(
            "has {} points, more than {MAX_POINTS}",
            points.len()
        ));
    }
    if points.len() < 3 || !points.iter().all(is_in_picture) {
        return wrong_with_mask(points);
    }
    let next = points.iter().cycle().skip(1);
    if let Some(([x, y], _)) = points.iter().zip(next).find(|(a, b)| a == b) {
        return Some(format!(
            "has the point [{x}, {y}] twice in a row; its last point is joined to the first by itself"
        ));
    }
    if crosses_itself(points) {
        return Some("has an outline that crosses or touches itself".into());
    }
    (area(points) < MIN_ZONE_AREA).then(|| "is too small for anybody to stand in".into())
}

pub(super) fn is_in_picture(point: &Point) -> bool {
    point.iter().all(|value| (0.0..=1.0).contains(value))
}
