//! Whether an object crossed a line, and which way. Pure.
//!
//! The line is an arrow. Who goes from its left to its right, as seen by whoever walks along it, comes in; who goes back
//! goes out. A box trembles, so a crossing counts only when the object stands clearly on the other side: farther from
//! the line than a band that grows with the object. Then it counts once, and the next one is the way back.

use super::filter::Filter;
use super::timing::Timing;
use crate::geometry::polygon::{self, Point};

#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub from: Point,
    pub to: Point,
    pub filter: Filter,
    /// So many looks in a row must find an object clearly on the other side.
    pub inertia_looks: u32,
    /// Crossing makes an event.
    pub event: bool,
    pub timing: Timing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    In,
    Out,
}

impl Direction {
    /// The word of records.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// Half the width of the band in which nobody has crossed yet, as a share of the object's height ...
const BAND_OF_HEIGHT: f32 = 0.05;
/// ... and at least this and at most that, as shares of the picture's height.
const BAND: (f32, f32) = (0.004, 0.03);

/// One object and one line.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// Where it was at the last look.
    last: Option<Point>,
    /// On which side it clearly was last: whether to the right.
    firm: Option<bool>,
    /// Whether it went over the line when it last changed sides, and not around its end.
    went_over: bool,
    /// Looks in a row on the other side.
    looks: u32,
}

impl Way {
    /// An object that was first seen `at`.
    pub(super) fn beginning(line: &Line, at: Point, height: f32, aspect: f32) -> Self {
        let mut way = Self::default();
        way.look(line, at, height, aspect);
        way
    }

    /// Takes a look at the object. `foot` is where it stands, `height` that of its box, `aspect` the picture's width by
    /// its height. Returns the crossing that this look completes.
    pub(super) fn look(
        &mut self,
        line: &Line,
        foot: Point,
        height: f32,
        aspect: f32,
    ) -> Option<Direction> {
        // In units of the picture's height, so that distances are the same across and down.
        let square = |[x, y]: Point| [x * aspect, y];
        let (from, to, foot) = (square(line.from), square(line.to), square(foot));
        let length = (to[0] - from[0]).hypot(to[1] - from[1]);
        let offset = polygon::side(from, to, foot) / length.max(f32::MIN_POSITIVE);
        if let Some(last) = self.last.replace(foot)
            && (polygon::side(from, to, last) > 0.0) != (offset > 0.0)
        {
            self.went_over = polygon::meet(from, to, last, foot);
        }
        let band = (height * BAND_OF_HEIGHT).clamp(BAND.0, BAND.1);
        if offset.abs() < band {
            return None;
        }
        let is_right = offset > 0.0;
        let firm = *self.firm.get_or_insert(is_right);
        if firm == is_right {
            self.looks = 0;
            return None;
        }
        self.looks += 1;
        if self.looks < line.inertia_looks {
            return None;
        }
        self.firm = Some(is_right);
        self.looks = 0;
        let direction = if is_right {
            Direction::In
        } else {
            Direction::Out
        };
        self.went_over.then_some(direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From left to right across the middle of the picture: in is down.
    fn line(inertia_looks: u32) -> Line {
        Line {
            name: "Gate".into(),
            from: [0.2, 0.5],
            to: [0.8, 0.5],
            filter: Filter::default(),
            inertia_looks,
            event: true,
            timing: Timing::default(),
        }
    }

    /// Crossings of an object of a fifth of the picture's height along these points: `i` in, `o` out, `.` none.
    fn crossings(line: &Line, points: &[Point]) -> String {
        let mut way = Way::default();
        let look = |point: &Point| match way.look(line, *point, 0.2, 1.5) {
            Some(Direction::In) => 'i',
            Some(Direction::Out) => 'o',
            None => '.',
        };
        points.iter().map(look).collect()
    }

    fn down(ys: &[f32]) -> Vec<Point> {
        ys.iter().map(|y| [0.5, *y]).collect()
    }

    #[test]
    fn each_way_counts_once() {
        for (ys, expected) in [
            (&[0.3, 0.4, 0.6, 0.7][..], "..i."),
            (&[0.7, 0.4], ".o"),
            (&[0.4, 0.6, 0.4, 0.6], ".ioi"),
            // Trembling on the line, and then across it.
            (&[0.4, 0.495, 0.505, 0.498, 0.503, 0.507], "......"),
            (&[0.4, 0.495, 0.505, 0.498, 0.503, 0.52], ".....i"),
            (&[0.4, 0.505, 0.495, 0.505, 0.4], "....."),
            // First seen on the line: it comes from nowhere.
            (&[0.5, 0.6], ".."),
            // In one step from the far left to the far right of a slow camera.
            (&[0.0, 1.0], ".i"),
        ] {
            assert_eq!(crossings(&line(1), &down(ys)), expected, "{ys:?}");
        }
    }

    #[test]
    fn the_arrow_turned_round_turns_in_and_out() {
        let turned = Line {
            from: [0.8, 0.5],
            to: [0.2, 0.5],
            ..line(1)
        };
        assert_eq!(crossings(&turned, &down(&[0.3, 0.7, 0.3])), ".oi");
        let upright = Line {
            from: [0.5, 1.0],
            to: [0.5, 0.0],
            ..line(1)
        };
        // Seen by who walks up the picture, right is right.
        assert_eq!(crossings(&upright, &[[0.3, 0.5], [0.7, 0.5]]), ".i");
    }

    #[test]
    fn who_goes_around_its_end_has_not_crossed() {
        let around = [
            [0.5, 0.4],
            [0.95, 0.45],
            [0.95, 0.55],
            [0.5, 0.6],
            [0.5, 0.4],
        ];
        assert_eq!(crossings(&line(1), &around), "....o");
    }

    #[test]
    fn inertia_wants_looks_in_a_row() {
        assert_eq!(
            crossings(&line(3), &down(&[0.4, 0.6, 0.4, 0.6, 0.6, 0.6])),
            ".....i"
        );
    }
}
