//! What is seen in one camera's decoded pictures: whether something moves, whether the camera still sees, and which
//! pictures are shown.
//!
//! Called on the decoder's thread, in the order in which pictures come out. Pictures may be decoded a second time, when
//! what led up to a movement is wanted: then the model of what usually moves goes back to what it knew before them, and
//! nothing is shown twice or out of order.

use super::gate::Verdict;
use super::lookout::{Attention, Glimpse};
use crate::frame::Frame;
use crate::luma::SmallLuma;
use crate::motion::MotionModel;
use crate::sight::{SightChange, SightModel};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Movements are looked for in ten pictures a second; more of them cost and tell nothing new.
const MOTION_EVERY: Duration = Duration::from_millis(95);
/// A camera's sight is judged once a second.
const SIGHT_EVERY: Duration = Duration::from_millis(950);
/// A key frame arrives with some jitter and comes out of its decoder a little later: so long after it was to be taken it is
/// shown at the latest.
const KEY_SHOWN_WITHIN: Duration = Duration::from_millis(300);
/// Pictures come with some jitter: so much earlier is still in time.
const JITTER: Duration = Duration::from_millis(10);
/// A camera that had to wait for its turn does not go back further than this: later key frames were shown meanwhile.
pub(super) const OLDEST_PAST: Duration = Duration::from_secs(6);
/// What is kept to go back to is so far apart at least. It need not be the key frame's very own: the model learns slowly, and
/// what it knew somewhat earlier is free of what came later.
const RETURN_EVERY: Duration = Duration::from_millis(1900);

#[derive(Debug)]
pub(crate) struct Eyes {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    motion: MotionModel,
    /// The model as it was before the key frame of that time; newest last. One of them is older than [`OLDEST_PAST`].
    before: VecDeque<(Duration, MotionModel)>,
    /// Times of key frames that are inside of the decoder.
    keys: VecDeque<Duration>,
    /// When the last key frame that came out was taken, and how long after the one before.
    last_key: Option<Duration>,
    key_interval: Option<Duration>,
    looked_at: Option<Duration>,
    sight: SightModel,
    sight_at: Option<Duration>,
    shown_at: Option<Duration>,
    /// Somebody waits for a picture taken not before this.
    wanted_from: Option<Duration>,
    /// Pictures up to this one belong to the past that is being caught up with.
    past_until: Duration,
}

/// Nobody knows yet where the past ends.
const UNTIL_TOLD: Duration = Duration::MAX;

/// What was seen in one picture, for the camera's own thread.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) verdict: Verdict,
    /// It shows what the camera ought to see; asked about once a second.
    pub(crate) is_good: bool,
    pub(crate) sight: Option<(SightChange, Frame)>,
    /// Something moves in a key frame by itself: what led up to it comes first, and it with that, unless its camera is
    /// not given its turn. Then it is to be shown after all.
    pub(crate) held_back: Option<Glimpse>,
}

/// What is to be done with a picture.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// `None` when it was not worth a look.
    pub(crate) seen: Option<Seen>,
    pub(crate) show: Option<Glimpse>,
    /// It belongs to the past.
    pub(crate) catching_up: bool,
}

impl Eyes {
    pub(crate) fn new(motion_masks: &[Vec<[f32; 2]>]) -> Self {
        Self {
            inner: Mutex::new(Inner {
                motion: MotionModel::new(motion_masks),
                before: VecDeque::new(),
                keys: VecDeque::new(),
                last_key: None,
                key_interval: None,
                looked_at: None,
                sight: SightModel::new(),
                sight_at: None,
                shown_at: None,
                wanted_from: None,
                past_until: Duration::ZERO,
            }),
        }
    }

    /// A key frame taken `at` goes into the decoder.
    pub(crate) fn expect_key(&self, at: Duration) {
        self.lock().keys.push_back(at);
    }

