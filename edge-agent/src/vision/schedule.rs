//! Which camera is looked at next, and how often each wants to be. Pure; time is handed in.
//!
//! One detector serves many cameras that mostly show nothing. A camera in which something moves is looked at up to the
//! ceiling; one in which something stands, at every key frame or so; an empty one, at the floor. Of the cameras that wait
//! the one goes first that is latest, measured in its own intervals. So nobody starves, a camera that begins to
//! move is seen at once, and when there is more to see than time, every camera's rate sinks by the same factor: nothing
//! queues, and what was asked for and given is told.
//!
//! Intervals are of the time at which pictures were **taken**, so that a camera that shows what led up to a movement is
//! looked at as often in its past as it would have been then.

use crate::capture::lookout::{Attention, Waiting};
use std::time::Duration;

/// How often cameras are to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The ceiling: shortest time between two looks at one camera.
    pub every: Duration,
    /// The floor: longest time between two looks at a camera that shows nothing.
    pub glance_every: Duration,
}

impl Pace {
    pub fn new(frames_per_second: f32, glance_seconds: u32) -> Self {
        let every = 1.0 / f64::from(frames_per_second).clamp(0.01, 1000.0);
        let glance_every = f64::from(glance_seconds).max(every / GLANCE_AT);
        Self {
            every: Duration::from_secs_f64(every),
            glance_every: Duration::from_secs_f64(glance_every),
        }
    }
}

/// What the last look at a camera found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interest {
    #[default]
    Nothing,
    /// Objects that stand.
    Standing,
    /// Objects that move, each as it was expected.
    Steady,
    /// Objects that move, and of which some are uncertain: new, hidden, crossing.
    Following,
}

impl Interest {
    /// Whether everything is to be decoded, because it moves.
    fn moves(self) -> bool {
        matches!(self, Self::Steady | Self::Following)
    }
}

/// An object that has just come to stand is looked at this often: less than the usual two seconds between key frames, so
/// that none of them is missed by a hair.
const STANDING_EVERY: Duration = Duration::from_millis(1500);
/// One that stands on is looked at ever more rarely, each time after such a part of the time it has stood: a parked car need
/// not be seen thirty times a minute. The floor holds, and whatever moves is looked at anyway.
const STANDING_PART: f64 = 1.0 / 8.0;
/// After so many looks at movement in which nothing was found, such as a tree's, every second one will do.
const FRUITLESS_LOOKS: u32 = 25;
/// When an empty camera is glanced at, as shares of the longest time between two glances: when it is wanted; from when on a key
/// frame is taken because the next one would be too late; and by when one is asked for that would not be decoded otherwise.
/// With a key frame every two seconds and a glance every ten none ever is.
const GLANCE_AT: f64 = 0.8;
const GLANCE_FROM: f64 = 0.4;
const GLANCE_BY: f64 = 0.95;
/// For so long after a look that found something moving everything goes on being decoded.
const HOLD: Duration = Duration::from_millis(1200);
/// A camera that shows its past is preferred the more, the longer ago it is; up to this.
const MOST_LAG: Duration = Duration::from_secs(2);

/// One camera's turn.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    busy: bool,
    interest: Interest,
    /// When the picture was taken since which every look found nothing but what stands.
    standing_since: Option<Duration>,
    fruitless: u32,
    /// The beat of the looks, by when pictures were taken; `None` before the first.
    beat: Option<Duration>,
    /// When it was looked at last.
    looked_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Look(usize),
    /// Nobody is due before so long, unless something is shown meanwhile.
    Wait(Duration),
}

#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    turns: Vec<Turn>,
}

impl Schedule {
    pub fn new(pace: Pace, cameras: usize) -> Self {
        Self {
            pace,
            turns: vec![Turn::default(); cameras],
        }
    }

    /// The latest of the cameras that have something to show and are due; it is taken until [`Schedule::done`] or
    /// [`Schedule::give_back`].
    pub fn choose(
        &mut self,
        now: Duration,
        longest_wait: Duration,
        waiting: impl Fn(usize) -> Option<Waiting>,
    ) -> Choice {
        let mut wait = longest_wait;
        let mut best: Option<(f64, usize)> = None;
        for (index, turn) in self.turns.iter().enumerate() {
            let Some(shown) = waiting(index).filter(|_| !turn.busy) else {
                continue;
            };
            let due_in = self.due_in(turn, shown);
            if !due_in.is_zero() {
                wait = wait.min(due_in);
                continue;
            }
            let lateness = self.lateness(turn, shown, now);
            if best.is_none_or(|(most, _)| lateness > most) {
                best = Some((lateness, index));
            }
        }
        let Some((_, index)) = best else {
            return Choice::Wait(wait);
        };
        self.turns[index].busy = true;
        Choice::Look(index)
    }

