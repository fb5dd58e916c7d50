//! The operator's page: how devices are, and commands to them.

use super::{
    SqliteStore, admin, blobs, changes, damaged, id16, name_of_id, optional_time_at, time_at,
    uuid_at,
};
use crate::seal::Purpose;
use crate::store::{
    CommandState, DeviceReport, DeviceWrites, MissingBlobs, Note, OperatorDesk, OverdueMedia,
    ReportedCamera, Result, StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use wire::command::Command;
use wire::{CameraId, CommandId, DeviceId, UtcMicros};

#[async_trait]
impl OperatorDesk for SqliteStore {
    async fn reports(&self) -> Result<Vec<DeviceReport>> {
        let (listings, mut cameras) = self
            .read(|connection| Ok((admin::devices(connection)?, cameras(connection)?)))
            .await?;
        let mut reports = Vec::with_capacity(listings.len());
        for listing in listings {
            // Opened one by one: each under the key of its contract.
            let row = self.device(listing.device).await?;
            reports.push(DeviceReport {
                heartbeat: row.and_then(|row| row.heartbeat),
                cameras: cameras.remove(&listing.device).unwrap_or_default(),
                listing,
            });
        }
        Ok(reports)
    }

    async fn add_command(&self, command: &Command) -> Result<()> {
        let contract = self.contract_of(command.device).await?;
        let name = name_of_id(contract, command.device, Purpose::Command, command.id.0);
        let json =
            serde_json::to_vec(command).map_err(|error| StoreError::Database(error.to_string()))?;
        let sealed = self.key(contract).await?.seal(&name, &json);
        let command = command.clone();
        let note = Note::new("command.give")
            .of(contract)
            .on(command.id)
            .with("device", command.device.to_string())
            .with("request", command.request.name());
        self.write_noted(note, command.issued_at_us, move |connection| {
            connection.execute(
                "insert into command (id, device, request, issued_us, deadline_us, sealed)
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    id16(command.id.0),
                    id16(command.device.0),
                    command.request.name(),
                    command.issued_at_us.0,
                    command.deadline_us.0,
                    sealed,
                ),
            )?;
            changes::bump(connection)
        })
        .await
    }

    async fn command(&self, id: CommandId) -> Result<Option<CommandState>> {
        let found = self
            .read(move |connection| {
                Ok(connection
                    .query_row(
                        "select device, deadline_us, sent_us, answered_us, outcome, sealed_detail
                         from command where id = ?1",
                        [id16(id.0)],
                        |row| {
                            let state = CommandState {
                                id,
                                deadline_us: time_at(row, 1)?,
                                sent_us: optional_time_at(row, 2)?,
                                answered_us: optional_time_at(row, 3)?,
                                outcome: row.get(4)?,
                                detail: None,
                            };
                            Ok((
                                DeviceId(uuid_at(row, 0)?),
                                state,
                                row.get::<_, Option<Vec<u8>>>(5)?,
                            ))
                        },
                    )
                    .optional()?)
            })
            .await?;
        let Some((device, mut state, sealed)) = found else {
            return Ok(None);
        };
        if let Some(sealed) = sealed {
            let contract = self.contract_of(device).await?;
            let name = name_of_id(contract, device, Purpose::CommandAnswer, id.0);
            let detail = self.key(contract).await?.open(&name, &sealed);
            let detail = detail.map_err(damaged("the answer to a command"))?;
            state.detail = Some(String::from_utf8_lossy(&detail).into_owned());
        }
        Ok(Some(state))
    }

    async fn overdue_media(&self, before: UtcMicros) -> Result<Vec<OverdueMedia>> {
        self.read(move |connection| blobs::overdue(connection, before))
            .await
    }

    async fn missing_blobs(&self) -> Result<Vec<MissingBlobs>> {
        self.read(blobs::missing).await
    }
}

fn cameras(connection: &Connection) -> Result<HashMap<DeviceId, Vec<ReportedCamera>>> {
    let mut statement = connection.prepare_cached(
        "select device, id, name, state, reason, state_us from camera_now
         where state <> 'removed' order by name, id",
    )?;
    let rows = statement.query_map([], |row| {
        let camera = ReportedCamera {
            camera: CameraId(uuid_at(row, 1)?),
            name: row.get(2)?,
            state: row.get(3)?,
            reason: row.get(4)?,
            since_us: time_at(row, 5)?,
        };
        Ok((DeviceId(uuid_at(row, 0)?), camera))
    })?;
    let mut cameras: HashMap<DeviceId, Vec<ReportedCamera>> = HashMap::new();
    for row in rows {
        let (device, camera) = row?;
        cameras.entry(device).or_default().push(camera);
    }
    Ok(cameras)
}
