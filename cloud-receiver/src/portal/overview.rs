//! The first page: is everything well, what does each camera see, what happened lately.

use super::condition::Condition;
use super::layout::{self, Tab};
use super::problem::Problem;
use super::visit::Visit;
use super::words::thousands;
use super::{PortalState, timeline};
use crate::auth::session::Session;
use crate::store::{AlertKind, AlertRow, CameraOverview, EventFilter, EventRow, SiteOverview};
use axum::extract::{Path, State};
use maud::{Markup, html};
use wire::CameraId;

/// Events shown below the cameras.
const RECENT_EVENTS: u32 = 8;

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
) -> Result<Markup, Problem> {
    let store = &state.store;
    let recent = EventFilter::default();
    let (sites, events, alerts) = tokio::try_join!(
        store.overview(session.scope, visit.midnight_today()),
        store.events(session.scope, &recent, None, RECENT_EVENTS),
        store.alerts_of(session.scope),
    )?;
    Ok(page(&visit, &sites, &alerts, &events))
}

/// One camera's card, for a page that updates itself.
pub async fn card(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let id: CameraId = id.parse().map_err(|_| Problem::NotFound)?;
    let sites = state
        .store
        .overview(session.scope, visit.midnight_today())
        .await?;
    let camera = sites
        .iter()
        .flat_map(|site| &site.cameras)
        .find(|camera| camera.camera == id)
        .ok_or(Problem::NotFound)?;
    Ok(html! {
        (camera_card(&visit, camera))
        template data-swap="summary" { (summary(&visit, &sites)) }
    })
}

pub(super) fn page(
    visit: &Visit,
    sites: &[SiteOverview],
    alerts: &[AlertRow],
    events: &[EventRow],
) -> Markup {
    let words = visit.words();
    let body = html! {
        h1 { (words.overview) }
        @if sites.is_empty() {
            div.empty { h2 { (words.no_sites) } p { (words.no_sites_hint) } }
        } @else {
            div data-part="summary" { (summary(visit, sites)) }
            (clocks(visit, sites, alerts))
            @for site in sites { (site_section(visit, site)) }
            section.recent {
                div.section-head {
                    h2 { (words.recent_events) }
                    a.more href="/events" { (words.see_all_events) }
                }
                (timeline::list(visit, events, RECENT_EVENTS as usize))
            }
        }
    };
    layout::page(visit, Tab::Overview, words.overview, &body)
}

/// Clocks that are off. What is silent its card says by itself, and sooner.
fn clocks(visit: &Visit, sites: &[SiteOverview], alerts: &[AlertRow]) -> Markup {
    let off: Vec<String> = alerts
        .iter()
        .filter(|alert| alert.matter.kind == AlertKind::ClockOff)
        .filter_map(|alert| {
            let is_its = |camera: &&CameraOverview| camera.device == alert.matter.device;
            let site = sites
                .iter()
                .find(|site| site.cameras.iter().any(|camera| is_its(&camera)))?;
            let names: Vec<&str> = site
                .cameras
                .iter()
                .filter(is_its)
                .map(|camera| camera.name.as_str())
                .collect();
            let since = visit.short(alert.since_us);
            Some(visit.lang.clock_off_since(&site.name, &names, &since))
        })
        .collect();
    html! {
        @for sentence in &off { (layout::notice(layout::Notice::Wait, sentence)) }
    }
}

