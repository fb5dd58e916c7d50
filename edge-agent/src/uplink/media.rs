//! Blobs over HTTPS, after the records, one at a time in each worker.

use crate::error::{ErrorKind, Kind};
use crate::spool::{Lane, LeasedBlob};
use crate::uplink::backoff::Backoff;
use crate::uplink::{Carriage, Courier};
use std::sync::Arc;
use std::time::Duration;

/// Leases of a connection that broke end by time: look now and then even if nothing new came.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a picture waits at most for records that wait for the line.
const RECORDS_FIRST: Duration = Duration::from_secs(2);
const RECORDS_LOOK: Duration = Duration::from_millis(20);

/// Delivers until the stop.
pub(super) async fn run(courier: Arc<Courier>) {
    let stop = courier.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = deliver(&courier) => {}
    }
    courier.media_reporter.stopped();
}

async fn deliver(courier: &Courier) {
    let mut backoff = Backoff::default();
    let mut lane = Lane::Live;
    loop {
        let Some(blob) = lease(courier, &mut lane).await else {
            tokio::select! {
                () = courier.spool.blobs_ready() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            continue;
        };
        records_first(courier).await;
        if let Err(failed) = send(courier, &blob).await {
            courier.spool.release_blob(&blob);
            courier.media_reporter.failed(&failed);
            courier.pause(backoff.after_failure(rand::random())).await;
        } else {
            backoff.reset();
        }
    }
}

/// The lanes in turn; the other one where the one is empty.
async fn lease(courier: &Courier, lane: &mut Lane) -> Option<LeasedBlob> {
    let first = *lane;
    *lane = first.other();
    for lane in [first, first.other()] {
        match courier.spool.lease_blob(lane).await {
            Ok(Some(blob)) => return Some(blob),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "cannot lease a blob: {error}"),
        }
    }
    None
}

/// Results before pictures, but a line that is never clear must not starve them.
async fn records_first(courier: &Courier) {
    let is_clear = async {
        loop {
            let stats = courier.spool.stats();
            let is_offline = courier.watch.status().carriage == Carriage::Offline;
            if is_offline || stats.pending_batches <= stats.leased_batches {
                return;
            }
            tokio::time::sleep(RECORDS_LOOK).await;
        }
    };
    // Waited long enough: the picture goes.
    let _ = tokio::time::timeout(RECORDS_FIRST, is_clear).await;
}

/// An error is one of the connection; a blob that cannot be opened or is refused for good is parked and no error.
async fn send(courier: &Courier, blob: &LeasedBlob) -> Result<(), String> {
    let bytes = match courier.spool.blob_bytes(blob).await {
        Ok(bytes) => bytes,
        // The spool tells it, unless the blob was delivered meanwhile by whoever else had leased it.
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Permanent) => {
            tracing::debug!(%error, "a blob is not sent: {error}");
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    let sent = courier
        .https()
        .put_blob(blob.sha256, &blob.content_type, &bytes, &courier.pace)
        .await;
    match sent {
        Ok(()) => {
            courier.spool.settle_blob(blob.sha256);
            courier.watch.update(|status| status.blobs_sent += 1);
            courier.media_reporter.progressed();
            Ok(())
        }
        Err(error) if error.is_poison() => {
            courier.spool.park_blob(blob.sha256, error.code());
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}
