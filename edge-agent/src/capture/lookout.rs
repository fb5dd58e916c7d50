//! The window between one camera and vision: what the camera shows, and what vision wants to see of it.
//!
//! A camera shows little while nothing moves, everything while something does, and what led up to it faster than it
//! happened. Vision says how often it wants to look, until when it follows something, and when it wants a picture
//! although nothing moves. Neither waits for the other, but for one case: while the camera catches up, glimpses wait
//! in order, a few of them, and the camera sees by [`Lookout::is_taken`] that it has to wait for vision; it would
//! otherwise overwrite what it decoded for nobody.

use super::latest::Wakeup;
use crate::frame::Frame;
use crate::motion::Motion;
use crate::sight::SightChange;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One decoded frame and what moves in it.
#[derive(Clone, Debug)]
pub struct Glimpse {
    pub frame: Frame,
    pub motion: Motion,
    /// It is shown for a glance or for somebody who asked, and not for what moves in it alone.
    pub wanted: bool,
}

/// A glimpse that waits to be taken, as far as who is next depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting {
    /// When it was taken by the camera, on the boot clock.
    pub at: Duration,
    /// Share of the picture that moves, 0..=1.
    pub share: f32,
    /// See [`Glimpse::wanted`].
    pub wanted: bool,
    /// The camera shows what led up to a movement, and waits for it to be seen.
    pub catching_up: bool,
}

/// A camera stopped or began again to see.
#[derive(Clone, Debug)]
pub struct SightNews {
    pub change: SightChange,
    /// The last good picture, where one is still known.
    pub before: Option<Frame>,
    /// The one that decided it.
    pub after: Frame,
}

/// What vision wants of a camera. Times are of the boot clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attention {
    /// Everything is to be decoded until then: something is followed.
    pub hold_until: Duration,
    /// Shortest time between two glimpses, by when they were taken.
    pub every: Duration,
    /// A picture taken from then on is wanted although nothing moves. Zero: the next one.
    pub glance_at: Duration,
    /// One taken from then on will do, where the next one that is decoded anyway would come too late.
    pub glance_from: Duration,
    /// Without one by then, one is decoded for the sake of it. `None`: what is decoded anyway is enough.
    pub glance_by: Option<Duration>,
    /// Somebody waits for a picture now.
    pub at_once: bool,
}

impl Attention {
    /// Whether a picture taken `at` is wanted although nothing moves, if the next one that is decoded anyway comes at `next`.
    pub fn is_glance(&self, at: Duration, next: Option<Duration>) -> bool {
        let is_last_chance = self.glance_by.zip(next).is_some_and(|(by, next)| next > by);
        at >= self.glance_at || is_last_chance && at >= self.glance_from
    }

    /// Whether a picture has to be decoded for a glance, when one taken `now` has arrived and the last one that was
    /// `shown` is so old. One that was shown and waits to be looked at is enough.
    pub fn is_overdue(&self, now: Duration, shown: Option<Duration>) -> bool {
        self.glance_by.is_some_and(|by| now >= by)
            && shown.is_none_or(|shown| shown < self.glance_from)
    }
}

/// Glimpses that may wait while a camera catches up: what a decoder still gives out after it is fed no more.
const MOST_WAITING: usize = 6;
/// Changes of sight that may wait; a camera tells one in many seconds, and the newest count.
const MOST_NEWS: usize = 4;

pub struct Lookout {
    shown: Mutex<Shown>,
    overwritten: AtomicU64,
    wakeup: Arc<Wakeup>,
    attention: Mutex<Attention>,
    sight: Mutex<VecDeque<SightNews>>,
    heard: Mutex<Option<Hear>>,
}

/// Called when vision took something or wants something else.
type Hear = Box<dyn Fn() + Send>;

#[derive(Default)]
struct Shown {
    /// What led up to a movement, oldest first.
    past: VecDeque<Glimpse>,
    /// Taken after the past.
    live: Option<Glimpse>,
}

impl Shown {
    fn take(&mut self) -> Option<Glimpse> {
        self.past.pop_front().or_else(|| self.live.take())
    }
}

impl Lookout {
    /// Several cameras may share one wake-up: their worker then waits for all of them at once.
    pub fn new(wakeup: Arc<Wakeup>) -> Self {
        Self {
            shown: Mutex::default(),
            overwritten: AtomicU64::new(0),
            wakeup,
            attention: Mutex::default(),
            sight: Mutex::default(),
            heard: Mutex::default(),
        }
    }

    /// Newest wins; what nobody took is counted. What led up to it is not overwritten.
    pub fn show(&self, glimpse: Glimpse) {
        let before = lock(&self.shown).live.replace(glimpse);
        self.lost(usize::from(before.is_some()));
        self.wakeup.ring();
    }

    /// Shows it after those that wait. When too many do, the oldest goes, and is counted.
    pub fn show_next(&self, glimpse: Glimpse) {
        let mut shown = lock(&self.shown);
        let earlier = shown.live.take();
        shown.past.extend(earlier.into_iter().chain([glimpse]));
        let too_many = shown.past.len().saturating_sub(MOST_WAITING);
        shown.past.drain(..too_many);
        drop(shown);
        self.lost(too_many);
        self.wakeup.ring();
    }

