//! Rules tried on scripted tracks: what opens, what is told when, what closes.

#![allow(clippy::unwrap_used)]

mod counted;
mod places;

use super::*;
use wire::record::NormBox;
use wire::{BootId, ClockStamp, UtcMicros};

const CAMERA: CameraId = CameraId(uuid::Uuid::from_u128(7));

fn time(seconds: f64) -> RecordTime {
    RecordTime {
        captured_at_us: UtcMicros(1_700_000_000_000_000 + (seconds * 1e6) as i64),
        boot_id: BootId(uuid::Uuid::from_u128(1)),
        boottime_ns: 5_000_000_000 + (seconds * 1e9) as u64,
        clock: ClockStamp::UNSYNCED,
    }
}

fn track(id: u64, class: &str, x: f32) -> TrackState {
    TrackState {
        id: TrackId(id),
        class: class.into(),
        score: 0.7,
        rect: NormBox {
            x,
            y: 0.4,
            w: 0.2,
            h: 0.2,
        },
        detection: Some(0),
        confirmed: true,
        unseen: Duration::ZERO,
        missed: 0,
        speed: 0.0,
        steady: true,
    }
}

fn rules() -> Rules {
    rules_of(CameraRules::default())
}

fn rules_of(scene: CameraRules) -> Rules {
    let mut next = 0;
    let new_id = move || {
        next += 1;
        EventId(uuid::Uuid::from_u128(next))
    };
    Rules::new(RulesConfig::default(), scene, CAMERA, Box::new(new_id))
}

/// Five looks a second from `from` to `to`, with what `tracks` says is there; returns the records.
fn watch(
    rules: &mut Rules,
    (from, to): (f64, f64),
    tracks: impl Fn(f64) -> Vec<TrackState>,
) -> Vec<EventRecord> {
    let looks = ((to - from) * 5.0).round() as usize;
    (0..looks)
        .map(|look| from + look as f64 / 5.0)
        .flat_map(|at| rules.update(&time(at), 1.0, &tracks(at)).events)
        .collect()
}

fn words(records: &[EventRecord]) -> Vec<(u128, EventState, u32)> {
    let word = |record: &EventRecord| (record.id.0.as_u128(), record.state, record.revision);
    records.iter().map(word).collect()
}

use EventState::{Closed, Opened, Updated};

#[test]
fn a_walker_opens_updates_and_closes_with_one_id() {
    let mut rules = rules();
    let records = watch(&mut rules, (0.0, 20.0), |at| match at {
        ..12.0 => vec![track(1, "person", 0.05 * at as f32)],
        _ => vec![],
    });
    let expected = [
        (1, Opened, 1),
        (1, Updated, 2),
        (1, Updated, 3),
        (1, Closed, 4),
    ];
    assert_eq!(words(&records), expected);
    let last = &records[3];
    assert_eq!(last.opened_at_us, time(0.0).captured_at_us);
    assert_eq!(last.last_seen_at_us, time(11.8).captured_at_us);
    assert!(last.closed_at_us.unwrap() > last.last_seen_at_us);
    assert!(last.path.len() > 30 && last.path.len() <= 64);
    assert_eq!((rules.open_count(), rules.opened_total()), (0, 1));
}

#[test]
fn unconfirmed_tracks_are_no_events() {
    let mut rules = rules();
    let records = watch(&mut rules, (0.0, 5.0), |_| {
        vec![TrackState {
            confirmed: false,
            ..track(1, "person", 0.3)
        }]
    });
    assert!(records.is_empty());
}

#[test]
fn a_parked_car_is_one_event_for_an_hour_though_it_is_missed_now_and_then() {
    let mut rules = rules();
    // Seen for 100 s, missed for 50 s, each time under another track id.
    let records = watch(&mut rules, (0.0, 3600.0), |at| {
        let (round, within) = ((at / 150.0) as u64, at % 150.0);
        if within < 100.0 {
            vec![track(1 + round, "vehicle", 0.3)]
        } else {
            vec![]
        }
    });
    assert!(records.iter().all(|record| record.id == records[0].id));
    assert_eq!(rules.opened_total(), 1);
    assert!(records.len() < 40, "{} records in an hour", records.len());
}

