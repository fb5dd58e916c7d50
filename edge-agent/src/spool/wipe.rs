//! Destroys everything that waits for delivery, in one transaction: the contract that it belongs to has ended.
//!
//! Numbers and counts stay, so that the books still add up: what was wiped counts as shed. No gap record names it, because
//! nobody is owed one.

use crate::spool::ledger::End;
use crate::spool::outbox::{Application, Sql};
use crate::spool::rows::{BatchRow, BlobRow, Column, batch_columns};
use crate::spool::tally::Losses;

/// What was destroyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wiped {
    pub records: u64,
    pub pictures: u64,
}

impl Application<'_> {
    /// Files go after the commit, as always.
    pub(super) fn wipe(&mut self) -> Sql<Wiped> {
        let mut wiped = Wiped::default();
        let blobs: Vec<BlobRow> = self
            .transaction
            .prepare_cached("select id, class, camera, captured_us, file_bytes, file from blob")?
            .query_map([], BlobRow::read)?
            .collect::<Result<_, _>>()?;
        for row in &blobs {
            self.count(&row.line, Column::Shed, 1)?;
            self.applied.files_to_delete.push(row.file.clone());
            self.delete_blob(row)?;
            wiped.pictures += 1;
        }
        let batches: Vec<BatchRow> = self
            .transaction
            .prepare_cached(concat!(
                "select ",
                batch_columns!(),
                " from batch order by id"
            ))?
            .query_map([], BatchRow::read)?
            .collect::<Result<_, _>>()?;
        for row in &batches {
            self.ends
                .add(row.epoch, row.first_seq, row.records, End::Shed);
            for (line, span) in row.tally.iter() {
                self.count(line, Column::Shed, span.count)?;
            }
            self.delete_batch(row)?;
            wiped.records += row.records;
        }
        self.losses = Losses::default();
        for table in ["parked", "open_event"] {
            self.transaction
                .execute(&format!("delete from {table}"), [])?;
        }
        Ok(wiped)
    }
}
