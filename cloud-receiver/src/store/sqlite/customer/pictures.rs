//! The pictures of an event, and what is known of those that are not here.

use super::super::id16;
use super::{PICTURE_COLUMNS, picture_at};
use crate::seal::SecretKey;
use crate::store::{EventRow, Moments, PictureRef, Result, Snapshot};
use rusqlite::{Connection, OptionalExtension};
use wire::record::CAMERA_CLASS;
use wire::{ContractId, EventId, UtcMicros};

/// The words in which a record says which moment its picture shows.
const BEFORE: &str = "before";
const AFTER: &str = "after";

pub(super) struct Shown {
    picture: PictureRef,
    moment: Option<String>,
    /// Whether what arrived has the length that the signed record states; its hash was checked on arrival.
    as_stated: bool,
}

/// Those that have arrived and are shown, the most telling one first: of an object the one of highest quality; of a
/// camera that no longer sees what it shows since then, and what it showed before.
pub(super) fn of_event(
    connection: &Connection,
    contract: ContractId,
    key: &SecretKey,
    event: &EventRow,
) -> Result<Vec<Shown>> {
    let choice = match event.class == CAMERA_CLASS {
        true => "captured_us desc limit 8",
        false => "quality desc, captured_us desc limit 1",
    };
    let mut statement = connection.prepare_cached(&format!(
        "select {PICTURE_COLUMNS},
                (select b.bytes from blob b where b.contract = m.contract and b.sha256 = m.sha256)
         from media m
         where contract = ?1 and event = ?2 and arrived = 1 and class <> 'clip'
         order by {choice}"
    ))?;
    let mut rows = statement.query((id16(contract.0), id16(event.id.0)))?;
    let mut shown = Vec::new();
    while let Some(row) = rows.next()? {
        let (picture, media) = picture_at(row, contract, key)?;
        let arrived_bytes: Option<i64> = row.get(5)?;
        shown.push(Shown {
            picture,
            as_stated: arrived_bytes.map(i64::cast_unsigned) == Some(media.bytes),
            moment: media.moment,
        });
    }
    shown.sort_by_key(|shown| shown.moment.as_deref() != Some(AFTER));
    Ok(shown)
}

/// The one that stands for the event.
pub(super) fn first_of(
    connection: &Connection,
    contract: ContractId,
    event: &EventRow,
    shown: &[Shown],
) -> Result<Snapshot> {
    match shown.first() {
        Some(shown) => Ok(Snapshot::Here(shown.picture.clone())),
        None => absent(connection, contract, event.id),
    }
}

/// Of a camera that no longer sees.
pub(super) fn moments_of(
    connection: &Connection,
    contract: ContractId,
    event: &EventRow,
    shown: &[Shown],
) -> Result<Option<Moments>> {
    if event.class != CAMERA_CLASS {
        return Ok(None);
    }
    let moment = |moment: &str| match shown.iter().find(|s| s.moment.as_deref() == Some(moment)) {
        Some(shown) => Ok(Snapshot::Here(shown.picture.clone())),
        None => absent(connection, contract, event.id),
    };
    Ok(Some(Moments {
        before: moment(BEFORE)?,
        after: moment(AFTER)?,
    }))
}

/// Whether all that is shown is what the signed records name; nothing where nothing is shown.
pub(super) fn as_stated(shown: &[Shown]) -> Option<bool> {
    (!shown.is_empty()).then(|| shown.iter().all(|shown| shown.as_stated))
}

/// What is known of a picture that is not here. Losses are told in the device's own time. What was lost before it
/// was ever kept was never announced; what was announced, and is told to be shed, will not come.
fn absent(connection: &Connection, contract: ContractId, event: EventId) -> Result<Snapshot> {
    let key = (id16(contract.0), id16(event.0));
    let expired: bool = connection
        .prepare_cached(
            "select exists (select 1 from media
             where contract = ?1 and event = ?2 and class <> 'clip' and expired_us is not null)",
        )?
        .query_row(key, |row| row.get(0))?;
    if expired {
        return Ok(Snapshot::Expired);
    }
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
