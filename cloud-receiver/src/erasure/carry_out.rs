//! Erases: begins what is due, and does the next step of what has begun until it has to wait.
//!
//! One process at a time, by a lock on a file: `serve` looks every now and then, and an operator may be impatient.

use super::standing::{Rules, Standing};
use crate::blob::Blobs;
use crate::clock::now;
use crate::config::Config;
use crate::keys::KeyBackupFile;
use crate::order;
use crate::store::sqlite::SqliteStore;
use crate::store::{ErasureBook, ErasureRow, NewErasure, OperatorDesk, Step};
use anyhow::{Context, ensure};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;
use wire::evidence::erasure::Order;
use wire::{ContractId, SigningKey, UtcMicros};

const HOUR_US: i64 = 3_600_000_000;
/// So long before its day ends an erasure waits for devices no longer.
const LEFT_FOR_THE_REST_US: i64 = 6 * HOUR_US;

/// Devices get so long however late it is, or else one that is connected and well would never hear of it.
const DEVICES_GET_US: i64 = HOUR_US;

/// What erasing needs.
#[derive(Clone, Debug)]
pub struct Erasing {
    pub store: SqliteStore,
    pub blobs: Arc<Blobs>,
    pub key: Arc<SigningKey>,
    pub rules: Rules,
    pub wait_for_devices_us: i64,
    pub key_backup: KeyBackupFile,
    lock: PathBuf,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing is under way.
    Idle,
    /// Something waits: for a device, or for whoever reads the database.
    Waiting,
    /// Another process is at it.
    Busy,
}

impl Erasing {
    pub fn new(
        config: &Config,
        store: SqliteStore,
        blobs: Arc<Blobs>,
        key: Arc<SigningKey>,
    ) -> Self {
        Self {
            store,
            blobs,
            key,
            rules: super::rules(&config.erasure),
            wait_for_devices_us: i64::from(config.erasure.wait_for_devices_hours) * HOUR_US,
            key_backup: KeyBackupFile::at(config.key_backup_at()),
            lock: config.data_dir.join("erasure.lock"),
        }
    }

