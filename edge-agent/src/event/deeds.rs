//! What an object did by one look: came into a zone, crossed a line, stayed for long. Pure.
//!
//! All of it is counted; what the configuration wants to hear of is a deed. A deed that may not be told yet, because its
//! schedule is off or its zone cools down, is asked for again at the next look, as long as the object stays. A crossing
//! is over when it happened.

use super::clock::monotonic;
use super::counts::Counts;
use super::line::{Direction, Line};
use super::object::Object;
use super::scene::CameraRules;
use super::story::reason;
use super::zone::{Stay, Zone};
use crate::geometry;
use wire::RecordTime;
use wire::record::Reason;

#[derive(Debug)]
pub(super) struct Deed {
    pub(super) reason: Reason,
    pub(super) rule: Rule,
}

/// Which zone or line of the camera, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Entry(usize),
    Loitering(usize),
    Crossing(usize),
}

/// Takes an object as it was just seen. `aspect` is the picture's width by its height.
pub(super) fn deeds(
    object: &mut Object,
    scene: &CameraRules,
    counts: &mut Counts,
    time: &RecordTime,
    aspect: f32,
) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let foot = geometry::standing_point(&object.rect);
    counts.saw(&object.class, object.number);
    for (index, line) in scene.lines.iter().enumerate() {
        // A look at which it is not what the line counts is none.
        if !line
            .filter
            .admits(&object.class, object.best_score, &object.rect, aspect)
        {
            continue;
        }
        let crossed = object.ways[index].look(line, foot, object.rect.h, aspect);
        if let Some(direction) = crossed {
            counts.crossed(index, direction, &object.class);
            deeds.extend(crossing(index, line, direction, time));
        }
    }
    for (index, zone) in scene.zones.iter().enumerate() {
        let is_in = zone.holds(foot)
            && zone
                .filter
                .admits(&object.class, object.best_score, &object.rect, aspect);
        let stay = &mut object.stays[index];
        if stay.look(monotonic(time), is_in, zone.inertia_looks) && !object.zones.contains(&index) {
            object.zones.push(index);
        }
        if stay.is_inside() {
            counts.was_in(index, &object.class, object.number);
            if zone.timing.is_on(time.captured_at_us) {
                deeds.extend(entry(index, zone, stay, time));
                deeds.extend(loitering(index, zone, stay, time));
            }
        }
    }
    deeds
}

fn crossing(index: usize, line: &Line, direction: Direction, time: &RecordTime) -> Option<Deed> {
    let tells = line.event && line.timing.is_on(time.captured_at_us);
    tells.then(|| Deed {
        reason: Reason {
            name: Some(line.name.clone()),
            direction: Some(direction.as_str().into()),
            ..reason("line", time)
        },
        rule: Rule::Crossing(index),
    })
}

fn entry(index: usize, zone: &Zone, stay: &Stay, time: &RecordTime) -> Option<Deed> {
    let tells = zone.event && !stay.told_entry;
    tells.then(|| Deed {
        reason: Reason {
            name: Some(zone.name.clone()),
            ..reason("zone", time)
        },
        rule: Rule::Entry(index),
    })
}

fn loitering(index: usize, zone: &Zone, stay: &Stay, time: &RecordTime) -> Option<Deed> {
    let limit = zone.loitering?;
    let tells = !stay.told_loitering && stay.lasted() >= Some(limit);
    tells.then(|| Deed {
        reason: Reason {
            name: Some(zone.name.clone()),
            seconds: u32::try_from(limit.as_secs()).ok(),
            ..reason("loitering", time)
        },
        rule: Rule::Loitering(index),
    })
}

impl Object {
    /// This was told, and is not to be told again while it lasts.
    pub(super) fn told(&mut self, rule: Rule) {
        match rule {
            Rule::Entry(zone) => self.stays[zone].told_entry = true,
            Rule::Loitering(zone) => self.stays[zone].told_loitering = true,
            Rule::Crossing(_) => {}
        }
    }
}
