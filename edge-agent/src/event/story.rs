//! What is told of an event: its id, its revisions and its reasons. Pure.

use super::clock::monotonic;
use crate::geometry;
use std::time::Duration;
use wire::record::{EventRecord, EventState, MAX_REASONS, NormBox, PathPoint, Reason};
use wire::{CameraId, EventId, RecordTime, UtcMicros};

#[derive(Debug)]
pub(super) struct Story {
    pub(super) id: EventId,
    revision: u32,
    opened_at_us: UtcMicros,
    reasons: Vec<Reason>,
    pub(super) last_told: Duration,
}

/// Whom an event speaks of, as of now.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) camera: CameraId,
    pub(super) class: &'a str,
    pub(super) score: f32,
    pub(super) last_seen_at_us: UtcMicros,
    pub(super) track: u64,
    pub(super) rect: NormBox,
    pub(super) path: Vec<PathPoint>,
    pub(super) zones: Vec<String>,
}

impl Story {
    pub(super) fn new(id: EventId, time: &RecordTime) -> Self {
        Self {
            id,
            revision: 0,
            opened_at_us: time.captured_at_us,
            reasons: Vec::new(),
            last_told: monotonic(time),
        }
    }

    /// The first reason is why it was opened; of the others the oldest gives way.
    pub(super) fn because(&mut self, reason: Reason) {
        if self.reasons.len() == MAX_REASONS {
            self.reasons.remove(1);
        }
        self.reasons.push(reason);
    }

    pub(super) fn last_reason(&mut self) -> Option<&mut Reason> {
        self.reasons.last_mut()
    }

    /// The clock was set: what was is told in its new time.
    pub(super) fn shift_us(&mut self, by_us: i64) {
        self.opened_at_us = self.opened_at_us.plus_us(by_us);
        for reason in &mut self.reasons {
            reason.at_us = reason.at_us.plus_us(by_us);
        }
    }

    pub(super) fn tell(
        &mut self,
        state: EventState,
        time: &RecordTime,
        subject: Subject<'_>,
    ) -> EventRecord {
        self.revision += 1;
        self.last_told = monotonic(time);
        EventRecord {
            id: self.id,
            revision: self.revision,
            state,
            camera: subject.camera,
            class: subject.class.into(),
            score: subject.score,
            opened_at_us: self.opened_at_us,
            last_seen_at_us: subject.last_seen_at_us,
            closed_at_us: (state == EventState::Closed).then_some(time.captured_at_us),
            track: subject.track,
            rect: geometry::rounded(&subject.rect),
            path: subject.path,
            zones: subject.zones,
            reasons: self.reasons.clone(),
            media: Vec::new(),
        }
    }
}

/// A reason with nothing but its rule; whoever knows more adds it.
pub(super) fn reason(rule: &str, time: &RecordTime) -> Reason {
    Reason {
        rule: rule.into(),
        name: None,
        direction: None,
        count: None,
        seconds: None,
        at_us: time.captured_at_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{BootId, ClockStamp};

    #[test]
    fn of_too_many_reasons_the_first_and_the_newest_stay() {
        let mut time = RecordTime {
            captured_at_us: UtcMicros(0),
            boot_id: BootId(uuid::Uuid::nil()),
            boottime_ns: 0,
            clock: ClockStamp::UNSYNCED,
        };
        let mut story = Story::new(EventId(uuid::Uuid::nil()), &time);
        for second in 0..100 {
            time.captured_at_us = UtcMicros(second);
            story.because(reason("line", &time));
        }
        let times: Vec<i64> = story.reasons.iter().map(|reason| reason.at_us.0).collect();
        assert_eq!(times.len(), MAX_REASONS);
        assert_eq!((times[0], times[1], times[31]), (0, 69, 99));
    }
}
