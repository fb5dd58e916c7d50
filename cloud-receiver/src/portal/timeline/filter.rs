//! The filter: a form whose result is a link, and the way from day to day.

use super::Asked;
use crate::portal::layout;
use crate::portal::visit::Visit;
use crate::store::SiteOverview;
use jiff::ToSpan;
use jiff::civil::Date;
use maud::{Markup, html};

/// What the filter offers.
#[derive(Debug)]
pub(in crate::portal) struct Choices {
    pub sites: Vec<SiteOverview>,
    pub classes: Vec<String>,
    pub tags: Vec<String>,
}

/// Least scores that can be asked for, in percent.
const SCORES: [&str; 5] = ["50", "60", "70", "80", "90"];

pub(super) fn form(visit: &Visit, asked: &Asked, choices: &Choices) -> Markup {
    let words = visit.words();
    let many_sites = choices.sites.len() > 1;
    let chosen = chosen_words(visit, asked, choices);
    html! {
        details.filter {
            summary { (words.filter) @if !chosen.is_empty() { span.chosen { (chosen) } } }
            form method="get" action="/events" {
                div.field {
                    label for="site" { (words.site) }
                    select #site name="site" {
                        option value="" { (words.all) }
                        @for site in &choices.sites {
                            option value=(site.site) selected[asked.site == site.site.to_string()] { (site.name) }
                        }
                    }
                }
                div.field {
                    label for="camera" { (words.camera) }
                    select #camera name="camera" {
                        option value="" { (words.all) }
                        @for (site, camera) in choices.sites.iter().flat_map(|s| s.cameras.iter().map(move |c| (s, c))) {
                            option value=(camera.camera) selected[asked.camera == camera.camera.to_string()] {
                                (camera.name) @if many_sites { " (" (site.name) ")" }
                            }
                        }
                    }
                }
                div.field {
                    label for="class" { (words.class) }
                    select #class name="class" {
                        option value="" { (words.all) }
                        @for class in &choices.classes {
                            option value=(class) selected[asked.class == *class] { (words.class_name(class)) }
                        }
                    }
                }
                @if !choices.tags.is_empty() {
                    div.field {
                        label for="tag" { (words.tag) }
                        select #tag name="tag" {
                            option value="" { (words.all) }
                            @for tag in &choices.tags {
                                option value=(tag) selected[asked.tag == *tag] { (tag) }
                            }
                        }
                    }
                }
                div.field {
                    label for="score" { (words.score) }
                    select #score name="score" {
                        option value="" { (words.all) }
                        @for score in SCORES {
                            option value=(score) selected[asked.score == score] { (visit.lang.at_least_percent(score)) }
                        }
                    }
                }
                div.field {
                    label for="day" { (words.day) }
                    input #day type="date" name="day" value=(asked.day);
                }
                div.field {
                    label for="from" { (words.from) }
                    input #from type="time" name="from" value=(asked.from);
                }
                div.field {
                    label for="to" { (words.to) }
                    input #to type="time" name="to" value=(asked.to);
                }
                div.actions {
                    button.primary type="submit" { (words.filter_apply) }
                    @if asked.is_narrowed() { a.button href="/events" { (words.filter_clear) } }
                }
            }
        }
    }
}

/// What is filtered by, in words: 「正門 · 人物 · 09:00〜」.
fn chosen_words(visit: &Visit, asked: &Asked, choices: &Choices) -> String {
    let site = choices
        .sites
        .iter()
        .find(|site| asked.site == site.site.to_string());
    let camera = choices
        .sites
        .iter()
        .flat_map(|site| &site.cameras)
        .find(|camera| asked.camera == camera.camera.to_string());
    let class = Some(asked.class.as_str()).filter(|class| !class.is_empty());
    let times = Some(format!("{}〜{}", asked.from, asked.to)).filter(|times| times != "〜");
    [
        site.map(|site| site.name.clone()),
        camera.map(|camera| camera.name.clone()),
        class.map(|class| visit.words().class_name(class).to_owned()),
        Some(asked.tag.clone()).filter(|tag| !tag.is_empty()),
        asked
            .filter(visit)
            .least_score_percent
            .map(|score| visit.lang.at_least_percent(&score.to_string())),
        asked.day().map(|day| visit.short_date(day)),
        times,
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" · ")
}

pub(super) fn days(visit: &Visit, asked: &Asked) -> Markup {
    let words = visit.words();
    let chosen = asked.day();
    let shown = chosen.unwrap_or_else(|| visit.today());
    let to_day = |day: Option<Date>| {
        asked.link(|a| {
            a.before.clear();
            a.day = day.map(|day| day.to_string()).unwrap_or_default();
        })
    };
    let previous = shown.saturating_sub(1.day());
    let next = shown.saturating_add(1.day());
    html! {
        nav.days aria-label=(words.day) {
            a.button href=(to_day(Some(previous))) title=(words.previous_day) {
                (layout::icon_older()) span { (visit.short_date(previous)) }
            }
            @match chosen {
                Some(day) => {
                    strong { (visit.short_date(day)) }
                    a.button href=(to_day(None)) { (words.all_days) }
                }
                None => strong { (words.all_days) },
            }
            @if chosen.is_some() && next <= visit.today() {
                a.button href=(to_day(Some(next))) title=(words.next_day) {
                    span { (visit.short_date(next)) } (layout::icon_newer())
                }
            } @else if chosen.is_none() {
                a.button href=(to_day(Some(shown))) { (words.today) }
            }
        }
    }
}