    /// A look at a picture of camera `index`, taken `at`, found this.
    pub fn done(
        &mut self,
        index: usize,
        now: Duration,
        at: Duration,
        moving: bool,
        found: Interest,
    ) {
        let interval = self.interval(&self.turns[index], moving);
        let turn = &mut self.turns[index];
        let due = turn.beat.map(|beat| beat + interval);
        // On the beat, so that the rate does not sink by what each look is late; after a pause from now on.
        turn.beat = match due {
            Some(due) if at < due + interval / 2 => {
                Some(due.max(at.saturating_sub(interval / 2)).min(at))
            }
            _ => Some(at),
        };
        turn.looked_at = Some(now);
        turn.fruitless = match found {
            Interest::Nothing if moving => turn.fruitless.saturating_add(1),
            _ => 0,
        };
        turn.interest = found;
        turn.standing_since = match found {
            Interest::Standing if !moving => turn.standing_since.or(Some(at)),
            _ => None,
        };
    }

    /// The camera may be taken again, however its turn ended.
    pub fn give_back(&mut self, index: usize) {
        self.turns[index].busy = false;
    }

    /// What camera `index` is to show, as far as the schedule decides it.
    pub fn attention(&self, index: usize, now: Duration) -> Attention {
        let turn = &self.turns[index];
        let glance = |share: f64| self.pace.glance_every.mul_f64(share);
        let rest = match turn.interest {
            Interest::Nothing => glance(GLANCE_AT),
            _ => self.standing_every(turn).min(glance(GLANCE_AT)),
        };
        let after_beat = |time: Duration| turn.beat.map(|beat| beat + time);
        Attention {
            hold_until: if turn.interest.moves() {
                now + HOLD
            } else {
                Duration::ZERO
            },
            // A little more often than looked at, for the beat to choose from.
            every: self.interval(turn, true).mul_f64(0.75),
            glance_at: after_beat(rest).unwrap_or_default(),
            glance_from: after_beat(rest.min(glance(GLANCE_FROM)).max(self.pace.every))
                .unwrap_or_default(),
            glance_by: after_beat(glance(GLANCE_BY)),
            at_once: false,
        }
    }

    /// Looks a second that camera `index` is worth now.
    pub fn asked_fps(&self, index: usize) -> f64 {
        let turn = &self.turns[index];
        1.0 / self.interval(turn, false).as_secs_f64()
    }

    /// How long no look at camera `index` is nothing unusual.
    pub fn patience(&self, index: usize) -> Duration {
        let turn = &self.turns[index];
        match turn.interest {
            Interest::Nothing | Interest::Standing => {
                self.pace.glance_every.max(STANDING_EVERY * 2)
            }
            Interest::Steady | Interest::Following => self.pace.every * 2,
        }
    }

    fn interval(&self, turn: &Turn, moving: bool) -> Duration {
        let every = self.pace.every;
        match turn.interest {
            Interest::Following => every,
            Interest::Steady => every * 2,
            _ if moving && turn.fruitless >= FRUITLESS_LOOKS => every * 2,
            _ if moving => every,
            Interest::Standing => self.standing_every(turn).max(every),
            Interest::Nothing => self.pace.glance_every.mul_f64(GLANCE_AT).max(every),
        }
    }

    /// How often what stands is looked at.
    fn standing_every(&self, turn: &Turn) -> Duration {
        let stood = turn.standing_since.zip(turn.beat);
        let stood = stood.map_or(Duration::ZERO, |(since, beat)| beat.saturating_sub(since));
        let most = self.pace.glance_every.mul_f64(GLANCE_AT);
        stood.mul_f64(STANDING_PART).max(STANDING_EVERY).min(most)
    }

