//! What is searched and counted is what a look at every event would find, whatever happened to the events before.

use super::*;
use crate::store::{Direction, EventCounts, EventCursor, LabelBook, SplitBy, Tagged, Window};
use std::collections::BTreeMap;

const HOUR_US: i64 = 3_600_000_000;
/// A whole hour, some days before the present of these tests.
const DAY: i64 = 1_699_800_000_000_000 / HOUR_US * HOUR_US;

/// One thing that happens to the store.
#[derive(Clone, Debug)]
struct Step {
    /// 1 or 2; they stand at different sites.
    device: u8,
    event: u128,
    revision: u32,
    camera: u128,
    class: &'static str,
    minute: i64,
    score_percent: u8,
    /// Of its boot: one that is not synchronised is corrected later by hours.
    synced: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![Just("person"), Just("vehicle"), Just("animal")];
    let numbers = (1..3u8, 0..40u128, 1..4u32, 0..3u128, 0..60 * 24i64);
    (numbers, class, 0..101u8, any::<bool>()).prop_map(
        |((device, event, revision, camera, minute), class, score_percent, synced)| Step {
            device,
            // A device owns its events; cameras wander between devices.
            event: event * 2 + u128::from(device),
            revision,
            camera,
            class,
            minute,
            score_percent,
            synced,
        },
    )
}

fn boot_time(at: i64, synced: bool) -> RecordTime {
    RecordTime {
        captured_at_us: UtcMicros(at),
        boot_id: BootId(Uuid::from_u128(if synced { 1 } else { 2 })),
        boottime_ns: u64::try_from(at - DAY + HOUR_US).unwrap() * 1000,
        clock: if synced {
            ClockStamp {
                state: ClockState::Synced,
                offset_us: 0,
                error_us: Some(1),
            }
        } else {
            ClockStamp::UNSYNCED
        },
    }
}

fn told(step: &Step) -> Record {
    let at = DAY + step.minute * 60_000_000;
    let mut record = event(step.event, step.revision, at);
    let Body::Event(body) = &mut record.body else {
        unreachable!("it is an event");
    };
    body.camera = camera(step.camera);
    body.class = step.class.into();
    body.score = f32::from(step.score_percent) / 100.0;
    record.time = boot_time(at, step.synced);
    record
}

/// The clock of the second boot was three hours behind.
fn clock_became_right() -> Record {
    let clock = ClockRecord {
        before: ClockStamp::UNSYNCED,
        after: ClockStamp {
            state: ClockState::Synced,
            offset_us: 3 * HOUR_US + 7_000_000,
            error_us: Some(9),
        },
    };
    Record::new(boot_time(DAY + 30 * HOUR_US, false), Body::Clock(clock))
}

struct Two {
    bench: Bench,
    devices: [DeviceRow; 2],
    heads: [(u64, Sha256); 2],
}

impl Two {
    async fn new() -> Self {
        let bench = bench().await;
        let second = enrolled(&bench.store, bench.contract, 2).await;
        let devices = [bench.device.clone(), second];
        Self {
            bench,
            devices,
            heads: [(1, Sha256::ZERO); 2],
        }
    }

    async fn tell(&mut self, device: u8, record: &Record) {
        let index = usize::from(device - 1);
        let (seq, prev) = self.heads[index];
        let batch = Batch {
            device_id: self.devices[index].device,
            epoch: Epoch(1),
            first_seq: Seq(seq),
            prev,
            records: vec![record.to_json()],
        };
        let signed = batch.sign(&SigningKey::from_seed([device; 32]));
        self.heads[index] = (seq + 1, signed.hash());
        let accepted = judge(&self.devices[index], signed.into_bytes()).unwrap();
        self.bench.store.accept(vec![accepted], NOW).await.unwrap();
    }

    async fn find(
        &self,
        filter: &EventFilter,
        direction: Direction,
        limit: u32,
    ) -> (Vec<EventCursor>, usize) {
        let (mut all, mut from, mut pages) = (Vec::new(), None, 0);
        loop {
            let found = self
                .bench
                .store
                .find(self.bench.scope(), filter, from, direction, limit)
                .await
                .unwrap();
            pages += 1;
            let cursors = found.events.iter().map(|row| EventCursor {
                opened_at_us: row.opened_at_us,
                id: row.id,
            });
            let before = all.len();
            all.extend(cursors);
            from = match (found.searched_to, all.len() > before) {
                (Some(at), _) => Some(at),
                (None, true) => all.last().copied(),
                (None, false) => return (all, pages),
            };
        }
    }
}

