//! How many, hour by hour: people and vehicles in view, added up over the minutes; and of one camera what crossed its
//! lines, in and out, and the most that were in each of its zones.
//!
//! Who stays is counted anew each minute: the sum over an hour is no number of people, and the chart says so.
//!
//! Plain SVG that scales with the page, each with its largest numbers written on it; one table says all of it.

use crate::portal::PortalState;
use crate::portal::visit::Visit;
use crate::portal::words::thousands;
use crate::store::{ContractScope, CountSeries, EventFilter, StoreError, Window};
use maud::{Markup, html};
use wire::UtcMicros;

const HOUR_US: i64 = 3_600_000_000;
/// Heights in pixels: the bars, and above them the number of the highest.
const BARS_HEIGHT: f64 = 44.0;
const NUMBER_HEIGHT: f64 = 16.0;

/// What the charts show. Empty where nothing was counted.
#[derive(Debug, Default)]
pub(in crate::portal) struct Counts {
    hours: Vec<Window>,
    charts: Vec<Chart>,
}

/// One or two rows of bars with one scale: what is counted, or `in` and `out` of a line.
#[derive(Debug, PartialEq, Eq)]
struct Chart {
    title: String,
    /// What the number means, where it is not how many passed.
    note: Option<&'static str>,
    of: Of,
    rows: Vec<Bars>,
}

/// Charts stand in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Picture,
    Line,
    Zone,
}

#[derive(Debug, PartialEq, Eq)]
struct Bars {
    /// Of this row within its chart.
    label: Option<String>,
    values: Vec<u64>,
}

impl Counts {
    /// Of the window's hours. Lines and zones have their names within a camera, so they are told of one alone.
    pub(super) async fn read(
        state: &PortalState,
        scope: ContractScope,
        visit: &Visit,
        filter: &EventFilter,
        window: Window,
    ) -> Result<Self, StoreError> {
        let hours = hours(window);
        let whole = Window {
            to_us: hours.last().map_or(window.to_us, |hour| hour.to_us),
            ..window
        };
        let steps = u32::try_from(hours.len()).unwrap_or(u32::MAX);
        let series = state.store.counts(scope, filter, whole, steps).await?;
        let charts = charts(visit, &series, filter.camera.is_some());
        Ok(Self { hours, charts })
    }

    pub(super) fn draw(&self, visit: &Visit) -> Markup {
        html! {
            @if !self.charts.is_empty() {
                section.tally data-part="counts" {
                    h2 { (visit.words().counts) }
                    div.tally-charts { @for chart in &self.charts { (self.chart(visit, chart)) } }
                    (self.table(visit))
                }
            }
        }
    }

    fn chart(&self, visit: &Visit, chart: &Chart) -> Markup {
        let highest = chart.rows.iter().flat_map(|row| &row.values).max();
        let highest = highest.copied().unwrap_or(0).max(1);
        html! {
            figure.tally-chart {
                figcaption {
                    b { (chart.title) }
                    @if let Some(note) = chart.note { " " span.hint { (note) } }
                }
                @for row in &chart.rows {
                    div.tally-row {
                        @if let Some(label) = &row.label { span.tally-label { (label) } }
                        (self.bars(&row.values, highest))
                    }
                }
                ol.tally-hours.tabular aria-hidden="true" {
                    @for hour in self.hours.iter().step_by(self.hours.len().div_ceil(8).max(1)) {
                        li { (visit.short_minute(hour.from_us)) }
                    }
                }
            }
        }
    }

    /// The highest bar, the first of equals, bears its number. Whoever hears the page has the table.
    fn bars(&self, values: &[u64], highest: u64) -> Markup {
        let width = 100.0 / self.hours.len().max(1) as f64;
        let peak = values.iter().copied().max().unwrap_or(0);
        let at_peak = values.iter().position(|value| *value == peak && peak > 0);
        let base = BARS_HEIGHT + NUMBER_HEIGHT;
        html! {
            svg.tally-bars width="100%" height=(base + 1.0) aria-hidden="true" {
                line.strip-base x1="0" x2="100%" y1=(base) y2=(base) {}
                @for (hour, value) in values.iter().enumerate().filter(|(_, value)| **value > 0) {
                    @let height = (*value as f64 / highest as f64 * BARS_HEIGHT).max(2.0);
                    rect.strip-bar x=(percent(hour as f64 * width + width * 0.12)) width=(percent(width * 0.76))
                        y=(format!("{:.1}", base - height)) height=(format!("{height:.1}")) {}
                    @if at_peak == Some(hour) {
                        text.tally-number x=(percent((hour as f64 + 0.5) * width)) text-anchor=(anchor(hour, values.len()))
                            y=(format!("{:.1}", base - height - 4.0)) { (thousands(*value)) }
                    }
                }
            }
        }
    }

