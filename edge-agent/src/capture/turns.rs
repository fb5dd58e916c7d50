//! Who may decode everything while more cameras show something than the machine can decode. Pure.
//!
//! Cameras take turns, by group of pictures: at each of its key frames a camera asks again, and whoever has waited
//! longest is let in first. In between it shows its key frames, which cost a fifth. How many decode at once is found as
//! TCP finds its window (additive increase, multiplicative decrease; Chiu and Jain 1989): one more each second as long as
//! somebody waits and nobody is late, a quarter less when pictures come late.

use std::collections::BTreeMap;
use std::time::Duration;
use wire::CameraId;

/// Where the search begins, for each core.
const FIRST_PER_CORE: usize = 4;
const INCREASE_EVERY: Duration = Duration::from_secs(1);
/// Several are late for the same reason: one answer is enough.
const DECREASE_EVERY: Duration = Duration::from_secs(2);
/// Who has not asked for so long does not wait any more.
const FORGET_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct Turns {
    most: usize,
    cameras: BTreeMap<CameraId, Claim>,
    increased: Duration,
    decreased: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    /// It decodes now; otherwise it waits.
    decodes: bool,
    /// Since when it decodes or waits.
    since: Duration,
    asked: Duration,
}

impl Turns {
    /// For a machine with so many cores.
    pub fn new(cores: usize) -> Self {
        Self {
            most: cores.max(1) * FIRST_PER_CORE,
            cameras: BTreeMap::new(),
            increased: Duration::ZERO,
            decreased: None,
        }
    }

    /// How many may decode at once.
    pub fn most(&self) -> usize {
        self.most
    }

    /// A camera stands at a key frame and would decode the group behind it, or asks again while it waits.
    pub fn ask(&mut self, camera: CameraId, now: Duration) -> bool {
        self.cameras
            .retain(|_, claim| claim.decodes || now.saturating_sub(claim.asked) < FORGET_AFTER);
        let claim = self.cameras.entry(camera).or_insert(Claim {
            decodes: false,
            since: now,
            asked: now,
        });
        claim.asked = now;
        if claim.decodes {
            // It had its turn: whoever waited meanwhile goes first.
            *claim = Claim {
                decodes: false,
                since: now,
                asked: now,
            };
        }
        self.grow(now);
        let decoding = self.cameras.values().filter(|claim| claim.decodes).count();
        let mine = self.cameras[&camera].since;
        let before_me = self
            .cameras
            .iter()
            .filter(|(other, claim)| !claim.decodes && (claim.since, **other) < (mine, camera))
            .count();
        let granted = decoding + before_me < self.most;
        if granted && let Some(claim) = self.cameras.get_mut(&camera) {
            claim.decodes = true;
            claim.since = now;
        }
        granted
    }

    /// A camera decodes no more, and wants to no more.
    pub fn leave(&mut self, camera: CameraId) {
        self.cameras.remove(&camera);
    }

    /// A camera that decodes could not keep up.
    pub fn late(&mut self, now: Duration) {
        let recently = self
            .decreased
            .is_some_and(|then| now.saturating_sub(then) < DECREASE_EVERY);
        if recently {
            return;
        }
        let decoding = self.cameras.values().filter(|claim| claim.decodes).count();
        // What was never used up says nothing.
        self.most = (self.most.min(decoding.max(1)) * 3 / 4).max(1);
        self.decreased = Some(now);
        self.increased = now;
    }

    fn grow(&mut self, now: Duration) {
        let somebody_waits = self.cameras.values().filter(|claim| !claim.decodes).count() > 1
            || self.cameras.len() > self.most;
        if somebody_waits && now.saturating_sub(self.increased) >= INCREASE_EVERY {
            self.most += 1;
            self.increased = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(number: u128) -> CameraId {
        CameraId(uuid::Uuid::from_u128(number))
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Groups each of `cameras` decoded in `seconds`, if a group lasts 2 s and waiting ones ask at each picture.
    fn served(
        turns: &mut Turns,
        cameras: u128,
        seconds: u64,
        mut each: impl FnMut(&mut Turns, Duration),
    ) -> Vec<u32> {
        let mut groups = vec![0; usize::try_from(cameras).unwrap_or(0)];
        for at in (0..seconds * 1000).step_by(100).map(ms) {
            for (number, groups) in (0..cameras).zip(&mut groups) {
                let decodes = turns
                    .cameras
                    .get(&camera(number))
                    .is_some_and(|claim| claim.decodes);
                let at_key = (at.as_millis() + number * 300) % 2000 == 0;
                if (at_key || !decodes) && turns.ask(camera(number), at) {
                    *groups += 1;
                }
            }
            each(turns, at);
        }
        groups
    }

    #[test]
    fn who_has_room_asks_and_is_let_in() {
        let mut turns = Turns::new(2);
        assert!((0..8).all(|number| turns.ask(camera(number), ms(10))));
        assert!(!turns.ask(camera(8), ms(10)));
        turns.leave(camera(3));
        assert!(turns.ask(camera(8), ms(20)));
        assert!(turns.ask(camera(0), ms(2000)), "nobody waits");
    }

    #[test]
    fn more_than_can_decode_take_turns_evenly() {
        let mut turns = Turns::new(1);
        // Always late: it stays small.
        let groups = served(&mut turns, 12, 120, |turns, at| turns.late(at));
        let (least, most) = (groups.iter().min(), groups.iter().max());
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        assert!(least > 3 && most <= least * 2, "{groups:?}");
        assert!(turns.most() <= 4, "{}", turns.most());
    }

    #[test]
    fn without_lateness_all_decode_in_the_end() {
        let mut turns = Turns::new(1);
        served(&mut turns, 12, 30, |_, _| ());
        assert!(turns.most() >= 12 && turns.most() < 20, "{}", turns.most());
    }

    #[test]
    fn one_lateness_is_answered_once() {
        let mut turns = Turns::new(4);
        assert!((0..16).all(|number| turns.ask(camera(number), ms(1))));
        (0..16).for_each(|n| turns.late(ms(1000 + n)));
        assert_eq!(turns.most(), 12);
        (0..90).for_each(|n| turns.late(ms(3000 * (n + 1))));
        assert_eq!(turns.most(), 1, "one always may");
    }

    #[test]
    fn who_left_without_a_word_holds_nobody_up() {
        let mut turns = Turns::new(1);
        assert!((0..4).all(|number| turns.ask(camera(number), ms(0))));
        assert!(!turns.ask(camera(4), ms(0)));
        turns.leave(camera(0));
        assert!(!turns.ask(camera(5), ms(100)), "4 waits for longer");
        assert!(turns.ask(camera(5), ms(4000)), "4 is gone");
    }
}
