//! How many events when: by hour, day or week, split by class or camera; as bars, as a table, as a file.
//!
//! Read from what is counted by hour as events change, so a year costs no more than a look at these counts. Drawn here as
//! SVG: one small chart for each class or camera, with its name, its sum and its highest bar written on it.

mod span;

use super::PortalState;
use super::layout::{self, Tab};
use super::problem::Problem;
use super::timeline::{Choices, deleted_before};
use super::visit::Visit;
use super::words::{ChartWords, thousands};
use crate::auth::session::Session;
use crate::csv;
use crate::store::{EventCounts, SplitBy};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use span::{Asked, By};
use wire::UtcMicros;

/// Charts on one page; the table and the file hold all.
const MOST_CHARTS: usize = 24;
const BARS_HEIGHT: f64 = 96.0;

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Problem> {
    let chart = Chart::read(&state, &visit, &session, &asked).await?;
    Ok(page(&visit, &asked, &chart))
}

pub async fn file(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let chart = Chart::read(&state, &visit, &session, &asked).await?;
    let name = format!("events-{}.csv", asked.until(&visit));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, csv::file(chart.lines(&visit))).into_response())
}

/// What is drawn, most frequent first.
struct Chart {
    by: By,
    edges: Vec<UtcMicros>,
    /// Before then records were deleted as agreed, and the chart reaches so far back.
    deleted: Option<UtcMicros>,
    /// The name of each series, and what was counted.
    series: Vec<(String, Vec<u64>)>,
    choices: Choices,
}

impl Chart {
    async fn read(
        state: &PortalState,
        visit: &Visit,
        session: &Session,
        asked: &Asked,
    ) -> Result<Self, Problem> {
        let (store, scope) = (&state.store, session.scope);
        let (edges, filter) = (asked.edges(visit), asked.filter());
        let (counts, sites, classes, deleted) = tokio::try_join!(
            store.event_counts(scope, &filter, edges.clone(), asked.split()),
            store.overview(scope, visit.midnight_today()),
            store.classes(scope),
            store.records_before(scope),
        )?;
        let deleted = deleted.filter(|before| edges.first().is_some_and(|from| from < before));
        let choices = Choices {
            sites,
            classes,
            tags: Vec::new(),
        };
        let mut series: Vec<(String, Vec<u64>)> = counts
            .into_iter()
            .map(|one| (name(visit, asked.split(), &choices, &one), one.counts))
            .collect();
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        series.sort_by(|one, other| sum(&other.1).cmp(&sum(&one.1)).then(one.0.cmp(&other.0)));
        Ok(Self {
            by: asked.by(),
            edges,
            deleted,
            series,
            choices,
        })
    }

    fn bars(&self) -> usize {
        self.edges.len() - 1
    }

    /// The table, heading first.
    fn lines(&self, visit: &Visit) -> Vec<Vec<String>> {
        let words = ChartWords::of(visit.lang);
        let mut heading = vec![words.begins.to_owned(), words.weekday.to_owned()];
        heading.extend(self.series.iter().map(|(name, _)| name.clone()));
        heading.push(words.total.to_owned());
        let mut lines = vec![heading];
        for (bar, at) in self.edges[..self.bars()].iter().enumerate() {
            let mut line = vec![
                span::name_of(self.by, visit, *at),
                visit.weekday(visit.date_of(*at)),
            ];
            line.extend(
                self.series
                    .iter()
                    .map(|(_, counts)| counts[bar].to_string()),
            );
            let total: u64 = self.series.iter().map(|(_, counts)| counts[bar]).sum();
            line.push(total.to_string());
            lines.push(line);
        }
        lines
    }
}

fn name(visit: &Visit, split: SplitBy, choices: &Choices, counts: &EventCounts) -> String {
    match split {
        SplitBy::Class => visit.words().class_name(&counts.of).to_owned(),
        SplitBy::Camera => {
            let many_sites = choices.sites.len() > 1;
            let all = choices.sites.iter();
            let mut all =
                all.flat_map(|site| site.cameras.iter().map(move |camera| (site, camera)));
            match all.find(|(_, camera)| camera.camera.to_string() == counts.of) {
                Some((site, camera)) if many_sites => format!("{} ({})", camera.name, site.name),
                Some((_, camera)) => camera.name.clone(),
                // One that was taken away.
                None => format!("{} {}", visit.words().camera, &counts.of[..8]),
            }
        }
    }
}

