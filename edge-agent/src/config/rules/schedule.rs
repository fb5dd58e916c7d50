//! What schedules may be. Pure.

use super::{Found, MAX_NAME_CHARS, Step};
use crate::config::{Config, Holidays, ScheduleConfig, SpanConfig};
use std::collections::BTreeSet;
use std::fmt::Display;

/// Most schedules, and most spans of one.
const MAX_EACH: usize = 32;

pub(super) fn check(config: &Config, found: &mut Vec<Found>) {
    let zones = config.cameras.iter().flat_map(|camera| &camera.zones);
    let lines = config.cameras.iter().flat_map(|camera| &camera.lines);
    let used: BTreeSet<&str> = zones
        .filter_map(|zone| zone.schedule.as_deref())
        .chain(lines.filter_map(|line| line.schedule.as_deref()))
        .collect();
    let mut names = BTreeSet::new();
    for (index, schedule) in config.schedules.iter().enumerate() {
        let name = schedule.name.trim();
        let mut at = AtSchedule {
            index,
            thing: match name {
                "" => format!("schedule {}", index + 1),
                name => format!("schedule \"{name}\""),
            },
            found,
        };
        let chars = name.chars().count();
        if index >= MAX_EACH {
            at.wrong(&[], "is one too many", "32 schedules are the most");
        } else if chars == 0 || chars > MAX_NAME_CHARS {
            at.wrong(
                &["name".into()],
                format!("has a name of {chars} characters"),
                "add name = \"...\" of 1 to 64 characters, and use it in zones and lines",
            );
        } else if !names.insert(name) {
            at.wrong(
                &["name".into()],
                "has the name of another schedule",
                "give it a name of its own: zones and lines refer to it by name",
            );
        } else if !used.contains(schedule.name.as_str()) {
            at.wrong(
                &["name".into()],
                "is used by no zone and no line",
                "write schedule = \"...\" with its name in a zone or line, or remove it",
            );
        }
        check_schedule(schedule, &mut at);
    }
}

fn check_schedule(schedule: &ScheduleConfig, at: &mut AtSchedule<'_>) {
    if schedule.spans.is_empty() || schedule.spans.len() > MAX_EACH {
        at.wrong(
            &["span".into()],
            format!("has {} spans", schedule.spans.len()),
            "add 1 to 32 [[schedule.span]] below it, with from = \"18:00\" and to = \"8:30\"",
        );
    }
    let has_holidays = schedule.japanese_holidays || !schedule.extra_holidays.is_empty();
    for (index, span) in schedule.spans.iter().enumerate() {
        check_span(index, span, has_holidays, at);
    }
}

fn check_span(index: usize, span: &SpanConfig, has_holidays: bool, at: &mut AtSchedule<'_>) {
    let path = |key: &str| [Step::from("span"), index.into(), key.into()];
    let number = index + 1;
    if span.from == span.to {
        at.wrong(
            &path("to"),
            format!("has a span {number} that ends when it begins"),
            "leave both out for the whole day, or write the time at which it ends",
        );
    }
    if span.holidays != Holidays::Ignore && !has_holidays {
        at.wrong(
            &path("holidays"),
            format!("has a span {number} that asks for holidays, and knows none"),
            "write japanese_holidays = true, or name them in extra_holidays",
        );
    }
}

struct AtSchedule<'a> {
    index: usize,
    thing: String,
    found: &'a mut Vec<Found>,
}

impl AtSchedule<'_> {
    fn wrong(&mut self, path: &[Step], what: impl Display, remedy: &str) {
        let schedule = ["schedule".into(), self.index.into()];
        self.found.push(Found {
            path: schedule.into_iter().chain(path.iter().cloned()).collect(),
            what: format!("{} {what}", self.thing),
            remedy: remedy.into(),
        });
    }
}
