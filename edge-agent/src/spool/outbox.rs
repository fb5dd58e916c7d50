//! What one turn changes, in one transaction: what comes in stands here, what the receiver answers in `answers.rs`,
//! what gives way in `shed.rs`. What is only read stands in `reads.rs`.
//!
//! Everything here is a function of the connection and its arguments and may be run again from the start after
//! a rollback: nothing outside the transaction changes until the writer has seen the commit.

use crate::spool::ledger::Ends;
use crate::spool::quota::Rank;
use crate::spool::reads;
use crate::spool::room::{self, Excess, Fill, Marks, Volume};
use crate::spool::rows::{BatchRow, BlobRow, Column, blob_camera_key, integer, lost_column, seq};
use crate::spool::seal::{Item, Vault};
use crate::spool::tally::{Line, Losses, Reason, Span, Tally, names_a_loss};
use crate::spool::turn::{Entry, NewBlob, Turn};
use crate::spool::wipe::Wiped;
use rusqlite::{OptionalExtension, Transaction, params};
use wire::batch::{MAX_BATCH_BYTES, MAX_RECORDS};
use wire::{Batch, Body, DeviceId, Epoch, Record, RecordTime, Seq, Sha256, SigningKey, UtcMicros};

/// Who signs and seals.
#[derive(Debug)]
pub(super) struct Author {
    pub(super) device: DeviceId,
    pub(super) record_key: SigningKey,
    pub(super) vault: Vault,
}

/// Where the chain of batches stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) epoch: Epoch,
    pub(super) next_seq: Seq,
    pub(super) head: Sha256,
}

/// What is in the outbox, kept up beside the tables so that nothing is summed up at every turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) records: u64,
    pub(super) batches: u64,
    pub(super) batch_bytes: u64,
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
    pub(super) parked: u64,
}

/// What a turn is told of the room it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) marks: Marks,
    pub(super) volume: Option<Volume>,
    /// Above zero: the commit before found the disk full, and this much has to go.
    pub(super) starved_bytes: u64,
}

/// What a committed turn leads to outside the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) chain: Chain,
    pub(super) usage: Usage,
    /// Pages of the database that are in use.
    pub(super) database_bytes: u64,
    pub(super) new_batches: u64,
    pub(super) new_blobs: u64,
    /// Rows that are gone: their leases are over.
    pub(super) gone_batches: Vec<i64>,
    pub(super) gone_blobs: Vec<i64>,
    /// Blob files that no row names any longer.
    pub(super) files_to_delete: Vec<String>,
    pub(super) files_to_quarantine: Vec<String>,
    pub(super) shed: u64,
    /// Not the quota but the disk made it give way.
    pub(super) shed_for_disk: bool,
    /// Something was shed and the quota is still exceeded.
    pub(super) more_to_shed: bool,
    pub(super) wiped: Wiped,
}

/// Applies one turn within a transaction that the caller commits.
pub(super) struct Application<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) author: &'a Author,
    pub(super) now: RecordTime,
    pub(super) applied: Applied,
    pub(super) losses: Losses,
    pub(super) ends: Ends,
}

pub(super) type Sql<T> = Result<T, rusqlite::Error>;

impl<'a> Application<'a> {
    pub(super) fn new(
        transaction: &'a Transaction<'a>,
        author: &'a Author,
        now: RecordTime,
        chain: Chain,
        usage: Usage,
    ) -> Self {
        Self {
            transaction,
            author,
            now,
            applied: Applied {
                chain,
                usage,
                database_bytes: 0,
                new_batches: 0,
                new_blobs: 0,
                gone_batches: Vec::new(),
                gone_blobs: Vec::new(),
                files_to_delete: Vec::new(),
                files_to_quarantine: Vec::new(),
                shed: 0,
                shed_for_disk: false,
                more_to_shed: false,
                wiped: Wiped::default(),
            },
            losses: Losses::default(),
            ends: Ends::default(),
        }
    }

    pub(super) fn run(mut self, turn: &Turn, room: Room) -> Sql<Applied> {
        for receipt in &turn.receipts {
            self.settle(receipt)?;
        }
        for (id, code) in &turn.refused_batches {
            self.park_batch(*id, code)?;
        }
        for (sha256, end) in &turn.ended_blobs {
            self.end_blob(*sha256, end)?;
        }
        for (reason, line, span) in turn.losses.iter() {
            // Lost before it could be accepted: captured and shed in one go.
            self.count(line, Column::Captured, span.count)?;
            self.count(line, lost_column(reason), span.count)?;
            self.losses.add(reason, line.clone(), span);
        }
        for (line, span) in &turn.damaged {
            self.count(line, Column::Parked, span.count)?;
            self.losses.add(Reason::Quarantine, line.clone(), *span);
        }
        if turn.wipe {
            self.applied.wiped = self.wipe()?;
        }
        for entry in &turn.entries {
            self.keep_blob(entry)?;
        }
        // Before the records go in: on a full disk they need the pages that become free.
        self.make_room(turn, room)?;
        self.append(turn.entries.iter().map(Piece::of_entry).collect())?;
        self.follow_events(&turn.entries)?;
        self.report_losses()?;
        std::mem::take(&mut self.ends).write(self.transaction)?;
        self.close_turn(turn)?;
        Ok(self.applied)
    }

