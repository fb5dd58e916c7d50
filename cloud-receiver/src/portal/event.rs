//! One event: the picture first, then when, where, what, and how far it can be trusted.

mod address;
mod moments;

use super::export;
use super::guard::form_query;
use super::layout::{self, Tab};
use super::picture::Absence;
use super::problem::Problem;
use super::reasons::{self, Clear};
use super::timeline::Asked;
use super::views;
use super::visit::Visit;
use super::words::{Words, thousands};
use super::{PortalState, timeline};
use crate::auth::session::Session;
use crate::store::{Direction, EventCursor, EventDetail, LinkState, PictureRef, Proof, TimeKnown};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use maud::{Markup, html};
use wire::record::{ObjectBox, PathPoint};
use wire::{ClockState, EventId, Sha256};

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Markup, Problem> {
    let id: EventId = id.parse().map_err(|_| Problem::NotFound)?;
    let detail = state.store.event(session.scope, id).await?;
    let Some(mut detail) = detail else {
        let before = state.store.records_before(session.scope).await?;
        return Err(before.map_or(Problem::NotFound, |_| Problem::NotFoundAnyMore));
    };
    if asked.is_narrowed() {
        let at = EventCursor {
            opened_at_us: detail.row.opened_at_us,
            id,
        };
        let filter = asked.filter(&visit);
        let next = async |direction| {
            let found = state
                .store
                .find(session.scope, &filter, Some(at), direction, 1)
                .await?;
            Ok::<_, Problem>(found.events.first().map(|row| row.id))
        };
        detail.older = next(Direction::Older).await?;
        detail.newer = next(Direction::Newer).await?;
    }
    views::note(&state, &session, "event.view", &id.to_string()).await?;
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let address = format!("https://{}/events/{id}", host.unwrap_or_default());
    Ok(page(&visit, &asked, &detail, &address))
}

pub(super) fn page(visit: &Visit, asked: &Asked, event: &EventDetail, address: &str) -> Markup {
    let words = visit.words();
    let row = &event.row;
    let title = reasons::title(visit, row);
    let body = html! {
        article.event data-event-page=(row.id) data-revision=(row.revision) {
            header.event-head {
                h1 { (title) }
                p.event-when {
                    time.tabular datetime=(visit.machine(row.opened_at_us)) { (visit.full(row.opened_at_us)) }
                    " " span.age { "(" (layout::age(visit, row.opened_at_us)) ")" }
                    @if let TimeKnown::AsSaid | TimeKnown::ByArrival = row.time_known {
                        " " span.mark-wait { (layout::icon_pending()) (words.time_uncertain) }
                    }
                }
            }
            div.event-body {
                div.event-picture {
                    @match (&event.moments, row.snapshot.picture()) {
                        (Some(moments), _) => (moments::draw(visit, row, moments)),
                        (None, Some(picture)) => (evidence(visit, event, picture)),
                        (None, None) => div.no-evidence { p { (Absence::of(row, visit.now).sentence(visit.lang)) } },
                    }
                    (neighbours(words, asked, event))
                }
                div.event-facts {
                    (reasons::section(visit, row))
                    (verdict(visit, &event.proof, row.snapshot.picture()))
                    (facts(visit, event))
                    (export::offer(visit, &format!("/events/{}/export", row.id), words.export_event))
                    (address::for_paper(address))
                }
            }
        }
    };
    layout::page(visit, Tab::Events, &title, &body)
}

