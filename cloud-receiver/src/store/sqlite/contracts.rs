//! What was agreed in each contract.

use super::{SqliteStore, damaged, id16, optional_time_at, time_at};
use crate::seal::{Name, Purpose};
use crate::store::{ContractBook, ContractDetail, Note, Result, StoreError, Terms};
use async_trait::async_trait;
use rusqlite::OptionalExtension;
use uuid::Uuid;
use wire::{ContractId, DeviceId, Sha256, UtcMicros};

fn name_of_terms(contract: ContractId) -> Name {
    Name {
        contract,
        device: DeviceId(Uuid::nil()),
        purpose: Purpose::Terms,
        hash: Sha256::of(contract.0.as_bytes()),
    }
}

#[async_trait]
impl ContractBook for SqliteStore {
    async fn contract(&self, id: ContractId) -> Result<Option<ContractDetail>> {
        let found = self
            .read(move |connection| {
                Ok(connection
                    .prepare_cached(
                        "select name, created_us, until_us, done_us, sealed_terms from contract where id = ?1",
                    )?
                    .query_row([id16(id.0)], |row| {
                        let detail = ContractDetail {
                            id,
                            name: row.get(0)?,
                            created_us: time_at(row, 1)?,
                            until_us: optional_time_at(row, 2)?,
                            done_us: optional_time_at(row, 3)?,
                            terms: Terms::default(),
                        };
                        Ok((detail, row.get::<_, Option<Vec<u8>>>(4)?))
                    })
                    .optional()?)
            })
            .await?;
        let Some((mut detail, sealed)) = found else {
            return Ok(None);
        };
        if let Some(sealed) = sealed {
            let json = self.key(id).await?.open(&name_of_terms(id), &sealed);
            let json = json.map_err(damaged("the terms of a contract"))?;
            detail.terms = serde_json::from_slice(&json).map_err(|error| {
                StoreError::Corrupt(format!("the terms of a contract: {error}"))
            })?;
        }
        Ok(Some(detail))
    }

    async fn set_terms(&self, id: ContractId, terms: &Terms, at: UtcMicros) -> Result<()> {
        let json = serde_json::to_string(terms).expect("terms hold only what JSON can say");
        let sealed = self
            .key(id)
            .await?
            .seal(&name_of_terms(id), json.as_bytes());
        let note = Note::new("contract.set_terms")
            .of(id)
            .with_personal("terms", json);
        self.write_noted(note, at, move |connection| {
            super::erasure::must_not_be_erased(connection, id)?;
            connection.execute(
                "update contract set sealed_terms = ?2 where id = ?1",
                (id16(id.0), sealed),
            )?;
            Ok(())
        })
        .await
    }

    async fn set_until(
        &self,
        id: ContractId,
        until: Option<UtcMicros>,
        at: UtcMicros,
    ) -> Result<()> {
        let note = Note::new("contract.set_until")
            .of(id)
            .with("until_us", until.map(|until| until.0));
        self.write_noted(note, at, move |connection| {
            super::erasure::must_not_be_erased(connection, id)?;
            let changed = connection.execute(
                "update contract set until_us = ?2 where id = ?1",
                (id16(id.0), until.map(|until| until.0)),
            )?;
            if changed == 0 {
                return Err(StoreError::Missing("contract"));
            }
            super::changes::bump(connection)
        })
        .await
    }
}
