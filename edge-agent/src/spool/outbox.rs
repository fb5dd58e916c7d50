//! What one turn changes, in one transaction. What is only read stands in `reads.rs`.
//!
//! Everything here is a function of the connection and its arguments and may be run again from the start after
//! a rollback: nothing outside the transaction changes until the writer has seen the commit.

use crate::spool::quota::{self, Candidate, Excess, Rank};
use crate::spool::seal::{Item, Vault};
use crate::spool::tally::{Line, Losses, Reason, Span, Tally, names_a_loss};
use crate::spool::writer::{BlobEnd, Entry, Turn};
use rusqlite::{OptionalExtension, Transaction, params};
use wire::batch::{MAX_BATCH_BYTES, MAX_RECORDS};
use wire::{
    Batch, Body, DeviceId, Epoch, Receipt, Record, RecordTime, Seq, Sha256, SignedBatch,
    SigningKey, UtcMicros,
};

/// How many candidates for shedding are looked at in one turn; the next turn goes on.
const SHED_LOOKAHEAD: u32 = 512;
/// Most parked records kept for a person to look at; the oldest go first. All were reported when parked.
const MAX_PARKED: u32 = 1000;

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

impl Usage {
    pub(super) fn bytes(&self) -> u64 {
        self.batch_bytes + self.blob_bytes
    }
}

/// What a committed turn leads to outside the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) chain: Chain,
    pub(super) usage: Usage,
    pub(super) new_batches: u64,
    pub(super) new_blobs: u64,
    /// Rows that are gone: their leases are over.
    pub(super) gone_batches: Vec<i64>,
    pub(super) gone_blobs: Vec<i64>,
    /// Blob files that no row names any longer.
    pub(super) files_to_delete: Vec<String>,
    pub(super) files_to_quarantine: Vec<String>,
    pub(super) shed: u64,
    /// Something was shed and the quota is still exceeded.
    pub(super) more_to_shed: bool,
}

/// Applies one turn within a transaction that the caller commits.
pub(super) struct Application<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) author: &'a Author,
    pub(super) now: RecordTime,
    pub(super) applied: Applied,
    losses: Losses,
}