/// The whole picture, never cropped, with what was found drawn over it. The switches are plain checkboxes that
/// the style sheet listens to, so they work without a script.
fn evidence(visit: &Visit, event: &EventDetail, picture: &PictureRef) -> Markup {
    let words = visit.words();
    let row = &event.row;
    let class = words.class_name(&row.class);
    let boxes = picture
        .boxes
        .iter()
        .map(|object| label(words, object))
        .collect::<Vec<_>>()
        .join("、");
    html! {
        figure.evidence {
            div.layers {
                img src={ "/media/" (picture.sha256) } width=(picture.width) height=(picture.height)
                    alt=(visit.lang.event_picture(class, &row.camera_name, &boxes)) fetchpriority="high";
                svg.boxes viewBox={ "0 0 " (picture.width) " " (picture.height) } aria-hidden="true" {
                    @for (object, own) in own_last(&picture.boxes, row.id) {
                        (drawn_box(words, picture, object, own))
                    }
                }
                @if event.path.len() > 1 {
                    svg.path viewBox={ "0 0 " (picture.width) " " (picture.height) } aria-hidden="true" {
                        (drawn_path(picture, &event.path))
                    }
                }
            }
            figcaption {
                label.switch { input type="checkbox" name="boxes" checked; span { (words.show_boxes) } }
                @if event.path.len() > 1 {
                    label.switch { input type="checkbox" name="path"; span { (words.show_path) } }
                }
                button.print type="button" hidden { (words.print) }
            }
        }
    }
}

/// The event's object is drawn over the others, so that its label can always be read.
fn own_last(boxes: &[ObjectBox], event: EventId) -> Vec<(&ObjectBox, bool)> {
    let mut marked: Vec<_> = boxes
        .iter()
        .map(|object| (object, object.event == Some(event)))
        .collect();
    marked.sort_by_key(|(_, own)| *own);
    marked
}

fn label(words: &Words, object: &ObjectBox) -> String {
    format!(
        "{} {}",
        words.class_name(&object.class),
        percent(object.score)
    )
}

fn percent(score: f32) -> String {
    format!("{:.0}%", f64::from(score.clamp(0.0, 1.0)) * 100.0)
}

/// A rectangle with its label above it, or inside it at the top of the picture. `own` is the event's object.
fn drawn_box(words: &Words, picture: &PictureRef, object: &ObjectBox, own: bool) -> Markup {
    let (width, height) = (picture.width as f32, picture.height as f32);
    let rect = &object.rect;
    let (x, y) = (rect.x * width, rect.y * height);
    let (w, h) = ((rect.w * width).max(1.0), (rect.h * height).max(1.0));
    // So that it can be read on a phone, where the picture is as wide as the hand.
    let size = width.max(height) / if own { 36.0 } else { 48.0 };
    let text = label(words, object);
    let text_width = size * (0.62 * text.chars().map(columns).sum::<u32>() as f32 + 0.8);
    let text_y = if y >= size * 1.5 { y - size * 1.5 } else { y };
    let text_x = x.min(width - text_width).max(0.0);
    html! {
        g class=(if own { "box own" } else { "box" }) data-class=(object.class) {
            rect.halo x=(round(x)) y=(round(y)) width=(round(w)) height=(round(h)) fill="none" {}
            rect.line x=(round(x)) y=(round(y)) width=(round(w)) height=(round(h)) fill="none" {}
            rect.label-back x=(round(text_x)) y=(round(text_y)) width=(round(text_width)) height=(round(size * 1.5)) {}
            text x=(round(text_x + size * 0.4)) y=(round(text_y + size * 1.1)) font-size=(round(size)) { (text) }
        }
    }
}

/// How wide a sign is set: Japanese ones take two columns.
fn columns(sign: char) -> u32 {
    if sign.is_ascii() { 1 } else { 2 }
}

fn drawn_path(picture: &PictureRef, path: &[PathPoint]) -> Markup {
    let (width, height) = (picture.width as f32, picture.height as f32);
    let points = path
        .iter()
        .map(|point| format!("{},{}", round(point.x * width), round(point.y * height)))
        .collect::<Vec<_>>()
        .join(" ");
    let radius = width.max(height) / 110.0;
    html! {
        polyline.halo points=(points) fill="none" {}
        polyline.line points=(points) fill="none" {}
        @if let Some(end) = path.last() {
            circle cx=(round(end.x * width)) cy=(round(end.y * height)) r=(round(radius)) {}
        }
    }
}

fn round(length: f32) -> String {
    format!("{length:.1}")
}