    /// Decoding begins at the key frame taken `at`, which may be a past one. Nothing is inside of the decoder.
    pub(crate) fn begin_at(&self, at: Duration, catching_up: bool) {
        let mut inner = self.lock();
        inner.past_until = if catching_up {
            UNTIL_TOLD
        } else {
            Duration::ZERO
        };
        inner.keys.clear();
        if inner.looked_at.is_some_and(|looked_at| looked_at >= at) {
            inner.go_back(at);
        }
    }

    /// The past is left, whoever has not seen it.
    pub(crate) fn is_live(&self) {
        self.lock().past_until = Duration::ZERO;
    }

    /// The picture taken `at`, which may still be inside of the decoder, is the last of the past.
    pub(crate) fn is_live_after(&self, at: Duration) {
        let mut inner = self.lock();
        if inner.past_until == UNTIL_TOLD {
            inner.past_until = at;
        }
    }

    /// Somebody waits for a picture taken not before `at`.
    pub(crate) fn want(&self, at: Duration) {
        self.lock().wanted_from = Some(at);
    }

    /// The picture that somebody waits for, and the last one shown.
    pub(crate) fn wanted_and_shown(&self) -> (Option<Duration>, Option<Duration>) {
        let inner = self.lock();
        (inner.wanted_from, inner.shown_at)
    }

    /// Whether a key frame is inside of the decoder: it is about to be shown, if it is wanted.
    pub(crate) fn expects_key(&self) -> bool {
        !self.lock().keys.is_empty()
    }

    /// Looks at the next picture of a stream.
    pub(crate) fn look(&self, frame: Frame, attention: &Attention) -> Look {
        self.look_at(frame, attention, false)
    }

    /// Looks at a key frame by itself.
    pub(crate) fn look_at_still(&self, frame: Frame, attention: &Attention) -> Look {
        self.look_at(frame, attention, true)
    }

    /// Whether the picture held back that was taken `at` is to be shown now: it does not come again in its place, and nothing
    /// later was shown.
    pub(crate) fn gives_up_past(&self, at: Duration) -> bool {
        let mut inner = self.lock();
        let comes_again = inner.looked_at.is_none_or(|looked_at| looked_at < at);
        if comes_again || inner.shown_at.is_some_and(|shown| shown >= at) {
            return false;
        }
        inner.shown(at);
        true
    }

    fn look_at(&self, frame: Frame, attention: &Attention, is_still: bool) -> Look {
        let mut inner = self.lock();
        let at = Duration::from_nanos(frame.time.boottime_ns);
        let key = inner.passed_key(at);
        if inner.looked_at.is_some_and(|looked_at| looked_at >= at) {
            return Look::default();
        }
        let can_be_shown = inner
            .shown_at
            .is_none_or(|shown| at > shown && at + JITTER >= shown + attention.every);
        let is_due = inner
            .looked_at
            .is_none_or(|looked_at| at >= looked_at + MOTION_EVERY);
        if key.is_none() && !is_due && !can_be_shown {
            return Look::default();
        }
        if let Some(key_at) = key {
            inner.remember(key_at);
        }
        inner.looked_at = Some(at);
        let luma = SmallLuma::of(&frame);
        let motion = inner.motion.update(at, &luma);
        let verdict = Verdict {
            at,
            moving: motion.moving,
        };
        let (is_good, sight) = inner.judge_sight(at, &luma, &frame);
        let next_key = key.and(inner.key_interval);
        let wanted = attention.is_glance(at, next_key.map(|next| at + next + KEY_SHOWN_WITHIN))
            || inner.wanted_from.is_some_and(|from| at >= from);
        let is_shown = wanted || motion.moving || at <= attention.hold_until;
        let glimpse = (is_shown && can_be_shown).then_some(Glimpse {
            frame,
            motion,
            wanted,
        });
        let (show, held_back) = match is_still && verdict.moving {
            true => (None, glimpse),
            false => (glimpse, None),
        };
        if show.is_some() {
            inner.shown(at);
        }
        Look {
            seen: Some(Seen {
                verdict,
                is_good,
                sight,
                held_back,
            }),
            show,
            catching_up: at <= inner.past_until,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("nothing panics while it looks at a picture")
    }
}

impl Inner {
    fn shown(&mut self, at: Duration) {
        self.shown_at = Some(at);
        self.wanted_from.take_if(|from| at >= *from);
    }

