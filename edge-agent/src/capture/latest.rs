//! One place for the newest of something: loss door 1. A slow reader never slows the writer; what it misses is
//! counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Overwrites what was not taken in time and counts it.
#[derive(Debug)]
pub struct LatestSlot<T> {
    value: Mutex<Option<T>>,
    overwritten: AtomicU64,
    wakeup: Arc<Wakeup>,
}

impl<T> LatestSlot<T> {
    /// Several slots may share one wake-up: their reader then waits for all of them at once.
    pub fn new(wakeup: Arc<Wakeup>) -> Self {
        Self {
            value: Mutex::new(None),
            overwritten: AtomicU64::new(0),
            wakeup,
        }
    }

    pub fn replace(&self, value: T) {
        let before = self.lock().replace(value);
        if before.is_some() {
            self.overwritten.fetch_add(1, Ordering::Relaxed);
        }
        self.wakeup.ring();
    }

    pub fn take(&self) -> Option<T> {
        self.lock().take()
    }

    /// How many values nobody took.
    pub fn overwritten(&self) -> u64 {
        self.overwritten.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<T>> {
        self.value
            .lock()
            .expect("values are only moved under the lock")
    }
}

/// Wakes one thread that looks at several slots.
#[derive(Debug, Default)]
pub struct Wakeup {
    rung: Mutex<bool>,
    condvar: Condvar,
}

impl Wakeup {
    pub fn ring(&self) {
        *self.rung.lock().expect("a flag cannot be left half set") = true;
        self.condvar.notify_one();
    }

    /// Returns at the next ring, at once if it rang since the last wait, or after `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let rung = self.rung.lock().expect("a flag cannot be left half set");
        let (mut rung, _) = self
            .condvar
            .wait_timeout_while(rung, timeout, |rung| !*rung)
            .expect("a flag cannot be left half set");
        *rung = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_wins_and_the_loss_is_counted() {
        let slot = LatestSlot::new(Arc::new(Wakeup::default()));
        slot.replace(1);
        slot.replace(2);
        assert_eq!(slot.take(), Some(2));
        assert_eq!(slot.take(), None);
        slot.replace(3);
        assert_eq!(slot.overwritten(), 1);
    }

    #[test]
    fn a_ring_before_the_wait_is_not_missed() {
        let wakeup = Wakeup::default();
        wakeup.ring();
        // Would otherwise block for ever.
        wakeup.wait(Duration::MAX);
    }
}
