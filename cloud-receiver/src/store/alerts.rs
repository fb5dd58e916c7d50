//! What is wrong with devices and cameras for longer than agreed, from beginning to end.

use super::{ContractScope, NewMail, Result};
use async_trait::async_trait;
use serde::Serialize;
use wire::heartbeat::Heartbeat;
use wire::{CameraId, ContractId, DeviceId, UtcMicros};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    DeviceSilent,
    CameraSilent,
    ClockOff,
}

impl AlertKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::DeviceSilent => "device_silent",
            Self::CameraSilent => "camera_silent",
            Self::ClockOff => "clock_off",
        }
    }
}

/// What can be wrong with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Matter {
    pub device: DeviceId,
    /// Absent: the device itself.
    pub camera: Option<CameraId>,
    pub kind: AlertKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertRow {
    pub no: u64,
    pub contract: ContractId,
    #[serde(flatten)]
    pub matter: Matter,
    /// Last sign of life, or when it was first seen to be off.
    pub since_us: UtcMicros,
    pub opened_us: UtcMicros,
    /// Since when it has been well again, without a break.
    pub good_us: Option<UtcMicros>,
    pub closed_us: Option<UtcMicros>,
    pub told_us: Option<UtcMicros>,
    pub end_told_us: Option<UtcMicros>,
    /// Earlier ones of the same matter that closed within the last day: it flaps.
    pub earlier: u32,
}

/// A device as it must be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    pub device: DeviceId,
    pub contract: ContractId,
    pub site_name: String,
    pub enrolled_us: UtcMicros,
    pub heard_us: Option<UtcMicros>,
    pub heartbeat: Option<Heartbeat>,
    pub cameras: Vec<WatchedCamera>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedCamera {
    pub camera: CameraId,
    pub name: String,
    pub state: String,
    pub since_us: UtcMicros,
}

/// One step of an alert's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertStep {
    Open {
        contract: ContractId,
        matter: Matter,
        since_us: UtcMicros,
    },
    /// Well again, or no longer well; it is not over yet.
    Good {
        no: u64,
        since_us: Option<UtcMicros>,
    },
    Close {
        no: u64,
    },
    /// Nobody watches any more whether it is over: it ends, and nobody is told so.
    Forsake {
        no: u64,
    },
}

#[async_trait]
pub trait AlertBook: Send + Sync {
    /// All devices that are not revoked.
    async fn watched(&self) -> Result<Vec<Watched>>;
    /// Those that are open, and those whose end is not told yet.
    async fn live_alerts(&self) -> Result<Vec<AlertRow>>;
    async fn step_alerts(&self, steps: Vec<AlertStep>, at: UtcMicros) -> Result<()>;
    /// Puts mail into the outbox, and notes of which beginnings and ends it tells, in one commit.
    async fn alerts_told(
        &self,
        begun: Vec<u64>,
        ended: Vec<u64>,
        mail: Vec<NewMail>,
        at: UtcMicros,
    ) -> Result<()>;
    /// For the operator: what is open, oldest first.
    async fn open_alerts(&self) -> Result<Vec<AlertRow>>;
    /// For the operator: what is over, at most `limit`, the newest first.
    async fn past_alerts(&self, limit: u32) -> Result<Vec<AlertRow>>;
}

/// What a customer is shown.
#[async_trait]
pub trait AlertReads: Send + Sync {
    /// What is open in the contract.
    async fn alerts_of(&self, scope: ContractScope) -> Result<Vec<AlertRow>>;
}
