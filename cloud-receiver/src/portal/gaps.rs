//! What is missing from a timeline, as its reader is told: where, from when to when, and what it means. Pure.
//!
//! Three things must never be mixed up: what is **lost** (a gap record says so), what was **never watched** (a camera
//! gave no video, a device did not run), and what is **not here yet** (it lies on the device, or nobody can ask it).

use super::condition::DEVICE_SILENT_AFTER_SECONDS;
use super::when::When;
use crate::store::{Awaited, Loss, Missing, Spot, Stop};
use wire::{ClockState, UtcMicros};

const SECOND_US: i64 = 1_000_000;
/// Devices tell losses by the hour, from the first lost thing to the last: in neighbouring hours they are one gap.
const LOSSES_ADJACENT_US: i64 = 3600 * SECOND_US;
/// A camera that comes back for a moment only was away all the time.
const STOPS_ADJACENT_US: i64 = 60 * SECOND_US;
/// A camera that reconnects at once is no news.
const CAMERA_STOP_FROM_US: i64 = 30 * SECOND_US;
/// The last sign of life may be a minute older than the stop: the pace of regular pictures.
const DEVICE_STOP_FROM_US: i64 = 120 * SECOND_US;
/// What waits for less is on its way as everything is.
const BACKLOG_FROM_US: i64 = 120 * SECOND_US;
/// Nothing is kept on a device for so long: a start before is that of a clock which was not set.
const LONGEST_US: i64 = 366 * 86_400 * SECOND_US;

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    pub spot: Spot,
    pub from_us: UtcMicros,
    /// Of one that goes on: the present.
    pub to_us: UtcMicros,
    pub goes_on: bool,
    /// Otherwise nobody can say when, because the device's clock was not set; it was told then.
    pub when_known: bool,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Lost {
        reason: String,
        /// How many of each; 0: not known.
        kinds: Vec<(Kind, u64)>,
        /// No record of an event was lost there meanwhile.
        events_complete: bool,
    },
    CameraStopped {
        reason: Option<String>,
        times: u32,
        /// Altogether without video.
        seconds: i64,
    },
    DeviceStopped,
    /// The device cannot be reached. Whether it runs nobody knows.
    Silent,
    /// On the device, on its way.
    OnItsWay {
        records: u64,
        pictures: u64,
    },
    /// Neither here nor on the device, and nobody said why.
    Unexplained {
        records: u64,
    },
}

/// What was lost, as far as a customer cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Events,
    EventPictures,
    RegularPictures,
    RequestedPictures,
    Pictures,
    Clips,
    Counts,
    /// What the device says of itself and of its cameras.
    Reports,
}

impl Kind {
    fn of(class: &str) -> Self {
        match class {
            "snapshot" => Self::EventPictures,
            "periodic" => Self::RegularPictures,
            "requested" => Self::RequestedPictures,
            "clip" => Self::Clips,
            "media" => Self::Pictures,
            "count" => Self::Counts,
            "camera_state" | "device_state" | "clock" | "audit" | "gap" | "diagnostic" => {
                Self::Reports
            }
            // A kind that has no word yet may well have been an event.
            _ => Self::Events,
        }
    }

    pub fn is_picture(self) -> bool {
        use Kind::{Clips, EventPictures, Pictures, RegularPictures, RequestedPictures};
        matches!(
            self,
            EventPictures | RegularPictures | RequestedPictures | Pictures | Clips
        )
    }
}

/// How a gap is drawn and called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    Lost,
    Stopped,
    Awaited,
}

impl Gap {
    /// Where it stands in a list from new to old: at its end.
    pub fn at(&self) -> UtcMicros {
        self.to_us
    }

    pub fn look(&self) -> Look {
        match self.what {
            What::Lost { .. } | What::Unexplained { .. } => Look::Lost,
            What::CameraStopped { .. } | What::DeviceStopped => Look::Stopped,
            What::Silent | What::OnItsWay { .. } => Look::Awaited,
        }
    }

