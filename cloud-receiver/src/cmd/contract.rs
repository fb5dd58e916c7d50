//! `contract`: who owns the data.

use super::lookup::{Candidate, find};
use super::{Common, report, setup};
use crate::clock::now;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, ContractRow};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add a contract, with a data key of its own.
    Add {
        /// The customer's name, as the portal shows it.
        #[arg(long)]
        name: String,
    },
    /// List contracts.
    List,
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    match verb {
        Verb::Add { name } => {
            let id = setup.store.add_contract(&name, now()).await?;
            let words = format!("Contract \"{name}\" added: {id}");
            report(common, &ContractRow { id, name }, &words)
        }
        Verb::List => {
            let contracts = setup.store.contracts().await?;
            let lines: Vec<_> = contracts
                .iter()
                .map(|row| format!("{}  {}", row.id, row.name))
                .collect();
            report(common, &contracts, &lines.join("\n"))
        }
    }
}

pub(super) async fn by_name(store: &SqliteStore, wanted: &str) -> anyhow::Result<ContractRow> {
    let candidates = store.contracts().await?.into_iter().map(|row| Candidate {
        id: row.id.to_string(),
        names: vec![row.name.clone()],
        thing: row,
    });
    find(
        "contract",
        wanted,
        "\"contract list\" shows them, \"contract add\" adds one",
        candidates.collect(),
    )
}
