//! What operators and enrollment ask of the database, and the rows they see.

use super::Result;
use crate::ca::Certificate;
use crate::seal::SecretKey;
use async_trait::async_trait;
use serde::Serialize;
use wire::command::Command;
use wire::heartbeat::Heartbeat;
use wire::{
    CameraId, CommandId, ContractId, DeviceId, Epoch, SeqRange, Sha256, SiteId, UtcMicros,
    VerifyingKey,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContractRow {
    pub id: ContractId,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SiteRow {
    pub id: SiteId,
    pub contract: ContractId,
    pub contract_name: String,
    pub name: String,
}

/// One device with its cameras, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceListing {
    pub device: DeviceId,
    pub contract: String,
    pub site: String,
    pub agent_version: String,
    pub enrolled_us: UtcMicros,
    pub heard_us: Option<UtcMicros>,
    pub revoked_us: Option<UtcMicros>,
    /// The newest one that it has shown.
    pub certificate: Certificate,
    pub cameras: Vec<(CameraId, String)>,
    /// Records refused for good since ever.
    pub rejected: u64,
    /// Batches whose link to the one before is broken.
    pub broken_links: u64,
}

/// One device as the operator's page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceReport {
    pub listing: DeviceListing,
    /// The latest; absent before the first, and where one of a newer version cannot be read.
    pub heartbeat: Option<Heartbeat>,
    /// Not the removed ones.
    pub cameras: Vec<ReportedCamera>,
}

/// A camera as its device last said, by record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedCamera {
    pub camera: CameraId,
    pub name: String,
    /// `starting`, `running`, `retrying`.
    pub state: String,
    pub reason: Option<String>,
    pub since_us: UtcMicros,
}

/// What has arrived of one epoch of a device, for the operator who asks whether anything is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochDeliveries {
    pub epoch: Epoch,
    /// When its first batch was stored, by the receiver's clock.
    pub first_received_us: UtcMicros,
    pub batches: u64,
    pub records: u64,
    /// Record numbers that are missing below the highest stored one.
    pub holes: Vec<SeqRange>,
    /// Batches whose predecessor has not arrived: something before them is missing.
    pub links_pending: u64,
    pub links_broken: u64,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandState {
    pub id: CommandId,
    pub deadline_us: UtcMicros,
    pub sent_us: Option<UtcMicros>,
    pub answered_us: Option<UtcMicros>,
    /// `done`, `failed`, `refused`.
    pub outcome: Option<String>,
    pub detail: Option<String>,
}

/// A blob that is here, was hashed and is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRow {
    pub contract: ContractId,
    pub sha256: Sha256,
    /// Who brought it: bound into its seal.
    pub device: DeviceId,
    pub bytes: u64,
    pub content_type: String,
}

/// A blob's row, for comparing it with what is in the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBlob {
    pub contract: ContractId,
    pub sha256: Sha256,
    /// Marked as gone.
    pub is_missing: bool,
}

/// Pictures that signed records of a device announced long ago, and that have not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OverdueMedia {
    pub device: DeviceId,
    pub count: u64,
    /// When the oldest of these records arrived, by the receiver's clock.
    pub oldest_us: UtcMicros,
}

/// Stored pictures of a device whose files are known to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MissingBlobs {
    /// Who brought them.
    pub device: DeviceId,
    pub count: u64,
    /// Since when it is known, of the first of them.
    pub since_us: UtcMicros,
}

/// A device that enrolls.
#[derive(Clone, Debug)]
pub struct NewDevice {
    pub device: DeviceId,
    pub record_key: VerifyingKey,
    pub agent_version: String,
    /// What it is given; its earlier ones end with it.
    pub certificate: Certificate,
}

/// Where a claim code puts a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub contract: ContractId,
    pub contract_name: String,
    pub site: SiteId,
    pub site_name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimRefusal {
    Unknown,
    Used,
    Expired,
    /// The claim is good, but a device of this id exists, with another record key or for another contract.
    DeviceKnown,
}

