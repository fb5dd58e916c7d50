//! Contracts: what was agreed, and who and what belongs to each. Users, claim codes and devices are seen to from here.

use super::form;
use crate::auth::session::OperatorSession;
use crate::office::terms::add_contract;
use crate::portal::layout::{self, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::thousands;
use crate::portal::{PortalState, qr};
use crate::seal::random;
use crate::store::{
    AccountKind, AccountListing, Actor, ContractDetail, DeviceReport, SiteRow, Terms,
};
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use wire::claim::ClaimCode;
use wire::{ContractId, SiteId, UtcMicros};

/// As `device claim` gives them.
const CLAIM_HOURS: i64 = 24;
const HOUR_US: i64 = 3_600_000_000;

pub async fn list(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    let page = list_page(&state, &visit, &session, None).await?;
    Ok(page)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    name: String,
}

/// As `contract add` does.
pub async fn add(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Form(asked): Form<Named>,
) -> Result<Response, Problem> {
    let office = form::office(&state, &session)?;
    let (store, config) = (&office.store, &office.config);
    let added = add_contract(store, config, &asked.name, visit.now).await;
    Ok(match form::told(&visit, added)? {
        Ok(id) => Redirect::to(&format!("/operator/contracts/{id}")).into_response(),
        Err(why) => {
            let page = list_page(&state, &visit, &session, Some(&why)).await?;
            (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
        }
    })
}

async fn list_page(
    state: &PortalState,
    visit: &Visit,
    session: &OperatorSession,
    why: Option<&str>,
) -> Result<Markup, Problem> {
    let (w, words) = (form::words(visit), visit.words());
    let actor = Actor::Operator(session.login_id.clone());
    let desk = state.store.acting(actor);
    let (contracts, sites) = (desk.contracts().await?, desk.sites().await?);
    let users = desk.accounts(AccountKind::Customer).list(None).await?;
    let body = html! {
        h1 { (words.contracts) }
        (form::complaint(why))
        p { a.more href="/operator/erasures" { (w.erasures) } }
        @if contracts.is_empty() { div.empty { h2 { (words.no_contracts) } p { (words.no_contracts_hint) } } }
        ul.devices {
            @for contract in &contracts {
                li.sheet {
                    div.section-head { h2 { a href={ "/operator/contracts/" (contract.id) } { (contract.name) } } }
                    dl.facts {
                        div {
                            dt { (words.sites) }
                            dd.tabular { (count(sites.iter().filter(|site| site.contract == contract.id))) }
                        }
                        div {
                            dt { (words.users) }
                            dd.tabular { (count(users.iter().filter(|user| user.contract == Some(contract.id)))) }
                        }
                    }
                }
            }
        }
        section.sheet {
            h2 { (w.add_contract) }
            form method="post" action="/operator/contracts" {
                (form::text("name", w.name, "", None))
                button.primary type="submit" { (w.add_contract) }
            }
        }
    };
    Ok(layout::page(visit, Tab::Contracts, words.contracts, &body))
}

fn count<T>(things: impl Iterator<Item = T>) -> String {
    thousands(things.count() as u64)
}

/// All that the page of one contract shows.
pub(super) struct Whole {
    pub(super) detail: ContractDetail,
    sites: Vec<SiteRow>,
    devices: Vec<DeviceReport>,
    users: Vec<AccountListing>,
    gives_claims: bool,
}

pub(super) async fn whole(
    state: &PortalState,
    session: &OperatorSession,
    contract: &str,
) -> Result<Whole, Problem> {
    let id: ContractId = contract.parse().map_err(|_| Problem::NotFound)?;
    let desk = state
        .store
        .acting(Actor::Operator(session.login_id.clone()));
    let detail = desk.contract(id).await?.ok_or(Problem::NotFound)?;
    let mut sites = desk.sites().await?;
    sites.retain(|site| site.contract == id);
    let mut devices = state.store.reports().await?;
    devices.retain(|report| report.listing.contract == detail.name);
    let users = desk.accounts(AccountKind::Customer).list(Some(id)).await?;
    Ok(Whole {
        detail,
        sites,
        devices,
        users,
        gives_claims: state.claims.is_some(),
    })
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
) -> Result<Markup, Problem> {
    let whole = whole(&state, &session, &contract).await?;
    Ok(page(&visit, &whole, None))
}

/// `told`: what was wrong with a login ID that was sent.
pub(super) fn page(visit: &Visit, whole: &Whole, told: Option<(&str, &str)>) -> Markup {
    let words = visit.words();
    let (w, detail) = (form::words(visit), &whole.detail);
    let body = html! {
        p { a.more href="/operator/contracts" { (words.contracts) } }
        h1 { (detail.name) }
        @if let Some((text, _)) = told { (layout::notice(layout::Notice::Bad, text)) }
        div.columns {
            section.sheet {
                h2 { (words.terms) }
                (terms(visit, detail))
                p.deeds {
                    a.button href={ "/operator/contracts/" (detail.id) "/terms" } { (w.change_terms) }
                    a.button href={ "/operator/contracts/" (detail.id) "/ending" } { (w.ending) }
                }
            }
            section.sheet {
                h2 { (words.sites) }
                @if whole.sites.is_empty() { p.hint { (words.no_sites) } }
                ul.browsers {
                    @for site in &whole.sites { (site_of(visit, whole, site)) }
                }
                p { a.button href={ "/operator/contracts/" (detail.id) "/places" } { (w.places) } }
            }
        }
        section.sheet #users {
            h2 { (words.users) }
            @if whole.users.is_empty() { p.hint { (words.no_users) } }
            ul.devices { @for user in &whole.users { (super::users::row(visit, user)) } }
            (super::users::add_form(visit, detail.id, told.map_or("", |(_, typed)| typed)))
        }
    };
    layout::page(visit, Tab::Contracts, &detail.name, &body)
}

fn terms(visit: &Visit, detail: &ContractDetail) -> Markup {
    let words = visit.words();
    let Terms {
        zone,
        contacts,
        keeps_issued_passwords,
        needs_second_factor,
        ..
    } = &detail.terms;
    let yes = |yes: bool| if yes { words.yes } else { words.no };
    html! {
        dl.facts {
            div {
                dt { (words.period) }
                dd.tabular {
                    @match detail.until_us {
                        // The last moment before it is over: the last day.
                        Some(until) => { "〜" (visit.date(visit.date_of(until.plus_us(-1)))) }
                        None => (words.period_open),
                    }
                }
            }
            div { dt { (words.contacts) } dd { @for contact in contacts { (contact) " " } @if contacts.is_empty() { (words.nothing) } } }
            div { dt { (words.zone_of_time) } dd { (zone) } }
            div { dt { (words.second_factor_required) } dd { (yes(*needs_second_factor)) } }
            div { dt { (words.issued_kept) } dd { (yes(*keeps_issued_passwords)) } }
            div { dt { "ID" } dd.code { (detail.id) } }
        }
    }
}

fn site_of(visit: &Visit, whole: &Whole, site: &SiteRow) -> Markup {
    let words = visit.words();
    let of_site = whole
        .devices
        .iter()
        .filter(|report| report.listing.site == site.name);
    html! {
        li {
            b { (site.name) }
            @for report in of_site {
                a.more href={ "/operator/devices#device-" (report.listing.device) } {
                    (words.device) " " (report.listing.device.to_string().split('-').next().unwrap_or_default())
                    @if report.listing.revoked_us.is_some() { " (" (words.revoked) ")" }
                }
            }
            @if whole.gives_claims {
                form method="post" action={ "/operator/sites/" (site.id) "/claim" } {
                    button type="submit" { (words.claim_code) }
                }
            }
        }
    }
}

/// A claim code, shown in this answer and never again.
pub async fn claim(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(site): Path<String>,
) -> Result<Response, Problem> {
    let site: SiteId = site.parse().map_err(|_| Problem::NotFound)?;
    let claims = state.claims.as_ref().ok_or(Problem::NotFound)?;
    let actor = Actor::Operator(session.login_id.clone());
    let desk = state.store.acting(actor);
    let sites = desk.sites().await?;
    let site = sites.iter().find(|row| row.id == site);
    let site = site.ok_or(Problem::NotFound)?;
    let code = ClaimCode {
        secret: random(),
        fingerprint: claims.fingerprint,
    };
    let expires = visit.now.plus_us(CLAIM_HOURS * HOUR_US);
    let added = desk.add_claim(code.secret_hash(), site.id, visit.now, expires);
    if let Err(why) = form::told(&visit, added.await)? {
        let whole = whole(&state, &session, &site.contract.to_string()).await?;
        let page = page(&visit, &whole, Some((&why, "")));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    let page = claim_page(&visit, site, &code.to_string(), &claims.url, expires);
    Ok(page.into_response())
}

fn claim_page(visit: &Visit, site: &SiteRow, code: &str, url: &str, expires: UtcMicros) -> Markup {
    let words = visit.words();
    let body = html! {
        p { a.more href={ "/operator/contracts/" (site.contract) } { (site.contract_name) } }
        h1 { (words.claim_code) }
        div.sheet {
            p { (visit.lang.claim_for(&site.name, &visit.full(expires))) }
            (qr::picture(code, words.claim_code))
            p { code #claim { (code) } }
            p { (words.claim_how) }
            p { code { "edge-agent enroll --url " (url) } }
        }
    };
    layout::page(visit, Tab::Contracts, words.claim_code, &body)
}
