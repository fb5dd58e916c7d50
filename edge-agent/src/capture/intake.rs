//! Where the receive pipeline, the camera's thread and the caller meet: one lock, one bell.
//!
//! GStreamer's threads only leave something here and go back to the network; everything that takes time happens
//! on the camera's own thread, which waits here for whatever comes first.

use super::error::Failure;
use super::eyes::Seen;
use super::gop::{AccessUnit, GopRing};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Intake {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    ring: GopRing,
    /// How the present run ended; the first word counts.
    ended: Option<Failure>,
    /// The camera accepted the present run: what is missing from here on is data.
    playing: bool,
    /// What was seen in decoded pictures, oldest first; a decoder gives out no more than it was fed.
    seen: VecDeque<Seen>,
    /// Something was seen, there is room, or somebody wants something else.
    news: bool,
    stop: bool,
    /// The camera's thread has returned.
    done: bool,
}

/// What the camera's thread has to look at next.
#[derive(Debug)]
pub(super) enum Next {
    Stop,
    /// A unit that has arrived.
    Unit {
        number: u64,
        unit: AccessUnit,
    },
    /// A unit for the decoder, and the time of the newest that has arrived.
    Feed {
        number: u64,
        unit: AccessUnit,
        newest: Duration,
    },
    Ended(Failure),
    /// Nothing until the deadline, or news.
    Quiet,
}

impl Intake {
    pub(super) fn new(ring_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                ring: GopRing::new(ring_bytes),
                ended: None,
                playing: false,
                seen: VecDeque::new(),
                news: false,
                stop: false,
                done: false,
            }),
            bell: Condvar::new(),
        }
    }

    /// A new attempt begins. What is in the ring stays: it is what led up to the interruption.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.lock();
        state.ended = None;
        state.playing = false;
        state.seen.clear();
        state.ring.next_number()
    }

    pub(super) fn push(&self, unit: AccessUnit) {
        self.change(|state| state.ring.push(unit));
    }

    pub(super) fn end(&self, failure: Failure) {
        self.change(|state| {
            state.ended.get_or_insert(failure);
        });
    }

    pub(super) fn playing(&self) {
        self.change(|state| state.playing = true);
    }

    pub(super) fn is_playing(&self) -> bool {
        self.lock().playing
    }

    /// Something was seen in a decoded picture.
    pub(super) fn saw(&self, seen: Seen) {
        self.change(|state| {
            state.seen.push_back(seen);
            state.news = true;
        });
    }

    pub(super) fn next_seen(&self) -> Option<Seen> {
        self.lock().seen.pop_front()
    }

    pub(super) fn stop(&self) {
        self.change(|state| state.stop = true);
    }

    pub(super) fn done(&self) {
        self.change(|state| state.done = true);
    }

    /// Waits until the camera's thread has returned; `false` if it has not by then.
    pub(super) fn wait_done(&self, at_most: Duration) -> bool {
        let (state, _) = self
            .bell
            .wait_timeout_while(self.lock(), at_most, |state| !state.done)
            .expect("nothing panics while it holds the intake");
        state.done
    }

    /// Somebody made room, or otherwise changed what the camera's thread waits for.
    pub(super) fn ring_bell(&self) {
        self.change(|state| state.news = true);
    }

    pub(super) fn ring_bytes(&self) -> usize {
        self.lock().ring.bytes()
    }

    /// Keeps what a reader at `cursor` still has to read, up to a bound.
    pub(super) fn hold(&self, cursor: Option<u64>) {
        self.lock().ring.hold(cursor);
    }

    /// The last key frame not behind unit `number`.
    pub(super) fn key_up_to(&self, number: u64) -> Option<u64> {
        self.lock().ring.key_up_to(number)
    }

    /// The unit of that number, if it is held.
    pub(super) fn unit(&self, number: u64) -> Option<AccessUnit> {
        let state = self.lock();
        let (found, unit) = state.ring.at_or_after(number)?;
        (found == number).then(|| unit.clone())
    }

    /// The newest unit not taken after `at` (boot clock) that can be decoded by itself.
    pub(super) fn key_taken_by(&self, at: Duration) -> Option<AccessUnit> {
        self.lock().ring.key_taken_by(at)
    }

    /// The first that applies: stop, news, a unit not below `cursor`, one not below `feed` for the decoder (`None`: it
    /// wants none or has no room), the end of the run, quiet until `deadline`.
    pub(super) fn wait(
        &self,
        cursor: u64,
        deadline: Instant,
        feed: impl Fn() -> Option<u64>,
    ) -> Next {
        let mut state = self.lock();
        loop {
            if state.stop {
                return Next::Stop;
            }
            if std::mem::take(&mut state.news) {
                return Next::Quiet;
            }
            if let Some((number, unit)) = state.ring.at_or_after(cursor) {
                let unit = unit.clone();
                return Next::Unit { number, unit };
            }
            if let Some((number, unit)) = feed().and_then(|feed| state.ring.at_or_after(feed)) {
                let newest = state
                    .ring
                    .newest()
                    .map_or(unit.taken_at(), AccessUnit::taken_at);
                let unit = unit.clone();
                return Next::Feed {
                    number,
                    unit,
                    newest,
                };
            }
            if let Some(failure) = &state.ended {
                return Next::Ended(failure.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Quiet;
            }
            (state, _) = self
                .bell
                .wait_timeout(state, left)
                .expect("nothing panics while it holds the intake");
        }
    }

    /// Sleeps for `wait` or until it is told to stop; `true` then.
    pub(super) fn wait_for_stop(&self, wait: Duration) -> bool {
        let (state, _) = self
            .bell
            .wait_timeout_while(self.lock(), wait, |state| !state.stop)
            .expect("nothing panics while it holds the intake");
        state.stop
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.bell.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the intake")
    }
}
