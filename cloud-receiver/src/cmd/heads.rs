//! `heads`: the signed statements of what the receiver holds.

use super::{Common, print, report, setup};
use crate::clock::now;
use crate::evidence::heads::{Asked, Sent, file_name, stamp_file_name};
use crate::evidence::local;
use crate::office;
use crate::store::{HeadsBook, HeadsRow};
use anyhow::{Context, bail};
use serde::Serialize;
use std::process::ExitCode;
use wire::{Sha256, UtcMicros, VerifyingKey};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Sign what is held at this moment, and send it out.
    Now,
    /// List the heads, and what became of sending them.
    List,
    /// Print one of them as a file, for safekeeping; the newest unless --number says another.
    Show {
        #[arg(long)]
        number: Option<u64>,
        /// Print its time stamp (a .tsr file) in its place.
        #[arg(long)]
        time_stamp: bool,
    },
    /// Print the public key that heads and exports are signed with: whoever checks them must know it.
    Key,
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Now => make_now(common).await,
        Verb::List => list(common).await,
        Verb::Show { number, time_stamp } => show(common, number, time_stamp).await,
        Verb::Key => key(common),
    }
}

#[derive(Serialize)]
struct Made {
    number: u64,
    at_us: UtcMicros,
    sha256: Sha256,
    receiver_key: VerifyingKey,
    time_stamps: Vec<Asked>,
    sent: Vec<Sent>,
}

