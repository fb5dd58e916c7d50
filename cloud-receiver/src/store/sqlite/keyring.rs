//! Contract keys in memory, unwrapped on first use; and changing the master key that wraps them.
//!
//! Operators' second factors are sealed under a key of their own, which is wrapped like a contract's.
//!
//! The database names the master key that it is under. A process that was started before a change of it goes on with
//! the contract keys it holds, and can neither read nor make another: a key wrapped under a master key that is gone
//! would be lost.

use super::{SqliteStore, accounts, id16, optional_time_at, time_at, uuid_at};
use crate::keys::{KeyBackup, WrappedKey};
use crate::seal::{MasterId, MasterKeys, SecretKey};
use crate::store::{KeyBook, OpenClaims, Result, StoreError};
use async_trait::async_trait;
use data_encoding::HEXLOWER;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use wire::{ContractId, UtcMicros};

/// Operators belong to no contract: theirs is wrapped for the one that nobody has.
const OPERATORS: ContractId = ContractId(uuid::Uuid::nil());
/// How long emptying the log waits for readers.
const READERS_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Keyring {
    master: SecretKey,
    /// Of what is operators' own.
    operators: SecretKey,
    keys: RwLock<HashMap<ContractId, SecretKey>>,
}

impl Keyring {
    /// With the one of the master keys that the database is under. A new database is put under the current one.
    pub(super) fn open(connection: &Connection, master: &MasterKeys, path: &Path) -> Result<Self> {
        let current = MasterId::of(master.current());
        if master_id(connection)?.is_none() {
            connection.execute(
                "insert or ignore into master_key (one, id) values (1, ?1)",
                [current.0],
            )?;
        }
        let wanted = master_id(connection)?.unwrap_or(current);
        let key = master.find(wanted).ok_or_else(|| StoreError::MasterKey {
            path: path.display().to_string(),
            wanted,
            found: current,
        })?;
        Ok(Self {
            master: key.clone(),
            operators: operators_key(connection, key)?,
            keys: RwLock::default(),
        })
    }

    /// For what belongs to no contract.
    pub(super) fn master(&self) -> SecretKey {
        self.master.clone()
    }

    /// For what is operators' own.
    pub(super) fn operators(&self) -> SecretKey {
        self.operators.clone()
    }

    pub(super) fn known(&self, contract: ContractId) -> Option<SecretKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(&contract).cloned()
    }

    pub(super) fn load(&self, connection: &Connection, contract: ContractId) -> Result<SecretKey> {
        let wrapped: Vec<u8> = connection
            .prepare_cached("select wrapped from contract_key where contract = ?1")?
            .query_row([id16(contract.0)], |row| row.get(0))
            .optional()?
            .ok_or(StoreError::Missing("key of the contract"))?;
        let key = match self.master.unwrap(contract, &wrapped) {
            Ok(key) => key,
            Err(_) => {
                self.must_be_current(connection)?;
                return Err(damaged(contract));
            }
        };
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(contract, key.clone());
        Ok(key)
    }

    /// Keeps the key of a new contract. To be called in the writer's transaction.
    pub(super) fn add(
        &self,
        connection: &Connection,
        contract: ContractId,
        key: &SecretKey,
        at: UtcMicros,
    ) -> Result<()> {
        self.must_be_current(connection)?;
        let wrapped = self.master.wrap(contract, key);
        connection.execute(
            "insert into contract_key (contract, wrapped, created_us) values (?1, ?2, ?3)",
            (id16(contract.0), wrapped, at.0),
        )?;
        Ok(())
    }

    /// Forgets every key that the database has no more, whichever process destroyed it.
    pub(super) fn forget_destroyed(&self, connection: &Connection) -> Result<()> {
        let there: HashSet<ContractId> = wrapped_keys(connection)?
            .into_iter()
            .map(|(contract, _)| contract)
            .collect();
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|contract, _| there.contains(contract));
        Ok(())
    }

    /// Every key as it is wrapped, for the key backup.
    pub(super) fn backup(connection: &Connection) -> Result<KeyBackup> {
        let moment = connection.unchecked_transaction()?;
        let master = master_id(&moment)?.ok_or(StoreError::Missing("master key id"))?;
        let mut statement =
            moment.prepare("select contract, created_us, wrapped from contract_key")?;
        let rows = statement.query_map([], |row| {
            Ok(WrappedKey {
                contract: ContractId(uuid_at(row, 0)?),
                created_us: time_at(row, 1)?,
                wrapped: HEXLOWER.encode(&row.get::<_, Vec<u8>>(2)?),
            })
        })?;
        let keys = rows.collect::<rusqlite::Result<_>>()?;
        Ok(KeyBackup::new(master.to_string(), keys))
    }

    fn must_be_current(&self, connection: &Connection) -> Result<()> {
        if master_id(connection)? == Some(MasterId::of(&self.master)) {
            return Ok(());
        }
        Err(StoreError::Database(
            "the master key was changed since this program started; start it again".into(),
        ))
    }

    /// To be called in the writer's transaction.
    fn rewrap(&self, connection: &Connection, next: &SecretKey) -> Result<()> {
        let id = MasterId::of(next);
        if master_id(connection)? == Some(id) {
            return Ok(());
        }
        self.must_be_current(connection)?;
        for (contract, wrapped) in wrapped_keys(connection)? {
            let key = self.master.unwrap(contract, &wrapped);
            let key = key.map_err(|_| damaged(contract))?;
            connection.execute(
                "update contract_key set wrapped = ?2 where contract = ?1",
                (id16(contract.0), next.wrap(contract, &key)),
            )?;
        }
        connection.execute(
            "update operator_key set wrapped = ?1",
            [next.wrap(OPERATORS, &self.operators)],
        )?;
        connection.execute("update master_key set id = ?1", [id.0])?;
        Ok(())
    }
}

