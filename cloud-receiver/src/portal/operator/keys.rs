//! The receiver's keys and certificates: which there are, until when, who has not followed a change, and the next step of one.
//!
//! What changes them is done by commands: they write into the folder of the keys, which a service under systemd neither sees nor
//! may write, and each wants a new sealed copy and a restart. The page says which command it is.

use super::form::{self, office};
use crate::auth::session::OperatorSession;
use crate::office::Office;
use crate::office::authority::{Change, Holder};
use crate::office::secrets::{Authorities, Master, look};
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::{KeyWords, thousands};
use crate::tls::standing::Standing;
use axum::extract::State;
use maud::{Markup, html};
use wire::UtcMicros;

fn words(visit: &Visit) -> &'static KeyWords {
    KeyWords::of(visit.lang)
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    let (office, w) = (office(&state, &session)?, words(&visit));
    let secrets = look(&office, visit.now).await?;
    let body = html! {
        (form::back("/operator/receiver", form::words(&visit).receiver))
        h1 { (w.keys) }
        p { (w.keys_hint) }
        @if let Some(ca) = &secrets.ca { (authority(&visit, ca)) }
        div.columns {
            (master(&visit, &secrets.master))
            (portal(&visit, secrets.portal.as_ref()))
        }
        (signing(&visit, &office))
    };
    Ok(layout::page(&visit, Tab::Receiver, w.keys, &body))
}

fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn day(visit: &Visit, at: UtcMicros) -> Markup {
    html! { span.tabular { (visit.date(visit.date_of(at))) } }
}

fn command(text: &str) -> Markup {
    html! { p { code { (text) } } }
}

fn master(visit: &Visit, master: &Master) -> Markup {
    let w = words(visit);
    let at = |at: Option<UtcMicros>, never: &str| html! { @match at { Some(at) => span.tabular { (visit.full(at)) }, None => (never) } };
    html! {
        section.sheet {
            h2 { (w.master) }
            @if master.wants_restart { (layout::notice(Notice::Bad, w.master_restart)) }
            dl.facts {
                (fact(w.key_id, &html! { span.code { (master.id) } }))
                (fact(w.wraps, &html! { span.tabular { (thousands(master.contract_keys as u64)) } }))
                (fact(w.changed, &at(master.rotated_us, w.never_changed)))
                (fact(w.copied, &at(master.copied_us, w.never_copied)))
            }
            p.hint { (w.master_hint) }
            (command("cloud-receiver key rotate"))
        }
    }
}

fn authority(visit: &Visit, ca: &Authorities) -> Markup {
    let w = words(visit);
    let change = &ca.change;
    html! {
        section.sheet {
            h2 { (w.ca) }
            @if ca.wants_restart { (layout::notice(Notice::Bad, w.ca_restart)) }
            dl.facts {
                (fact(w.fingerprint, &html! { span.code { (change.current.fingerprint) } }))
                (fact(w.good_until, &day(visit, change.current.until_us)))
                (fact(w.followed, &html! { span.tabular { (thousands(change.followed as u64)) } }))
            }
            (step(visit, ca))
            @if let Some(before) = &change.before {
                h3 { (w.ca_before) }
                dl.facts {
                    (fact(w.fingerprint, &html! { span.code { (before.fingerprint) } }))
                    (fact(w.good_until, &day(visit, before.until_us)))
                    @if let Some(since) = before.succeeded_us { (fact(w.succeeded, &html! { span.tabular { (visit.full(since)) } })) }
                    @if change.codes.count > 0 {
                        (fact(w.open_codes, &html! {
                            span.tabular { (thousands(change.codes.count)) }
                            @if let Some(until) = change.codes.until_us { " (" (w.good_until) " " span.tabular { (visit.full(until)) } ")" }
                        }))
                    }
                }
            }
            (behind(visit, change))
        }
    }
}

/// What is to be done next; nothing where all is at rest.
fn step(visit: &Visit, ca: &Authorities) -> Markup {
    let (w, change) = (words(visit), &ca.change);
    html! {
        @if change.before.is_none() {
            @if !ca.wants_restart { p.hint { (w.ca_rest) } (command("cloud-receiver ca rotate")) }
        } @else if change.is_done() {
            @if !ca.wants_restart { (layout::notice(Notice::Good, w.ca_can_retire)) (command("cloud-receiver ca retire")) }
        } @else {
            (layout::notice(Notice::Wait, w.ca_waits))
        }
    }
}

fn behind(visit: &Visit, change: &Change) -> Markup {
    let w = words(visit);
    let title = match change.before {
        Some(_) => w.behind,
        None => w.locked_out,
    };
    html! {
        @if !change.behind.is_empty() {
            h3 { (title) }
            ul.plain { @for holder in &change.behind { li { (one(visit, holder)) } } }
            @if change.before.is_none() { p.hint { (w.locked_out_hint) } }
        }
    }
}

fn one(visit: &Visit, holder: &Holder) -> Markup {
    let all = visit.words();
    html! {
        a href={ "/operator/devices#device-" (holder.device) } { (holder.site) " (" (holder.contract) ")" }
        " " span.hint {
            (all.last_heard) " "
            @match holder.heard_us { Some(at) => (layout::age(visit, at)), None => (all.never_heard) }
            " · " (words(visit).good_until) " " (day(visit, holder.certificate_until_us))
        }
    }
}

fn portal(visit: &Visit, standing: Option<&Standing>) -> Markup {
    let w = words(visit);
    html! {
        section.sheet {
            h2 { (w.portal) }
            @match standing {
                None => p { (w.portal_own) },
                Some(standing) => {
                    @if standing.needs_hand(visit.now) { (layout::notice(Notice::Bad, w.portal_bad)) }
                    dl.facts {
                        @if !standing.source.is_empty() { (fact(w.portal_source, &html! { span.code { (standing.source) } })) }
                        @if let Some(until) = standing.not_after_us { (fact(w.good_until, &day(visit, until))) }
                        @if let Some(next) = standing.next_us { (fact(w.portal_next, &html! { span.tabular { (visit.full(next)) } })) }
                    }
                    @if let Some(problem) = &standing.problem { p.hint.code { (problem) } }
                },
            }
        }
    }
}

/// What heads, exports and certificates of erasure are checked with, as `heads key` prints it.
fn signing(visit: &Visit, office: &Office) -> Markup {
    let w = words(visit);
    html! {
        section.sheet {
            h2 { (w.signing) }
            p { span.code { (office.key.verifying_key()) } }
            p.hint { (w.signing_hint) }
        }
    }
}
