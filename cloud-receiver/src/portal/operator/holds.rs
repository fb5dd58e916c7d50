//! Holds: what must be kept, whatever a contract's period or retention says. Added here, lifted on a page that asks.

use super::form::{self, input, office, text, words};
use crate::auth::session::OperatorSession;
use crate::office::ending;
use crate::portal::PortalState;
use crate::portal::layout::{self, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{ContractDetail, ErasureBook, Hold};
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

/// On the page of a contract's end.
pub(super) fn section(
    visit: &Visit,
    holds: &[Hold],
    parts: &[(String, String)],
    home: &str,
    is_erasing: bool,
) -> Markup {
    let w = words(visit);
    html! {
        section.sheet #holds {
            h2 { (w.holds) }
            @if holds.is_empty() { p.hint { (w.holds_none) } }
            ul.browsers {
                @for hold in holds {
                    li {
                        b { (hold.why) }
                        span { (part(visit, hold, parts)) }
                        span.hint.tabular { (w.hold_placed) " " (visit.full(hold.placed_us)) }
                        a.button href={ "/operator/holds/" (hold.id) "/remove" } { (w.hold_lift) }
                    }
                }
            }
            @if !is_erasing {
                h3 { (w.hold_add) }
                form method="post" action={ (home) "/holds" } {
                    div.field {
                        label for="part" { (w.hold_part) }
                        select #part name="part" {
                            option value="" { (w.hold_all) }
                            @for (value, name) in parts { option value=(value) { (name) } }
                        }
                    }
                    div.pair {
                        (input("datetime-local", "from", w.hold_from, "", None))
                        (input("datetime-local", "to", w.hold_to, "", None))
                    }
                    (text("why", w.hold_why, "", None))
                    button type="submit" { (w.hold_add) }
                }
            }
        }
    }
}

fn part(visit: &Visit, hold: &Hold, parts: &[(String, String)]) -> String {
    let wanted = match (hold.site, hold.camera) {
        (_, Some(camera)) => format!("camera {camera}"),
        (Some(site), None) => format!("site {site}"),
        _ => String::new(),
    };
    let named = parts.iter().find(|(value, _)| *value == wanted);
    let mut told = named
        .map_or(words(visit).hold_all, |(_, name)| name)
        .to_owned();
    if hold.from_us.is_some() || hold.to_us.is_some() {
        let minute = |at: Option<_>| at.map_or_else(String::new, |at| visit.to_minute(at));
        told += &format!(" {}〜{}", minute(hold.from_us), minute(hold.to_us));
    }
    told
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// `site ID`, `camera ID`, or all.
    part: String,
    from: String,
    to: String,
    why: String,
}

/// As `hold add` does.
pub async fn add(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
    Form(asked): Form<Asked>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let detail = form::contract(&office, &contract).await?;
    let bounds =
        form::time(&visit, &asked.from).and_then(|from| Ok((from, form::time(&visit, &asked.to)?)));
    let (from_us, to_us) = match bounds {
        Ok(bounds) => bounds,
        Err(why) => return Ok(refused(&visit, &detail, &why)),
    };
    let (site, camera) = match asked.part.split_once(' ') {
        Some(("site", id)) => (Some(id.parse().map_err(|_| Problem::BadRequest)?), None),
        Some(("camera", id)) => (None, Some(id.parse().map_err(|_| Problem::BadRequest)?)),
        _ => (None, None),
    };
    let hold = Hold {
        id: Uuid::new_v4(),
        contract: detail.id,
        site,
        camera,
        from_us,
        to_us,
        placed_us: visit.now,
        why: asked.why,
    };
    must_be_of(&office, &hold).await?;
    let placed = ending::place(&office.store, hold).await;
    Ok(match form::told(&visit, placed)? {
        Ok(_) => {
            Redirect::to(&format!("/operator/contracts/{}/ending#holds", detail.id)).into_response()
        }
        Err(why) => refused(&visit, &detail, &why),
    })
}

/// The site or camera is one of the contract's.
async fn must_be_of(office: &crate::office::Office, hold: &Hold) -> Result<(), Problem> {
    use crate::store::Administration;
    let sites = office.store.sites().await?;
    let cameras = office.store.cameras_of(hold.contract).await?;
    let site = hold.site.is_none_or(|id| {
        let mut of = sites.iter().filter(|site| site.contract == hold.contract);
        of.any(|site| site.id == id)
    });
    let camera = hold
        .camera
        .is_none_or(|id| cameras.iter().any(|(camera, _)| *camera == id));
    if site && camera {
        Ok(())
    } else {
        Err(Problem::NotFound)
    }
}

fn refused(visit: &Visit, detail: &ContractDetail, why: &str) -> Response {
    let w = words(visit);
    let address = format!("/operator/contracts/{}/ending#holds", detail.id);
    let body = html! {
        h1 { (w.hold_add) }
        (form::complaint(Some(why)))
        p { a.button href=(address) { (visit.words().go_on) } }
    };
    let page = layout::page(visit, Tab::Contracts, w.hold_add, &body);
    (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
}

async fn found(
    state: &PortalState,
    session: &OperatorSession,
    hold: &str,
) -> Result<(crate::office::Office, Hold, ContractDetail), Problem> {
    let id: Uuid = hold.parse().map_err(|_| Problem::NotFound)?;
    let office = office(state, session)?;
    let holds = office.store.holds().await?;
    let hold = holds.into_iter().find(|hold| hold.id == id);
    let hold = hold.ok_or(Problem::NotFound)?;
    let detail = form::contract(&office, &hold.contract.to_string()).await?;
    Ok((office, hold, detail))
}

pub async fn ask(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(hold): Path<String>,
) -> Result<Markup, Problem> {
    let (_, hold, detail) = found(&state, &session, &hold).await?;
    Ok(question(&visit, &hold, &detail, None))
}

fn question(visit: &Visit, hold: &Hold, detail: &ContractDetail, why: Option<&str>) -> Markup {
    let w = words(visit);
    let body = html! {
        div.narrow {
            h1 { (w.hold_lift) }
            (form::complaint(why))
            div.sheet {
                dl.facts {
                    div { dt { (visit.words().contract) } dd { (detail.name) } }
                    div { dt { (w.hold_why) } dd { (hold.why) } }
                }
                p { (w.hold_lift_text) }
                form method="post" action={ "/operator/holds/" (hold.id) "/remove" } {
                    (form::name_to_type(visit, "typed", &detail.name))
                    p.deeds {
                        button.grave type="submit" { (w.hold_lift) }
                        a.button href={ "/operator/contracts/" (detail.id) "/ending#holds" } { (visit.words().leave_it) }
                    }
                }
            }
        }
    };
    layout::page(visit, Tab::Contracts, w.hold_lift, &body)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Typed {
    typed: String,
}

pub async fn remove(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(hold): Path<String>,
    Form(asked): Form<Typed>,
) -> Result<Response, Problem> {
    let (office, hold, detail) = found(&state, &session, &hold).await?;
    if !form::is_named(&asked.typed, &detail.name) {
        let page = question(&visit, &hold, &detail, Some(words(&visit).name_differs));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    office.store.remove_hold(hold.id, visit.now).await?;
    Ok(Redirect::to(&format!("/operator/contracts/{}/ending#holds", detail.id)).into_response())
}
