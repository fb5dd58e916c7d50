//! A box that serves another contract now, or whose contract ended while it was being wiped: what waits is destroyed before
//! anything is delivered.

use crate::ended;
use crate::spool::SpoolHandle;
use anyhow::Context;
use std::path::Path;

/// Says whether there was anything to be done. The mark goes last: cut off before that, it is done once more.
pub(super) async fn wipe_if_owed(data_dir: &Path, spool: &SpoolHandle) -> anyhow::Result<bool> {
    if !ended::owes_wipe(data_dir) {
        return Ok(false);
    }
    let wiped = spool.wipe().await?;
    ended::wiped(data_dir).with_context(|| {
        let folder = data_dir.display();
        format!("wipe-pending.json cannot be removed from {folder}; check its owner and the disk")
    })?;
    tracing::warn!(
        "{} records and {} pictures of a contract that this box serves no more are destroyed",
        wiped.records,
        wiped.pictures
    );
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::{RealClocks, TimeSource};
    use crate::config::SpoolConfig;
    use crate::health::Health;
    use crate::identity::SpoolKey;
    use crate::spool::{Spool, SpoolKeys};
    use std::sync::Arc;
    use uuid::Uuid;
    use wire::record::DeviceStateRecord;
    use wire::{Body, DeviceId, Record, SigningKey};

    fn open(data_dir: &Path) -> SpoolHandle {
        let keys = SpoolKeys {
            device_id: DeviceId(Uuid::from_u128(1)),
            record_key: SigningKey::from_seed([1; 32]),
            spool_key: SpoolKey([2; 32]),
        };
        let config = SpoolConfig {
            quota_bytes: 1 << 30,
            min_free_bytes: 0,
        };
        let time = TimeSource::new(Arc::new(RealClocks::new()));
        Spool::open(
            &data_dir.join("spool"),
            &config,
            keys,
            time,
            &Health::default(),
        )
        .unwrap()
    }

    async fn put(spool: &SpoolHandle) {
        let time = TimeSource::new(Arc::new(RealClocks::new()));
        let body = Body::DeviceState(DeviceStateRecord {
            state: "started".into(),
            agent_version: "1".into(),
            model: None,
        });
        spool
            .put_durable(Record::new(time.now(), body))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_waited_is_destroyed_once_and_before_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path());
        put(&spool).await;
        assert!(!wipe_if_owed(dir.path(), &spool).await.unwrap());
        assert_eq!(spool.stats().pending_records, 1, "nothing was owed");
        spool.close().await;

        // Found after a power cut, too.
        ended::owe_wipe(dir.path()).unwrap();
        let spool = open(dir.path());
        assert!(wipe_if_owed(dir.path(), &spool).await.unwrap());
        assert_eq!(spool.stats().pending_records, 0);
        put(&spool).await;
        assert!(!wipe_if_owed(dir.path(), &spool).await.unwrap());
        assert_eq!(spool.stats().pending_records, 1, "of the next contract");
    }
}
