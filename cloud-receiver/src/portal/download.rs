//! Taking everything home: one file for each day, so that none is too long to be fetched again, each with its size.

use super::PortalState;
use super::guard::form_query;
use super::layout::{self, Tab};
use super::problem::Problem;
use super::visit::Visit;
use super::words::{DownloadWords, thousands};
use crate::auth::session::Session;
use crate::store::{EventFilter, SiteOverview, SplitBy, Stock};
use axum::extract::{Query, State};
use jiff::ToSpan;
use jiff::civil::Date;
use maud::{Markup, html};
use serde::Deserialize;
use wire::UtcMicros;

/// Days of one page.
const MOST_DAYS: i32 = 31;
const USUAL_DAYS: i32 = 7;

/// As the form writes it. What cannot be read counts as not given.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    site: String,
    #[serde(default)]
    camera: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    until: String,
}

impl Asked {
    /// In order; never more than [`MOST_DAYS`].
    fn days(&self, visit: &Visit) -> Vec<Date> {
        let last = self.until.parse().unwrap_or_else(|_| visit.today());
        let usual = last.saturating_sub((USUAL_DAYS - 1).days());
        let first: Date = self.from.parse().unwrap_or(usual);
        let first = first
            .max(last.saturating_sub((MOST_DAYS - 1).days()))
            .min(last);
        let mut days = vec![first];
        while let Some(day) = days.last().copied().filter(|day| *day < last) {
            days.push(day.saturating_add(1.day()));
        }
        days
    }

    fn filter(&self) -> EventFilter {
        EventFilter {
            site: self.site.parse().ok(),
            camera: self.camera.parse().ok(),
            ..EventFilter::default()
        }
    }

    fn file(&self, day: Date) -> String {
        let day = day.to_string();
        let pairs = [
            ("site", self.site.as_str()),
            ("camera", &self.camera),
            ("day", &day),
        ];
        let pairs: Vec<_> = pairs
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        format!("/export?{}", form_query(&pairs))
    }
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Problem> {
    let days = asked.days(&visit);
    let mut edges: Vec<UtcMicros> = days.iter().map(|day| visit.start_of(*day)).collect();
    edges.extend(days.last().map(|day| visit.end_of(*day)));
    let (store, scope, filter) = (&state.store, session.scope, asked.filter());
    let (counts, stock, sites) = tokio::try_join!(
        store.event_counts(scope, &filter, edges.clone(), SplitBy::Class),
        store.stock(scope, &filter, edges.clone()),
        store.overview(scope, visit.midnight_today()),
    )?;
    let events = |day: usize| counts.iter().map(|one| one.counts[day]).sum();
    let rows: Vec<Row> = days
        .iter()
        .zip(stock)
        .enumerate()
        .map(|(index, (day, stock))| Row {
            day: *day,
            events: events(index),
            stock,
        })
        .collect();
    Ok(page(&visit, &asked, &sites, &rows))
}

struct Row {
    day: Date,
    events: u64,
    stock: Stock,
}

fn page(visit: &Visit, asked: &Asked, sites: &[SiteOverview], rows: &[Row]) -> Markup {
    let words = DownloadWords::of(visit.lang);
    let body = html! {
        h1 { (words.download) }
        p { (words.intro) " " (words.resumable) }
        (form(visit, asked, sites, rows))
        div.sheet.wide-table tabindex="0" role="region" aria-label=(words.download) {
            table.downloads {
                thead {
                    tr {
                        th scope="col" { (words.day) }
                        th.number scope="col" { (words.events) }
                        th.number.spare scope="col" { (words.pictures) }
                        th.number scope="col" { (words.size) }
                        th scope="col" { (words.file) }
                    }
                }
                tbody {
                    @for row in rows.iter().rev() {
                        @let day = visit.short_date(row.day);
                        tr {
                            th scope="row" { (day) }
                            td.number.tabular { (thousands(row.events)) }
                            td.number.spare.tabular { (thousands(row.stock.pictures)) }
                            td.number.tabular { (visit.lang.size(row.stock.bytes)) }
                            td {
                                @if row.day > visit.today() || row.events + row.stock.pictures == 0 {
                                    (words.nothing)
                                } @else {
                                    a.button href=(asked.file(row.day)) download aria-label=(visit.lang.download_of(&day)) {
                                        (words.get)
                                    }
                                }
                            }
                        }
                    }
                }
                tfoot {
                    tr {
                        th scope="row" { (words.total) }
                        td.number.tabular { (thousands(rows.iter().map(|row| row.events).sum())) }
                        td.number.spare.tabular { (thousands(rows.iter().map(|row| row.stock.pictures).sum())) }
                        td.number.tabular { (visit.lang.size(rows.iter().map(|row| row.stock.bytes).sum())) }
                        td {}
                    }
                }
            }
        }
        p.hint { (words.size_hint) " " (visit.words().export_hint) }
    };
    layout::page(visit, Tab::Download, words.download, &body)
}

fn form(visit: &Visit, asked: &Asked, sites: &[SiteOverview], rows: &[Row]) -> Markup {
    let (words, all) = (DownloadWords::of(visit.lang), visit.words());
    let (first, last) = (rows.first(), rows.last());
    html! {
        form.chart-form method="get" action="/download" {
            div.field {
                label for="from" { (words.first_day) }
                input #from type="date" name="from" value=[first.map(|row| row.day)] max=(visit.today());
            }
            div.field {
                label for="until" { (words.last_day) }
                input #until type="date" name="until" value=[last.map(|row| row.day)] max=(visit.today());
            }
            div.field {
                label for="site" { (all.site) }
                select #site name="site" {
                    option value="" { (all.all) }
                    @for site in sites {
                        option value=(site.site) selected[asked.site == site.site.to_string()] { (site.name) }
                    }
                }
            }
            div.field {
                label for="camera" { (all.camera) }
                select #camera name="camera" {
                    option value="" { (all.all) }
                    @for camera in sites.iter().flat_map(|site| &site.cameras) {
                        option value=(camera.camera) selected[asked.camera == camera.camera.to_string()] { (camera.name) }
                    }
                }
            }
            div.actions { button.primary type="submit" { (words.show) } }
        }
    }
}