    /// The same for the same gap, whatever else the page shows: the name of its place on the page.
    pub fn anchor(&self) -> String {
        let camera = self.spot.camera.as_ref().map(|(camera, _)| camera.0);
        let place = camera.unwrap_or(self.spot.device.0).simple();
        let look = match self.look() {
            Look::Lost => "lost",
            Look::Stopped => "stop",
            Look::Awaited => "wait",
        };
        format!("gap-{look}-{place}-{}", self.from_us.0)
    }
}

/// All gaps, the newest end first. Gaps are merged within a day only, so that every day tells its own.
pub fn tell(missing: &Missing, when: &When) -> Vec<Gap> {
    let mut gaps = lost(&missing.losses, when);
    gaps.extend(stopped(&missing.stops, when));
    for awaited in &missing.awaited {
        gaps.extend(not_here(awaited, when.now));
    }
    gaps.sort_by(|one, other| {
        (other.to_us, other.from_us)
            .cmp(&(one.to_us, one.from_us))
            .then_with(|| one.spot.cmp(&other.spot))
    });
    gaps
}

fn lost(losses: &[Loss], when: &When) -> Vec<Gap> {
    let mut losses: Vec<&Loss> = losses.iter().collect();
    losses.sort_by_key(|loss| (&loss.spot, &loss.reason, loss.from_us));
    let mut gaps: Vec<Gap> = Vec::new();
    for loss in &losses {
        let (kind, count) = (Kind::of(&loss.class), loss.count);
        match gaps.last_mut().filter(|gap| continues(gap, loss, when)) {
            Some(gap) => {
                gap.to_us = gap.to_us.max(loss.to_us);
                add(gap, kind, count);
            }
            None => gaps.push(Gap {
                spot: loss.spot.clone(),
                from_us: loss.from_us,
                to_us: loss.to_us.min(when.now),
                goes_on: false,
                when_known: loss.when_known,
                what: What::Lost {
                    reason: loss.reason.clone(),
                    kinds: vec![(kind, count)],
                    events_complete: true,
                },
            }),
        }
    }
    for gap in &mut gaps {
        let lost_events = losses.iter().any(|loss| takes_events_of(loss, gap));
        if let What::Lost {
            events_complete,
            kinds,
            ..
        } = &mut gap.what
        {
            *events_complete = !lost_events;
            kinds.sort();
        }
    }
    gaps
}

fn continues(gap: &Gap, loss: &Loss, when: &When) -> bool {
    let same_reason = matches!(&gap.what, What::Lost { reason, .. } if *reason == loss.reason);
    same_reason
        && gap.spot == loss.spot
        && gap.when_known == loss.when_known
        && loss.from_us.since_us(gap.to_us) <= LOSSES_ADJACENT_US
        && when.date_of(gap.to_us) == when.date_of(loss.to_us)
}

fn add(gap: &mut Gap, kind: Kind, count: u64) {
    let What::Lost { kinds, .. } = &mut gap.what else {
        return;
    };
    match kinds.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, sum)) => *sum = sum.saturating_add(count),
        None => kinds.push((kind, count)),
    }
}

/// Whether events that belong into the gap are lost, by this very loss or by another one beside it.
fn takes_events_of(loss: &Loss, gap: &Gap) -> bool {
    let concerns = loss.spot.device == gap.spot.device
        && (loss.spot.camera.is_none()
            || gap.spot.camera.is_none()
            || loss.spot.camera == gap.spot.camera);
    concerns
        && Kind::of(&loss.class) == Kind::Events
        && loss.from_us <= gap.to_us
        && loss.to_us >= gap.from_us
}

fn stopped(stops: &[Stop], when: &When) -> Vec<Gap> {
    let mut stops: Vec<&Stop> = stops.iter().collect();
    stops.sort_by_key(|stop| (&stop.spot, stop.from_us));
    let mut gaps: Vec<Gap> = Vec::new();
    for stop in stops {
        let to_us = stop.to_us.unwrap_or(when.now).min(when.now);
        let length = to_us.since_us(stop.from_us).max(0) / SECOND_US;
        let what = match stop.spot.camera {
            None => What::DeviceStopped,
            Some(_) => What::CameraStopped {
                reason: stop.reason.clone(),
                times: 1,
                seconds: length,
            },
        };
        let next = Gap {
            spot: stop.spot.clone(),
            from_us: stop.from_us.min(to_us),
            to_us,
            goes_on: stop.to_us.is_none(),
            when_known: true,
            what,
        };
        match gaps
            .last_mut()
            .filter(|gap| is_same_outage(gap, &next, when))
        {
            Some(gap) => join(gap, next),
            None => gaps.push(next),
        }
    }
    gaps.retain(|gap| match gap.what {
        What::CameraStopped { seconds, .. } => seconds * SECOND_US >= CAMERA_STOP_FROM_US,
        _ => gap.to_us.since_us(gap.from_us) >= DEVICE_STOP_FROM_US,
    });
    gaps
}

