//! Telling of maintenance or of an incident: a form, the letters as they would go out, and only then sending. What is sent
//! is what was shown: the form's words travel with the question, unseen and unchanged.

use super::form::{self, area, field, input, office, words};
use super::notices::letters;
use crate::auth::session::OperatorSession;
use crate::notice::Occasion;
use crate::office::notices::{self, Happened, Planned};
use crate::office::{self, Office};
use crate::portal::PortalState;
use crate::portal::layout::{self, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{Administration, ContractRow, NoticeKind, NoticeRow};
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use wire::ContractId;

type Fields = Vec<(String, String)>;

fn title(visit: &Visit, kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Maintenance => words(visit).notice_maintenance,
        NoticeKind::Incident => words(visit).notice_incident,
    }
}

fn address(kind: NoticeKind) -> String {
    format!("/operator/notices/{}", kind.word())
}

pub async fn show(
    kind: NoticeKind,
    state: PortalState,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    let contracts = office(&state, &session)?.store.contracts().await?;
    Ok(page(&visit, kind, &contracts, &[], None))
}

/// The notice as the form says it.
fn asked(
    visit: &Visit,
    kind: NoticeKind,
    fields: &[(String, String)],
) -> Result<NoticeRow, String> {
    let time = |name| {
        let time = form::time(visit, field(fields, name))?;
        time.ok_or_else(|| words(visit).refused_time.to_owned())
    };
    let given = |name| Some(field(fields, name).to_owned()).filter(|text| !text.trim().is_empty());
    let row = match kind {
        NoticeKind::Maintenance => Planned {
            from: time("from")?,
            to: time("to")?,
            impact: field(fields, "what").to_owned(),
            impact_en: given("what_en"),
            urgent_why: given("why"),
        }
        .row(visit.now),
        NoticeKind::Incident => Happened {
            since: time("from")?,
            what: field(fields, "what").to_owned(),
            what_en: given("what_en"),
        }
        .row(visit.now),
    };
    row.map_err(|refusal| form::says(visit, &refusal))
}

pub async fn act(
    kind: NoticeKind,
    state: PortalState,
    visit: Visit,
    session: OperatorSession,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let all = office.store.contracts().await?;
    let again = |why: Option<&str>| {
        let page = page(&visit, kind, &all, &fields, why);
        let status = why.map_or(StatusCode::OK, |_| StatusCode::UNPROCESSABLE_ENTITY);
        Ok((status, page).into_response())
    };
    let step = field(&fields, "step");
    if step == "edit" {
        return again(None);
    }
    let row = match asked(&visit, kind, &fields) {
        Ok(row) => row,
        Err(why) => return again(Some(&why)),
    };
    match send_or_show(&office, &visit, &row, &fields, step == "send").await? {
        Ok(answer) => Ok(answer),
        Err(why) => again(Some(&why)),
    }
}

async fn send_or_show(
    office: &Office,
    visit: &Visit,
    row: &NoticeRow,
    fields: &[(String, String)],
    sends: bool,
) -> Result<Result<Response, String>, Problem> {
    let named = fields.iter().filter(|(key, _)| key == "contract");
    let named: Result<Vec<ContractId>, _> = named.map(|(_, id)| id.parse()).collect();
    let named = named.map_err(|_| Problem::BadRequest)?;
    let contracts = notices::concerned(&office.store, &named, visit.now).await;
    let contracts = match contracts {
        Err(office::Error::Refused(refusal)) => return Ok(Err(form::says(visit, &refusal))),
        other => other?,
    };
    let (letters, shown) = letters(visit, office, row, Occasion::Given, &contracts)?;
    if sends {
        notices::give(&office.store, row, &contracts, &letters).await?;
        let to = format!("/operator/notices/{}", row.id);
        return Ok(Ok(Redirect::to(&to).into_response()));
    }
    let w = words(visit);
    let body = html! {
        h1 { (w.notice_preview) }
        (shown)
        form.deeds method="post" action=(address(row.kind)) {
            @for (key, value) in fields.iter().filter(|(key, _)| key != "step") {
                input type="hidden" name=(key) value=(value);
            }
            button.primary name="step" value="send" { (w.notice_send) }
            button name="step" value="edit" { (w.notice_edit) }
        }
    };
    let page = layout::page(visit, Tab::Notices, w.notice_preview, &body);
    Ok(Ok(page.into_response()))
}

fn page(
    visit: &Visit,
    kind: NoticeKind,
    contracts: &[ContractRow],
    fields: &[(String, String)],
    why: Option<&str>,
) -> Markup {
    let w = words(visit);
    let said = |name| field(fields, name);
    let is_chosen = |id: ContractId| {
        let id = id.to_string();
        fields
            .iter()
            .any(|(key, value)| key == "contract" && *value == id)
    };
    let body = html! {
        (form::back("/operator/notices", visit.words().notices))
        h1 { (title(visit, kind)) }
        (form::complaint(why))
        form.sheet method="post" action=(address(kind)) {
            @if kind == NoticeKind::Maintenance {
                div.pair {
                    (input("datetime-local", "from", w.notice_from, said("from"), None))
                    (input("datetime-local", "to", w.notice_to, said("to"), None))
                }
                (area("what", w.notice_text, said("what"), None))
                (area("what_en", w.notice_text_en, said("what_en"), None))
                (area("why", w.notice_urgent, said("why"), Some(w.notice_urgent_hint)))
            } @else {
                (input("datetime-local", "from", w.notice_since, said("from"), None))
                (area("what", w.notice_what, said("what"), None))
                (area("what_en", w.notice_text_en, said("what_en"), None))
            }
            fieldset.boxes {
                legend { (w.notice_whom) }
                p.hint { (w.notice_whom_hint) }
                @for contract in contracts {
                    label.box {
                        input type="checkbox" name="contract" value=(contract.id) checked[is_chosen(contract.id)];
                        span { (contract.name) }
                    }
                }
            }
            p.deeds {
                button.primary type="submit" { (w.notice_preview) }
                a.button href="/operator/notices" { (visit.words().leave_it) }
            }
        }
    };
    layout::page(visit, Tab::Notices, title(visit, kind), &body)
}

pub async fn maintenance(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    show(NoticeKind::Maintenance, state, visit, session).await
}

pub async fn incident(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    show(NoticeKind::Incident, state, visit, session).await
}

pub async fn tell_maintenance(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    fields: Form<Fields>,
) -> Result<Response, Problem> {
    act(NoticeKind::Maintenance, state, visit, session, fields).await
}

pub async fn tell_incident(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    fields: Form<Fields>,
) -> Result<Response, Problem> {
    act(NoticeKind::Incident, state, visit, session, fields).await
}