#[test]
fn a_car_that_drives_off_is_gone_at_once_however_long_it_stood() {
    let mut rules = rules();
    let records = watch(&mut rules, (0.0, 120.0), |at| match at {
        ..100.0 => vec![track(1, "vehicle", 0.1)],
        ..104.0 => vec![track(1, "vehicle", 0.1 + 0.2 * (at as f32 - 100.0))],
        _ => vec![],
    });
    let closed = records.last().unwrap();
    assert_eq!(closed.state, Closed);
    let waited = closed
        .closed_at_us
        .unwrap()
        .since_us(closed.last_seen_at_us);
    assert!(waited < 4_000_000, "{waited}");
}

#[test]
fn another_object_at_the_same_place_is_another_event() {
    let mut rules = rules();
    let records = watch(&mut rules, (0.0, 30.0), |at| match at {
        ..10.0 => vec![track(1, "vehicle", 0.3)],
        _ => vec![track(1, "vehicle", 0.3), track(2, "person", 0.3)],
    });
    assert_eq!(rules.opened_total(), 2);
    let opened: Vec<_> = records.iter().filter(|r| r.state == Opened).collect();
    assert_eq!(opened[1].class, "person");
    // A second car beside the first, while the first is seen.
    watch(&mut rules, (30.0, 31.0), |_| {
        vec![track(1, "vehicle", 0.3), track(3, "vehicle", 0.32)]
    });
    assert_eq!(rules.opened_total(), 3);
}

#[test]
fn a_camera_that_went_dark_ends_its_events() {
    let mut rules = rules();
    watch(&mut rules, (0.0, 2.0), |at| {
        vec![track(1, "person", 0.2 * at as f32)]
    });
    assert!(rules.without_frame(&time(21.0)).events.is_empty());
    let closed = rules.without_frame(&time(22.0)).events;
    assert_eq!(words(&closed), [(1, Closed, 2)]);
}

#[test]
fn stopping_closes_everything() {
    let mut rules = rules();
    watch(&mut rules, (0.0, 2.0), |_| {
        vec![track(1, "person", 0.2), track(2, "vehicle", 0.6)]
    });
    assert_eq!(rules.close_all(&time(2.0)).events.len(), 2);
    assert_eq!(rules.open_count(), 0);
}

/// The clock of an earlier time, and of one by which it was set since.
fn set_clock(time: RecordTime, by_us: i64) -> RecordTime {
    RecordTime {
        captured_at_us: time.captured_at_us.plus_us(by_us),
        ..time
    }
}

#[test]
fn fault_27_an_event_during_which_the_clock_is_set_tells_all_its_times_by_the_new_clock() {
    let mut rules = rules();
    // It is 1970 until four seconds into the event.
    let by_us = -1_700_000_000_000_000;
    let clock = |at: f64| match at {
        ..4.0 => set_clock(time(at), by_us),
        _ => time(at),
    };
    let mut records = Vec::new();
    for look in 0..60 {
        let at = f64::from(look) / 5.0;
        let tracks = match at {
            ..6.0 => vec![track(1, "person", 0.05 * at as f32)],
            _ => vec![],
        };
        records.extend(rules.update(&clock(at), 1.0, &tracks).events);
    }
    assert_eq!(
        words(&records),
        [(1, Opened, 1), (1, Updated, 2), (1, Closed, 3)]
    );
    assert_eq!(records[0].opened_at_us, UtcMicros(0));
    for record in &records[1..] {
        assert_eq!(record.opened_at_us, time(0.0).captured_at_us);
        assert_eq!(record.path[0].at_us, time(0.0).captured_at_us);
    }
    assert_eq!(records[2].last_seen_at_us, time(5.8).captured_at_us);
}

#[test]
fn the_ordinary_steering_of_a_clock_changes_no_times() {
    let mut rules = rules();
    let opened = rules.update(&time(0.0), 1.0, &[track(1, "person", 0.1)]);
    let later = set_clock(time(6.0), 40_000);
    let updated = rules.update(&later, 1.0, &[track(1, "person", 0.3)]);
    let (opened, updated) = (opened.events, updated.events);
    assert_eq!(updated[0].opened_at_us, opened[0].opened_at_us);
}
