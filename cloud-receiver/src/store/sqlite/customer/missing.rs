//! What is missing from a customer's timeline: losses told by devices, cameras and devices that did not run, and
//! records that have not arrived.

use super::super::{epoch_bits, epoch_of, id16, optional_time_at, time_at, uuid_at};
use crate::store::{
    Awaited, ContractScope, EventFilter, Hole, Loss, Missing, Result, Spot, Stop, Window,
};
use rusqlite::{Connection, OptionalExtension, Row};
use wire::{CameraId, DeviceId, Epoch, SiteId, UtcMicros};

/// Gap records read for one page.
const MOST_LOSSES: usize = 2_000;
/// Changes of one camera read for one page: some hundred reconnects.
const MOST_CHANGES: u32 = 4_000;
const MOST_HOLES: u32 = 64;

/// Where to look: device and camera of the contract that the filter lets through.
type Place = (Spot, Option<UtcMicros>);

pub(super) fn read(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    window: Window,
) -> Result<Missing> {
    let devices = devices(connection, scope, filter)?;
    let mut missing = Missing::default();
    for (device, heard) in &devices {
        losses(
            connection,
            scope,
            filter,
            device,
            window,
            &mut missing.losses,
        )?;
        for camera in cameras(connection, scope, filter, device)? {
            camera_stops(connection, &camera, window, &mut missing.stops)?;
        }
        device_stops(connection, device, window, &mut missing.stops)?;
        if heard.is_none() {
            // Nothing will tell when a camera of a revoked device runs again.
            missing
                .stops
                .retain(|stop| stop.to_us.is_some() || stop.spot.device != device.device);
        }
        if let Some(heard_us) = *heard {
            missing.awaited.push(Awaited {
                holes: holes(connection, device.device, window)?,
                spot: device.clone(),
                heard_us,
                // Sealed: `customer.rs` opens it.
                heartbeat: None,
            });
        }
    }
    missing
        .losses
        .sort_by_key(|loss| std::cmp::Reverse(loss.to_us));
    missing.cut = missing.losses.len() > MOST_LOSSES;
    missing.losses.truncate(MOST_LOSSES);
    Ok(missing)
}

