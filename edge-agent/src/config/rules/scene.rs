//! What zones, lines and masks of a camera may be. Pure.
//!
//! What has no effect is a mistake too: whoever wrote it believes that it does something.

use super::polygon::{ZONE_REMEDY, is_in_picture, wrong_with_zone};
use super::{AtCamera, MAX_NAME_CHARS, Step};
use crate::config::{CameraConfig, Config, LineConfig, ObjectMaskConfig, Point, ZoneConfig};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// Most zones, lines or masks of one camera: each costs a little at every look and a record a minute.
const MAX_EACH: usize = 32;
/// Shortest line that can be crossed, in fractions of the picture.
const MIN_LINE_LENGTH: f32 = 0.01;

/// What zones and lines may refer to.
pub(super) struct Known<'a> {
    classes: &'a [String],
    schedules: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        Self {
            classes: &config.analysis.classes,
            schedules: config.schedules.iter().map(|s| s.name.as_str()).collect(),
        }
    }
}

pub(super) fn check(camera: &CameraConfig, known: &Known<'_>, at: &mut AtCamera<'_>) {
    for (key, count) in [
        ("zone", camera.zones.len()),
        ("line", camera.lines.len()),
        ("object_mask", camera.object_masks.len()),
    ] {
        if count > MAX_EACH {
            let what = format!("has {count} [[camera.{key}]]");
            at.wrong(
                key,
                what,
                "32 are the most; watch the rest with another camera",
            );
        }
    }
    let mut names = BTreeSet::new();
    for (index, zone) in camera.zones.iter().enumerate() {
        let mut at = AtThing::new(at, "zone", index, &zone.name);
        at.check_name(&zone.name, &mut names);
        check_zone(zone, known, &mut at);
    }
    for (index, line) in camera.lines.iter().enumerate() {
        let mut at = AtThing::new(at, "line", index, &line.name);
        at.check_name(&line.name, &mut names);
        check_line(line, known, &mut at);
    }
    for (index, mask) in camera.object_masks.iter().enumerate() {
        let mut at = AtThing::new(at, "object_mask", index, "");
        check_object_mask(mask, known, &mut at);
    }
}

fn check_zone(zone: &ZoneConfig, known: &Known<'_>, at: &mut AtThing<'_, '_>) {
    if let Some(what) = wrong_with_zone(&zone.points) {
        at.wrong("points", what, ZONE_REMEDY);
    }
    Filters {
        classes: &zone.classes,
        min_score: zone.min_score,
        height: (zone.min_height, zone.max_height),
        ratio: (zone.min_ratio, zone.max_ratio),
        inertia_looks: zone.inertia_looks,
    }
    .check(known, at);
    at.check_number("loitering_seconds", zone.loitering_seconds, 0..=86_400);
    at.check_number("occupancy", zone.occupancy, 0..=1_000);
    let makes_events = zone.event || zone.loitering_seconds > 0 || zone.occupancy > 0;
    Timing {
        schedule: zone.schedule.as_deref(),
        cool_down_seconds: zone.cool_down_seconds,
        makes_events,
    }
    .check(known, at);
}

fn check_line(line: &LineConfig, known: &Known<'_>, at: &mut AtThing<'_, '_>) {
    let mut is_placed = true;
    for (key, point) in [("from", line.from), ("to", line.to)] {
        let what = if point.iter().all(|value| value.is_nan()) {
            format!("has no `{key}`")
        } else if is_in_picture(&point) {
            continue;
        } else {
            format!(
                "has `{key}` [{}, {}] outside the picture",
                point[0], point[1]
            )
        };
        is_placed = false;
        let remedy = format!("write {key} = [x, y], each from 0 (left, top) to 1");
        at.wrong(key, what, &remedy);
    }
    let length = |a: Point, b: Point| (a[0] - b[0]).hypot(a[1] - b[1]);
    if is_placed && length(line.from, line.to) < MIN_LINE_LENGTH {
        at.wrong(
            "to",
            "is too short for anybody to cross",
            "draw it across the whole way, from one side to the other",
        );
    }
    Filters {
        classes: &line.classes,
        min_score: line.min_score,
        height: (line.min_height, line.max_height),
        ratio: (line.min_ratio, line.max_ratio),
        inertia_looks: line.inertia_looks,
    }
    .check(known, at);
    Timing {
        schedule: line.schedule.as_deref(),
        cool_down_seconds: line.cool_down_seconds,
        makes_events: line.event,
    }
    .check(known, at);
}

fn check_object_mask(mask: &ObjectMaskConfig, known: &Known<'_>, at: &mut AtThing<'_, '_>) {
    if let Some(what) = wrong_with_zone(&mask.points) {
        at.wrong("points", what, ZONE_REMEDY);
    }
    at.check_classes(&mask.classes, known);
}

/// What an object must be to count at a zone or line.
struct Filters<'a> {
    classes: &'a [String],
    min_score: Option<f32>,
    height: (Option<f32>, Option<f32>),
    ratio: (Option<f32>, Option<f32>),
    inertia_looks: u32,
}

