//! Deletes pictures whose agreed time is over, a few at a time, so that nobody waits behind it.

use crate::blob::Blobs;
use crate::clock::now;
use crate::store::retention::{Cutoffs, RetentionBook};
use crate::store::sqlite::SqliteStore;
use crate::store::{ContractBook, ErasureBook};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::UtcMicros;

/// How often to look, after once at the start.
const EVERY: Duration = Duration::from_secs(3600);
/// Pictures of one commit.
const AT_ONCE: u32 = 100;
/// Between two commits others have their turn.
const PAUSE: Duration = Duration::from_millis(50);

pub async fn run(blobs: Arc<Blobs>, store: SqliteStore, stop: CancellationToken) {
    loop {
        match stop.run_until_cancelled(once(&blobs, &store, now())).await {
            None => return,
            Some(Ok(0)) => {}
            Some(Ok(pictures)) => tracing::info!(
                pictures,
                "{pictures} pictures were deleted whose agreed time was over"
            ),
            Some(Err(error)) => {
                tracing::error!("pictures whose time is over stay for now: {error:#}");
            }
        }
        let waited = stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        if waited.is_none() {
            return;
        }
    }
}

/// How many went.
pub(crate) async fn once(blobs: &Blobs, store: &SqliteStore, at: UtcMicros) -> anyhow::Result<u64> {
    let mut pictures = 0;
    for ending in store.endings().await? {
        // What is being erased goes anyway, and its terms are gone.
        if ending.step.is_some() {
            continue;
        }
        let Some(detail) = store.contract(ending.contract).await? else {
            continue;
        };
        let cutoffs = Cutoffs::of(&detail.terms.retention, at);
        while !cutoffs.is_empty() {
            let gone = store.expire(ending.contract, cutoffs, AT_ONCE, at).await?;
            for sha256 in &gone {
                blobs.delete(ending.contract, *sha256).await?;
            }
            pictures += gone.len() as u64;
            if gone.len() < AT_ONCE as usize {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(pictures)
}
