//! What the receiver's answers change: a receipt settles records, a refusal parks them, an end settles a blob.

use crate::spool::ledger::End;
use crate::spool::outbox::{Application, Sql};
use crate::spool::rows::{BatchRow, BlobRow, Column, batch_columns, seq};
use crate::spool::seal::Item;
use crate::spool::tally::{Line, Reason, Span, Tally};
use crate::spool::turn::BlobEnd;
use rusqlite::{OptionalExtension, params};
use wire::{Epoch, Receipt, Record, Seq, Sha256, SignedBatch, UtcMicros};

/// The code under which a batch is parked that cannot be opened.
pub(super) const UNREADABLE: &str = "unreadable";

/// Most parked records kept for a person to look at; the oldest go first. All were reported when parked.
const MAX_PARKED: u32 = 1000;

impl Application<'_> {
    /// Deletes the batches that the receipt wholly answers.
    pub(super) fn settle(&mut self, receipt: &Receipt) -> Sql<()> {
        let mut rows = Vec::new();
        for (first, last) in stored_ranges(receipt) {
            let mut statement = self.transaction.prepare_cached(concat!(
                "select ",
                batch_columns!(),
                " from batch where epoch = ?1 and first_seq between ?2 and ?3
                      and first_seq + records - 1 <= ?3 order by first_seq"
            ))?;
            let found = statement.query_map(
                params![receipt.epoch.0.to_be_bytes(), seq(first), seq(last)],
                BatchRow::read,
            )?;
            for row in found {
                rows.push(row?);
            }
        }
        for row in rows {
            let rejected: Vec<_> = receipt
                .rejected
                .iter()
                .filter(|rejected| row.holds(rejected.seq))
                .collect();
            let mut settled = row.tally.clone();
            if rejected.is_empty() {
                self.ends
                    .add(row.epoch, row.first_seq, row.records, End::Settled);
            } else {
                settled = Tally::default();
                for (number, line, span, json) in self.open_records(&row, receipt.epoch)? {
                    match rejected.iter().find(|rejected| rejected.seq == number) {
                        None => {
                            self.ends.add(row.epoch, number, 1, End::Settled);
                            settled.add(line, span);
                        }
                        Some(rejected) => {
                            self.ends.add(row.epoch, number, 1, End::Parked);
                            self.park(receipt.epoch, number, &rejected.code, json.as_deref())?;
                            self.count(&line, Column::Parked, span.count)?;
                            self.losses.add(Reason::Rejected, line, span);
                        }
                    }
                }
            }
            for (line, span) in settled.iter() {
                self.count(line, Column::Settled, span.count)?;
            }
            self.delete_batch(&row)?;
        }
        Ok(())
    }

    /// Parks every record of a batch that is refused as a whole, or that cannot be opened any more.
    pub(super) fn park_batch(&mut self, id: i64, code: &str) -> Sql<()> {
        let found = self
            .transaction
            .prepare_cached(concat!(
                "select ",
                batch_columns!(),
                " from batch where id = ?1"
            ))?
            .query_row([id], BatchRow::read)
            .optional()?;
        let Some(row) = found else {
            return Ok(());
        };
        let epoch = row.epoch;
        let reason = if code == UNREADABLE {
            Reason::Quarantine
        } else {
            Reason::Rejected
        };
        for (number, _, _, json) in self.open_records(&row, epoch)? {
            self.park(epoch, number, code, json.as_deref())?;
        }
        for (line, span) in row.tally.iter() {
            self.count(line, Column::Parked, span.count)?;
            self.losses.add(reason, line.clone(), *span);
        }
        self.ends
            .add(epoch, row.first_seq, row.records, End::Parked);
        self.delete_batch(&row)
    }

    /// The records of a batch; where it cannot be opened, their numbers alone, under the batch's first line.
    #[allow(clippy::type_complexity)]
    pub(super) fn open_records(
        &self,
        row: &BatchRow,
        epoch: Epoch,
    ) -> Sql<Vec<(Seq, Line, Span, Option<Vec<u8>>)>> {
        let sealed: Vec<u8> = self
            .transaction
            .prepare_cached("select sealed from batch where id = ?1")?
            .query_row([row.id], |row| row.get(0))?;
        let item = Item::Batch {
            epoch,
            first_seq: row.first_seq,
        };
        let opened = self
            .author
            .vault
            .open(item, sealed)
            .ok()
            .and_then(|bytes| SignedBatch::from_bytes(bytes).ok())
            .and_then(|signed| signed.parse().ok());
        let numbers = (row.first_seq.0..).map(Seq);
        Ok(match opened {
            Some(batch) => numbers
                .zip(batch.records)
                .map(|(number, json)| {
                    let (line, span) = line_of_json(&json, self.now.captured_at_us);
                    (number, line, span, Some(json))
                })
                .collect(),
            None => numbers
                .zip(row.tally.iter().flat_map(|(line, span)| {
                    (0..span.count).map(|_| (line.clone(), Span { count: 1, ..*span }))
                }))
                .map(|(number, (line, span))| (number, line, span, None))
                .collect(),
        })
    }

    fn park(&mut self, epoch: Epoch, number: Seq, code: &str, json: Option<&[u8]>) -> Sql<()> {
        let item = Item::Parked { epoch, seq: number };
        let sealed = json.map(|json| self.author.vault.seal(item, json));
        self.transaction
            .prepare_cached(
                "insert into parked (epoch, seq, code, parked_us, sealed) values (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                epoch.0.to_be_bytes(),
                seq(number),
                code,
                self.now.captured_at_us.0,
                sealed
            ])?;
        self.applied.usage.parked += 1;
        self.transaction
            .prepare_cached("delete from parked where id <= (select max(id) from parked) - ?1")?
            .execute([MAX_PARKED])?;
        Ok(())
    }

    /// A blob settles by the receiver's own 2xx, or is set aside.
    pub(super) fn end_blob(&mut self, sha256: Sha256, end: &BlobEnd) -> Sql<()> {
        let row = self
            .transaction
            .prepare_cached(
                "select id, class, camera, captured_us, file_bytes, file from blob where sha256 = ?1",
            )?
            .query_row([sha256.0], BlobRow::read)
            .optional()?;
        let Some(row) = row else {
            return Ok(());
        };
        let span = Span::one(row.captured_at);
        match end {
            BlobEnd::Settled => self.count(&row.line, Column::Settled, 1)?,
            BlobEnd::Refused { code } => {
                tracing::warn!(blob = %sha256, code, "the receiver refuses blob {sha256} for good: {code}");
                self.count(&row.line, Column::Parked, 1)?;
                self.losses.add(Reason::Rejected, row.line.clone(), span);
            }
            BlobEnd::Unreadable => {
                tracing::error!(blob = %sha256, "blob {sha256} is lost: its file is gone, or was changed and cannot be opened");
                self.count(&row.line, Column::Parked, 1)?;
                self.losses.add(Reason::Quarantine, row.line.clone(), span);
            }
        }
        if matches!(end, BlobEnd::Settled) {
            self.applied.files_to_delete.push(row.file.clone());
        } else {
            self.applied.files_to_quarantine.push(row.file.clone());
        }
        self.delete_blob(&row)
    }
}