/// What a look at every event finds, from old to new.
async fn naive(bench: &Bench, filter: &EventFilter) -> Vec<EventCursor> {
    let (filter, contract) = (filter.clone(), bench.contract);
    bench
        .store
        .read(move |connection| {
            let mut statement = connection.prepare(
                "select e.opened_us, e.id from event e join device d on d.id = e.device
                 where e.contract = ?1 and (?2 is null or d.site = ?2) and (?3 is null or e.camera = ?3)
                   and (?4 is null or e.class = ?4) and (?5 is null or e.opened_us >= ?5)
                   and (?6 is null or e.opened_us < ?6) and (?7 is null or round(e.score * 100) >= ?7)
                   and (?8 is null
                        or exists (select 1 from event_tag t where t.event = e.id and t.tag = ?8)
                        or exists (select 1 from place_tag t where t.place in (e.camera, d.site) and t.tag = ?8))
                 order by e.opened_us, e.id",
            )?;
            let rows = statement.query_map(
                rusqlite::params![
                    id16(contract.0),
                    filter.site.map(|id| id16(id.0)),
                    filter.camera.map(|id| id16(id.0)),
                    filter.class,
                    filter.from_us.map(|at| at.0),
                    filter.to_us.map(|at| at.0),
                    filter.least_score_percent,
                    filter.tag,
                ],
                |row| {
                    Ok(EventCursor {
                        opened_at_us: time_at(row, 0)?,
                        id: EventId(uuid_at(row, 1)?),
                    })
                },
            )?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
        .unwrap()
}

/// The table of hours without its empty rows, and the same made anew from the events.
async fn hours(bench: &Bench) -> (Vec<String>, Vec<String>) {
    bench
        .store
        .read(|connection| {
            let rows = |sql: &str| -> Result<Vec<String>> {
                let mut statement = connection.prepare(sql)?;
                let rows = statement.query_map([], |row| row.get(0))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            };
            let kept = rows(
                "select format('%d %s %s %s %d %d %d %d', hour, hex(camera), hex(device), class, q0, q1, q2, q3)
                 from event_hour where q0 or q1 or q2 or q3 order by 1",
            )?;
            let recounted = rows(
                "select format('%d %s %s %s %d %d %d %d', h, hex(camera), hex(device), class,
                               sum(q = 0), sum(q = 1), sum(q = 2), sum(q = 3))
                 from (select *, opened_us / 3600000000 as h, opened_us % 3600000000 / 900000000 as q from event)
                 group by h, camera, device, class order by 1",
            )?;
            Ok((kept, recounted))
        })
        .await
        .unwrap()
}

fn filters(two: &Two) -> Vec<EventFilter> {
    let all = EventFilter::default;
    let mut filters = vec![
        all(),
        EventFilter {
            site: Some(two.devices[0].site),
            ..all()
        },
        EventFilter {
            camera: Some(camera(1)),
            ..all()
        },
        EventFilter {
            class: Some("animal".into()),
            ..all()
        },
        EventFilter {
            tag: Some("night".into()),
            ..all()
        },
        EventFilter {
            tag: Some("gate".into()),
            ..all()
        },
        EventFilter {
            tag: Some("told to police".into()),
            ..all()
        },
        EventFilter {
            tag: Some("nothing".into()),
            ..all()
        },
        EventFilter {
            least_score_percent: Some(60),
            ..all()
        },
        EventFilter {
            site: Some(two.devices[1].site),
            class: Some("person".into()),
            least_score_percent: Some(30),
            ..all()
        },
        EventFilter {
            tag: Some("night".into()),
            camera: Some(camera(2)),
            class: Some("vehicle".into()),
            ..all()
        },
    ];
    let within: Vec<_> = filters
        .iter()
        .map(|filter| EventFilter {
            from_us: Some(UtcMicros(DAY + 5 * HOUR_US + 123_000_000)),
            to_us: Some(UtcMicros(DAY + 19 * HOUR_US)),
            ..filter.clone()
        })
        .collect();
    filters.extend(within);
    filters
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn searches_and_counts_say_what_every_event_says(
        steps in proptest::collection::vec(step(), 60..120),
        corrected_at in 0..120usize,
        deleted in 0..40u128,
    ) {
        runtime().block_on(async {
            let mut two = Two::new().await;
            for (number, step) in steps.iter().enumerate() {
                two.tell(step.device, &told(step)).await;
                if number == corrected_at {
                    two.tell(1, &clock_became_right()).await;
                }
                if number == 40 {
                    label(&two).await;
                }
            }
            let bench = &two.bench;
            bench.store.write(move |connection| {
                let id = id16(Uuid::from_u128(deleted));
                connection.execute("delete from event_batch where event = (select no from event where id = ?1)", [id])?;
                connection.execute("delete from event where id = ?1", [id])?;
                Ok(())
            }).await.unwrap();
            let (kept, recounted) = hours(bench).await;
            prop_assert_eq!(kept, recounted);
            for filter in filters(&two) {
                let mut expected = naive(bench, &filter).await;
                let (newer, _) = two.find(&filter, Direction::Newer, 7).await;
                prop_assert_eq!(&newer, &expected, "newer: {:?}", filter);
                check_counts(bench, &filter, &expected).await?;
                expected.reverse();
                let (older, _) = two.find(&filter, Direction::Older, 7).await;
                prop_assert_eq!(&older, &expected, "older: {:?}", filter);
            }
            Ok(())
        })?;
    }
}

/// A tag on a site, one on a camera, and one on some events.
async fn label(two: &Two) {
    let (store, contract) = (&two.bench.store, two.bench.contract);
    let site = Tagged::Site(two.devices[1].site);
    assert!(store.add_tag(contract, site, "night", NOW).await.unwrap());
    assert!(!store.add_tag(contract, site, "night", NOW).await.unwrap());
    let all = naive(&two.bench, &EventFilter::default()).await;
    let rows = store.cameras().await.unwrap();
    if let Some(row) = rows.first() {
        let on = Tagged::Camera(row.id);
        assert!(store.add_tag(contract, on, "gate", NOW).await.unwrap());
    }
    for event in all.iter().step_by(3) {
        for tag in ["told to police", "night"] {
            let on = Tagged::Event(event.id);
            assert!(store.add_tag(contract, on, tag, NOW).await.unwrap());
        }
    }
}

async fn check_counts(
    bench: &Bench,
    filter: &EventFilter,
    expected: &[EventCursor],
) -> std::result::Result<(), TestCaseError> {
    let scope = bench.scope();
    if filter.least_score_percent.is_some() {
        return Ok(());
    }
    // By the hour, the quarter and the minute: over the whole of the time and a part of it.
    for (from, hours, minutes) in [(-2, 34, 60), (3, 12, 15), (8, 2, 1)] {
        let window = Window {
            from_us: UtcMicros(DAY + from * HOUR_US),
            to_us: UtcMicros(DAY + (from + hours) * HOUR_US),
        };
        let is_clipped = filter.from_us.is_some();
        let steps = u32::try_from(hours * 60 / minutes).unwrap();
        let density = bench
            .store
            .density(scope, filter, window, steps)
            .await
            .unwrap();
        let mut counted = vec![0; steps as usize];
        for at in expected.iter().map(|event| event.opened_at_us) {
            if at >= window.from_us && at < window.to_us {
                counted[((at.0 - window.from_us.0) / (minutes * 60_000_000)) as usize] += 1;
            }
        }
        prop_assert!(
            is_clipped || density == counted,
            "{:?}: {:?} {:?}",
            filter,
            density,
            counted
        );
    }
    if filter.tag.is_none() && filter.from_us.is_none() {
        let edges: Vec<_> = (-1..3)
            .map(|day| UtcMicros(DAY + day * 24 * HOUR_US))
            .collect();
        let sums = |counts: Vec<EventCounts>| {
            let mut sums = vec![0; 3];
            for one in &counts {
                one.counts
                    .iter()
                    .enumerate()
                    .for_each(|(day, count)| sums[day] += count);
            }
            sums
        };
        let mut by_day = BTreeMap::new();
        for event in expected {
            let day = (event.opened_at_us.0 - DAY).div_euclid(24 * HOUR_US) + 1;
            *by_day.entry(day).or_insert(0u64) += 1;
        }
        let expected: Vec<u64> = (0..3)
            .map(|day| by_day.get(&day).copied().unwrap_or(0))
            .collect();
        for split in [SplitBy::Class, SplitBy::Camera] {
            let found = bench
                .store
                .event_counts(scope, filter, edges.clone(), split)
                .await
                .unwrap();
            prop_assert_eq!(&sums(found), &expected, "{:?}", filter);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_search_that_finds_little_gives_up_and_goes_on() {
    let bench = bench().await;
    let records: Vec<Vec<u8>> = (0..6_000)
        .map(|number| {
            let mut record = event(number + 1, 1, DAY + number as i64 * 1_000_000);
            let Body::Event(body) = &mut record.body else {
                unreachable!("it is an event");
            };
            body.score = if number == 3 { 0.9 } else { 0.2 };
            record.to_json()
        })
        .collect();
    let mut prev = Sha256::ZERO;
    for (index, records) in records.chunks(100).enumerate() {
        let batch = Batch {
            device_id: bench.device.device,
            epoch: Epoch(1),
            first_seq: Seq(index as u64 * 100 + 1),
            prev,
            records: records.to_vec(),
        };
        let signed = batch.sign(&bench.key);
        prev = signed.hash();
        bench.deliver(&signed.into_bytes()).await;
    }
    let filter = EventFilter {
        least_score_percent: Some(50),
        ..EventFilter::default()
    };
    let find = |from| {
        bench
            .store
            .find(bench.scope(), &filter, from, Direction::Older, 10)
    };
    let first = find(None).await.unwrap();
    assert_eq!(first.events, []);
    let gave_up = first.searched_to.expect("it has not read everything");
    let second = find(Some(gave_up)).await.unwrap();
    assert_eq!((second.events.len(), second.searched_to), (1, None));
}
