//! Deletes pictures and records whose agreed time is over, a few at a time, so that nobody waits behind it.

use crate::blob::Blobs;
use crate::clock::now;
use crate::config::DeviceFiles;
use crate::store::retention::{Cutoffs, RecordBook, RetentionBook, records_cutoff};
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
/// Batches of one commit: of a few hundred rows each.
const BATCHES_AT_ONCE: u32 = 20;
/// Counts, and other small rows, of one commit.
const ROWS_AT_ONCE: u32 = 1000;
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
                tracing::error!(
                    "pictures whose time is over stay until the next try, in an hour: {error:#}"
                );
            }
        }
        match stop
            .run_until_cancelled(records(&blobs, &store, now()))
            .await
        {
            None => return,
            Some(Ok(0)) => {}
            Some(Ok(records)) => tracing::info!(
                records,
                "{records} records were deleted whose agreed time was over"
            ),
            Some(Err(error)) => {
                tracing::error!(
                    "records whose time is over stay until the next try, in an hour: {error:#}"
                );
            }
        }
        let files = stop.run_until_cancelled(device_files(&blobs, &store, files, now()));
        if let Some(Err(error)) = files.await {
            tracing::error!(
                "logs of devices whose time is over stay until the next try, in an hour: {error:#}"
            );
        }
        let waited = stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        if waited.is_none() {
            return;
        }
    }
}

/// Contracts that are not being erased: what is goes anyway, and its terms are gone.
async fn kept(store: &SqliteStore) -> anyhow::Result<Vec<ContractId>> {
    let endings = store.endings().await?;
    let kept = endings.iter().filter(|ending| ending.step.is_none());
    Ok(kept.map(|ending| ending.contract).collect())
}

/// How many went. What is wrong with one contract keeps no other from its turn.
pub(crate) async fn once(blobs: &Blobs, store: &SqliteStore, at: UtcMicros) -> anyhow::Result<u64> {
    let mut pictures = 0;
    for contract in kept(store).await? {
        if let Err(error) = of_contract(blobs, store, contract, at, &mut pictures).await {
            tracing::error!(
                contract.id = %contract,
                "pictures of contract {contract} whose time is over stay until the next try, in an hour: {error:#}"
            );
        }
    }
    Ok(pictures)
}

/// Records; how many went. After the pictures: with a picture its event stays.
pub(crate) async fn records(
    blobs: &Blobs,
    store: &SqliteStore,
    at: UtcMicros,
) -> anyhow::Result<u64> {
    let mut records = 0;
    for contract in kept(store).await? {
        if let Err(error) = records_of(blobs, store, contract, at, &mut records).await {
            tracing::error!(
                contract.id = %contract,
                "records of contract {contract} whose time is over stay until the next try, in an hour: {error:#}"
            );
        }
    }
    Ok(records)
}

/// Counts as it goes.
async fn records_of(
    blobs: &Blobs,
    store: &SqliteStore,
    contract: ContractId,
    at: UtcMicros,
    records: &mut u64,
) -> anyhow::Result<()> {
    let Some(detail) = store.contract(contract).await? else {
        return Ok(());
    };
    let Some(cutoff) = records_cutoff(&detail.terms.retention, at) else {
        return Ok(());
    };
    // Batches first: their counts tell whether their clock was right.
    loop {
        let gone = store
            .expire_records(contract, cutoff, BATCHES_AT_ONCE, at)
            .await?;
        *records += gone.records;
        if gone.looked_at == 0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        let (rows, files) = store
            .expire_beside(contract, cutoff, ROWS_AT_ONCE, at)
            .await?;
        for sha256 in files {
            blobs.delete(contract, sha256).await?;
        }
        if rows == 0 {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
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
    for contract in kept(store).await? {
        loop {
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
