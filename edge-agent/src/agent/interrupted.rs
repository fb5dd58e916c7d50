//! Events that were open when the agent was cut off: their objects are watched by nobody any more, so they are over.
//! Without a word about it the customer would see them go on for ever.
//!
//! A camera that did not see is another matter, after an orderly stop too: that it is not watched is no all-clear. Its event
//! ends with [`UNWATCHED`] as its last reason, and whether it sees now is found out anew.
//!
//! Each is ended once, by a record like any other: the spool forgets an open event in the commit that takes its end,
//! so a crash in between ends it at the next start. An object that still stands there is a new event.

use crate::spool::SpoolHandle;
use wire::record::{CAMERA_CLASS, EventRecord, EventState, MAX_REASONS, Reason, UNWATCHED};
use wire::{Body, Record};

/// Ends them all. Done before anything is watched.
pub(super) async fn end_interrupted(spool: &SpoolHandle) -> anyhow::Result<()> {
    let ends: Vec<Record> = spool.interrupted_events().iter().filter_map(end).collect();
    if ends.is_empty() {
        return Ok(());
    }
    let count = ends.len();
    // Together, so that they share commits.
    futures::future::try_join_all(ends.into_iter().map(|end| spool.put_durable(end))).await?;
    tracing::info!("{count} events of the last run that were still open are ended");
    Ok(())
}

/// The event ended when its object was last seen, as far as anyone knows. All its times are on the clock of its last
/// record, of another boot perhaps: so the end is stamped as that record was.
fn end(last: &Record) -> Option<Record> {
    let Body::Event(event) = &last.body else {
        return None;
    };
    let mut event = event.clone();
    event.revision += 1;
    event.state = EventState::Closed;
    event.closed_at_us = Some(event.last_seen_at_us);
    if event.class == CAMERA_CLASS {
        without_all_clear(&mut event);
    }
    Some(Record::new(last.time, Body::Event(event)))
}

/// The first reason is why it was opened; of the others the oldest gives way.
fn without_all_clear(event: &mut EventRecord) {
    if event.reasons.len() >= MAX_REASONS {
        event.reasons.remove(1);
    }
    event.reasons.push(Reason {
        rule: UNWATCHED.into(),
        name: None,
        direction: None,
        count: None,
        seconds: None,
        at_us: event.last_seen_at_us,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::record::NormBox;
    use wire::{BootId, CameraId, ClockStamp, EventId, RecordTime, UtcMicros};

    fn open(class: &str, reasons: usize) -> Record {
        let reason = |at_us| Reason {
            rule: "covered".into(),
            name: None,
            direction: None,
            count: None,
            seconds: None,
            at_us: UtcMicros(at_us),
        };
        let event = EventRecord {
            id: EventId(uuid::Uuid::nil()),
            revision: 3,
            state: EventState::Updated,
            camera: CameraId(uuid::Uuid::nil()),
            class: class.into(),
            score: 1.0,
            opened_at_us: UtcMicros(0),
            last_seen_at_us: UtcMicros(700),
            closed_at_us: None,
            track: 0,
            rect: NormBox {
                x: 0.0,
                y: 0.0,
                w: 1.0,
                h: 1.0,
            },
            path: Vec::new(),
            zones: Vec::new(),
            reasons: (0..reasons as i64).map(reason).collect(),
            media: Vec::new(),
        };
        let time = RecordTime {
            captured_at_us: UtcMicros(800),
            boot_id: BootId(uuid::Uuid::nil()),
            boottime_ns: 0,
            clock: ClockStamp::UNSYNCED,
        };
        Record::new(time, Body::Event(event))
    }

    /// State, revision, end and the rules and times of the reasons of the record that ends an event.
    fn ended(last: &Record) -> (EventState, u32, Option<i64>, Vec<(String, i64)>) {
        let Some(Body::Event(event)) = end(last).map(|record| record.body) else {
            panic!("an event's end is an event record");
        };
        let reasons = event.reasons.into_iter().map(|r| (r.rule, r.at_us.0));
        let closed = event.closed_at_us.map(|at| at.0);
        (event.state, event.revision, closed, reasons.collect())
    }

    #[test]
    fn an_object_is_gone_and_a_blind_camera_is_only_not_watched() {
        let (state, revision, closed, reasons) = ended(&open("person", 0));
        assert_eq!(
            (state, revision, closed),
            (EventState::Closed, 4, Some(700))
        );
        assert_eq!(reasons, []);

        let (state, revision, closed, reasons) = ended(&open(CAMERA_CLASS, 1));
        assert_eq!(
            (state, revision, closed),
            (EventState::Closed, 4, Some(700))
        );
        assert_eq!(
            reasons,
            [("covered".to_owned(), 0), ("unwatched".to_owned(), 700)]
        );
    }

    #[test]
    fn a_camera_of_many_reasons_keeps_the_first_and_why_it_ended() {
        let (_, _, _, reasons) = ended(&open(CAMERA_CLASS, MAX_REASONS));
        assert_eq!(reasons.len(), MAX_REASONS);
        assert_eq!((reasons[0].1, reasons[1].1), (0, 2));
        assert_eq!(reasons[MAX_REASONS - 1], ("unwatched".to_owned(), 700));
    }
}
