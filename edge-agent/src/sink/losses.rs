//! What was lost before the spool could take it, gathered into few gap records. Pure.

use std::collections::BTreeMap;
use std::time::Duration;
use wire::record::{Body, GapRecord};
use wire::{CameraId, Record, RecordTime, UtcMicros};

/// Losses are told together when the first of them is so old.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// Losses that are not told yet.
#[derive(Debug, Default)]
pub struct Losses {
    lost: BTreeMap<What, Lost>,
}

/// What is told in one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct What {
    camera: Option<CameraId>,
    /// A media class, or a record's kind.
    class: String,
    reason: String,
}

#[derive(Debug)]
struct Lost {
    from_us: UtcMicros,
    to_us: UtcMicros,
    count: u64,
    since: Duration,
}

impl Losses {
    /// One more; `now` is boot time.
    pub fn add(
        &mut self,
        camera: Option<CameraId>,
        class: &str,
        reason: &str,
        at_us: UtcMicros,
        now: Duration,
    ) {
        let gap = GapRecord {
            from_us: at_us,
            to_us: at_us,
            camera,
            class: class.to_owned(),
            count: 1,
            reason: reason.to_owned(),
        };
        self.merge(gap, now);
    }

    /// What a gap record says that nobody has heard yet; `now` is boot time.
    pub fn merge(&mut self, gap: GapRecord, now: Duration) {
        let what = What {
            camera: gap.camera,
            class: gap.class,
            reason: gap.reason,
        };
        let lost = self.lost.entry(what).or_insert(Lost {
            from_us: gap.from_us,
            to_us: gap.to_us,
            count: 0,
            since: now,
        });
        lost.from_us = lost.from_us.min(gap.from_us);
        lost.to_us = lost.to_us.max(gap.to_us);
        lost.count += gap.count;
    }

    pub fn is_empty(&self) -> bool {
        self.lost.is_empty()
    }

    /// The records of what has waited long enough.
    pub fn due(&mut self, time: &RecordTime, now: Duration) -> Vec<Record> {
        self.take(time, |lost| now.saturating_sub(lost.since) >= TELL_AFTER)
    }

    /// The records of everything.
    pub fn drain(&mut self, time: &RecordTime) -> Vec<Record> {
        self.take(time, |_| true)
    }

    fn take(&mut self, time: &RecordTime, is_due: impl Fn(&Lost) -> bool) -> Vec<Record> {
        self.lost
            .extract_if(.., |_, lost| is_due(lost))
            .map(|(what, lost)| {
                let gap = GapRecord {
                    from_us: lost.from_us,
                    to_us: lost.to_us,
                    camera: what.camera,
                    class: what.class,
                    count: lost.count,
                    reason: what.reason,
                };
                Record::new(*time, Body::Gap(gap))
            })
            .collect()
    }
}
