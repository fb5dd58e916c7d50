//! How a contract ends: its last day, the word that work is done, what erasing would take, holds, and erasing early.

use super::form::{self, complaint, input, office, text, words};
use crate::auth::session::OperatorSession;
use crate::erasure::Standing;
use crate::erasure::standing::Due;
use crate::office::Office;
use crate::office::ending::{self, Plan, Wish, end_of, last_day};
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::thousands;
use crate::store::{ContractBook, ContractDetail, ContractRow, Ending, ErasureBook, Hold};
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use wire::ContractId;

/// All that the page shows.
struct Whole {
    detail: ContractDetail,
    ending: Ending,
    /// When it must be erased if somebody says now that work is done.
    due_once_done: Option<Due>,
    plan: Plan,
    holds: Vec<Hold>,
    /// What a hold can be of.
    parts: Vec<(String, String)>,
}

async fn whole(office: &Office, visit: &Visit, contract: &str) -> Result<Whole, Problem> {
    use crate::store::Administration;
    let detail = form::contract(office, contract).await?;
    let (store, id) = (&office.store, detail.id);
    let (ending, standing) = ending::standing_of(store, &office.config, id, visit.now).await?;
    let due_once_done = ending::due_once_done(&ending, &office.config, visit.now);
    let due_once_done = due_once_done.map_err(Problem::internal)?;
    let plan = ending::plan(&office.erasing(), id, standing).await?;
    let mut holds = store.holds().await?;
    holds.retain(|hold| hold.contract == id);
    let sites = store.sites().await?.into_iter();
    let sites = sites.filter(|site| site.contract == id);
    let mut parts: Vec<_> = sites
        .map(|site| (format!("site {}", site.id), site.name))
        .collect();
    let cameras = store.cameras_of(id).await?.into_iter();
    parts.extend(cameras.map(|(camera, name)| (format!("camera {camera}"), name)));
    Ok(Whole {
        detail,
        ending,
        due_once_done,
        plan,
        holds,
        parts,
    })
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
) -> Result<Markup, Problem> {
    let office = office(&state, &session)?;
    Ok(page(
        &visit,
        &whole(&office, &visit, &contract).await?,
        None,
    ))
}