    /// What comes in has its blobs' rows already, so that the least valuable goes even if it is the newest.
    fn make_room(&mut self, turn: &Turn, room: Room) -> Sql<()> {
        let incoming: usize = turn.entries.iter().map(|entry| entry.json.len() + 4).sum();
        let fill = Fill {
            database_bytes: reads::bytes_in_use(self.transaction)?,
            blobs: self.applied.usage.blobs,
            blob_bytes: self.applied.usage.blob_bytes,
            incoming_bytes: incoming as u64,
            starved_bytes: room.starved_bytes,
        };
        self.shed(
            room::excess(&room.marks, fill, room.volume),
            Rank::RecordsNamingLosses,
        )?;
        match turn.room_wanted {
            Some((bytes, rank)) => self.shed(Excess::for_blob(bytes), rank),
            None => Ok(()),
        }
    }

    /// The row of `meta` says how much there is and where the chain ends, as of this commit.
    fn close_turn(&mut self, turn: &Turn) -> Sql<()> {
        let (usage, chain) = (self.applied.usage, self.applied.chain);
        self.transaction
            .prepare_cached(
                "update meta set turn = turn + 1, head_hash = ?1, next_seq = ?2, records = ?3, batches = ?4,
                   batch_bytes = ?5, blobs = ?6, blob_bytes = ?7, parked = ?8,
                   salvaged = case when ?9 then 0 else salvaged end",
            )?
            .execute(params![
                chain.head.0,
                seq(chain.next_seq),
                integer(usage.records),
                integer(usage.batches),
                integer(usage.batch_bytes),
                integer(usage.blobs),
                integer(usage.blob_bytes),
                integer(usage.parked),
                turn.names_salvage,
            ])?;
        self.applied.database_bytes = reads::bytes_in_use(self.transaction)?;
        Ok(())
    }

    pub(super) fn delete_batch(&mut self, row: &BatchRow) -> Sql<()> {
        self.transaction
            .prepare_cached("delete from batch where id = ?1")?
            .execute([row.id])?;
        let usage = &mut self.applied.usage;
        usage.batches -= 1;
        usage.records -= row.records;
        usage.batch_bytes -= row.sealed_len;
        self.applied.gone_batches.push(row.id);
        Ok(())
    }

    pub(super) fn delete_blob(&mut self, row: &BlobRow) -> Sql<()> {
        self.transaction
            .prepare_cached("delete from blob where id = ?1")?
            .execute([row.id])?;
        self.applied.usage.blobs -= 1;
        self.applied.usage.blob_bytes -= row.file_bytes;
        self.applied.gone_blobs.push(row.id);
        Ok(())
    }

    /// The same bytes under a dearer class: from now on they are worth that, and counted under it.
    fn revalue(&self, blob: &NewBlob, at: UtcMicros) -> Sql<()> {
        let row = self
            .transaction
            .prepare_cached(
                "select id, class, camera, captured_us, file_bytes, file from blob
                 where sha256 = ?1 and shed_rank < ?2",
            )?
            .query_row(
                params![blob.sha256.0, Rank::of_media(blob.class) as u8],
                BlobRow::read,
            )
            .optional()?;
        let Some(row) = row else {
            return Ok(());
        };
        self.transaction
            .prepare_cached(
                "update blob set class = ?2, shed_rank = ?3, camera = ?4, captured_us = ?5 where id = ?1",
            )?
            .execute(params![
                row.id,
                blob.class.as_str(),
                Rank::of_media(blob.class) as u8,
                blob_camera_key(blob.camera),
                at.0,
            ])?;
        let (was, line) = (row.line, Line::of_blob(blob.camera, blob.class, at));
        self.transaction
            .prepare_cached(
                "update balance set captured = captured - 1
                 where camera = ?1 and class = ?2 and hour_us = ?3",
            )?
            .execute(params![was.camera_key(), was.class, was.hour_us])?;
        self.count(&line, Column::Captured, 1)
    }

