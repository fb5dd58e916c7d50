//! Taking in verified batches: the heart of the receiver.
//!
//! A batch is stored whole, once. The same batch again changes nothing; another batch over the same record
//! numbers is a conflict, refused and reported, and never overwrites. What records say is then spread over the
//! index tables by [`record`]. Batches may come in any order, and any order leads to the same state.

mod clock;
mod contents;
pub(super) mod record;

use super::links::{self, Arrival, Below};
use super::sealed_batch::{self, BatchName};
use super::{SqliteStore, epoch_bits, hash_at, id16, ranges, records, seq_bits, seq_of};
use crate::ingest::accept::{Accepted, Numbers, Refused, code};
use crate::live::News;
use crate::seal::SecretKey;
use crate::store::Result;
use contents::Contents;
use record::{Known, Place};
use rusqlite::{Connection, OptionalExtension};
use wire::{ContractId, DeviceId, Epoch, Receipt, SeqRange, Sha256, UtcMicros};

/// A batch with everything made that the commit will store, so that the writer only writes.
struct Prepared {
    accepted: Accepted,
    contents: Contents,
    sealed_batch: Vec<u8>,
    /// Of each record, what its index row keeps sealed.
    sealed_records: Vec<Option<Vec<u8>>>,
}

type Told = Vec<(ContractId, News)>;

pub(super) async fn accept(
    store: &SqliteStore,
    batches: Vec<Accepted>,
    at: UtcMicros,
) -> Result<Vec<(DeviceId, Receipt)>> {
    let mut prepared = Vec::with_capacity(batches.len());
    for accepted in batches {
        let key = store.key(accepted.contract).await?;
        prepared.push(prepare(accepted, &key));
    }
    // What was written comes back: the writer has better to do than to free it.
    let (receipts, news, _written) = store
        .write(move |connection| {
            let (receipts, news) = commit(connection, &prepared, at)?;
            Ok((receipts, news, prepared))
        })
        .await?;
    for (contract, news) in news {
        store.live.publish(contract, news);
    }
    Ok(receipts)
}

pub(super) async fn refuse(
    store: &SqliteStore,
    device: DeviceId,
    refused: &Refused,
    at: UtcMicros,
) -> Result<Option<Receipt>> {
    let Some(numbers) = refused.numbers else {
        return Ok(None);
    };
    let (hash, code) = (refused.hash, refused.code);
    store
        .write(move |connection| {
            note_refusal(connection, device, numbers, code, hash, true, at)?;
            let receipt = ranges::receipt(connection, device, numbers.epoch, at)?;
            refuse_in_receipt(connection, device, receipt, numbers, code).map(Some)
        })
        .await
}

fn prepare(accepted: Accepted, key: &SecretKey) -> Prepared {
    let name = BatchName {
        contract: accepted.contract,
        device: accepted.device,
        hash: accepted.hash,
    };
    let sealed_batch = sealed_batch::seal(key, name, &accepted.signed_bytes);
    let sealed_records = (0..accepted.records.len())
        .map(|index| record::seal(&accepted, index, key))
        .collect();
    Prepared {
        contents: Contents::of(&accepted.records),
        accepted,
        sealed_batch,
        sealed_records,
    }
}

fn commit(
    connection: &Connection,
    batches: &[Prepared],
    at: UtcMicros,
) -> Result<(Vec<(DeviceId, Receipt)>, Told)> {
    let mut news = Vec::new();
    let mut known = Known::default();
    let mut touched: Vec<(DeviceId, Epoch)> = Vec::new();
    let mut conflicts = Vec::new();
    for prepared in batches {
        let accepted = &prepared.accepted;
        let key = (accepted.device, accepted.batch.epoch);
        if !touched.contains(&key) {
            touched.push(key);
        }
        match stand(connection, accepted)? {
            Stand::Repeat => {}
            Stand::Conflict => {
                let numbers = Numbers::of(&accepted.batch);
                note_refusal(
                    connection,
                    key.0,
                    numbers,
                    code::CONFLICT,
                    accepted.hash,
                    true,
                    at,
                )?;
                conflicts.push((key, numbers));
            }
            Stand::New(below) => {
                store_batch(connection, prepared, below, at, &mut known, &mut news)?;
            }
        }
    }
    known.hours.write(connection)?;
    let mut receipts = Vec::with_capacity(touched.len());
    for (device, epoch) in touched {
        note_heard(connection, device, at)?;
        let mut receipt = ranges::receipt(connection, device, epoch, at)?;
        for (_, numbers) in conflicts.iter().filter(|(key, _)| *key == (device, epoch)) {
            receipt = refuse_in_receipt(connection, device, receipt, *numbers, code::CONFLICT)?;
        }
        receipts.push((device, receipt));
    }
    Ok((receipts, news))
}

/// A batch is a sign of life as well; written at most every few seconds.
fn note_heard(connection: &Connection, device: DeviceId, at: UtcMicros) -> Result<()> {
    const EVERY_US: i64 = 5_000_000;
    connection
        .prepare_cached(
            "update device set heard_us = ?2
             where id = ?1 and (heard_us is null or heard_us < ?3)",
        )?
        .execute((id16(device.0), at.0, at.0 - EVERY_US))?;
    Ok(())
}

