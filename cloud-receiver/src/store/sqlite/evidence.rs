//! Reads for proving and auditing: batches as they arrived, what the index tables say beside them, and counts.

use super::sealed_batch::{self, BatchName};
use super::{
    SqliteStore, epoch_bits, epoch_of, hash_at, id16, optional_time_at, seq_bits, seq_of, time_at,
    uuid_at,
};
use crate::store::{
    AuditRows, BatchRow, EventIndex, EvidenceDevice, EvidenceEvent, EvidenceReads, HourRow,
    MediaIndex, PictureRow, RecordIndex, Result,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;
use wire::evidence::manifest::{Boot, DeletedGap, Refusal};
use wire::{
    BootId, CameraId, ContractId, DeviceId, Epoch, EventId, Seq, SeqRange, Sha256, SiteId,
    UtcMicros, VerifyingKey,
};

const HOUR_US: i64 = 3_600_000_000;

fn optional_uuid_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row.get::<_, Option<[u8; 16]>>(index)?.map(Uuid::from_bytes))
}

fn evidence_devices(
    connection: &Connection,
    contract: Option<ContractId>,
) -> Result<Vec<EvidenceDevice>> {
    let mut statement = connection.prepare(
        "select d.id, c.id, c.name, s.id, s.name, d.record_key, d.enrolled_us, d.revoked_us
         from device d join contract c on c.id = d.contract join site s on s.id = d.site
         where (?1 is null or d.contract = ?1) and d.contract not in (select contract from erasure)
         order by c.name, s.name, d.enrolled_us, d.id",
    )?;
    let rows = statement.query_map([contract.map(|id| id16(id.0))], |row| {
        Ok(EvidenceDevice {
            device: DeviceId(uuid_at(row, 0)?),
            contract: ContractId(uuid_at(row, 1)?),
            contract_name: row.get(2)?,
            site: SiteId(uuid_at(row, 3)?),
            site_name: row.get(4)?,
            record_key: VerifyingKey(row.get(5)?),
            enrolled_us: time_at(row, 6)?,
            revoked_us: optional_time_at(row, 7)?,
            cameras: Vec::new(),
            boots: Vec::new(),
            refused: Vec::new(),
            stored: Vec::new(),
            deleted_gaps: Vec::new(),
        })
    })?;
    let mut devices = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for device in &mut devices {
        let id = [id16(device.device.0)];
        device.cameras = all(
            connection,
            "select id, name from camera_now where device = ?1 order by name, id",
            id,
            |row| Ok((CameraId(uuid_at(row, 0)?), row.get(1)?)),
        )?;
        device.boots = all(
            connection,
            "select boot, began_us from boot where device = ?1",
            id,
            |row| {
                Ok(Boot {
                    boot: BootId(uuid_at(row, 0)?),
                    began_us: time_at(row, 1)?,
                })
            },
        )?;
        device.refused = all(
            connection,
            "select epoch, first_seq, last_seq, code, sha256, whole_batch, at_us
             from rejection where device = ?1 order by at_us, first_seq",
            id,
            refusal_at,
        )?;
        device.stored = all(
            connection,
            "select epoch, first_seq, last_seq from stored_range where device = ?1
             order by epoch, first_seq",
            id,
            |row| Ok((epoch_of(row.get(0)?), range_at(row, 1)?)),
        )?;
        device.deleted_gaps = all(
            connection,
            "select camera, class, hour, number, reason from record_gone
             where device = ?1 and reason <> '' order by hour, camera, class, reason",
            id,
            |row| {
                Ok(DeletedGap {
                    camera: gone_camera(row, 0)?,
                    class: row.get(1)?,
                    hour_us: UtcMicros(row.get::<_, i64>(2)? * HOUR_US),
                    count: row.get::<_, i64>(3)?.cast_unsigned(),
                    reason: row.get(4)?,
                })
            },
        )?;
    }
    Ok(devices)
}

