//! The day in one strip: how many events when, and what is missing, each kind with a pattern and a word of its own.
//!
//! Plain SVG and links: a part of the day opens larger, a gap leads to its card in the list. A table says the same.

use super::{Asked, gap, gaps_of};
use crate::portal::PortalState;
use crate::portal::gaps::{Gap, Look};
use crate::portal::visit::Visit;
use crate::portal::words::thousands;
use crate::store::{ContractScope, EventFilter, StoreError, Window};
use maud::{Markup, html};
use wire::UtcMicros;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
/// Lengths of a bar, in minutes, and how many bars there may be.
const STEPS_MINUTES: [i64; 5] = [1, 5, 15, 30, 60];
const MOST_STEPS: i64 = 96;
/// Heights in pixels: the bars, and below them the lane of the gaps.
const BARS_HEIGHT: f64 = 56.0;
const LANE_TOP: f64 = 60.0;
const LANE_HEIGHT: f64 = 22.0;
/// No gap is drawn narrower than this share of the strip: it must be seen and touched.
const LEAST_WIDTH: f64 = 0.8;

/// What the strip shows.
#[derive(Debug)]
pub(in crate::portal) struct Strip {
    window: Window,
    step_minutes: i64,
    counts: Vec<u64>,
    gaps: Vec<Gap>,
}

/// The time that is filtered by; today if none is.
pub(super) fn window(visit: &Visit, filter: &EventFilter) -> Window {
    let from_us = filter.from_us.unwrap_or(visit.midnight_today());
    let to_us = filter.to_us.unwrap_or(visit.end_of(visit.today()));
    Window {
        from_us,
        to_us: to_us.max(from_us.plus_us(MINUTE_US)),
    }
}

impl Strip {
    pub(super) async fn read(
        state: &PortalState,
        scope: ContractScope,
        visit: &Visit,
        filter: &EventFilter,
    ) -> Result<Self, StoreError> {
        let window = window(visit, filter);
        let minutes = window.to_us.since_us(window.from_us) / MINUTE_US;
        let step_minutes = STEPS_MINUTES
            .into_iter()
            .find(|step| minutes / step <= MOST_STEPS)
            .unwrap_or(60);
        let steps = u32::try_from((minutes / step_minutes).max(1)).unwrap_or(u32::MAX);
        let (counts, gaps) = tokio::try_join!(
            state.store.density(scope, filter, window, steps),
            gaps_of(state, scope, visit, filter, window),
        )?;
        Ok(Self {
            window,
            step_minutes,
            counts,
            gaps,
        })
    }

    pub(super) fn draw(&self, visit: &Visit, asked: &Asked) -> Markup {
        let words = visit.words();
        let parts = self.parts();
        html! {
            div.strip-head {
                h2 { (self.title(visit)) }
                @if !self.is_whole_day(visit) { (whole_day(visit, asked)) }
                p.tabular { (visit.lang.events_count(self.counts.iter().sum())) }
            }
            div class={ "strip-body parts-" (parts.len()) } {
                svg.strip-picture width="100%" height="84" role="group" aria-label=(words.strip) {
                    (patterns())
                    (self.grid(parts.len()))
                    (self.bars())
                    (self.future(visit.now))
                    rect.strip-lane x="0" y=(LANE_TOP) width="100%" height=(LANE_HEIGHT) {}
                    @for look in [Look::Awaited, Look::Stopped, Look::Lost] {
                        @for gap in self.gaps.iter().filter(|gap| gap.look() == look) {
                            (self.drawn_gap(visit, asked, gap))
                        }
                    }
                }
                @if parts.len() > 1 {
                    nav.strip-zoom aria-label=(words.strip_zoom) data-from=(self.minute_of_day(visit))
                        data-minutes=(self.minutes()) {
                        @for part in &parts { (self.zoom(visit, asked, *part)) }
                    }
                }
                ol.strip-hours.tabular aria-hidden="true" {
                    @for part in &parts { li { (visit.short_minute(part.from_us)) } }
                }
            }
            (self.legend(visit))
            (self.table(visit))
        }
    }

    fn title(&self, visit: &Visit) -> Markup {
        let day = visit.date_of(self.window.from_us);
        let (from, to) = (
            visit.minute(self.window.from_us),
            visit.minute(self.window.to_us),
        );
        html! {
            @if day == visit.today() { (visit.words().today) " " }
            (visit.short_date(day))
            @if !self.is_whole_day(visit) { " " span.tabular { (visit.lang.from_to(&from, &to)) } }
        }
    }

    fn is_whole_day(&self, visit: &Visit) -> bool {
        let day = visit.date_of(self.window.from_us);
        self.window.from_us == visit.start_of(day) && self.window.to_us == visit.end_of(day)
    }