/// The key of what is operators' own. Where there is none yet, it is drawn, and what the master key itself sealed before is sealed
/// under it; of two processes that open the database at once one does so.
fn operators_key(connection: &Connection, master: &SecretKey) -> Result<SecretKey> {
    let change = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let wrapped: Option<Vec<u8>> = change
        .query_row("select wrapped from operator_key", [], |row| row.get(0))
        .optional()?;
    if let Some(wrapped) = wrapped {
        return master.unwrap(OPERATORS, &wrapped).map_err(|_| {
            StoreError::Corrupt(
                "the operators' key does not open under the master key; restore the database from a backup".into(),
            )
        });
    }
    let key = SecretKey::generate();
    accounts::reseal_operators(&change, master, &key)?;
    change.execute(
        "insert into operator_key (one, wrapped) values (1, ?1)",
        [master.wrap(OPERATORS, &key)],
    )?;
    change.commit()?;
    Ok(key)
}

/// After a restore under another master key. A backup from before there was such a key holds what the master key sealed itself.
pub(super) fn rewrap_operators(
    connection: &Connection,
    old: &SecretKey,
    new: &SecretKey,
) -> Result<()> {
    let is_there = connection
        .prepare("select 1 from sqlite_schema where name = 'operator_key'")?
        .exists([])?;
    let wrapped: Option<Vec<u8>> = if is_there {
        connection
            .query_row("select wrapped from operator_key", [], |row| row.get(0))
            .optional()?
    } else {
        None
    };
    let Some(wrapped) = wrapped else {
        return accounts::reseal_operators(connection, old, new);
    };
    let key = old.unwrap(OPERATORS, &wrapped).map_err(|_| {
        StoreError::Corrupt("the operators' key does not open under the backup's master key".into())
    })?;
    connection.execute(
        "update operator_key set wrapped = ?1",
        [new.wrap(OPERATORS, &key)],
    )?;
    Ok(())
}

/// `None`: the database is new.
fn master_id(connection: &Connection) -> Result<Option<MasterId>> {
    Ok(connection
        .prepare_cached("select id from master_key")?
        .query_row([], |row| Ok(MasterId(row.get(0)?)))
        .optional()?)
}

