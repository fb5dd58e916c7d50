//! Second factors at rest: sealed, a user's under the key of the contract, an operator's under the operators' key.
//!
//! What is replaced is named by what it was: of two who use the same recovery code at once, one wins.

use super::{SqliteAccounts, Tables};
use crate::auth::second_factor::SecondFactor;
use crate::seal::{Name, Purpose, SecretKey};
use crate::store::sqlite::damaged;
use crate::store::{AccountKind, Result, StoreError};
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;
use wire::{ContractId, DeviceId, Sha256, UtcMicros};

/// Operators belong to no contract: theirs are sealed for the one that nobody has.
const OPERATORS: ContractId = ContractId(Uuid::nil());

fn name(contract: ContractId, login_id: &str) -> Name {
    Name {
        contract,
        device: DeviceId(Uuid::nil()),
        purpose: Purpose::SecondFactor,
        hash: Sha256::of(login_id.as_bytes()),
    }
}

fn seal(key: &SecretKey, name: &Name, factor: &SecondFactor) -> Vec<u8> {
    let json = serde_json::to_vec(factor).expect("factors hold only what JSON can say");
    key.seal(name, &json)
}

fn open(key: &SecretKey, name: &Name, sealed: &[u8]) -> Result<SecondFactor> {
    let json = key.open(name, sealed).map_err(damaged("a second factor"))?;
    serde_json::from_slice(&json)
        .map_err(|error| StoreError::Corrupt(format!("a second factor: {error}")))
}

/// When they come under another key. To be called in the writer's transaction.
pub(in crate::store::sqlite) fn reseal_operators(
    connection: &Connection,
    before: &SecretKey,
    after: &SecretKey,
) -> Result<()> {
    let mut statement = connection
        .prepare("select login_id, second_factor from operator where second_factor is not null")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    for (login_id, sealed) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        let name = name(OPERATORS, &login_id);
        let factor = open(before, &name, &sealed)?;
        connection.execute(
            "update operator set second_factor = ?2 where login_id = ?1",
            (login_id, seal(after, &name, &factor)),
        )?;
    }
    Ok(())
}

impl SqliteAccounts {
    async fn seal_of(&self, login_id: &str) -> Result<(SecretKey, Name)> {
        Ok(match self.kind {
            AccountKind::Operator => (self.store.keyring.operators(), name(OPERATORS, login_id)),
            AccountKind::Customer => {
                let contract = self.contract_of(login_id).await?;
                (self.store.key(contract).await?, name(contract, login_id))
            }
        })
    }

    async fn sealed_factor(&self, login_id: &str) -> Result<Option<Vec<u8>>> {
        let login_id = login_id.to_owned();
        let Tables { account, .. } = self.tables();
        self.store
            .read(move |connection| {
                let sealed = connection
                    .prepare_cached(&format!(
                        "select second_factor from {account} where login_id = ?1"
                    ))?
                    .query_row([login_id], |row| row.get(0))
                    .optional()?;
                Ok(sealed.flatten())
            })
            .await
    }

    pub(super) async fn read_factor(&self, login_id: &str) -> Result<Option<SecondFactor>> {
        let Some(sealed) = self.sealed_factor(login_id).await? else {
            return Ok(None);
        };
        let (key, name) = self.seal_of(login_id).await?;
        open(&key, &name, &sealed).map(Some)
    }

    pub(super) async fn begin_factor(&self, login_id: &str, factor: &SecondFactor) -> Result<()> {
        let (key, name) = self.seal_of(login_id).await?;
        let sealed = seal(&key, &name, factor);
        let login_id = login_id.to_owned();
        let Tables { account, .. } = self.tables();
        self.store
            .write(move |connection| {
                let begun = connection.execute(
                    &format!(
                        "update {account} set second_factor = ?2
                         where login_id = ?1 and second_factor_us is null"
                    ),
                    (login_id, sealed),
                )?;
                if begun == 0 {
                    return Err(StoreError::Exists("a second factor of this account"));
                }
                Ok(())
            })
            .await
    }

    pub(super) async fn confirm_factor(
        &self,
        login_id: &str,
        factor: &SecondFactor,
        step: i64,
        at: UtcMicros,
    ) -> Result<bool> {
        let Some(begun) = self.sealed_factor(login_id).await? else {
            return Ok(false);
        };
        let (key, name) = self.seal_of(login_id).await?;
        if open(&key, &name, &begun)?.secret != factor.secret {
            return Ok(false);
        }
        let sealed = seal(&key, &name, factor);
        let action = self.action("user.add_second_factor", "operator.add_second_factor");
        let note = self.note(action, login_id).await?;
        let owner = self.owner(login_id);
        let login_id = login_id.to_owned();
        let Tables { account, .. } = self.tables();
        let confirmed = self
            .store
            .by(owner)
            .write_noted(note, at, move |connection| {
                let changed = connection.execute(
                    &format!(
                        "update {account} set second_factor = ?3, second_factor_us = ?4, second_factor_step = ?5
                         where login_id = ?1 and second_factor = ?2 and second_factor_us is null"
                    ),
                    (login_id, begun, sealed, at.0, step),
                )?;
                if changed == 0 {
                    return Err(StoreError::Exists("a second factor of this account"));
                }
                Ok(())
            })
            .await;
        match confirmed {
            Ok(()) => Ok(true),
            Err(StoreError::Exists(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn replace_factor(
        &self,
        login_id: &str,
        before: &SecondFactor,
        after: &SecondFactor,
        at: UtcMicros,
    ) -> Result<bool> {
        let Some(found) = self.sealed_factor(login_id).await? else {
            return Ok(false);
        };
        let (key, name) = self.seal_of(login_id).await?;
        if open(&key, &name, &found)? != *before {
            return Ok(false);
        }
        let sealed = seal(&key, &name, after);
        let action = self.action("user.use_recovery_code", "operator.use_recovery_code");
        let note = self
            .note(action, login_id)
            .await?
            .with("left", after.recovery.len());
        let owner = self.owner(login_id);
        let login_id = login_id.to_owned();
        let Tables { account, .. } = self.tables();
        let replaced = self
            .store
            .by(owner)
            .write_noted(note, at, move |connection| {
                let changed = connection.execute(
                    &format!(
                        "update {account} set second_factor = ?3 where login_id = ?1 and second_factor = ?2"
                    ),
                    (login_id, found, sealed),
                )?;
                if changed == 0 {
                    return Err(StoreError::Missing("recovery code"));
                }
                Ok(())
            })
            .await;
        match replaced {
            Ok(()) => Ok(true),
            Err(StoreError::Missing("recovery code")) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