    /// The parts that open larger: wide enough for a finger on a phone. One, if it is small enough already.
    fn parts(&self) -> Vec<Window> {
        let length = self.window.to_us.since_us(self.window.from_us);
        let number = match length / HOUR_US {
            12.. => 8,
            2.. => 6,
            _ => 1,
        };
        let edge = |part: i64| {
            let at = self.window.from_us.plus_us(length / number * part);
            UtcMicros(at.0 - at.0.rem_euclid(MINUTE_US))
        };
        (0..number)
            .map(|part| Window {
                from_us: edge(part),
                to_us: edge(part + 1),
            })
            .collect()
    }

    fn minutes(&self) -> i64 {
        self.window.to_us.since_us(self.window.from_us) / MINUTE_US
    }

    fn minute_of_day(&self, visit: &Visit) -> i64 {
        let from = self.window.from_us;
        from.since_us(visit.start_of(visit.date_of(from))) / MINUTE_US
    }

    fn percent(&self, at: UtcMicros) -> f64 {
        let length = self.window.to_us.since_us(self.window.from_us).max(1);
        let share = at.since_us(self.window.from_us) as f64 / length as f64;
        share.clamp(0.0, 1.0) * 100.0
    }

    fn grid(&self, parts: usize) -> Markup {
        html! {
            @for part in 1..parts {
                @let x = percent(part as f64 * 100.0 / parts as f64);
                line.strip-grid x1=(x) x2=(x) y1="0" y2=(LANE_TOP + LANE_HEIGHT) {}
            }
            line.strip-base x1="0" x2="100%" y1=(BARS_HEIGHT) y2=(BARS_HEIGHT) {}
        }
    }

    fn bars(&self) -> Markup {
        let most = self.most().max(1) as f64;
        let width = 100.0 / self.counts.len().max(1) as f64;
        html! {
            @for (step, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let height = (*count as f64 / most * (BARS_HEIGHT - 6.0)).max(3.0);
                rect.strip-bar x=(percent(step as f64 * width)) width=(percent(width * 0.86))
                    y=(format!("{:.1}", BARS_HEIGHT - height)) height=(format!("{height:.1}")) {}
            }
        }
    }

