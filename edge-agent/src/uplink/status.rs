//! What the uplink says about itself.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Over what records travel now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carriage {
    Mqtt,
    /// MQTT cannot be reached, or is turned off.
    Https,
    Offline,
}

impl Carriage {
    /// The heartbeat's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Carriage::Mqtt => "mqtt",
            Carriage::Https => "https",
            Carriage::Offline => "offline",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkStatus {
    pub carriage: Carriage,
    /// When that began, by the boot clock.
    pub since: Duration,
    /// Why the better carriage does not work, in words; gone once it does.
    pub last_error: Option<String>,
    /// The receiver refuses this device: revoked or expired.
    pub is_refused: bool,
    pub receipts: u64,
    pub batches_sent: u64,
    pub blobs_sent: u64,
    /// By the boot clock.
    pub last_receipt: Option<Duration>,
}

/// The shared status. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UplinkWatch(Arc<Mutex<UplinkStatus>>);

impl UplinkWatch {
    pub(super) fn new(now: Duration) -> Self {
        Self(Arc::new(Mutex::new(UplinkStatus {
            carriage: Carriage::Offline,
            since: now,
            last_error: None,
            is_refused: false,
            receipts: 0,
            batches_sent: 0,
            blobs_sent: 0,
            last_receipt: None,
        })))
    }

    pub fn status(&self) -> UplinkStatus {
        self.update(|status| status.clone())
    }

    pub(super) fn enter(&self, carriage: Carriage, now: Duration) {
        self.update(|status| {
            if status.carriage != carriage {
                let word = carriage.as_str();
                tracing::info!(uplink.carriage = word, "records now travel: {word}");
                status.carriage = carriage;
                status.since = now;
            }
            if carriage != Carriage::Offline {
                status.is_refused = false;
            }
            if carriage == Carriage::Mqtt {
                status.last_error = None;
            }
        });
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut UplinkStatus) -> T) -> T {
        change(
            &mut self
                .0
                .lock()
                .expect("the status is only changed in place under the lock"),
        )
    }
}
