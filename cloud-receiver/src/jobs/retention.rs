//! Deletes pictures whose agreed time is over, a few at a time, so that nobody waits behind it.

use crate::blob::Blobs;
use crate::clock::now;
use crate::config::DeviceFiles;
use crate::store::retention::{Cutoffs, RetentionBook};
use crate::store::sqlite::SqliteStore;
use crate::store::{ContractBook, DeviceFileBook, ErasureBook};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::{ContractId, UtcMicros};

/// How often to look, after once at the start.
const EVERY: Duration = Duration::from_secs(3600);
/// Pictures of one commit.
const AT_ONCE: u32 = 100;
/// Between two commits others have their turn.
const PAUSE: Duration = Duration::from_millis(50);
const DAY_US: i64 = 24 * 3600 * 1_000_000;

pub async fn run(
    blobs: Arc<Blobs>,
    store: SqliteStore,
    files: DeviceFiles,
    stop: CancellationToken,
) {
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
        let files = stop.run_until_cancelled(device_files(&blobs, &store, files, now()));
        if let Some(Err(error)) = files.await {
            tracing::error!("logs of devices whose time is over stay for now: {error:#}");
        }
        let waited = stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        if waited.is_none() {
            return;
        }
    }
}

/// How many went. What is wrong with one contract keeps no other from its turn.
pub(crate) async fn once(blobs: &Blobs, store: &SqliteStore, at: UtcMicros) -> anyhow::Result<u64> {
    let mut pictures = 0;
    for ending in store.endings().await? {
        // What is being erased goes anyway, and its terms are gone.
        if ending.step.is_some() {
            continue;
        }
        let contract = ending.contract;
        if let Err(error) = of_contract(blobs, store, contract, at, &mut pictures).await {
            tracing::error!(
                contract.id = %contract,
                "pictures of contract {contract} whose time is over stay for now: {error:#}"
            );
        }
    }
    Ok(pictures)
}

/// Logs and support bundles of devices; how many went.
pub(crate) async fn device_files(
    blobs: &Blobs,
    store: &SqliteStore,
    files: DeviceFiles,
    at: UtcMicros,
) -> anyhow::Result<u64> {
    let before = at.plus_us(-i64::from(files.keep_days) * DAY_US);
    let mut count = 0;
    for ending in store.endings().await? {
        if ending.step.is_some() {
            continue;
        }
        loop {
            let contract = ending.contract;
            let gone = store
                .expire_device_files(contract, before, AT_ONCE, at)
                .await?;
            for sha256 in &gone {
                blobs.delete(contract, *sha256).await?;
            }
            count += gone.len() as u64;
            if gone.len() < AT_ONCE as usize {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(count)
}

/// Counts as it goes: what went before an error is gone.
async fn of_contract(
    blobs: &Blobs,
    store: &SqliteStore,
    contract: ContractId,
    at: UtcMicros,
    pictures: &mut u64,
) -> anyhow::Result<()> {
    let Some(detail) = store.contract(contract).await? else {
        return Ok(());
    };
    let cutoffs = Cutoffs::of(&detail.terms.retention, at);
    if cutoffs.is_empty() {
        return Ok(());
    }
    loop {
        let gone = store.expire(contract, cutoffs, AT_ONCE, at).await?;
        for sha256 in &gone {
            blobs.delete(contract, *sha256).await?;
        }
        *pictures += gone.len() as u64;
        if gone.len() < AT_ONCE as usize {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
