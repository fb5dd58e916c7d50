//! Where the receive pipeline, the camera's thread and the caller meet: one lock, one bell.
//!
//! GStreamer's threads only leave something here and go back to the network; everything that takes time happens
//! on the camera's own thread, which waits here for whatever comes first.

use super::error::Failure;
use super::gate::Demand;
use super::gop::{AccessUnit, GopRing};
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
    demand: Demand,
    stop: bool,
    /// The camera's thread has returned.
    done: bool,
}

/// What the camera's thread has to look at next.
#[derive(Debug)]
pub(super) enum Next {
    Stop,
    Unit {
        number: u64,
        unit: AccessUnit,
        demand: Demand,
    },
    Ended(Failure),
    /// Nothing until the deadline, or only the demand changed.
    Quiet(Demand),
}

impl Intake {
    pub(super) fn new(ring_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                ring: GopRing::new(ring_bytes),
                ended: None,
                playing: false,
                demand: Demand::default(),
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

    pub(super) fn demand(&self, demand: Demand) {
        self.change(|state| state.demand = demand);
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
        self.change(|_| ());
    }

    pub(super) fn ring_bytes(&self) -> usize {
        self.lock().ring.bytes()
    }

    /// What has to be decoded to see unit `number`.
    pub(super) fn group_up_to(&self, number: u64) -> Option<Vec<AccessUnit>> {
        self.lock().ring.group_up_to(number)
    }

    /// The first that applies: stop, a unit not below `cursor` (if `has_room()` for it), the end of the run, quiet
    /// until `deadline`. A change of `demand` from what the caller believes is told at once.
    pub(super) fn wait(
        &self,
        cursor: u64,
        believed: Demand,
        deadline: Instant,
        has_room: impl Fn() -> bool,
    ) -> Next {
        let mut state = self.lock();
        loop {
            let demand = state.demand;
            if state.stop {
                return Next::Stop;
            }
            if let Some((number, unit)) = state.ring.at_or_after(cursor)
                && has_room()
            {
                let unit = unit.clone();
                return Next::Unit {
                    number,
                    unit,
                    demand,
                };
            }
            if let Some(failure) = &state.ended {
                return Next::Ended(failure.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || demand != believed {
                return Next::Quiet(demand);
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
