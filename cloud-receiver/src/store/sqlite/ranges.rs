//! Which records are stored, as merged ranges, and the receipts made from them.

use super::{epoch_bits, id16, seq_bits, seq_of};
use crate::store::Result;
use rusqlite::{Connection, OptionalExtension};
use wire::{DeviceId, Epoch, Receipt, Rejected, SeqRange, UtcMicros};

/// Refusals repeated in later receipts of the epoch, newest first, in case the first one was lost.
const REPEATED_REFUSALS: i64 = 64;

/// Adds `first..=last`, which overlaps no stored range, and merges it with ranges that it touches. What goes on
/// where the range before it ends, as nearly every batch does, changes one row.
pub(super) fn add(
    connection: &Connection,
    device: DeviceId,
    epoch: Epoch,
    range: SeqRange,
) -> Result<()> {
    let (device, epoch) = (id16(device.0), epoch_bits(epoch));
    let (first, mut last) = (seq_bits(range.first), seq_bits(range.last));
    let right: Option<i64> = connection
        .prepare_cached(
            "delete from stored_range where device = ?1 and epoch = ?2 and first_seq = ?3 + 1
             returning last_seq",
        )?
        .query_row((device, epoch, last), |row| row.get(0))
        .optional()?;
    last = right.unwrap_or(last);
    let grown = connection
        .prepare_cached(
            "update stored_range set last_seq = ?4 where device = ?1 and epoch = ?2 and first_seq = (
                select max(first_seq) from stored_range
                where device = ?1 and epoch = ?2 and first_seq < ?3)
             and last_seq = ?3 - 1",
        )?
        .execute((device, epoch, first, last))?;
    if grown == 0 {
        connection
            .prepare_cached(
                "insert into stored_range (device, epoch, first_seq, last_seq) values (?1, ?2, ?3, ?4)",
            )?
            .execute((device, epoch, first, last))?;
    }
    Ok(())
}

pub(super) fn stored(
    connection: &Connection,
    device: DeviceId,
    epoch: Epoch,
) -> Result<Vec<SeqRange>> {
    let limit = wire::receipt::MAX_HOLES as i64 + 2;
    let mut statement = connection.prepare_cached(
        "select first_seq, last_seq from stored_range where device = ?1 and epoch = ?2
         order by first_seq limit ?3",
    )?;
    let rows = statement.query_map((id16(device.0), epoch_bits(epoch), limit), |row| {
        Ok(SeqRange {
            first: seq_of(row.get(0)?),
            last: seq_of(row.get(1)?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The receipt of an epoch as of now. Single records refused within stored batches are repeated in it.
pub(super) fn receipt(
    connection: &Connection,
    device: DeviceId,
    epoch: Epoch,
    at: UtcMicros,
) -> Result<Receipt> {
    let mut receipt = Receipt::from_stored(epoch, &stored(connection, device, epoch)?, at);
    let mut statement = connection.prepare_cached(
        "select first_seq, code from rejection
         where device = ?1 and epoch = ?2 and whole_batch = 0 order by first_seq desc limit ?3",
    )?;
    let rows = statement.query_map(
        (id16(device.0), epoch_bits(epoch), REPEATED_REFUSALS),
        |row| {
            Ok(Rejected {
                seq: seq_of(row.get(0)?),
                code: row.get(1)?,
            })
        },
    )?;
    receipt.rejected = rows.collect::<rusqlite::Result<_>>()?;
    Ok(receipt)
}

/// Counts `range` as answered in this receipt, without claiming that it is stored for good.
pub(super) fn with_answered(
    connection: &Connection,
    device: DeviceId,
    mut receipt: Receipt,
    range: SeqRange,
) -> Result<Receipt> {
    let mut ranges = stored(connection, device, receipt.epoch)?;
    ranges.push(range);
    ranges.sort_by_key(|range| range.first);
    let answered = Receipt::from_stored(receipt.epoch, &ranges, receipt.receiver_time_us);
    receipt.through = answered.through;
    receipt.holes = answered.holes;
    Ok(receipt)
}
