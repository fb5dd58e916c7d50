//! Zones, lines, occupancy and a blind camera, told by what stands in the configuration.

use super::*;
use crate::sight::Blindness;

const LEFT_HALF: &str =
    "[[camera.zone]]\nname = \"Left\"\npoints = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\n";
const MIDDLE: &str = "[[camera.line]]\nname = \"Middle\"\nfrom = [0.5, 1]\nto = [0.5, 0]\n";

pub(super) fn rules_with(lines: &str) -> Rules {
    let camera = "[[camera]]\nid = \"11111111-1111-4111-8111-111111111111\"\nname = \"Gate\"\nurl = \"rtsp://h/\"\n";
    let config = crate::config::parse(&format!("{camera}{lines}"), "x").unwrap();
    rules_of(CameraRules::new(&config.cameras[0], &config))
}

/// Somebody whose box's middle is at `x`.
pub(super) fn at(id: u64, x: f32) -> TrackState {
    track(id, "person", x - 0.1)
}

/// `opened 1 zone Left`: states and reasons in the order in which they are told, without the revisions between.
fn told(records: &[EventRecord]) -> Vec<String> {
    let word = |record: &EventRecord| {
        let state = match record.state {
            Opened => "opened",
            Updated => "updated",
            _ => "closed",
        };
        let reasons: Vec<String> = record
            .reasons
            .iter()
            .map(|reason| {
                let mut words = reason.rule.clone();
                for part in [&reason.name, &reason.direction].into_iter().flatten() {
                    words += &format!(" {part}");
                }
                for number in [reason.count, reason.seconds].into_iter().flatten() {
                    words += &format!(" {number}");
                }
                words
            })
            .collect();
        format!("{state} {}: {}", record.id.0.as_u128(), reasons.join(", "))
    };
    records.iter().map(word).collect()
}

/// What is told while somebody walks from x 0.9 to 0.1 in eight seconds, and is gone then.
fn walk_left(rules: &mut Rules, from: f64) -> Vec<EventRecord> {
    watch(rules, (from, from + 12.0), |now| {
        let x = 0.9 - 0.1 * (now - from) as f32;
        if x < 0.1 { vec![] } else { vec![at(1, x)] }
    })
}

#[test]
fn one_event_tells_all_that_its_object_does() {
    let mut rules = rules_with(
        &(LEFT_HALF.to_string() + "inertia_looks = 5\nloitering_seconds = 2\n" + MIDDLE),
    );
    let records = walk_left(&mut rules, 0.0);
    let words = told(&records);
    assert_eq!(words[0], "opened 1: line Middle out");
    assert_eq!(words[1], "updated 1: line Middle out, zone Left");
    assert!(
        words[2].ends_with("line Middle out, zone Left, loitering Left 2"),
        "{words:?}"
    );
    assert!(words.last().unwrap().starts_with("closed 1"), "{words:?}");
    assert_eq!(records.last().unwrap().zones, ["Left"]);
    // It came from the right: the path begins where it was first seen, the event where it crossed.
    assert!(records[0].path[0].at_us < records[0].opened_at_us);
    assert_eq!(rules.opened_total(), 1);
}

#[test]
fn what_no_rule_asks_for_is_no_event() {
    for (lines, opened) in [
        ("", 1),
        ("object_events = false\n", 0),
        (&(LEFT_HALF.to_string() + "event = false"), 1),
        (&(LEFT_HALF.to_string() + "classes = [\"vehicle\"]"), 0),
        (&(LEFT_HALF.to_string() + "min_height = 0.5"), 0),
        (&(LEFT_HALF.to_string() + "min_score = 0.9"), 0),
        (&(LEFT_HALF.to_string() + "max_ratio = 0.5"), 0),
        (&(LEFT_HALF.to_string() + "inertia_looks = 50"), 0),
        (
            &(LEFT_HALF.to_string() + "event = false\nloitering_seconds = 20"),
            0,
        ),
        (&(MIDDLE.to_string() + "event = false"), 1),
        (&(MIDDLE.to_string() + "classes = [\"vehicle\"]"), 0),
        (MIDDLE, 1),
    ] {
        let mut rules = rules_with(lines);
        walk_left(&mut rules, 0.0);
        assert_eq!(rules.opened_total(), opened, "{lines}");
    }
}

#[test]
fn who_is_there_when_the_schedule_begins_makes_an_event_then() {
    // The tests begin at 22:13:20 UTC.
    let night = "schedule = \"night\"\n[[schedule]]\nname = \"night\"\ntime_zone = \"UTC\"\n[[schedule.span]]\nfrom = \"22:14\"\nto = \"6:00\"\n";
    let mut rules = rules_with(&(LEFT_HALF.to_string() + night));
    let before = watch(&mut rules, (0.0, 39.0), |_| vec![at(1, 0.3)]);
    assert_eq!(told(&before), [""; 0]);
    let after = watch(&mut rules, (39.0, 42.0), |_| vec![at(1, 0.3)]);
    assert_eq!(told(&after), ["opened 1: zone Left"]);
    assert_eq!(after[0].opened_at_us, time(40.0).captured_at_us);
}