fn page(visit: &Visit, asked: &Asked, chart: &Chart) -> Markup {
    let words = ChartWords::of(visit.lang);
    let csv = match asked.query() {
        query if query.is_empty() => "/charts.csv".to_owned(),
        query => format!("/charts.csv?{query}"),
    };
    let body = html! {
        div.section-head { h1 { (words.charts) } }
        (form(visit, asked, &chart.choices))
        @if let Some(before) = chart.deleted { p.hint { (deleted_before(visit, before)) } }
        @if chart.series.is_empty() {
            div.empty { h2 { (words.nothing) } p { (words.nothing_hint) } }
        } @else {
            p.hint {
                (words.opened_in)
                @if chart.by == By::Day {
                    " " span.legend-off { svg width="16" height="16" aria-hidden="true" { rect.chart-off width="16" height="16" {} } }
                    " " (words.days_off)
                }
            }
            div.charts {
                @for (name, counts) in chart.series.iter().take(MOST_CHARTS) { (drawn(visit, chart, name, counts)) }
            }
            @if chart.series.len() > MOST_CHARTS {
                p.hint { (visit.lang.more_series(chart.series.len() - MOST_CHARTS)) }
            }
            (table(visit, chart))
            div.export {
                a.button href=(csv) download { (words.csv) }
                p.hint { (words.csv_hint) }
            }
        }
    };
    layout::page(visit, Tab::Charts, words.charts, &body)
}

fn form(visit: &Visit, asked: &Asked, choices: &Choices) -> Markup {
    let (words, all) = (ChartWords::of(visit.lang), visit.words());
    let by = match asked.by() {
        By::Hour => "hour",
        By::Day => "day",
        By::Week => "week",
    };
    let split = match asked.split() {
        SplitBy::Class => "class",
        SplitBy::Camera => "camera",
    };
    let option = |value: &str, chosen: bool, text: &str| html! { option value=(value) selected[chosen] { (text) } };
    html! {
        form.chart-form method="get" action="/charts" {
            div.field {
                label for="by" { (words.by) }
                select #by name="by" {
                    (option("hour", by == "hour", words.by_hour))
                    (option("day", by == "day", words.by_day))
                    (option("week", by == "week", words.by_week))
                }
            }
            div.field {
                label for="split" { (words.split) }
                select #split name="split" {
                    (option("class", split == "class", words.split_class))
                    (option("camera", split == "camera", words.split_camera))
                }
            }
            div.field {
                label for="site" { (all.site) }
                select #site name="site" {
                    (option("", asked.site.is_empty(), all.all))
                    @for site in &choices.sites {
                        @let id = site.site.to_string();
                        (option(&id, asked.site == id, &site.name))
                    }
                }
            }
            div.field {
                label for="camera" { (all.camera) }
                select #camera name="camera" {
                    (option("", asked.camera.is_empty(), all.all))
                    @for camera in choices.sites.iter().flat_map(|site| &site.cameras) {
                        @let id = camera.camera.to_string();
                        (option(&id, asked.camera == id, &camera.name))
                    }
                }
            }
            div.field {
                label for="class" { (all.class) }
                select #class name="class" {
                    (option("", asked.class.is_empty(), all.all))
                    @for class in &choices.classes { (option(class, asked.class == *class, all.class_name(class))) }
                }
            }
            div.field {
                label for="days" { (words.days) }
                select #days name="days" {
                    @if !span::PERIODS.contains(&asked.days()) {
                        (option(&asked.days().to_string(), true, &visit.lang.chart_days(asked.days())))
                    }
                    @for days in span::PERIODS {
                        (option(&days.to_string(), asked.days() == days, &visit.lang.chart_days(days)))
                    }
                }
            }
            div.field {
                label for="until" { (words.until) }
                input #until type="date" name="until" value=(asked.until(visit)) max=(visit.today());
            }
            div.actions { button.primary type="submit" { (all.filter_apply) } }
        }
    }
}

