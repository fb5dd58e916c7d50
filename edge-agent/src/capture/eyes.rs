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
/// Pictures come with some jitter: so much earlier is still in time.
const JITTER: Duration = Duration::from_millis(10);
/// Key frames to which one may go back.
const RETURNS: usize = 3;

#[derive(Debug)]
pub(super) struct Eyes {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    motion: MotionModel,
    /// The model as it was before the key frame of that time; newest last.
    before: VecDeque<(Duration, MotionModel)>,
    /// Times of key frames that are inside of the decoder.
    keys: VecDeque<Duration>,
    looked_at: Option<Duration>,
    sight: SightModel,
    sight_at: Option<Duration>,
    shown_at: Option<Duration>,
    /// Somebody waits for a picture taken not before this.
    wanted_from: Option<Duration>,
    catching_up: bool,
}

/// What was seen in one picture, for the camera's own thread.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) verdict: Verdict,
    /// It shows what the camera ought to see; asked about once a second.
    pub(super) is_good: bool,
    pub(super) sight: Option<(SightChange, Frame)>,
}

/// What is to be done with a picture.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// `None` when it was not worth a look.
    pub(super) seen: Option<Seen>,
    pub(super) show: Option<Glimpse>,
    /// It belongs to the past.
    pub(super) catching_up: bool,
}

impl Eyes {
    pub(super) fn new(motion_masks: &[Vec<[f32; 2]>]) -> Self {
        Self {
            inner: Mutex::new(Inner {
                motion: MotionModel::new(motion_masks),
                before: VecDeque::new(),
                keys: VecDeque::new(),
                looked_at: None,
                sight: SightModel::new(),
                sight_at: None,
                shown_at: None,
                wanted_from: None,
                catching_up: false,
            }),
        }
    }

    /// A key frame taken `at` goes into the decoder.
    pub(super) fn expect_key(&self, at: Duration) {
        self.lock().keys.push_back(at);
    }

    /// Decoding begins at the key frame taken `at`, which may be a past one. Nothing is inside of the decoder.
    pub(super) fn begin_at(&self, at: Duration, catching_up: bool) {
        let mut inner = self.lock();
        inner.catching_up = catching_up;
        inner.keys.clear();
        if inner.looked_at.is_some_and(|looked_at| looked_at >= at) {
            inner.go_back(at);
        }
    }

    pub(super) fn is_live(&self) {
        self.lock().catching_up = false;
    }

    /// Somebody waits for a picture taken not before `at`.
    pub(super) fn want(&self, at: Duration) {
        self.lock().wanted_from = Some(at);
    }

    /// The picture that somebody waits for, and the last one shown.
    pub(super) fn wanted_and_shown(&self) -> (Option<Duration>, Option<Duration>) {
        let inner = self.lock();
        (inner.wanted_from, inner.shown_at)
    }

    /// Looks at the next picture.
    pub(super) fn look(&self, frame: Frame, attention: &Attention) -> Look {
        let mut inner = self.lock();
        let at = Duration::from_nanos(frame.time.boottime_ns);
        let is_key = inner.passes_key(at);
        if inner.looked_at.is_some_and(|looked_at| looked_at >= at) {
            return Look::default();
        }
        let can_be_shown = inner
            .shown_at
            .is_none_or(|shown| at > shown && at + JITTER >= shown + attention.every);
        let is_due = inner
            .looked_at
            .is_none_or(|looked_at| at >= looked_at + MOTION_EVERY);
        if !is_key && !is_due && !can_be_shown {
            return Look::default();
        }
        if is_key {
            inner.remember(at);
        }
        inner.looked_at = Some(at);
        let luma = SmallLuma::of(&frame);
        let motion = inner.motion.update(at, &luma);
        let verdict = Verdict {
            at,
            moving: motion.moving,
        };
        let (is_good, sight) = inner.judge_sight(at, &luma, &frame);
        let is_wanted = motion.moving
            || at <= attention.hold_until
            || at >= attention.glance_at
            || inner.wanted_from.is_some_and(|from| at >= from);
        let show = (is_wanted && can_be_shown).then(|| {
            inner.shown_at = Some(at);
            inner.wanted_from.take_if(|from| at >= *from);
            Glimpse { frame, motion }
        });
        Look {
            seen: Some(Seen {
                verdict,
                is_good,
                sight,
            }),
            show,
            catching_up: inner.catching_up,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("nothing panics while it looks at a picture")
    }
}

impl Inner {
    /// Whether the picture that came out is a key frame, or the first one behind it.
    fn passes_key(&mut self, at: Duration) -> bool {
        let mut passed = false;
        while self.keys.front().is_some_and(|key| *key <= at) {
            self.keys.pop_front();
            passed = true;
        }
        passed
    }

    fn remember(&mut self, key_at: Duration) {
        if self.before.len() == RETURNS {
            self.before.pop_front();
        }
        self.before.push_back((key_at, self.motion.clone()));
    }

    fn go_back(&mut self, at: Duration) {
        if let Some(index) = self.before.iter().position(|(key_at, _)| *key_at == at) {
            self.motion = self.before[index].1.clone();
            self.before.truncate(index);
        }
        // Without a memory of it the model has to make do with a past that it knows.
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
