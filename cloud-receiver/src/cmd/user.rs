//! `user`: customers' accounts, and new passwords for operators too. A password is printed once and never stored in clear.

use super::{Common, contract, report, setup};
use crate::auth::password;
use crate::clock::now;
use crate::store::{AccountBooks, AccountKind, Administration};
use anyhow::ensure;
use serde::Serialize;
use wire::Sha256;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add an account and print its password.
    Add {
        /// Name or id of the contract it belongs to.
        #[arg(long)]
        contract: String,
        #[arg(long)]
        login_id: String,
        /// The issued password may be kept; without this it must be changed at the first sign-in.
        #[arg(long)]
        keep_password: bool,
    },
    /// Issue a new password, of a user or of an operator, print it, and end all sessions.
    ResetPassword {
        #[arg(long)]
        login_id: String,
        /// The issued password may be kept; without this it must be changed at the first sign-in.
        #[arg(long)]
        keep_password: bool,
    },
}

#[derive(Serialize)]
struct Issued {
    login_id: String,
    password: String,
    must_change_password: bool,
}

const LOGIN_ID_CHARS: usize = 64;

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    let issued = password::generate();
    let hash = password::hash(&issued)?;
    let (login_id, keep_password) = match verb {
        Verb::Add {
            contract,
            login_id,
            keep_password,
        } => {
            let sane = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
            ensure!(
                (1..=LOGIN_ID_CHARS).contains(&login_id.len()) && login_id.chars().all(sane),
                "a login ID has 1 to {LOGIN_ID_CHARS} letters, digits, dots, dashes, underscores or @"
            );
            let contract = contract::by_name(&setup.store, &contract).await?;
            setup
                .store
                .add_user(&login_id, contract.id, &hash, !keep_password, now())
                .await?;
            (login_id, keep_password)
        }
        Verb::ResetPassword {
            login_id,
            keep_password,
        } => {
            // A login ID is one person's, a customer's or an operator's.
            let mut book = setup.store.accounts(AccountKind::Customer);
            if book.account(&login_id).await?.is_none() {
                book = setup.store.accounts(AccountKind::Operator);
            }
            book.set_password(&login_id, &hash, !keep_password).await?;
            // No session has this token: all end.
            book.delete_other_sessions(&login_id, Sha256::ZERO).await?;
            (login_id, keep_password)
        }
    };
    let after = if keep_password {
        ""
    } else {
        "; to be changed at the first sign-in"
    };
    let words = format!("login ID  {login_id}\npassword  {issued}   shown this once{after}");
    let issued = Issued {
        login_id,
        password: issued,
        must_change_password: !keep_password,
    };
    report(common, &issued, &words)
}