#[test]
fn while_a_zone_cools_down_nobody_opens_an_event() {
    let mut rules = rules_with(&(LEFT_HALF.to_string() + "cool_down_seconds = 30\n"));
    let records = watch(&mut rules, (0.0, 40.0), |now| match now {
        ..10.0 => vec![at(1, 0.3)],
        _ => vec![at(2, 0.1)],
    });
    let opened: Vec<_> = records.iter().filter(|r| r.state == Opened).collect();
    assert_eq!(opened.len(), 2);
    let waited_us = opened[1].opened_at_us.since_us(opened[0].opened_at_us);
    assert_eq!(waited_us, 30_000_000);
}

#[test]
fn a_zone_cools_down_whatever_others_open_meanwhile() {
    let left_quarter =
        "[[camera.zone]]\nname = \"Door\"\npoints = [[0, 0], [0.25, 0], [0.25, 1], [0, 1]]\n";
    let zones = format!("object_events = false\n{LEFT_HALF}cool_down_seconds = 30\n{left_quarter}");
    let mut rules = rules_with(&zones);
    let records = watch(&mut rules, (0.0, 45.0), |now| match now {
        ..2.0 => vec![at(1, 0.2)],
        20.0..22.0 => vec![at(2, 0.2)],
        35.0..40.0 => vec![at(3, 0.4)],
        _ => vec![],
    });
    let opened: Vec<_> = records.iter().filter(|r| r.state == Opened).collect();
    assert_eq!(opened.len(), 3, "{:?}", told(&records));
}

#[test]
fn a_zone_that_is_too_full_is_an_event_of_its_own() {
    let zone = format!("object_events = false\n{LEFT_HALF}event = false\noccupancy = 3\n");
    let mut rules = rules_with(&zone);
    let crowd = |count: u64| {
        (0..count)
            .map(|n| at(n + 1, 0.05 + 0.1 * n as f32))
            .collect()
    };
    let records = watch(&mut rules, (0.0, 40.0), |now| match now {
        ..5.0 => crowd(2),
        ..10.0 => crowd(3),
        ..20.0 => crowd(4),
        // For a moment one fewer.
        ..22.0 => crowd(2),
        ..25.0 => crowd(3),
        _ => crowd(1),
    });
    let words: Vec<String> = told(&records)
        .into_iter()
        .filter(|word| word.contains("occupancy"))
        .collect();
    assert_eq!(words[0], "opened 1: occupancy Left 3", "{words:?}");
    assert!(words[1].contains("occupancy Left 4"), "{words:?}");
    assert_eq!(words.last().unwrap(), "closed 1: occupancy Left 4");
    let is_open = |word: &&String| word.starts_with("opened");
    assert_eq!(words.iter().filter(is_open).count(), 1);
    let event = records.iter().find(|record| !record.reasons.is_empty());
    assert_eq!(
        event.map(|e| (e.track, e.class.as_str())),
        Some((0, "person"))
    );
}

#[test]
fn a_parked_car_is_the_same_event_after_an_hour_without_the_camera() {
    let mut rules = rules();
    watch(&mut rules, (0.0, 600.0), |_| vec![track(1, "vehicle", 0.3)]);
    let dark = (600..4200).flat_map(|second| rules.without_frame(&time(second.into())).events);
    assert_eq!(dark.count(), 0);
    watch(&mut rules, (4200.0, 4210.0), |_| {
        vec![track(9, "vehicle", 0.3)]
    });
    assert_eq!((rules.opened_total(), rules.open_count()), (1, 1));
    // Had it left meanwhile, looks would tell, more than one of them.
    let records = watch(&mut rules, (8000.0, 8700.0), |_| vec![]);
    assert_eq!(words(&records).last().unwrap().1, Closed);
}

/// A still camera is looked at every ten seconds: no track of its own is ever confirmed.
#[test]
fn looks_far_apart_keep_one_event_of_what_stands() {
    let mut rules = rules();
    watch(&mut rules, (0.0, 10.0), |_| vec![track(1, "person", 0.3)]);
    let mut records = Vec::new();
    for look in 1..60_u32 {
        let seen = TrackState {
            confirmed: false,
            ..track(u64::from(look) + 1, "person", 0.3)
        };
        // One in ten is missed.
        let tracks = if look % 10 == 0 { vec![] } else { vec![seen] };
        let at = time(10.0 + 10.0 * f64::from(look));
        records.extend(rules.update(&at, 1.0, &tracks).events);
        records.extend(rules.without_frame(&at).events);
    }
    assert!(records.iter().all(|r| r.state == Updated), "{records:?}");
    assert_eq!((rules.opened_total(), rules.open_count()), (1, 1));
    assert_eq!(rules.followed(), Followed::Standing);
}

