//! `alert`: what is wrong with devices and cameras at this moment.

use super::{Common, report, setup};
use crate::evidence::local;
use crate::store::{AlertBook, AlertRow};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List what is open: silent devices and cameras, clocks that are off.
    List,
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let Verb::List = verb;
    let rows = setup(common)?.store.open_alerts().await?;
    let lines: Vec<_> = rows.iter().map(line).collect();
    let words = if lines.is_empty() {
        "Nothing is wrong: no device or camera is silent for longer than agreed, no clock is off."
            .to_owned()
    } else {
        lines.join("\n")
    };
    report(common, &rows, &words)
}

fn line(row: &AlertRow) -> String {
    let camera = row
        .matter
        .camera
        .map_or_else(String::new, |camera| format!("  camera {camera}"));
    let told = match row.told_us {
        Some(at) => format!("told {}", local::time(at)),
        None => "not told yet".into(),
    };
    let calm = match row.good_us {
        Some(at) => format!("; well again since {}", local::time(at)),
        None => String::new(),
    };
    format!(
        "{:<13} device {}{camera}  since {}  {told}{calm}",
        row.matter.kind.word(),
        row.matter.device,
        local::time(row.since_us)
    )
}
