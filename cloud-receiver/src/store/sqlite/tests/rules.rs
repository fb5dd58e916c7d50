//! What rules on a device say: why an event is told, which camera cannot see, how many there were.

use super::*;
use crate::store::{CountSeries, Counted, Snapshot, TimeKnown, Window};
use wire::record::{CAMERA_CLASS, CountRecord, DeviceStateRecord, Reason};

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
/// Long enough before the present of these tests for a whole day.
const DAY: UtcMicros = UtcMicros(1_699_800_000_000_000);

fn count_at(hour: i64, minute: i64, count: u32) -> CountRecord {
    CountRecord {
        camera: camera(1),
        minute_us: DAY.plus_us(hour * HOUR_US + minute * MINUTE_US),
        class: "person".into(),
        zone: None,
        line: None,
        direction: None,
        count,
        peak: None,
    }
}

fn told(count: CountRecord, offset_us: i64) -> Record {
    let mut time = time(count.minute_us.0 + MINUTE_US);
    time.clock.offset_us = offset_us;
    Record::new(time, Body::Count(count))
}

impl Bench {
    /// By the hour, of a day.
    async fn counts(&self, filter: &EventFilter) -> Vec<CountSeries> {
        let window = Window {
            from_us: DAY,
            to_us: DAY.plus_us(24 * HOUR_US),
        };
        self.store
            .counts(self.scope(), filter, window, 24)
            .await
            .unwrap()
    }
}

fn whole_picture() -> Counted {
    Counted {
        class: "person".into(),
        zone: None,
        line: None,
        direction: None,
    }
}

#[tokio::test]
async fn counts_of_a_minute_add_up_and_none_is_counted_twice() {
    let bench = bench().await;
    let zone = |minute, count, peak| CountRecord {
        zone: Some("very-private-zone".into()),
        peak,
        ..count_at(9, minute, count)
    };
    let line = |direction: &str, count| CountRecord {
        line: Some("gate".into()),
        direction: Some(direction.into()),
        ..count_at(9, 59, count)
    };
    let records = [
        // A clock that is off by a little moves no minute into the hour before.
        told(count_at(10, 0, 4), -3_000),
        told(count_at(9, 59, 2), 0),
        told(count_at(9, 59, 5), 0),
        told(count_at(23, 59, 1), 3_000),
        told(count_at(24, 0, 70), 0),
        told(count_at(-1, 59, 70), 3_000),
        told(zone(3, 1, Some(2)), 0),
        told(zone(3, 1, Some(5)), 0),
        told(zone(4, 2, Some(3)), 0),
        told(zone(5, 0, None), 0),
        told(line("in", 3), 0),
        told(line("out", 1), 0),
    ];
    let batches = chain(&bench, 1, Sha256::ZERO, &records);
    for batch in batches.iter().chain(batches.iter().rev()) {
        bench.deliver(batch).await;
    }
    let found = bench.counts(&EventFilter::default()).await;
    let of = |what: &Counted| found.iter().find(|series| series.what == *what).unwrap();
    let all = of(&whole_picture());
    let counted: Vec<_> = all
        .counts
        .iter()
        .enumerate()
        .filter(|(_, n)| **n > 0)
        .collect();
    assert_eq!(counted, [(9, &7), (10, &4), (23, &1)]);
    assert!(all.peaks.iter().all(Option::is_none));
    let zone = of(&Counted {
        zone: Some("very-private-zone".into()),
        ..whole_picture()
    });
    assert_eq!((zone.counts[9], zone.peaks[9]), (4, Some(5)));
    for (direction, count) in [("in", 3), ("out", 1)] {
        let line = of(&Counted {
            line: Some("gate".into()),
            direction: Some(direction.into()),
            ..whole_picture()
        });
        assert_eq!(line.counts[9], count, "{direction}");
    }
    assert_eq!(found.len(), 4);
}

