//! Rows of logs and support bundles of devices.

use super::audit::append;
use super::{SqliteStore, hash_at, id16, optional_time_at, time_at, uuid_at};
use crate::store::device_files::{DeviceFile, DeviceFileBook, DeviceFileRow};
use crate::store::{CommandState, Note, OperatorDesk, Result};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use wire::record::FileRef;
use wire::{CommandId, ContractId, DeviceId, Sha256, UtcMicros};

/// Of each device so many are listed.
const LISTED: u32 = 100;

/// Whose answer it is, and when it came.
pub(super) struct Answered {
    pub(super) device: DeviceId,
    pub(super) contract: ContractId,
    pub(super) command: CommandId,
    pub(super) captured_device_us: i64,
    pub(super) at: UtcMicros,
}

/// Notes the file that an answer names. Of several answers to one command the first counts.
pub(super) fn keep(
    connection: &Connection,
    answered: &Answered,
    action: &str,
    file: &FileRef,
) -> Result<()> {
    connection
        .prepare_cached(
            "insert or ignore into device_file
                (device, command, contract, request, sha256, bytes, content_type, captured_device_us, received_us)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id16(answered.device.0),
            id16(answered.command.0),
            id16(answered.contract.0),
            action.strip_prefix("command.").unwrap_or(action),
            file.sha256.0,
            i64::try_from(file.bytes).unwrap_or(i64::MAX),
            file.content_type,
            answered.captured_device_us,
            answered.at.0,
        ])?;
    Ok(())
}

/// A file counts as here where its blob does.
const LIST: &str = "\
    select c.device, d.contract, c.request, c.issued_us, c.id, c.deadline_us, c.sent_us, c.answered_us, c.outcome,
           f.sha256, f.bytes, f.content_type, f.received_us, f.expired_us,
           exists (select 1 from blob b where b.contract = f.contract and b.sha256 = f.sha256 and b.missing_us is null)
    from command c join device d on d.id = c.device
    left join device_file f on f.device = c.device and f.command = c.id
    where c.device = ?1 and c.request in ('log_excerpt', 'support_bundle') and (?2 is null or c.id = ?2)
    order by c.issued_us desc, c.id limit ?3";

fn row_at(row: &Row<'_>) -> rusqlite::Result<DeviceFileRow> {
    let state = CommandState {
        id: CommandId(uuid_at(row, 4)?),
        deadline_us: time_at(row, 5)?,
        sent_us: optional_time_at(row, 6)?,
        answered_us: optional_time_at(row, 7)?,
        outcome: row.get(8)?,
        detail: None,
    };
    let bytes: Option<i64> = row.get(10)?;
    let file = match bytes {
        None => None,
        Some(bytes) => Some(DeviceFile {
            sha256: hash_at(row, 9)?,
            bytes: bytes.cast_unsigned(),
            content_type: row.get(11)?,
            received_us: time_at(row, 12)?,
            expired_us: optional_time_at(row, 13)?,
            arrived: row.get(14)?,
        }),
    };
    Ok(DeviceFileRow {
        device: DeviceId(uuid_at(row, 0)?),
        contract: ContractId(uuid_at(row, 1)?),
        request: row.get(2)?,
        asked_us: time_at(row, 3)?,
        state,
        file,
    })
}

impl SqliteStore {
    async fn asked(
        &self,
        device: DeviceId,
        command: Option<CommandId>,
    ) -> Result<Vec<DeviceFileRow>> {
        let mut rows: Vec<DeviceFileRow> = self
            .read(move |connection| {
                let mut statement = connection.prepare_cached(LIST)?;
                let command = command.map(|command| id16(command.0));
                let rows = statement.query_map((id16(device.0), command, LISTED), row_at)?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        // What a device said is sealed, and opened one by one.
        for row in rows.iter_mut().filter(|row| row.state.outcome.is_some()) {
            if let Some(state) = self.command(row.state.id).await? {
                row.state = state;
            }
        }
        Ok(rows)
    }
}

#[async_trait]
impl DeviceFileBook for SqliteStore {
    async fn device_files(&self, device: DeviceId) -> Result<Vec<DeviceFileRow>> {
        self.asked(device, None).await
    }

    async fn device_file(
        &self,
        device: DeviceId,
        command: CommandId,
    ) -> Result<Option<DeviceFileRow>> {
        Ok(self.asked(device, Some(command)).await?.pop())
    }

    async fn expire_device_files(
        &self,
        contract: ContractId,
        before: UtcMicros,
        at_most: u32,
        at: UtcMicros,
    ) -> Result<Vec<Sha256>> {
        let look = move |connection: &Connection| over(connection, contract, before, at_most);
        if self.read(look).await?.is_empty() {
            return Ok(Vec::new());
        }
        let note = Note::new("retention.delete").of(contract);
        let mut note = self.sealed(note).await?;
        self.write(move |connection| {
            let gone = over(connection, contract, before, at_most)?;
            for sha256 in &gone {
                let key = (id16(contract.0), sha256.0);
                connection
                    .prepare_cached(
                        "update device_file set expired_us = coalesce(expired_us, ?3)
                         where contract = ?1 and sha256 = ?2",
                    )?
                    .execute((key.0, key.1, at.0))?;
                connection
                    .prepare_cached("delete from blob where contract = ?1 and sha256 = ?2")?
                    .execute(key)?;
            }
            if !gone.is_empty() {
                note.add("device_files", gone.len() as u64);
                append(connection, &note, at)?;
            }
            Ok(gone)
        })
        .await
    }
}

/// Files whose time is over; also one whose bytes came only after that. What a record of a picture names as well stays, and
/// so do bytes that a later answer names, until that one's time is over.
fn over(
    connection: &Connection,
    contract: ContractId,
    before: UtcMicros,
    at_most: u32,
) -> Result<Vec<Sha256>> {
    let mut statement = connection.prepare_cached(
        "select distinct f.sha256 from device_file f
         where f.contract = ?1 and f.received_us < ?2
           and (f.expired_us is null
                or exists (select 1 from blob b where b.contract = f.contract and b.sha256 = f.sha256))
           and not exists (select 1 from media m where m.contract = f.contract and m.sha256 = f.sha256)
           and not exists (select 1 from device_file o
                where o.contract = f.contract and o.sha256 = f.sha256 and o.received_us >= ?2)
           and not exists (select 1 from hold h
                where h.contract = f.contract and h.camera is null
                  and (h.site is null or h.site = (select site from device d where d.id = f.device)
                       or exists (select 1 from device_was_at w where w.device = f.device and w.site = h.site
                            and f.received_us < w.until_us))
                  and (h.from_us is null or f.received_us >= h.from_us)
                  and (h.to_us is null or f.received_us < h.to_us))
         limit ?3",
    )?;
    let rows = statement.query_map((id16(contract.0), before.0, at_most), |row| hash_at(row, 0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