fn wrapped_keys(connection: &Connection) -> Result<Vec<(ContractId, Vec<u8>)>> {
    let mut statement = connection.prepare("select contract, wrapped from contract_key")?;
    let rows = statement.query_map([], |row| Ok((ContractId(uuid_at(row, 0)?), row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn damaged(contract: ContractId) -> StoreError {
    StoreError::Corrupt(format!(
        "the key of contract {contract} does not open under the master key; restore the database from a backup"
    ))
}

#[async_trait]
impl KeyBook for SqliteStore {
    async fn hold_keys(&self) -> Result<()> {
        let keyring = Arc::clone(&self.keyring);
        self.read(move |connection| {
            for (contract, _) in wrapped_keys(connection)? {
                // One that is damaged is no reason not to serve the others.
                if let Err(error) = keyring.load(connection, contract) {
                    tracing::error!(contract.id = %contract, %error, "{error}");
                }
            }
            Ok(())
        })
        .await
    }

    async fn rewrap(&self, next: &SecretKey) -> Result<u64> {
        let (keyring, key) = (Arc::clone(&self.keyring), next.clone());
        self.write(move |connection| keyring.rewrap(connection, &key))
            .await?;
        let key = next.clone();
        self.read(move |connection| {
            let keys = wrapped_keys(connection)?;
            for (contract, wrapped) in &keys {
                let opened = key.unwrap(*contract, wrapped);
                opened.map_err(|_| damaged(*contract))?;
            }
            Ok(keys.len() as u64)
        })
        .await
    }

    async fn empty_log(&self) -> Result<bool> {
        self.read(|connection| {
            let path = connection.path().unwrap_or_default();
            let writing = Connection::open(path)?;
            writing.busy_timeout(READERS_TIMEOUT)?;
            let busy: bool =
                writing.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0))?;
            Ok(!busy)
        })
        .await
    }

    async fn is_under_our_key(&self) -> Result<bool> {
        let ours = MasterId::of(&self.keyring.master);
        self.read(move |connection| Ok(master_id(connection)? == Some(ours)))
            .await
    }

    async fn open_claims(&self, made_before: UtcMicros, at: UtcMicros) -> Result<OpenClaims> {
        self.read(move |connection| {
            Ok(connection.query_row(
                "select count(*), max(expires_us) from claim
                 where used_us is null and expires_us > ?2 and created_us < ?1",
                (made_before.0, at.0),
                |row| {
                    Ok(OpenClaims {
                        count: row.get::<_, i64>(0)?.cast_unsigned(),
                        until_us: optional_time_at(row, 1)?,
                    })
                },
            )?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::second_factor::SecondFactor;
    use crate::clock::now;
    use crate::live::Live;
    use crate::store::{AccountBooks, AccountKind, Administration, BlobRows};
    use std::path::PathBuf;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes([byte; 32])
    }

    fn open(path: &Path, master: impl Into<MasterKeys>) -> Result<SqliteStore> {
        SqliteStore::open(path, master, Live::default(), true)
    }

    async fn with_contracts(path: &Path) -> Vec<(ContractId, SecretKey)> {
        let store = open(path, key(1)).unwrap();
        let mut keys = Vec::new();
        for name in ["one", "two", "three"] {
            let contract = store.add_contract(name, now()).await.unwrap();
            keys.push((contract, store.contract_key(contract).await.unwrap()));
        }
        keys
    }

    async fn must_hold(store: &SqliteStore, keys: &[(ContractId, SecretKey)]) {
        for (contract, key) in keys {
            assert_eq!(&store.contract_key(*contract).await.unwrap(), key);
        }
    }

    fn somewhere() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receiver.db");
        (dir, path)
    }

    #[tokio::test]
    async fn the_master_key_changes_and_contract_keys_do_not() {
        let (_dir, path) = somewhere();
        let keys = with_contracts(&path).await;
        let before = open(&path, key(1)).unwrap();
        assert_eq!(before.rewrap(&key(2)).await.unwrap(), 3);
        assert!(before.empty_log().await.unwrap());
        assert_eq!(
            std::fs::metadata(path.with_extension("db-wal"))
                .unwrap()
                .len(),
            0
        );
        must_hold(&open(&path, key(2)).unwrap(), &keys).await;
        // Between the two steps both keys are on disk; and what was done is not done again.
        let both = open(&path, MasterKeys::new(key(1), Some(key(2)))).unwrap();
        must_hold(&both, &keys).await;
        assert_eq!(both.rewrap(&key(2)).await.unwrap(), 3);
        let refused = open(&path, key(1)).unwrap_err();
        assert!(matches!(refused, StoreError::MasterKey { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_process_from_before_goes_on_with_what_it_holds_and_makes_nothing_that_would_be_lost()
    {
        let (_dir, path) = somewhere();
        let keys = with_contracts(&path).await;
        let serving = open(&path, key(1)).unwrap();
        serving.hold_keys().await.unwrap();
        serving.add_operator("umi", "hash", now()).await.unwrap();
        let operators = serving.accounts(AccountKind::Operator);
        let factor = SecondFactor::begin();
        let begun = operators.begin_second_factor("umi", &factor).await;
        begun.unwrap();
        let cold = open(&path, key(1)).unwrap();
        open(&path, key(1)).unwrap().rewrap(&key(2)).await.unwrap();
        must_hold(&serving, &keys).await;
        let operators = serving.accounts(AccountKind::Operator);
        let found = operators.second_factor("umi").await.unwrap();
        assert_eq!(
            found,
            Some(factor.clone()),
            "operators come in all the while"
        );
        for refused in [
            cold.contract_key(keys[0].0).await.map(|_| ()),
            serving.add_contract("late", now()).await.map(|_| ()),
            serving.rewrap(&key(3)).await.map(|_| ()),
        ] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("start it again"), "{refused}");
        }
        must_hold(&open(&path, key(2)).unwrap(), &keys).await;
    }

    #[tokio::test]
    async fn what_the_master_key_sealed_itself_comes_under_the_operators_key() {
        let (_dir, path) = somewhere();
        let factor = SecondFactor::begin();
        {
            let store = open(&path, key(1)).unwrap();
            store.add_operator("umi", "hash", now()).await.unwrap();
            let operators = store.accounts(AccountKind::Operator);
            let begun = operators.begin_second_factor("umi", &factor).await;
            begun.unwrap();
            // As it was before there was such a key, also in backups.
            let sealed_by = store.keyring.operators();
            let undo = move |connection: &Connection| {
                accounts::reseal_operators(connection, &sealed_by, &key(1))?;
                connection.execute("delete from operator_key", [])?;
                rewrap_operators(connection, &key(1), &key(1))?;
                Ok(())
            };
            store.write(undo).await.unwrap();
        }
        for _ in 0..2 {
            let store = open(&path, key(1)).unwrap();
            let operators = store.accounts(AccountKind::Operator);
            let found = operators.second_factor("umi").await.unwrap();
            assert_eq!(found, Some(factor.clone()));
        }
        let store = open(&path, key(1)).unwrap();
        let restored = |connection: &Connection| {
            rewrap_operators(connection, &key(1), &key(2))?;
            let wrapped = "select wrapped from operator_key";
            let wrapped: Vec<u8> = connection.query_row(wrapped, [], |row| row.get(0))?;
            let opened = key(2).unwrap(OPERATORS, &wrapped);
            opened.map_err(|_| StoreError::Missing("operators' key"))
        };
        let there = store.keyring.operators();
        assert_eq!(store.write(restored).await.unwrap(), there);
    }

    #[tokio::test]
    async fn with_one_key_damaged_nothing_is_changed() {
        let (_dir, path) = somewhere();
        let keys = with_contracts(&path).await;
        let store = open(&path, key(1)).unwrap();
        let spoilt = keys[1].0;
        let spoil = move |connection: &Connection| {
            connection.execute(
                "update contract_key set wrapped = x'00' where contract = ?1",
                [id16(spoilt.0)],
            )?;
            Ok(())
        };
        store.write(spoil).await.unwrap();
        let refused = store.rewrap(&key(2)).await.unwrap_err().to_string();
        assert!(refused.contains(&spoilt.to_string()), "{refused}");
        let again = open(&path, key(1)).unwrap();
        again.hold_keys().await.unwrap();
        must_hold(&again, &[keys[0].clone(), keys[2].clone()]).await;
    }

    #[tokio::test]
    async fn open_claims_are_those_of_before_that_somebody_may_still_use() {
        let (_dir, path) = somewhere();
        let store = open(&path, key(1)).unwrap();
        let contract = store.add_contract("one", now()).await.unwrap();
        let site = store.add_site(contract, "site", now()).await.unwrap();
        for (number, made, expires) in [(1, 10, 100), (2, 20, 200), (3, 50, 300)] {
            let hash = wire::Sha256([number; 32]);
            let (made, expires) = (UtcMicros(made), UtcMicros(expires));
            store.add_claim(hash, site, made, expires).await.unwrap();
        }
        let open = |made_before, at| store.open_claims(UtcMicros(made_before), UtcMicros(at));
        let found = |count, until: Option<i64>| OpenClaims {
            count,
            until_us: until.map(UtcMicros),
        };
        assert_eq!(open(50, 60).await.unwrap(), found(2, Some(200)));
        assert_eq!(open(50, 150).await.unwrap(), found(1, Some(200)));
        assert_eq!(open(50, 250).await.unwrap(), found(0, None));
    }
}