    /// The row of a blob whose file is already durable. The same bytes once more need no second row.
    fn keep_blob(&mut self, entry: &Entry) -> Sql<()> {
        let Some(blob) = &entry.blob else {
            return Ok(());
        };
        let inserted = self
            .transaction
            .prepare_cached(
                "insert into blob (sha256, class, shed_rank, camera, captured_us, bytes, file_bytes,
                                   content_type, file)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) on conflict (sha256) do nothing",
            )?
            .execute(params![
                blob.sha256.0,
                blob.class.as_str(),
                Rank::of_media(blob.class) as u8,
                blob_camera_key(blob.camera),
                entry.at.0,
                integer(blob.bytes),
                integer(blob.file.bytes),
                blob.content_type,
                blob.file.name,
            ])?;
        if inserted == 0 {
            self.applied.files_to_delete.push(blob.file.name.clone());
            return self.revalue(blob, entry.at);
        }
        self.applied.usage.blobs += 1;
        self.applied.usage.blob_bytes += blob.file.bytes;
        self.applied.new_blobs += 1;
        let line = Line::of_blob(blob.camera, blob.class, entry.at);
        self.count(&line, Column::Captured, 1)
    }

    /// Signs, chains, seals and stores records, as many batches as they need.
    fn append(&mut self, pieces: Vec<Piece<'_>>) -> Sql<()> {
        let mut rest = &pieces[..];
        while !rest.is_empty() {
            let mut bytes = Batch::signed_len([]);
            let fitting = rest
                .iter()
                .take(MAX_RECORDS)
                .take_while(|piece| {
                    bytes += 4 + piece.json.len();
                    bytes <= MAX_BATCH_BYTES
                })
                .count();
            // One record always fits, so this always goes on.
            let (batch, later) = rest.split_at(fitting.max(1));
            self.append_batch(batch)?;
            rest = later;
        }
        Ok(())
    }

    fn append_batch(&mut self, pieces: &[Piece<'_>]) -> Sql<()> {
        let chain = self.applied.chain;
        let mut tally = Tally::default();
        for piece in pieces {
            tally.add(piece.line.clone(), Span::one(piece.at));
        }
        let batch = Batch {
            device_id: self.author.device,
            epoch: chain.epoch,
            first_seq: chain.next_seq,
            prev: chain.head,
            records: pieces.iter().map(|piece| piece.json.to_vec()).collect(),
        };
        let signed = batch.sign(&self.author.record_key);
        let item = Item::Batch {
            epoch: chain.epoch,
            first_seq: chain.next_seq,
        };
        let sealed = self.author.vault.seal(item, signed.as_bytes());
        let oldest = pieces.iter().map(|piece| piece.at).min();
        self.transaction
            .prepare_cached(
                "insert into batch (epoch, first_seq, records, oldest_us, has_gap, tally, sealed)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                chain.epoch.0.to_be_bytes(),
                seq(chain.next_seq),
                pieces.len() as u32,
                oldest.map_or(0, |oldest| oldest.0),
                pieces.iter().any(|piece| piece.line.is_gap()),
                tally.to_json(),
                sealed,
            ])?;
        for (line, span) in tally.iter() {
            self.count(line, Column::Captured, span.count)?;
        }
        let count = pieces.len() as u64;
        self.applied.chain.next_seq = chain.next_seq.advanced_by(count);
        self.applied.chain.head = signed.hash();
        self.applied.usage.batches += 1;
        self.applied.usage.records += count;
        self.applied.usage.batch_bytes += sealed.len() as u64;
        self.applied.new_batches += 1;
        Ok(())
    }

    /// Gap records for everything this turn lost, in the same transaction.
    fn report_losses(&mut self) -> Sql<()> {
        let records: Vec<Record> = self
            .losses
            .gap_records()
            .map(|gap| Record::new(self.now, Body::Gap(gap)))
            .collect();
        let jsons: Vec<Vec<u8>> = records.iter().map(Record::to_json).collect();
        let pieces = records
            .iter()
            .zip(&jsons)
            .map(|(record, json)| Piece {
                line: Line::of_record(record),
                at: record.time.captured_at_us,
                json,
            })
            .collect();
        self.append(pieces)
    }

    pub(super) fn count(&self, line: &Line, column: Column, count: u64) -> Sql<()> {
        self.transaction
            .prepare_cached(column.upsert())?
            .execute(params![
                line.camera_key(),
                line.class,
                line.hour_us,
                integer(count),
            ])?;
        Ok(())
    }
}

/// One record about to be stored.
struct Piece<'a> {
    line: Line,
    at: UtcMicros,
    json: &'a [u8],
}

impl<'a> Piece<'a> {
    fn of_entry(entry: &'a Entry) -> Self {
        Self {
            line: entry.line.clone(),
            at: entry.at,
            json: &entry.json,
        }
    }
}

/// Where a new entry's counts go.
pub(super) fn entry_line(record: &Record) -> Line {
    debug_assert!(!names_a_loss(record) || Line::of_record(record).is_gap());
    Line::of_record(record)
}
