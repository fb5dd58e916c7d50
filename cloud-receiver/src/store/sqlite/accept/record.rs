//! What one record says, spread over the index tables. Every rule here gives the same end state in any order of
//! arrival: the highest revision of an event, the latest statement of a camera, the earliest clock record of a
//! boot.

use super::clock::{self, Corrected};
use super::{Told, epoch_bits, id16, seq_bits};
use crate::ingest::accept::{Accepted, code};
use crate::live::News;
use crate::seal::{Purpose, SecretKey};
use crate::store::sqlite::hours::{Counted, Deltas};
use crate::store::sqlite::{count, device_files, name_of_id, name_of_record, uuid_at};
use crate::store::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension};
use std::collections::{HashMap, HashSet};
use wire::record::{
    AuditRecord, CAMERA_CLASS, CameraStateRecord, CountRecord, EventRecord, GapRecord, MediaRecord,
};
use wire::{Body, CameraId, ContractId, EventId, MediaClass, Record, Seq, UtcMicros};

/// Where a record stands.
pub(super) struct Place<'a> {
    pub(super) accepted: &'a Accepted,
    /// Its batch's row.
    pub(super) batch: i64,
    pub(super) seq: Seq,
    /// The receiver's clock.
    pub(super) at: UtcMicros,
}

type Refusal = &'static str;

/// What was looked up or made known once within this piece of work.
#[derive(Default)]
pub(super) struct Known {
    cameras: HashMap<CameraId, ContractId>,
    classes: HashMap<ContractId, HashSet<String>>,
    /// What events count for, written at the end.
    pub(super) hours: Deltas,
}

/// What the record's index row keeps sealed: the record itself of a picture, what a count counts, the words of an
/// answer. An event's is read from its batch: a page asks for few, and it would else double what is written.
pub(super) fn seal(accepted: &Accepted, index: usize, key: &SecretKey) -> Option<Vec<u8>> {
    let record = accepted.records[index].as_ref().ok()?;
    let (contract, device) = (accepted.contract, accepted.device);
    let name = |purpose| {
        let seq = accepted.batch.first_seq.advanced_by(index as u64);
        name_of_record(contract, device, purpose, accepted.batch.epoch, seq)
    };
    match &record.body {
        Body::Media(_) => Some(key.seal(&name(Purpose::Media), &accepted.batch.records[index])),
        Body::Count(count) => Some(key.seal(&name(Purpose::Count), &count::to_bytes(count))),
        Body::Audit(AuditRecord {
            command: Some(id),
            detail: Some(detail),
            ..
        }) => {
            let name = name_of_id(contract, device, Purpose::CommandAnswer, id.0);
            Some(key.seal(&name, detail.as_bytes()))
        }
        _ => None,
    }
}

/// Stores one record. The inner error is the code by which it is refused for good; then nothing of it is stored.
pub(super) fn store(
    connection: &Connection,
    place: &Place<'_>,
    record: &Record,
    sealed: Option<&[u8]>,
    known: &mut Known,
    news: &mut Told,
) -> Result<std::result::Result<(), Refusal>> {
    let time = Corrected::of(connection, place, &record.time)?;
    if let Some(camera) = record.body.camera()
        && known.owner(connection, place, camera)? != place.accepted.contract
    {
        return Ok(Err(code::FOREIGN_CAMERA));
    }
    let sealed = || sealed.ok_or_else(|| StoreError::Database("a record was not sealed".into()));
    match &record.body {
        Body::Event(event) => {
            if let Err(code) = store_event(connection, place, &time, event, known, news)? {
                return Ok(Err(code));
            }
        }
        Body::Media(media) => store_media(connection, place, &time, media, sealed()?, news)?,
        Body::CameraState(state) => store_camera_state(connection, place, &time, state, news)?,
        Body::DeviceState(state) => {
            store_change(connection, place, &time, None, &state.state, None)?;
        }
        Body::Clock(clock) => clock::store(connection, place, &record.time, clock, news)?,
        Body::Gap(gap) => store_gap(connection, place, &time, gap, news)?,
        Body::Audit(audit) => store_answer(connection, place, &time, audit, sealed().ok())?,
        Body::Count(count) => store_count(connection, place, &time, count, sealed()?)?,
        Body::Unknown => {}
    }
    Ok(Ok(()))
}