#[tokio::test]
async fn counts_are_of_what_was_asked_for_and_of_ones_own_contract() {
    let bench = bench().await;
    let other_camera = CountRecord {
        camera: camera(2),
        ..count_at(9, 0, 10)
    };
    let vehicles = CountRecord {
        class: "vehicle".into(),
        ..count_at(9, 0, 100)
    };
    let records = [
        told(count_at(9, 0, 1), 0),
        told(other_camera, 0),
        told(vehicles, 0),
    ];
    for batch in chain(&bench, 1, Sha256::ZERO, &records) {
        bench.deliver(&batch).await;
    }
    let sum = |series: &[CountSeries]| series.iter().flat_map(|one| &one.counts).sum::<u64>();
    let check = async |filter: EventFilter, expected: u64| {
        assert_eq!(sum(&bench.counts(&filter).await), expected, "{filter:?}");
    };
    let site = bench.device.site;
    let all = EventFilter::default;
    check(all(), 111).await;
    check(
        EventFilter {
            camera: Some(camera(1)),
            ..all()
        },
        101,
    )
    .await;
    check(
        EventFilter {
            camera: Some(camera(9)),
            ..all()
        },
        0,
    )
    .await;
    check(
        EventFilter {
            class: Some("vehicle".into()),
            ..all()
        },
        100,
    )
    .await;
    check(
        EventFilter {
            site: Some(site),
            ..all()
        },
        111,
    )
    .await;
    let elsewhere = bench.store.add_contract("Other", NOW).await.unwrap();
    let theirs = enrolled(&bench.store, elsewhere, 2).await;
    check(
        EventFilter {
            site: Some(theirs.site),
            ..all()
        },
        0,
    )
    .await;
    let foreign = Bench {
        contract: elsewhere,
        ..bench
    };
    for filter in [
        all(),
        EventFilter {
            camera: Some(camera(1)),
            ..all()
        },
    ] {
        assert_eq!(foreign.counts(&filter).await, [], "{filter:?}");
    }
}

/// An event of a camera itself.
fn camera_event(id: u128, revision: u32, rule: &str, opened: i64, closed: Option<i64>) -> Record {
    let mut record = event(id, revision, opened);
    let Body::Event(event) = &mut record.body else {
        unreachable!("it is an event");
    };
    event.class = CAMERA_CLASS.into();
    event.closed_at_us = closed.map(UtcMicros);
    event.reasons = vec![reason(rule, opened)];
    record
}

fn reason(rule: &str, at_us: i64) -> Reason {
    Reason {
        rule: rule.into(),
        name: None,
        direction: None,
        count: None,
        seconds: None,
        at_us: UtcMicros(at_us),
    }
}

#[tokio::test]
async fn a_camera_is_blind_until_its_event_closes_or_its_agent_starts_anew() {
    let bench = bench().await;
    let started = Record::new(
        time(5_000),
        Body::DeviceState(DeviceStateRecord {
            state: "started".into(),
            agent_version: "0.1.0".into(),
            model: None,
        }),
    );
    let steps = [
        (camera_state(900, "running"), None),
        (event(9, 1, 950), None),
        (
            camera_event(10, 1, "covered", 1_000, None),
            Some(("covered", 1_005)),
        ),
        (
            camera_event(10, 2, "black", 1_000, None),
            Some(("black", 1_005)),
        ),
        (camera_event(10, 3, "black", 1_000, Some(2_000)), None),
        (
            camera_event(11, 1, "turned", 4_000, None),
            Some(("turned", 4_005)),
        ),
        (started, None),
        (
            camera_event(12, 1, "dark", 6_000, None),
            Some(("dark", 6_005)),
        ),
    ];
    let records: Vec<Record> = steps.iter().map(|(record, _)| record.clone()).collect();
    let batches = chain(&bench, 1, Sha256::ZERO, &records);
    for (batch, (record, expected)) in batches.iter().zip(&steps) {
        bench.deliver(batch).await;
        let sites = bench
            .store
            .overview(bench.scope(), UtcMicros(0))
            .await
            .unwrap();
        let blind = sites[0].cameras[0].blind.clone();
        let found = blind
            .as_ref()
            .map(|blind| (blind.rule.as_deref().unwrap(), blind.since_us.0));
        assert_eq!(found, *expected, "{record:?}");
    }
}