async fn make_now(common: &Common) -> anyhow::Result<ExitCode> {
    let setup = setup(common)?;
    let (store, key) = (&setup.store, &setup.keys.evidence);
    let made = office::heads::make_now(store, key, &setup.config, now()).await?;
    let (row, asked, sent) = (made.row, made.time_stamps, made.sent);
    let mut words = format!(
        "Heads no. {} are signed: {} ({}).",
        row.number,
        local::time(row.at_us),
        local::ZONE
    );
    for asked in &asked {
        words += &asked_words(asked);
    }
    for sent in &sent {
        words += &match &sent.problem {
            None => format!("\n  no. {} went to {}", sent.number, sent.to),
            Some(problem) => format!(
                "\n  no. {} did NOT go to {}: {problem}\n    the receiver tries again while it runs",
                sent.number, sent.to
            ),
        };
    }
    if sent.is_empty() {
        words += "\n  They are in the database only, where they prove little: set \"path\" or \"mail_to\" in section [heads].";
    }
    let failed = sent.iter().any(|sent| sent.problem.is_some())
        || asked.iter().any(|asked| asked.problem.is_some());
    let made = Made {
        number: row.number,
        at_us: row.at_us,
        sha256: row.sha256,
        receiver_key: key.verifying_key(),
        time_stamps: asked,
        sent,
    };
    report(common, &made, &words)?;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn asked_words(asked: &Asked) -> String {
    let (number, from) = (asked.number, &asked.from);
    match (&asked.problem, asked.at_us) {
        (None, Some(at)) => format!(
            "\n  no. {number} is time-stamped {}, by {from}",
            local::time(at)
        ),
        (problem, _) => format!(
            "\n  no. {number} is NOT time-stamped: {}\n    the receiver tries again while it runs",
            problem.as_deref().unwrap_or("no answer")
        ),
    }
}

#[derive(Serialize)]
struct Listed {
    number: u64,
    at_us: UtcMicros,
    at: String,
    sha256: Sha256,
    written_us: Option<UtcMicros>,
    mailed_us: Option<UtcMicros>,
    problem: Option<String>,
    stamped_us: Option<UtcMicros>,
    stamp_written_us: Option<UtcMicros>,
    stamp_mailed_us: Option<UtcMicros>,
    stamp_problem: Option<String>,
}

async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let rows = setup(common)?.store.heads().await?;
    let words: Vec<_> = rows.iter().map(describe).collect();
    let words = if words.is_empty() {
        "No heads were made yet; \"heads now\" makes the first.".to_owned()
    } else {
        words.join("\n")
    };
    let listed = |row: HeadsRow| {
        let stamp = row.stamp.as_ref();
        Listed {
            number: row.number,
            at_us: row.at_us,
            at: local::utc(row.at_us),
            sha256: row.sha256,
            written_us: row.written_us,
            mailed_us: row.mailed_us,
            stamped_us: stamp.map(|stamp| stamp.at_us),
            stamp_written_us: stamp.and_then(|stamp| stamp.written_us),
            stamp_mailed_us: stamp.and_then(|stamp| stamp.mailed_us),
            problem: row.problem,
            stamp_problem: row.stamp_problem,
        }
    };
    report(
        common,
        &rows.into_iter().map(listed).collect::<Vec<_>>(),
        &words,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn describe(row: &HeadsRow) -> String {
    let way =
        |what: &str, at: Option<UtcMicros>| at.map(|at| format!("{what} {}", local::time(at)));
    let ways: Vec<_> = [way("written", row.written_us), way("mailed", row.mailed_us)]
        .into_iter()
        .flatten()
        .collect();
    let ways = if ways.is_empty() {
        "not sent out".to_owned()
    } else {
        ways.join(", ")
    };
    let problem = row.problem.as_ref().map_or_else(String::new, |problem| {
        format!("\n    last attempt failed: {problem}")
    });
    format!(
        "no. {:<6} {}   {ways}{}{problem}",
        row.number,
        local::time(row.at_us),
        stamp_state(row)
    )
}

/// Nothing where no time stamp was ever asked for.
fn stamp_state(row: &HeadsRow) -> String {
    let way = |at: Option<UtcMicros>, what| at.is_some().then_some(what);
    match (&row.stamp, &row.stamp_problem) {
        (None, None) => String::new(),
        (None, Some(problem)) => {
            format!("\n    no time stamp yet, last attempt failed: {problem}")
        }
        (Some(stamp), _) => {
            let ways = [
                way(stamp.written_us, "written"),
                way(stamp.mailed_us, "mailed"),
            ];
            let ways: Vec<_> = ways.into_iter().flatten().collect();
            let ways = if ways.is_empty() {
                String::new()
            } else {
                format!(" ({})", ways.join(", "))
            };
            format!(", time-stamped {}{ways}", local::time(stamp.at_us))
        }
    }
}

async fn show(common: &Common, number: Option<u64>, time_stamp: bool) -> anyhow::Result<ExitCode> {
    let rows = setup(common)?.store.heads().await?;
    let row = match number {
        Some(number) => rows.into_iter().find(|row| row.number == number),
        None => rows.into_iter().last(),
    };
    let Some(row) = row else {
        bail!("there are no such heads; \"heads list\" shows which there are");
    };
    // Standard output is the file itself, which may be on its way into one; what is known of it goes beside.
    eprintln!("{}", describe(&row));
    let (name, bytes) = if time_stamp {
        let stamp = row
            .stamp
            .with_context(|| format!("heads no. {} have no time stamp (yet)", row.number))?;
        (stamp_file_name(row.number), stamp.answer)
    } else {
        (file_name(row.number), row.document.into_bytes())
    };
    print(|out| out.write_all(&bytes)).with_context(|| format!("printing {name}"))?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct PublicKey {
    receiver_key: VerifyingKey,
}

fn key(common: &Common) -> anyhow::Result<ExitCode> {
    let receiver_key = setup(common)?.keys.evidence.verifying_key();
    let words = format!(
        "{receiver_key}\n\nThe public key of this receiver's heads and exports. Give it to whoever is to check them, on another way\n\
         than the exports themselves: on paper, by telephone, in the contract. It is no secret.",
    );
    report(common, &PublicKey { receiver_key }, &words)?;
    Ok(ExitCode::SUCCESS)
}