impl Known {
    /// Whose camera it is: of the contract whose device speaks of it first.
    fn owner(
        &mut self,
        connection: &Connection,
        place: &Place<'_>,
        camera: CameraId,
    ) -> Result<ContractId> {
        if let Some(owner) = self.cameras.get(&camera) {
            return Ok(*owner);
        }
        let known: Option<ContractId> = connection
            .prepare_cached("select contract from camera where id = ?1")?
            .query_row([id16(camera.0)], |row| Ok(ContractId(uuid_at(row, 0)?)))
            .optional()?;
        let contract = place.accepted.contract;
        if known.is_none() {
            connection
                .prepare_cached(
                    "insert into camera (id, contract, device, first_us) values (?1, ?2, ?3, ?4)",
                )?
                .execute((
                    id16(camera.0),
                    id16(contract.0),
                    id16(place.accepted.device.0),
                    place.at.0,
                ))?;
        }
        let owner = known.unwrap_or(contract);
        self.cameras.insert(camera, owner);
        Ok(owner)
    }

    fn note_class(
        &mut self,
        connection: &Connection,
        contract: ContractId,
        class: &str,
    ) -> Result<()> {
        let classes = self.classes.entry(contract).or_default();
        if !classes.contains(class) {
            connection
                .prepare_cached(
                    "insert or ignore into event_class (contract, class) values (?1, ?2)",
                )?
                .execute((id16(contract.0), class))?;
            classes.insert(class.to_owned());
        }
        Ok(())
    }
}

fn store_camera_state(
    connection: &Connection,
    place: &Place<'_>,
    time: &Corrected,
    state: &CameraStateRecord,
    news: &mut Told,
) -> Result<()> {
    let changed = connection
        .prepare_cached(
            "insert into camera_state (camera, boot, device, epoch, seq, name, state, reason, state_us,
                                       state_device_us, boottime_us, synced)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             on conflict (camera, boot) do update set
                device = excluded.device, epoch = excluded.epoch, seq = excluded.seq,
                name = excluded.name, state = excluded.state, reason = excluded.reason,
                state_us = excluded.state_us, state_device_us = excluded.state_device_us,
                boottime_us = excluded.boottime_us, synced = excluded.synced
             where (excluded.boottime_us, excluded.epoch, excluded.seq)
                 > (camera_state.boottime_us, camera_state.epoch, camera_state.seq)",
        )?
        .execute((
            id16(state.camera.0),
            id16(time.boot),
            id16(place.accepted.device.0),
            epoch_bits(place.accepted.batch.epoch),
            seq_bits(place.seq),
            &state.name,
            &state.state,
            &state.reason,
            time.captured_us(),
            time.device_us,
            time.boottime_us,
            time.synced,
        ))?;
    let camera = state.camera;
    let reason = state.reason.as_deref();
    store_change(connection, place, time, Some(camera), &state.state, reason)?;
    let contract = place.accepted.contract;
    if changed > 0 {
        news.push((contract, News::Camera { camera }));
    }
    let camera = Some(camera);
    news.push((contract, News::Gap { camera }));
    Ok(())
}

fn store_event(
    connection: &Connection,
    place: &Place<'_>,
    time: &Corrected,
    event: &EventRecord,
    known: &mut Known,
    news: &mut Told,
) -> Result<std::result::Result<(), Refusal>> {
    let contract = place.accepted.contract;
    let now_counted = Counted {
        contract,
        device: place.accepted.device,
        camera: event.camera,
        class: &event.class,
        opened_us: time.correct(event.opened_at_us),
    };
    // Not one statement that inserts or updates: SQLite would keep a journal of its own for it.
    if write_event(connection, INSERT_EVENT, place, time, event)? {
        known.hours.add(&now_counted, 1);
        known.note_class(connection, contract, &event.class)?;
    } else {
        let (no, owner, revision, batch, camera, class, opened_us) = connection
            .prepare_cached(
                "select no, device, revision, batch, camera, class, opened_us from event where contract = ?1 and id = ?2",
            )?
            .query_row((id16(contract.0), id16(event.id.0)), |row| {
                Ok((
                    row.get(0)?,
                    uuid_at(row, 1)?,
                    row.get::<_, u32>(2)?,
                    row.get(3)?,
                    CameraId(uuid_at(row, 4)?),
                    row.get::<_, String>(5)?,
                    row.get(6)?,
                ))
            })?;
        if owner != place.accepted.device.0 {
            return Ok(Err(code::FOREIGN_EVENT));
        }
        if event.revision <= revision {
            overtaken(connection, no, place.batch, batch)?;
            return Ok(Ok(()));
        }
        write_event(connection, UPDATE_EVENT, place, time, event)?;
        let counted = Counted {
            camera,
            class: &class,
            opened_us,
            ..now_counted
        };
        known.hours.add(&counted, -1);
        known.hours.add(&now_counted, 1);
        if opened_us != now_counted.opened_us {
            move_tags(connection, contract, event.id, now_counted.opened_us)?;
        }
        known.note_class(connection, contract, &event.class)?;
        overtaken(connection, no, batch, place.batch)?;
    }
    let camera = event.camera;
    news.push((
        contract,
        News::Event {
            id: event.id,
            camera,
            opened_at_us: UtcMicros(time.correct(event.opened_at_us)),
        },
    ));
    if event.class == CAMERA_CLASS {
        news.push((contract, News::Camera { camera }));
    }
    Ok(Ok(()))
}

