//! What the balance counts: how many, of which camera, class and hour.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::record::GapRecord;
use wire::{Body, CameraId, MediaClass, Record, UtcMicros};

pub(super) const HOUR_US: i64 = 3_600_000_000;

/// One line of the balance. `class` is a record's kind or a blob's media class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) camera: Option<CameraId>,
    pub(super) class: String,
    pub(super) hour_us: i64,
}

impl Line {
    pub(super) fn new(camera: Option<CameraId>, class: &str, at: UtcMicros) -> Self {
        Self {
            camera,
            class: class.to_owned(),
            hour_us: at.0 - at.0.rem_euclid(HOUR_US),
        }
    }

    pub(super) fn of_record(record: &Record) -> Self {
        Self::new(
            record.body.camera(),
            record.body.kind(),
            record.time.captured_at_us,
        )
    }

    pub(super) fn of_blob(camera: Option<CameraId>, class: MediaClass, at: UtcMicros) -> Self {
        Self::new(camera, class.as_str(), at)
    }

    /// As the balance stores it: empty for the device itself.
    pub(super) fn camera_key(&self) -> Vec<u8> {
        self.camera
            .map_or(Vec::new(), |camera| camera.0.as_bytes().to_vec())
    }

    /// Losses of gap records are not told by gap records: refused for good, they would breed for ever.
    pub(super) fn is_gap(&self) -> bool {
        self.class == "gap"
    }
}

/// How many, and between which capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) count: u64,
    pub(super) from: UtcMicros,
    pub(super) to: UtcMicros,
}

impl Span {
    pub(super) fn one(at: UtcMicros) -> Self {
        Self {
            count: 1,
            from: at,
            to: at,
        }
    }

    fn add(&mut self, other: Span) {
        self.count += other.count;
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
    }
}

/// Lines with their spans; written beside each batch so that settling need not open it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(BTreeMap<Line, Span>);

/// One line as it is stored: `[camera, class, hour_us, count, from_us, to_us]`.
type StoredLine = (Option<CameraId>, String, i64, u64, i64, i64);

impl Tally {
    pub(super) fn add(&mut self, line: Line, span: Span) {
        self.0
            .entry(line)
            .and_modify(|known| known.add(span))
            .or_insert(span);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Line, &Span)> {
        self.0.iter()
    }

    pub(super) fn to_json(&self) -> String {
        let lines: Vec<StoredLine> = self
            .0
            .iter()
            .map(|(line, span)| {
                let (camera, class) = (line.camera, line.class.clone());
                (
                    camera,
                    class,
                    line.hour_us,
                    span.count,
                    span.from.0,
                    span.to.0,
                )
            })
            .collect();
        serde_json::to_string(&lines).expect("tallies hold only what JSON can say")
    }

    pub(super) fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        let lines: Vec<StoredLine> = serde_json::from_str(json)?;
        Ok(Self(
            lines
                .into_iter()
                .map(|(camera, class, hour_us, count, from, to)| {
                    let line = Line {
                        camera,
                        class,
                        hour_us,
                    };
                    let span = Span {
                        count,
                        from: UtcMicros(from),
                        to: UtcMicros(to),
                    };
                    (line, span)
                })
                .collect(),
        ))
    }
}

/// Why something was lost: the `reason` of its gap record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    Quota,
    /// The disk, not the quota, left no room.
    DiskFull,
    Quarantine,
    Rejected,
    Oversized,
    /// The spool's disk did not take it in time.
    Outage,
    /// These two are told by others, and kept when their words have to be put together.
    MediaBusy,
    MediaFailed,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Reason::Quota => "quota",
            Reason::DiskFull => "disk_full",
            Reason::Quarantine => "quarantine",
            Reason::Rejected => "rejected",
            Reason::Oversized => "oversized",
            Reason::Outage => "outage",
            Reason::MediaBusy => "media_busy",
            Reason::MediaFailed => "media_failed",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        [
            Reason::Quota,
            Reason::DiskFull,
            Reason::Quarantine,
            Reason::Rejected,
            Reason::Oversized,
            Reason::Outage,
            Reason::MediaBusy,
            Reason::MediaFailed,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == word)
    }
}

/// Losses of one commit, merged: one gap record for each camera, class, hour and reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses(BTreeMap<(Reason, Line), Span>);

impl Losses {
    pub(super) fn add(&mut self, reason: Reason, line: Line, span: Span) {
        self.0
            .entry((reason, line))
            .and_modify(|known| known.add(span))
            .or_insert(span);
    }

    /// What a gap record said that has to go: said again, together with others.
    pub(super) fn say_again(&mut self, gap: &GapRecord) {
        // A reason of a later version is a loss all the same.
        let reason = Reason::of_word(&gap.reason).unwrap_or(Reason::Quota);
        let span = Span {
            count: gap.count,
            from: gap.from_us,
            to: gap.to_us,
        };
        self.add(reason, Line::new(gap.camera, &gap.class, gap.from_us), span);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Reason, &Line, Span)> {
        self.0
            .iter()
            .map(|((reason, line), span)| (*reason, line, *span))
    }

    pub(super) fn merge(&mut self, other: Losses) {
        for ((reason, line), span) in other.0 {
            self.add(reason, line, span);
        }
    }

    pub(super) fn gap_records(&self) -> impl Iterator<Item = GapRecord> {
        self.0
            .iter()
            .filter(|((_, line), _)| !line.is_gap())
            .map(|((reason, line), span)| GapRecord {
                from_us: span.from,
                to_us: span.to,
                camera: line.camera,
                class: line.class.clone(),
                count: span.count,
                reason: reason.as_str().to_owned(),
            })
    }
}

/// Is this record one that names a loss?
pub(super) fn names_a_loss(record: &Record) -> bool {
    matches!(record.body, Body::Gap(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_start_on_the_hour_before_1970_too() {
        let hour = |us| Line::new(None, "event", UtcMicros(us)).hour_us;
        assert_eq!(hour(0), 0);
        assert_eq!(hour(HOUR_US + 1), HOUR_US);
        assert_eq!(hour(-1), -HOUR_US);
    }

    #[test]
    fn a_stored_tally_reads_back() {
        let mut tally = Tally::default();
        tally.add(
            Line::new(None, "event", UtcMicros(5)),
            Span::one(UtcMicros(5)),
        );
        tally.add(
            Line::new(None, "event", UtcMicros(9)),
            Span::one(UtcMicros(9)),
        );
        let read = Tally::from_json(&tally.to_json()).expect("our own JSON");
        assert_eq!(read, tally);
        let (_, span) = read.iter().next().expect("one line");
        assert_eq!(
            (span.count, span.from, span.to),
            (2, UtcMicros(5), UtcMicros(9))
        );
    }
}
