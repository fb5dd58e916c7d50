//! Rows of alerts, and the devices they are judged by.

use super::{SqliteStore, id16, mail, optional_time_at, time_at, uuid_at};
use crate::store::{
    AlertBook, AlertKind, AlertReads, AlertRow, AlertStep, ContractScope, DeviceWrites, Matter,
    NewMail, Result, StoreError, Watched, WatchedCamera,
};
use async_trait::async_trait;
use rusqlite::{Connection, Row};
use std::collections::HashMap;
use wire::{CameraId, ContractId, DeviceId, UtcMicros};

const DAY_US: i64 = 24 * 3600 * 1_000_000;

const COLUMNS: &str = "a.no, a.contract, a.device, a.camera, a.kind, a.since_us, a.opened_us, a.good_us, a.closed_us,
     a.told_us, a.end_told_us,
     (select count(*) from alert e where e.device = a.device and e.kind = a.kind and e.camera is a.camera
      and e.no < a.no and e.closed_us > a.opened_us - ?1)";

fn row_at(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let camera: Option<[u8; 16]> = row.get(3)?;
    let kind: String = row.get(4)?;
    Ok(AlertRow {
        no: row.get::<_, i64>(0)?.cast_unsigned(),
        contract: ContractId(uuid_at(row, 1)?),
        matter: Matter {
            device: DeviceId(uuid_at(row, 2)?),
            camera: camera.map(|id| CameraId(uuid::Uuid::from_bytes(id))),
            kind: match kind.as_str() {
                "device_silent" => AlertKind::DeviceSilent,
                "camera_silent" => AlertKind::CameraSilent,
                _ => AlertKind::ClockOff,
            },
        },
        since_us: time_at(row, 5)?,
        opened_us: time_at(row, 6)?,
        good_us: optional_time_at(row, 7)?,
        closed_us: optional_time_at(row, 8)?,
        told_us: optional_time_at(row, 9)?,
        end_told_us: optional_time_at(row, 10)?,
        earlier: row.get(11)?,
    })
}

fn step(connection: &Connection, step: &AlertStep, at: UtcMicros) -> Result<()> {
    match step {
        AlertStep::Open {
            contract,
            matter,
            since_us,
        } => connection
            .prepare_cached(
                "insert or ignore into alert (contract, device, camera, kind, since_us, opened_us)
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                id16(contract.0),
                id16(matter.device.0),
                matter.camera.map(|camera| id16(camera.0)),
                matter.kind.word(),
                since_us.0,
                at.0,
            ))?,
        AlertStep::Good { no, since_us } => connection
            .prepare_cached("update alert set good_us = ?2 where no = ?1 and closed_us is null")?
            .execute((no.cast_signed(), since_us.map(|since| since.0)))?,
        AlertStep::Close { no } => connection
            .prepare_cached("update alert set closed_us = ?2 where no = ?1 and closed_us is null")?
            .execute((no.cast_signed(), at.0))?,
        AlertStep::Forsake { no } => connection
            .prepare_cached(
                "update alert set closed_us = coalesce(closed_us, ?2), end_told_us = ?2
                 where no = ?1 and end_told_us is null",
            )?
            .execute((no.cast_signed(), at.0))?,
    };
    Ok(())
}

fn cameras(connection: &Connection) -> Result<HashMap<DeviceId, Vec<WatchedCamera>>> {
    let mut statement = connection.prepare_cached(
        "select device, id, name, state, state_us from camera_now where state <> 'removed' order by name, id",
    )?;
    let rows = statement.query_map([], |row| {
        let camera = WatchedCamera {
            camera: CameraId(uuid_at(row, 1)?),
            name: row.get(2)?,
            state: row.get(3)?,
            since_us: time_at(row, 4)?,
        };
        Ok((DeviceId(uuid_at(row, 0)?), camera))
    })?;
    let mut cameras: HashMap<DeviceId, Vec<WatchedCamera>> = HashMap::new();
    for row in rows {
        let (device, camera) = row?;
        cameras.entry(device).or_default().push(camera);
    }
    Ok(cameras)
}

fn devices(connection: &Connection) -> Result<Vec<Watched>> {
    let mut cameras = cameras(connection)?;
    let mut statement = connection.prepare_cached(
        "select d.id, d.contract, s.name, d.enrolled_us, d.heard_us
         from device d join site s on s.id = d.site where d.revoked_us is null order by s.name, d.id",
    )?;
    let rows = statement.query_map([], |row| {
        let device = DeviceId(uuid_at(row, 0)?);
        Ok(Watched {
            device,
            contract: ContractId(uuid_at(row, 1)?),
            site_name: row.get(2)?,
            enrolled_us: time_at(row, 3)?,
            heard_us: optional_time_at(row, 4)?,
            heartbeat: None,
            cameras: cameras.remove(&device).unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[async_trait]
impl AlertBook for SqliteStore {
    async fn watched(&self) -> Result<Vec<Watched>> {
        let mut watched = self.read(devices).await?;
        for device in &mut watched {
            match self.device(device.device).await {
                Ok(row) => device.heartbeat = row.and_then(|row| row.heartbeat),
                // Its contract is being erased: nobody needs to be told.
                Err(StoreError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(watched)
    }

    async fn live_alerts(&self) -> Result<Vec<AlertRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from alert a
                 where a.closed_us is null or (a.told_us is not null and a.end_told_us is null) order by a.no"
            ))?;
            let rows = statement.query_map([DAY_US], row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn step_alerts(&self, steps: Vec<AlertStep>, at: UtcMicros) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        self.write(move |connection| steps.iter().try_for_each(|next| step(connection, next, at)))
            .await
    }

    async fn alerts_told(
        &self,
        begun: Vec<u64>,
        ended: Vec<u64>,
        mail: Vec<NewMail>,
        at: UtcMicros,
    ) -> Result<()> {
        let sealed = self.sealed_mail(mail).await?;
        self.write(move |connection| {
            for (column, numbers) in [("told_us", begun), ("end_told_us", ended)] {
                let mut statement = connection
                    .prepare_cached(&format!("update alert set {column} = ?2 where no = ?1"))?;
                for no in numbers {
                    statement.execute((no.cast_signed(), at.0))?;
                }
            }
            mail::insert(connection, &sealed, at)
        })
        .await
    }

    async fn open_alerts(&self) -> Result<Vec<AlertRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from alert a where a.closed_us is null order by a.no"
            ))?;
            let rows = statement.query_map([DAY_US], row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn past_alerts(&self, limit: u32) -> Result<Vec<AlertRow>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from alert a where a.closed_us is not null order by a.no desc limit ?2"
            ))?;
            let rows = statement.query_map((DAY_US, limit), row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

#[async_trait]
impl AlertReads for SqliteStore {
    async fn alerts_of(&self, scope: ContractScope) -> Result<Vec<AlertRow>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from alert a where a.contract = ?2 and a.closed_us is null order by a.no"
            ))?;
            let rows = statement.query_map((DAY_US, id16(scope.contract().0)), row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
