//! Rows of the outbox as types, and what SQL is told of numbers.

use crate::spool::tally::{Line, Reason, Tally};
use wire::{CameraId, Epoch, Seq, UtcMicros};

/// The columns that `BatchRow::read` reads, in its order.
macro_rules! batch_columns {
    () => {
        "id, epoch, first_seq, records, tally, length(sealed)"
    };
}
pub(super) use batch_columns;

pub(super) struct BatchRow {
    pub(super) id: i64,
    pub(super) epoch: Epoch,
    pub(super) first_seq: Seq,
    pub(super) records: u64,
    pub(super) tally: Tally,
    pub(super) sealed_len: u64,
}

impl BatchRow {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Self, rusqlite::Error> {
        let tally: String = row.get(4)?;
        Ok(Self {
            id: row.get(0)?,
            epoch: Epoch(u64::from_be_bytes(row.get(1)?)),
            first_seq: Seq(row.get::<_, i64>(2)?.cast_unsigned()),
            records: row.get::<_, u32>(3)?.into(),
            // Only this program writes it; an unreadable one counts nothing rather than stop the spool.
            tally: Tally::from_json(&tally).unwrap_or_default(),
            sealed_len: row.get::<_, i64>(5)?.cast_unsigned(),
        })
    }

    pub(super) fn holds(&self, number: Seq) -> bool {
        (self.first_seq.0..self.first_seq.0 + self.records).contains(&number.0)
    }
}

pub(super) struct BlobRow {
    pub(super) id: i64,
    pub(super) line: Line,
    pub(super) captured_at: UtcMicros,
    pub(super) file_bytes: u64,
    pub(super) file: String,
}

impl BlobRow {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Self, rusqlite::Error> {
        let class: String = row.get(1)?;
        let camera = blob_camera(row.get(2)?);
        let captured_at = UtcMicros(row.get(3)?);
        Ok(Self {
            id: row.get(0)?,
            line: Line::new(camera, &class, captured_at),
            captured_at,
            file_bytes: row.get::<_, i64>(4)?.cast_unsigned(),
            file: row.get(5)?,
        })
    }
}

/// The camera of a blob as its row stores it: the nil UUID for a blob that is of no camera.
pub(super) fn blob_camera_key(camera: Option<CameraId>) -> [u8; 16] {
    camera.map_or([0; 16], |camera| *camera.0.as_bytes())
}

pub(super) fn blob_camera(key: [u8; 16]) -> Option<CameraId> {
    let id = uuid::Uuid::from_bytes(key);
    (!id.is_nil()).then_some(CameraId(id))
}

/// A column of the balance.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Captured,
    Settled,
    Shed,
    Parked,
}

impl Column {
    pub(super) fn upsert(self) -> &'static str {
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

pub(super) fn lost_column(reason: Reason) -> Column {
    match reason {
        Reason::Quarantine | Reason::Rejected => Column::Parked,
        Reason::Quota
        | Reason::DiskFull
        | Reason::Oversized
        | Reason::Outage
        | Reason::MediaBusy
        | Reason::MediaFailed => Column::Shed,
    }
}

/// SQLite's integers are signed; numbers beyond are as good as infinite.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn seq(value: Seq) -> i64 {
    integer(value.0)
}