/// One class or camera: its name, its bars, its highest one.
fn drawn(visit: &Visit, chart: &Chart, name: &str, counts: &[u64]) -> Markup {
    let bars = counts.len().max(1);
    let (most, total) = (
        counts.iter().copied().max().unwrap_or(0),
        counts.iter().sum(),
    );
    let highest = counts.iter().position(|count| *count == most).unwrap_or(0);
    let when = match chart.by {
        By::Hour => visit.short(chart.edges[highest]),
        By::Day | By::Week => visit.short_date(visit.date_of(chart.edges[highest])),
    };
    let summary = visit.lang.chart_summary(total, most, &when);
    let width = 100.0 / bars as f64;
    html! {
        figure.chart {
            figcaption { h2 { (name) } p.tabular { (summary) } }
            svg.chart-picture width="100%" height="124" role="img" aria-label={ (name) ": " (summary) } {
                @for (bar, at) in chart.edges[..bars].iter().enumerate() {
                    @if chart.by == By::Day && span::is_day_off(visit.date_of(*at)) {
                        rect.chart-off x=(percent(bar as f64 * width)) y="0" width=(percent(width)) height=(BARS_HEIGHT) {}
                    }
                }
                line.strip-base x1="0" x2="100%" y1=(BARS_HEIGHT) y2=(BARS_HEIGHT) {}
                @for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    @let height = (*count as f64 / most.max(1) as f64 * (BARS_HEIGHT - 18.0)).max(2.0);
                    rect.strip-bar x=(percent((bar as f64 + 0.1) * width)) width=(percent(width * 0.8))
                        y=(format!("{:.1}", BARS_HEIGHT - height)) height=(format!("{height:.1}")) {
                        title { (span::name_of(chart.by, visit, chart.edges[bar])) " " (thousands(*count)) }
                    }
                }
                // Written so that it stays inside at both ends.
                @let share = (highest as f64 + 0.5) * width;
                @let anchor = if share < 8.0 { "start" } else if share > 92.0 { "end" } else { "middle" };
                text.chart-most.tabular x=(percent(share)) y="12" text-anchor=(anchor) { (thousands(most)) }
                @for (bar, at) in chart.edges[..bars].iter().enumerate() {
                    @if span::is_named(chart.by, visit, *at, bars) {
                        @let x = bar as f64 * width;
                        line.chart-tick x1=(percent(x)) x2=(percent(x)) y1=(BARS_HEIGHT) y2=(BARS_HEIGHT + 5.0) {}
                        @if x < 92.0 { text.chart-when.tabular x=(percent(x)) y=(BARS_HEIGHT + 20.0) { (axis(visit, chart.by, *at)) } }
                    }
                }
            }
        }
    }
}

fn axis(visit: &Visit, by: By, at: UtcMicros) -> String {
    let date = visit.date_of(at);
    match by {
        By::Hour if at != visit.start_of(date) => visit.short_minute(at),
        _ => format!("{}/{}", date.month(), date.day()),
    }
}

fn percent(share: f64) -> String {
    format!("{share:.3}%")
}

fn table(visit: &Visit, chart: &Chart) -> Markup {
    let mut lines = chart.lines(visit).into_iter();
    let heading = lines.next().unwrap_or_default();
    let number = |text: &str| text.parse().map_or_else(|_| text.to_owned(), thousands);
    html! {
        details.strip-table.chart-table {
            summary { (ChartWords::of(visit.lang).as_table) }
            div.wide-table tabindex="0" role="region" aria-label=(ChartWords::of(visit.lang).as_table) {
                table {
                    thead { tr { @for cell in &heading { th scope="col" { (cell) } } } }
                    tbody {
                        @for line in lines {
                            tr {
                                @for (place, cell) in line.iter().enumerate() {
                                    @if place == 0 { th.tabular scope="row" { (cell) } } @else { td.tabular { (number(cell)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
