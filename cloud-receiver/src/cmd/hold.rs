//! `hold`: what must be kept, whatever a contract's period or retention says - a lawsuit, a request of the police.

use super::confirm::Confirm;
use super::contract::by_name;
use super::lookup::{Candidate, find};
use super::{Common, Setup, report, setup};
use crate::clock::now;
use crate::evidence::local;
use crate::office::ending;
use crate::store::{Administration, ErasureBook, Hold};
use anyhow::Context;
use uuid::Uuid;
use wire::{CameraId, ContractId, SiteId};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Keep what a contract has, or a part of it, until the hold is removed. While there is one, the contract is not erased.
    Add {
        /// Name or id.
        #[arg(long)]
        contract: String,
        /// Only of this site: name or id.
        #[arg(long)]
        site: Option<String>,
        /// Only of this camera: name or id.
        #[arg(long)]
        camera: Option<String>,
        /// Only what was captured at or after this time.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Only what was captured before this time.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Why it is kept, and who wants it so.
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// List holds, with their reasons.
    List,
    /// Lift a hold. What it held up is due again.
    Remove {
        /// Its id, or the beginning of it.
        hold: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    match verb {
        Verb::Add {
            contract,
            site,
            camera,
            from,
            to,
            why,
        } => {
            let contract = by_name(&setup.store, &contract).await?.id;
            let time = |text: Option<String>| text.map(|text| local::parse(&text)).transpose();
            let hold = Hold {
                id: Uuid::new_v4(),
                contract,
                site: optional_site(&setup, contract, site).await?,
                camera: optional_camera(&setup, contract, camera).await?,
                from_us: time(from).context("--from")?,
                to_us: time(to).context("--to")?,
                placed_us: now(),
                why,
            };
            let hold = ending::place(&setup.store, hold).await?;
            let words = format!("{}\nkept until \"hold remove {}\"", line(&hold), hold.id);
            report(common, &hold, &words)
        }
        Verb::List => {
            let holds = setup.store.holds().await?;
            let lines: Vec<_> = holds.iter().map(line).collect();
            report(common, &holds, &lines.join("\n"))
        }
        Verb::Remove { hold, confirm } => {
            let candidates = setup
                .store
                .holds()
                .await?
                .into_iter()
                .map(|hold| Candidate {
                    id: hold.id.to_string(),
                    names: Vec::new(),
                    thing: hold,
                });
            let list = "\"hold list\" shows them";
            let hold = find("hold", &hold, list, candidates.collect())?;
            confirm.ask(&format!(
                "What only this hold keeps may be deleted at once: {}.",
                line(&hold)
            ))?;
            setup.store.remove_hold(hold.id, now()).await?;
            report(common, &hold, &format!("lifted: {}", line(&hold)))
        }
    }
}

fn line(hold: &Hold) -> String {
    let mut text = format!("{}  contract {}", hold.id, hold.contract);
    if let Some(site) = hold.site {
        text += &format!("  site {site}");
    }
    if let Some(camera) = hold.camera {
        text += &format!("  camera {camera}");
    }
    if let Some(from) = hold.from_us {
        text += &format!("  from {}", local::time(from));
    }
    if let Some(to) = hold.to_us {
        text += &format!("  to {}", local::time(to));
    }
    format!(
        "{text}  since {}  {}",
        local::time(hold.placed_us),
        hold.why
    )
}

async fn optional_site(
    setup: &Setup,
    contract: ContractId,
    wanted: Option<String>,
) -> anyhow::Result<Option<SiteId>> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let sites = setup.store.sites().await?.into_iter();
    let candidates = sites.filter(|site| site.contract == contract);
    let candidates = candidates.map(|site| Candidate {
        id: site.id.to_string(),
        names: vec![site.name],
        thing: site.id,
    });
    find(
        "site",
        &wanted,
        "\"site list\" shows them",
        candidates.collect(),
    )
    .map(Some)
}

async fn optional_camera(
    setup: &Setup,
    contract: ContractId,
    wanted: Option<String>,
) -> anyhow::Result<Option<CameraId>> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let cameras = setup.store.cameras_of(contract).await?.into_iter();
    let candidates = cameras.map(|(id, name)| Candidate {
        id: id.to_string(),
        names: vec![name],
        thing: id,
    });
    find(
        "camera",
        &wanted,
        "\"device list\" shows them",
        candidates.collect(),
    )
    .map(Some)
}
