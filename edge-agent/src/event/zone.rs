//! Whether an object is in a zone, since when, and what of it was told. Pure.
//!
//! A box trembles, so an object that stands on the outline would come and go all day. It is inside once so many looks
//! in a row found it inside, and outside once so many found it outside (`inertia_looks`).

use super::filter::Filter;
use super::timing::Timing;
use crate::geometry::polygon::{self, Point};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Zone {
    pub name: String,
    pub points: Vec<Point>,
    pub filter: Filter,
    pub inertia_looks: u32,
    /// Coming in makes an event.
    pub event: bool,
    /// Staying this long makes one.
    pub loitering: Option<Duration>,
    /// So many at a time make one.
    pub occupancy: Option<u32>,
    pub timing: Timing,
}

impl Zone {
    pub(super) fn holds(&self, foot: Point) -> bool {
        polygon::contains(&self.points, foot)
    }
}

/// One object and one zone.
#[derive(Clone, Debug, Default)]
pub(super) struct Stay {
    /// Since when it is inside.
    since: Option<Duration>,
    /// Looks in a row that say otherwise, and when the first of them was.
    otherwise: u32,
    otherwise_since: Duration,
    last_seen: Duration,
    pub(super) told_entry: bool,
    pub(super) told_loitering: bool,
}

impl Stay {
    /// Takes a look at the object. Returns whether it came in by this one.
    pub(super) fn look(&mut self, now: Duration, is_in: bool, inertia_looks: u32) -> bool {
        if is_in {
            self.last_seen = now;
        }
        if is_in == self.since.is_some() {
            self.otherwise = 0;
            return false;
        }
        if self.otherwise == 0 {
            self.otherwise_since = now;
        }
        self.otherwise += 1;
        if self.otherwise < inertia_looks {
            return false;
        }
        *self = Self {
            since: is_in.then_some(self.otherwise_since),
            last_seen: now,
            ..Self::default()
        };
        is_in
    }

    pub(super) fn is_inside(&self) -> bool {
        self.since.is_some()
    }

    /// How long it has been inside, as far as it was seen; `None`: it is outside.
    pub(super) fn lasted(&self) -> Option<Duration> {
        let since = self.since?;
        Some(self.last_seen.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks one second apart, `i` inside and `o` outside; returns what is held after each.
    fn stay(looks: &str, inertia_looks: u32) -> (String, Stay) {
        let mut stay = Stay::default();
        let held = looks
            .chars()
            .enumerate()
            .map(|(second, look)| {
                let now = Duration::from_secs(second as u64);
                match (stay.look(now, look == 'i', inertia_looks), stay.is_inside()) {
                    (true, _) => 'C',
                    (false, true) => 'I',
                    (false, false) => '.',
                }
            })
            .collect();
        (held, stay)
    }

    #[test]
    fn inertia_both_ways() {
        for (looks, inertia, held) in [
            ("iii", 1, "CII"),
            ("oioi", 1, ".C.C"),
            ("iii", 2, ".CI"),
            ("ioioio", 2, "......"),
            ("iioioiooo", 2, ".CIIIII.."),
            ("iiiiooiiioooiii", 3, "..CIIIIIIII...C"),
        ] {
            assert_eq!(stay(looks, inertia).0, held, "{looks} with {inertia}");
        }
    }

    #[test]
    fn a_stay_lasts_from_the_first_look_inside_to_the_last() {
        assert_eq!(stay("ooiiii", 3).1.lasted(), Some(Duration::from_secs(3)));
        assert_eq!(stay("iiiioo", 3).1.lasted(), Some(Duration::from_secs(3)));
        assert_eq!(stay("iiiiooo", 3).1.lasted(), None);
    }
}
