//! What is stored, batch by batch as it was signed: for whoever checks that nothing is missing or changed.

use super::{SqliteStore, damaged, hash_at, id16, seq_of, time_at};
use crate::seal::{Name, Purpose};
use crate::store::{Result, StoreError, StoredBatch, StoredBatches};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use wire::{ContractId, DeviceId, Seq, Sha256};

#[async_trait]
impl StoredBatches for SqliteStore {
    async fn batches(&self, device: DeviceId, after: i64, limit: u32) -> Result<Vec<StoredBatch>> {
        let contract = self
            .read(move |connection| contract_of(connection, device))
            .await?;
        let key = self.key(contract).await?;
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select no, sha256, received_us, sealed from batch
                 where device = ?1 and no > ?2 order by no limit ?3",
            )?;
            let mut rows = statement.query((id16(device.0), after, limit))?;
            let mut batches = Vec::new();
            while let Some(row) = rows.next()? {
                let no: i64 = row.get(0)?;
                let name = Name {
                    contract,
                    device,
                    purpose: Purpose::Batch,
                    hash: hash_at(row, 1)?,
                };
                let sealed: Vec<u8> = row.get(3)?;
                batches.push(StoredBatch {
                    no,
                    received_us: time_at(row, 2)?,
                    signed: key.open(&name, &sealed).map_err(damaged("a batch"))?,
                    stored: stored_in(connection, device, no)?,
                    blobs_here: blobs_of(connection, no)?,
                });
            }
            Ok(batches)
        })
        .await
    }
}

fn contract_of(connection: &Connection, device: DeviceId) -> Result<ContractId> {
    connection
        .query_row(
            "select contract from device where id = ?1",
            [id16(device.0)],
            |row| Ok(ContractId(super::uuid_at(row, 0)?)),
        )
        .optional()?
        .ok_or(StoreError::Missing("device"))
}

fn stored_in(connection: &Connection, device: DeviceId, batch: i64) -> Result<Vec<Seq>> {
    let mut statement = connection.prepare_cached(
        "select r.seq from batch b join record r on r.device = b.device and r.epoch = b.epoch
             and r.seq between b.first_seq and b.last_seq
         where b.no = ?1 and b.device = ?2 and r.batch = ?1",
    )?;
    let rows = statement.query_map((batch, id16(device.0)), |row| Ok(seq_of(row.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn blobs_of(connection: &Connection, batch: i64) -> Result<Vec<Sha256>> {
    let mut statement = connection.prepare_cached(
        "select m.sha256 from batch b join media m on m.device = b.device and m.epoch = b.epoch
             and m.seq between b.first_seq and b.last_seq
         where b.no = ?1 and m.batch = ?1 and m.arrived = 1",
    )?;
    let rows = statement.query_map([batch], |row| hash_at(row, 0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
