//! A contract's sites and cameras: sites are added, cameras named, and both carry tags that everybody filters by.

use super::form::{self, office, text, words};
use crate::auth::session::OperatorSession;
use crate::office::{Office, labels};
use crate::portal::PortalState;
use crate::portal::layout::{self, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::DeskWords;
use crate::store::{Administration, CameraRow, ContractDetail, LabelBook, SiteRow, TagRow, Tagged};
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use wire::{CameraId, ContractId, SiteId};

struct Whole {
    detail: ContractDetail,
    sites: Vec<SiteRow>,
    cameras: Vec<CameraRow>,
    tags: Vec<TagRow>,
}

async fn whole(office: &Office, contract: &str) -> Result<Whole, Problem> {
    let detail = form::contract(office, contract).await?;
    let store = &office.store;
    let mut sites = store.sites().await?;
    sites.retain(|site| site.contract == detail.id);
    let mut cameras = store.cameras().await?;
    cameras.retain(|camera| camera.contract == detail.id);
    Ok(Whole {
        tags: store.tag_rows(detail.id).await?,
        detail,
        sites,
        cameras,
    })
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
) -> Result<Markup, Problem> {
    let office = office(&state, &session)?;
    Ok(page(&visit, &whole(&office, &contract).await?, None))
}

async fn refused(
    office: &Office,
    visit: &Visit,
    contract: ContractId,
    why: &str,
) -> Result<Response, Problem> {
    let whole = whole(office, &contract.to_string()).await?;
    let page = page(visit, &whole, Some(why));
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    name: String,
}

/// As `site add` does.
pub async fn add_site(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
    Form(asked): Form<Named>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let detail = form::contract(&office, &contract).await?;
    let added = match labels::name("--name", &asked.name) {
        Ok(name) => office.store.add_site(detail.id, &name, visit.now).await,
        Err(refusal) => {
            return refused(&office, &visit, detail.id, &form::says(&visit, &refusal)).await;
        }
    };
    match form::told(&visit, added)? {
        Ok(site) => Ok(back(detail.id, &site.to_string())),
        Err(why) => refused(&office, &visit, detail.id, &why).await,
    }
}

fn back(contract: ContractId, to: &str) -> Response {
    Redirect::to(&format!("/operator/contracts/{contract}/places#place-{to}")).into_response()
}

/// As `camera name` does; an empty name is `--reset`.
pub async fn name_camera(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(camera): Path<String>,
    Form(asked): Form<Named>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let camera = camera_of(&office, &camera).await?;
    let name = Some(asked.name.trim()).filter(|name| !name.is_empty());
    let name = match name.map(|name| labels::name("NAME", name)).transpose() {
        Ok(name) => name,
        Err(refusal) => {
            let why = form::says(&visit, &refusal);
            return refused(&office, &visit, camera.contract, &why).await;
        }
    };
    office
        .store
        .name_camera(camera.id, name.as_deref(), visit.now)
        .await?;
    Ok(back(camera.contract, &camera.id.to_string()))
}

async fn camera_of(office: &Office, id: &str) -> Result<CameraRow, Problem> {
    let id: CameraId = id.parse().map_err(|_| Problem::NotFound)?;
    let cameras = office.store.cameras().await?;
    let camera = cameras.into_iter().find(|camera| camera.id == id);
    camera.ok_or(Problem::NotFound)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tagging {
    tag: String,
    /// Takes it away.
    remove: String,
}

pub async fn tag_camera(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(camera): Path<String>,
    Form(asked): Form<Tagging>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let camera = camera_of(&office, &camera).await?;
    tag(
        &office,
        &visit,
        camera.contract,
        Tagged::Camera(camera.id),
        &asked,
    )
    .await
}

pub async fn tag_site(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(site): Path<String>,
    Form(asked): Form<Tagging>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let id: SiteId = site.parse().map_err(|_| Problem::NotFound)?;
    let sites = office.store.sites().await?;
    let site = sites.into_iter().find(|site| site.id == id);
    let site = site.ok_or(Problem::NotFound)?;
    tag(
        &office,
        &visit,
        site.contract,
        Tagged::Site(site.id),
        &asked,
    )
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EventTagging {
    /// Its id, or the address of its page.
    event: String,
    tag: String,
    /// Takes it away.
    remove: String,
}

/// As `tag add --event` and `tag remove --event` do.
pub async fn tag_event(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
    Form(asked): Form<EventTagging>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let contract = form::contract(&office, &contract).await?.id;
    let event = labels::event(&office.store, contract, &asked.event).await;
    let event = match form::told(&visit, event)? {
        Ok(event) => event,
        Err(why) => return refused(&office, &visit, contract, &why).await,
    };
    let tagging = Tagging {
        tag: asked.tag,
        remove: asked.remove,
    };
    tag(&office, &visit, contract, Tagged::Event(event), &tagging).await
}

/// As `tag add` and `tag remove` do. Done already is done.
async fn tag(
    office: &Office,
    visit: &Visit,
    contract: ContractId,
    on: Tagged,
    asked: &Tagging,
) -> Result<Response, Problem> {
    if !asked.remove.is_empty() {
        let store = &office.store;
        store
            .remove_tag(contract, on, &asked.remove, visit.now)
            .await?;
        return Ok(back(contract, &on.id().to_string()));
    }
    let tag = match labels::tag(&asked.tag) {
        Ok(tag) => tag,
        Err(refusal) => {
            return refused(office, visit, contract, &form::says(visit, &refusal)).await;
        }
    };
    office.store.add_tag(contract, on, &tag, visit.now).await?;
    Ok(back(contract, &on.id().to_string()))
}

fn page(visit: &Visit, whole: &Whole, why: Option<&str>) -> Markup {
    let (w, detail) = (words(visit), &whole.detail);
    let home = format!("/operator/contracts/{}", detail.id);
    let body = html! {
        (form::back(&home, &detail.name))
        h1 { (w.places) }
        (form::complaint(why))
        @for site in &whole.sites { (site_of(visit, whole, site)) }
        (event_tags(visit, whole, &home))
        section.sheet {
            h2 { (w.add_site) }
            form method="post" action={ (home) "/sites" } {
                (text("name", w.name, "", None))
                button.primary type="submit" { (w.add_site) }
            }
        }
    };
    layout::page(visit, Tab::Contracts, w.places, &body)
}

/// Which events carry a tag, and a form for one more. Events are named by their id: what is on them is the customer's.
fn event_tags(visit: &Visit, whole: &Whole, home: &str) -> Markup {
    let (w, desk) = (words(visit), DeskWords::of(visit.lang));
    let action = format!("{home}/event-tags");
    let carried = || {
        let events = |row: &&TagRow| matches!(row.on, Tagged::Event(_));
        whole.tags.iter().filter(events)
    };
    html! {
        section.sheet #event-tags {
            h2 { (desk.event_tags) }
            @if carried().next().is_some() {
                ul.browsers {
                    @for row in carried() {
                        @let id = row.on.id().to_string();
                        li id={ "place-" (id) } {
                            b { (row.tag) }
                            span.code { (id) }
                            form method="post" action=(action) {
                                input type="hidden" name="event" value=(id);
                                button name="remove" value=(row.tag) aria-label=(visit.lang.remove_tag(&row.tag, &id)) { (w.tag_remove) }
                            }
                        }
                    }
                }
                p.hint { (desk.event_newest) }
            }
            form method="post" action=(action) {
                (text("event", desk.event_address, "", Some(desk.event_tags_hint)))
                div.field {
                    label for="event-tag" { (w.tags) }
                    input #event-tag name="tag" maxlength=(labels::LONGEST_TAG) autocomplete="off" required;
                }
                button type="submit" { (w.tag_add) }
            }
        }
    }
}

fn site_of(visit: &Visit, whole: &Whole, site: &SiteRow) -> Markup {
    let w = words(visit);
    let cameras = || whole.cameras.iter().filter(|camera| camera.site == site.id);
    html! {
        section.sheet id={ "place-" (site.id) } {
            h2 { (site.name) }
            (tags(visit, whole, Tagged::Site(site.id), &site.name))
            h3 { (visit.words().cameras) }
            @if cameras().next().is_none() { p.hint { (visit.words().no_cameras_of_device) } }
            @for camera in cameras() {
                div.account id={ "place-" (camera.id) } {
                    h3 { (camera.name) }
                    @if camera.name != camera.device_name { p.hint { (w.device_calls) ": " (camera.device_name) } }
                    form.row method="post" action={ "/operator/cameras/" (camera.id) "/name" } {
                        (named(&format!("name-{}", camera.id), "name", w.camera_name, &camera.name))
                        button type="submit" { (w.save) }
                    }
                    (tags(visit, whole, Tagged::Camera(camera.id), &camera.name))
                }
            }
            @if cameras().next().is_some() { p.hint { (w.camera_name_hint) } }
        }
    }
}

fn named(id: &str, name: &str, label: &str, value: &str) -> Markup {
    html! {
        div.field {
            label for=(id) { (label) }
            input id=(id) name=(name) value=(value) autocomplete="off";
        }
    }
}

fn tags(visit: &Visit, whole: &Whole, on: Tagged, place: &str) -> Markup {
    let w = words(visit);
    let action = format!("/operator/{}s/{}/tags", on.kind(), on.id());
    let carried = || whole.tags.iter().filter(|row| row.on == on);
    html! {
        @if carried().next().is_some() {
            ul.tag-list {
                @for row in carried() {
                    li {
                        form method="post" action=(action) {
                            span { (row.tag) }
                            button name="remove" value=(row.tag) aria-label=(visit.lang.remove_tag(&row.tag, place)) { (w.tag_remove) }
                        }
                    }
                }
            }
        }
        form.row method="post" action=(action) {
            (named(&format!("tag-{}", on.id()), "tag", w.tag_add, ""))
            button type="submit" { (w.tag_add) }
        }
    }
}
