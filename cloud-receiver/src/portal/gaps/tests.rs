//! The telling of gaps, case by case.

use super::*;
use crate::portal::when::DEFAULT_ZONE;
use crate::portal::words::Lang;
use crate::store::Hole;
use jiff::tz::TimeZone;
use uuid::Uuid;
use wire::heartbeat::{Heartbeat, SpoolReport};
use wire::{CameraId, ClockStamp, DeviceId, Epoch, SiteId};

/// 2026-11-22 15:00 in Japan.
const NOW: i64 = 1_795_327_200;

fn at(seconds_ago: i64) -> UtcMicros {
    UtcMicros((NOW - seconds_ago) * SECOND_US)
}

fn when() -> When {
    When {
        lang: Lang::Ja,
        zone: TimeZone::get(DEFAULT_ZONE).expect("bundled"),
        now: at(0),
    }
}

fn spot(camera: Option<u128>) -> Spot {
    Spot {
        site: SiteId(Uuid::from_u128(1)),
        site_name: "倉庫".into(),
        device: DeviceId(Uuid::from_u128(2)),
        camera: camera.map(|id| (CameraId(Uuid::from_u128(id)), format!("カメラ{id}"))),
    }
}

fn loss(camera: Option<u128>, class: &str, reason: &str, from: i64, to: i64, count: u64) -> Loss {
    Loss {
        spot: spot(camera),
        class: class.into(),
        reason: reason.into(),
        count,
        from_us: at(from),
        to_us: at(to),
        when_known: true,
    }
}

fn stop(camera: Option<u128>, from: i64, to: Option<i64>) -> Stop {
    Stop {
        spot: spot(camera),
        reason: camera.map(|_| "connect".into()),
        from_us: at(from),
        to_us: to.map(at),
    }
}

fn awaited(heard: i64, pending: u64, oldest: Option<i64>, holes: Vec<Hole>) -> Awaited {
    Awaited {
        spot: spot(None),
        heard_us: at(heard),
        heartbeat: Some(Heartbeat {
            sent_at_us: at(heard),
            epoch: Epoch(1),
            agent_version: String::new(),
            uptime_seconds: 1,
            clock: ClockStamp {
                state: ClockState::Synced,
                offset_us: 0,
                error_us: None,
            },
            clock_checked_seconds_ago: None,
            spool: SpoolReport {
                pending_records: pending,
                pending_blobs: 0,
                bytes: 0,
                parked_records: 0,
                oldest_pending_us: oldest.map(at),
            },
            carriage: "mqtt".into(),
            cameras: vec![],
        }),
        holes,
    }
}

fn tell_of(missing: Missing) -> Vec<Gap> {
    tell(&missing, &when())
}

