//! How a contract ends, as the store sees it: its period and its holds, and the steps of an erasure.
//!
//! An erasure is a row that names its next step. Each step may be done any number of times, and moves the row on in the
//! commit that ends it: killed anywhere, it goes on at the next look as if nothing had been.

use super::Result;
use crate::keys::{KeyBackup, KeyBackupFile};
use async_trait::async_trait;
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;
use wire::evidence::erasure::{Certificate, Order, SignedCertificate};
use wire::{CameraId, ContractId, DeviceId, SigningKey, SiteId, UtcMicros, VerifyingKey};

/// What is to be done next, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Each device is told to wipe what it holds. Nobody can sign in any more.
    TellDevices,
    /// Their answers, for a bounded time. They travel among the records, so these are taken in still.
    AwaitDevices,
    /// Nothing is taken in any more, and what there is is counted.
    Shut,
    /// The key goes from the database, from memory, and from the key backup: all that it sealed is gone wherever it was
    /// copied to.
    DestroyKey,
    DeleteObjects,
    DeleteRows,
    /// Counted again, signed.
    Certify,
    Done,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::TellDevices,
        Self::AwaitDevices,
        Self::Shut,
        Self::DestroyKey,
        Self::DeleteObjects,
        Self::DeleteRows,
        Self::Certify,
        Self::Done,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TellDevices => "tell_devices",
            Self::AwaitDevices => "await_devices",
            Self::Shut => "shut",
            Self::DestroyKey => "destroy_key",
            Self::DeleteObjects => "delete_objects",
            Self::DeleteRows => "delete_rows",
            Self::Certify => "certify",
            Self::Done => "done",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == word)
    }
}

/// One erasure, under way or done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErasureRow {
    pub id: Uuid,
    pub contract: ContractId,
    pub step: Step,
    pub began_us: UtcMicros,
    pub wait_until_us: UtcMicros,
    pub due_us: Option<UtcMicros>,
    pub finished_us: Option<UtcMicros>,
    /// What the certificate says, or will say.
    pub certificate: Certificate,
    /// As signed; absent while it is under way.
    #[serde(skip)]
    pub signed: Option<SignedCertificate>,
}

/// What decides whether a contract is to be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ending {
    pub contract: ContractId,
    pub name: String,
    pub created_us: UtcMicros,
    pub until_us: Option<UtcMicros>,
    pub done_us: Option<UtcMicros>,
    pub holds: u64,
    /// The step of its erasure, once that has begun.
    pub step: Option<Step>,
}

/// Something that must be kept. An absent bound is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    pub id: Uuid,
    pub contract: ContractId,
    pub site: Option<SiteId>,
    pub camera: Option<CameraId>,
    pub from_us: Option<UtcMicros>,
    pub to_us: Option<UtcMicros>,
    pub placed_us: UtcMicros,
    pub why: String,
}

/// An order to erase.
#[derive(Clone, Debug)]
pub struct NewErasure {
    pub contract: ContractId,
    pub order: Order,
    pub wait_until_us: UtcMicros,
    pub due_us: Option<UtcMicros>,
    /// The period must be over and the work done at the moment of the commit, too; else somebody extended it meanwhile.
    pub must_be_over: bool,
}

#[async_trait]
pub trait ErasureBook: Send + Sync {
    /// Every contract that there is.
    async fn endings(&self) -> Result<Vec<Ending>>;
    /// Notes that work for a contract is done, or is not.
    async fn set_done(
        &self,
        contract: ContractId,
        done: Option<UtcMicros>,
        at: UtcMicros,
    ) -> Result<()>;

    /// Every erasure, in order of their beginning.
    async fn erasures(&self) -> Result<Vec<ErasureRow>>;
    /// How many of each kind a contract has now.
    async fn holdings_of(&self, contract: ContractId) -> Result<BTreeMap<String, u64>>;
    /// `receiver`: the key by which the certificate will be signed.
    async fn begin_erasure(
        &self,
        erasure: NewErasure,
        receiver: VerifyingKey,
        at: UtcMicros,
    ) -> Result<Uuid>;
    /// Devices in service that have not been told to wipe.
    async fn devices_to_tell(&self, contract: ContractId) -> Result<Vec<DeviceId>>;
    /// Devices that were told and have not answered.
    async fn devices_awaited(&self, contract: ContractId) -> Result<u64>;
    /// Goes on to a step that needs nothing else.
    async fn erasure_at(&self, id: Uuid, step: Step, at: UtcMicros) -> Result<()>;
    /// Every device is revoked, what it answered noted, and everything counted; `objects` beside the rows.
    async fn shut(&self, id: Uuid, objects: u64, at: UtcMicros) -> Result<()>;
    /// `false`: the log beside the database could not be emptied, because somebody read for too long; once more.
    async fn destroy_key(&self, id: Uuid, backup: &KeyBackupFile, at: UtcMicros) -> Result<bool>;
    /// Some of the rows; `true`: none is left.
    async fn delete_rows(&self, id: Uuid, at: UtcMicros) -> Result<bool>;
    /// `objects`: how many are left. `None`: something is left, or the log could not be emptied; once more.
    async fn certify(
        &self,
        id: Uuid,
        objects: u64,
        key: &SigningKey,
        at: UtcMicros,
    ) -> Result<Option<SignedCertificate>>;

    /// The contract's cameras by id and name.
    async fn cameras_of(&self, contract: ContractId) -> Result<Vec<(CameraId, String)>>;
    async fn add_hold(&self, hold: Hold) -> Result<()>;
    async fn holds(&self) -> Result<Vec<Hold>>;
    async fn remove_hold(&self, id: Uuid, at: UtcMicros) -> Result<()>;

    /// Every contract's key as it is wrapped.
    async fn key_backup(&self) -> Result<KeyBackup>;
    /// Rewrites the file of wrapped contract keys, for after a contract was added or its master key changed: how many.
    async fn write_key_backup(&self, file: &KeyBackupFile) -> Result<u64>;
    /// Contracts that are erased or on their way: what speaks of them elsewhere misses nothing here.
    async fn erased(&self) -> Result<Vec<ContractId>>;
}