    /// Begins what is due and brings everything that has begun as far as it goes.
    pub async fn turn(&self) -> anyhow::Result<Turn> {
        let Some(_lock) = lock(&self.lock)? else {
            return Ok(Turn::Busy);
        };
        // One that fails holds up no other.
        let mut problems = self.begin_due(now()).await?;
        let mut turn = Turn::Idle;
        for row in self.store.erasures().await? {
            if row.step == Step::Done {
                continue;
            }
            match self.carry_on(&row).await {
                Ok(true) => {}
                Ok(false) => turn = Turn::Waiting,
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        ensure!(problems.is_empty(), "{}", problems.join("; "));
        Ok(turn)
    }

    async fn begin_due(&self, at: UtcMicros) -> anyhow::Result<Vec<String>> {
        let mut problems = Vec::new();
        for ending in self.store.endings().await? {
            let Standing::Due(due) = Standing::of(&ending, self.rules, at)? else {
                continue;
            };
            if due.begins_us > at {
                continue;
            }
            let order = Order {
                reason: "period_over".into(),
                why: None,
                actor: "system".into(),
                actor_name: None,
                at_us: at,
            };
            let erasure = NewErasure {
                contract: ending.contract,
                order,
                wait_until_us: wait_until(at, self.wait_for_devices_us, due.by_us),
                due_us: Some(due.by_us),
                must_be_over: true,
            };
            if let Err(error) = self.begin(erasure, at).await {
                let contract = ending.contract;
                problems.push(format!(
                    "the erasure of contract {contract} cannot begin: {error:#}"
                ));
            }
        }
        Ok(problems)
    }

    /// Writes the order down; from then on it cannot be undone.
    pub async fn begin(&self, erasure: NewErasure, at: UtcMicros) -> anyhow::Result<Uuid> {
        let contract = erasure.contract;
        let receiver = self.key.verifying_key();
        let id = self.store.begin_erasure(erasure, receiver, at).await?;
        tracing::warn!(contract.id = %contract, erasure.id = %id, "what contract {contract} has is being erased");
        Ok(id)
    }

    /// Step after step; `false`: one has to wait.
    async fn carry_on(&self, row: &ErasureRow) -> anyhow::Result<bool> {
        let mut step = row.step;
        loop {
            let done = self.step(row, step).await;
            let done = done.with_context(|| {
                let (id, step) = (row.id, step.as_str());
                format!("erasure {id} stays at step {step} and is tried again")
            })?;
            if !done {
                return Ok(false);
            }
            let rows = self.store.erasures().await?;
            let now_at = rows.iter().find(|other| other.id == row.id);
            step = now_at.context("the erasure is gone")?.step;
            if step == Step::Done {
                tracing::warn!(
                    contract.id = %row.contract, erasure.id = %row.id,
                    "contract {} is erased; \"erase certificate {}\" prints the certificate", row.contract, row.id
                );
                return Ok(true);
            }
        }
    }

    /// Does one; `false`: not yet.
    async fn step(&self, row: &ErasureRow, step: Step) -> anyhow::Result<bool> {
        let (id, contract) = (row.id, row.contract);
        match step {
            Step::TellDevices => {
                self.tell_devices(row).await?;
                self.store.erasure_at(id, Step::AwaitDevices, now()).await?;
                Ok(true)
            }
            Step::AwaitDevices => {
                let awaited = self.store.devices_awaited(contract).await?;
                if awaited > 0 && now() < row.wait_until_us {
                    return Ok(false);
                }
                self.store.erasure_at(id, Step::Shut, now()).await?;
                Ok(true)
            }
            Step::Shut => {
                let objects = self.blobs.objects_of(contract).await?;
                self.store.shut(id, objects, now()).await?;
                Ok(true)
            }
            Step::DestroyKey => Ok(self.store.destroy_key(id, &self.key_backup, now()).await?),
            Step::DeleteObjects => {
                self.blobs.erase(contract).await?;
                self.store.erasure_at(id, Step::DeleteRows, now()).await?;
                Ok(true)
            }
            Step::DeleteRows => {
                while !self.store.delete_rows(id, now()).await? {}
                Ok(true)
            }
            Step::Certify => self.certify(id, contract).await,
            Step::Done => Ok(true),
        }
    }

    async fn tell_devices(&self, row: &ErasureRow) -> anyhow::Result<()> {
        for device in self.store.devices_to_tell(row.contract).await? {
            let command = order::wipe_contract(device, row.contract, now(), row.wait_until_us);
            self.store.add_command(&command).await?;
        }
        Ok(())
    }

    async fn certify(&self, id: Uuid, contract: ContractId) -> anyhow::Result<bool> {
        // An upload that was under way when its device was shut out may have come in since.
        self.blobs.erase(contract).await?;
        let objects = self.blobs.objects_of(contract).await?;
        let signed = self.store.certify(id, objects, &self.key, now()).await?;
        if signed.is_none() {
            // So may a row; the next look begins there.
            while !self.store.delete_rows(id, now()).await? {}
        }
        Ok(signed.is_some())
    }
}

/// Until when devices that have not answered are waited for; also the deadline of what they are told. Late, because a hold was
/// lifted after the day or nobody was there to begin, it is better to be an hour later than to leave boxes unwiped.
fn wait_until(at: UtcMicros, wait_us: i64, due_by: UtcMicros) -> UtcMicros {
    let until = at.plus_us(wait_us);
    let latest = due_by.plus_us(-LEFT_FOR_THE_REST_US);
    let least = at.plus_us(wait_us.min(DEVICES_GET_US));
    until.min(latest).max(least)
}

/// `None`: another process has it. Let go of when it is dropped, or when the process ends however it may.
fn lock(path: &Path) -> anyhow::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_get_time_however_late_it_is() {
        let (at, wait) = (UtcMicros(1_795_000_000_000_000), 12 * HOUR_US);
        let hours = |due_in: i64, wait: i64| {
            let until = wait_until(at, wait, at.plus_us(due_in * HOUR_US));
            until.since_us(at) / HOUR_US
        };
        assert_eq!(hours(72, wait), 12, "in good time");
        assert_eq!(hours(10, wait), 4, "hours are left for the rest");
        assert_eq!(hours(6, wait), 1);
        assert_eq!(hours(-48, wait), 1, "the day is past");
        assert_eq!(hours(-48, 0), 0, "as configured");
    }
}
