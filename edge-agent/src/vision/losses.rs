//! Pictures that were missed for good, gathered into few gap records. Pure.

use std::collections::BTreeMap;
use std::time::Duration;
use wire::record::{Body, GapRecord, MediaClass};
use wire::{CameraId, Record, RecordTime, UtcMicros};

/// Losses are told together when the first of them is so old.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// What one camera lost and has not told yet.
#[derive(Debug, Default)]
pub(super) struct Losses {
    by_class: BTreeMap<MediaClass, Lost>,
}

#[derive(Debug)]
struct Lost {
    from_us: UtcMicros,
    to_us: UtcMicros,
    count: u64,
    since: Duration,
}

impl Losses {
    pub(super) fn add(&mut self, class: MediaClass, at_us: UtcMicros, now: Duration) {
        let lost = self.by_class.entry(class).or_insert(Lost {
            from_us: at_us,
            to_us: at_us,
            count: 0,
            since: now,
        });
        lost.from_us = lost.from_us.min(at_us);
        lost.to_us = lost.to_us.max(at_us);
        lost.count += 1;
    }

    /// The records of what has waited long enough.
    pub(super) fn due(
        &mut self,
        time: &RecordTime,
        now: Duration,
        camera: CameraId,
    ) -> Vec<Record> {
        self.take(time, camera, |lost| {
            now.saturating_sub(lost.since) >= TELL_AFTER
        })
    }

    /// The records of everything.
    pub(super) fn drain(&mut self, time: &RecordTime, camera: CameraId) -> Vec<Record> {
        self.take(time, camera, |_| true)
    }

    fn take(
        &mut self,
        time: &RecordTime,
        camera: CameraId,
        is_due: impl Fn(&Lost) -> bool,
    ) -> Vec<Record> {
        self.by_class
            .extract_if(.., |_, lost| is_due(lost))
            .map(|(class, lost)| {
                let gap = GapRecord {
                    from_us: lost.from_us,
                    to_us: lost.to_us,
                    camera: Some(camera),
                    class: class.as_str().to_owned(),
                    count: lost.count,
                    reason: "media_busy".to_owned(),
                };
                Record::new(*time, Body::Gap(gap))
            })
            .collect()
    }
}