#[test]
fn losses_of_one_camera_and_reason_are_one_gap() {
    let gaps = tell_of(Missing {
        losses: vec![
            loss(Some(1), "periodic", "quota", 10_000, 7_300, 45),
            loss(Some(1), "snapshot", "quota", 9_000, 8_000, 3),
            loss(Some(1), "periodic", "quota", 7_200, 5_000, 36),
            loss(Some(1), "periodic", "media_busy", 7_000, 6_900, 1),
            loss(Some(2), "periodic", "quota", 7_200, 5_000, 36),
            loss(Some(1), "periodic", "quota", 600, 600, 1),
        ],
        ..Missing::default()
    });
    let told: Vec<_> = gaps
        .iter()
        .map(|gap| match &gap.what {
            What::Lost { kinds, .. } => (gap.from_us, gap.to_us, kinds.clone()),
            _ => panic!("{gap:?}"),
        })
        .collect();
    use Kind::{EventPictures, RegularPictures};
    assert_eq!(told[0], (at(600), at(600), vec![(RegularPictures, 1)]));
    assert!(told.contains(&(
        at(10_000),
        at(5_000),
        vec![(EventPictures, 3), (RegularPictures, 81)]
    )));
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_day_tells_its_own() {
    // Midnight in Japan was 15 hours ago.
    let midnight = 15 * 3600;
    let gaps = tell_of(Missing {
        losses: vec![
            loss(
                Some(1),
                "periodic",
                "quota",
                midnight + 600,
                midnight + 5,
                10,
            ),
            loss(
                Some(1),
                "periodic",
                "quota",
                midnight - 5,
                midnight - 600,
                10,
            ),
        ],
        ..Missing::default()
    });
    assert_eq!(gaps.len(), 2, "{gaps:?}");
}

#[test]
fn events_are_called_complete_only_where_none_was_lost() {
    let complete = |other: Loss| {
        let losses = vec![loss(Some(1), "snapshot", "quota", 900, 800, 3), other];
        let gaps = tell_of(Missing {
            losses,
            ..Missing::default()
        });
        let of_pictures = gaps.iter().find_map(|gap| match &gap.what {
            What::Lost {
                reason,
                events_complete,
                ..
            } if reason == "quota" => Some(*events_complete),
            _ => None,
        });
        of_pictures.expect("a gap")
    };
    assert!(complete(loss(Some(1), "count", "disk_full", 900, 800, 1)));
    assert!(complete(loss(Some(2), "event", "disk_full", 900, 800, 1)));
    assert!(complete(loss(Some(1), "event", "disk_full", 700, 600, 1)));
    assert!(!complete(loss(Some(1), "event", "disk_full", 850, 850, 1)));
    assert!(!complete(loss(None, "records", "quarantine", 9_000, 10, 0)));
}

#[test]
fn a_camera_that_blinks_is_no_news_and_one_that_flaps_is_one_gap() {
    let blink = vec![stop(Some(1), 900, Some(895))];
    assert_eq!(
        tell_of(Missing {
            stops: blink,
            ..Missing::default()
        }),
        []
    );
    let flaps = (0..5)
        .map(|n| stop(Some(1), 900 - n * 20, Some(890 - n * 20)))
        .chain([stop(Some(1), 300, None)])
        .collect();
    let gaps = tell_of(Missing {
        stops: flaps,
        ..Missing::default()
    });
    let what: Vec<_> = gaps
        .iter()
        .map(|gap| (gap.goes_on, gap.to_us, gap.what.clone()))
        .collect();
    let stopped = |times, seconds| What::CameraStopped {
        reason: Some("connect".into()),
        times,
        seconds,
    };
    assert_eq!(
        what,
        [
            (true, at(0), stopped(1, 300)),
            (false, at(810), stopped(5, 50))
        ]
    );
}

#[test]
fn what_is_not_here_yet_is_not_called_lost() {
    let told = |awaited| {
        let gaps = tell_of(Missing {
            awaited: vec![awaited],
            ..Missing::default()
        });
        gaps.into_iter()
            .map(|gap| (gap.from_us, gap.goes_on, gap.what))
            .collect::<Vec<_>>()
    };
    let hole = Hole {
        records: 7,
        from_us: at(5_000),
        to_us: at(4_000),
    };
    let on_its_way = |records| What::OnItsWay {
        records,
        pictures: 0,
    };
    assert_eq!(told(awaited(10, 3, Some(20), vec![])), []);
    assert_eq!(
        told(awaited(10, 900, Some(6_000), vec![hole])),
        [(at(6_000), true, on_its_way(900))],
        "the backlog tells the hole too"
    );
    assert_eq!(
        told(awaited(400, 900, Some(6_000), vec![])),
        [
            (at(400), true, What::Silent),
            (at(6_000), false, on_its_way(900))
        ]
    );
    assert_eq!(
        told(awaited(400, 0, None, vec![hole])),
        [
            (at(400), true, What::Silent),
            (at(5_000), false, on_its_way(7))
        ],
        "nobody can ask it"
    );
    assert_eq!(
        told(awaited(10, 0, None, vec![hole])),
        [(at(5_000), false, What::Unexplained { records: 7 })]
    );
}

#[test]
fn a_backlog_is_dated_by_a_clock_that_is_right() {
    let mut of_1970 = awaited(10, 900, None, vec![]);
    let said = of_1970.heartbeat.as_mut().expect("one");
    said.clock = ClockStamp::UNSYNCED;
    said.sent_at_us = UtcMicros(700 * SECOND_US);
    said.spool.oldest_pending_us = Some(UtcMicros(100 * SECOND_US));
    let since = |awaited: &Awaited| {
        let missing = Missing {
            awaited: vec![awaited.clone()],
            ..Missing::default()
        };
        let gap = tell_of(missing).remove(0);
        (gap.from_us, gap.when_known)
    };
    assert_eq!(since(&of_1970), (at(610), true));
    // Synchronised since: the old number of a clock that is gone says nothing.
    let said = of_1970.heartbeat.as_mut().expect("one");
    said.clock.state = ClockState::Synced;
    said.sent_at_us = at(10);
    assert_eq!(since(&of_1970), (at(10), false));
}
