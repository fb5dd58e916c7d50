//! What is taken for sending: leases live in memory only, so a restart forgets them, which is what is wanted.

use crate::spool::answers::UNREADABLE;
use crate::spool::error::SpoolError;
use crate::spool::reads;
use crate::spool::seal::Item;
use crate::spool::turn::Request;
use crate::spool::writer::Writer;
use crate::spool::{Lane, LeasedBatch, LeasedBlob};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Duration;

/// A lease without a receipt ends after this; the batch is sent again.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// Blobs take longer on a thin line.
const BLOB_LEASE: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Leases {
    /// By row, with the boot time at which the lease ends.
    pub(super) batches: HashMap<i64, Duration>,
    pub(super) blobs: HashMap<i64, Duration>,
    /// Rows up to these waited when the session began: backlog. Later ones are live.
    pub(super) backlog_batch: i64,
    pub(super) backlog_blob: i64,
}

impl Leases {
    pub(super) fn expire(&mut self, now: Duration) {
        self.batches.retain(|_, ends| *ends > now);
        self.blobs.retain(|_, ends| *ends > now);
    }
}

impl Writer {
    /// Everything leased is ready again; what waits now is backlog.
    pub(super) fn begin_session(&mut self) {
        let (backlog_batch, backlog_blob) = self
            .read("read the newest ids", reads::newest_ids)
            .unwrap_or((i64::MAX, i64::MAX));
        self.leases = Leases {
            backlog_batch,
            backlog_blob,
            ..Leases::default()
        };
        self.shared.batches_ready.notify_one();
        self.shared.blobs_ready.notify_one();
    }

    /// What cannot be opened is parked by the next turn.
    pub(super) fn lease_batches(
        &mut self,
        limit: usize,
        lane: Lane,
    ) -> Result<Vec<LeasedBatch>, SpoolError> {
        let (after, up_to) = lane.range(self.leases.backlog_batch);
        let is_leased = |id| self.leases.batches.contains_key(&id);
        let stored = self.read("lease batches", |connection| {
            reads::next_batches(connection, after, up_to, limit, is_leased)
        });
        let stored = self.alarmed(stored)?;
        let ends = self.time.clocks().boottime() + LEASE;
        let mut leased = Vec::with_capacity(stored.len());
        for batch in stored {
            let item = Item::Batch {
                epoch: batch.epoch,
                first_seq: batch.first_seq,
            };
            match self.author.vault.open(item, batch.sealed) {
                Ok(signed) => {
                    self.leases.batches.insert(batch.id, ends);
                    leased.push(LeasedBatch {
                        id: batch.id,
                        epoch: batch.epoch,
                        first_seq: batch.first_seq,
                        last_seq: batch.first_seq.advanced_by(batch.records - 1),
                        signed: Bytes::from(signed),
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "setting aside what cannot be opened: {error}");
                    self.deferred.push(Request::ParkBatch {
                        id: batch.id,
                        code: UNREADABLE.to_owned(),
                    });
                }
            }
        }
        Ok(leased)
    }

    pub(super) fn lease_blob(&mut self, lane: Lane) -> Result<Option<LeasedBlob>, SpoolError> {
        let (after, up_to) = lane.range(self.leases.backlog_blob);
        let is_leased = |id| self.leases.blobs.contains_key(&id);
        let stored = self.read("lease a blob", |connection| {
            reads::next_blob(connection, after, up_to, is_leased)
        });
        let stored = self.alarmed(stored)?;
        Ok(stored.map(|blob| {
            let ends = self.time.clocks().boottime() + BLOB_LEASE;
            self.leases.blobs.insert(blob.id, ends);
            // There may be another one for another worker.
            self.shared.blobs_ready.notify_one();
            LeasedBlob {
                id: blob.id,
                sha256: blob.sha256,
                class: reads::media_class(&blob.class),
                bytes: blob.bytes,
                content_type: blob.content_type,
                file: blob.file,
            }
        }))
    }

    /// A read that finds the database damaged is as good a witness as a check.
    fn alarmed<T>(&mut self, read: Result<T, SpoolError>) -> Result<T, SpoolError> {
        if let Err(error) = &read
            && crate::spool::database::asks_for_salvage(error)
        {
            self.deferred.push(Request::Damaged(error.to_string()));
        }
        read
    }
}
