//! Contract keys in memory, unwrapped on first use.

use super::id16;
use crate::seal::SecretKey;
use crate::store::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use wire::{ContractId, UtcMicros};

#[derive(Debug)]
pub(super) struct Keyring {
    master: SecretKey,
    keys: RwLock<HashMap<ContractId, SecretKey>>,
}

impl Keyring {
    pub(super) fn new(master: SecretKey) -> Self {
        Self {
            master,
            keys: RwLock::default(),
        }
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
        let key = self.master.unwrap(contract, &wrapped).map_err(|_| {
            StoreError::Corrupt(format!(
                "the key of contract {contract} does not open: is the master key the one this database was made with?"
            ))
        })?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(contract, key.clone());
        Ok(key)
    }

    /// Draws the key of a new contract.
    pub(super) fn create(
        &self,
        connection: &Connection,
        contract: ContractId,
        at: UtcMicros,
    ) -> Result<()> {
        let wrapped = self.master.wrap(contract, &SecretKey::generate());
        connection.execute(
            "insert into contract_key (contract, wrapped, created_us) values (?1, ?2, ?3)",
            (id16(contract.0), wrapped, at.0),
        )?;
        Ok(())
    }
}
