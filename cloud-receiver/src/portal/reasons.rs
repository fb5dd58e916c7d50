//! Why an event is told: what it is called, and its reasons with their times.

use super::visit::Visit;
use super::words::Blindness;
use crate::store::EventRow;
use maud::{Markup, html};
use wire::record::{CAMERA_CLASS, Reason, UNWATCHED};

/// Reasons on a card: the newest. The page has all.
const ON_A_CARD: usize = 3;

pub(super) fn is_of_camera(row: &EventRow) -> bool {
    row.class == CAMERA_CLASS
}

/// How the event of a camera ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clear {
    /// The camera sees again.
    Given,
    /// Its agent was stopped or cut off while it did not see: nobody knows.
    Unknown,
}

/// Of a camera whose event is over: when it ended, or was last known to last, and how.
pub(super) fn clear(row: &EventRow) -> Option<(wire::UtcMicros, Clear)> {
    let at = row.closed_at_us.filter(|_| is_of_camera(row))?;
    let is_unwatched = row.reasons.last().is_some_and(is_unwatched);
    Some((
        at,
        if is_unwatched {
            Clear::Unknown
        } else {
            Clear::Given
        },
    ))
}

/// The all-clear, or that there was none.
pub(super) fn clear_mark(visit: &Visit, clear: Clear) -> Markup {
    let words = visit.words();
    html! {
        @match clear {
            Clear::Given => span.mark-good { (super::layout::icon_good()) (words.sees_again) },
            Clear::Unknown => span.mark-wait { (super::layout::icon_pending()) (words.sees_unknown) },
        }
    }
}

/// It says how an event ended, and not what was wrong.
fn is_unwatched(reason: &Reason) -> bool {
    reason.rule == UNWATCHED
}

/// 人物; of a camera what is, or was, wrong with it, as its newest reason says.
pub(super) fn subject<'a>(visit: &Visit, row: &'a EventRow) -> &'a str {
    let words = visit.words();
    if !is_of_camera(row) {
        return words.class_name(&row.class);
    }
    let newest = row.reasons.iter().rfind(|reason| !is_unwatched(reason));
    let what = Blindness::of_rule(newest.map(|reason| reason.rule.as_str()));
    match row.closed_at_us {
        None => words.blind_now(what),
        Some(_) => words.blind_then(what),
    }
}

pub(super) fn title(visit: &Visit, row: &EventRow) -> String {
    let subject = subject(visit, row);
    if is_of_camera(row) {
        visit.lang.camera_event_title(&row.camera_name, subject)
    } else {
        visit.lang.event_title(subject, &row.camera_name)
    }
}

/// The newest few, in order of time. That of a camera is its title.
pub(super) fn on_card(visit: &Visit, row: &EventRow) -> Markup {
    let earlier = row.reasons.len().saturating_sub(ON_A_CARD);
    html! {
        @if !is_of_camera(row) && !row.reasons.is_empty() {
            span.card-reasons {
                @if earlier > 0 { span.reason.hint { (visit.lang.earlier_reasons(earlier)) } }
                @for reason in &row.reasons[earlier..] { span.reason { (told(visit, row, reason)) } }
            }
        }
    }
}

/// All of them; of a camera also that it sees again, or that nobody knows.
pub(super) fn section(visit: &Visit, row: &EventRow) -> Markup {
    let words = visit.words();
    let clear = clear(row);
    let told_of = |reason: &&Reason| !is_unwatched(reason);
    html! {
        @if !row.reasons.is_empty() || clear.is_some() {
            section.sheet {
                h2 { (words.reasons) }
                ol.reasons {
                    @for reason in row.reasons.iter().filter(told_of) { li { (told(visit, row, reason)) } }
                    @if let Some((at, clear)) = clear { li { (at_time(visit, at)) " " (clear_mark(visit, clear)) } }
                }
            }
        }
    }
}

fn told(visit: &Visit, row: &EventRow, reason: &Reason) -> Markup {
    html! { (at_time(visit, reason.at_us)) " " span { (visit.lang.reason(&row.class, reason)) } }
}

fn at_time(visit: &Visit, at: wire::UtcMicros) -> Markup {
    html! {
        time.tabular datetime=(visit.machine(at)) title=(visit.full(at)) { (visit.time(at)) }
    }
}
