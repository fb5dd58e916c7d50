//! What the uplink says about itself.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use wire::UtcMicros;

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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkStatus {
    pub carriage: Carriage,
    pub since_us: UtcMicros,
    /// Why the better carriage does not work, in words; gone once it does.
    pub last_error: Option<String>,
    /// The receiver refuses this device: revoked or expired.
    pub is_refused: bool,
    pub receipts: u64,
    pub batches_sent: u64,
    pub blobs_sent: u64,
    pub last_receipt_us: Option<UtcMicros>,
}

/// The shared status. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UplinkWatch(Arc<Mutex<UplinkStatus>>);

impl UplinkWatch {
    pub(super) fn new(now: UtcMicros) -> Self {
        Self(Arc::new(Mutex::new(UplinkStatus {
            carriage: Carriage::Offline,
            since_us: now,
            last_error: None,
            is_refused: false,
            receipts: 0,
            batches_sent: 0,
            blobs_sent: 0,
            last_receipt_us: None,
        })))
    }

    pub fn status(&self) -> UplinkStatus {
        self.update(|status| status.clone())
    }

    pub(super) fn enter(&self, carriage: Carriage, now: UtcMicros) {
        self.update(|status| {
            if status.carriage != carriage {
                let word = carriage.as_str();
                tracing::info!(uplink.carriage = word, "records now travel: {word}");
                status.carriage = carriage;
                status.since_us = now;
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
