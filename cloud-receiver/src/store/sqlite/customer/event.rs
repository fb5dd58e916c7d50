//! One event with its proof, and the one that says that a camera cannot see now.

use super::super::sealed_batch;
use super::super::{epoch_of, hash_at, id16, links, uuid_at};
use super::stated::{STATED_COLUMNS, STATED_TABLES, Stated};
use super::{pictures, tags};
use crate::seal::SecretKey;
use crate::store::{Blind, ContractScope, EventDetail, EventRow, Proof, Result, StoreError};
use rusqlite::{Connection, OptionalExtension};
use wire::{CameraId, ContractId, EventId, Sha256, SignedBatch};

/// Batches that state an event or its pictures, the newest ones, and are verified again when it is looked at; and the
/// one that states what is shown, in any case.
const BATCHES_VERIFIED: i64 = 64;

pub(super) fn detail(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    id: EventId,
) -> Result<Option<EventDetail>> {
    let contract = scope.contract();
    let found = connection
        .prepare_cached(&format!(
            "select {STATED_COLUMNS} from {STATED_TABLES} where e.contract = ?1 and e.id = ?2"
        ))?
        .query_row((id16(contract.0), id16(id.0)), Stated::at)
        .optional()?;
    let Some(mut found) = found else {
        return Ok(None);
    };
    let shown = pictures::of_event(connection, contract, key, &found.row)?;
    let (time, event) = found.read_record(connection, key, contract)?;
    let as_stated = pictures::as_stated(&shown);
    let proof = prove(connection, contract, key, &found, as_stated)?;
    let (older, newer) = neighbours(connection, contract, &found.row)?;
    let tags = tags::of_event(connection, scope, &found.row)?;
    let moments = pictures::moments_of(connection, contract, &found.row, &shown)?;
    found.row.snapshot = pictures::first_of(connection, contract, &found.row, &shown)?;
    Ok(Some(EventDetail {
        row: found.row,
        device: found.device,
        path: event.path,
        moments,
        clock: time.clock,
        proof,
        tags,
        older,
        newer,
    }))
}

/// Why a camera cannot see now. An agent that started since judges anew: whoever was to tell the end of what it had
/// told before is gone.
pub(super) fn blind(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    camera: CameraId,
) -> Result<Option<Blind>> {
    let contract = scope.contract();
    let found = connection
        .prepare_cached(&format!(
            "select {STATED_COLUMNS} from {STATED_TABLES} where e.no = ({BLIND_NOW})"
        ))?
        .query_row((id16(contract.0), id16(camera.0)), Stated::at)
        .optional()?;
    let Some(mut found) = found else {
        return Ok(None);
    };
    match found.read_record(connection, key, contract) {
        Ok(_) | Err(StoreError::Corrupt(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(Some(Blind {
        event: found.row.id,
        rule: found.row.reasons.last().map(|reason| reason.rule.clone()),
        since_us: found.row.opened_at_us,
    }))
}

/// The newest open event of a camera itself.
pub(in crate::store::sqlite) const BLIND_NOW: &str = "
    select o.no from event o indexed by event_blind
    where o.contract = ?1 and o.camera = ?2 and o.class = 'camera' and o.closed_us is null
      and not exists (select 1 from state_change c where c.device = o.device and c.camera is null
                      and c.state = 'started' and c.at_us > o.opened_us)
    order by o.opened_us desc limit 1";

/// Opens every batch that speaks of the event and verifies its signature again: the page says what is true now,
/// not what was true when it arrived.
fn prove(
    connection: &Connection,
    contract: ContractId,
    key: &SecretKey,
    found: &Stated,
    picture_ok: Option<bool>,
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
        picture_ok,
    })
}

fn genuine(
    key: &SecretKey,
    contract: ContractId,
    found: &Stated,
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