fn neighbours(words: &Words, asked: &Asked, event: &EventDetail) -> Markup {
    html! {
        nav.neighbours {
            @match event.older {
                Some(id) => a.button rel="prev" href=(asked.event_link(id)) { (layout::icon_older()) (words.older_event) },
                None => span {},
            }
            a.to-list href=(asked.list_link()) { (words.back_to_list) }
            @if let Some(id) = event.newer {
                a.button rel="next" href=(asked.event_link(id)) { (words.newer_event) (layout::icon_newer()) }
            }
        }
    }
}

fn facts(visit: &Visit, event: &EventDetail) -> Markup {
    let words = visit.words();
    let row = &event.row;
    let is_of_camera = reasons::is_of_camera(row);
    let clear = reasons::clear(row);
    let until = match row.closed_at_us {
        Some(closed) => closed,
        // Nobody has to be seen again for it to go on.
        None if is_of_camera => visit.now,
        None => row.last_seen_at_us,
    };
    let duration = timeline::seconds_between(row.opened_at_us, until);
    html! {
        section.sheet {
            h2 { (words.facts) }
            dl.facts {
                div { dt { (words.class) } dd { (words.class_name(&row.class)) } }
                @if !is_of_camera { div { dt { (words.score) } dd.tabular { (percent(row.score)) } } }
                div { dt { (words.site) } dd { (row.site_name) } }
                div { dt { (words.camera) } dd { a href={ "/events?camera=" (row.camera) } { (row.camera_name) } } }
                @if !event.tags.is_empty() {
                    div { dt { (words.tag) } dd.tags { @for tag in &event.tags { (tag_mark(tag)) } } }
                }
                @if !row.zones.is_empty() {
                    div { dt { (words.zones) } dd { (row.zones.join(visit.lang.list_mark())) } }
                }
                div { dt { (words.opened_at) } dd.tabular { (visit.full(row.opened_at_us)) } }
                div { dt { (words.clock) } dd { (clock(visit, event)) } }
                @if !is_of_camera {
                    div { dt { (words.last_seen) } dd.tabular { (visit.full(row.last_seen_at_us)) } }
                } @else if let Some((at, clear)) = clear {
                    div {
                        dt { (match clear { Clear::Given => words.sees_since, Clear::Unknown => words.blind_last_known }) }
                        dd.tabular { (visit.full(at)) }
                    }
                }
                div {
                    dt { (if is_of_camera { words.blind_for } else { words.duration }) }
                    dd.tabular {
                        @match clear {
                            Some((_, Clear::Unknown)) => (visit.lang.at_least(duration)),
                            _ => (visit.lang.duration(duration)),
                        }
                        @if row.closed_at_us.is_none() { " · " span.ongoing { (words.ongoing) } }
                    }
                }
                div { dt { (words.received_at) } dd.tabular { (visit.full(row.received_at_us)) } }
                div { dt { (words.device) } dd.code { (event.device) } }
            }
        }
    }
}

/// A tag, which leads to all that carry it.
fn tag_mark(tag: &str) -> Markup {
    html! { a.tag href={ "/events?" (form_query(&[("tag", tag)])) } { (tag) } " " }
}

/// How far the times above can be trusted.
fn clock(visit: &Visit, event: &EventDetail) -> Markup {
    let words = visit.words();
    let stamp = event.clock;
    let offset_ms = stamp.offset_us / 1000;
    html! {
        @match event.row.time_known {
            TimeKnown::Synced => {
                span.mark-good {
                    (layout::icon_good())
                    (if stamp.state == ClockState::Synced { words.clock_synced } else { words.clock_held })
                }
                @if let Some(error) = stamp.error_us {
                    " " span.tabular.whole { (visit.lang.clock_within(error.div_ceil(1000))) }
                }
                @if offset_ms != 0 { " " span.tabular.whole { (visit.lang.corrected_by(offset_ms)) } }
            }
            TimeKnown::Corrected => {
                span.mark-good { (layout::icon_good()) (words.corrected) }
                p.hint { (words.clock_corrected_later) }
            }
            TimeKnown::ByArrival => {
                span.mark-bad { (layout::icon_bad()) (words.clock_unsynced) }
                p.hint { (words.clock_by_arrival_hint) }
            }
            TimeKnown::AsSaid => {
                span.mark-bad { (layout::icon_bad()) (words.clock_unsynced) }
                p.hint { (words.clock_unsynced_hint) }
            }
        }
    }
}

