//! How many came by: per minute, class, zone and line, what charts are drawn from. Pure.
//!
//! A count is told when its minute is over: by the next frame, or by time passing without one. Minutes begin with those
//! of UTC. **Records of the same minute and the same thing add up**: an agent that stops tells the begun minute, and
//! after the restart counts on from zero; the larger `peak` holds. An object counts once in a minute wherever it is,
//! also when its track changed, because objects are counted and not tracks. What was not seen is not told.
//!
//! At most one record a minute for each class with each zone and each direction of each line.

use super::clock::ToldIn;
use super::line::Direction;
use super::scene::CameraRules;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use wire::record::CountRecord;
use wire::{CameraId, RecordTime, UtcMicros};

const MINUTE_US: i64 = 60_000_000;
/// A camera that catches up shows what happened up to this long ago: so long an old minute stays open.
const CATCH_UP: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Counts {
    minute: Option<Minute>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Picture,
    Zone(usize),
    Line(usize, Direction),
}

#[derive(Debug)]
struct Minute {
    /// Of its first frame.
    begun_at_us: UtcMicros,
    told_in: ToldIn,
    tallies: BTreeMap<(Cell, Arc<str>), Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    objects: BTreeSet<u64>,
    crossings: u32,
    peak: u32,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self { minute: None }
    }

    /// Before the objects of a frame are counted: tells the minute before it, if it is in another.
    pub(super) fn frame(
        &mut self,
        time: &RecordTime,
        camera: CameraId,
        scene: &CameraRules,
    ) -> Vec<CountRecord> {
        let begun = self.minute.as_mut().map(|minute| minute.start(time));
        let told = if begun == Some(start_of_minute(time.captured_at_us)) {
            Vec::new()
        } else {
            self.tell(time, camera, scene)
        };
        self.minute.get_or_insert_with(|| Minute {
            begun_at_us: time.captured_at_us,
            told_in: ToldIn::new(time),
            tallies: BTreeMap::new(),
        });
        told
    }

    /// Time passes without a frame.
    pub(super) fn without_frame(
        &mut self,
        time: &RecordTime,
        camera: CameraId,
        scene: &CameraRules,
    ) -> Vec<CountRecord> {
        let Some(minute) = &mut self.minute else {
            return Vec::new();
        };
        let end = minute.start(time).plus_us(MINUTE_US);
        let late_us = time.captured_at_us.since_us(end);
        if u128::try_from(late_us).is_ok_and(|late_us| late_us >= CATCH_UP.as_micros()) {
            self.tell(time, camera, scene)
        } else {
            Vec::new()
        }
    }

    /// Tells what was counted in the begun minute, and begins anew.
    pub(super) fn tell(
        &mut self,
        time: &RecordTime,
        camera: CameraId,
        scene: &CameraRules,
    ) -> Vec<CountRecord> {
        let Some(mut minute) = self.minute.take() else {
            return Vec::new();
        };
        let minute_us = minute.start(time);
        let record = |((cell, class), tally): ((Cell, Arc<str>), Tally)| {
            let (zone, line, direction) = match cell {
                Cell::Picture => (None, None, None),
                Cell::Zone(zone) => (Some(scene.zones[zone].name.clone()), None, None),
                Cell::Line(line, direction) => (
                    None,
                    Some(scene.lines[line].name.clone()),
                    Some(direction.as_str().into()),
                ),
            };
            CountRecord {
                camera,
                minute_us,
                class: class.to_string(),
                peak: zone.is_some().then_some(tally.peak),
                zone,
                line,
                direction,
                count: tally.crossings + u32::try_from(tally.objects.len()).unwrap_or(u32::MAX),
            }
        };
        let told = minute.tallies.into_iter().map(record);
        told.filter(|record| record.count > 0).collect()
    }

    pub(super) fn saw(&mut self, class: &Arc<str>, object: u64) {
        if let Some(tally) = self.tally(Cell::Picture, class) {
            tally.objects.insert(object);
        }
    }

    pub(super) fn was_in(&mut self, zone: usize, class: &Arc<str>, object: u64) {
        if let Some(tally) = self.tally(Cell::Zone(zone), class) {
            tally.objects.insert(object);
        }
    }

    /// So many of a class are in a zone at this moment.
    pub(super) fn are_in(&mut self, zone: usize, class: &Arc<str>, count: u32) {
        if let Some(tally) = self.tally(Cell::Zone(zone), class) {
            tally.peak = tally.peak.max(count);
        }
    }

    pub(super) fn crossed(&mut self, line: usize, direction: Direction, class: &Arc<str>) {
        if let Some(tally) = self.tally(Cell::Line(line, direction), class) {
            tally.crossings += 1;
        }
    }

    fn tally(&mut self, cell: Cell, class: &Arc<str>) -> Option<&mut Tally> {
        let minute = self.minute.as_mut()?;
        Some(minute.tallies.entry((cell, Arc::clone(class))).or_default())
    }
}

impl Minute {
    /// Its beginning, by the clock of `time`.
    fn start(&mut self, time: &RecordTime) -> UtcMicros {
        let set_by_us = self.told_in.set_by_us(time);
        self.begun_at_us = self.begun_at_us.plus_us(set_by_us);
        start_of_minute(self.begun_at_us)
    }
}

fn start_of_minute(at: UtcMicros) -> UtcMicros {
    UtcMicros(at.0.div_euclid(MINUTE_US) * MINUTE_US)
}
