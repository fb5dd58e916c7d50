//! Figures, what they are held against, and how they are told: a table in Markdown and a file in JSON.

use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Less,
    More,
}

#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    /// What it must reach, what it should, and which of the two directions is reaching.
    pub must: Option<f64>,
    pub reach: Option<f64>,
    pub better: Better,
    /// How it came about: sample sizes, counters of the agent, the figure in other words.
    pub note: String,
}

impl Figure {
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            must: None,
            reach: None,
            better: Better::Less,
            note: String::new(),
        }
    }

    pub fn at_most(self, must: f64, reach: f64) -> Self {
        Self {
            must: Some(must),
            reach: Some(reach),
            better: Better::Less,
            ..self
        }
    }

    pub fn at_least(self, must: f64, reach: f64) -> Self {
        Self {
            must: Some(must),
            reach: Some(reach),
            better: Better::More,
            ..self
        }
    }

    pub fn note(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }

    /// `reached`, `met`, `MISSED`, or nothing where nothing is asked.
    fn verdict(&self) -> &'static str {
        let holds = |bound: f64| match self.better {
            Better::Less => self.value <= bound,
            Better::More => self.value >= bound,
        };
        match (self.must, self.reach) {
            (_, Some(reach)) if holds(reach) => "reached",
            (Some(must), _) if holds(must) => "met",
            (Some(_), _) => "MISSED",
            _ => "",
        }
    }
}

/// Everything of one run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub machine: Vec<String>,
    pub figures: Vec<Figure>,
    /// What each part saw besides, for those who ask why.
    pub details: Vec<Value>,
}

impl Report {
    /// Keeps a figure, and shows it at once: a run takes long.
    pub fn add(&mut self, figure: Figure) {
        eprintln!("  {}", row(&figure).trim_matches('|').trim());
        self.figures.push(figure);
    }

    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for line in &self.machine {
            let _ = writeln!(text, "{line}  ");
        }
        text.push_str(
            "\n| figure | value | must | reach for | | how |\n|---|---|---|---|---|---|\n",
        );
        for figure in &self.figures {
            text.push_str(&row(figure));
        }
        text
    }
}

fn row(figure: &Figure) -> String {
    let bound = |bound: Option<f64>| bound.map_or(String::new(), |bound| told(bound, figure.unit));
    format!(
        "| {} | {} {} | {} | {} | {} | {} |\n",
        figure.what,
        told(figure.value, figure.unit),
        figure.unit,
        bound(figure.must),
        bound(figure.reach),
        figure.verdict(),
        figure.note
    )
}

fn told(value: f64, unit: &str) -> String {
    match unit {
        "core" | "core-s" => format!("{value:.4}"),
        "MB" => format!("{value:.0}"),
        "%" => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Of an odd or even number of values, at least one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 if values.is_empty() => f64::NAN,
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}
