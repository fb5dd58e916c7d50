//! `camera`: what the operator calls a camera. Its id never changes; its device keeps its own name for it.

use super::lookup::{Candidate, find};
use super::{Common, report, setup};
use crate::clock::now;
use crate::office;
use crate::store::sqlite::SqliteStore;
use crate::store::{CameraRow, LabelBook};
use anyhow::Context;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List cameras with their tags.
    List,
    /// Give a camera another name in the portal.
    Name {
        /// The camera: its id, the beginning of one, or its name.
        camera: String,
        /// The new name.
        #[arg(required_unless_present = "reset")]
        name: Option<String>,
        /// Call it as its device does again.
        #[arg(long, conflicts_with = "name")]
        reset: bool,
    },
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    match verb {
        Verb::List => {
            let cameras = setup.store.cameras().await?;
            let lines: Vec<_> = cameras.iter().map(line).collect();
            report(common, &cameras, &lines.join("\n"))
        }
        Verb::Name { camera, name, .. } => {
            let camera = by_name(&setup.store, &camera).await?;
            let name = name.map(|name| office::labels::name("NAME", &name));
            let name = name
                .transpose()
                .context("--reset takes the device's name again")?;
            setup
                .store
                .name_camera(camera.id, name.as_deref(), now())
                .await?;
            let name = name.unwrap_or(camera.device_name.clone());
            let words = format!("Camera {} is called \"{name}\" now", camera.id);
            report(common, &CameraRow { name, ..camera }, &words)
        }
    }
}

fn line(row: &CameraRow) -> String {
    let own = match row.name == row.device_name {
        true => String::new(),
        false => format!(" (its device says \"{}\")", row.device_name),
    };
    let tags = match row.tags.is_empty() {
        true => String::new(),
        false => format!("  [{}]", row.tags.join(", ")),
    };
    format!(
        "{}  {}/{}/{}{own}  {}{tags}",
        row.id, row.contract_name, row.site_name, row.name, row.state
    )
}

/// A camera may be named as `camera`, `site/camera` or `contract/site/camera`.
pub(super) async fn by_name(store: &SqliteStore, wanted: &str) -> anyhow::Result<CameraRow> {
    let candidates = store.cameras().await?.into_iter().map(|row| Candidate {
        id: row.id.to_string(),
        names: vec![
            row.name.clone(),
            format!("{}/{}", row.site_name, row.name),
            format!("{}/{}/{}", row.contract_name, row.site_name, row.name),
        ],
        thing: row,
    });
    find(
        "camera",
        wanted,
        "\"camera list\" shows them",
        candidates.collect(),
    )
}