    /// The key frame that the picture which came out is, or follows as the first.
    fn passed_key(&mut self, at: Duration) -> Option<Duration> {
        let mut passed = None;
        while self.keys.front().is_some_and(|key| *key <= at) {
            passed = self.keys.pop_front();
        }
        if let Some(key) = passed {
            let before = self.last_key.replace(key);
            let interval = before.and_then(|before| key.checked_sub(before));
            // Of one that is decoded again nothing is learned.
            self.key_interval = interval
                .filter(|time| !time.is_zero())
                .or(self.key_interval);
        }
        passed
    }

    fn remember(&mut self, key_at: Duration) {
        if self
            .before
            .back()
            .is_some_and(|(last, _)| key_at < *last + RETURN_EVERY)
        {
            return;
        }
        self.before.push_back((key_at, self.motion.clone()));
        let is_spare = |(at, _): &(Duration, MotionModel)| *at + OLDEST_PAST <= key_at;
        while self.before.get(1).is_some_and(is_spare) {
            self.before.pop_front();
        }
    }

    /// Without a memory as old as `at` the model begins anew there.
    fn go_back(&mut self, at: Duration) {
        let known = self.before.partition_point(|(key_at, _)| *key_at <= at);
        if let Some((_, motion)) = known.checked_sub(1).map(|index| &self.before[index]) {
            self.motion = motion.clone();
        }
        self.before.truncate(known);
        self.looked_at = at.checked_sub(Duration::from_nanos(1));
    }

