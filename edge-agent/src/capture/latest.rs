//! The bell that one worker waits at for many cameras.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

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
    fn a_ring_before_the_wait_is_not_missed() {
        let wakeup = Wakeup::default();
        wakeup.ring();
        // Would otherwise block for ever.
        wakeup.wait(Duration::MAX);
    }
}
