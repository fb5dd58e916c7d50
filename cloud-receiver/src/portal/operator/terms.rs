//! Changing what was agreed in a contract. Shortening what is kept deletes, so it is asked for by name.

use super::form::{self, area, complaint, field, input, office, text, tick, words};
use crate::auth::session::OperatorSession;
use crate::office::terms::{Kept, check, kept, shortened};
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{ContractBook, ContractDetail, Terms};
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use wire::MediaClass;

type Fields = Vec<(String, String)>;

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
) -> Result<Markup, Problem> {
    let office = office(&state, &session)?;
    let detail = form::contract(&office, &contract).await?;
    let terms = detail.terms.clone();
    Ok(page(&visit, &detail, &terms, &[], None))
}

pub async fn act(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let detail = form::contract(&office, &contract).await?;
    let refused = |terms: &Terms, shorter: &[(Kept, u32)], why: Option<&str>| {
        let page = page(&visit, &detail, terms, shorter, why);
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let Some(terms) = asked(&fields, &detail.terms) else {
        return refused(&detail.terms, &[], Some(words(&visit).refused_range));
    };
    if let Err(refusal) = check(&terms) {
        return refused(&terms, &[], Some(&form::says(&visit, &refusal)));
    }
    let shorter = shortened(&detail.terms.retention, &terms.retention);
    let typed = field(&fields, "typed");
    if !shorter.is_empty() && !form::is_named(typed, &detail.name) {
        let why = (!typed.is_empty()).then_some(words(&visit).name_differs);
        return refused(&terms, &shorter, why);
    }
    let set = office.store.set_terms(detail.id, &terms, visit.now).await;
    match form::told(&visit, set)? {
        Ok(()) => Ok(Redirect::to(&format!("/operator/contracts/{}", detail.id)).into_response()),
        Err(why) => refused(&terms, &[], Some(&why)),
    }
}

/// What the form says; `None`: something that should be a number is none. What it has no field for stays.
fn asked(fields: &[(String, String)], before: &Terms) -> Option<Terms> {
    let is_on = |name| !field(fields, name).is_empty();
    let mut terms = before.clone();
    field(fields, "language").clone_into(&mut terms.language);
    field(fields, "zone").trim().clone_into(&mut terms.zone);
    terms.contacts = field(fields, "contacts")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    terms.keeps_issued_passwords = is_on("keeps_issued_passwords");
    terms.needs_second_factor = is_on("needs_second_factor");
    terms.pictures_in_mail = is_on("pictures_in_mail");
    terms.silent_after_minutes = field(fields, "silent_after").trim().parse().ok()?;
    terms.clock_off_ms = field(fields, "clock_off").trim().parse().ok()?;
    let days = |name| match field(fields, name).trim() {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    };
    terms.retention.snapshots_days = days("keep_snapshots")?;
    terms.retention.periodic_days = days("keep_periodic")?;
    terms.retention.requested_days = days("keep_requested")?;
    terms.retention.clips_days = days("keep_clips")?;
    terms.retention.records_days = days("keep_records")?;
    Some(terms)
}

fn field_of(kept: Kept) -> &'static str {
    match kept {
        Kept::Records => "keep_records",
        Kept::Pictures(MediaClass::Snapshot) => "keep_snapshots",
        Kept::Pictures(MediaClass::Periodic) => "keep_periodic",
        Kept::Pictures(MediaClass::Requested) => "keep_requested",
        Kept::Pictures(_) => "keep_clips",
    }
}

fn page(
    visit: &Visit,
    detail: &ContractDetail,
    terms: &Terms,
    shorter: &[(Kept, u32)],
    why: Option<&str>,
) -> Markup {
    let w = words(visit);
    let home = format!("/operator/contracts/{}", detail.id);
    let body = html! {
        (form::back(&home, &detail.name))
        h1 { (w.change_terms) }
        (complaint(why))
        form.sheet method="post" action={ (home) "/terms" } {
            (mails(visit, terms))
            fieldset.boxes {
                legend { (visit.words().users) }
                (tick("keeps_issued_passwords", w.keep_issued, terms.keeps_issued_passwords))
                (tick("needs_second_factor", w.need_second_factor, terms.needs_second_factor))
                (tick("pictures_in_mail", w.pictures_in_mail, terms.pictures_in_mail))
            }
            div.pair {
                (input("number", "silent_after", w.silent_after, &terms.silent_after_minutes.to_string(), None))
                (input("number", "clock_off", w.clock_off, &terms.clock_off_ms.to_string(), None))
            }
            h2 { (w.keep_for) }
            p.hint { (w.keep_hint) " " (w.keep_records_hint) }
            div.pair {
                @for (what, days) in kept(&terms.retention) {
                    @let value = days.map_or_else(String::new, |days| days.to_string());
                    (input("number", field_of(what), w.kept(what), &value, None))
                }
            }
            @if !shorter.is_empty() {
                (layout::notice(Notice::Wait, w.shortens))
                ul.plain { @for (what, days) in shorter { li { (visit.lang.older_than(w.kept(*what), *days)) } } }
                (form::name_to_type(visit, "typed", &detail.name))
            }
            p.deeds {
                button.primary type="submit" { (w.save) }
                a.button href=(home) { (visit.words().leave_it) }
            }
        }
    };
    layout::page(visit, Tab::Contracts, w.change_terms, &body)
}

fn mails(visit: &Visit, terms: &Terms) -> Markup {
    let (w, all) = (words(visit), visit.words());
    html! {
        (area("contacts", all.contacts, &terms.contacts.join("\n"), Some(w.contacts_hint)))
        div.pair {
            div.field {
                label for="language" { (w.language_of_mail) }
                select #language name="language" {
                    option value="ja" selected[terms.language == "ja"] { (w.japanese) }
                    option value="en" selected[terms.language == "en"] { (w.english) }
                }
            }
            (text("zone", all.zone_of_time, &terms.zone, Some(w.zone_hint)))
        }
    }
}
