//! The timeline and one event with its proof.

use super::super::sealed_batch::{self, BatchName};
use super::super::{epoch_of, hash_at, id16, links, optional_time_at, seq_of, time_at, uuid_at};
use super::{PICTURE_COLUMNS, picture_at};
use crate::seal::SecretKey;
use crate::store::{
    ContractScope, EventCursor, EventDetail, EventFilter, EventRow, PictureRef, Proof, Result,
    Snapshot, StoreError, TimeKnown, Window,
};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use wire::record::EventRecord;
use wire::{
    Body, CameraId, ContractId, DeviceId, EventId, Record, RecordTime, Seq, Sha256, SignedBatch,
    SiteId, UtcMicros, VerifyingKey,
};

/// Batches that state an event or its pictures, the newest ones, and are verified again when it is looked at; and the
/// one that states what is shown, in any case.
const BATCHES_VERIFIED: i64 = 64;

const EVENT_COLUMNS: &str = "e.id, e.camera, k.name, s.id, s.name, e.class, e.score, e.opened_us,
    e.last_seen_us, e.closed_us, e.revision, e.received_us, e.synced, b.learned_at_boottime_us is not null, b.boot";
const EVENT_TABLES: &str = "event e join camera_now k on k.id = e.camera
    join device d on d.id = e.device join site s on s.id = d.site
    left join boot b on b.device = e.device and b.boot = e.boot";

pub(super) fn list(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    filter: &EventFilter,
    before: Option<EventCursor>,
    limit: u32,
) -> Result<Vec<EventRow>> {
    let (conditions, mut values) = conditions(scope, filter, before);
    values.push(Value::Integer(i64::from(limit)));
    let mut statement = connection.prepare_cached(&format!(
        "select {EVENT_COLUMNS} from {EVENT_TABLES} where {conditions}
         order by e.opened_us desc, e.id desc limit ?"
    ))?;
    let rows = statement.query_map(params_from_iter(values), event_at)?;
    let mut events: Vec<EventRow> = rows.collect::<rusqlite::Result<_>>()?;
    for event in &mut events {
        event.snapshot = match snapshot(connection, scope.contract(), key, event.id)? {
            Some(shown) => Snapshot::Here(shown.picture),
            None => absent(connection, scope.contract(), event.id)?,
        };
    }
    Ok(events)
}

fn conditions(
    scope: ContractScope,
    filter: &EventFilter,
    before: Option<EventCursor>,
) -> (String, Vec<Value>) {
    let mut text = String::from("e.contract = ?");
    let mut values = vec![blob(scope.contract().0)];
    let mut also = |condition: &str, bound: &mut dyn Iterator<Item = Value>| {
        text.push_str(" and ");
        text.push_str(condition);
        values.extend(bound);
    };
    if let Some(site) = filter.site {
        also("d.site = ?", &mut [blob(site.0)].into_iter());
    }
    if let Some(camera) = filter.camera {
        also("e.camera = ?", &mut [blob(camera.0)].into_iter());
    }
    if let Some(class) = &filter.class {
        also("e.class = ?", &mut [Value::Text(class.clone())].into_iter());
    }
    if let Some(from) = filter.from_us {
        also(
            "e.opened_us >= ?",
            &mut [Value::Integer(from.0)].into_iter(),
        );
    }
    if let Some(to) = filter.to_us {
        also("e.opened_us < ?", &mut [Value::Integer(to.0)].into_iter());
    }
    if let Some(cursor) = before {
        let mut bound = [Value::Integer(cursor.opened_at_us.0), blob(cursor.id.0)].into_iter();
        also("(e.opened_us, e.id) < (?, ?)", &mut bound);
    }
    (text, values)
}

fn blob(id: uuid::Uuid) -> Value {
    Value::Blob(id16(id).to_vec())
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
        time_known: match (row.get(12)?, row.get(13)?, row.get_ref(14)?) {
            (true, _, _) => TimeKnown::Synced,
            (false, true, _) => TimeKnown::Corrected,
            (false, false, ValueRef::Null) => TimeKnown::AsSaid,
            (false, false, _) => TimeKnown::ByArrival,
        },
    })
}

struct Shown {
    picture: PictureRef,
    /// Whether what arrived has the length that the signed record states; its hash was checked on arrival.
    as_stated: bool,
}

