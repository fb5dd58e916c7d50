//! The event of a camera that no longer sees, from the look that found it out until the all-clear. Pure.
//!
//! Only the all-clear closes it. An agent that stops does not know how it goes on: it tells that the camera did not see to
//! the last, and the next start ends the event for want of anybody who watches it.

use super::clock::{ToldIn, monotonic};
use super::story::{Story, Subject, reason};
use crate::sight::{Blindness, SightChange};
use std::time::Duration;
use wire::record::{CAMERA_CLASS, EventRecord, EventState, NormBox};
use wire::{CameraId, EventId, RecordTime};

const WHOLE_PICTURE: NormBox = NormBox {
    x: 0.0,
    y: 0.0,
    w: 1.0,
    h: 1.0,
};

#[derive(Debug, Default)]
pub(super) struct Blind {
    open: Option<(Story, ToldIn)>,
    since: Duration,
}

impl Blind {
    /// Takes a change of what the camera sees; returns what is to be told.
    pub(super) fn change(
        &mut self,
        change: SightChange,
        time: &RecordTime,
        camera: CameraId,
        new_id: impl FnOnce() -> EventId,
    ) -> Option<EventRecord> {
        match change {
            SightChange::Regained => self.close(time, camera),
            SightChange::Lost(why) => {
                let state = match self.open {
                    Some(_) => EventState::Updated,
                    None => EventState::Opened,
                };
                if self.open.is_none() {
                    self.since = monotonic(time);
                }
                let opened = || (Story::new(new_id(), time), ToldIn::new(time));
                let (story, told_in) = self.open.get_or_insert_with(opened);
                story.shift_us(told_in.set_by_us(time));
                story.because(reason(Blindness::as_str(why), time));
                Some(tell(story, state, time, camera))
            }
        }
    }

    fn close(&mut self, time: &RecordTime, camera: CameraId) -> Option<EventRecord> {
        let (mut story, mut told_in) = self.open.take()?;
        story.shift_us(told_in.set_by_us(time));
        Some(tell(&mut story, EventState::Closed, time, camera))
    }

    /// Nobody watches it from now on: it did not see until now.
    pub(super) fn leave(&mut self, time: &RecordTime, camera: CameraId) -> Option<EventRecord> {
        let (mut story, mut told_in) = self.open.take()?;
        story.shift_us(told_in.set_by_us(time));
        Some(tell(&mut story, EventState::Updated, time, camera))
    }

    /// Since when it does not see, on the boot clock.
    pub(super) fn since(&self) -> Option<Duration> {
        self.open.as_ref().map(|_| self.since)
    }

    pub(super) fn event(&self) -> Option<EventId> {
        let (story, _) = self.open.as_ref()?;
        Some(story.id)
    }
}

fn tell(story: &mut Story, state: EventState, time: &RecordTime, camera: CameraId) -> EventRecord {
    let subject = Subject {
        camera,
        class: CAMERA_CLASS,
        score: 1.0,
        last_seen_at_us: time.captured_at_us,
        track: 0,
        rect: WHOLE_PICTURE,
        path: Vec::new(),
        zones: Vec::new(),
    };
    story.tell(state, time, subject)
}
