//! `notice`: tells customers of maintenance and incidents, and keeps the proof that they were told.
//!
//! A notice and all its mail are written in one commit; the running receiver sends. Contracts that nobody can be written
//! to are named, and the exit code says so.

mod shown;

use super::confirm::Confirm;
use super::lookup::{Candidate, find};
use super::{Common, Setup, contract, print, report, setup};
use crate::clock::now;
use crate::evidence::local;
use crate::notice::{self, Letters, Occasion, Templates};
use crate::office::notices;
use crate::store::{ContractDetail, NoticeBook, NoticeKind, NoticeRow};
use anyhow::ensure;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use wire::{ContractId, UtcMicros};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Tell of maintenance, at least 14 days before it.
    Maintenance {
        #[command(flatten)]
        draft: Planned,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Tell of an incident, at once.
    Incident {
        #[command(flatten)]
        draft: Happened,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Print the letters as they would go out; nothing is sent.
    #[command(subcommand)]
    Preview(Draft),
    /// List notices.
    List,
    /// One notice: whom it concerns, and for each recipient when which server took the mail and what it answered.
    Show {
        /// Its id, or the beginning of it.
        notice: String,
    },
    /// Maintenance does not take place: tells those it was announced to.
    Cancel {
        /// Its id, or the beginning of it.
        notice: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// An incident is over: tells those it was reported to.
    Close {
        /// Its id, or the beginning of it.
        notice: String,
        /// When it was over; without it, now.
        #[arg(long, value_name = "TIME", value_parser = local::parse)]
        at: Option<UtcMicros>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Check the texts of letters, or write the built-in ones into a folder to be edited.
    Templates {
        /// The folder; files that are there stay as they are.
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Draft {
    /// Of maintenance.
    Maintenance(Planned),
    /// Of an incident.
    Incident(Happened),
}

#[derive(Debug, clap::Args)]
pub(super) struct Planned {
    /// When it begins: 2026-12-10T22:00 in Japan, or with an offset of its own.
    #[arg(long, value_name = "TIME", value_parser = local::parse)]
    from: UtcMicros,
    /// When it ends.
    #[arg(long, value_name = "TIME", value_parser = local::parse)]
    to: UtcMicros,
    /// What it means for customers, in Japanese.
    #[arg(long, value_name = "TEXT")]
    impact: String,
    /// The same for contracts in English; without it they read the other.
    #[arg(long, value_name = "TEXT")]
    impact_en: Option<String>,
    /// It cannot wait 14 days.
    #[arg(long, requires = "why")]
    urgent: bool,
    /// Why it cannot wait; customers read it.
    #[arg(long, value_name = "TEXT", requires = "urgent")]
    why: Option<String>,
    #[command(flatten)]
    whom: Whom,
}

#[derive(Debug, clap::Args)]
pub(super) struct Happened {
    /// What has happened, and what it means for customers, in Japanese.
    #[arg(long, value_name = "TEXT")]
    what: String,
    /// The same for contracts in English; without it they read the other.
    #[arg(long, value_name = "TEXT")]
    what_en: Option<String>,
    /// Since when: 2026-12-10T22:00 in Japan, or with an offset of its own.
    #[arg(long, value_name = "TIME", value_parser = local::parse)]
    since: UtcMicros,
    #[command(flatten)]
    whom: Whom,
}

#[derive(Debug, clap::Args)]
struct Whom {
    /// A contract that it concerns, by name or id; may be given several times. Without it: all.
    #[arg(long = "contract", value_name = "CONTRACT")]
    contracts: Vec<String>,
}

/// Done, but somebody could not be told.
const UNREACHED: u8 = 5;

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<ExitCode> {
    if let Verb::Templates { write } = verb {
        return templates(common, write);
    }
    let setup = setup(common)?;
    match verb {
        Verb::Maintenance { draft, confirm } => {
            let (row, contracts) = maintenance(&setup, draft).await?;
            give(common, &setup, row, contracts, confirm).await
        }
        Verb::Incident { draft, confirm } => {
            let (row, contracts) = incident(&setup, draft).await?;
            give(common, &setup, row, contracts, confirm).await
        }
        Verb::Preview(draft) => {
            let (row, contracts) = match draft {
                Draft::Maintenance(draft) => maintenance(&setup, draft).await?,
                Draft::Incident(draft) => incident(&setup, draft).await?,
            };
            let letters = letters(&setup, &row, Occasion::Given, &contracts)?;
            shown::preview(common, &letters)?;
            Ok(code(&letters.unreached))
        }
        Verb::List => shown::list(common, &setup).await,
        Verb::Show { notice } => {
            let row = by_id(&setup, &notice).await?;
            shown::show(common, &setup, &row).await
        }
        Verb::Cancel { notice, confirm } => {
            let row = by_id(&setup, &notice).await?;
            ensure!(
                row.kind == NoticeKind::Maintenance,
                "this is an incident: \"notice close {}\" says that it is over",
                row.id
            );
            end(common, &setup, row, now(), confirm).await
        }
        Verb::Close {
            notice,
            at,
            confirm,
        } => {
            let row = by_id(&setup, &notice).await?;
            ensure!(
                row.kind == NoticeKind::Incident,
                "this is maintenance: it ends by itself; \"notice cancel {}\" calls it off",
                row.id
            );
            end(common, &setup, row, at.unwrap_or_else(now), confirm).await
        }
        Verb::Templates { .. } => unreachable!("answered above"),
    }
}

async fn maintenance(
    setup: &Setup,
    draft: Planned,
) -> anyhow::Result<(NoticeRow, Vec<ContractDetail>)> {
    let at = now();
    let row = notices::Planned {
        from: draft.from,
        to: draft.to,
        impact: draft.impact,
        impact_en: draft.impact_en,
        // The command line takes one only together with the other.
        urgent_why: draft.why,
    };
    Ok((row.row(at)?, concerned(setup, draft.whom, at).await?))
}

async fn incident(
    setup: &Setup,
    draft: Happened,
) -> anyhow::Result<(NoticeRow, Vec<ContractDetail>)> {
    let at = now();
    let row = notices::Happened {
        since: draft.since,
        what: draft.what,
        what_en: draft.what_en,
    };
    Ok((row.row(at)?, concerned(setup, draft.whom, at).await?))
}

/// The contracts that are named, or all whose period is not over.
async fn concerned(
    setup: &Setup,
    whom: Whom,
    at: UtcMicros,
) -> anyhow::Result<Vec<ContractDetail>> {
    let mut ids: Vec<ContractId> = Vec::new();
    for wanted in &whom.contracts {
        ids.push(contract::by_name(&setup.store, wanted).await?.id);
    }
    Ok(notices::concerned(&setup.store, &ids, at).await?)
}

fn letters(
    setup: &Setup,
    row: &NoticeRow,
    occasion: Occasion,
    contracts: &[ContractDetail],
) -> anyhow::Result<Letters> {
    Ok(notices::letters(
        &setup.config,
        row,
        occasion,
        contracts,
        now(),
    )?)
}

#[derive(Serialize)]
struct Given {
    notice: NoticeRow,
    contracts: usize,
    recipients: usize,
    /// Nobody could be written to: there is no address.
    unreached: Vec<String>,
}

async fn give(
    common: &Common,
    setup: &Setup,
    row: NoticeRow,
    contracts: Vec<ContractDetail>,
    confirm: Confirm,
) -> anyhow::Result<ExitCode> {
    let letters = letters(setup, &row, Occasion::Given, &contracts)?;
    confirm.ask(&to_be_sent(&letters))?;
    notices::give(&setup.store, &row, &contracts, &letters).await?;
    told(common, setup, row, contracts.len(), &letters)
}

async fn end(
    common: &Common,
    setup: &Setup,
    row: NoticeRow,
    at: UtcMicros,
    confirm: Confirm,
) -> anyhow::Result<ExitCode> {
    let ended = notices::ended(&setup.store, row, at, now()).await?;
    let letters = letters(setup, &ended.row, ended.occasion, &ended.contracts)?;
    confirm.ask(&to_be_sent(&letters))?;
    notices::end(&setup.store, &ended, &letters).await?;
    told(common, setup, ended.row, ended.contracts.len(), &letters)
}

fn told(
    common: &Common,
    setup: &Setup,
    row: NoticeRow,
    contracts: usize,
    letters: &Letters,
) -> anyhow::Result<ExitCode> {
    let mut words = format!(
        "Notice {}: {} put into the outbox; the receiver sends while it runs.\n\
         \"notice show {}\" tells what became of each.",
        row.id,
        shown::recipients(letters),
        row.id
    );
    if setup.config.mail.server.is_empty() {
        words += "\nSection [mail] of the configuration names no server: they wait until it does.";
    }
    words += &shown::unreached(&letters.unreached);
    let given = Given {
        notice: row,
        contracts,
        recipients: letters.mail.len(),
        unreached: shown::names(&letters.unreached),
    };
    report(common, &given, &words)?;
    Ok(code(&letters.unreached))
}

fn code(unreached: &[ContractDetail]) -> ExitCode {
    if unreached.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNREACHED)
    }
}

/// What is asked before it goes out: the letters, and to whom.
fn to_be_sent(letters: &Letters) -> String {
    let (text, recipients) = (shown::letters(letters), shown::recipients(letters));
    format!("{text}\nThis goes to {recipients}.")
}

async fn by_id(setup: &Setup, wanted: &str) -> anyhow::Result<NoticeRow> {
    let rows = setup.store.notices().await?;
    let candidates = rows.into_iter().map(|row| Candidate {
        id: row.id.to_string(),
        names: Vec::new(),
        thing: row,
    });
    let list = "\"notice list\" shows them";
    find("notice", wanted, list, candidates.collect())
}

#[derive(Serialize)]
struct Checked {
    written: Vec<PathBuf>,
}

fn templates(common: &Common, write: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let (written, words) = match write {
        Some(folder) => {
            let written = notice::write_templates(&folder)?;
            let words = format!(
                "{} texts were written. Edit them, set \"templates\" in section [notices] to {}, and check with \
                 \"notice templates\"; or edit them in the operators' area.",
                written.len(),
                folder.display()
            );
            (written, words)
        }
        None => {
            let config = crate::config::Config::load(&common.config)?;
            Templates::load(&config.letters())?;
            (Vec::new(), "The texts of letters are good.".to_owned())
        }
    };
    report(common, &Checked { written }, &words)?;
    Ok(ExitCode::SUCCESS)
}
