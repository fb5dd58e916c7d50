//! Records that the sink has no room for wait here, so that whoever decides never waits for a disk.
//!
//! Bounded: while a disk refuses every write for hours, first the revisions go that a later one of the same event
//! supersedes, which loses nothing; gap records are added up; then counts go, for an event is worth more than the number of
//! a minute; and then the oldest facts, which like counts are counted and named in a gap record as soon as the sink takes
//! records again. The clock's corrections, which the receiver needs to read the others right, go last. A process that ends meanwhile takes what waits here with it: none of it was accepted.

use super::{Losses, Refusal, Sink};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wire::{Body, Record, RecordTime};

/// Most records that wait: 4 MiB at most, as long as the longest paths allow.
const MOST_WAITING: usize = 1024;

/// A bounded queue before a sink, in order. Shared by reference.
pub struct WaitingRoom {
    sink: Arc<dyn Sink>,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Record>,
    losses: Losses,
    /// Of the newest record that came in.
    newest: Option<RecordTime>,
    complained: bool,
}

impl WaitingRoom {
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self {
            sink,
            most: MOST_WAITING,
            state: Mutex::default(),
        }
    }

    /// Takes a record, and never waits for the sink.
    pub fn put(&self, record: Record) {
        let mut state = self.lock();
        state.newest = Some(record.time);
        state.waiting.push_back(record);
        self.pass_on(&mut state);
        while state.waiting.len() > self.most {
            state.make_room();
        }
    }

    /// Passes on what the sink has room for. To be called now and then.
    pub fn flush(&self) {
        self.pass_on(&mut self.lock());
    }

    /// The same, waiting for room up to `patience`; returns how many records are left behind.
    pub fn drain(&self, patience: Duration) -> usize {
        let deadline = Instant::now() + patience;
        loop {
            self.flush();
            let waiting = self.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if waiting == 0 || left.is_zero() {
                return waiting;
            }
            // Without the lock, so that others may still come in.
            self.sink.wait_for_room(left);
        }
    }

    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pass_on(&self, state: &mut State) {
        while let Some(record) = state.waiting.pop_front() {
            match self.sink.try_put(record) {
                Ok(()) => {}
                Err(Refusal::NoRoom(record)) => {
                    state.waiting.push_front(*record);
                    if !state.complained {
                        state.complained = true;
                        tracing::error!("the spool takes no records now: they wait in memory");
                    }
                    return;
                }
                // The sink has counted it, or nothing is kept any more at all.
                Err(Refusal::Lost(error)) => tracing::error!("a record was not kept: {error}"),
            }
        }
        if state.complained && state.losses.is_empty() {
            state.complained = false;
            tracing::info!("the spool takes records again");
        }
        if let Some(time) = state.newest
            && !state.losses.is_empty()
        {
            state.waiting.extend(state.losses.drain(&time));
            self.pass_on(state);
        }
    }

    // What it guards is whole at every moment, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets go what says nothing new if there is such a thing, else the oldest record that can be spared.
    fn make_room(&mut self) {
        if let Some(index) = self.superseded() {
            self.waiting.remove(index);
            return;
        }
        let first = |spared: fn(&Body) -> bool| {
            let mut bodies = self.waiting.iter().map(|record| &record.body);
            bodies.position(spared)
        };
        let index = first(|body| matches!(body, Body::Gap(_)))
            .or_else(|| first(|body| matches!(body, Body::Count(_))))
            .or_else(|| first(|body| !matches!(body, Body::Clock(_))))
            .unwrap_or(0);
        let Some(record) = self.waiting.remove(index) else {
            return;
        };
        let now = Duration::from_nanos(record.time.boottime_ns);
        let (camera, kind) = (record.body.camera(), record.body.kind());
        match record.body {
            Body::Gap(gap) => self.losses.merge(gap, now),
            _ => {
                let at_us = record.time.captured_at_us;
                self.losses.add(camera, kind, "outage", at_us, now);
            }
        }
    }

    /// The oldest revision of an event of which a later one waits too.
    fn superseded(&self) -> Option<usize> {
        let mut later = std::collections::BTreeSet::new();
        let mut found = None;
        for (index, record) in self.waiting.iter().enumerate().rev() {
            if let Body::Event(event) = &record.body
                && !later.insert(event.id.0)
            {
                found = Some(index);
            }
        }
        found
    }
}

