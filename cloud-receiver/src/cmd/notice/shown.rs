//! What `notice` prints: letters before they go out, and the proof of sending after.

use super::{Common, Setup, print, report};
use crate::clock::now;
use crate::cmd::mail;
use crate::evidence::local;
use crate::notice::{Letters, in_full};
use crate::store::{ContractDetail, MailRow, NoticeBook, NoticeKind, NoticeRow};
use serde::Serialize;
use std::collections::BTreeSet;
use std::process::ExitCode;

pub(super) fn recipients(letters: &Letters) -> String {
    let contracts: BTreeSet<_> = letters
        .mail
        .iter()
        .filter_map(|mail| mail.contract)
        .collect();
    let plural = |count: usize, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    format!(
        "{} of {}",
        plural(letters.mail.len(), "recipient", "recipients"),
        plural(contracts.len(), "contract", "contracts")
    )
}

pub(super) fn names(contracts: &[ContractDetail]) -> Vec<String> {
    contracts
        .iter()
        .map(|contract| contract.name.clone())
        .collect()
}

pub(super) fn unreached(contracts: &[ContractDetail]) -> String {
    if contracts.is_empty() {
        return String::new();
    }
    let names = names(contracts).join("\", \"");
    format!(
        "\nNOT told by mail, because no address is known: \"{names}\". \"contract set NAME --contact ADDRESS\" \
         gives one; tell them by other ways."
    )
}

/// Each letter once; most contracts differ in their name only, so the first of each language is shown in full.
pub(super) fn letters(letters: &Letters) -> String {
    let mut text = String::new();
    let mut shown = BTreeSet::new();
    for mail in &letters.mail {
        let letter = &mail.letter;
        text += &format!("to {}: {}\n", letter.to, letter.subject);
        let lang = letter
            .html
            .as_deref()
            .map(|html| html.contains("lang=\"ja\""));
        if shown.insert(lang) {
            let indented: Vec<_> = letter
                .text
                .lines()
                .map(|line| format!("  | {line}").trim_end().to_owned())
                .collect();
            text += &format!("{}\n", indented.join("\n"));
        }
    }
    text + unreached(&letters.unreached).trim_start()
}

#[derive(Serialize)]
struct Previewed<'a> {
    to: &'a str,
    subject: &'a str,
    text: &'a str,
}

pub(super) fn preview(common: &Common, all: &Letters) -> anyhow::Result<()> {
    let previews: Vec<_> = all
        .mail
        .iter()
        .map(|mail| Previewed {
            to: &mail.letter.to,
            subject: &mail.letter.subject,
            text: &mail.letter.text,
        })
        .collect();
    report(common, &previews, letters(all).trim_end())
}

pub(super) async fn list(common: &Common, setup: &Setup) -> anyhow::Result<ExitCode> {
    let rows = setup.store.notices().await?;
    let lines: Vec<_> = rows.iter().map(line).collect();
    let words = if lines.is_empty() {
        "No notices.".to_owned()
    } else {
        lines.join("\n")
    };
    report(common, &rows, &words)?;
    Ok(ExitCode::SUCCESS)
}

fn line(row: &NoticeRow) -> String {
    let until = row
        .to_us
        .map_or_else(String::new, |to| format!(" to {}", local::minute(to)));
    format!(
        "{}  {:<11} {}{until}  {}  {}",
        row.id,
        row.kind.word(),
        local::minute(row.from_us),
        state(row),
        row.what.lines().next().unwrap_or_default()
    )
}

fn state(row: &NoticeRow) -> String {
    match (row.cancelled_us, row.closed_us) {
        (Some(at), _) => format!("cancelled {}", local::minute(at)),
        (_, Some(at)) => format!("over since {}", local::minute(at)),
        _ if row.is_current(now()) && row.kind == NoticeKind::Incident => "OPEN".into(),
        _ if row.is_current(now()) => "announced".into(),
        _ => "past".into(),
    }
}

#[derive(Serialize)]
struct Shown {
    notice: NoticeRow,
    contracts: Vec<String>,
    /// Nobody of them is written to: there is no address.
    unreached: Vec<String>,
    mail: Vec<MailRow>,
}

pub(super) async fn show(
    common: &Common,
    setup: &Setup,
    row: &NoticeRow,
) -> anyhow::Result<ExitCode> {
    let ids = setup.store.notice_contracts(row.id).await?;
    let contracts = in_full(&setup.store, &ids).await?;
    let rows = setup.store.notice_mail(row.id).await?;
    let without: Vec<_> = contracts
        .iter()
        .filter(|contract| !rows.iter().any(|mail| mail.contract == Some(contract.id)))
        .cloned()
        .collect();
    if common.json {
        let shown = Shown {
            notice: row.clone(),
            contracts: names(&contracts),
            unreached: names(&without),
            mail: rows,
        };
        report(common, &shown, "")?;
        return Ok(ExitCode::SUCCESS);
    }
    let taken = rows.iter().filter(|mail| mail.taken_us.is_some()).count();
    let lost = rows
        .iter()
        .filter(|mail| mail.given_up_us.is_some())
        .count();
    let mut text = format!("{}\n{}\n", line(row), row.what);
    if let Some(why) = &row.urgent_why {
        text += &format!("urgent because: {why}\n");
    }
    text += &format!("concerns: {}\n", names(&contracts).join(", "));
    text += &format!(
        "{} messages: {taken} taken, {lost} given up, {} waiting\n",
        rows.len(),
        rows.len() - taken - lost
    );
    for mail in &rows {
        text += &format!("{}\n", mail::line(mail));
    }
    text += unreached(&without).trim_start();
    print(|out| writeln!(out, "{}", text.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}
