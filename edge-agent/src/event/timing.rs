//! When a zone or line may open an event: inside its schedule, and not too soon after the last one. Pure.

use super::schedule::Schedule;
use std::sync::Arc;
use std::time::Duration;
use wire::UtcMicros;

#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// `None`: always.
    pub schedule: Option<Arc<Schedule>>,
    pub cool_down: Duration,
}

impl Timing {
    pub(super) fn is_on(&self, at: UtcMicros) -> bool {
        let schedule = self.schedule.as_ref();
        schedule.is_none_or(|schedule| schedule.is_on(at))
    }
}

/// Until when one zone or line opens no other event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CoolDown {
    until: Duration,
}

impl CoolDown {
    pub(super) fn is_over(self, now: Duration) -> bool {
        now >= self.until
    }

    /// An event is opened. One that another zone opened meanwhile does not prolong it.
    pub(super) fn begin_if_over(&mut self, now: Duration, timing: &Timing) {
        if self.is_over(now) {
            self.until = now + timing.cool_down;
        }
    }
}
