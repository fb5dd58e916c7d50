//! What `user` and `operator` say alike of accounts.

use super::confirm::Confirm;
use super::{Common, report};
use crate::auth::issue::{self, Issued};
use crate::clock::now;
use crate::store::{AccountListing, Accounts};
use anyhow::{Context, ensure};
use serde::Serialize;
use wire::{Sha256, UtcMicros};

pub(super) fn judge_login_id(login_id: &str) -> anyhow::Result<()> {
    ensure!(
        issue::is_login_id(login_id),
        "a login ID has 1 to 64 letters, digits, dots, dashes, underscores or @"
    );
    Ok(())
}

/// As it is printed.
#[derive(Serialize)]
struct Printed<'a> {
    login_id: &'a str,
    password: &'a str,
    must_change_password: bool,
}

pub(super) fn print(
    common: &Common,
    login_id: &str,
    issued: &Issued,
    must_change_password: bool,
) -> anyhow::Result<()> {
    let after = if must_change_password {
        "; to be changed at the first sign-in"
    } else {
        ""
    };
    let password = &issued.password;
    let words = format!("login ID  {login_id}\npassword  {password}   shown this once{after}");
    let printed = Printed {
        login_id,
        password,
        must_change_password,
    };
    report(common, &printed, &words)
}

pub(super) fn list(common: &Common, accounts: &[AccountListing]) -> anyhow::Result<()> {
    let lines: Vec<_> = accounts.iter().map(line).collect();
    let words = if lines.is_empty() {
        "There is no account.".to_owned()
    } else {
        lines.join("\n")
    };
    report(common, &accounts, &words)
}

fn line(row: &AccountListing) -> String {
    let last = row.last_sign_in_us.map_or_else(
        || "never signed in".into(),
        |at| format!("signed in {}", time(at)),
    );
    let contract = row.contract_name.as_deref().unwrap_or("operator");
    let mut text = format!(
        "{}  {contract}  {last}  {} sessions",
        row.login_id, row.sessions
    );
    if row.failed_sign_ins > 0 {
        text += &format!("  {} failed", row.failed_sign_ins);
    }
    text += if row.has_second_factor {
        "  second factor"
    } else {
        "  no second factor"
    };
    if row.must_change_password {
        text += "  has the issued password";
    }
    text
}

pub(super) fn time(at: UtcMicros) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(
        |_| "?".to_owned(),
        |at| at.strftime("%F %T UTC").to_string(),
    )
}

pub(super) fn unknown(kind: &str, login_id: &str) -> String {
    format!("there is no {kind} \"{login_id}\"; \"{kind} list\" shows them")
}

pub(super) async fn must_exist(
    book: &dyn Accounts,
    kind: &str,
    login_id: &str,
) -> anyhow::Result<()> {
    let found = book.account(login_id).await?;
    found.with_context(|| unknown(kind, login_id)).map(|_| ())
}

#[derive(Serialize)]
struct Removed {
    login_id: String,
}

pub(super) async fn remove(
    common: &Common,
    book: &dyn Accounts,
    kind: &str,
    login_id: String,
    confirm: Confirm,
) -> anyhow::Result<()> {
    must_exist(book, kind, &login_id).await?;
    confirm.ask(&format!("The {kind} \"{login_id}\" will be gone."))?;
    book.remove(&login_id, now()).await?;
    let words = format!("\"{login_id}\" is removed; its sessions have ended.");
    report(common, &Removed { login_id }, &words)
}

#[derive(Serialize)]
struct SecondFactorGone {
    login_id: String,
    had_one: bool,
}

pub(super) async fn reset_second_factor(
    common: &Common,
    book: &dyn Accounts,
    kind: &str,
    login_id: String,
) -> anyhow::Result<()> {
    must_exist(book, kind, &login_id).await?;
    let had_one = book
        .remove_second_factor(&login_id, Sha256::ZERO, now())
        .await?;
    let words = if had_one {
        format!("\"{login_id}\" has no second factor any more; its sessions have ended.")
    } else {
        format!("\"{login_id}\" had no second factor.")
    };
    report(common, &SecondFactorGone { login_id, had_one }, &words)
}