/// Revoked devices are awaited no more, but what they lost stays lost.
fn devices(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
) -> Result<Vec<Place>> {
    let mut statement = connection.prepare_cached(
        "select d.id, s.id, s.name, iif(d.revoked_us is null, d.heard_us, null)
         from device d join site s on s.id = d.site
         where d.contract = ?1 and (?2 is null or d.site = ?2)
           and (?3 is null or d.id = (select device from camera where id = ?3 and contract = ?1))
         order by s.name, d.id",
    )?;
    let site = filter.site.map(|site| id16(site.0));
    let camera = filter.camera.map(|camera| id16(camera.0));
    let rows = statement.query_map((id16(scope.contract().0), site, camera), |row| {
        let spot = Spot {
            device: DeviceId(uuid_at(row, 0)?),
            site: SiteId(uuid_at(row, 1)?),
            site_name: row.get(2)?,
            camera: None,
        };
        Ok((spot, optional_time_at(row, 3)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn cameras(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    device: &Spot,
) -> Result<Vec<Spot>> {
    let mut statement = connection.prepare_cached(
        "select id, name from camera_now
         where contract = ?1 and device = ?2 and (?3 is null or id = ?3) order by name, id",
    )?;
    let camera = filter.camera.map(|camera| id16(camera.0));
    let key = (id16(scope.contract().0), id16(device.device.0), camera);
    let rows = statement.query_map(key, |row| {
        Ok(Spot {
            camera: Some((CameraId(uuid_at(row, 0)?), row.get(1)?)),
            ..device.clone()
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn losses(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    device: &Spot,
    window: Window,
    found: &mut Vec<Loss>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "select g.camera, k.name, g.class, g.reason, g.count, g.from_us, g.to_us, g.when_known
         from gap g left join camera_now k on k.id = g.camera
         where g.contract = ?1 and g.device = ?2 and g.to_us >= ?3 and g.from_us < ?4
           and (?5 is null or g.camera is null or g.camera = ?5)
         order by g.to_us desc limit ?6",
    )?;
    let camera = filter.camera.map(|camera| id16(camera.0));
    let limit = MOST_LOSSES as i64 + 1;
    let key = (
        id16(scope.contract().0),
        id16(device.device.0),
        window.from_us.0,
        window.to_us.0,
        camera,
        limit,
    );
    let rows = statement.query_map(key, |row| loss_at(row, device))?;
    for row in rows {
        found.push(row?);
    }
    Ok(())
}

fn loss_at(row: &Row<'_>, device: &Spot) -> rusqlite::Result<Loss> {
    let camera = match row.get::<_, Option<[u8; 16]>>(0)? {
        Some(_) => Some((
            CameraId(uuid_at(row, 0)?),
            row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        )),
        None => None,
    };
    Ok(Loss {
        spot: Spot {
            camera,
            ..device.clone()
        },
        class: row.get(2)?,
        reason: row.get(3)?,
        count: row.get::<_, i64>(4)?.cast_unsigned(),
        from_us: time_at(row, 5)?,
        to_us: time_at(row, 6)?,
        when_known: row.get(7)?,
    })
}

/// A camera that was to give video and gave none. From the last change before the window, so that a stop that
/// reaches into it is known from its start, to the first good state after it.
fn camera_stops(
    connection: &Connection,
    spot: &Spot,
    window: Window,
    found: &mut Vec<Stop>,
) -> Result<()> {
    let Some((camera, _)) = &spot.camera else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(
        "select at_us, state, reason from state_change
         where camera = ?1
           and at_us >= coalesce((select max(at_us) from state_change
                where camera = ?1 and at_us < ?2 and state in ('running', 'removed')), ?4)
           and at_us <= coalesce((select min(at_us) from state_change
                where camera = ?1 and at_us >= ?3 and state in ('running', 'removed')), ?5)
         order by at_us, epoch, seq limit ?6",
    )?;
    let key = (
        id16(camera.0),
        window.from_us.0,
        window.to_us.0,
        i64::MIN,
        i64::MAX,
        MOST_CHANGES,
    );
    let mut rows = statement.query(key)?;
    let mut open: Option<Stop> = None;
    while let Some(row) = rows.next()? {
        let at = time_at(row, 0)?;
        let state: String = row.get(1)?;
        match state.as_str() {
            "running" | "removed" => {
                if let Some(mut stop) = open.take() {
                    stop.to_us = Some(at);
                    found.push(stop);
                }
            }
            _ => {
                let stop = open.get_or_insert_with(|| Stop {
                    spot: spot.clone(),
                    reason: None,
                    from_us: at,
                    to_us: None,
                });
                if let Some(reason) = row.get(2)? {
                    stop.reason = Some(reason);
                }
            }
        }
    }
    found.extend(open);
    found.retain(|stop| {
        stop.from_us < window.to_us && stop.to_us.is_none_or(|to| to >= window.from_us)
    });
    Ok(())
}

/// The agent starts anew: between the last sign of life of the epoch before and this start nothing was watched. If
/// records of the epoch before are still on their way, they decide, and nothing is said yet.
fn device_stops(
    connection: &Connection,
    spot: &Spot,
    window: Window,
    found: &mut Vec<Stop>,
) -> Result<()> {
    let device = id16(spot.device.0);
    let mut statement = connection.prepare_cached(
        "select at_us, epoch from state_change
         where device = ?1 and camera is null and state = 'started'
           and at_us >= coalesce((select max(at_us) from state_change
                where device = ?1 and camera is null and state = 'started' and at_us < ?2), ?2)
           and at_us <= coalesce((select min(at_us) from state_change
                where device = ?1 and camera is null and state = 'started' and at_us >= ?3), ?4)
         order by at_us limit ?5",
    )?;
    let key = (
        device,
        window.from_us.0,
        window.to_us.0,
        i64::MAX,
        MOST_CHANGES,
    );
    let starts = statement.query_map(key, |row| Ok((row.get(0)?, epoch_of(row.get(1)?))))?;
    let starts: Vec<(i64, Epoch)> = starts.collect::<rusqlite::Result<_>>()?;
    for pair in starts.windows(2) {
        let ((from, epoch), (to, next)) = (pair[0], pair[1]);
        if epoch == next || is_first_batch_pending(connection, spot.device, next)? {
            continue;
        }
        let last = last_sign_us(connection, spot.device, epoch)?;
        let Some(last) = last.filter(|last| (from..=to).contains(last)) else {
            continue;
        };
        if last < window.to_us.0 && to >= window.from_us.0 {
            found.push(Stop {
                spot: spot.clone(),
                reason: None,
                from_us: UtcMicros(last),
                to_us: Some(UtcMicros(to)),
            });
        }
    }
    Ok(())
}

fn is_first_batch_pending(connection: &Connection, device: DeviceId, epoch: Epoch) -> Result<bool> {
    let link: Option<i64> = connection
        .prepare_cached(
            "select link from batch where device = ?1 and epoch = ?2 order by first_seq limit 1",
        )?
        .query_row((id16(device.0), epoch_bits(epoch)), |row| row.get(0))
        .optional()?;
    Ok(link == Some(0))
}

/// When the last picture of an epoch was taken, or a state last changed in it.
fn last_sign_us(connection: &Connection, device: DeviceId, epoch: Epoch) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached(
            "select max(at_us) from (
                select (select captured_us from media where device = ?1 and epoch = ?2
                        order by seq desc limit 1) as at_us
                union all
                select (select at_us from state_change where device = ?1 and epoch = ?2
                        order by seq desc limit 1))",
        )?
        .query_row((id16(device.0), epoch_bits(epoch)), |row| row.get(0))?)
}

/// Record numbers that are missing between stored ones, dated by the batches around them. Those that were refused
/// are not: the device told what became of them.
fn holes(connection: &Connection, device: DeviceId, window: Window) -> Result<Vec<Hole>> {
    let mut statement = connection.prepare_cached(
        "with hole as (
            select epoch, last_seq + 1 as first, next - 1 as last from (
                select epoch, last_seq, lead(first_seq) over (partition by epoch order by first_seq) as next
                from stored_range where device = ?1)
            where next > last_seq + 1)
         select h.last - h.first + 1,
            (select first_captured_us from batch
             where device = ?1 and epoch = h.epoch and first_seq < h.first order by first_seq desc limit 1) as before,
            (select first_captured_us from batch
             where device = ?1 and epoch = h.epoch and first_seq > h.last order by first_seq limit 1) as after
         from hole h
         where not exists (select 1 from rejection r where r.device = ?1 and r.epoch = h.epoch
                and r.first_seq <= h.first and r.last_seq >= h.last)
           and before < ?3 and after >= ?2
         order by after desc limit ?4",
    )?;
    let key = (id16(device.0), window.from_us.0, window.to_us.0, MOST_HOLES);
    let rows = statement.query_map(key, |row| {
        Ok(Hole {
            records: row.get::<_, i64>(0)?.cast_unsigned(),
            from_us: time_at(row, 1)?,
            to_us: time_at(row, 2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