/// Notes the batch of a revision that is not, or no longer, the highest one.
fn overtaken(connection: &Connection, event: i64, batch: i64, highest: i64) -> Result<()> {
    if batch != highest {
        connection
            .prepare_cached("insert or ignore into event_batch (event, batch) values (?1, ?2)")?
            .execute((event, batch))?;
    }
    Ok(())
}

/// Tags stand in the order of the timeline.
fn move_tags(
    connection: &Connection,
    contract: ContractId,
    event: EventId,
    opened_us: i64,
) -> Result<()> {
    connection
        .prepare_cached("update event_tag set opened_us = ?3 where contract = ?1 and event = ?2")?
        .execute((id16(contract.0), id16(event.0), opened_us))?;
    Ok(())
}

/// Runs one of the two statements that follow; answers whether it changed anything.
fn write_event(
    connection: &Connection,
    sql: &str,
    place: &Place<'_>,
    time: &Corrected,
    event: &EventRecord,
) -> Result<bool> {
    let changed = connection.prepare_cached(sql)?.execute(rusqlite::params![
        id16(place.accepted.contract.0),
        id16(event.id.0),
        id16(place.accepted.device.0),
        id16(event.camera.0),
        event.revision,
        event.class,
        f64::from(event.score),
        time.correct(event.opened_at_us),
        time.correct(event.last_seen_at_us),
        event.closed_at_us.map(|at| time.correct(at)),
        event.opened_at_us.0,
        time.device_us,
        id16(time.boot),
        time.boottime_us,
        time.synced,
        place.at.0,
        place.batch,
        seq_bits(place.seq),
    ])?;
    Ok(changed > 0)
}

const INSERT_EVENT: &str = "\
    insert into event (contract, id, device, camera, revision, class, score, opened_us, last_seen_us, closed_us,
                       opened_device_us, captured_device_us, boot, boottime_us, synced, received_us, batch, seq)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
    on conflict (contract, id) do nothing";

/// Takes the same values. Whose it is and when it was first received stay.
const UPDATE_EVENT: &str = "\
    update event set camera = ?4, revision = ?5, class = ?6, score = ?7, opened_us = ?8, last_seen_us = ?9,
                     closed_us = ?10, opened_device_us = ?11, captured_device_us = ?12, boot = ?13,
                     boottime_us = ?14, synced = ?15, batch = ?17, seq = ?18
    where contract = ?1 and id = ?2 and device = ?3";

fn store_media(
    connection: &Connection,
    place: &Place<'_>,
    time: &Corrected,
    media: &MediaRecord,
    sealed: &[u8],
    news: &mut Told,
) -> Result<()> {
    let contract = place.accepted.contract;
    let arrived: bool = connection
        .prepare_cached(
            "select exists (select 1 from blob
                          where contract = ?1 and sha256 = ?2 and missing_us is null)",
        )?
        .query_row((id16(contract.0), media.sha256.0), |row| row.get(0))?;
    connection
        .prepare_cached(
            "insert or ignore into media
                (device, epoch, seq, contract, batch, sha256, class, content_type, bytes, camera, event,
                 quality, captured_us, captured_device_us, boot, boottime_us, synced, arrived, sealed)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )?
        .execute(rusqlite::params![
            id16(place.accepted.device.0),
            epoch_bits(place.accepted.batch.epoch),
            seq_bits(place.seq),
            id16(contract.0),
            place.batch,
            media.sha256.0,
            media.class.as_str(),
            media.content_type,
            i64::try_from(media.bytes).unwrap_or(i64::MAX),
            id16(media.camera.0),
            media.event.map(|event| id16(event.0)),
            f64::from(media.quality),
            time.captured_us(),
            time.device_us,
            id16(time.boot),
            time.boottime_us,
            time.synced,
            arrived,
            sealed,
        ])?;
    if arrived {
        tell_picture(
            connection,
            place.accepted.contract,
            media.camera,
            media.event,
            media.class,
            news,
        )?;
    }
    Ok(())
}

