//! Loss door 3: what gives way at the quota, in the turn's own transaction. `quota.rs` chooses.

use crate::spool::outbox::{Application, Sql};
use crate::spool::quota::{self, Candidate, Excess, Rank};
use crate::spool::rows::{BatchRow, BlobRow, Column};
use crate::spool::tally::{Reason, Span};
use rusqlite::params;

/// How many candidates for shedding are looked at in one turn; the next turn goes on.
const SHED_LOOKAHEAD: u32 = 512;

impl Application<'_> {
    /// Drops the least valuable until the excess is gone, and names each loss.
    pub(super) fn shed(&mut self, excess: Excess) -> Sql<()> {
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
}

fn candidate(row: &rusqlite::Row<'_>, rank: Rank) -> Sql<Candidate> {
    Ok(Candidate {
        id: row.get(0)?,
        rank,
        bytes: row.get::<_, i64>(2)?.cast_unsigned(),
    })
}