#[test]
fn two_tracks_of_one_object_in_turn_are_one_event() {
    let mut rules = rules();
    // The tracker takes a second track for the first, and comes back to the first.
    watch(&mut rules, (0.0, 20.0), |now| {
        vec![track(1 + (now as u64 / 2) % 2, "person", 0.3)]
    });
    assert_eq!(rules.opened_total(), 1);
}

#[test]
fn what_is_followed() {
    let mut rules = rules();
    assert_eq!(rules.followed(), Followed::Nothing);
    let newborn = TrackState {
        confirmed: false,
        ..at(1, 0.3)
    };
    rules.update(&time(0.0), 1.0, &[newborn]);
    assert_eq!(rules.followed(), Followed::Moving);
    watch(&mut rules, (0.2, 4.0), |_| vec![at(1, 0.3)]);
    assert_eq!(rules.followed(), Followed::Moving);
    watch(&mut rules, (4.0, 8.0), |_| vec![at(1, 0.3)]);
    assert_eq!(rules.followed(), Followed::Standing);
    watch(&mut rules, (8.0, 40.0), |_| vec![]);
    assert_eq!(rules.followed(), Followed::Nothing);
}

#[test]
fn a_camera_that_sees_nothing_tells_it_and_misses_nobody() {
    let mut rules = rules();
    watch(&mut rules, (0.0, 10.0), |_| vec![at(1, 0.3)]);
    let mut records = Vec::new();
    records.extend(rules.sight(&time(10.0), SightChange::Lost(Blindness::Covered)));
    records.extend(rules.sight(&time(11.0), SightChange::Lost(Blindness::Black)));
    records.extend(watch(&mut rules, (11.0, 100.0), |_| vec![]));
    records.extend(rules.sight(&time(100.0), SightChange::Regained));
    assert_eq!(rules.sight(&time(101.0), SightChange::Regained), None);
    assert_eq!(
        told(&records),
        [
            "opened 2: covered",
            "updated 2: covered, black",
            "closed 2: covered, black"
        ]
    );
    assert!(
        records
            .iter()
            .all(|r| r.class == wire::record::CAMERA_CLASS)
    );
    watch(&mut rules, (100.0, 101.0), |_| vec![at(7, 0.3)]);
    assert_eq!((rules.opened_total(), rules.open_count()), (2, 1));
}

/// It was knocked round, and people pass where it looks now.
#[test]
fn who_passes_before_a_camera_that_was_turned_is_gone_when_he_is_gone() {
    let mut rules = rules_with(&format!("{LEFT_HALF}occupancy = 3\n"));
    watch(&mut rules, (0.0, 10.0), |_| vec![at(1, 0.9)]);
    rules.sight(&time(10.0), SightChange::Lost(Blindness::Turned));
    let records = watch(&mut rules, (10.2, 100.0), |now| match now % 10.0 {
        ..2.0 => vec![at(10 + (now / 10.0) as u64, 0.3)],
        _ => vec![],
    });
    let words = told(&records);
    assert!(
        !words.iter().any(|word| word.contains("occupancy")),
        "{words:?}"
    );
    let closed = records.iter().filter(|r| r.state == Closed).count();
    assert_eq!(closed, 9, "{words:?}");
    // The camera, and who stood there before.
    // Who stood there before, outside of the zone, is still waited for; but not for ever.
    assert_eq!(rules.followed(), Followed::Standing);
    watch(&mut rules, (100.0, 230.0), |_| vec![]);
    assert_eq!(rules.followed(), Followed::Nothing);
    assert_eq!(rules.open_count(), 1, "the camera's own");
}

#[test]
fn an_agent_that_stops_gives_no_all_clear_for_a_blind_camera() {
    let mut rules = rules();
    watch(&mut rules, (0.0, 10.0), |_| vec![at(1, 0.3)]);
    rules.sight(&time(10.0), SightChange::Lost(Blindness::Covered));
    let records = rules.close_all(&time(60.0)).events;
    assert_eq!(told(&records), ["closed 1: ", "updated 2: covered"]);
    let blind = &records[1];
    assert_eq!(
        (blind.last_seen_at_us, blind.closed_at_us),
        (time(60.0).captured_at_us, None)
    );
}

#[test]
fn a_line_is_crossed_by_who_was_believed_only_beyond_it() {
    let mut rules = rules_with(MIDDLE);
    let newborn = |x| TrackState {
        confirmed: false,
        ..at(1, x)
    };
    rules.update(&time(0.0), 1.0, &[newborn(0.4)]);
    rules.update(&time(0.2), 1.0, &[newborn(0.48)]);
    let records = rules.update(&time(0.4), 1.0, &[at(1, 0.56)]).events;
    assert_eq!(told(&records), ["opened 1: line Middle in"]);
}
