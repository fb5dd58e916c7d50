//! When the pictures inside a decoder arrived: a frame's time is that of its arrival, not of its decoding. Pure.
//!
//! Pictures may leave in another order than they came (B-frames). They leave in the order in which they were taken,
//! so the earliest arrival still inside belongs to the next one out: times of frames never go back.

use std::collections::VecDeque;
use std::time::Duration;
use wire::RecordTime;

/// More than any stream reorders; beyond it the oldest is forgotten.
const MOST_INSIDE: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    inside: VecDeque<(Duration, RecordTime)>,
}

impl Arrivals {
    /// A picture with this time stamp goes in.
    pub(super) fn note(&mut self, pts: Duration, time: RecordTime) {
        if self.inside.len() == MOST_INSIDE {
            self.inside.pop_front();
        }
        self.inside.push_back((pts, time));
    }

    /// A picture with this time stamp comes out; `None` if nothing can be inside. Those before it were lost.
    pub(super) fn take(&mut self, pts: Option<Duration>) -> Option<RecordTime> {
        let known = pts.filter(|pts| self.inside.iter().any(|(inside, _)| inside == pts));
        let Some(pts) = known else {
            // The decoder changed the stamp: its oldest picture is meant.
            return self.inside.pop_front().map(|(_, time)| time);
        };
        self.inside.retain(|(inside, _)| *inside >= pts);
        let out = self.inside.iter().position(|(inside, _)| *inside == pts)?;
        let earliest = (0..self.inside.len()).min_by_key(|&at| self.inside[at].1.boottime_ns)?;
        let time = self.inside[earliest].1;
        self.inside[earliest].1 = self.inside[out].1;
        self.inside.remove(out);
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SimClocks, TimeSource};
    use std::sync::Arc;
    use wire::UtcMicros;

    /// Pictures go in one each 10 ms in this order of time stamps, and come out in that one; gives the arrivals.
    fn check(into: &[u64], out: &[Option<u64>]) -> Vec<Option<u64>> {
        let clocks = Arc::new(SimClocks::new(UtcMicros(0)));
        let time = TimeSource::new(clocks.clone());
        let start = time.now().boottime_ns;
        let mut arrivals = Arrivals::default();
        for pts in into {
            arrivals.note(Duration::from_millis(*pts), time.now());
            clocks.advance(Duration::from_millis(10));
        }
        let at = |time: RecordTime| (time.boottime_ns - start) / 10_000_000;
        out.iter()
            .map(|pts| arrivals.take(pts.map(Duration::from_millis)).map(at))
            .collect()
    }

    #[test]
    fn each_picture_keeps_its_own_time() {
        let out = check(&[0, 1, 2], &[Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(out, [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn reordered_pictures_leave_with_rising_times() {
        let out = check(&[0, 3, 1, 2, 6, 4, 5], &[0, 1, 2, 3, 4, 5, 6].map(Some));
        assert_eq!(out, [0, 1, 2, 3, 4, 5, 6].map(Some));
    }

    #[test]
    fn a_lost_picture_takes_its_time_with_it() {
        assert_eq!(check(&[0, 1, 2], &[Some(0), Some(2)]), [Some(0), Some(2)]);
    }

    #[test]
    fn without_a_known_stamp_the_oldest_is_meant() {
        assert_eq!(check(&[0, 1], &[None, Some(77)]), [Some(0), Some(1)]);
        let many: Vec<u64> = (0..100).collect();
        assert_eq!(check(&many, &[None]), [Some(36)]);
    }
}
