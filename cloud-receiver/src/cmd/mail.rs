//! `mail`: what waits to be sent, what became of it, and offering it again.

use super::{Common, report, setup};
use crate::clock::now;
use crate::evidence::local;
use crate::store::{MailBook, MailChoice, MailRow};
use anyhow::{Context, ensure};
use serde::Serialize;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List messages: those that wait or were given up, unless another choice is made.
    List {
        /// The newest so many, whatever became of them.
        #[arg(long, value_name = "COUNT")]
        newest: Option<u32>,
    },
    /// One message: to whom, what it says, and what the server answered.
    Show {
        /// Its number.
        number: u64,
    },
    /// Offer messages at once that wait for their next attempt or were given up.
    Retry {
        /// Their numbers.
        #[arg(required_unless_present = "all")]
        numbers: Vec<u64>,
        /// All that wait or were given up.
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
}

#[derive(Serialize)]
struct Retried {
    offered: u64,
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let store = setup(common)?.store;
    match verb {
        Verb::List { newest } => {
            let rows = match newest {
                Some(count) => store.mail(MailChoice::Newest(count)).await?,
                None => {
                    let mut rows = store.mail(MailChoice::GivenUp).await?;
                    rows.extend(store.mail(MailChoice::Waiting).await?);
                    rows
                }
            };
            let lines: Vec<_> = rows.iter().map(line).collect();
            let words = if lines.is_empty() {
                "No message waits, and none was given up.".to_owned()
            } else {
                lines.join("\n")
            };
            report(common, &rows, &words)
        }
        Verb::Show { number } => {
            let row = store.mail(MailChoice::One(number)).await?.pop();
            let row = row.with_context(|| {
                format!("there is no message {number}; \"mail list --newest 50\" shows some")
            })?;
            let words = format!(
                "{}\nMessage-ID  {}\nsubject     {}\n\n{}",
                line(&row),
                row.id,
                row.letter.subject,
                row.letter.text
            );
            report(common, &row, &words)
        }
        Verb::Retry { numbers, all } => {
            let numbers = if all {
                let mut rows = store.mail(MailChoice::GivenUp).await?;
                rows.extend(store.mail(MailChoice::Waiting).await?);
                rows.iter().map(|row| row.no).collect()
            } else {
                numbers
            };
            let offered = store.retry_mail(numbers.clone(), now()).await?;
            ensure!(
                all || offered == numbers.len() as u64,
                "{} of these messages are not there or were taken already; \"mail list --newest 50\" shows which",
                numbers.len() as u64 - offered
            );
            let words =
                format!("{offered} messages are offered again by the receiver while it runs.");
            report(common, &Retried { offered }, &words)
        }
    }
}

/// What became of a message, with the server's own words: the proof of sending.
pub(super) fn line(row: &MailRow) -> String {
    let state = match (row.taken_us, row.given_up_us) {
        (Some(at), _) => format!(
            "taken {} by {}: {}",
            local::time(at),
            row.taken_by.as_deref().unwrap_or("?"),
            row.outcome.answer.as_deref().unwrap_or("")
        ),
        (None, Some(at)) => format!("GIVEN UP {}", local::time(at)),
        (None, None) if row.attempts == 0 => "waits".to_owned(),
        (None, None) => format!("waits, next attempt {}", local::time(row.due_us)),
    };
    let attempts = match row.attempts {
        0 => String::new(),
        1 => "; 1 attempt".to_owned(),
        many => format!("; {many} attempts"),
    };
    let problem = match &row.outcome.problem {
        Some(problem) if row.taken_us.is_none() => format!("\n          {problem}"),
        _ => String::new(),
    };
    format!(
        "{:>6}  {}  {:<8} {}  {state}{attempts}{problem}",
        row.no,
        local::time(row.created_us),
        row.kind,
        row.letter.to
    )
}