/// News of a picture that can now be shown: it is here, and a signed record says what it is.
pub(in crate::store::sqlite) fn tell_picture(
    connection: &Connection,
    contract: wire::ContractId,
    camera: CameraId,
    event: Option<EventId>,
    class: MediaClass,
    news: &mut Told,
) -> Result<()> {
    if class != MediaClass::Clip {
        news.push((contract, News::Camera { camera }));
    }
    let Some(id) = event else { return Ok(()) };
    let opened: Option<i64> = connection
        .prepare_cached("select opened_us from event where contract = ?1 and id = ?2")?
        .query_row((id16(contract.0), id16(id.0)), |row| row.get(0))
        .optional()?;
    // Without its event the picture waits: the event's own record will tell.
    if let Some(opened) = opened {
        let opened_at_us = UtcMicros(opened);
        news.push((
            contract,
            News::Event {
                id,
                camera,
                opened_at_us,
            },
        ));
    }
    Ok(())
}

fn store_gap(
    connection: &Connection,
    place: &Place<'_>,
    time: &Corrected,
    gap: &GapRecord,
    news: &mut Told,
) -> Result<()> {
    let contract = place.accepted.contract;
    let (from_us, to_us, when_known) = time.span(connection, place, gap.from_us, gap.to_us)?;
    connection
        .prepare_cached(
            "insert or ignore into gap
                (device, epoch, seq, contract, camera, class, count, reason, from_us, to_us,
                 when_known, from_device_us, to_device_us, captured_device_us, boot, boottime_us, synced)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(rusqlite::params![
            id16(place.accepted.device.0),
            epoch_bits(place.accepted.batch.epoch),
            seq_bits(place.seq),
            id16(contract.0),
            gap.camera.map(|camera| id16(camera.0)),
            gap.class,
            i64::try_from(gap.count).unwrap_or(i64::MAX),
            gap.reason,
            from_us,
            to_us,
            when_known,
            gap.from_us.0,
            gap.to_us.0,
            time.device_us,
            id16(time.boot),
            time.boottime_us,
            time.synced,
        ])?;
    news.push((contract, News::Gap { camera: gap.camera }));
    Ok(())
}

fn store_count(
    connection: &Connection,
    place: &Place<'_>,
    time: &Corrected,
    count: &CountRecord,
    sealed: &[u8],
) -> Result<()> {
    connection
        .prepare_cached(
            "insert or ignore into minute_count
                (contract, camera, minute_us, device, epoch, seq, minute_device_us, captured_device_us,
                 boot, boottime_us, synced, sealed)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute((
            id16(place.accepted.contract.0),
            id16(count.camera.0),
            time.correct(count.minute_us),
            id16(place.accepted.device.0),
            epoch_bits(place.accepted.batch.epoch),
            seq_bits(place.seq),
            count.minute_us.0,
            time.device_us,
            id16(time.boot),
            time.boottime_us,
            time.synced,
            sealed,
        ))?;
    Ok(())
}

/// A camera, or the agent where no camera is named, is in another state since then.
fn store_change(
    connection: &Connection,
    place: &Place<'_>,
    time: &Corrected,
    camera: Option<CameraId>,
    state: &str,
    reason: Option<&str>,
) -> Result<()> {
    connection
        .prepare_cached(
            "insert or ignore into state_change
                (device, epoch, seq, camera, state, reason, at_us, boot, boottime_us, synced)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            id16(place.accepted.device.0),
            epoch_bits(place.accepted.batch.epoch),
            seq_bits(place.seq),
            camera.map(|camera| id16(camera.0)),
            state,
            reason,
            time.captured_us(),
            id16(time.boot),
            time.boottime_us,
            time.synced,
        ))?;
    Ok(())
}

/// An audit record that names a command is the command's answer; the first one counts.
fn store_answer(
    connection: &Connection,
    place: &Place<'_>,
    time: &Corrected,
    audit: &AuditRecord,
    sealed_detail: Option<&[u8]>,
) -> Result<()> {
    let Some(command) = audit.command else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "update command set answered_us = ?3, outcome = ?4, sealed_detail = ?5
             where id = ?1 and device = ?2 and answered_us is null",
        )?
        .execute((
            id16(command.0),
            id16(place.accepted.device.0),
            place.at.0,
            &audit.outcome,
            sealed_detail,
        ))?;
    if let Some(file) = &audit.file {
        let answered = device_files::Answered {
            device: place.accepted.device,
            contract: place.accepted.contract,
            command,
            captured_device_us: time.device_us,
            at: place.at,
        };
        device_files::keep(connection, &answered, &audit.action, file)?;
    }
    Ok(())
}
