//! Counting what is held, and the samples of it.

use super::{SqliteStore, id16, mail, time_at, uuid_at};
use crate::capacity::{Level, Sample};
use crate::store::{CapacityBook, ContractUsage, NewMail, Result, StoreError, Usage};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use wire::{ContractId, UtcMicros};

const YEAR_US: i64 = 366 * 24 * 3600 * 1_000_000;

fn unsigned(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(index)?.cast_unsigned())
}

/// Batches lie in order of arrival: the first number that arrived at or after a moment.
fn first_batch_since(connection: &Connection, from: UtcMicros) -> Result<i64> {
    let bound = |word: &str| -> Result<Option<i64>> {
        Ok(
            connection.query_row(&format!("select {word}(no) from batch"), [], |row| {
                row.get(0)
            })?,
        )
    };
    let (Some(mut low), Some(high)) = (bound("min")?, bound("max")?) else {
        return Ok(0);
    };
    let mut high = high + 1;
    let mut arrived = connection
        .prepare_cached("select received_us from batch where no >= ?1 order by no limit 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let at: Option<i64> = arrived.query_row([middle], |row| row.get(0)).optional()?;
        if at.is_some_and(|at| at < from.0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn of_contract(
    connection: &Connection,
    contract: ContractId,
    name: String,
    recent: i64,
) -> Result<ContractUsage> {
    let id = id16(contract.0);
    let devices = connection
        .prepare_cached("select count(*) from device where contract = ?1")?
        .query_row([id], |row| unsigned(row, 0))?;
    let events = connection
        .prepare_cached("select count(*) from event where contract = ?1")?
        .query_row([id], |row| unsigned(row, 0))?;
    let (records, records_bytes, recent_records) = connection
        .prepare_cached(
            "select coalesce(sum(iif(length(b.sealed) > 0, b.last_seq - b.first_seq + 1, 0)), 0), coalesce(sum(length(b.sealed)), 0),
                    coalesce(sum(iif(b.no >= ?2, b.last_seq - b.first_seq + 1, 0)), 0)
             from device d join batch b on b.device = d.id where d.contract = ?1",
        )?
        .query_row((id, recent), |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?)))?;
    let (objects, objects_bytes) = connection
        .prepare_cached("select count(*), coalesce(sum(bytes), 0) from blob where contract = ?1")?
        .query_row([id], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
    let recent_objects_bytes = connection
        .prepare_cached(
            "select coalesce(sum(bytes), 0) from media where contract = ?1 and batch >= ?2 and arrived = 1",
        )?
        .query_row((id, recent), |row| unsigned(row, 0))?;
    Ok(ContractUsage {
        contract,
        name,
        devices,
        events,
        records,
        records_bytes,
        objects,
        objects_bytes,
        recent_records,
        recent_objects_bytes,
    })
}

fn usage(connection: &Connection, recent_from: UtcMicros) -> Result<Usage> {
    // One moment for all of it.
    let moment = connection.unchecked_transaction()?;
    let recent = first_batch_since(&moment, recent_from)?;
    let mut contracts = moment.prepare("select id, name from contract order by name")?;
    let contracts = contracts
        .query_map([], |row| Ok((ContractId(uuid_at(row, 0)?), row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(ContractId, String)>>>()?;
    let contracts = contracts
        .into_iter()
        .map(|(contract, name)| of_contract(&moment, contract, name, recent))
        .collect::<Result<_>>()?;
    let pages: i64 = moment.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let page_bytes: i64 = moment.pragma_query_value(None, "page_size", |row| row.get(0))?;
    Ok(Usage {
        database_bytes: (pages * page_bytes).cast_unsigned(),
        contracts,
    })
}

#[async_trait]
impl CapacityBook for SqliteStore {
    async fn usage(&self, recent_from: UtcMicros) -> Result<Usage> {
        self.read(move |connection| usage(connection, recent_from))
            .await
    }

    async fn add_sample(&self, sample: Sample) -> Result<()> {
        self.write(move |connection| {
            connection.execute(
                "insert or replace into capacity_sample
                     (at_us, database_bytes, objects_bytes, free_bytes, total_bytes, records)
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    sample.at_us.0,
                    sample.database_bytes.cast_signed(),
                    sample.objects_bytes.cast_signed(),
                    sample.free_bytes.cast_signed(),
                    sample.total_bytes.cast_signed(),
                    sample.records.cast_signed(),
                ),
            )?;
            connection.execute(
                "delete from capacity_sample where at_us < ?1",
                [sample.at_us.0 - YEAR_US],
            )?;
            Ok(())
        })
        .await
    }

    async fn samples_since(&self, from: UtcMicros) -> Result<Vec<Sample>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select at_us, database_bytes, objects_bytes, free_bytes, total_bytes, records
                 from capacity_sample where at_us >= ?1 order by at_us",
            )?;
            let rows = statement.query_map([from.0], |row| {
                Ok(Sample {
                    at_us: time_at(row, 0)?,
                    database_bytes: unsigned(row, 1)?,
                    objects_bytes: unsigned(row, 2)?,
                    free_bytes: unsigned(row, 3)?,
                    total_bytes: unsigned(row, 4)?,
                    records: unsigned(row, 5)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn capacity_told(&self, level: Level, mail: Vec<NewMail>, at: UtcMicros) -> Result<()> {
        let sealed = self.sealed_mail(mail).await?;
        self.write(move |connection| {
            connection.execute(
                "update capacity_level set level = ?1, since_us = ?2",
                (level.word(), at.0),
            )?;
            mail::insert(connection, &sealed, at)
        })
        .await
    }

    async fn capacity_level(&self) -> Result<Level> {
        let word: String = self
            .read(|connection| {
                Ok(connection
                    .query_row("select level from capacity_level", [], |row| row.get(0))?)
            })
            .await?;
        Level::of_word(&word)
            .ok_or_else(|| StoreError::Corrupt(format!("\"{word}\" is no level of capacity")))
    }
}
