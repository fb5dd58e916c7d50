//! `tag`: words that the operator puts on sites, cameras and events, and that everybody filters by.

use super::{Common, camera, contract, report, setup, site};
use crate::clock::now;
use crate::office;
use crate::store::sqlite::SqliteStore;
use crate::store::{LabelBook, TagRow, Tagged};
use anyhow::{bail, ensure};
use wire::{ContractId, EventId};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Put a tag on something.
    Add {
        /// The tag, as customers read it.
        tag: String,
        #[command(flatten)]
        on: On,
    },
    /// Take a tag away.
    Remove {
        /// The tag.
        tag: String,
        #[command(flatten)]
        on: On,
    },
    /// List the tags of a contract and what carries them.
    List {
        /// Name or id of the contract.
        #[arg(long)]
        contract: String,
    },
}

/// What carries the tag: one of these.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct On {
    /// A site: its id, or its name.
    #[arg(long)]
    site: Option<String>,
    /// A camera: its id, or its name.
    #[arg(long)]
    camera: Option<String>,
    /// An event: its id, as the address of its page shows it.
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    let store = &setup.store;
    match verb {
        Verb::Add { tag, on } => {
            let tag = office::labels::tag(&tag)?;
            let (contract, on) = meant(store, &on).await?;
            let words = match store.add_tag(contract, on, &tag, now()).await? {
                true => format!("The {} carries \"{tag}\" now", on.kind()),
                false => format!("The {} carried \"{tag}\" before", on.kind()),
            };
            report(common, &TagRow { contract, tag, on }, &words)
        }
        Verb::Remove { tag, on } => {
            let (contract, on) = meant(store, &on).await?;
            ensure!(
                store.remove_tag(contract, on, &tag, now()).await?,
                "the {} does not carry \"{tag}\"; \"tag list\" shows what carries it",
                on.kind()
            );
            let words = format!("The {} carries \"{tag}\" no more", on.kind());
            report(common, &TagRow { contract, tag, on }, &words)
        }
        Verb::List { contract } => {
            let contract = contract::by_name(store, &contract).await?;
            let rows = store.tag_rows(contract.id).await?;
            let line = |row: &TagRow| format!("{}  {} {}", row.tag, row.on.kind(), row.on.id());
            let lines: Vec<_> = rows.iter().map(line).collect();
            report(common, &rows, &lines.join("\n"))
        }
    }
}

async fn meant(store: &SqliteStore, on: &On) -> anyhow::Result<(ContractId, Tagged)> {
    if let Some(wanted) = &on.site {
        let site = site::by_name(store, wanted).await?;
        return Ok((site.contract, Tagged::Site(site.id)));
    }
    if let Some(wanted) = &on.camera {
        let camera = camera::by_name(store, wanted).await?;
        return Ok((camera.contract, Tagged::Camera(camera.id)));
    }
    let Some(event) = on.event else {
        bail!("say what is meant: --site, --camera or --event");
    };
    match store.contracts_of_event(event).await?.as_slice() {
        [contract] => Ok((*contract, Tagged::Event(event))),
        [] => bail!("there is no event {event}; its id is in the address of its page"),
        _ => bail!("events of several contracts have the id {event}; no tag is put on any"),
    }
}
