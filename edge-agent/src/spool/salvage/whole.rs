//! A batch that opens is genuine, wherever it was read; what stands beside it in its row is made anew from what it says.

use crate::spool::outbox::Author;
use crate::spool::reads::Sql;
use crate::spool::seal::Item;
use crate::spool::tally::{Line, Span, Tally};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params};
use wire::{Epoch, Record, Seq, SignedBatch};

/// Of the table `batch`.
pub(super) const BATCH_COLUMNS: usize = 8;

/// A batch that opened, with all that its row needs.
pub(super) struct Whole {
    pub(super) id: i64,
    pub(super) epoch: Epoch,
    pub(super) first_seq: Seq,
    pub(super) records: u64,
    pub(super) oldest_us: i64,
    pub(super) has_gap: bool,
    pub(super) tally: Tally,
    pub(super) sealed: Vec<u8>,
}

/// A row of `batch` as it stands in a page.
pub(super) fn carved_batch(author: &Author, id: i64, row: Vec<SqlValue>) -> Option<Whole> {
    let Ok(
        [
            _,
            SqlValue::Blob(epoch),
            SqlValue::Integer(first_seq),
            _,
            _,
            _,
            _,
            SqlValue::Blob(sealed),
        ],
    ) = <[SqlValue; BATCH_COLUMNS]>::try_from(row)
    else {
        return None;
    };
    let epoch = Epoch(u64::from_be_bytes(epoch.try_into().ok()?));
    open_whole(author, id, epoch, Seq(first_seq.cast_unsigned()), sealed)
}

pub(super) fn open_whole(
    author: &Author,
    id: i64,
    epoch: Epoch,
    first_seq: Seq,
    sealed: Vec<u8>,
) -> Option<Whole> {
    let item = Item::Batch { epoch, first_seq };
    let opened = author.vault.open(item, sealed.clone()).ok()?;
    let batch = SignedBatch::from_bytes(opened).ok()?.parse().ok()?;
    let mut tally = Tally::default();
    for json in &batch.records {
        let record = Record::from_json(json).ok()?;
        tally.add(
            Line::of_record(&record),
            Span::one(record.time.captured_at_us),
        );
    }
    let oldest_us = tally.iter().map(|(_, span)| span.from.0).min()?;
    let has_gap = tally.iter().any(|(line, _)| line.is_gap());
    Some(Whole {
        id,
        epoch,
        first_seq,
        records: batch.records.len() as u64,
        oldest_us,
        has_gap,
        tally,
        sealed,
    })
}

pub(super) fn insert_batch(to: &Connection, whole: &Whole) -> Sql<u64> {
    let inserted = to
        .prepare_cached("insert or ignore into batch values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            whole.id,
            whole.epoch.0.to_be_bytes(),
            whole.first_seq.0.cast_signed(),
            whole.records.cast_signed(),
            whole.oldest_us,
            whole.has_gap,
            whole.tally.to_json(),
            whole.sealed,
        ]);
    Ok(inserted.or_else(ignore_refused)? as u64)
}

/// Rows that break a rule of the table are not worth keeping; a disk that cannot write is another matter.
pub(super) fn ignore_refused(error: rusqlite::Error) -> Sql<usize> {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation | rusqlite::ErrorCode::TypeMismatch) => Ok(0),
        _ => Err(error),
    }
}