    /// Whether nothing waits.
    pub fn is_taken(&self) -> bool {
        let shown = lock(&self.shown);
        shown.past.is_empty() && shown.live.is_none()
    }

    /// What [`Lookout::take`] would give.
    pub fn waiting(&self) -> Option<Waiting> {
        let shown = lock(&self.shown);
        let next = shown.past.front().or(shown.live.as_ref())?;
        Some(Waiting {
            at: Duration::from_nanos(next.frame.time.boottime_ns),
            share: next.motion.share,
            wanted: next.wanted,
            catching_up: !shown.past.is_empty(),
        })
    }

    pub fn take(&self) -> Option<Glimpse> {
        let taken = lock(&self.shown).take();
        if taken.is_some() {
            self.tell_camera();
        }
        taken
    }

    pub fn tell_sight(&self, news: SightNews) {
        let mut waiting = lock(&self.sight);
        if waiting.len() == MOST_NEWS {
            waiting.pop_front();
        }
        waiting.push_back(news);
        drop(waiting);
        self.wakeup.ring();
    }

    pub fn take_sight(&self) -> Option<SightNews> {
        lock(&self.sight).pop_front()
    }

    /// How many glimpses nobody took.
    pub fn overwritten(&self) -> u64 {
        self.overwritten.load(Ordering::Relaxed)
    }

    pub fn attention(&self) -> Attention {
        *lock(&self.attention)
    }

    pub fn attend(&self, attention: Attention) {
        let before = std::mem::replace(&mut *lock(&self.attention), attention);
        if before != attention {
            self.tell_camera();
        }
    }

    /// `hear` is called, on the caller's thread, whenever a glimpse was taken or the attention changed.
    pub(super) fn on_answer(&self, hear: impl Fn() + Send + 'static) {
        *lock(&self.heard) = Some(Box::new(hear));
    }

    fn tell_camera(&self) {
        if let Some(hear) = &*lock(&self.heard) {
            hear();
        }
    }

    fn lost(&self, glimpses: usize) {
        self.overwritten
            .fetch_add(glimpses as u64, Ordering::Relaxed);
    }
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookout({:?}, {:?})", self.waiting(), self.attention())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("values are only moved under the lock")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::{SimClocks, TimeSource};
    use std::sync::atomic::AtomicU32;
    use wire::{CameraId, UtcMicros};

    fn glimpse(second: u64) -> Glimpse {
        let mut time = TimeSource::new(Arc::new(SimClocks::new(UtcMicros(1)))).now();
        time.boottime_ns = second * 1_000_000_000;
        Glimpse {
            frame: Frame::from_rgb(CameraId(uuid::Uuid::nil()), time, 1, 1, vec![0; 3]),
            motion: Motion::default(),
            wanted: false,
        }
    }

    fn lookout() -> Lookout {
        Lookout::new(Arc::new(Wakeup::default()))
    }

    fn taken(lookout: &Lookout) -> Vec<u64> {
        std::iter::from_fn(|| lookout.take())
            .map(|glimpse| glimpse.frame.time.boottime_ns / 1_000_000_000)
            .collect()
    }

    #[test]
    fn live_the_newest_wins_and_the_loss_is_counted() {
        let lookout = lookout();
        (1..=3).for_each(|second| lookout.show(glimpse(second)));
        assert!(!lookout.waiting().unwrap().catching_up);
        assert_eq!((taken(&lookout), lookout.overwritten()), (vec![3], 2));
    }

    #[test]
    fn what_led_up_to_it_is_seen_in_order() {
        let lookout = lookout();
        (1..=3).for_each(|second| lookout.show_next(glimpse(second)));
        let waiting = lookout.waiting().unwrap();
        assert_eq!(
            (waiting.at, waiting.catching_up),
            (Duration::from_secs(1), true)
        );
        assert!(!lookout.is_taken());
        assert_eq!((taken(&lookout), lookout.overwritten()), (vec![1, 2, 3], 0));
        assert_eq!(lookout.waiting(), None);
        // Nor does the present overwrite it, or come before it.
        lookout.show(glimpse(4));
        lookout.show_next(glimpse(5));
        (6..=8).for_each(|second| lookout.show(glimpse(second)));
        assert_eq!((taken(&lookout), lookout.overwritten()), (vec![4, 5, 8], 2));
        assert!(lookout.is_taken());
    }

    #[test]
    fn nobody_looking_costs_no_memory() {
        let lookout = lookout();
        (1..=20).for_each(|second| lookout.show_next(glimpse(second)));
        assert_eq!(lookout.overwritten(), 14);
        assert_eq!(taken(&lookout), [15, 16, 17, 18, 19, 20]);
    }

    #[test]
    fn the_camera_hears_what_vision_does() {
        let lookout = lookout();
        let heard = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&heard);
        lookout.on_answer(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        assert!(lookout.take().is_none());
        lookout.attend(Attention::default());
        assert_eq!(heard.load(Ordering::Relaxed), 0, "nothing happened yet");
        lookout.show(glimpse(1));
        taken(&lookout);
        lookout.attend(Attention {
            at_once: true,
            ..Attention::default()
        });
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }
}