/// Empty: of the device itself.
fn gone_camera(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<CameraId>> {
    let bytes: Vec<u8> = row.get(index)?;
    Ok(Uuid::from_slice(&bytes).ok().map(CameraId))
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    key: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(key, read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn range_at(row: &Row<'_>, index: usize) -> rusqlite::Result<SeqRange> {
    Ok(SeqRange {
        first: seq_of(row.get(index)?),
        last: seq_of(row.get(index + 1)?),
    })
}

fn refusal_at(row: &Row<'_>) -> rusqlite::Result<Refusal> {
    Ok(Refusal {
        epoch: epoch_of(row.get(0)?),
        first_seq: seq_of(row.get(1)?),
        last_seq: seq_of(row.get(2)?),
        code: row.get(3)?,
        sha256: hash_at(row, 4)?,
        whole_batch: row.get(5)?,
        at_us: time_at(row, 6)?,
    })
}

fn batch_rows(connection: &Connection, device: DeviceId) -> Result<Vec<BatchRow>> {
    all(
        connection,
        "select no, epoch, first_seq, last_seq, sha256, prev, first_captured_us, length(sealed) = 0
         from batch where device = ?1 order by epoch, first_seq",
        [id16(device.0)],
        |row| {
            Ok(BatchRow {
                no: row.get(0)?,
                epoch: epoch_of(row.get(1)?),
                first: seq_of(row.get(2)?),
                last: seq_of(row.get(3)?),
                sha256: hash_at(row, 4)?,
                prev: hash_at(row, 5)?,
                first_captured_us: time_at(row, 6)?,
                deleted: row.get(7)?,
            })
        },
    )
}

const PICTURE: &str = "select m.epoch, m.seq, m.batch, m.sha256, m.class, m.content_type, m.camera,
        m.event, m.captured_us, m.arrived, b.device, m.captured_device_us,
        m.expired_us is not null
 from media m left join blob b on b.contract = m.contract and b.sha256 = m.sha256";

fn picture_at(row: &Row<'_>) -> rusqlite::Result<PictureRow> {
    Ok(PictureRow {
        epoch: epoch_of(row.get(0)?),
        seq: seq_of(row.get(1)?),
        batch: row.get(2)?,
        sha256: hash_at(row, 3)?,
        class: row.get(4)?,
        content_type: row.get(5)?,
        camera: CameraId(uuid_at(row, 6)?),
        event: optional_uuid_at(row, 7)?.map(EventId),
        captured_us: time_at(row, 8)?,
        captured_device_us: row.get(11)?,
        arrived: row.get(9)?,
        expired: row.get(12)?,
        brought_by: optional_uuid_at(row, 10)?.map(DeviceId),
    })
}

/// The bounds of a time range, or of all time.
fn bounds(range: Option<(UtcMicros, UtcMicros)>) -> (i64, i64) {
    range.map_or((i64::MIN, i64::MAX), |(from, to)| (from.0, to.0))
}

fn picture_rows(
    connection: &Connection,
    device: DeviceId,
    range: Option<(UtcMicros, UtcMicros)>,
) -> Result<Vec<PictureRow>> {
    let (from, to) = bounds(range);
    let mut statement = connection.prepare_cached(&format!(
        "{PICTURE} where m.device = ?1 and m.captured_us >= ?2 and m.captured_us < ?3
         order by m.captured_us, m.epoch, m.seq"
    ))?;
    let rows = statement.query_map((id16(device.0), from, to), picture_at)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn index_rows(
    connection: &Connection,
    device: DeviceId,
    batch: BatchRow,
) -> Result<(Vec<RecordIndex>, Vec<MediaIndex>, Vec<EventIndex>)> {
    let key = (
        id16(device.0),
        epoch_bits(batch.epoch),
        seq_bits(batch.first),
        seq_bits(batch.last),
    );
    let mut records = connection.prepare_cached(
        "select seq, kind, camera, event, captured_device_us from record where batch = ?1 order by seq",
    )?;
    let records = records.query_map([batch.no], |row| {
        Ok(RecordIndex {
            seq: seq_of(row.get(0)?),
            kind: row.get(1)?,
            camera: optional_uuid_at(row, 2)?.map(CameraId),
            event: optional_uuid_at(row, 3)?.map(EventId),
            captured_device_us: row.get(4)?,
        })
    })?;
    let records = records.collect::<rusqlite::Result<_>>()?;
    let mut media = connection.prepare_cached(
        "select seq, sha256, class, content_type, bytes, camera, event, captured_device_us, arrived
         from media where device = ?1 and epoch = ?2 and seq between ?3 and ?4 order by seq",
    )?;
    let media = media.query_map(key, |row| {
        Ok(MediaIndex {
            seq: seq_of(row.get(0)?),
            sha256: hash_at(row, 1)?,
            class: row.get(2)?,
            content_type: row.get(3)?,
            bytes: row.get(4)?,
            camera: CameraId(uuid_at(row, 5)?),
            event: optional_uuid_at(row, 6)?.map(EventId),
            captured_device_us: row.get(7)?,
            arrived: row.get(8)?,
        })
    })?;
    let media = media.collect::<rusqlite::Result<_>>()?;
    Ok((records, media, event_indexes(connection, batch.no)?))
}

/// `cross join` keeps the order: SQLite would else go through all events of the contract for each batch.
pub(super) const EVENTS_OF_BATCH: &str =
    "select distinct e.id, e.revision, e.camera, e.class, e.score, e.opened_device_us
         from record r cross join device d on d.id = r.device
         cross join event e on e.contract = d.contract and e.id = r.event
         where r.batch = ?1 and r.kind = 'event'";

/// Events that the records of a batch speak of, as they are shown.
fn event_indexes(connection: &Connection, batch: i64) -> Result<Vec<EventIndex>> {
    let mut statement = connection.prepare_cached(EVENTS_OF_BATCH)?;
    let rows = statement.query_map([batch], |row| {
        Ok(EventIndex {
            id: EventId(uuid_at(row, 0)?),
            revision: row.get(1)?,
            camera: CameraId(uuid_at(row, 2)?),
            class: row.get(3)?,
            score: row.get(4)?,
            opened_device_us: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn evidence_events(
    connection: &Connection,
    contract: ContractId,
    range: (UtcMicros, UtcMicros),
) -> Result<Vec<EvidenceEvent>> {
    let mut statement = connection.prepare_cached(
        "select id, device, camera, class, score, opened_us, closed_us, batch from event
         where contract = ?1 and opened_us >= ?2 and opened_us < ?3 order by opened_us, id",
    )?;
    let rows = statement.query_map((id16(contract.0), range.0.0, range.1.0), |row| {
        Ok(EvidenceEvent {
            id: EventId(uuid_at(row, 0)?),
            device: DeviceId(uuid_at(row, 1)?),
            camera: CameraId(uuid_at(row, 2)?),
            class: row.get(3)?,
            score: row.get(4)?,
            opened_us: time_at(row, 5)?,
            closed_us: optional_time_at(row, 6)?,
            batch: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn hours(
    connection: &Connection,
    sql: &str,
    key: ([u8; 16], i64, i64),
) -> Result<Vec<(HourRow, Option<String>)>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(key, |row| {
        let hour = HourRow {
            camera: optional_uuid_at(row, 0)?.map(CameraId),
            hour_us: row.get::<_, i64>(1)? * HOUR_US,
            class: row.get(2)?,
            count: row.get::<_, i64>(3)?.cast_unsigned(),
        };
        Ok((hour, row.get(4)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn audit_rows(
    connection: &Connection,
    device: DeviceId,
    range: Option<(UtcMicros, UtcMicros)>,
) -> Result<AuditRows> {
    let moment = connection.unchecked_transaction()?;
    let (from, to) = bounds(range);
    let key = (id16(device.0), from, to);
    let plain = |sql: &str| -> Result<Vec<HourRow>> {
        Ok(hours(&moment, sql, key)?
            .into_iter()
            .map(|(row, _)| row)
            .collect())
    };
    // Hours begin where the device's do: rounded down, also before 1970.
    let records = plain(
        "select camera, (captured_device_us - ((captured_device_us % 3600000000) + 3600000000) % 3600000000)
                    / 3600000000 as hour, kind, count(*), null
         from record where batch in (
                select no from batch where device = ?1 and to_device_us >= ?2 and from_device_us < ?3)
           and captured_device_us >= ?2 and captured_device_us < ?3
         group by camera, hour, kind order by hour, camera, kind",
    )?;
    // What was deleted as agreed had arrived.
    const HERE: &str = "(arrived = 1 or expired_us is not null)";
    const AWAITED: &str = "arrived = 0 and expired_us is null";
    let pictures = |arrived: &str| {
        plain(&format!(
            "select camera, (captured_device_us - ((captured_device_us % 3600000000) + 3600000000) % 3600000000)
                        / 3600000000 as hour, class, count(*), null
             from media where device = ?1 and captured_device_us >= ?2 and captured_device_us < ?3
               and {arrived}
             group by camera, hour, class order by hour, camera, class"
        ))
    };
    // Files about the box are counted beside pictures, as the box counts them.
    let files = |condition: &str| {
        plain(&format!(
            "select null, (captured_device_us - ((captured_device_us % 3600000000) + 3600000000) % 3600000000)
                        / 3600000000 as hour, 'diagnostic', count(*), null
             from device_file f where device = ?1 and captured_device_us >= ?2 and captured_device_us < ?3
               and {condition}
             group by hour order by hour"
        ))
    };
    const FILE_HERE: &str = "(expired_us is not null or exists (select 1 from blob b
        where b.contract = f.contract and b.sha256 = f.sha256 and b.missing_us is null))";
    let here = [pictures(HERE)?, files(FILE_HERE)?].concat();
    let awaited = [pictures(AWAITED)?, files(&format!("not {FILE_HERE}"))?].concat();
    let mut gaps = hours(
        &moment,
        "select camera, (from_device_us - ((from_device_us % 3600000000) + 3600000000) % 3600000000)
                    / 3600000000 as hour, class, sum(count), reason
         from gap where device = ?1 and to_device_us >= ?2 and from_device_us < ?3
         group by camera, hour, class, reason order by hour, camera, class, reason",
        key,
    )?;
    let gone = gone_hours(&moment, key)?;
    let (deleted, lost): (Vec<_>, Vec<_>) =
        gone.into_iter().partition(|(_, reason)| reason.is_none());
    gaps.extend(lost);
    let listed = |condition: &str| -> Result<Vec<PictureRow>> {
        let mut statement = moment.prepare_cached(&format!(
            "{PICTURE} where m.device = ?1 and m.captured_device_us >= ?2
               and m.captured_device_us < ?3 and {condition}
             order by m.captured_device_us, m.epoch, m.seq"
        ))?;
        let rows = statement.query_map(key, picture_at)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    Ok(AuditRows {
        records,
        pictures_here: here,
        pictures_awaited: awaited,
        awaited: listed("m.arrived = 0 and m.expired_us is null")?,
        unbacked: listed("m.arrived = 1 and b.sha256 is null")?,
        gaps: gaps
            .into_iter()
            .map(|(row, reason)| (row, reason.unwrap_or_default()))
            .collect(),
        unindexed: unlisted(&moment, key)?,
        deleted: deleted.into_iter().map(|(row, _)| row).collect(),
    })
}

/// What was deleted as agreed, by hour; with a reason what had been lost on the device.
fn gone_hours(
    connection: &Connection,
    key: ([u8; 16], i64, i64),
) -> Result<Vec<(HourRow, Option<String>)>> {
    all(
        connection,
        "select camera, hour, class, number, nullif(reason, '') from record_gone
         where device = ?1 and hour >= ?2 / 3600000000 and hour < ?3 / 3600000000 + (?3 % 3600000000 > 0)
         order by hour, camera, class, reason",
        key,
        |row| {
            let hour = HourRow {
                camera: gone_camera(row, 0)?,
                hour_us: row.get::<_, i64>(1)? * HOUR_US,
                class: row.get(2)?,
                count: row.get::<_, i64>(3)?.cast_unsigned(),
            };
            Ok((hour, row.get(4)?))
        },
    )
}

/// Records that the contents of a batch of that time leave out, but for those refused. Up to 100 batches' worth.
fn unlisted(connection: &Connection, key: ([u8; 16], i64, i64)) -> Result<Vec<(Epoch, Seq)>> {
    let lacking: Vec<(Epoch, SeqRange)> = all(
        connection,
        "select b.epoch, b.first_seq, b.last_seq from batch b
         where b.device = ?1 and b.to_device_us >= ?2 and b.from_device_us < ?3 and length(b.sealed) > 0
           and b.last_seq - b.first_seq + 1 >
               (select count(*) from record r where r.batch = b.no)
             + (select count(*) from rejection x where x.device = b.device and x.epoch = b.epoch
                  and x.whole_batch = 0 and x.first_seq between b.first_seq and b.last_seq)
         order by b.epoch, b.first_seq limit 100",
        key,
        |row| Ok((epoch_of(row.get(0)?), range_at(row, 1)?)),
    )?;
    let mut known = connection.prepare_cached(
        "select exists (select 1 from record where device = ?1 and epoch = ?2 and seq = ?3
                          and batch = (select no from batch where device = ?1 and epoch = ?2
                                       and first_seq <= ?3 order by first_seq desc limit 1))
             or exists (select 1 from rejection where device = ?1 and epoch = ?2
                          and whole_batch = 0 and first_seq = ?3)",
    )?;
    let mut missing = Vec::new();
    for (epoch, range) in lacking {
        for seq in range.first.0..=range.last.0 {
            let key = (key.0, epoch_bits(epoch), seq_bits(Seq(seq)));
            if !known.query_row(key, |row| row.get::<_, bool>(0))? {
                missing.push((epoch, Seq(seq)));
            }
        }
    }
    Ok(missing)
}

#[async_trait]
impl EvidenceReads for SqliteStore {
    async fn evidence_devices(&self, contract: Option<ContractId>) -> Result<Vec<EvidenceDevice>> {
        self.read(move |connection| evidence_devices(connection, contract))
            .await
    }

    async fn batch_rows(&self, device: DeviceId) -> Result<Vec<BatchRow>> {
        self.read(move |connection| batch_rows(connection, device))
            .await
    }

    async fn batch_bytes(
        &self,
        contract: ContractId,
        device: DeviceId,
        numbers: Vec<i64>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let key = self.key(contract).await?;
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("select sha256, sealed from batch where no = ?1 and device = ?2")?;
            let mut open = |no: i64| -> Result<Option<Vec<u8>>> {
                let row: Option<(Sha256, Vec<u8>)> = statement
                    .query_row((no, id16(device.0)), |row| {
                        Ok((hash_at(row, 0)?, row.get(1)?))
                    })
                    .optional()?;
                Ok(row.and_then(|(hash, sealed)| {
                    let name = BatchName {
                        contract,
                        device,
                        hash,
                    };
                    sealed_batch::open(&key, name, &sealed).ok()
                }))
            };
            numbers.into_iter().map(&mut open).collect()
        })
        .await
    }

    async fn picture_rows(
        &self,
        device: DeviceId,
        range: Option<(UtcMicros, UtcMicros)>,
    ) -> Result<Vec<PictureRow>> {
        self.read(move |connection| picture_rows(connection, device, range))
            .await
    }

    async fn evidence_events(
        &self,
        contract: ContractId,
        range: (UtcMicros, UtcMicros),
    ) -> Result<Vec<EvidenceEvent>> {
        self.read(move |connection| evidence_events(connection, contract, range))
            .await
    }

    async fn index_rows(
        &self,
        device: DeviceId,
        batch: BatchRow,
    ) -> Result<(Vec<RecordIndex>, Vec<MediaIndex>, Vec<EventIndex>)> {
        self.read(move |connection| index_rows(connection, device, batch))
            .await
    }

    async fn rows_without_batch(&self, device: DeviceId) -> Result<Vec<(Option<Epoch>, Seq)>> {
        self.read(move |connection| {
            all(
                connection,
                "select m.epoch as epoch, m.seq as seq from media m left join batch b on b.no = m.batch
                 where m.device = ?1 and (b.no is null or b.device <> m.device or b.epoch <> m.epoch
                    or m.seq not between b.first_seq and b.last_seq)
                 union all
                 select b.epoch, e.seq from event e left join batch b on b.no = e.batch and b.device = e.device
                 where e.contract = (select contract from device where id = ?1) and e.device = ?1 and not exists (
                    select 1 from record r
                    where r.batch = b.no and r.seq = e.seq and r.kind = 'event' and r.event = e.id)
                 order by epoch, seq limit 100",
                [id16(device.0)],
                |row| {
                    let epoch: Option<i64> = row.get(0)?;
                    Ok((epoch.map(epoch_of), seq_of(row.get(1)?)))
                },
            )
        })
        .await
    }

    async fn deletions_noted(&self, contract: Option<ContractId>) -> Result<u64> {
        self.read(move |connection| {
            let noted: i64 = connection.query_row(
                "select coalesce(sum(detail ->> 'batches'), 0) from audit
                 where action = 'retention.delete' and (?1 is null or contract = ?1)
                   and contract not in (select contract from erasure)",
                [contract.map(|id| id16(id.0))],
                |row| row.get(0),
            )?;
            Ok(noted.cast_unsigned())
        })
        .await
    }

    async fn blob_rows(&self, contract: ContractId) -> Result<Vec<(Sha256, DeviceId, u64)>> {
        self.read(move |connection| {
            all(
                connection,
                "select sha256, device, bytes from blob where contract = ?1 order by sha256",
                [id16(contract.0)],
                |row| {
                    let bytes = row.get::<_, i64>(2)?.cast_unsigned();
                    Ok((hash_at(row, 0)?, DeviceId(uuid_at(row, 1)?), bytes))
                },
            )
        })
        .await
    }

    async fn audit_rows(
        &self,
        device: DeviceId,
        range: Option<(UtcMicros, UtcMicros)>,
    ) -> Result<AuditRows> {
        self.read(move |connection| audit_rows(connection, device, range))
            .await
    }
}