impl Filters<'_> {
    fn check(&self, known: &Known<'_>, at: &mut AtThing<'_, '_>) {
        at.check_classes(self.classes, known);
        at.check_share("min_score", self.min_score, 0.0..=1.0);
        at.check_share("min_height", self.height.0, 0.0..=1.0);
        at.check_share("max_height", self.height.1, 0.0..=1.0);
        at.check_share("min_ratio", self.ratio.0, 0.05..=20.0);
        at.check_share("max_ratio", self.ratio.1, 0.05..=20.0);
        for (low, high, (least, most)) in [
            ("min_height", "max_height", self.height),
            ("min_ratio", "max_ratio", self.ratio),
        ] {
            if let Some((least, most)) = least.zip(most)
                && least >= most
            {
                at.wrong(
                    high,
                    format!("has {low} {least} and {high} {most}: nothing is both"),
                    &format!("write a {high} above {low}, or leave one of them out"),
                );
            }
        }
        at.check_number("inertia_looks", self.inertia_looks, 1..=50);
    }
}

/// When a zone or line makes events.
struct Timing<'a> {
    schedule: Option<&'a str>,
    cool_down_seconds: u32,
    makes_events: bool,
}

impl Timing<'_> {
    fn check(&self, known: &Known<'_>, at: &mut AtThing<'_, '_>) {
        at.check_number("cool_down_seconds", self.cool_down_seconds, 0..=86_400);
        if let Some(schedule) = self.schedule
            && !known.schedules.contains(schedule)
        {
            at.wrong(
                "schedule",
                format!("names the schedule \"{schedule}\", which there is not"),
                &one_of(schedule, known.schedules.iter().copied()).unwrap_or_else(|| {
                    "add a [[schedule]] of this name, or remove the line".into()
                }),
            );
        }
        let useless = [
            ("schedule", self.schedule.is_some()),
            ("cool_down_seconds", self.cool_down_seconds > 0),
        ];
        for (key, is_set) in useless {
            if is_set && !self.makes_events {
                at.wrong(
                    key,
                    format!("has `{key}` but makes no events"),
                    "remove the line (counts are made always), or write event = true",
                );
            }
        }
    }
}

/// Says what is wrong with one zone, line or mask.
struct AtThing<'a, 'f> {
    camera: &'a mut AtCamera<'f>,
    kind: &'static str,
    index: usize,
    /// `zone "door" of camera "Gate"`.
    thing: String,
}

impl<'a, 'f> AtThing<'a, 'f> {
    fn new(camera: &'a mut AtCamera<'f>, kind: &'static str, index: usize, name: &str) -> Self {
        let of = format!("of camera \"{}\"", camera.name);
        let words = kind.replace('_', " ");
        let thing = match name.trim() {
            "" => format!("{words} {} {of}", index + 1),
            name => format!("{words} \"{name}\" {of}"),
        };
        Self {
            camera,
            kind,
            index,
            thing,
        }
    }

    fn wrong(&mut self, key: &str, what: impl Display, remedy: &str) {
        let path: [Step; 3] = [self.kind.into(), self.index.into(), key.into()];
        let what = format!("{} {what}", self.thing);
        self.camera.wrong_at(&path, what, remedy);
    }

    /// Names are shared by zones and lines: people say "at the gate", not "at the line gate".
    fn check_name<'n>(&mut self, name: &'n str, names: &mut BTreeSet<&'n str>) {
        let chars = name.trim().chars().count();
        if chars == 0 || chars > MAX_NAME_CHARS {
            self.wrong(
                "name",
                format!("has a name of {chars} characters"),
                "add name = \"...\" of 1 to 64 characters, as people on site call it",
            );
        } else if !names.insert(name.trim()) {
            self.wrong(
                "name",
                "has the name of another zone or line of this camera",
                "give it a name of its own: counts and events are told by name",
            );
        }
    }

    fn check_classes(&mut self, classes: &[String], known: &Known<'_>) {
        for class in classes {
            if !known.classes.contains(class) {
                let known_ones = known.classes.iter().map(String::as_str);
                let remedy = one_of(class, known_ones).unwrap_or_else(|| {
                    format!(
                        "add it to classes in [analysis], or write one of: {}",
                        known.classes.join(", ")
                    )
                });
                let what = format!("names the class \"{class}\", which is not analysed");
                self.wrong("classes", what, &remedy);
            }
        }
    }

    fn check_share(&mut self, key: &str, value: Option<f32>, allowed: RangeInclusive<f32>) {
        if let Some(value) = value
            && !allowed.contains(&value)
        {
            let (low, high) = allowed.into_inner();
            let remedy = format!("write a number from {low} to {high}");
            self.wrong(key, format!("has `{key}` {value}"), &remedy);
        }
    }

    fn check_number(&mut self, key: &str, value: u32, allowed: RangeInclusive<u32>) {
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            let remedy = format!("write a number from {low} to {high}");
            self.wrong(key, format!("has `{key}` {value}"), &remedy);
        }
    }
}

/// The nearest of the known words, if one is near.
fn one_of<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let nearest = known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.map(|(_, nearest)| format!("did you mean \"{nearest}\"?"))
}

#[cfg(test)]
mod tests;
