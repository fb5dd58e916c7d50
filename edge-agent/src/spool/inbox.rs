//! What waits for the spool thread: records in a queue of 256, and requests that overtake them.
//!
//! A full record queue makes `put` wait, whatever thread it is called on; the frame slots upstream absorb that. Once
//! somebody has waited in vain, the others do not: a disk that takes nothing must not hold up detection again and
//! again. They wait once more as soon as it takes something.
//! Requests come from the uplink, which waits for each answer, so few wait at a time; receipts wait for none and
//! are dropped beyond a bound, because the receiver repeats them.

use crate::spool::error::SpoolError;
use crate::spool::tally::Losses;
use crate::spool::turn::{Entry, Request};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use wire::Batch;
use wire::batch::{MAX_BATCH_BYTES, MAX_RECORDS};

/// Most records that wait for a commit; `put` waits beyond.
pub(super) const MAX_ENTRIES: usize = 256;
/// Most requests that wait.
const MAX_REQUESTS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Rung when something came in.
    filled: Condvar,
    /// Rung when room was made, or the spool stopped.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    requests: VecDeque<Request>,
    /// What was turned away because the disk did not keep up; becomes gap records once it does.
    losses: Losses,
    /// Taken and perhaps not committed yet: until the thread comes for more.
    in_hand: usize,
    /// Somebody has waited for room in vain since the thread last came for records: others need not, too.
    stalled: bool,
    closing: bool,
    stopped: bool,
}

/// What one turn of the spool thread works on.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// At most one batch full.
    pub(super) entries: Vec<Entry>,
    pub(super) requests: Vec<Request>,
    pub(super) losses: Losses,
    /// No more will come after this.
    pub(super) last: bool,
}

/// The queue had no room for as long as the caller was willing to wait.
#[derive(Debug)]
pub(super) enum Refused {
    Full(Box<Entry>),
    Stopped,
}

impl Inbox {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits for room up to `patience`; hands the entry back if there was none.
    pub(super) fn put(&self, entry: Entry, patience: Duration) -> Result<(), Refused> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while state.entries.len() >= MAX_ENTRIES && !state.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.stalled {
                state.stalled |= !patience.is_zero();
                return Err(Refused::Full(Box::new(entry)));
            }
            state = self
                .emptied
                .wait_timeout(state, left)
                .expect(NO_PANIC_UNDER_LOCK)
                .0;
        }
        if state.stopped || state.closing {
            return Err(Refused::Stopped);
        }
        state.entries.push_back(entry);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits until a record would be taken at once; `false` if it would not be by then.
    pub(super) fn wait_for_room(&self, at_most: Duration) -> bool {
        let (state, _) = self
            .emptied
            .wait_timeout_while(self.lock(), at_most, |state| {
                state.entries.len() >= MAX_ENTRIES && !state.stopped
            })
            .expect(NO_PANIC_UNDER_LOCK);
        state.entries.len() < MAX_ENTRIES
    }

    pub(super) fn request(&self, request: Request) -> Result<(), SpoolError> {
        let mut state = self.lock();
        if state.stopped || state.requests.len() >= MAX_REQUESTS {
            return Err(SpoolError::Stopped);
        }
        state.requests.push_back(request);
        self.filled.notify_one();
        Ok(())
    }

    /// Counts what could not be accepted; the next commit says so in gap records.
    pub(super) fn lost(&self, losses: Losses) {
        let mut state = self.lock();
        state.losses.merge(losses);
        self.filled.notify_one();
    }

    /// Waits for work, at most `timeout`; takes all requests and the records of one batch.
    pub(super) fn take(&self, timeout: Duration) -> Work {
        let mut state = self.lock();
        state.in_hand = 0;
        let (mut state, _) = self
            .filled
            .wait_timeout_while(state, timeout, |state| state.is_idle())
            .expect(NO_PANIC_UNDER_LOCK);
        let entries = take_batch(&mut state.entries);
        state.in_hand = entries.len();
        state.stalled = false;
        self.emptied.notify_all();
        Work {
            entries,
            requests: state.requests.drain(..).collect(),
            losses: std::mem::take(&mut state.losses),
            last: state.closing && state.entries.is_empty(),
        }
    }

    /// Whatever records are waiting at this moment, without waiting for more.
    pub(super) fn take_entries(&self) -> Vec<Entry> {
        let mut state = self.lock();
        let entries: Vec<Entry> = state.entries.drain(..).collect();
        state.in_hand += entries.len();
        self.emptied.notify_all();
        entries
    }

    /// Waits for requests alone, at most `timeout`: records stay while a commit is being tried again.
    pub(super) fn take_requests(&self, timeout: Duration) -> Vec<Request> {
        let (mut state, _) = self
            .filled
            .wait_timeout_while(self.lock(), timeout, |state| state.requests.is_empty())
            .expect(NO_PANIC_UNDER_LOCK);
        state.requests.drain(..).collect()
    }

    /// Records that wait for a commit.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether the thread has come for the requests; what is put from then on waits for its next turn.
    #[cfg(test)]
    pub(super) fn has_no_requests(&self) -> bool {
        self.lock().requests.is_empty()
    }

    /// Neither waits a record for a commit nor is one in the thread's hand.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.entries.is_empty() && state.in_hand == 0
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.filled.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// The thread is gone: whoever waits is told.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        // Dropping them answers everyone who waits for one.
        let dropped = (
            std::mem::take(&mut state.entries),
            std::mem::take(&mut state.requests),
        );
        drop(state);
        drop(dropped);
        self.emptied.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NO_PANIC_UNDER_LOCK)
    }
}

const NO_PANIC_UNDER_LOCK: &str = "entries are only moved under the lock";

impl State {
    fn is_idle(&self) -> bool {
        self.entries.is_empty()
            && self.requests.is_empty()
            && self.losses.is_empty()
            && !self.closing
    }
}

/// Takes what fits one batch, oldest first. A record always fits a batch of its own.
fn take_batch(entries: &mut VecDeque<Entry>) -> Vec<Entry> {
    let mut bytes = Batch::signed_len([]);
    let mut taken = Vec::new();
    while let Some(entry) = entries.front() {
        bytes += 4 + entry.json.len();
        if taken.len() == MAX_RECORDS || (!taken.is_empty() && bytes > MAX_BATCH_BYTES) {
            break;
        }
        taken.extend(entries.pop_front());
    }
    taken
}
