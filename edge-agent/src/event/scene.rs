//! What the rules of one camera are made of: its zones, lines and masks, ready for use. Pure.

use super::filter::Filter;
use super::line::Line;
use super::schedule::Schedule;
use super::timing::Timing;
use super::zone::Zone;
use crate::config::{CameraConfig, Config, LineConfig, ZoneConfig};
use crate::geometry;
use crate::geometry::polygon::{self, Point};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::record::NormBox;

/// From a configuration that was checked: what it refers to is there.
#[derive(Clone, Debug)]
pub struct CameraRules {
    pub zones: Vec<Zone>,
    pub lines: Vec<Line>,
    pub object_masks: Vec<ObjectMask>,
    /// Every object makes an event, whatever it does.
    pub every_object: bool,
}

/// Where objects are ignored.
#[derive(Clone, Debug)]
pub struct ObjectMask {
    pub points: Vec<Point>,
    /// Empty: all of them.
    pub classes: Vec<String>,
}

impl Default for CameraRules {
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            lines: Vec::new(),
            object_masks: Vec::new(),
            every_object: true,
        }
    }
}

impl CameraRules {
    pub fn new(camera: &CameraConfig, config: &Config) -> Self {
        let schedules: BTreeMap<&str, Arc<Schedule>> = config
            .schedules
            .iter()
            .map(|schedule| (schedule.name.as_str(), Arc::new(Schedule::new(schedule))))
            .collect();
        let timing = |schedule: &Option<String>, cool_down_seconds: u32| Timing {
            schedule: schedule
                .as_deref()
                .and_then(|name| schedules.get(name).cloned()),
            cool_down: seconds(cool_down_seconds),
        };
        let zones: Vec<Zone> = camera
            .zones
            .iter()
            .map(|zone| zone_of(zone, timing(&zone.schedule, zone.cool_down_seconds)))
            .collect();
        let lines: Vec<Line> = camera
            .lines
            .iter()
            .map(|line| line_of(line, timing(&line.schedule, line.cool_down_seconds)))
            .collect();
        let tells_some = zones
            .iter()
            .any(|zone| zone.event || zone.loitering.is_some())
            || lines.iter().any(|line| line.event);
        let object_masks = camera.object_masks.iter().map(|mask| ObjectMask {
            points: mask.points.clone(),
            classes: mask.classes.clone(),
        });
        Self {
            zones,
            lines,
            object_masks: object_masks.collect(),
            every_object: camera.object_events && !tells_some,
        }
    }

    /// Whether an object of this class, found here, is to be taken as not there.
    pub fn ignores(&self, class: &str, rect: &NormBox) -> bool {
        let foot = geometry::standing_point(rect);
        self.object_masks.iter().any(|mask| {
            let concerns = mask.classes.is_empty() || mask.classes.iter().any(|c| c == class);
            concerns && polygon::contains(&mask.points, foot)
        })
    }
}

fn zone_of(config: &ZoneConfig, timing: Timing) -> Zone {
    Zone {
        name: config.name.trim().into(),
        points: config.points.clone(),
        filter: Filter {
            classes: config.classes.clone(),
            min_score: config.min_score.unwrap_or(0.0),
            height: range(config.min_height, config.max_height),
            ratio: range(config.min_ratio, config.max_ratio),
        },
        inertia_looks: config.inertia_looks,
        event: config.event,
        loitering: (config.loitering_seconds > 0).then(|| seconds(config.loitering_seconds)),
        occupancy: (config.occupancy > 0).then_some(config.occupancy),
        timing,
    }
}

fn line_of(config: &LineConfig, timing: Timing) -> Line {
    Line {
        name: config.name.trim().into(),
        from: config.from,
        to: config.to,
        filter: Filter {
            classes: config.classes.clone(),
            min_score: config.min_score.unwrap_or(0.0),
            height: range(config.min_height, config.max_height),
            ratio: range(config.min_ratio, config.max_ratio),
        },
        inertia_looks: config.inertia_looks,
        event: config.event,
        timing,
    }
}

fn range(low: Option<f32>, high: Option<f32>) -> (f32, f32) {
    (low.unwrap_or(0.0), high.unwrap_or(f32::INFINITY))
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CAMERA: &str = "[[camera]]\nid = \"11111111-1111-4111-8111-111111111111\"\nname = \"Gate\"\nurl = \"rtsp://h/\"\n";

    fn rules(lines: &str) -> CameraRules {
        let config = crate::config::parse(&format!("{CAMERA}{lines}"), "x").unwrap();
        CameraRules::new(&config.cameras[0], &config)
    }

    #[test]
    fn which_cameras_tell_of_every_object() {
        let zone = "[[camera.zone]]\nname = \"Yard\"\npoints = [[0, 0], [1, 0], [1, 1]]\n";
        let line = "[[camera.line]]\nname = \"Way\"\nfrom = [0, 0.5]\nto = [1, 0.5]\n";
        for (lines, every_object) in [
            (String::new(), true),
            ("object_events = false".into(), false),
            (zone.into(), false),
            (format!("{zone}event = false"), true),
            (format!("{zone}event = false\noccupancy = 3"), true),
            (format!("{zone}event = false\nloitering_seconds = 3"), false),
            (line.into(), false),
            (format!("{line}event = false"), true),
        ] {
            assert_eq!(rules(&lines).every_object, every_object, "{lines}");
        }
    }

    #[test]
    fn masks_ignore_by_where_an_object_stands() {
        let rules = rules(
            "[[camera.object_mask]]\npoints = [[0, 0.8], [1, 0.8], [1, 1], [0, 1]]\nclasses = [\"vehicle\"]\n",
        );
        let standing_at = |bottom: f32| NormBox {
            x: 0.4,
            y: bottom - 0.4,
            w: 0.2,
            h: 0.4,
        };
        assert!(rules.ignores("vehicle", &standing_at(0.9)));
        assert!(rules.ignores("vehicle", &standing_at(1.0)));
        assert!(!rules.ignores("vehicle", &standing_at(0.7)));
        assert!(!rules.ignores("person", &standing_at(0.9)));
    }
}