    /// The hours in which anything was counted.
    fn table(&self, visit: &Visit) -> Markup {
        let words = visit.words();
        let columns: Vec<(String, &Bars)> = self
            .charts
            .iter()
            .flat_map(|chart| chart.rows.iter().map(move |row| (heading(chart, row), row)))
            .collect();
        let value = |row: &Bars, hour: usize| row.values.get(hour).copied().unwrap_or(0);
        html! {
            details.strip-table {
                summary { (words.strip_table) }
                div.wide-table tabindex="0" role="group" aria-label=(words.counts) {
                    table {
                        thead {
                            tr {
                                th scope="col" { (words.strip_hours) }
                                @for (heading, _) in &columns { th.number scope="col" { (heading) } }
                            }
                        }
                        tbody {
                            @for (number, hour) in self.hours.iter().enumerate() {
                                @if columns.iter().any(|(_, row)| value(row, number) > 0) {
                                    tr {
                                        th.tabular scope="row" {
                                            (visit.lang.from_to(&visit.minute(hour.from_us), &visit.minute(hour.to_us)))
                                        }
                                        @for (_, row) in &columns {
                                            td.number.tabular { (thousands(value(row, number))) }
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
}

/// The window cut into hours; the last one whole.
fn hours(window: Window) -> Vec<Window> {
    let number = window.to_us.since_us(window.from_us).max(1);
    let number = (number + HOUR_US - 1) / HOUR_US;
    let at = |hour: i64| UtcMicros(window.from_us.0 + hour * HOUR_US);
    (0..number)
        .map(|hour| Window {
            from_us: at(hour),
            to_us: at(hour + 1),
        })
        .collect()
}

fn charts(visit: &Visit, series: &[CountSeries], of_one_camera: bool) -> Vec<Chart> {
    let words = visit.words();
    let class = |series: &CountSeries| words.class_name(&series.what.class).to_owned();
    let mut charts: Vec<Chart> = Vec::new();
    for one in series {
        let (of, title, note, row) = match (&one.what.line, &one.what.zone) {
            (None, None) => {
                let row = bars(None, &one.counts);
                (Of::Picture, class(one), Some(words.counts_picture), row)
            }
            (_, _) if !of_one_camera => continue,
            (Some(line), _) => {
                let way = one.what.direction.as_deref();
                let way = way.map(|way| visit.lang.way(way).to_owned());
                let title = format!("{} · {}", visit.lang.line_heading(line), class(one));
                (Of::Line, title, None, bars(way, &one.counts))
            }
            (None, Some(zone)) => {
                let peaks: Vec<u64> = one.peaks.iter().map(|p| p.unwrap_or(0).into()).collect();
                let title = format!("{zone} · {}", class(one));
                (Of::Zone, title, Some(words.counts_zone), bars(None, &peaks))
            }
        };
        if row.values.iter().all(|value| *value == 0) {
            continue;
        }
        // Both ways over a line stand in one chart: the series are sorted by what they count.
        match charts
            .iter_mut()
            .find(|chart| of == Of::Line && chart.of == of && chart.title == title)
        {
            Some(chart) => chart.rows.push(row),
            None => charts.push(Chart {
                title,
                note,
                of,
                rows: vec![row],
            }),
        }
    }
    // Stable: within each kind they stay sorted by what they count.
    charts.sort_by_key(|chart| chart.of);
    charts
}

fn bars(label: Option<String>, values: &[u64]) -> Bars {
    Bars {
        label,
        values: values.to_vec(),
    }
}

fn heading(chart: &Chart, row: &Bars) -> String {
    match (&row.label, chart.note) {
        (Some(label), _) => format!("{} {label}", chart.title),
        (None, Some(note)) => format!("{} {note}", chart.title),
        (None, None) => chart.title.clone(),
    }
}

/// So that a number at the edge stays on the page.
fn anchor(hour: usize, hours: usize) -> &'static str {
    match hour {
        0 => "start",
        last if last + 1 == hours => "end",
        _ => "middle",
    }
}

fn percent(share: f64) -> String {
    format!("{share:.3}%")
}
