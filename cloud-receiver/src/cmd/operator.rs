//! `operator`: accounts of those who run the receiver. Each has a second factor, set up at the first sign-in.

use super::confirm::Confirm;
use super::{Common, account, setup};
use crate::clock::now;
use crate::office::operators;
use crate::store::{AccountBooks, AccountKind};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add an operator and print the password, which must be changed at the first sign-in.
    Add {
        #[arg(long)]
        login_id: String,
    },
    /// List operators: when they signed in, what failed, the second factor, open sessions.
    List,
    /// Issue a new password, print it, and end all sessions.
    ResetPassword {
        #[arg(long)]
        login_id: String,
    },
    /// Take the second factor away, because its device is lost: another is set up at the next sign-in.
    ResetSecondFactor {
        #[arg(long)]
        login_id: String,
    },
    /// Remove an operator, never the last one; the sessions end at once.
    Remove {
        #[arg(long)]
        login_id: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let store = setup(common)?.store;
    let book = store.accounts(AccountKind::Operator);
    match verb {
        Verb::Add { login_id } => {
            let issued = operators::add(&store, &login_id, now()).await?;
            account::print(common, &login_id, &issued, true)
        }
        Verb::List => account::list(common, &book.list(None).await?),
        Verb::ResetPassword { login_id } => {
            account::must_exist(&*book, "operator", &login_id).await?;
            let issued = operators::reset_password(&store, &login_id, now()).await?;
            account::print(common, &login_id, &issued, true)
        }
        Verb::ResetSecondFactor { login_id } => {
            account::reset_second_factor(common, &*book, "operator", login_id).await
        }
        Verb::Remove { login_id, confirm } => {
            account::remove(common, &*book, "operator", login_id, confirm).await
        }
    }
}
