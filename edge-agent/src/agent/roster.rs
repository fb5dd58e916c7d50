//! Which cameras were watched at the last start. One that was taken out of the configuration since is told to the
//! receiver as removed; otherwise it would stand there as dead for ever.

use crate::clock::TimeSource;
use crate::config::CameraConfig;
use crate::files;
use crate::spool::SpoolHandle;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::Path;
use wire::record::CameraStateRecord;
use wire::{Body, CameraId, Record};

const FILE: &str = "cameras.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: CameraId,
    name: String,
}

/// Records the removals first and remembers the new roster then: a crash in between tells them twice, not never.
pub(super) async fn tell_removals(
    data_dir: &Path,
    configs: &[CameraConfig],
    spool: &SpoolHandle,
    time: &TimeSource,
) -> anyhow::Result<()> {
    let before = read(data_dir);
    let now = roster(configs);
    for camera in removed(&before, &now) {
        tracing::info!(camera.id = %camera.id, "camera \"{}\" is watched no more", camera.name);
        let body = Body::CameraState(CameraStateRecord {
            camera: camera.id,
            name: camera.name.clone(),
            state: "removed".into(),
            reason: None,
            width: None,
            height: None,
            codec: None,
        });
        spool.put_durable(Record::new(time.now(), body)).await?;
    }
    if before != now {
        let json = serde_json::to_vec_pretty(&now)?;
        files::write(data_dir, FILE, &json)
            .with_context(|| format!("{FILE} in {} cannot be written", data_dir.display()))?;
    }
    Ok(())
}

/// Unreadable counts as none: then a removal goes untold, which is no reason not to watch the other cameras.
fn read(data_dir: &Path) -> Vec<Entry> {
    std::fs::read(data_dir.join(FILE))
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .unwrap_or_default()
}

fn roster(configs: &[CameraConfig]) -> Vec<Entry> {
    configs
        .iter()
        .filter(|camera| camera.enabled)
        .map(|camera| Entry {
            id: camera.id,
            name: camera.name.clone(),
        })
        .collect()
}

fn removed<'a>(before: &'a [Entry], now: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
    before
        .iter()
        .filter(|camera| now.iter().all(|kept| kept.id != camera.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn entry(id: u128, name: &str) -> Entry {
        Entry {
            id: CameraId(Uuid::from_u128(id)),
            name: name.into(),
        }
    }

    #[test]
    fn a_new_name_is_no_removal() {
        let before = [entry(1, "Gate"), entry(2, "Back")];
        let now = [entry(1, "Front gate"), entry(3, "Yard")];
        let gone: Vec<_> = removed(&before, &now).collect();
        assert_eq!(gone, [&before[1]]);
    }

    #[test]
    fn a_torn_file_is_no_reason_to_stop() {
        let folder = tempfile::tempdir().expect("temp dir");
        assert_eq!(read(folder.path()), []);
        std::fs::write(folder.path().join(FILE), "[{").expect("write");
        assert_eq!(read(folder.path()), []);
    }
}