type Sql<T> = Result<T, rusqlite::Error>;

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
                new_batches: 0,
                new_blobs: 0,
                gone_batches: Vec::new(),
                gone_blobs: Vec::new(),
                files_to_delete: Vec::new(),
                files_to_quarantine: Vec::new(),
                shed: 0,
                more_to_shed: false,
            },
            losses: Losses::default(),
        }
    }

    /// `excess` is asked for after the turn's own changes, with the bytes then in use.
    pub(super) fn run(mut self, turn: &Turn, excess: impl Fn(u64) -> Excess) -> Sql<Applied> {
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
        for entry in &turn.entries {
            self.keep_blob(entry)?;
        }
        self.append(turn.entries.iter().map(Piece::of_entry).collect())?;
        self.shed(excess(self.applied.usage.bytes()))?;
        self.report_losses()?;
        self.transaction
            .prepare_cached("update meta set head_hash = ?1, turn = turn + 1")?
            .execute([self.applied.chain.head.0])?;
        Ok(self.applied)
    }

    /// Deletes the batches that the receipt wholly answers.
    fn settle(&mut self, receipt: &Receipt) -> Sql<()> {
        let mut rows = Vec::new();
        for (first, last) in stored_ranges(receipt) {
            let mut statement = self.transaction.prepare_cached(
                "select id, first_seq, records, tally, length(sealed) from batch
                 where epoch = ?1 and first_seq between ?2 and ?3 and first_seq + records - 1 <= ?3
                 order by first_seq",
            )?;
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
            if !rejected.is_empty() {
                settled = Tally::default();
                for (number, line, span, json) in self.open_records(&row, receipt.epoch)? {
                    match rejected.iter().find(|rejected| rejected.seq == number) {
                        None => settled.add(line, span),
                        Some(rejected) => {
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
    fn park_batch(&mut self, id: i64, code: &str) -> Sql<()> {
        let found: Option<(BatchRow, [u8; 8])> = self
            .transaction
            .prepare_cached(
                "select id, first_seq, records, tally, length(sealed), epoch from batch where id = ?1",
            )?
            .query_row([id], |row| Ok((BatchRow::read(row)?, row.get(5)?)))
            .optional()?;
        let Some((row, epoch)) = found else {
            return Ok(());
        };
        let epoch = Epoch(u64::from_be_bytes(epoch));
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
        self.delete_batch(&row)
    }

    /// The records of a batch; where it cannot be opened, their numbers alone, under the batch's first line.
    #[allow(clippy::type_complexity)]
    fn open_records(
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

    fn delete_batch(&mut self, row: &BatchRow) -> Sql<()> {
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

    fn end_blob(&mut self, sha256: Sha256, end: &BlobEnd) -> Sql<()> {
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

    fn delete_blob(&mut self, row: &BlobRow) -> Sql<()> {
        self.transaction
            .prepare_cached("delete from blob where id = ?1")?
            .execute([row.id])?;
        self.applied.usage.blobs -= 1;
        self.applied.usage.blob_bytes -= row.file_bytes;
        self.applied.gone_blobs.push(row.id);
        Ok(())
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
                blob.camera.0.as_bytes(),
                entry.at.0,
                integer(blob.bytes),
                integer(blob.file.bytes),
                blob.content_type,
                blob.file.name,
            ])?;
        if inserted == 0 {
            self.applied.files_to_delete.push(blob.file.name.clone());
            return Ok(());
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

    fn shed(&mut self, excess: Excess) -> Sql<()> {
        if excess.is_none() {
            return Ok(());
        }
        let candidates = self.candidates(excess)?;
        let chosen = quota::choose(candidates, excess);
        for candidate in &chosen {
            if candidate.rank.is_media() {
                self.shed_blob(candidate.id)?;
            } else {
                self.shed_batch(candidate.id)?;
            }
        }
        let freed: u64 = chosen.iter().map(|candidate| candidate.bytes).sum();
        self.applied.shed = chosen.len() as u64;
        self.applied.more_to_shed =
            chosen.len() >= SHED_LOOKAHEAD as usize && freed < excess.any_bytes;
        Ok(())
    }

    fn candidates(&self, excess: Excess) -> Sql<Vec<Candidate>> {
        let mut candidates = Vec::new();
        let mut statement = self.transaction.prepare_cached(
            "select id, shed_rank, file_bytes from blob order by shed_rank, id limit ?1",
        )?;
        let blobs = statement.query_map([SHED_LOOKAHEAD], |row| {
            let rank = match row.get::<_, u8>(1)? {
                1 => Rank::Clip,
                2 => Rank::Periodic,
                3 => Rank::Requested,
                _ => Rank::Snapshot,
            };
            candidate(row, rank)
        })?;
        for blob in blobs {
            candidates.push(blob?);
        }
        let media_bytes: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
        // Records only where no media is left beyond what was looked at.
        if media_bytes >= excess.any_bytes || candidates.len() == SHED_LOOKAHEAD as usize {
            return Ok(candidates);
        }
        for (has_gap, rank) in [(false, Rank::Records), (true, Rank::RecordsNamingLosses)] {
            let mut statement = self.transaction.prepare_cached(
                "select id, has_gap, length(sealed) from batch where has_gap = ?1 order by id limit ?2",
            )?;
            let batches = statement
                .query_map(params![has_gap, SHED_LOOKAHEAD], |row| candidate(row, rank))?;
            for batch in batches {
                candidates.push(batch?);
            }
        }
        Ok(candidates)
    }

    fn shed_blob(&mut self, id: i64) -> Sql<()> {
        let row = self
            .transaction
            .prepare_cached(
                "select id, class, camera, captured_us, file_bytes, file from blob where id = ?1",
            )?
            .query_row([id], BlobRow::read)?;
        self.count(&row.line, Column::Shed, 1)?;
        self.losses
            .add(Reason::Quota, row.line.clone(), Span::one(row.captured_at));
        self.applied.files_to_delete.push(row.file.clone());
        self.delete_blob(&row)
    }

    fn shed_batch(&mut self, id: i64) -> Sql<()> {
        let row = self
            .transaction
            .prepare_cached(
                "select id, first_seq, records, tally, length(sealed) from batch where id = ?1",
            )?
            .query_row([id], BatchRow::read)?;
        for (line, span) in row.tally.iter() {
            self.count(line, Column::Shed, span.count)?;
            self.losses.add(Reason::Quota, line.clone(), *span);
        }
        self.delete_batch(&row)
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

    fn count(&self, line: &Line, column: Column, count: u64) -> Sql<()> {
        self.transaction
            .prepare_cached(column.upsert())?
            .execute(params![
                line.camera
                    .map_or(Vec::new(), |camera| camera.0.as_bytes().to_vec()),
                line.class,
                line.hour_us,
                integer(count),
            ])?;
        Ok(())
    }
}

/// The code under which a batch is parked that cannot be opened.
pub(super) const UNREADABLE: &str = "unreadable";

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

#[derive(Clone, Copy)]
enum Column {
    Captured,
    Settled,
    Shed,
    Parked,
}

impl Column {
    fn upsert(self) -> &'static str {
        macro_rules! upsert {
            ($column:literal) => {
                concat!(
                    "insert into balance (camera, class, hour_us, ",
                    $column,
                    ") values (?1, ?2, ?3, ?4) on conflict do update set ",
                    $column,
                    " = ",
                    $column,
                    " + excluded.",
                    $column
                )
            };
        }
        match self {
            Column::Captured => upsert!("captured"),
            Column::Settled => upsert!("settled"),
            Column::Shed => upsert!("shed"),
            Column::Parked => upsert!("parked"),
        }
    }
}

fn lost_column(reason: Reason) -> Column {
    match reason {
        Reason::Quarantine | Reason::Rejected => Column::Parked,
        Reason::Quota | Reason::Oversized | Reason::Outage => Column::Shed,
    }
}

struct BatchRow {
    id: i64,
    first_seq: Seq,
    records: u64,
    tally: Tally,
    sealed_len: u64,
}

impl BatchRow {
    fn read(row: &rusqlite::Row<'_>) -> Sql<Self> {
        let tally: String = row.get(3)?;
        Ok(Self {
            id: row.get(0)?,
            first_seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
            records: row.get::<_, u32>(2)?.into(),
            // Only this program writes it; an unreadable one counts nothing rather than stop the spool.
            tally: Tally::from_json(&tally).unwrap_or_default(),
            sealed_len: row.get::<_, i64>(4)?.cast_unsigned(),
        })
    }

    fn holds(&self, number: Seq) -> bool {
        (self.first_seq.0..self.first_seq.0 + self.records).contains(&number.0)
    }
}

struct BlobRow {
    id: i64,
    line: Line,
    captured_at: UtcMicros,
    file_bytes: u64,
    file: String,
}

impl BlobRow {
    fn read(row: &rusqlite::Row<'_>) -> Sql<Self> {
        let class: String = row.get(1)?;
        let camera: [u8; 16] = row.get(2)?;
        let captured_at = UtcMicros(row.get(3)?);
        let camera = wire::CameraId(uuid::Uuid::from_bytes(camera));
        Ok(Self {
            id: row.get(0)?,
            line: Line::new(Some(camera), &class, captured_at),
            captured_at,
            file_bytes: row.get::<_, i64>(4)?.cast_unsigned(),
            file: row.get(5)?,
        })
    }
}

fn candidate(row: &rusqlite::Row<'_>, rank: Rank) -> Sql<Candidate> {
    Ok(Candidate {
        id: row.get(0)?,
        rank,
        bytes: row.get::<_, i64>(2)?.cast_unsigned(),
    })
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

/// SQLite's integers are signed; numbers beyond are as good as infinite.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn seq(value: Seq) -> i64 {
    integer(value.0)
}

/// Where a new entry's counts go.
pub(super) fn entry_line(record: &Record) -> Line {
    debug_assert!(!names_a_loss(record) || Line::of_record(record).is_gap());
    Line::of_record(record)
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