/// The snapshot of highest quality that has arrived.
fn snapshot(
    connection: &Connection,
    contract: ContractId,
    key: &SecretKey,
    event: EventId,
) -> Result<Option<Shown>> {
    let mut statement = connection.prepare_cached(&format!(
        "select {PICTURE_COLUMNS},
                (select b.bytes from blob b where b.contract = m.contract and b.sha256 = m.sha256)
         from media m
         where contract = ?1 and event = ?2 and arrived = 1 and class <> 'clip'
         order by quality desc, captured_us desc limit 1"
    ))?;
    let mut rows = statement.query((id16(contract.0), id16(event.0)))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let (picture, media) = picture_at(row, contract, key)?;
    let arrived_bytes: Option<i64> = row.get(5)?;
    let as_stated = arrived_bytes.map(i64::cast_unsigned) == Some(media.bytes);
    Ok(Some(Shown { picture, as_stated }))
}

/// What is known of a picture that is not here. Losses are told in the device's own time. What was lost before it
/// was ever kept was never announced; what was announced, and is told to be shed, will not come.
fn absent(connection: &Connection, contract: ContractId, event: EventId) -> Result<Snapshot> {
    let key = (id16(contract.0), id16(event.0));
    let announced: Option<(i64, i64)> = connection
        .prepare_cached(
            "select b.received_us, m.captured_device_us from media m join batch b on b.no = m.batch
             where m.contract = ?1 and m.event = ?2 and m.class <> 'clip'
               and m.device = (select device from event where contract = ?1 and id = ?2)
             order by b.received_us desc limit 1",
        )?
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let lost: Option<String> = connection
        .prepare_cached(
            "select g.reason from event e join gap g on g.contract = e.contract and g.device = e.device
             where e.contract = ?1 and e.id = ?2 and (g.camera = e.camera or g.camera is null)
               and g.class in ('snapshot', 'media')
               and g.from_device_us <= coalesce(?3, e.opened_device_us + (e.last_seen_us - e.opened_us))
               and g.to_device_us >= coalesce(?3, e.opened_device_us)
               and (?3 is null or g.reason not in ('media_busy', 'media_failed'))
             order by g.to_device_us desc limit 1",
        )?
        .query_row((key.0, key.1, announced.map(|(_, captured)| captured)), |row| row.get(0))
        .optional()?;
    Ok(match (lost, announced) {
        (Some(reason), _) => Snapshot::Lost { reason },
        (None, Some((received, _))) => Snapshot::Announced {
            received_at_us: UtcMicros(received),
        },
        (None, None) => Snapshot::Unheard,
    })
}

/// How many events opened in each part of the window.
pub(super) fn density(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    window: Window,
    steps: u32,
) -> Result<Vec<u64>> {
    let step_us = (window.to_us.since_us(window.from_us) / i64::from(steps.max(1))).max(1);
    let filter = EventFilter {
        from_us: Some(window.from_us),
        to_us: Some(window.to_us),
        ..filter.clone()
    };
    let (conditions, mut values) = conditions(scope, &filter, None);
    values.insert(0, Value::Integer(step_us));
    values.insert(0, Value::Integer(window.from_us.0));
    let mut statement = connection.prepare_cached(&format!(
        "select (e.opened_us - ?) / ? as step, count(*) from event e join device d on d.id = e.device
         where {conditions} group by step"
    ))?;
    let mut counts = vec![0; steps as usize];
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let step: i64 = row.get(0)?;
        if let Some(count) = usize::try_from(step)
            .ok()
            .and_then(|step| counts.get_mut(step))
        {
            *count = row.get::<_, i64>(1)?.cast_unsigned();
        }
    }
    Ok(counts)
}

pub(super) fn detail(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    id: EventId,
) -> Result<Option<EventDetail>> {
    let contract = scope.contract();
    let found = connection
        .prepare_cached(&format!(
            "select {EVENT_COLUMNS}, e.device, e.seq, e.batch, d.record_key
             from {EVENT_TABLES} where e.contract = ?1 and e.id = ?2"
        ))?
        .query_row((id16(contract.0), id16(id.0)), |row| {
            Ok(Found {
                row: event_at(row)?,
                device: DeviceId(uuid_at(row, 15)?),
                seq: seq_of(row.get(16)?),
                batch: row.get(17)?,
                record_key: VerifyingKey(row.get(18)?),
            })
        })
        .optional()?;
    let Some(mut found) = found else {
        return Ok(None);
    };
    let shown = snapshot(connection, contract, key, id)?;
    let (time, event) = open_event(connection, key, contract, &found)?;
    let proof = prove(connection, contract, key, &found, shown.as_ref())?;
    let (older, newer) = neighbours(connection, contract, &found.row)?;
    found.row.snapshot = match shown {
        Some(shown) => Snapshot::Here(shown.picture),
        None => absent(connection, contract, id)?,
    };
    Ok(Some(EventDetail {
        row: found.row,
        device: found.device,
        path: event.path,
        clock: time.clock,
        proof,
        older,
        newer,
    }))
}

