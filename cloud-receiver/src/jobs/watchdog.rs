//! Tells systemd that we live: only while the store's writer answers, because a receiver that hangs is not alive.
//!
//! One that answers that it cannot commit is alive: on a full disk the portal reads on, devices keep what they have,
//! and a new process would find the same disk.

use crate::store::sqlite::SqliteStore;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Runs if systemd asked for it (`WatchdogSec=`); else ends at once.
pub async fn run(store: SqliteStore, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let every = (limit / 3).max(Duration::from_millis(100));
    while stop
        .run_until_cancelled(tokio::time::sleep(every))
        .await
        .is_some()
    {
        match tokio::time::timeout(limit, store.probe()).await {
            // The writer itself tells of what it cannot commit.
            Ok(_) => {
                // Without systemd listening there is nobody to tell.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
            Err(_) => tracing::error!("the store does not answer"),
        }
    }
}
