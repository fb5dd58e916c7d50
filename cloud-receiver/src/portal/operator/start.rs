//! Where the operators' area begins: what needs the operator now, in plain words and with the way to it. Nothing when all is
//! well.

use super::form::{office, words};
use super::{Arrival, is_silent, receiver};
use crate::auth::session::OperatorSession;
use crate::capacity::{Forecast, Level, WINDOW_US, forecast};
use crate::erasure::{Standing, rules};
use crate::office::Office;
use crate::office::backups;
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{
    AlertBook, AlertKind, CapacityBook, ErasureBook, MailBook, MailChoice, OperatorDesk,
};
use axum::extract::{Query, State};
use maud::{Markup, html};

const DAY_US: i64 = 24 * 3_600_000_000;
/// A backup that is older is told of.
const BACKUP_OLD_DAYS: i64 = 7;
/// Of one kind; the rest is on the page that they lead to.
const MOST_OF_A_KIND: usize = 10;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Act,
    Know,
}

/// One thing in words, and where it is seen to.
struct Need {
    weight: Weight,
    text: String,
    to: String,
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Query(arrival): Query<Arrival>,
) -> Result<Markup, Problem> {
    let office = office(&state, &session)?;
    let mut needs = devices(&visit, &office).await?;
    needs.extend(contracts(&visit, &office).await?);
    needs.extend(letters(&visit, &office).await?);
    needs.extend(disk(&visit, &office).await?);
    needs.extend(backup(&visit, &office).await?);
    needs.sort_by_key(|need| need.weight == Weight::Know);
    let w = words(&visit);
    let body = html! {
        h1 { (w.start) }
        @if arrival.changed.is_some() { (layout::notice(Notice::Good, visit.words().password_changed)) }
        @if needs.is_empty() { (layout::notice(Notice::Good, w.start_well)) }
        @else {
            section.sheet {
                h2 { (w.start_needs) }
                ul.needs {
                    @for need in &needs {
                        li.act[need.weight == Weight::Act] {
                            @if need.weight == Weight::Act { (layout::icon_bad()) } @else { (layout::icon_pending()) }
                            a href=(need.to) { (need.text) }
                        }
                    }
                }
            }
        }
    };
    Ok(layout::page(&visit, Tab::Start, w.start, &body))
}

fn act(text: String, to: impl Into<String>) -> Need {
    Need {
        weight: Weight::Act,
        text,
        to: to.into(),
    }
}

fn know(text: String, to: impl Into<String>) -> Need {
    Need {
        weight: Weight::Know,
        ..act(text, to)
    }
}

/// Silent ones, certificates that were not renewed, other alerts, and files that are gone.
async fn devices(visit: &Visit, office: &Office) -> Result<Vec<Need>, Problem> {
    let mut reports = office.store.reports().await?;
    reports.retain(|report| report.listing.revoked_us.is_none());
    let lang = visit.lang;
    let at = |device| format!("/operator/devices#device-{device}");
    let mut needs = Vec::new();
    let silent = reports.iter().filter(|it| is_silent(it, visit.now));
    for it in silent.take(MOST_OF_A_KIND) {
        let of = &it.listing;
        let since = of.heard_us.map(|at| visit.short(at));
        let text = lang.is_silent_since(&of.site, &of.contract, since.as_deref());
        needs.push(act(text, at(of.device)));
    }
    let late = reports.iter().map(|it| &it.listing);
    let late = late.filter(|of| of.certificate.is_overdue(visit.now));
    for of in late.take(MOST_OF_A_KIND) {
        let until = visit.date(visit.date_of(of.certificate.not_after_us));
        let text = lang.certificate_runs_out(&of.site, &of.contract, &until);
        needs.push(act(text, at(of.device)));
    }
    let open = office.store.open_alerts().await?;
    let others = open
        .iter()
        .filter(|row| row.matter.kind != AlertKind::DeviceSilent);
    match others.count() {
        0 => {}
        count => needs.push(act(lang.alerts_are_open(count), "/operator/alerts")),
    }
    let gone: u64 = office
        .store
        .missing_blobs()
        .await?
        .iter()
        .map(|it| it.count)
        .sum();
    if gone > 0 {
        needs.push(act(lang.pictures_are_gone(gone), "/operator/devices"));
    }
    Ok(needs)
}

/// Ended ones: what is due, what is held up, and what nobody has said to be done.
async fn contracts(visit: &Visit, office: &Office) -> Result<Vec<Need>, Problem> {
    let rules = rules(&office.config.erasure);
    let mut needs = Vec::new();
    for ending in office.store.endings().await? {
        let standing = Standing::of(&ending, rules, visit.now);
        let standing = standing.map_err(|error| Problem::internal(format!("{error:#}")))?;
        let text = super::ending::standing(visit, &ending.name, &standing);
        let to = format!("/operator/contracts/{}/ending", ending.contract);
        needs.extend(match standing {
            Standing::Running => None,
            Standing::Erasing { .. } => Some(know(text, "/operator/erasures")),
            Standing::Due(due) if due.by_us > visit.now => Some(know(text, to)),
            Standing::Due(_) | Standing::AwaitingWork | Standing::Held { .. } => {
                Some(act(text, to))
            }
        });
    }
    Ok(needs)
}

async fn letters(visit: &Visit, office: &Office) -> Result<Vec<Need>, Problem> {
    let lost = office.store.mail(MailChoice::GivenUp).await?.len();
    let waiting = office.store.mail(MailChoice::Waiting).await?;
    let failing = waiting.iter().filter(|row| row.attempts > 0).count();
    let mut needs = Vec::new();
    if lost > 0 {
        needs.push(act(visit.lang.mails_failed(lost), "/operator/mail"));
    }
    if failing > 0 {
        needs.push(know(visit.lang.mails_failing(failing), "/operator/mail"));
    }
    Ok(needs)
}

/// By what was measured last: measuring anew takes seconds where there is much.
async fn disk(visit: &Visit, office: &Office) -> Result<Option<Need>, Problem> {
    let level = office.store.capacity_level().await?;
    if level == Level::Fine {
        return Ok(None);
    }
    let from = visit.now.plus_us(-WINDOW_US);
    let samples = office.store.samples_since(from).await?;
    let full = match forecast(&samples) {
        Forecast::Growing { full_us, .. } => Some(visit.date(visit.date_of(full_us))),
        _ => None,
    };
    let word = receiver::level(words(visit), level);
    let text = visit.lang.disk_is(word, full.as_deref());
    Ok(Some(act(text, "/operator/receiver#capacity")))
}

async fn backup(visit: &Visit, office: &Office) -> Result<Vec<Need>, Problem> {
    const TO: &str = "/operator/receiver#backups";
    let w = words(visit);
    let known = backups::known(&office.store).await?;
    let mut needs = Vec::new();
    match &known.made {
        None => needs.push(act(w.backup_never.to_owned(), TO)),
        Some(made) => {
            let days = visit.now.since_us(made.at_us) / DAY_US;
            if days > BACKUP_OLD_DAYS {
                needs.push(act(visit.lang.backup_is_old(days), TO));
            }
        }
    }
    if known.failed.is_some() {
        needs.push(act(format!("{}: {}", w.backups, w.backup_failed), TO));
    }
    if let Some(checked) = known.checked.filter(|it| it.problems > 0) {
        needs.push(act(visit.lang.backup_has_problems(checked.problems), TO));
    }
    Ok(needs)
}
