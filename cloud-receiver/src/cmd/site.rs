//! `site`: places of a contract.

use super::lookup::{Candidate, find};
use super::{Common, contract, report, setup};
use crate::clock::now;
use crate::office;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, SiteRow};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add a site to a contract.
    Add {
        /// Name or id of the contract.
        #[arg(long)]
        contract: String,
        /// The site's name, as the portal shows it.
        #[arg(long)]
        name: String,
    },
    /// List sites.
    List,
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    match verb {
        Verb::Add { contract, name } => {
            let name = office::labels::name("--name", &name)?;
            let contract = contract::by_name(&setup.store, &contract).await?;
            let id = setup.store.add_site(contract.id, &name, now()).await?;
            let words = format!("Site \"{name}\" of \"{}\" added: {id}", contract.name);
            let row = SiteRow {
                id,
                contract: contract.id,
                contract_name: contract.name,
                name,
            };
            report(common, &row, &words)
        }
        Verb::List => {
            let sites = setup.store.sites().await?;
            let line = |row: &SiteRow| format!("{}  {}/{}", row.id, row.contract_name, row.name);
            let lines: Vec<_> = sites.iter().map(line).collect();
            report(common, &sites, &lines.join("\n"))
        }
    }
}

/// A site may be named as `site` or, where several contracts have one of that name, as `contract/site`.
pub(super) async fn by_name(store: &SqliteStore, wanted: &str) -> anyhow::Result<SiteRow> {
    let candidates = store.sites().await?.into_iter().map(|row| Candidate {
        id: row.id.to_string(),
        names: vec![
            row.name.clone(),
            format!("{}/{}", row.contract_name, row.name),
        ],
        thing: row,
    });
    find(
        "site",
        wanted,
        "\"site list\" shows them, \"site add\" adds one",
        candidates.collect(),
    )
}