fn is_same_outage(gap: &Gap, next: &Gap, when: &When) -> bool {
    gap.spot == next.spot
        && gap.spot.camera.is_some()
        && next.from_us.since_us(gap.to_us) <= STOPS_ADJACENT_US
        && when.date_of(gap.to_us) == when.date_of(next.to_us)
}

fn join(gap: &mut Gap, next: Gap) {
    gap.to_us = gap.to_us.max(next.to_us);
    gap.goes_on |= next.goes_on;
    if let (
        What::CameraStopped {
            reason,
            times,
            seconds,
        },
        What::CameraStopped {
            reason: last_reason,
            seconds: more,
            ..
        },
    ) = (&mut gap.what, next.what)
    {
        *reason = last_reason.or(reason.take());
        *times += 1;
        *seconds += more;
    }
}

/// A device that is silent, or still holds what is older than it should be; and numbers that never came.
fn not_here(awaited: &Awaited, now: UtcMicros) -> Vec<Gap> {
    let gap = |from_us, to_us, goes_on, when_known, what| Gap {
        spot: awaited.spot.clone(),
        from_us,
        to_us,
        goes_on,
        when_known,
        what,
    };
    let mut gaps = Vec::new();
    let heard = awaited.heard_us.min(now);
    let is_silent = now.since_us(heard) > DEVICE_SILENT_AFTER_SECONDS * SECOND_US;
    if is_silent {
        gaps.push(gap(heard, now, true, true, What::Silent));
    }
    let spool = awaited.heartbeat.as_ref().map(|said| &said.spool);
    let backlog_since =
        backlog_since(awaited).filter(|since| heard.since_us(*since) >= BACKLOG_FROM_US);
    if let (Some(spool), Some(since)) = (spool, backlog_since) {
        let what = What::OnItsWay {
            records: spool.pending_records,
            pictures: spool.pending_blobs,
        };
        let when_known = now.since_us(since) <= LONGEST_US;
        let since = if when_known { since } else { heard };
        gaps.push(gap(since, heard, !is_silent, when_known, what));
    }
    for hole in &awaited.holes {
        if now.since_us(hole.to_us) < BACKLOG_FROM_US {
            continue;
        }
        // A device that can still be asked, and holds nothing any more, will not bring it.
        let holds_nothing = spool.is_some_and(|spool| spool.pending_records == 0);
        let what = match (!is_silent && holds_nothing, backlog_since) {
            (true, _) => What::Unexplained {
                records: hole.records,
            },
            // The backlog tells it already.
            (false, Some(since)) if since <= hole.to_us => continue,
            (false, _) => What::OnItsWay {
                records: hole.records,
                pictures: 0,
            },
        };
        gaps.push(gap(hole.from_us, hole.to_us, false, true, what));
    }
    gaps
}

/// Since when the device holds what it has not delivered, by a clock that is right: its own as far as it knows it,
/// else ours.
fn backlog_since(awaited: &Awaited) -> Option<UtcMicros> {
    let said = awaited.heartbeat.as_ref()?;
    let oldest = said.spool.oldest_pending_us?;
    if said.spool.pending_records == 0 && said.spool.pending_blobs == 0 {
        return None;
    }
    let offset_us = match said.clock.state {
        ClockState::Synced | ClockState::Holdover => said.clock.offset_us,
        ClockState::Unsynced | ClockState::Unknown => awaited.heard_us.since_us(said.sent_at_us),
    };
    Some(oldest.plus_us(offset_us))
}

#[cfg(test)]
mod tests;