    fn judge_sight(
        &mut self,
        at: Duration,
        luma: &SmallLuma,
        frame: &Frame,
    ) -> (bool, Option<(SightChange, Frame)>) {
        if self
            .sight_at
            .is_some_and(|before| at < before + SIGHT_EVERY)
        {
            return (false, None);
        }
        self.sight_at = Some(at);
        let change = self.sight.update(at, luma);
        let news = change.map(|change| (change, frame.clone()));
        (self.sight.is_good(), news)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::{SimClocks, TimeSource};
    use crate::luma::scenes::{HIGH, Picture, WIDE, luma_frame};
    use std::sync::Arc;
    use wire::{CameraId, UtcMicros};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn frame(at: Duration) -> Frame {
        let mut time = TimeSource::new(Arc::new(SimClocks::new(UtcMicros(1)))).now();
        time.boottime_ns = u64::try_from(at.as_nanos()).unwrap_or(0);
        Frame::from_rgb(
            CameraId(uuid::Uuid::nil()),
            time,
            32,
            32,
            vec![90; 32 * 32 * 3],
        )
    }

    /// Everything is wanted, so far apart.
    fn every(ms: u64) -> Attention {
        Attention {
            every: Duration::from_millis(ms),
            ..Attention::default()
        }
    }

    /// Pictures of these times, in ms, one after the other; gives those that are shown.
    fn shown(eyes: &Eyes, attention: &Attention, times: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let is_shown = |at: &u64| eyes.look(frame(ms(*at)), attention).show.is_some();
        times.into_iter().filter(is_shown).collect()
    }

    #[test]
    fn glimpses_are_so_far_apart_as_they_were_taken() {
        let eyes = Eyes::new(&[]);
        let times = (0..16).map(|n| 1000 + n * 66);
        assert_eq!(
            shown(&eyes, &every(200), times),
            [1000, 1198, 1396, 1594, 1792, 1990]
        );
        assert_eq!(shown(&eyes, &every(0), [2056, 2122]), [2056, 2122]);
    }

    #[test]
    fn what_is_decoded_again_is_shown_once_and_in_order() {
        let eyes = Eyes::new(&[]);
        eyes.expect_key(ms(1000));
        assert_eq!(shown(&eyes, &every(0), [1000]), [1000]);
        eyes.begin_at(ms(1000), true);
        eyes.expect_key(ms(1000));
        let look = eyes.look(frame(ms(1000)), &every(0));
        assert!(look.catching_up && look.seen.is_some() && look.show.is_none());
        assert_eq!(shown(&eyes, &every(0), [1066, 1133, 1100]), [1066, 1133]);
        // What is still inside of the decoder belongs to the past too.
        eyes.is_live_after(ms(1200));
        let catching_up = |at| eyes.look(frame(ms(at)), &every(0)).catching_up;
        assert!(catching_up(1200) && !catching_up(1266));
    }

    #[test]
    fn a_key_frame_in_which_something_moves_comes_after_what_led_up_to_it() {
        let eyes = Eyes::new(&[]);
        let still = |at, x| {
            eyes.expect_key(ms(at));
            eyes.look_at_still(street(ms(at), x), &every(0))
        };
        for at in (1000..30_000).step_by(2000) {
            let look = still(at, None);
            assert!(look.show.is_some() && look.seen.unwrap().held_back.is_none());
        }
        let look = still(31_000, Some(0.5));
        assert!(look.show.is_none(), "not before what led up to it");
        let glimpse = look.seen.unwrap().held_back.unwrap();
        assert!(glimpse.motion.moving);

        // Its camera has its turn: everything since the key frame before is shown, it too, in order.
        eyes.begin_at(ms(29_000), true);
        assert!(!eyes.gives_up_past(ms(31_000)), "it comes again");
        eyes.expect_key(ms(29_000));
        let walks = (0..31).filter_map(|n| {
            let at = 29_000 + n * 66;
            let look = eyes.look(street(ms(at), (n > 20).then_some(0.5)), &every(0));
            look.show.map(|glimpse| (at, glimpse.motion.moving))
        });
        let walks: Vec<(u64, bool)> = walks.collect();
        let first = walks.iter().find(|(_, moving)| *moving);
        assert!(first.is_some_and(|(at, _)| *at < 30_700), "{walks:?}");
        assert_eq!(walks.len(), 30, "the first one was shown before");
        assert!(!eyes.gives_up_past(ms(31_000)), "its moment is over");
    }

    #[test]
    fn a_key_frame_whose_past_is_not_decoded_is_shown_once_by_itself() {
        let held = || {
            let eyes = Eyes::new(&[]);
            (0..16).for_each(|n| {
                eyes.expect_key(ms(1000 + n * 2000));
                let x = (n == 15).then_some(0.5);
                let look = eyes.look_at_still(street(ms(1000 + n * 2000), x), &every(0));
                assert_eq!(look.seen.unwrap().held_back.is_some(), n == 15);
            });
            eyes
        };
        // Its camera does not get its turn.
        let eyes = held();
        assert!(eyes.gives_up_past(ms(31_000)));
        assert!(!eyes.gives_up_past(ms(31_000)), "once");
        // It gets it too late, and begins further on.
        let eyes = held();
        eyes.begin_at(ms(33_000), true);
        assert!(eyes.gives_up_past(ms(31_000)));
    }

    #[test]
    fn a_picture_older_than_the_question_is_no_answer() {
        let never = Attention {
            glance_at: Duration::MAX,
            ..Attention::default()
        };
        let eyes = Eyes::new(&[]);
        // Whatever there was to see: from here on the picture is the same.
        shown(&eyes, &every(0), [1000]);
        eyes.want(ms(2000));
        assert_eq!(eyes.wanted_and_shown(), (Some(ms(2000)), Some(ms(1000))));
        let mut asked = shown(&eyes, &never, [1900, 2000]);
        assert_eq!(asked.pop(), Some(2000));
        assert_eq!(eyes.wanted_and_shown(), (None, Some(ms(2000))));
    }

    /// A street with noise, and a person-high box at `x` (fraction of the width) in it.
    fn street(at: Duration, x: Option<f32>) -> Frame {
        let picture = Picture::street(1).with_noise(2.0, at.as_millis() as u64);
        let picture = match x {
            Some(x) => picture.with_box([x, 0.4, 0.08, 0.3], 230.0),
            None => picture,
        };
        let bytes = picture.0.iter().map(|value| (value + 0.5) as u8).collect();
        let mut frame = luma_frame(WIDE, HIGH, WIDE, bytes);
        frame.time.boottime_ns = u64::try_from(at.as_nanos()).unwrap_or(0);
        frame
    }

    #[test]
    fn sight_is_judged_once_a_second() {
        let eyes = Eyes::new(&[]);
        let is_judged = |at: &u64| {
            let look = eyes.look(street(ms(*at), None), &every(0));
            look.seen.is_some_and(|seen| seen.is_good)
        };
        let judged: Vec<u64> = (0..30 * 15)
            .map(|n| 1000 + n * 1000 / 15)
            .filter(is_judged)
            .collect();
        // What the street looks like is known after ten seconds.
        assert!((10..=12).contains(&(judged[0] / 1000)), "{judged:?}");
        assert!((19..=20).contains(&judged.len()), "{judged:?}");
        let apart = judged.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(
            apart.clone().all(|ms| (950..=1067).contains(&ms)),
            "{judged:?}"
        );
    }

    /// Key frames every so many ms, with one who comes in at 12 s and walks on; everything since the key frame `back`, or the
    /// first after that, is decoded again when the picture of 16 s has come. Shares of the picture that then move.
    fn seen_again(keys_every: u64, back: u64) -> Vec<(u64, bool)> {
        let eyes = Eyes::new(&[]);
        let look = |at: u64| {
            if at.is_multiple_of(keys_every) {
                eyes.expect_key(ms(at));
            }
            let x = (at >= 12_000).then(|| 0.1 + 0.00005 * (at - 12_000) as f32);
            let look = eyes.look(street(ms(at), x), &every(0));
            look.seen.map(|seen| (at, seen.verdict.moving))
        };
        // Only key frames are decoded at first.
        for at in (0..=16_000).step_by(keys_every as usize) {
            look(at);
        }
        let from = back.next_multiple_of(keys_every);
        eyes.begin_at(ms(from), true);
        (from..=16_000).step_by(100).filter_map(look).collect()
    }

    #[test]
    fn one_goes_back_as_far_as_decoding_does_however_often_key_frames_come() {
        for keys_every in [100, 500, 1000, 2000] {
            // Back to before the walker came, and into his walk.
            for back in [10_000, 12_000, 13_000] {
                let seen = seen_again(keys_every, back);
                let (before, walk): (Vec<_>, Vec<_>) =
                    seen.into_iter().partition(|(at, _)| *at < 12_000);
                assert!(before.iter().all(|(_, moving)| !moving), "{before:?}");
                let missed = walk.iter().filter(|(_, moving)| !moving).count();
                assert!(missed <= 1, "{keys_every} ms, back to {back}: {walk:?}");
            }
        }
    }

    #[test]
    fn what_one_may_go_back_to_is_a_handful() {
        for keys_every in [40, 1000, 2000, 4000] {
            let eyes = Eyes::new(&[]);
            for at in (0..60_000).step_by(keys_every) {
                eyes.expect_key(ms(at));
                eyes.look(frame(ms(at)), &every(0));
                let inner = eyes.lock();
                assert!(inner.before.len() <= 5, "{}", inner.before.len());
                let oldest = inner.before.front().map(|(at, _)| *at);
                let wanted = ms(at).saturating_sub(OLDEST_PAST);
                assert!(oldest.is_some_and(|oldest| oldest <= wanted), "{at}");
            }
        }
    }
}