#[tokio::test]
async fn an_event_says_why_in_corrected_times_wherever_it_is_read() {
    let bench = bench().await;
    let mut early = event(50, 1, 2_000);
    early.time.clock = ClockStamp::UNSYNCED;
    let Body::Event(body) = &mut early.body else {
        unreachable!("it is an event");
    };
    body.reasons = vec![reason("zone", 2_100), reason("loitering", 2_900)];
    let clock = ClockRecord {
        before: ClockStamp::UNSYNCED,
        after: ClockStamp {
            state: ClockState::Synced,
            offset_us: 1_000_000,
            error_us: Some(9),
        },
    };
    let records = [
        early,
        Record::new(time(3_000), Body::Clock(clock)),
        event(51, 1, 9_000),
    ];
    for batch in chain(&bench, 1, Sha256::ZERO, &records) {
        bench.deliver(&batch).await;
    }
    let rows = bench
        .store
        .events(bench.scope(), &EventFilter::default(), None, 9)
        .await
        .unwrap();
    let id = EventId(Uuid::from_u128(50));
    let listed = rows.iter().find(|row| row.id == id).unwrap();
    let detail = bench.store.event(bench.scope(), id).await.unwrap().unwrap();
    assert_eq!(detail.row, *listed);
    assert_eq!(listed.time_known, TimeKnown::Corrected);
    let after: Vec<i64> = listed
        .reasons
        .iter()
        .map(|reason| reason.at_us.since_us(listed.opened_at_us))
        .collect();
    assert_eq!(after, [100, 900]);
    assert_eq!(listed.zones, ["very-private-zone"]);
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn the_moments_of_a_blind_camera_are_told_apart_and_only_of_it() {
    let bench = bench().await;
    let moment = |moment: &str, jpeg: &[u8], at: i64, quality| {
        let mut record = snapshot(10, jpeg, quality);
        record.time = time(at);
        if let Body::Media(media) = &mut record.body {
            media.moment = Some(moment.into());
        }
        record
    };
    let (before, after) = (b"before it".as_slice(), b"after it".as_slice());
    let records = [
        camera_state(900, "running"),
        camera_event(10, 1, "covered", 1_000, None),
        moment("before", before, 990, 0.9),
        moment("after", after, 1_000, 0.1),
        event(11, 1, 2_000),
    ];
    for batch in chain(&bench, 1, Sha256::ZERO, &records) {
        bench.deliver(&batch).await;
    }
    let id = EventId(Uuid::from_u128(10));
    let read = || async { bench.store.event(bench.scope(), id).await.unwrap().unwrap() };
    let sha256 = |snapshot: &Snapshot| snapshot.picture().map(|picture| picture.sha256);
    let moments = read().await.moments.unwrap();
    assert_eq!(
        (sha256(&moments.before), sha256(&moments.after)),
        (None, None)
    );
    for (jpeg, shown) in [(before, before), (after, after)] {
        let blob = BlobRow {
            contract: bench.contract,
            sha256: Sha256::of(jpeg),
            device: bench.device.device,
            bytes: jpeg.len() as u64,
            content_type: "image/jpeg".into(),
        };
        bench.store.blob_arrived(blob, NOW).await.unwrap();
        // What it shows now stands for it, however little can be seen.
        assert_eq!(sha256(&read().await.row.snapshot), Some(Sha256::of(shown)));
    }
    let detail = read().await;
    let moments = detail.moments.unwrap();
    assert_eq!(sha256(&moments.before), Some(Sha256::of(before)));
    assert_eq!(sha256(&moments.after), Some(Sha256::of(after)));
    assert_eq!(detail.proof.picture_ok, Some(true));
    let other = EventId(Uuid::from_u128(11));
    let other = bench
        .store
        .event(bench.scope(), other)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(other.moments, None);
}

#[tokio::test]
async fn what_pages_ask_of_counts_and_blind_cameras_is_found_without_a_search() {
    let bench = bench().await;
    let plan = |sql: String, values: usize| {
        bench.store.read(move |connection| {
            let mut statement = connection.prepare(&format!("explain query plan {sql}"))?;
            let values = vec![rusqlite::types::Null; values];
            let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3))?;
            Ok(rows.collect::<rusqlite::Result<Vec<String>>>()?.join("\n"))
        })
    };
    let blind = plan(customer::BLIND_NOW.into(), 2).await.unwrap();
    assert!(
        blind.contains("SEARCH o USING INDEX event_blind (contract=? AND camera=?)"),
        "{blind}"
    );
    let counts = plan(customer::COUNTS_OF_WINDOW.into(), 6).await.unwrap();
    assert!(
        counts.contains(
            "SEARCH c USING PRIMARY KEY (contract=? AND camera=? AND minute_us>? AND minute_us<?)"
        ),
        "{counts}"
    );
}
