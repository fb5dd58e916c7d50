//! What proving and auditing ask of the database: signed batches as they arrived, what the index tables say beside
//! them, and the book of signed heads.
//!
//! These reads take a contract or a device, not a `ContractScope`: they serve the operator's commands. What is handed
//! to a customer goes through `evidence::export`, which takes the scope.

use super::Result;
use async_trait::async_trait;
use serde::Serialize;
use wire::evidence::heads::Section;
use wire::evidence::manifest::{Boot, DeletedBatch, DeletedGap, Refusal};
use wire::{
    CameraId, ContractId, DeviceId, Epoch, EventId, Seq, SeqRange, Sha256, SiteId, UtcMicros,
    VerifyingKey,
};

/// A device with all that its evidence is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceDevice {
    pub device: DeviceId,
    pub contract: ContractId,
    pub contract_name: String,
    pub site: SiteId,
    pub site_name: String,
    pub record_key: VerifyingKey,
    pub enrolled_us: UtcMicros,
    pub revoked_us: Option<UtcMicros>,
    pub cameras: Vec<(CameraId, String)>,
    pub boots: Vec<Boot>,
    pub refused: Vec<Refusal>,
    /// What the receiver's book says it has stored, deleted as agreed since or not.
    pub stored: Vec<(Epoch, SeqRange)>,
    /// What gap records said that were deleted as agreed.
    pub deleted_gaps: Vec<DeletedGap>,
}

impl EvidenceDevice {
    /// What the receiver's book says it has not got, below the highest number of each epoch.
    pub fn holes(&self) -> Vec<(Epoch, SeqRange)> {
        let mut holes = Vec::new();
        let mut before: Option<(Epoch, Seq)> = None;
        for (epoch, range) in &self.stored {
            let first = before
                .filter(|(at, _)| at == epoch)
                .map_or(Seq::FIRST, |(_, last)| last.advanced_by(1));
            if range.first > first {
                let last = Seq(range.first.0 - 1);
                holes.push((*epoch, SeqRange { first, last }));
            }
            before = Some((*epoch, range.last));
        }
        holes
    }
}

/// A stored batch without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRow {
    pub no: i64,
    pub epoch: Epoch,
    pub first: Seq,
    pub last: Seq,
    pub sha256: Sha256,
    pub prev: Sha256,
    pub first_captured_us: UtcMicros,
    /// Its records were deleted as agreed: there are no bytes of it any more.
    pub deleted: bool,
}

impl BatchRow {
    /// What is left of it, where its records were deleted.
    pub fn as_deleted(&self) -> DeletedBatch {
        DeletedBatch {
            epoch: self.epoch,
            first_seq: self.first,
            last_seq: self.last,
            sha256: self.sha256,
            prev: self.prev,
            first_us: self.first_captured_us,
        }
    }
}

/// A media record, and whether its blob is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureRow {
    pub epoch: Epoch,
    pub seq: Seq,
    pub batch: i64,
    pub sha256: Sha256,
    pub class: String,
    pub content_type: String,
    pub camera: CameraId,
    pub event: Option<EventId>,
    pub captured_us: UtcMicros,
    /// As the box's clock said.
    pub captured_device_us: i64,
    pub arrived: bool,
    /// It was here, and was deleted when its agreed time was over.
    pub expired: bool,
    /// Who brought the blob, where it has a row.
    pub brought_by: Option<DeviceId>,
}

/// An event as the index shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct EvidenceEvent {
    pub id: EventId,
    pub device: DeviceId,
    pub camera: CameraId,
    pub class: String,
    pub score: f64,
    pub opened_us: UtcMicros,
    pub closed_us: Option<UtcMicros>,
    /// Of its highest revision.
    pub batch: i64,
}

/// What its batch's row says, in clear, of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordIndex {
    pub seq: Seq,
    pub kind: String,
    pub camera: Option<CameraId>,
    pub event: Option<EventId>,
    pub captured_device_us: i64,
}

/// What the index table says of one media record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaIndex {
    pub seq: Seq,
    pub sha256: Sha256,
    pub class: String,
    pub content_type: String,
    pub bytes: i64,
    pub camera: CameraId,
    pub event: Option<EventId>,
    pub captured_device_us: i64,
    pub arrived: bool,
}

/// What the index table says of one event, whose highest revision stands in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct EventIndex {
    pub id: EventId,
    pub revision: u32,
    pub camera: CameraId,
    pub class: String,
    pub score: f64,
    pub opened_device_us: i64,
}

/// Counts of one camera, hour and class. The hour is the device's, as it counted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HourRow {
    pub camera: Option<CameraId>,
    pub hour_us: i64,
    pub class: String,
    pub count: u64,
}