impl std::fmt::Debug for WaitingRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WaitingRoom({} records)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SimClocks, TimeSource};
    use crate::sink::SinkError;
    use std::sync::atomic::{AtomicBool, Ordering};
    use wire::record::{
        ClockRecord, CountRecord, DeviceStateRecord, EventRecord, EventState, MediaRecord, NormBox,
    };
    use wire::{CameraId, ClockStamp, EventId, UtcMicros};

    /// A disk that takes nothing until it is told to.
    #[derive(Default)]
    struct Disk {
        takes: AtomicBool,
        kept: Mutex<Vec<Record>>,
    }

    impl Sink for Disk {
        fn put(&self, _: Record) -> Result<(), SinkError> {
            unreachable!("nobody waits here")
        }

        fn try_put(&self, record: Record) -> Result<(), Refusal> {
            if !self.takes.load(Ordering::Relaxed) {
                return Err(Refusal::NoRoom(Box::new(record)));
            }
            self.kept
                .lock()
                .expect("no panic while pushing")
                .push(record);
            Ok(())
        }

        fn put_media(&self, _: RecordTime, _: MediaRecord, _: Vec<u8>) -> Result<(), SinkError> {
            unreachable!("no pictures here")
        }
    }

    struct Rig {
        disk: Arc<Disk>,
        room: WaitingRoom,
        clocks: Arc<SimClocks>,
        time: TimeSource,
    }

    impl Rig {
        fn new(most: usize) -> Self {
            let disk = Arc::new(Disk::default());
            let clocks = Arc::new(SimClocks::new(UtcMicros(1_000_000)));
            let room = WaitingRoom {
                most,
                ..WaitingRoom::new(disk.clone())
            };
            let time = TimeSource::new(clocks.clone());
            Self {
                disk,
                room,
                clocks,
                time,
            }
        }

        fn put(&self, body: Body) {
            self.clocks.advance(Duration::from_secs(1));
            self.room.put(Record::new(self.time.now(), body));
        }

        fn heal(&self) -> Vec<Record> {
            self.disk.takes.store(true, Ordering::Relaxed);
            self.room.flush();
            assert!(self.room.is_empty());
            self.disk
                .kept
                .lock()
                .expect("no panic while pushing")
                .clone()
        }
    }

    fn event(id: u128, revision: u32) -> Body {
        let side = NormBox {
            x: 0.0,
            y: 0.0,
            w: 1.0,
            h: 1.0,
        };
        Body::Event(EventRecord {
            id: EventId(uuid::Uuid::from_u128(id)),
            revision,
            state: EventState::Updated,
            camera: CameraId(uuid::Uuid::from_u128(7)),
            class: "person".into(),
            score: 0.5,
            opened_at_us: UtcMicros(1),
            last_seen_at_us: UtcMicros(1),
            closed_at_us: None,
            track: 1,
            rect: side,
            path: Vec::new(),
            zones: Vec::new(),
            reasons: Vec::new(),
            media: Vec::new(),
        })
    }

    fn correction() -> Body {
        Body::Clock(ClockRecord {
            before: ClockStamp::UNSYNCED,
            after: ClockStamp::UNSYNCED,
        })
    }

    fn count(of: u32) -> Body {
        Body::Count(CountRecord {
            camera: CameraId(uuid::Uuid::from_u128(7)),
            minute_us: UtcMicros(0),
            class: "person".into(),
            zone: None,
            line: None,
            direction: None,
            count: of,
            peak: None,
        })
    }

    fn revisions(records: &[Record]) -> Vec<(u128, u32)> {
        let revisions = records.iter().filter_map(|record| match &record.body {
            Body::Event(event) => Some((event.id.0.as_u128(), event.revision)),
            _ => None,
        });
        revisions.collect()
    }

    #[test]
    fn what_waits_goes_on_in_order() {
        let rig = Rig::new(10);
        (1..=3).for_each(|id| rig.put(event(id, 1)));
        assert_eq!(rig.room.drain(Duration::ZERO), 3);
        assert_eq!(revisions(&rig.heal()), [(1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn superseded_revisions_go_first_and_are_no_loss() {
        let rig = Rig::new(3);
        for revision in 1..=50 {
            rig.put(event(1, revision));
            rig.put(event(2, revision));
        }
        let kept = rig.heal();
        assert_eq!(revisions(&kept), [(2, 49), (1, 50), (2, 50)]);
        assert_eq!(kept.len(), 3, "no gap: {kept:?}");
    }

    #[test]
    fn an_event_is_worth_more_than_any_count() {
        let rig = Rig::new(5);
        rig.put(correction());
        for number in 1..=4 {
            rig.put(event(number, 1));
            (1..=10).for_each(|of| rig.put(count(of)));
        }
        let kept = rig.heal();
        assert_eq!(revisions(&kept), [(1, 1), (2, 1), (3, 1), (4, 1)]);
        assert!(matches!(kept[0].body, Body::Clock(_)), "{kept:?}");
        let gaps: Vec<(&str, u64)> = kept
            .iter()
            .filter_map(|record| match &record.body {
                Body::Gap(gap) => Some((gap.class.as_str(), gap.count)),
                _ => None,
            })
            .collect();
        assert_eq!(gaps, [("count", 40)]);
        assert_eq!(kept.len(), 6);
    }

    #[test]
    fn of_counts_the_oldest_go() {
        let rig = Rig::new(3);
        rig.put(event(1, 1));
        (1..=5).for_each(|of| rig.put(count(of)));
        let counts: Vec<u32> = rig
            .heal()
            .iter()
            .filter_map(|record| match &record.body {
                Body::Count(count) => Some(count.count),
                _ => None,
            })
            .collect();
        assert_eq!(counts, [4, 5]);
    }

    #[test]
    fn beyond_that_the_oldest_go_and_are_named_but_never_the_clock_s_correction() {
        let rig = Rig::new(3);
        rig.put(correction());
        (1..=10).for_each(|id| rig.put(event(id, 1)));
        let started = DeviceStateRecord {
            state: "started".into(),
            agent_version: "1".into(),
            model: None,
        };
        rig.put(Body::DeviceState(started));
        let kept = rig.heal();
        assert!(matches!(kept[0].body, Body::Clock(_)), "{kept:?}");
        assert_eq!(revisions(&kept), [(10, 1)]);
        let Body::Gap(gap) = &kept[3].body else {
            panic!("a gap at the end: {kept:?}");
        };
        assert_eq!((gap.class.as_str(), gap.count), ("event", 9));
        assert_eq!(gap.reason, "outage");
        assert_eq!(gap.from_us, kept[0].time.captured_at_us.plus_us(1_000_000));
        assert_eq!(gap.to_us.since_us(gap.from_us), 8_000_000);
        assert_eq!(kept.len(), 4);
    }
}
