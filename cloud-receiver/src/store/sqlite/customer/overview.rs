//! Sites and cameras with what they last said and showed.

use super::super::hours::hour_of;
use super::super::{id16, optional_time_at, time_at, uuid_at};
use super::{PICTURE_COLUMNS, event, picture_at};
use crate::seal::SecretKey;
use crate::store::{CameraOverview, ContractScope, PictureRef, Result, SiteOverview};
use rusqlite::Connection;
use std::collections::HashMap;
use wire::{CameraId, DeviceId, SiteId, UtcMicros};

pub(super) fn read(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    day_start_us: UtcMicros,
) -> Result<Vec<SiteOverview>> {
    let mut today = today(connection, scope, day_start_us)?;
    let mut sites = sites(connection, scope)?;
    let mut statement = connection.prepare_cached(
        "select d.site, k.id, k.device, k.name, k.state, k.reason, k.state_us, d.heard_us
         from camera_now k join device d on d.id = k.device
         where k.contract = ?1 and k.state <> 'removed'
         order by k.name, k.id",
    )?;
    let rows = statement.query_map([id16(scope.contract().0)], |row| {
        let camera = CameraOverview {
            camera: CameraId(uuid_at(row, 1)?),
            device: DeviceId(uuid_at(row, 2)?),
            name: row.get(3)?,
            state: row.get(4)?,
            reason: row.get(5)?,
            state_since_us: time_at(row, 6)?,
            device_heard_us: optional_time_at(row, 7)?,
            latest_picture: None,
            blind: None,
            today: Vec::new(),
        };
        Ok((SiteId(uuid_at(row, 0)?), camera))
    })?;
    for row in rows {
        let (site, mut camera) = row?;
        camera.latest_picture = latest_picture(connection, scope, key, camera.camera)?;
        camera.blind = event::blind(connection, scope, key, camera.camera)?;
        camera.today = today.remove(&camera.camera).unwrap_or_default();
        if let Some(found) = sites.iter_mut().find(|known| known.site == site) {
            found.cameras.push(camera);
        }
    }
    Ok(sites)
}

fn sites(connection: &Connection, scope: ContractScope) -> Result<Vec<SiteOverview>> {
    let mut statement =
        connection.prepare_cached("select id, name from site where contract = ?1 order by name")?;
    let rows = statement.query_map([id16(scope.contract().0)], |row| {
        Ok(SiteOverview {
            site: SiteId(uuid_at(row, 0)?),
            name: row.get(1)?,
            cameras: Vec::new(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn latest_picture(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    camera: CameraId,
) -> Result<Option<PictureRef>> {
    let contract = scope.contract();
    let mut statement = connection.prepare_cached(&format!(
        "select {PICTURE_COLUMNS} from media
         where contract = ?1 and camera = ?2 and arrived = 1
           and class in ('periodic', 'requested', 'snapshot')
         order by captured_us desc limit 1"
    ))?;
    let mut rows = statement.query((id16(contract.0), id16(camera.0)))?;
    match rows.next()? {
        Some(row) => Ok(Some(picture_at(row, contract, key)?.0)),
        None => Ok(None),
    }
}

fn today(
    connection: &Connection,
    scope: ContractScope,
    day_start_us: UtcMicros,
) -> Result<HashMap<CameraId, Vec<(String, u64)>>> {
    // Days begin on whole quarters of an hour.
    let (hour, quarter) = hour_of(day_start_us.0);
    let mut statement = connection.prepare_cached(
        "select camera, class, sum(iif(hour > ?2 or ?3 < 1, q0, 0) + iif(hour > ?2 or ?3 < 2, q1, 0)
                                 + iif(hour > ?2 or ?3 < 3, q2, 0) + q3) as n
         from event_hour where contract = ?1 and hour >= ?2
         group by camera, class having n > 0 order by class",
    )?;
    let values = (id16(scope.contract().0), hour, quarter as i64);
    let rows = statement.query_map(values, |row| {
        let count: i64 = row.get(2)?;
        Ok((
            CameraId(uuid_at(row, 0)?),
            row.get(1)?,
            count.cast_unsigned(),
        ))
    })?;
    let mut today: HashMap<CameraId, Vec<(String, u64)>> = HashMap::new();
    for row in rows {
        let (camera, class, count) = row?;
        today.entry(camera).or_default().push((class, count));
    }
    Ok(today)
}