struct Found {
    row: EventRow,
    device: DeviceId,
    seq: Seq,
    batch: i64,
    record_key: VerifyingKey,
}

/// The event's record, out of the batch that holds its highest revision.
fn open_event(
    connection: &Connection,
    key: &SecretKey,
    contract: ContractId,
    found: &Found,
) -> Result<(RecordTime, EventRecord)> {
    let (hash, sealed): (Sha256, Vec<u8>) = connection
        .prepare_cached("select sha256, sealed from batch where no = ?1")?
        .query_row([found.batch], |row| Ok((hash_at(row, 0)?, row.get(1)?)))?;
    let bytes = sealed_batch::open(key, found.batch_name(contract, hash), &sealed)?;
    let no_batch = |error| StoreError::Corrupt(format!("a stored batch: {error}"));
    let batch = SignedBatch::from_bytes(bytes)
        .and_then(|signed| signed.parse())
        .map_err(no_batch)?;
    let index = usize::try_from(found.seq.0.saturating_sub(batch.first_seq.0));
    let json = index.ok().and_then(|index| batch.records.get(index));
    let record = Record::from_json(json.map_or(&[][..], Vec::as_slice))
        .map_err(|error| StoreError::Corrupt(format!("an event record: {error}")))?;
    match record.body {
        Body::Event(event) => Ok((record.time, event)),
        _ => Err(StoreError::Corrupt(
            "an event row holds another kind of record".into(),
        )),
    }
}

impl Found {
    fn batch_name(&self, contract: ContractId, hash: Sha256) -> BatchName {
        BatchName {
            contract,
            device: self.device,
            hash,
        }
    }
}

/// Opens every batch that speaks of the event and verifies its signature again: the page says what is true now,
/// not what was true when it arrived.
fn prove(
    connection: &Connection,
    contract: ContractId,
    key: &SecretKey,
    found: &Found,
    shown: Option<&Shown>,
) -> Result<Proof> {
    let mut statement = connection.prepare_cached(
        "select sha256, sealed from batch where no = ?5 or no in (
            select o.batch from event e join event_batch o on o.event = e.no
                  where e.contract = ?1 and e.id = ?2
            union select m.batch from media m
                  where m.contract = ?1 and m.event = ?2 and m.device = ?3
            order by 1 desc limit ?4)",
    )?;
    let mut rows = statement.query((
        id16(contract.0),
        id16(found.row.id.0),
        id16(found.device.0),
        BATCHES_VERIFIED,
        found.batch,
    ))?;
    let mut signature_ok = true;
    while let Some(row) = rows.next()? {
        let sealed: Vec<u8> = row.get(1)?;
        signature_ok &= genuine(key, contract, found, hash_at(row, 0)?, &sealed);
    }
    let (epoch, first_seq, batch_sha256, link) = connection
        .prepare_cached("select epoch, first_seq, sha256, link from batch where no = ?1")?
        .query_row([found.batch], |row| {
            Ok((
                epoch_of(row.get(0)?),
                row.get::<_, i64>(1)?.cast_unsigned(),
                hash_at(row, 2)?,
                links::state(row.get(3)?),
            ))
        })?;
    Ok(Proof {
        signature_ok,
        link,
        epoch,
        first_seq,
        batch_sha256,
        record_key: found.record_key,
        picture_ok: shown.map(|shown| shown.as_stated),
    })
}

fn genuine(
    key: &SecretKey,
    contract: ContractId,
    found: &Found,
    hash: Sha256,
    sealed: &[u8],
) -> bool {
    let Ok(bytes) = sealed_batch::open(key, found.batch_name(contract, hash), sealed) else {
        return false;
    };
    SignedBatch::from_bytes(bytes)
        .is_ok_and(|batch| batch.hash() == hash && batch.verify(&found.record_key).is_ok())
}

fn neighbours(
    connection: &Connection,
    contract: ContractId,
    event: &EventRow,
) -> Result<(Option<EventId>, Option<EventId>)> {
    let next = |comparison: &str, order: &str| -> Result<Option<EventId>> {
        Ok(connection
            .prepare_cached(&format!(
                "select id from event where contract = ?1 and (opened_us, id) {comparison} (?2, ?3)
                 order by opened_us {order}, id {order} limit 1"
            ))?
            .query_row(
                (id16(contract.0), event.opened_at_us.0, id16(event.id.0)),
                |row| Ok(EventId(uuid_at(row, 0)?)),
            )
            .optional()?)
    };
    Ok((next("<", "desc")?, next(">", "asc")?))
}