/// Blob rows.
#[async_trait]
pub trait BlobRows: Send + Sync {
    /// Not one that is marked as missing.
    async fn blob(&self, contract: ContractId, sha256: Sha256) -> Result<Option<BlobRow>>;
    /// Called when the blob is durable; whoever reads the row afterwards finds it. `false`: it was here before, and
    /// was not missing.
    async fn blob_arrived(&self, blob: BlobRow, at: UtcMicros) -> Result<bool>;
    /// Whether any blob was ever taken in.
    async fn has_blobs(&self) -> Result<bool>;
    /// Whether there is a row, marked as missing or not.
    async fn names_blob(&self, contract: ContractId, sha256: Sha256) -> Result<bool>;
    /// The next rows in order of contract and hash.
    async fn blobs_after(
        &self,
        after: Option<(ContractId, Sha256)>,
        limit: u32,
    ) -> Result<Vec<HeldBlob>>;
    /// Marks a blob as gone, since when; or takes the mark away. What is marked counts as not here.
    async fn blob_missing(
        &self,
        contract: ContractId,
        sha256: Sha256,
        since: Option<UtcMicros>,
    ) -> Result<()>;
    /// The contract's data key, unwrapped.
    async fn contract_key(&self, contract: ContractId) -> Result<SecretKey>;
}

/// The claim-code exchange.
#[async_trait]
pub trait Enrollments: Send + Sync {
    /// Uses the claim and registers the device, both or neither. Of a race of two, one wins. A device that is on
    /// file with the same record key and contract enrolls again: its certificates of before count no more, and it
    /// is in service even if it was revoked.
    async fn enroll(
        &self,
        secret_hash: Sha256,
        device: NewDevice,
        at: UtcMicros,
    ) -> Result<std::result::Result<Place, ClaimRefusal>>;
}

/// The operator's verbs.
#[async_trait]
pub trait Administration: Send + Sync {
    async fn add_contract(&self, name: &str, at: UtcMicros) -> Result<ContractId>;
    async fn contracts(&self) -> Result<Vec<ContractRow>>;
    async fn add_site(&self, contract: ContractId, name: &str, at: UtcMicros) -> Result<SiteId>;
    async fn sites(&self) -> Result<Vec<SiteRow>>;
    async fn add_claim(
        &self,
        secret_hash: Sha256,
        site: SiteId,
        at: UtcMicros,
        expires: UtcMicros,
    ) -> Result<()>;
    async fn devices(&self) -> Result<Vec<DeviceListing>>;
    /// Every epoch of a device, in order of arrival.
    async fn deliveries(&self, device: DeviceId) -> Result<Vec<EpochDeliveries>>;
    /// `false`: it was revoked before.
    async fn revoke(&self, device: DeviceId, at: UtcMicros) -> Result<bool>;
    async fn add_user(
        &self,
        login_id: &str,
        contract: ContractId,
        password_hash: &str,
        must_change_password: bool,
        at: UtcMicros,
    ) -> Result<()>;
    /// The issued password must be changed at the first sign-in.
    async fn add_operator(&self, login_id: &str, password_hash: &str, at: UtcMicros) -> Result<()>;
}

/// What the operator's page asks, beside the verbs: how devices are, and commands to them.
#[async_trait]
pub trait OperatorDesk: Send + Sync {
    /// Every device with what it last said of itself, by contract and site.
    async fn reports(&self) -> Result<Vec<DeviceReport>>;
    async fn add_command(&self, command: &Command) -> Result<()>;
    async fn command(&self, id: CommandId) -> Result<Option<CommandState>>;
    /// By device: what was announced before `before` and has not arrived.
    async fn overdue_media(&self, before: UtcMicros) -> Result<Vec<OverdueMedia>>;
    /// By device: blobs that are marked as gone.
    async fn missing_blobs(&self) -> Result<Vec<MissingBlobs>>;
}
