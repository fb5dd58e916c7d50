//! Carries what can be read of one view of the damaged files into the new database, keeping bytes, keys and order:
//! through SQLite first, then out of the pages where its trees no longer lead to them.

use super::tables::{carry_meta, carry_tables, count_what_is_there};
use super::walk::{ROWS_A_COMMIT, Walk};
use super::whole::{BATCH_COLUMNS, Whole, carved_batch, ignore_refused, insert_batch, open_whole};
use super::{Salvaged, View};
use crate::spool::database::Layout;
use crate::spool::error::SpoolError;
use crate::spool::outbox::Author;
use crate::spool::reads::Sql;
use crate::spool::seal::Item;
use crate::spool::tally::HOUR_US;
use crate::spool::{carve, history};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, params};
use std::fs;
use std::path::Path;
use wire::{Epoch, Seq, SignedBatch, UtcMicros};

/// Of the table `blob`.
const BLOB_COLUMNS: usize = 10;

/// Fills one new database from view after view.
pub(super) struct Carrier<'a> {
    pub(super) author: &'a Author,
    pub(super) layout: &'a Layout,
    pub(super) salvaged: Salvaged,
    pub(super) balance_carried: bool,
    pub(super) forgotten_carried: bool,
}

impl Carrier<'_> {
    /// Through SQLite, and what its trees no longer lead to from the pages themselves.
    pub(super) fn carry_view(
        &mut self,
        view: &View,
        to: &mut Connection,
    ) -> Result<(), SpoolError> {
        let ours = match &view.connection {
            Some(from) => self.carry(from, to)?,
            None => true,
        };
        if ours {
            self.carve(&view.path, to)
                .map_err(SpoolError::database("carry over what was carved out"))?;
        }
        Ok(())
    }

    fn carry(&mut self, from: &Connection, to: &mut Connection) -> Result<bool, SpoolError> {
        let owner: Option<[u8; 16]> = from
            .query_row("select device_id from meta", (), |row| row.get(0))
            .ok();
        if owner.is_some_and(|owner| owner != *self.author.device.0.as_bytes()) {
            return Ok(false);
        }
        carry_meta(from, to).map_err(SpoolError::database("carry over the chain"))?;
        if !self.balance_carried {
            let unreadable =
                carry_tables(from, to).map_err(SpoolError::database("carry over the balance"))?;
            self.balance_carried = !unreadable.contains(&"balance");
            self.forgotten_carried |= !unreadable.contains(&"forgotten");
        }
        self.carry_batches(from, to)
            .map_err(SpoolError::database("carry over batches"))?;
        self.carry_blobs(from, to)
            .map_err(SpoolError::database("carry over blobs"))?;
        Ok(true)
    }

    /// Pages that were freed still hold batches that are long done with: what is known to have ended stays ended.
    fn carve(&mut self, database: &Path, to: &mut Connection) -> Sql<()> {
        let (author, mut outcome) = (self.author, Ok(()));
        let mut found = Vec::new();
        let carved = carve::for_each_row(database, BATCH_COLUMNS, |id, row| {
            found.extend(carved_batch(author, id, row));
            if found.len() == ROWS_A_COMMIT && outcome.is_ok() {
                outcome = self.insert_carved(std::mem::take(&mut found), to);
            }
        });
        outcome?;
        self.insert_carved(found, to)?;
        let mut blobs = Vec::new();
        let carved = carved.and_then(|()| {
            carve::for_each_row(database, BLOB_COLUMNS, |id, mut row| {
                row[0] = SqlValue::Integer(id);
                blobs.push(row);
            })
        });
        if let Err(error) = carved {
            tracing::warn!(%error, "the damaged pages cannot be read: {error}");
        }
        self.insert_blobs(blobs, to)
    }

    fn insert_carved(&mut self, found: Vec<Whole>, to: &mut Connection) -> Sql<()> {
        let transaction = to.transaction()?;
        for whole in found {
            let has_ended: bool = transaction
                .prepare_cached(
                    "select exists (select 1 from ended
                     where epoch = ?1 and first_seq <= ?2 and last_seq >= ?2)",
                )?
                .query_row(
                    params![whole.epoch.0.to_be_bytes(), whole.first_seq.0.cast_signed()],
                    |row| row.get(0),
                )?;
            if !has_ended {
                let inserted = insert_batch(&transaction, &whole)?;
                self.salvaged.batches += inserted;
                self.salvaged.records += inserted * whole.records;
            }
        }
        transaction.commit()
    }

    fn carry_batches(&mut self, from: &Connection, to: &mut Connection) -> Sql<()> {
        let mut walk = Walk::new(from, "batch", "id, epoch, first_seq, sealed");
        loop {
            let portion = walk.portion(|row| {
                let epoch = Epoch(u64::from_be_bytes(row.get(1)?));
                let first_seq = Seq(row.get::<_, i64>(2)?.cast_unsigned());
                Ok((row.get(0)?, epoch, first_seq, row.get(3)?))
            });
            if portion.is_empty() {
                return Ok(());
            }
            let transaction = to.transaction()?;
            for (id, epoch, first_seq, sealed) in portion {
                if let Some(whole) = open_whole(self.author, id, epoch, first_seq, sealed) {
                    let inserted = insert_batch(&transaction, &whole)?;
                    self.salvaged.batches += inserted;
                    self.salvaged.records += inserted * whole.records;
                }
            }
            transaction.commit()?;
        }
    }

    /// A row is kept if its file is there in full length.
    fn carry_blobs(&mut self, from: &Connection, to: &mut Connection) -> Sql<()> {
        let columns = "id, sha256, class, shed_rank, camera, captured_us, bytes, file_bytes, content_type, file";
        let mut walk = Walk::new(from, "blob", columns);
        loop {
            let portion = walk.portion(|row| {
                (0..BLOB_COLUMNS)
                    .map(|column| row.get::<_, SqlValue>(column))
                    .collect::<Sql<Vec<_>>>()
            });
            if portion.is_empty() {
                return Ok(());
            }
            self.insert_blobs(portion, to)?;
        }
    }

    fn insert_blobs(&mut self, rows: Vec<Vec<SqlValue>>, to: &mut Connection) -> Sql<()> {
        let transaction = to.transaction()?;
        for row in rows {
            let (Some(SqlValue::Text(file)), Some(SqlValue::Integer(bytes))) =
                (row.get(9), row.get(7))
            else {
                continue;
            };
            let path = self.layout.blobs().join(file);
            if fs::metadata(path).is_ok_and(|meta| meta.len() == bytes.cast_unsigned()) {
                // What breaks a rule of the table was changed on disk.
                let inserted = transaction
                    .prepare_cached(
                        "insert or ignore into blob values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                    )?
                    .execute(rusqlite::params_from_iter(row));
                self.salvaged.blobs += inserted.or_else(ignore_refused)? as u64;
            }
        }
        transaction.commit()
    }

    /// Sums up what is there and marks it as salvaged.
    pub(super) fn close(&self, to: &Connection, now: UtcMicros) -> Sql<()> {
        if !self.balance_carried {
            count_what_is_there(to)?;
        }
        if !self.balance_carried || !self.forgotten_carried {
            let next_hour = now.0 - now.0.rem_euclid(HOUR_US) + HOUR_US;
            history::lose_before(to, UtcMicros(next_hour))?;
        }
        to.execute(
            "update meta set salvaged = ?1,
               records = (select coalesce(sum(records), 0) from batch),
               batches = (select count(*) from batch),
               batch_bytes = (select coalesce(sum(length(sealed)), 0) from batch),
               blobs = (select count(*) from blob),
               blob_bytes = (select coalesce(sum(file_bytes), 0) from blob)",
            [if self.balance_carried { 1 } else { 2 }],
        )?;
        let newest: Option<(i64, [u8; 8])> = to
            .query_row(
                "select first_seq + records, epoch from batch order by id desc limit 1",
                (),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((next_seq, _)) = newest {
            to.execute("update meta set next_seq = max(next_seq, ?1)", [next_seq])?;
        }
        self.close_chain(to)
    }

    /// Where the old chain's end is unknown, the newest batch that was saved is the end.
    fn close_chain(&self, to: &Connection) -> Sql<()> {
        let head: [u8; 32] = to.query_row("select head_hash from meta", (), |row| row.get(0))?;
        if head != [0; 32] {
            return Ok(());
        }
        let newest = to
            .query_row(
                "select epoch, first_seq, sealed from batch order by id desc limit 1",
                (),
                |row| {
                    let item = Item::Batch {
                        epoch: Epoch(u64::from_be_bytes(row.get(0)?)),
                        first_seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
                    };
                    Ok((item, row.get::<_, Vec<u8>>(2)?))
                },
            )
            .optional()?;
        let hash = newest
            .and_then(|(item, sealed)| self.author.vault.open(item, sealed).ok())
            .and_then(|bytes| SignedBatch::from_bytes(bytes).ok())
            .map(|signed| signed.hash());
        if let Some(hash) = hash {
            to.execute("update meta set head_hash = ?1", [hash.0])?;
        }
        Ok(())
    }
}
