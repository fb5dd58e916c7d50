//! A gap as the list shows it: what kind, where, from when to when, and in one or two sentences what it means.

use crate::portal::gaps::{Gap, Look, What};
use crate::portal::layout;
use crate::portal::visit::Visit;
use crate::portal::when::When;
use maud::{Markup, html};

pub(super) fn card(visit: &Visit, gap: &Gap) -> Markup {
    let (class, icon) = match gap.look() {
        Look::Lost => ("gap lost", layout::icon_bad()),
        Look::Stopped => ("gap stopped", layout::icon_stopped()),
        Look::Awaited => ("gap awaited", layout::icon_pending()),
    };
    html! {
        li class=(class) id=(gap.anchor()) data-gap data-opened=(gap.at()) {
            p.gap-head {
                b.gap-label { (icon) (visit.lang.gap_label(&gap.what)) }
                span.gap-time.tabular { (range(visit, gap)) }
                span.gap-place { (place(visit, gap)) }
            }
            p { (sentence(visit, gap)) }
            @if !gap.when_known { p.hint { (visit.words().gap_when_unknown) } }
        }
    }
}

pub(super) fn sentence(visit: &Visit, gap: &Gap) -> String {
    let reason = match &gap.what {
        What::CameraStopped { reason, .. } => reason.as_deref(),
        _ => None,
    };
    let reason = reason.map(|reason| visit.words().camera_reason(reason));
    visit.lang.gap_sentence(&gap.what, gap.goes_on, reason)
}

/// 「正門 · 横浜倉庫」, or the whole device.
pub(super) fn place(visit: &Visit, gap: &Gap) -> String {
    let camera = gap.spot.camera.as_ref().map(|(_, name)| name.as_str());
    let camera = camera.filter(|name| !name.is_empty());
    let name = match (camera, &gap.spot.camera) {
        (Some(name), _) => name,
        (None, Some(_)) => visit.words().camera,
        (None, None) => visit.words().whole_device,
    };
    format!("{name} · {}", gap.spot.site_name)
}

/// 10:42〜11:05, with the dates where they are not both of the day under which it is listed.
pub(super) fn range(when: &When, gap: &Gap) -> String {
    let (from, to) = (gap.from_us, gap.to_us);
    let same_day = when.date_of(from) == when.date_of(to);
    let text = |at| {
        let minute = when.minute(at);
        if same_day {
            minute
        } else {
            format!("{} {minute}", when.short_date(when.date_of(at)))
        }
    };
    if gap.goes_on {
        when.lang.from_then_on(&text(from))
    } else if text(from) == text(to) {
        text(from)
    } else {
        when.lang.from_to(&text(from), &text(to))
    }
}