    /// Zero where the picture that is shown may be looked at.
    fn due_in(&self, turn: &Turn, shown: Waiting) -> Duration {
        // The past waits as it was shown, a little closer than the beat: nothing newer comes in its place.
        let Some(beat) = turn.beat.filter(|_| !shown.catching_up) else {
            return Duration::ZERO;
        };
        let interval = if shown.wanted {
            self.pace.every
        } else {
            self.interval(turn, shown.share > 0.0)
        };
        (beat + interval).saturating_sub(shown.at)
    }

    /// In intervals.
    fn lateness(&self, turn: &Turn, shown: Waiting, now: Duration) -> f64 {
        let Some(looked_at) = turn.looked_at else {
            return f64::INFINITY;
        };
        let interval = self.interval(turn, shown.share > 0.0);
        let late = now.saturating_sub(looked_at).as_secs_f64() / interval.as_secs_f64();
        let lag = now.saturating_sub(shown.at).min(MOST_LAG);
        late * (1.0 + lag.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::capture::eyes::Eyes;
    use crate::frame::Frame;
    use crate::luma::scenes;
    use wire::CameraId;

    const MS: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(250);

    fn schedule(cameras: usize) -> Schedule {
        Schedule::new(Pace::new(5.0, 10), cameras)
    }

    fn shown(at: Duration, share: f32) -> Option<Waiting> {
        Some(Waiting {
            at,
            share,
            wanted: false,
            catching_up: false,
        })
    }

    /// One camera at so many frames a second for ten seconds: how many looks.
    fn looks_in_ten_seconds(fps: u32, share: f32, found: Interest) -> usize {
        let mut schedule = schedule(1);
        let mut looks = 0;
        for frame in 0..fps * 10 {
            let at = Duration::from_secs(1) * frame / fps;
            if let Choice::Look(0) = schedule.choose(at, LONGEST, |_| shown(at, share)) {
                looks += 1;
                schedule.done(0, at, at, share > 0.0, found);
                schedule.give_back(0);
            }
        }
        looks
    }

    #[test]
    fn each_camera_is_looked_at_as_often_as_it_is_worth() {
        use Interest::{Following, Nothing, Standing, Steady};
        for (fps, share, found, expected) in [
            (25, 0.1, Following, 50..=51),
            // The beat holds where frames do not fall on it.
            (12, 0.1, Following, 48..=51),
            (15, 0.1, Steady, 25..=26),
            (15, 0.0, Following, 50..=51),
            // A tree: five a second at first, then half of it.
            (15, 0.1, Nothing, 36..=39),
            (15, 0.0, Standing, 7..=7),
            (15, 0.0, Nothing, 2..=2),
        ] {
            let looks = looks_in_ten_seconds(fps, share, found);
            assert!(
                expected.contains(&looks),
                "{fps} fps, {share}, {found:?}: {looks}, not {expected:?}"
            );
        }
    }

    #[test]
    fn a_parked_car_is_looked_at_ever_more_rarely_until_something_moves() {
        let mut schedule = schedule(1);
        let mut looks = Vec::new();
        for frame in 0..15 * 400 {
            let at = Duration::from_secs(1) * frame / 15;
            let share = if at < Duration::from_secs(360) {
                0.0
            } else {
                0.1
            };
            if let Choice::Look(0) = schedule.choose(at, LONGEST, |_| shown(at, share)) {
                looks.push(at);
                schedule.done(0, at, at, share > 0.0, Interest::Standing);
                schedule.give_back(0);
            }
        }
        let between = |from: u64, until: u64| {
            let from_until = Duration::from_secs(from)..Duration::from_secs(until);
            looks.iter().filter(|at| from_until.contains(*at)).count()
        };
        let counts = [(0, 10), (60, 120), (300, 360), (370, 380)].map(|(a, b)| between(a, b));
        assert_eq!(counts, [7, 8, 8, 50], "{looks:?}");
        let gaps = looks.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.max() < Some(Duration::from_secs(10)), "{looks:?}");
    }

    /// Cameras that all move, and a detector that takes so long a look: looks of each in ten seconds.
    fn share_out(cameras: usize, look: Duration, busy: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut schedule = schedule(cameras);
        let mut looks = vec![0; cameras];
        let mut now = Duration::from_secs(100);
        let end = now + Duration::from_secs(10);
        while now < end {
            // Everybody has a fresh picture, as of the last fifteenth of a second.
            let at = now - Duration::from_nanos((now.as_nanos() % 66_666_667) as u64);
            let share = |index| if busy(index) { 0.1 } else { 0.0 };
            match schedule.choose(now, LONGEST, |index| shown(at, share(index))) {
                Choice::Look(index) => {
                    let found = match busy(index) {
                        true => Interest::Following,
                        false => Interest::Nothing,
                    };
                    looks[index] += 1;
                    now += look;
                    schedule.done(index, now, at, busy(index), found);
                    schedule.give_back(index);
                }
                Choice::Wait(_) => now += MS,
            }
        }
        looks
    }

    #[test]
    fn overload_takes_the_same_share_from_everybody() {
        // Twenty cameras want a hundred looks a second; there is time for forty.
        let looks = share_out(20, 25 * MS, |_| true);
        let (least, most) = (looks.iter().min(), looks.iter().max());
        assert_eq!(looks.iter().sum::<usize>(), 400);
        assert!(least >= Some(&19) && most <= Some(&21), "{looks:?}");
    }

    #[test]
    fn a_still_camera_is_not_starved_by_busy_ones() {
        let looks = share_out(20, 25 * MS, |index| index > 0);
        // At the floor it would be looked at twice in this time; everybody is about two and a half times late.
        assert!((1..=2).contains(&looks[0]), "{looks:?}");
    }

    /// Ten minutes of a still camera with a key frame every so often, give or take a twentieth of a second: looks, the longest
    /// time between two of them, and how often pictures were decoded for the sake of a glance.
    fn glances(glance_seconds: u32, keys_every: Duration) -> (usize, Duration, usize) {
        let mut schedule = Schedule::new(Pace::new(5.0, glance_seconds), 1);
        let (eyes, mut attention) = (Eyes::new(&[]), Attention::default());
        let (mut looks, mut openings) = (Vec::new(), 0);
        let (mut now, mut key_at, mut key) = (Duration::ZERO, Duration::ZERO, 0);
        while now < Duration::from_secs(600) {
            now += Duration::from_secs(1) / 15;
            let is_key = now >= key_at;
            let (_, shown) = eyes.wanted_and_shown();
            let is_overdue = attention.is_overdue(now, shown);
            if is_key {
                key += 1;
                key_at = keys_every * key + 50 * MS * (key * 7 % 3);
                eyes.expect_key(now);
            } else if is_overdue {
                openings += 1;
                eyes.want(now);
            } else {
                continue;
            }
            let mut time = scenes::time();
            time.boottime_ns = now.as_nanos() as u64;
            let frame = Frame::from_rgb(CameraId(uuid::Uuid::nil()), time, 8, 8, vec![90; 192]);
            let Some(glimpse) = eyes.look(frame, &attention).show else {
                continue;
            };
            let shown = Waiting {
                at: now,
                share: 0.0,
                wanted: glimpse.wanted,
                catching_up: false,
            };
            if schedule.choose(now, LONGEST, |_| Some(shown)) == Choice::Look(0) {
                looks.push(now);
                schedule.done(0, now, now, false, Interest::Nothing);
                schedule.give_back(0);
                attention = schedule.attention(0, now);
            }
        }
        let gaps = looks.windows(2).map(|pair| pair[1] - pair[0]);
        (looks.len(), gaps.max().unwrap_or(Duration::MAX), openings)
    }

    #[test]
    fn the_floor_is_kept_whenever_key_frames_come_and_costs_nothing_where_they_are_usual() {
        for (glance, keys_ms, most_looks, opens) in [
            (10, 1000, 76, false),
            (10, 2000, 76, false),
            (10, 3000, 80, false),
            (10, 4000, 76, false),
            (10, 4700, 130, false),
            (10, 5000, 130, false),
            (10, 11_000, 120, true),
            // Key frames just as far apart are sometimes a little late.
            (2, 2000, 410, true),
            (1, 2000, 800, true),
            (2, 500, 410, false),
            (60, 2000, 13, false),
        ] {
            let (looks, gap, openings) = glances(glance, keys_ms * MS);
            let what = format!("{glance} s, keys every {keys_ms} ms: {looks} {gap:?} {openings}");
            assert!(gap <= Duration::from_secs(glance.into()), "{what}");
            assert!(looks <= most_looks, "{what}");
            assert_eq!(openings > 0, opens, "{what}");
        }
    }

    #[test]
    fn a_picture_that_was_asked_for_does_not_wait_for_the_next_glance() {
        let mut schedule = schedule(1);
        let (before, at) = (Duration::from_secs(8), Duration::from_secs(9));
        schedule.done(0, before, before, false, Interest::Nothing);
        let still = shown(at, 0.0);
        let asked = still.map(|still| Waiting {
            wanted: true,
            ..still
        });
        assert_eq!(
            schedule.choose(at, LONGEST, |_| still),
            Choice::Wait(LONGEST)
        );
        assert_eq!(schedule.choose(at, LONGEST, |_| asked), Choice::Look(0));
    }

    #[test]
    fn what_begins_to_move_goes_before_what_is_followed_already() {
        let now = Duration::from_secs(50);
        // (a still camera's last look, and the picture that it shows now; a followed camera's last look) ago
        for (still, shows, followed) in [(5000, 0, 600), (3000, 2000, 600), (1000, 0, 300)] {
            let mut schedule = schedule(2);
            let (looked, at) = (now - still * MS, now - followed * MS);
            schedule.done(0, looked, looked, false, Interest::Nothing);
            schedule.done(1, at, at, true, Interest::Following);
            let choice = schedule.choose(now, LONGEST, |index| match index {
                0 => shown(now - shows * MS, 0.1),
                _ => shown(now, 0.1),
            });
            assert_eq!(choice, Choice::Look(0), "{still} {shows} {followed}");
        }
    }

    #[test]
    fn the_past_is_looked_at_as_often_as_it_would_have_been() {
        let mut schedule = schedule(1);
        let start = Duration::from_secs(100);
        schedule.done(
            0,
            start,
            start - Duration::from_secs(5),
            false,
            Interest::Nothing,
        );
        // Two seconds of the past, shown within a tenth of a second.
        let mut looks = 0;
        for frame in 0..30 {
            let at = start - Duration::from_secs(2) + Duration::from_secs(2) * frame / 30;
            let now = start + 3 * MS * frame;
            if let Choice::Look(0) = schedule.choose(now, LONGEST, |_| shown(at, 0.2)) {
                looks += 1;
                schedule.done(0, now, at, true, Interest::Following);
                schedule.give_back(0);
            }
        }
        assert!((9..=11).contains(&looks), "{looks}");
    }

    #[test]
    fn what_waits_of_the_past_never_stands_in_the_way() {
        let mut schedule = schedule(1);
        let start = Duration::from_secs(100);
        for (number, found) in [
            Interest::Following,
            Interest::Steady,
            Interest::Standing,
            Interest::Nothing,
        ]
        .into_iter()
        .enumerate()
        {
            // As close as `Attention::every` has them, and nothing moves in it any more.
            let at = start + 150 * MS * number as u32;
            let waiting = Waiting {
                catching_up: true,
                ..shown(at, 0.0).unwrap()
            };
            let choice = schedule.choose(start, LONGEST, |_| Some(waiting));
            assert_eq!(choice, Choice::Look(0), "after {number}");
            schedule.done(0, start, at, false, found);
            schedule.give_back(0);
        }
    }

    #[test]
    fn a_busy_camera_is_not_taken_twice() {
        let mut schedule = schedule(1);
        let now = Duration::from_secs(1);
        assert_eq!(
            schedule.choose(now, LONGEST, |_| shown(now, 0.1)),
            Choice::Look(0)
        );
        assert_eq!(
            schedule.choose(now, LONGEST, |_| shown(now, 0.1)),
            Choice::Wait(LONGEST)
        );
        schedule.give_back(0);
        assert_eq!(
            schedule.choose(now, LONGEST, |_| shown(now, 0.1)),
            Choice::Look(0)
        );
    }

    #[test]
    fn attention_follows_interest() {
        let mut schedule = schedule(1);
        let at = Duration::from_secs(9);
        assert_eq!(schedule.attention(0, at).glance_at, Duration::ZERO);
        for (found, holds, rest) in [
            (Interest::Nothing, false, 8000),
            (Interest::Standing, false, 1500),
            (Interest::Steady, true, 1500),
            (Interest::Following, true, 1500),
        ] {
            schedule.turns[0].beat = None;
            schedule.done(0, at, at, false, found);
            let attention = schedule.attention(0, at);
            assert_eq!(attention.hold_until > at, holds, "{found:?}");
            assert_eq!(attention.glance_at, at + rest * MS, "{found:?}");
        }
    }
}