/// What the balance of a device is made of.
#[derive(Clone, Debug, Default)]
pub struct AuditRows {
    /// Records by kind.
    pub records: Vec<HourRow>,
    /// Media records by media class: pictures that are here, and that are not.
    pub pictures_here: Vec<HourRow>,
    pub pictures_awaited: Vec<HourRow>,
    /// The latter by key.
    pub awaited: Vec<PictureRow>,
    /// Pictures whose rows claim that the blob is here, though it has no row of its own.
    pub unbacked: Vec<PictureRow>,
    /// Losses, as gap records state them: (row, reason).
    pub gaps: Vec<(HourRow, String)>,
    /// Records that their batch's list of contents leaves out, and that no refusal explains.
    pub unindexed: Vec<(Epoch, Seq)>,
    /// Records, by kind, and pictures, by class, that had been received and were deleted as agreed. What deleted gap records
    /// said stands among the losses.
    pub deleted: Vec<HourRow>,
}

/// A row of the book of heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadsRow {
    pub number: u64,
    pub at_us: UtcMicros,
    pub sha256: Sha256,
    pub document: String,
    pub written_us: Option<UtcMicros>,
    pub mailed_us: Option<UtcMicros>,
    pub problem: Option<String>,
    pub stamp: Option<HeadsStamp>,
    /// Why the last attempt to get a time stamp failed.
    pub stamp_problem: Option<String>,
}

/// A time stamp over the document of heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadsStamp {
    /// The authority's answer as it came.
    pub answer: Vec<u8>,
    /// The time that it states.
    pub at_us: UtcMicros,
    pub written_us: Option<UtcMicros>,
    pub mailed_us: Option<UtcMicros>,
}

/// What of heads was sent out, and by which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentBy {
    File,
    Mail,
    StampFile,
    StampMail,
}

/// Evidence, read in pieces that fit in memory.
#[async_trait]
pub trait EvidenceReads: Send + Sync {
    /// Every device of a contract, or of all.
    async fn evidence_devices(&self, contract: Option<ContractId>) -> Result<Vec<EvidenceDevice>>;
    /// Every batch of a device, by epoch and number.
    async fn batch_rows(&self, device: DeviceId) -> Result<Vec<BatchRow>>;
    /// The signed bytes of batches, opened; `None` where the seal does not open or the row is gone.
    async fn batch_bytes(
        &self,
        contract: ContractId,
        device: DeviceId,
        numbers: Vec<i64>,
    ) -> Result<Vec<Option<Vec<u8>>>>;
    /// Media records of a device captured within a time, corrected, or all.
    async fn picture_rows(
        &self,
        device: DeviceId,
        range: Option<(UtcMicros, UtcMicros)>,
    ) -> Result<Vec<PictureRow>>;
    /// Events of a contract opened within a time, in order.
    async fn evidence_events(
        &self,
        contract: ContractId,
        range: (UtcMicros, UtcMicros),
    ) -> Result<Vec<EvidenceEvent>>;
    /// What the index tables say of the records of one batch.
    async fn index_rows(
        &self,
        device: DeviceId,
        batch: BatchRow,
    ) -> Result<(Vec<RecordIndex>, Vec<MediaIndex>, Vec<EventIndex>)>;
    /// Keys of pictures and events that no stored batch states: up to 100. No epoch where not even the batch is here.
    async fn rows_without_batch(&self, device: DeviceId) -> Result<Vec<(Option<Epoch>, Seq)>>;
    /// Batches whose records were deleted as agreed, by the audit log.
    async fn deletions_noted(&self, contract: Option<ContractId>) -> Result<u64>;
    /// Every blob row of a contract: hash, who brought it, length.
    async fn blob_rows(&self, contract: ContractId) -> Result<Vec<(Sha256, DeviceId, u64)>>;
    async fn audit_rows(
        &self,
        device: DeviceId,
        range: Option<(UtcMicros, UtcMicros)>,
    ) -> Result<AuditRows>;
}

/// The book of heads.
#[async_trait]
pub trait HeadsBook: Send + Sync {
    /// What is held at this moment, by contract. The salts are left empty.
    async fn holdings(&self) -> Result<Vec<Section>>;
    /// All rows, by number.
    async fn heads(&self) -> Result<Vec<HeadsRow>>;
    async fn newest_heads(&self) -> Result<Option<HeadsRow>>;
    /// `Exists` if another process made heads of this number meanwhile.
    async fn add_heads(&self, row: HeadsRow) -> Result<()>;
    /// Notes that heads went out, or why not.
    async fn heads_sent(
        &self,
        number: u64,
        by: SentBy,
        outcome: std::result::Result<UtcMicros, String>,
    ) -> Result<()>;
    /// Keeps a time stamp and the time that it states, or why there is none. The first that comes is kept.
    async fn heads_stamped(
        &self,
        number: u64,
        outcome: std::result::Result<(Vec<u8>, UtcMicros), String>,
    ) -> Result<()>;
}
