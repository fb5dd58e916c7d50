//! Loss door 3: what gives way to the quota or to a full disk, in the turn's own transaction. `room.rs` says how much
//! must go, `quota.rs` chooses.

use crate::spool::ledger::End;
use crate::spool::outbox::{Application, Sql};
use crate::spool::quota::{self, Candidate, Rank};
use crate::spool::room::{Cause, Excess};
use crate::spool::rows::{BatchRow, BlobRow, Column, batch_columns};
use crate::spool::tally::{Reason, Span};
use rusqlite::params;
use wire::{Body, Record};

/// How many candidates for shedding are looked at in one turn; the next turn goes on.
const SHED_LOOKAHEAD: u32 = 512;
/// What a batch's row takes beside its sealed bytes: tally, index entry, its share of page headers.
const ROW_OVERHEAD_BYTES: u64 = 300;

impl Application<'_> {
    /// Drops the least valuable, nothing above `up_to`, until the excess is gone; names each loss.
    pub(super) fn shed(&mut self, excess: Excess, up_to: Rank) -> Sql<()> {
        if excess.is_none() {
            return Ok(());
        }
        let mut candidates = self.candidates(excess)?;
        candidates.retain(|candidate| candidate.rank <= up_to);
        let chosen = quota::choose(candidates, excess);
        let reason = match excess.cause {
            Cause::Quota => Reason::Quota,
            Cause::Disk => Reason::DiskFull,
        };
        for candidate in &chosen {
            if candidate.rank.is_media() {
                self.shed_blob(candidate.id, reason)?;
            } else {
                self.shed_batch(candidate.id, reason)?;
            }
        }
        let freed: u64 = chosen.iter().map(|candidate| candidate.bytes).sum();
        self.applied.shed += chosen.len() as u64;
        self.applied.shed_for_disk |= excess.cause == Cause::Disk && !chosen.is_empty();
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
        let enough = media_bytes >= excess.any_bytes;
        if enough || candidates.len() == SHED_LOOKAHEAD as usize {
            return Ok(candidates);
        }
        for (has_gap, rank) in [(false, Rank::Records), (true, Rank::RecordsNamingLosses)] {
            let mut statement = self.transaction.prepare_cached(
                "select id, has_gap, length(sealed) from batch where has_gap = ?1 order by id limit ?2",
            )?;
            let batches = statement
                .query_map(params![has_gap, SHED_LOOKAHEAD], |row| candidate(row, rank))?;
            for batch in batches {
                let mut batch = batch?;
                batch.bytes += ROW_OVERHEAD_BYTES;
                candidates.push(batch);
            }
            if candidates.len() >= SHED_LOOKAHEAD as usize {
                break;
            }
        }
        Ok(candidates)
    }

    fn shed_blob(&mut self, id: i64, reason: Reason) -> Sql<()> {
        let row = self
            .transaction
            .prepare_cached(
                "select id, class, camera, captured_us, file_bytes, file from blob where id = ?1",
            )?
            .query_row([id], BlobRow::read)?;
        self.count(&row.line, Column::Shed, 1)?;
        self.losses
            .add(reason, row.line.clone(), Span::one(row.captured_at));
        self.applied.files_to_delete.push(row.file.clone());
        self.delete_blob(&row)
    }

    fn shed_batch(&mut self, id: i64, reason: Reason) -> Sql<()> {
        let row = self
            .transaction
            .prepare_cached(concat!(
                "select ",
                batch_columns!(),
                " from batch where id = ?1"
            ))?
            .query_row([id], BatchRow::read)?;
        self.ends
            .add(row.epoch, row.first_seq, row.records, End::Shed);
        for (line, span) in row.tally.iter() {
            self.count(line, Column::Shed, span.count)?;
            self.losses.add(reason, line.clone(), *span);
        }
        if row.tally.iter().any(|(line, _)| line.is_gap()) {
            self.say_losses_again(&row)?;
        }
        self.delete_batch(&row)
    }

    /// A gap record that has to go takes no word with it: all of one kind become one, so there is room in that, too.
    fn say_losses_again(&mut self, row: &BatchRow) -> Sql<()> {
        for (_, _, _, json) in self.open_records(row, row.epoch)? {
            let record = json.and_then(|json| Record::from_json(&json).ok());
            if let Some(Body::Gap(gap)) = record.map(|record| record.body) {
                self.losses.say_again(&gap);
            }
        }
        Ok(())
    }
}

fn candidate(row: &rusqlite::Row<'_>, rank: Rank) -> Sql<Candidate> {
    Ok(Candidate {
        id: row.get(0)?,
        rank,
        bytes: row.get::<_, i64>(2)?.cast_unsigned(),
    })
}
