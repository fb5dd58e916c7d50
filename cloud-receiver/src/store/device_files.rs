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

impl DeviceFileRow {
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