    fn most(&self) -> u64 {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    fn future(&self, now: UtcMicros) -> Markup {
        let x = self.percent(now);
        html! {
            @if x < 100.0 {
                rect.strip-future x=(percent(x)) y="0" width=(percent(100.0 - x)) height=(LANE_TOP + LANE_HEIGHT) {}
            }
        }
    }

    fn drawn_gap(&self, visit: &Visit, asked: &Asked, gap: &Gap) -> Markup {
        let from = self.percent(gap.from_us).min(100.0 - LEAST_WIDTH);
        let width = (self.percent(gap.to_us) - from).max(LEAST_WIDTH);
        let (pattern, class) = match gap.look() {
            Look::Lost => ("url(#lost)", "strip-gap lost"),
            Look::Stopped => ("url(#stopped)", "strip-gap stopped"),
            Look::Awaited => ("url(#awaited)", "strip-gap awaited"),
        };
        let text = format!(
            "{} {} {} {}",
            gap::range(visit, gap),
            gap::place(visit, gap),
            visit.lang.gap_label(&gap.what),
            gap::sentence(visit, gap)
        );
        html! {
            a href=(self.way_to(visit, asked, gap)) aria-label=(text) {
                title { (text) }
                rect class=(class) x=(percent(from)) width=(percent(width)) y=(LANE_TOP) height=(LANE_HEIGHT)
                    fill=(pattern) {}
            }
        }
    }

    /// To the gap's card: in the list of the time around it, because this page may have no room for it.
    fn way_to(&self, visit: &Visit, asked: &Asked, gap: &Gap) -> String {
        const AROUND_US: i64 = 15 * MINUTE_US;
        let from_us = gap.from_us.plus_us(-AROUND_US).max(self.window.from_us);
        let to_us = gap.to_us.plus_us(AROUND_US).min(self.window.to_us);
        let address = zoomed(visit, asked, Window { from_us, to_us });
        format!("{address}#{}", gap.anchor())
    }

    fn zoom(&self, visit: &Visit, asked: &Asked, part: Window) -> Markup {
        let step_us = self.step_minutes * MINUTE_US;
        let begins = |step: usize| self.window.from_us.plus_us(step as i64 * step_us);
        let count = self.counts.iter().enumerate();
        let count = count.filter(|(step, _)| (part.from_us..part.to_us).contains(&begins(*step)));
        let count = count.map(|(_, count)| count).sum();
        let (from, to) = (visit.minute(part.from_us), visit.minute(part.to_us));
        let text = visit.lang.zoom_to(&from, &to, count);
        html! { a href=(zoomed(visit, asked, part)) title=(text) aria-label=(text) {} }
    }

    fn legend(&self, visit: &Visit) -> Markup {
        let words = visit.words();
        let looks = [
            (Look::Lost, "url(#lost)", words.gap_lost),
            (Look::Stopped, "url(#stopped)", words.gap_stopped),
            (Look::Awaited, "url(#awaited)", words.gap_awaited),
        ];
        html! {
            ul.strip-legend {
                @for (look, pattern, word) in looks {
                    @if self.gaps.iter().any(|gap| gap.look() == look) {
                        li {
                            svg width="28" height="16" aria-hidden="true" {
                                rect.strip-gap width="100%" height="100%" fill=(pattern) {}
                            }
                            (word)
                        }
                    }
                }
                @if self.most() > 0 { li.hint { (visit.lang.density_scale(self.step_minutes, self.most())) } }
            }
        }
    }

    /// Hour by hour, those in which there was something or something is missing.
    fn table(&self, visit: &Visit) -> Markup {
        let words = visit.words();
        let rows: Vec<_> = self
            .hours()
            .into_iter()
            .filter(|(_, count, gaps)| *count > 0 || !gaps.is_empty())
            .collect();
        html! {
            @if !rows.is_empty() {
                details.strip-table {
                    summary { (words.strip_table) }
                    table {
                        thead { tr { th scope="col" { (words.strip_hours) } th scope="col" { (words.events) } th scope="col" { (words.strip_missing) } } }
                        tbody {
                            @for (hour, count, gaps) in rows {
                                tr {
                                    th.tabular scope="row" { (visit.lang.from_to(&visit.minute(hour.from_us), &visit.minute(hour.to_us))) }
                                    td.tabular { (thousands(count)) }
                                    td {
                                        @if gaps.is_empty() { (words.nothing) }
                                        @for gap in gaps {
                                            div { (visit.lang.gap_label(&gap.what)) ": " (gap::place(visit, gap)) }
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

    fn hours(&self) -> Vec<(Window, u64, Vec<&Gap>)> {
        let step_us = self.step_minutes * MINUTE_US;
        let per_hour = usize::try_from(60 / self.step_minutes).unwrap_or(1).max(1);
        self.counts
            .chunks(per_hour)
            .enumerate()
            .map(|(hour, counts)| {
                let from_us = self
                    .window
                    .from_us
                    .plus_us((hour * per_hour) as i64 * step_us);
                let to_us = from_us.plus_us(counts.len() as i64 * step_us);
                let gaps = self.gaps.iter();
                let gaps = gaps.filter(|gap| gap.from_us < to_us && gap.to_us >= from_us);
                (
                    Window { from_us, to_us },
                    counts.iter().sum(),
                    gaps.collect(),
                )
            })
            .collect()
    }
}

/// Back from a part of the day.
fn whole_day(visit: &Visit, asked: &Asked) -> Markup {
    let address = asked.link(|a| {
        a.before.clear();
        a.from.clear();
        a.to.clear();
    });
    html! { a.more href=(address) { (visit.words().strip_whole_day) } }
}

/// The same filter over a part of its time.
fn zoomed(visit: &Visit, asked: &Asked, part: Window) -> String {
    let day = visit.date_of(part.from_us);
    asked.link(|a| {
        a.before.clear();
        a.day = day.to_string();
        a.from = visit.minute(part.from_us);
        // Midnight at the end is written 00:00, which is the beginning.
        a.to = if part.to_us < visit.end_of(day) {
            visit.minute(part.to_us)
        } else {
            String::new()
        };
    })
}

fn percent(share: f64) -> String {
    format!("{share:.3}%")
}

/// Told apart by shape as well as by colour: stripes, a grid, dots.
fn patterns() -> Markup {
    html! {
        defs {
            pattern #lost width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                rect.pattern-lost-back width="8" height="8" {}
                rect.pattern-lost width="4" height="8" {}
            }
            pattern #stopped width="6" height="6" patternUnits="userSpaceOnUse" {
                rect.pattern-stopped-back width="6" height="6" {}
                path.pattern-stopped d="M0 0H6M0 0V6" fill="none" stroke-width="3" {}
            }
            pattern #awaited width="7" height="7" patternUnits="userSpaceOnUse" {
                rect.pattern-awaited-back width="7" height="7" {}
                circle.pattern-awaited cx="3.5" cy="3.5" r="1.8" {}
            }
        }
    }
}