/// The ranges a receipt says are stored: everything up to `through` that is in no hole.
fn stored_ranges(receipt: &Receipt) -> Vec<(Seq, Seq)> {
    let mut ranges = Vec::with_capacity(receipt.holes.len() + 1);
    let mut next = Seq::FIRST;
    for hole in &receipt.holes {
        if hole.first > next {
            ranges.push((next, Seq(hole.first.0 - 1)));
        }
        next = next.max(Seq(hole.last.0.saturating_add(1)));
    }
    if receipt.through >= next {
        ranges.push((next, receipt.through));
    }
    ranges
}

fn line_of_json(json: &[u8], now: UtcMicros) -> (Line, Span) {
    match Record::from_json(json) {
        Ok(record) => (
            Line::of_record(&record),
            Span::one(record.time.captured_at_us),
        ),
        Err(_) => (Line::new(None, "unknown", now), Span::one(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::SeqRange;

    #[test]
    fn what_a_receipt_stores_is_what_lies_between_its_holes() {
        let range = |first, last| SeqRange {
            first: Seq(first),
            last: Seq(last),
        };
        let receipt = Receipt {
            epoch: Epoch(1),
            through: Seq(9),
            holes: vec![range(1, 2), range(5, 7)],
            rejected: Vec::new(),
            receiver_time_us: UtcMicros(0),
        };
        assert_eq!(
            stored_ranges(&receipt),
            [(Seq(3), Seq(4)), (Seq(8), Seq(9))]
        );
        let nothing = Receipt {
            through: Seq(0),
            holes: Vec::new(),
            ..receipt
        };
        assert_eq!(stored_ranges(&nothing), []);
    }
}
