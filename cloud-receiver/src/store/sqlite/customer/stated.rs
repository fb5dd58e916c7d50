//! Events as their highest revision states them: the row, and the record that it was made of.
//!
//! What nothing searches or sorts by - why an event is told, its zones, its path - stands in the record alone, and the
//! record in its signed batch.

use super::super::sealed_batch::{self, BatchName};
use super::super::{hash_at, optional_time_at, seq_of, time_at, uuid_at};
use crate::seal::SecretKey;
use crate::store::{EventRow, Result, Snapshot, StoreError, TimeKnown};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use wire::record::{EventRecord, Reason};
use wire::{
    Batch, Body, CameraId, ContractId, DeviceId, EventId, Record, RecordTime, Seq, Sha256,
    SignedBatch, SiteId, VerifyingKey,
};

/// The columns that [`Stated::at`] reads, in its order.
pub(super) const STATED_COLUMNS: &str = "e.id, e.camera, k.name, s.id, s.name, e.class, e.score, e.opened_us,
    e.last_seen_us, e.closed_us, e.revision, e.received_us, e.synced, b.learned_at_boottime_us is not null, b.boot,
    e.device, e.seq, e.batch, d.record_key";
pub(super) const STATED_TABLES: &str = "event e join camera_now k on k.id = e.camera
    join device d on d.id = e.device join site s on s.id = d.site
    left join boot b on b.device = e.device and b.boot = e.boot";

pub(super) struct Stated {
    /// Without what [`Stated::record`] adds.
    pub(super) row: EventRow,
    pub(super) device: DeviceId,
    pub(super) seq: Seq,
    pub(super) batch: i64,
    pub(super) record_key: VerifyingKey,
}

impl Stated {
    pub(super) fn at(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: event_at(row)?,
            device: DeviceId(uuid_at(row, 15)?),
            seq: seq_of(row.get(16)?),
            batch: row.get(17)?,
            record_key: VerifyingKey(row.get(18)?),
        })
    }

    pub(super) fn batch_name(&self, contract: ContractId, hash: Sha256) -> BatchName {
        BatchName {
            contract,
            device: self.device,
            hash,
        }
    }

    /// The event's record, out of the batch that holds its highest revision; the row learns what it says.
    pub(super) fn read_record(
        &mut self,
        connection: &Connection,
        key: &SecretKey,
        contract: ContractId,
    ) -> Result<(RecordTime, EventRecord)> {
        let batch = self.open_batch(connection, key, contract)?;
        self.record_in(&batch)
    }

    fn open_batch(
        &self,
        connection: &Connection,
        key: &SecretKey,
        contract: ContractId,
    ) -> Result<Batch> {
        let (hash, sealed): (Sha256, Vec<u8>) = connection
            .prepare_cached("select sha256, sealed from batch where no = ?1")?
            .query_row([self.batch], |row| Ok((hash_at(row, 0)?, row.get(1)?)))?;
        let bytes = sealed_batch::open(key, self.batch_name(contract, hash), &sealed)?;
        SignedBatch::from_bytes(bytes)
            .and_then(|signed| signed.parse())
            .map_err(|error| StoreError::Corrupt(format!("a stored batch: {error}")))
    }

    fn record_in(&mut self, batch: &Batch) -> Result<(RecordTime, EventRecord)> {
        let index = usize::try_from(self.seq.0.saturating_sub(batch.first_seq.0));
        let json = index.ok().and_then(|index| batch.records.get(index));
        let record = Record::from_json(json.map_or(&[][..], Vec::as_slice))
            .map_err(|error| StoreError::Corrupt(format!("an event record: {error}")))?;
        let Body::Event(event) = record.body else {
            return Err(StoreError::Corrupt(
                "an event row holds another kind of record".into(),
            ));
        };
        // All times of an event are off by as much as its beginning was.
        let delta_us = self.row.opened_at_us.since_us(event.opened_at_us);
        self.row.zones.clone_from(&event.zones);
        self.row.reasons = event
            .reasons
            .iter()
            .map(|reason| Reason {
                at_us: reason.at_us.plus_us(delta_us),
                ..reason.clone()
            })
            .collect();
        Ok((record.time, event))
    }
}

/// Lets the rows of a list learn what their records say. A batch is opened once for all that it states; one that is
/// damaged leaves its events as bare as their rows: the page of each tells why.
pub(super) fn read_records(
    connection: &Connection,
    key: &SecretKey,
    contract: ContractId,
    events: &mut [Stated],
) -> Result<()> {
    let mut events: Vec<&mut Stated> = events.iter_mut().collect();
    events.sort_by_key(|event| event.batch);
    for of_batch in events.chunk_by_mut(|one, other| one.batch == other.batch) {
        let batch = match of_batch[0].open_batch(connection, key, contract) {
            Ok(batch) => batch,
            Err(StoreError::Corrupt(cause)) => {
                tracing::error!(batch.no = of_batch[0].batch, "events of a list: {cause}");
                continue;
            }
            Err(error) => return Err(error),
        };
        for event in of_batch {
            if let Err(error) = event.record_in(&batch) {
                tracing::error!(event.id = %event.row.id, "an event of a list: {error}");
            }
        }
    }
    Ok(())
}

fn event_at(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        id: EventId(uuid_at(row, 0)?),
        camera: CameraId(uuid_at(row, 1)?),
        camera_name: row.get(2)?,
        site: SiteId(uuid_at(row, 3)?),
        site_name: row.get(4)?,
        class: row.get(5)?,
        score: row.get::<_, f64>(6)? as f32,
        opened_at_us: time_at(row, 7)?,
        last_seen_at_us: time_at(row, 8)?,
        closed_at_us: optional_time_at(row, 9)?,
        revision: row.get(10)?,
        received_at_us: time_at(row, 11)?,
        snapshot: Snapshot::Unheard,
        zones: Vec::new(),
        reasons: Vec::new(),
        time_known: match (row.get(12)?, row.get(13)?, row.get_ref(14)?) {
            (true, _, _) => TimeKnown::Synced,
            (false, true, _) => TimeKnown::Corrected,
            (false, false, ValueRef::Null) => TimeKnown::AsSaid,
            (false, false, _) => TimeKnown::ByArrival,
        },
    })
}
