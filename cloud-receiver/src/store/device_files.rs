//! Logs and support bundles of devices: what operators asked for, what became of it, and for how long it is kept.
//!
//! They are about a box and for operators. No customer's page reads them.

use super::{CommandState, Note, Result};
use async_trait::async_trait;
use serde::Serialize;
use wire::{CommandId, ContractId, DeviceId, Sha256, UtcMicros};

/// One that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceFileRow {
    pub device: DeviceId,
    pub contract: ContractId,
    /// `log_excerpt`, `support_bundle`.
    pub request: String,
    pub asked_us: UtcMicros,
    #[serde(flatten)]
    pub state: CommandState,
    /// Once the device's answer has named it.
    pub file: Option<DeviceFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceFile {
    pub sha256: Sha256,
    pub bytes: u64,
    pub content_type: String,
    /// When the answer came that names it.
    pub received_us: UtcMicros,
    /// Whether its bytes are here.
    pub arrived: bool,
    /// When it was deleted, because its time was over.
    pub expired_us: Option<UtcMicros>,
}

/// A box's line may be slow, and pictures of events go first; what has not come a day after it was named or was due hardly will.
const ARRIVES_WITHIN_US: i64 = 24 * 3600 * 1_000_000;

impl DeviceFileRow {
    /// The device has named its file, and its bytes should be here long since.
    pub fn is_overdue(&self, at: UtcMicros) -> bool {
        self.file.as_ref().is_some_and(|file| {
            let from = file.received_us.max(self.state.deadline_us);
            !file.arrived && file.expired_us.is_none() && at.since_us(from) > ARRIVES_WITHIN_US
        })
    }

    /// To be noted before its bytes are given to anybody.
    pub fn reading(&self) -> Note {
        Note::new("device_file.read")
            .of(self.contract)
            .on(self.state.id)
            .with("device", self.device.to_string())
            .with("request", &*self.request)
    }

    /// A name for it on somebody's disk.
    pub fn file_name(&self) -> String {
        let at = jiff::Timestamp::from_microsecond(self.asked_us.0).map_or_else(
            |_| self.asked_us.0.to_string(),
            |at| at.strftime("%Y%m%d-%H%M%SZ").to_string(),
        );
        let device: String = self.device.to_string().chars().take(8).collect();
        if self.is_log() {
            format!("log-{device}-{at}.txt")
        } else {
            format!("support-{device}-{at}.tar.gz")
        }
    }

    pub fn is_log(&self) -> bool {
        self.request == "log_excerpt"
    }
}

#[async_trait]
pub trait DeviceFileBook: Send + Sync {
    /// What was asked of a device, the newest first, up to 100.
    async fn device_files(&self, device: DeviceId) -> Result<Vec<DeviceFileRow>>;
    async fn device_file(
        &self,
        device: DeviceId,
        command: CommandId,
    ) -> Result<Option<DeviceFileRow>>;
    /// Forgets up to `at_most` whose answer came before `before`, unless a hold covers them, and answers which blobs are to be
    /// deleted after the commit.
    async fn expire_device_files(
        &self,
        contract: ContractId,
        before: UtcMicros,
        at_most: u32,
        at: UtcMicros,
    ) -> Result<Vec<Sha256>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_file_that_was_named_and_does_not_come_is_overdue_after_a_day() {
        const DAY_US: i64 = 24 * 3600 * 1_000_000;
        let row = |arrived, expired_us, deadline_us| DeviceFileRow {
            device: DeviceId(Uuid::nil()),
            contract: ContractId(Uuid::nil()),
            request: "log_excerpt".into(),
            asked_us: UtcMicros(1),
            state: CommandState {
                id: CommandId(Uuid::nil()),
                deadline_us: UtcMicros(deadline_us),
                sent_us: None,
                answered_us: None,
                outcome: Some("done".into()),
                detail: None,
            },
            file: Some(DeviceFile {
                sha256: Sha256::ZERO,
                bytes: 1,
                content_type: String::new(),
                received_us: UtcMicros(100),
                arrived,
                expired_us,
            }),
        };
        let named = row(false, None, 50);
        assert!(!named.is_overdue(UtcMicros(100 + DAY_US)));
        assert!(named.is_overdue(UtcMicros(101 + DAY_US)));
        let long = row(false, None, 500);
        assert!(
            !long.is_overdue(UtcMicros(101 + DAY_US)),
            "it had until then"
        );
        assert!(!row(true, None, 50).is_overdue(UtcMicros(2 * DAY_US)));
        let gone = row(false, Some(UtcMicros(7)), 50);
        assert!(!gone.is_overdue(UtcMicros(2 * DAY_US)));
        let unnamed = DeviceFileRow {
            file: None,
            ..named
        };
        assert!(!unnamed.is_overdue(UtcMicros(2 * DAY_US)));
    }
}