/// How a batch stands to what is stored.
enum Stand {
    New(Option<Below>),
    Repeat,
    Conflict,
}

fn stand(connection: &Connection, accepted: &Accepted) -> Result<Stand> {
    let batch = &accepted.batch;
    // Stored batches do not overlap, so only the last one that begins at or before our end can.
    let below: Option<Below> = connection
        .prepare_cached(
            "select last_seq, sha256 from batch
             where device = ?1 and epoch = ?2 and first_seq <= ?3
             order by first_seq desc limit 1",
        )?
        .query_row(
            (
                id16(accepted.device.0),
                epoch_bits(batch.epoch),
                seq_bits(batch.last_seq()),
            ),
            |row| {
                Ok(Below {
                    last: seq_of(row.get(0)?),
                    hash: hash_at(row, 1)?,
                })
            },
        )
        .optional()?;
    Ok(match below {
        Some(below) if below.hash == accepted.hash => Stand::Repeat,
        Some(below) if below.last >= batch.first_seq => Stand::Conflict,
        below => Stand::New(below),
    })
}

fn store_batch(
    connection: &Connection,
    prepared: &Prepared,
    below: Option<Below>,
    at: UtcMicros,
    known: &mut Known,
    news: &mut Told,
) -> Result<()> {
    let accepted = &prepared.accepted;
    let (batch, contents) = (&accepted.batch, &prepared.contents);
    let arrival = Arrival {
        device: accepted.device,
        hash: accepted.hash,
        prev: batch.prev,
        epoch: batch.epoch,
        first: batch.first_seq,
        last: batch.last_seq(),
        captured_us: first_captured_us(accepted),
    };
    let link = links::of_new(connection, &arrival, below)?;
    connection
        .prepare_cached(
            "insert into batch (device, epoch, first_seq, last_seq, sha256, prev, link,
                                first_captured_us, received_us, from_device_us, to_device_us, records, sealed)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute((
            id16(accepted.device.0),
            epoch_bits(batch.epoch),
            seq_bits(batch.first_seq),
            seq_bits(batch.last_seq()),
            accepted.hash.0,
            batch.prev.0,
            links::number(link),
            arrival.captured_us,
            at.0,
            contents.from_device_us,
            contents.to_device_us,
            &contents.records,
            &prepared.sealed_batch,
        ))?;
    let number = connection.last_insert_rowid();
    records::note_age(
        connection,
        accepted.device,
        number,
        contents.to_device_us.min(at.0),
    )?;
    links::of_successors(connection, &arrival)?;
    let range = SeqRange {
        first: batch.first_seq,
        last: batch.last_seq(),
    };
    ranges::add(connection, accepted.device, batch.epoch, range)?;
    for (index, outcome) in accepted.records.iter().enumerate() {
        let seq = batch.first_seq.advanced_by(index as u64);
        let place = Place {
            accepted,
            batch: number,
            seq,
            at,
        };
        let sealed = prepared.sealed_records[index].as_deref();
        let stored = match outcome {
            Ok(record) => record::store(connection, &place, record, sealed, known, news)?,
            Err(code) => Err(*code),
        };
        if let Err(code) = stored {
            contents::strike(connection, number, index)?;
            let numbers = Numbers {
                epoch: batch.epoch,
                first: seq,
                last: seq,
            };
            note_refusal(
                connection,
                accepted.device,
                numbers,
                code,
                accepted.hash,
                false,
                at,
            )?;
        }
    }
    Ok(())
}

fn first_captured_us(accepted: &Accepted) -> i64 {
    accepted
        .records
        .iter()
        .find_map(|record| record.as_ref().ok())
        .map_or(0, |record| record.time.corrected_us().0)
}

fn note_refusal(
    connection: &Connection,
    device: DeviceId,
    numbers: Numbers,
    code: &str,
    hash: Sha256,
    whole_batch: bool,
    at: UtcMicros,
) -> Result<()> {
    tracing::warn!(
        device.id = %device, batch.epoch = %numbers.epoch, batch.first = %numbers.first,
        batch.last = %numbers.last, refusal.code = code,
        "records of a device are refused for good"
    );
    connection
        .prepare_cached(
            "insert or ignore into rejection
                (device, epoch, first_seq, last_seq, code, sha256, whole_batch, at_us)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            id16(device.0),
            epoch_bits(numbers.epoch),
            seq_bits(numbers.first),
            seq_bits(numbers.last),
            code,
            hash.0,
            whole_batch,
            at.0,
        ))?;
    Ok(())
}

fn refuse_in_receipt(
    connection: &Connection,
    device: DeviceId,
    receipt: Receipt,
    numbers: Numbers,
    code: &str,
) -> Result<Receipt> {
    let range = SeqRange {
        first: numbers.first,
        last: numbers.last,
    };
    let mut receipt = ranges::with_answered(connection, device, receipt, range)?;
    receipt.rejected.extend(numbers.rejected(code));
    Ok(receipt)
}