/// The page again, with what was wrong.
async fn refused(
    office: &Office,
    visit: &Visit,
    contract: ContractId,
    why: &str,
) -> Result<Response, Problem> {
    let whole = whole(office, visit, &contract.to_string()).await?;
    let page = page(visit, &whole, Some(why));
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Back on the page, which says so where it was refused.
async fn done_or_told(
    office: &Office,
    visit: &Visit,
    contract: ContractId,
    outcome: Result<(), impl Into<crate::office::Error>>,
) -> Result<Response, Problem> {
    match form::told(visit, outcome)? {
        Ok(()) => Ok(back_to(contract)),
        Err(why) => refused(office, visit, contract, &why).await,
    }
}

fn back_to(contract: ContractId) -> Response {
    Redirect::to(&format!("/operator/contracts/{contract}/ending")).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Period {
    until: String,
    typed: String,
}

/// As `contract end` and `contract extend` do.
pub async fn period(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
    Form(asked): Form<Period>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let mut detail = form::contract(&office, &contract).await?;
    let day = match form::day(&visit, &asked.until) {
        Ok(day) => day,
        Err(why) => return refused(&office, &visit, detail.id, &why).await,
    };
    let until = end_of(day, &detail.terms).map_err(Problem::internal)?;
    if detail.until_us.is_some_and(|before| until >= before) {
        let extended = ending::extend(&office.store, &mut detail, day, visit.now).await;
        return done_or_told(&office, &visit, detail.id, extended).await;
    }
    if until <= visit.now && !form::is_named(&asked.typed, &detail.name) {
        return refused(&office, &visit, detail.id, words(&visit).name_differs).await;
    }
    let (store, id) = (&office.store, detail.id);
    let set = store.set_until(id, Some(until), visit.now).await;
    done_or_told(&office, &visit, id, set).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Done {
    done: String,
    typed: String,
}

/// As `contract done` does: where it sets the erasure going, the name is asked for.
pub async fn done(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
    Form(asked): Form<Done>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let detail = form::contract(&office, &contract).await?;
    let id = detail.id;
    let done = match asked.done.as_str() {
        "yes" => true,
        "no" => false,
        _ => return Err(Problem::BadRequest),
    };
    let before = ending::ending_of(&office.store, id).await?;
    let erases = done && ending::done_erases(&before, visit.now);
    if erases && !form::is_named(&asked.typed, &detail.name) {
        return refused(&office, &visit, id, words(&visit).name_differs).await;
    }
    let said = ending::set_done(&office.store, id, done, visit.now).await;
    done_or_told(&office, &visit, id, said).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Erase {
    why: String,
    typed: String,
}

/// As `erase run` does; the running receiver carries it out.
pub async fn erase(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
    Form(asked): Form<Erase>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let detail = form::contract(&office, &contract).await?;
    if !form::is_named(&asked.typed, &detail.name) {
        return refused(&office, &visit, detail.id, words(&visit).name_differs).await;
    }
    let (store, config) = (&office.store, &office.config);
    let (_, standing) = ending::standing_of(store, config, detail.id, visit.now).await?;
    let why = asked.why.trim();
    let is_due = matches!(standing, Standing::Due(_));
    let wish = Wish {
        on_request: (!is_due && !why.is_empty()).then(|| why.to_owned()),
        wait_us: None,
    };
    let row = ContractRow {
        id: detail.id,
        name: detail.name,
    };
    let begun = ending::begin(&office.erasing(), &row, &standing, wish, visit.now).await;
    match form::told(&visit, begun)? {
        Ok(()) => Ok(Redirect::to("/operator/erasures").into_response()),
        Err(why) => refused(&office, &visit, row.id, &why).await,
    }
}

fn page(visit: &Visit, whole: &Whole, why: Option<&str>) -> Markup {
    let (w, detail) = (words(visit), &whole.detail);
    let home = format!("/operator/contracts/{}", detail.id);
    let is_erasing = matches!(whole.plan.standing, Standing::Erasing { .. });
    let body = html! {
        (form::back(&home, &detail.name))
        h1 { (w.ending) }
        (complaint(why))
        div.columns {
            (period_of(visit, whole, &home, is_erasing))
            section.sheet {
                h2 { (w.would_go) }
                p.hint { (w.would_go_hint) }
                dl.facts {
                    @for (kind, count) in whole.plan.counts.iter().filter(|(_, count)| **count > 0) {
                        div { dt { (w.held(visit.words(), kind)) } dd.tabular { (thousands(*count)) } }
                    }
                }
            }
        }
        (super::holds::section(visit, &whole.holds, &whole.parts, &home, is_erasing))
        @if !is_erasing && whole.holds.is_empty() { (erase_form(visit, whole, &home)) }
        p { a.more href="/operator/erasures" { (w.erasures) } }
    };
    layout::page(visit, Tab::Contracts, w.ending, &body)
}

fn period_of(visit: &Visit, whole: &Whole, home: &str, is_erasing: bool) -> Markup {
    let (w, detail) = (words(visit), &whole.detail);
    let last = detail
        .until_us
        .and_then(|until| last_day(until, &detail.terms).ok());
    let value = last.map_or_else(String::new, |day| day.to_string());
    html! {
        section.sheet {
            h2 { (visit.words().period) }
            dl.facts {
                div { dt { (w.standing) } dd { (standing(visit, &whole.ending.name, &whole.plan.standing)) } }
                div { dt { (w.last_day_of) } dd.tabular { @match last { Some(day) => (visit.date(day)), None => (visit.words().period_open) } } }
                div { dt { (w.work_done) } dd.tabular { @match detail.done_us { Some(at) => { (w.done_on) " " (visit.full(at)) }, None => (w.not_done) } } }
            }
            @if !is_erasing {
                (done_form(visit, whole, home))
                h3 { (w.set_last_day) }
                form method="post" action={ (home) "/ending/period" } {
                    (input("date", "until", w.last_day_of, &value, Some(w.last_day_hint)))
                    div.field {
                        label for="period-typed" { (w.type_name_if_past) }
                        input #period-typed name="typed" autocomplete="off" spellcheck="false" aria-describedby="until-hint";
                    }
                    button type="submit" { (w.set_last_day) }
                }
            }
        }
    }
}

/// Says when erasing is due from then on; where that is now, it asks.
fn done_form(visit: &Visit, whole: &Whole, home: &str) -> Markup {
    let w = words(visit);
    let asks = ending::done_erases(&whole.ending, visit.now);
    let by = whole.due_once_done.map(|due| visit.date(due.by));
    html! {
        form method="post" action={ (home) "/ending/done" } {
            @if whole.ending.done_us.is_some() { button name="done" value="no" { (w.say_not_done) } }
            @else {
                @if let Some(by) = &by {
                    @if asks { (layout::notice(Notice::Wait, &visit.lang.done_erases(by))) }
                    @else { p.hint { (visit.lang.done_erases_later(by)) } }
                }
                @if asks { (form::name_to_type(visit, "done-typed", &whole.detail.name)) }
                button.grave[asks] name="done" value="yes" { (w.say_done) }
            }
        }
    }
}

/// Where it stands, in a sentence.
pub(super) fn standing(visit: &Visit, name: &str, standing: &Standing) -> String {
    let (w, lang) = (words(visit), visit.lang);
    match standing {
        Standing::Running => w.stands_running.to_owned(),
        Standing::AwaitingWork => lang.awaits_work(name),
        Standing::Due(due) => lang.is_due(name, &visit.date(due.by), due.business_days_left),
        Standing::Held { holds, .. } => lang.is_held(name, *holds),
        Standing::Erasing { step } => lang.is_erasing(name, w.step(step.as_str())),
    }
}

fn erase_form(visit: &Visit, whole: &Whole, home: &str) -> Markup {
    let w = words(visit);
    let is_due = matches!(whole.plan.standing, Standing::Due(_));
    let title = if is_due { w.erase_due } else { w.erase_now };
    html! {
        section.sheet.grave {
            h2 { (title) }
            p { (w.erase_text) }
            form method="post" action={ (home) "/ending/erase" } {
                @if !is_due { (text("why", w.erase_why, "", None)) }
                (form::name_to_type(visit, "erase-typed", &whole.detail.name))
                button.grave type="submit" { (title) }
            }
        }
    }
}