/// Today in one look: what was seen, and what is wrong in plain words.
fn summary(visit: &Visit, sites: &[SiteOverview]) -> Markup {
    let words = visit.words();
    let cameras: Vec<(&SiteOverview, &CameraOverview, Condition)> = sites
        .iter()
        .flat_map(|site| site.cameras.iter().map(move |camera| (site, camera)))
        .map(|(site, camera)| (site, camera, Condition::of(camera, visit.now)))
        .collect();
    let dead = cameras.iter().filter(|(_, _, c)| c.is_dead()).count();
    let blind = cameras.iter().filter(|(_, _, c)| c.is_blind()).count();
    let normal = cameras
        .iter()
        .filter(|(_, _, condition)| *condition == Condition::Normal)
        .count();
    html! {
        div.summary {
            section.today aria-label=(words.today_events) {
                p.today-date { (words.today) " " (visit.short_date(visit.today())) }
                (counts(visit, &today_by_class(sites)))
            }
            section.state {
                p.state-line {
                    span { (visit.lang.sites_count(sites.len())) }
                    @if normal > 0 {
                        span.mark-good { (layout::icon_good()) (visit.lang.cameras_normal(normal)) }
                    }
                    @if dead > 0 {
                        span.mark-bad { (layout::icon_bad()) (visit.lang.cameras_silent(dead)) }
                    }
                    @if blind > 0 {
                        span.mark-bad { (layout::icon_bad()) (visit.lang.cameras_blind(blind)) }
                    }
                }
                @if normal > 0 && normal == cameras.len() { p.calm { (words.all_well) } }
                @if dead + blind > 0 {
                    ul.troubles aria-label=(words.needs_attention) {
                        @for (site, camera, condition) in &cameras {
                            @if let Some(sentence) = condition.sentence(&camera.name, visit) {
                                li {
                                    (layout::icon_bad())
                                    p {
                                        @if sites.len() > 1 { span.trouble-site { (site.name) } " " }
                                        (sentence)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn site_section(visit: &Visit, site: &SiteOverview) -> Markup {
    html! {
        section.site {
            h2 { (site.name) }
            @if site.cameras.is_empty() {
                p.empty { (visit.words().no_cameras) }
            } @else {
                ul.cameras {
                    @for camera in &site.cameras { (camera_card(visit, camera)) }
                }
            }
        }
    }
}

/// The latest picture with its age; plainly dead when it is.
pub(super) fn camera_card(visit: &Visit, camera: &CameraOverview) -> Markup {
    let words = visit.words();
    let condition = Condition::of(camera, visit.now);
    let dead_since = match condition {
        Condition::Dead { since_us, .. } => Some(since_us),
        _ => None,
    };
    html! {
        li.camera.dead[condition.is_dead()].blind[condition.is_blind()] data-camera=(camera.camera) {
            a href={ "/events?camera=" (camera.camera) } {
                div.camera-head {
                    h3 { (camera.name) }
                    @match condition {
                        Condition::Normal => span.mark-good { (layout::icon_good()) (words.normal) },
                        Condition::Starting => span.mark-wait { (layout::icon_pending()) (words.starting) },
                        Condition::Blind { .. } => span.mark-bad { (layout::icon_bad()) (words.cannot_see) },
                        Condition::Dead { .. } => span.mark-bad { (layout::icon_bad()) (words.not_responding) },
                    }
                }
                div.camera-picture {
                    @match &camera.latest_picture {
                        Some(picture) => {
                            img src={ "/media/" (picture.sha256) } width=(picture.width) height=(picture.height)
                                alt=(visit.lang.picture_of(&camera.name)) decoding="async";
                        }
                        None => p.no-picture { (words.no_picture_yet) },
                    }
                    @if let Some(since) = dead_since {
                        p.dead-label {
                            (words.not_responding)
                            @if let Some(since) = since { " " span.tabular { (visit.lang.since(&visit.short(since))) } }
                        }
                    }
                }
                div.camera-foot {
                    (counts(visit, &camera.today))
                    @if let Some(picture) = &camera.latest_picture {
                        p.age { span.hidden-word { (words.latest_picture) " " } (layout::age(visit, picture.captured_at_us)) }
                    }
                }
            }
            @if let Some(sentence) = condition.sentence(&camera.name, visit) {
                p.sentence {
                    (sentence)
                    @if let (true, Some(blind)) = (condition.is_blind(), &camera.blind) {
                        " " a href={ "/events/" (blind.event) } { (words.before_and_after) }
                    }
                }
            }
        }
    }
}

fn counts(visit: &Visit, by_class: &[(String, u64)]) -> Markup {
    let words = visit.words();
    html! {
        @if by_class.iter().all(|(_, count)| *count == 0) {
            p.counts.none { (words.today_events) ": " (words.none_yet_today) }
        } @else {
            ul.counts aria-label=(words.today_events) {
                @for (class, count) in by_class {
                    @if *count > 0 {
                        li { span { (words.class_name(class)) } " " b.tabular { (thousands(*count)) } }
                    }
                }
            }
        }
    }
}

/// The sums over all cameras, most frequent first.
fn today_by_class(sites: &[SiteOverview]) -> Vec<(String, u64)> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    let all = sites.iter().flat_map(|site| &site.cameras);
    for (class, count) in all.flat_map(|camera| &camera.today) {
        match sums.iter_mut().find(|(known, _)| known == class) {
            Some((_, sum)) => *sum += count,
            None => sums.push((class.clone(), *count)),
        }
    }
    sums.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    sums
}
