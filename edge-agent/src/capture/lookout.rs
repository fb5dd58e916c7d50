//! The window between one camera and vision: what the camera shows, and what vision wants to see of it.
//!
//! A camera shows little while nothing moves, everything while something does, and what led up to it faster than it
//! happened. Vision says how often it wants to look, until when it follows something, and when it wants a picture
//! although nothing moves. Neither waits for the other, but for one case: while the camera catches up, a glimpse that was
//! not taken yet holds it up for a moment, because it would otherwise overwrite what it decoded for nobody.

use super::latest::{LatestSlot, Wakeup};
use crate::frame::Frame;
use crate::motion::Motion;
use crate::sight::SightChange;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One decoded frame and what moves in it.
#[derive(Clone, Debug)]
pub struct Glimpse {
    pub frame: Frame,
    pub motion: Motion,
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
    /// Somebody waits for a picture now.
    pub at_once: bool,
}

#[derive(Debug)]
pub struct Lookout {
    newest: LatestSlot<Glimpse>,
    wakeup: Arc<Wakeup>,
    attention: Mutex<Attention>,
    sight: Mutex<VecDeque<SightNews>>,
}

impl Lookout {
    /// Several cameras may share one wake-up: their worker then waits for all of them at once.
    pub fn new(wakeup: Arc<Wakeup>) -> Self {
        Self {
            newest: LatestSlot::new(Arc::clone(&wakeup)),
            wakeup,
            attention: Mutex::default(),
            sight: Mutex::default(),
        }
    }

    /// Newest wins; what nobody took is counted.
    pub fn show(&self, glimpse: Glimpse) {
        self.newest.replace(glimpse);
    }

    pub fn tell_sight(&self, news: SightNews) {
        lock(&self.sight).push_back(news);
        self.wakeup.ring();
    }

    pub fn take(&self) -> Option<Glimpse> {
        self.newest.take()
    }

    pub fn take_sight(&self) -> Option<SightNews> {
        lock(&self.sight).pop_front()
    }

    /// How many glimpses nobody took.
    pub fn overwritten(&self) -> u64 {
        self.newest.overwritten()
    }

    pub fn attention(&self) -> Attention {
        *lock(&self.attention)
    }

    pub fn attend(&self, attention: Attention) {
        *lock(&self.attention) = attention;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("values are only moved under the lock")
}
