//! Whether an event's picture can still be hoped for. Pure.
//!
//! "Waiting for the picture" is a promise: said of a picture that will never come, it is a lie that lasts for ever.

use super::words::{Lang, Words};
use crate::store::{EventRow, Snapshot};
use wire::UtcMicros;

const SECOND_US: i64 = 1_000_000;
/// Pictures follow their event within seconds; one of which nothing was said a minute after the event had closed,
/// and had arrived, is none.
const UNHEARD_AFTER_US: i64 = 60 * SECOND_US;
/// An event that is open but was not seen for so long has lost its device, or its closing.
const OPEN_UNSEEN_AFTER_US: i64 = 600 * SECOND_US;
/// A picture that was announced waits in the device's spool behind the records, for as long as the line is slow;
/// or it was shed there.
const ANNOUNCED_AFTER_US: i64 = 24 * 3600 * SECOND_US;

/// What to say in the place of the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    Coming,
    None,
    /// As agreed.
    Expired,
    /// By this reason of a gap record.
    Lost(String),
}

impl Absence {
    pub fn of(row: &EventRow, now: UtcMicros) -> Self {
        Self::of_one(row, &row.snapshot, now)
    }

    /// Of one of an event's pictures.
    pub fn of_one(row: &EventRow, snapshot: &Snapshot, now: UtcMicros) -> Self {
        let quiet_us = |at: UtcMicros| now.since_us(at.max(row.received_at_us));
        let over = match snapshot {
            Snapshot::Here(_) => true,
            Snapshot::Expired => return Self::Expired,
            Snapshot::Lost { reason } => return Self::Lost(reason.clone()),
            Snapshot::Announced { received_at_us } => {
                now.since_us(*received_at_us) > ANNOUNCED_AFTER_US
            }
            Snapshot::Unheard => match row.closed_at_us {
                Some(closed) => quiet_us(closed) > UNHEARD_AFTER_US,
                None => quiet_us(row.last_seen_at_us) > OPEN_UNSEEN_AFTER_US,
            },
        };
        if over { Self::None } else { Self::Coming }
    }

    /// Where there is little room.
    pub fn short(&self, words: &Words) -> &'static str {
        match self {
            Self::Coming => words.picture_coming,
            Self::None => words.no_picture,
            Self::Expired => words.picture_expired,
            Self::Lost(_) => words.picture_lost,
        }
    }

    /// With the reason, and what it means.
    pub fn sentence(&self, lang: Lang) -> String {
        match self {
            Self::Lost(reason) => lang.picture_lost_because(reason),
            other => other.short(lang.words()).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TimeKnown;
    use uuid::Uuid;
    use wire::{CameraId, EventId, SiteId};

    const NOW: i64 = 1_000_000;

    fn ago(seconds: i64) -> UtcMicros {
        UtcMicros((NOW - seconds) * SECOND_US)
    }

    fn row(closed: Option<i64>, seen: i64, received: i64, snapshot: Snapshot) -> EventRow {
        EventRow {
            id: EventId(Uuid::nil()),
            camera: CameraId(Uuid::nil()),
            camera_name: String::new(),
            site: SiteId(Uuid::nil()),
            site_name: String::new(),
            class: "person".into(),
            score: 0.9,
            opened_at_us: ago(100_000),
            last_seen_at_us: ago(seen),
            closed_at_us: closed.map(ago),
            revision: 1,
            received_at_us: ago(received),
            snapshot,
            time_known: TimeKnown::Synced,
            zones: Vec::new(),
            reasons: Vec::new(),
        }
    }

    #[test]
    fn nobody_waits_for_a_picture_that_will_not_come() {
        use Absence::{Coming, Lost, None as Gone};
        let check = |closed, seen, received, snapshot: Snapshot, expected| {
            let row = row(closed, seen, received, snapshot);
            assert_eq!(Absence::of(&row, ago(0)), expected, "{row:?}");
        };
        check(None, 5, 90_000, Snapshot::Unheard, Coming);
        check(None, 601, 90_000, Snapshot::Unheard, Gone);
        check(Some(60), 60, 90_000, Snapshot::Unheard, Coming);
        check(Some(61), 61, 90_000, Snapshot::Unheard, Gone);
        // An outage is over: the records come first, their pictures after them.
        check(Some(50_000), 50_000, 10, Snapshot::Unheard, Coming);
        let announced = |seconds| Snapshot::Announced {
            received_at_us: ago(seconds),
        };
        check(Some(50_000), 50_000, 10, announced(3600), Coming);
        check(Some(90_000), 90_000, 90_000, announced(86_401), Gone);
        let lost = Snapshot::Lost {
            reason: "quota".into(),
        };
        check(None, 1, 1, lost, Lost("quota".into()));
    }
}
