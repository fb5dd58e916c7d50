//! `user`: customers' accounts. A password is printed once and never stored in clear.

use super::confirm::Confirm;
use super::{Common, Setup, account, contract, setup};
use crate::auth::issue::{Issued, must_change_issued};
use crate::clock::now;
use crate::store::{AccountBooks, AccountKind, Administration};
use anyhow::Context;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add an account and print its password.
    Add {
        /// Name or id of the contract it belongs to.
        #[arg(long)]
        contract: String,
        #[arg(long)]
        login_id: String,
        /// The issued password may be kept, whatever the contract says of others.
        #[arg(long)]
        keep_password: bool,
    },
    /// List accounts: when they signed in, what failed, the second factor, open sessions.
    List {
        /// Name or id of the contract; without it, of all.
        #[arg(long)]
        contract: Option<String>,
    },
    /// Issue a new password, print it, and end all sessions.
    ResetPassword {
        #[arg(long)]
        login_id: String,
        /// The issued password may be kept, whatever the contract says of others.
        #[arg(long)]
        keep_password: bool,
    },
    /// Take the second factor away, because its device is lost, and end all sessions.
    ResetSecondFactor {
        #[arg(long)]
        login_id: String,
    },
    /// Remove an account; its sessions end at once.
    Remove {
        #[arg(long)]
        login_id: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    let book = setup.store.accounts(AccountKind::Customer);
    match verb {
        Verb::Add {
            contract,
            login_id,
            keep_password,
        } => add(common, &setup, &contract, login_id, keep_password).await,
        Verb::List { contract } => {
            let contract = match contract {
                Some(wanted) => Some(contract::by_name(&setup.store, &wanted).await?.id),
                None => None,
            };
            account::list(common, &book.list(contract).await?)
        }
        Verb::ResetPassword {
            login_id,
            keep_password,
        } => {
            let listed = book.list(None).await?;
            let found = listed.iter().find(|row| row.login_id == login_id);
            let found = found.with_context(|| account::unknown("user", &login_id))?;
            let contract = found.contract.context("every user has a contract")?;
            let must_change = must_change(&setup, contract, keep_password).await?;
            let issued = Issued::draw()?;
            book.reset_password(&login_id, &issued.hash, must_change, now())
                .await?;
            account::print(common, &login_id, &issued, must_change)
        }
        Verb::ResetSecondFactor { login_id } => {
            account::reset_second_factor(common, &*book, "user", login_id).await
        }
        Verb::Remove { login_id, confirm } => {
            account::remove(common, &*book, "user", login_id, confirm).await
        }
    }
}

async fn add(
    common: &Common,
    setup: &Setup,
    contract: &str,
    login_id: String,
    keep_password: bool,
) -> anyhow::Result<()> {
    account::judge_login_id(&login_id)?;
    let contract = contract::by_name(&setup.store, contract).await?.id;
    let must_change = must_change(setup, contract, keep_password).await?;
    let issued = Issued::draw()?;
    setup
        .store
        .add_user(&login_id, contract, &issued.hash, must_change, now())
        .await?;
    account::print(common, &login_id, &issued, must_change)
}

/// As the contract says, unless the operator says that this one may be kept.
async fn must_change(
    setup: &Setup,
    contract: wire::ContractId,
    keep_password: bool,
) -> anyhow::Result<bool> {
    Ok(!keep_password && must_change_issued(&setup.store, contract).await?)
}
