//! Looks after what crashes and failing disks leave of blobs, and tells the operator of pictures that do not come.

use crate::blob::{Blobs, Swept};
use crate::clock::now;
use crate::store::sqlite::SqliteStore;
use crate::store::{OperatorDesk, OverdueMedia};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::UtcMicros;

/// How often, after once at the start.
const EVERY: Duration = Duration::from_secs(6 * 3600);
/// After a sweep that failed: the disk may be back soon.
const AGAIN: Duration = Duration::from_secs(60);
/// What is younger may be an upload on its way.
const SETTLED: Duration = Duration::from_secs(3600);
/// A picture waits in its device's spool behind the records for as long as the line is slow; after this it is told.
pub const OVERDUE_AFTER_US: i64 = 24 * 3600 * 1_000_000;

pub async fn run(blobs: Arc<Blobs>, store: SqliteStore, stop: CancellationToken) {
    let mut failed = false;
    loop {
        let pause = match stop.run_until_cancelled(once(&blobs, &store)).await {
            None => return,
            Some(Ok(())) => {
                failed = false;
                EVERY
            }
            Some(Err(error)) => {
                if !failed {
                    tracing::error!(%error, "stored pictures cannot be looked after: {error}");
                }
                failed = true;
                AGAIN
            }
        };
        if stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn once(blobs: &Blobs, store: &SqliteStore) -> anyhow::Result<()> {
    let at = now();
    tell(&blobs.sweep(SETTLED, at).await?);
    for overdue in store.overdue_media(at.plus_us(-OVERDUE_AFTER_US)).await? {
        tell_overdue(&overdue, at);
    }
    Ok(())
}

fn tell(swept: &Swept) {
    if *swept == Swept::default() {
        return;
    }
    let Swept {
        orphans_removed,
        torn_removed,
        parts_removed,
        newly_missing,
        missing,
        returned,
    } = *swept;
    tracing::warn!(
        orphans_removed,
        torn_removed,
        parts_removed,
        newly_missing,
        missing,
        returned,
        "stored pictures were looked after; files of {missing} are missing"
    );
}

fn tell_overdue(overdue: &OverdueMedia, at: UtcMicros) {
    let (device, count) = (overdue.device, overdue.count);
    let hours = at.since_us(overdue.oldest_us) / 3_600_000_000;
    tracing::warn!(
        device.id = %device, count, hours,
        "device {device} announced {count} pictures that have not arrived, the oldest {hours} h ago; its gap \
         records say which it had to drop"
    );
}
