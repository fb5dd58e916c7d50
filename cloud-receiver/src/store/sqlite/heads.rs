//! The book of signed heads, and what they are made of: every batch, counted and hashed in order.

use super::audit::append;
use super::{SqliteStore, epoch_of, hash_at, id16, optional_time_at, seq_of, time_at, uuid_at};
use crate::store::{Actor, HeadsBook, HeadsRow, HeadsStamp, Note, Result, SentBy, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use wire::evidence::heads::{DeviceHead, Digest, EpochHead, Section};
use wire::{ContractId, DeviceId, Epoch, SeqRange, Sha256, UtcMicros, VerifyingKey};

fn holdings(connection: &Connection) -> Result<Vec<Section>> {
    // One moment for all of them: a read transaction.
    let moment = connection.unchecked_transaction()?;
    let mut sections: Vec<Section> = Vec::new();
    let mut contracts = moment.prepare(
        "select id from contract where id not in (select contract from erasure) order by id",
    )?;
    let ids = contracts
        .query_map([], |row| uuid_at(row, 0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for id in ids {
        sections.push(Section {
            salt: String::new(),
            contract: ContractId(id),
            devices: device_heads(&moment, ContractId(id))?,
        });
    }
    Ok(sections)
}

fn device_heads(connection: &Connection, contract: ContractId) -> Result<Vec<DeviceHead>> {
    let mut statement = connection.prepare(
        "select id, record_key,
                (select coalesce(sum(last_seq - first_seq + 1), 0) from rejection r where r.device = d.id)
         from device d where contract = ?1 order by enrolled_us, id",
    )?;
    let rows = statement.query_map([id16(contract.0)], |row| {
        Ok(DeviceHead {
            device: DeviceId(uuid_at(row, 0)?),
            record_key: VerifyingKey(row.get(1)?),
            epochs: Vec::new(),
            refused: row.get::<_, i64>(2)?.cast_unsigned(),
        })
    })?;
    let mut devices = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for head in &mut devices {
        head.epochs = epoch_heads(connection, head.device)?;
    }
    Ok(devices)
}

/// One epoch as its batches come by.
struct Growing {
    head: EpochHead,
    digest: Digest,
    /// Number of its first batch in the order of arrival.
    arrived: i64,
}

impl Growing {
    fn add(&mut self, range: SeqRange, hash: Sha256, captured_us: UtcMicros, no: i64) {
        let head = &mut self.head;
        head.last_seq = range.last;
        head.records += range.last.0 - range.first.0 + 1;
        head.batches += 1;
        match head.ranges.last_mut() {
            Some(last) if last.last.advanced_by(1) == range.first => last.last = range.last,
            _ => head.ranges.push(range),
        }
        head.last_batch = hash;
        head.last_us = captured_us;
        self.digest.add(range.first, range.last, hash);
        self.arrived = self.arrived.min(no);
    }
}

fn epoch_heads(connection: &Connection, device: DeviceId) -> Result<Vec<EpochHead>> {
    let mut statement = connection.prepare(
        "select epoch, first_seq, last_seq, sha256, first_captured_us, no
         from batch where device = ?1 order by epoch, first_seq",
    )?;
    let mut rows = statement.query([id16(device.0)])?;
    let mut epochs: Vec<Growing> = Vec::new();
    while let Some(row) = rows.next()? {
        let epoch = epoch_of(row.get(0)?);
        let captured_us = time_at(row, 4)?;
        if epochs.last().is_none_or(|last| last.head.epoch != epoch) {
            epochs.push(begin(epoch, captured_us));
        }
        let range = SeqRange {
            first: seq_of(row.get(1)?),
            last: seq_of(row.get(2)?),
        };
        let growing = epochs.last_mut().expect("one was just put there");
        growing.add(range, hash_at(row, 3)?, captured_us, row.get(5)?);
    }
    epochs.sort_by_key(|growing| growing.arrived);
    let finish = |growing: Growing| EpochHead {
        digest: growing.digest.finish(),
        ..growing.head
    };
    Ok(epochs.into_iter().map(finish).collect())
}

fn begin(epoch: Epoch, first_us: UtcMicros) -> Growing {
    Growing {
        head: EpochHead {
            epoch,
            last_seq: wire::Seq(0),
            records: 0,
            batches: 0,
            ranges: Vec::new(),
            last_batch: Sha256::ZERO,
            first_us,
            last_us: first_us,
            digest: Sha256::ZERO,
        },
        digest: Digest::default(),
        arrived: i64::MAX,
    }
}

const COLUMNS: &str = "number, at_us, sha256, document, written_us, mailed_us, problem,
     time_stamp, stamped_us, stamp_written_us, stamp_mailed_us, stamp_problem";

fn heads_at(row: &Row<'_>) -> rusqlite::Result<HeadsRow> {
    Ok(HeadsRow {
        number: row.get::<_, i64>(0)?.cast_unsigned(),
        at_us: time_at(row, 1)?,
        sha256: hash_at(row, 2)?,
        document: row.get(3)?,
        written_us: optional_time_at(row, 4)?,
        mailed_us: optional_time_at(row, 5)?,
        problem: row.get(6)?,
        stamp: stamp_at(row)?,
        stamp_problem: row.get(11)?,
    })
}

fn stamp_at(row: &Row<'_>) -> rusqlite::Result<Option<HeadsStamp>> {
    let answer: Option<Vec<u8>> = row.get(7)?;
    let Some((answer, at_us)) = answer.zip(optional_time_at(row, 8)?) else {
        return Ok(None);
    };
    Ok(Some(HeadsStamp {
        answer,
        at_us,
        written_us: optional_time_at(row, 9)?,
        mailed_us: optional_time_at(row, 10)?,
    }))
}

#[async_trait]
impl HeadsBook for SqliteStore {
    async fn holdings(&self) -> Result<Vec<Section>> {
        self.read(holdings).await
    }

    async fn heads(&self) -> Result<Vec<HeadsRow>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare(&format!("select {COLUMNS} from heads order by number"))?;
            let rows = statement.query_map([], heads_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn newest_heads(&self) -> Result<Option<HeadsRow>> {
        self.read(|connection| {
            let sql = format!("select {COLUMNS} from heads order by number desc limit 1");
            Ok(connection.query_row(&sql, [], heads_at).optional()?)
        })
        .await
    }

    async fn add_heads(&self, row: HeadsRow) -> Result<()> {
        // What the receiver does by itself every day needs no entry; what somebody asks for does.
        let asked = *self.actor != Actor::System;
        let note = Note::new("heads.make").on(row.number);
        let (sealed, at) = (self.sealed(note).await?, row.at_us);
        self.write(move |connection| {
            let added = connection.execute(
                "insert or ignore into heads (number, at_us, sha256, document) values (?1, ?2, ?3, ?4)",
                (row.number.cast_signed(), row.at_us.0, row.sha256.0, row.document),
            )?;
            if added == 0 {
                return Err(StoreError::Exists("heads of this number"));
            }
            if asked {
                append(connection, &sealed, at)?;
            }
            Ok(())
        })
        .await
    }

    async fn heads_sent(
        &self,
        number: u64,
        by: SentBy,
        outcome: std::result::Result<UtcMicros, String>,
    ) -> Result<()> {
        let column = match by {
            SentBy::File => "written_us",
            SentBy::Mail => "mailed_us",
            SentBy::StampFile => "stamp_written_us",
            SentBy::StampMail => "stamp_mailed_us",
        };
        self.write(move |connection| {
            let number = number.cast_signed();
            match outcome {
                Ok(at) => connection.execute(
                    &format!("update heads set {column} = ?2, problem = null where number = ?1"),
                    (number, at.0),
                )?,
                Err(problem) => connection.execute(
                    "update heads set problem = ?2 where number = ?1",
                    (number, problem),
                )?,
            };
            Ok(())
        })
        .await
    }

    async fn heads_stamped(
        &self,
        number: u64,
        outcome: std::result::Result<(Vec<u8>, UtcMicros), String>,
    ) -> Result<()> {
        self.write(move |connection| {
            let number = number.cast_signed();
            match outcome {
                Ok((answer, at)) => connection.execute(
                    "update heads set time_stamp = ?2, stamped_us = ?3, stamp_problem = null
                     where number = ?1 and time_stamp is null",
                    (number, answer, at.0),
                )?,
                Err(problem) => connection.execute(
                    "update heads set stamp_problem = ?2 where number = ?1 and time_stamp is null",
                    (number, problem),
                )?,
            };
            Ok(())
        })
        .await
    }
}