/// What the checks add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Verified,
    NotVerified,
    Tampering,
}

impl Verdict {
    /// Anything that does not match is tampering; anything still open leaves it unverified. A picture that was
    /// announced must be there and match.
    pub(super) fn of(proof: &Proof) -> Self {
        let broken = !proof.signature_ok
            || proof.link == LinkState::Broken
            || proof.picture_ok == Some(false);
        if broken {
            Self::Tampering
        } else if proof.link == LinkState::Pending {
            Self::NotVerified
        } else {
            Self::Verified
        }
    }
}

fn verdict(visit: &Visit, proof: &Proof, picture: Option<&PictureRef>) -> Markup {
    let words = visit.words();
    let (class, icon, title, text) = match Verdict::of(proof) {
        Verdict::Verified => (
            "good",
            layout::icon_good(),
            words.verified,
            words.verified_text,
        ),
        Verdict::NotVerified => (
            "wait",
            layout::icon_pending(),
            words.not_verified,
            words.not_verified_text,
        ),
        Verdict::Tampering => (
            "bad",
            layout::icon_bad(),
            words.tampering,
            words.tampering_text,
        ),
    };
    let link = match proof.link {
        LinkState::Ok => Check::Ok,
        LinkState::Pending => Check::Pending,
        LinkState::Broken => Check::Failed,
    };
    let picture_check = match proof.picture_ok {
        Some(true) => Check::Ok,
        Some(false) => Check::Failed,
        None => Check::NoPicture,
    };
    let signature = if proof.signature_ok {
        Check::Ok
    } else {
        Check::Failed
    };
    html! {
        section class={ "verdict " (class) } {
            h2 { (icon) (title) }
            p { (text) }
            details {
                summary { (words.what_was_checked) }
                dl.facts {
                    div { dt { (words.check_signature) } dd { (check(words, signature)) } }
                    div { dt { (words.check_link) } dd { (check(words, link)) } }
                    div { dt { (words.check_picture) } dd { (check(words, picture_check)) } }
                    div {
                        dt { (words.record_number) }
                        dd.code { (proof.epoch) "-" (thousands(proof.first_seq)) }
                    }
                    div { dt { (words.batch_hash) } dd.code { (proof.batch_sha256) } }
                    @if let Some(picture) = picture {
                        div { dt { (words.picture_hash) } dd.code { (picture.sha256) } }
                    }
                    div {
                        dt { (words.key_fingerprint) }
                        dd.code { (Sha256::of(&proof.record_key.0)) }
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Check {
    Ok,
    Failed,
    Pending,
    NoPicture,
}

fn check(words: &Words, check: Check) -> Markup {
    html! {
        @match check {
            Check::Ok => span.mark-good { (layout::icon_good()) (words.check_ok) },
            Check::Failed => span.mark-bad { (layout::icon_bad()) (words.check_failed) },
            Check::Pending => span.mark-wait { (layout::icon_pending()) (words.check_pending) },
            Check::NoPicture => span { (words.check_no_picture) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_as_good_as_its_weakest_check() {
        let verdict = |signature_ok, link, picture_ok| {
            Verdict::of(&Proof {
                signature_ok,
                link,
                epoch: wire::Epoch(1),
                first_seq: 1,
                batch_sha256: Sha256::ZERO,
                record_key: wire::VerifyingKey([0; 32]),
                picture_ok,
            })
        };
        assert_eq!(verdict(true, LinkState::Ok, Some(true)), Verdict::Verified);
        assert_eq!(verdict(true, LinkState::Ok, None), Verdict::Verified);
        assert_eq!(
            verdict(true, LinkState::Pending, Some(true)),
            Verdict::NotVerified
        );
        assert_eq!(verdict(false, LinkState::Pending, None), Verdict::Tampering);
        assert_eq!(
            verdict(true, LinkState::Broken, Some(true)),
            Verdict::Tampering
        );
        assert_eq!(
            verdict(true, LinkState::Ok, Some(false)),
            Verdict::Tampering
        );
    }
}
