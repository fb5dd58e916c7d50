//! Events counted by hour (table `event_hour`): exact, and kept in the very transaction that changes an event.
//!
//! What one commit changes is added up here and written once for each hour, camera and class, so that an event costs no
//! row of its own. A late clock correction moves many events at once: it takes them out before, and puts them back
//! after ([`take_out`], [`put_back`]). A deleted event is taken out by a trigger. All of these only add and subtract, so
//! their order does not matter.

use super::{Result, id16};
use rusqlite::Connection;
use std::collections::HashMap;
use uuid::Uuid;
use wire::{CameraId, ContractId, DeviceId};

pub(super) const QUARTER_US: i64 = 900_000_000;
pub(super) const HOUR_US: i64 = 4 * QUARTER_US;

/// The hour that a time is in, and which quarter of it.
pub(super) fn hour_of(at_us: i64) -> (i64, usize) {
    let quarter = at_us.rem_euclid(HOUR_US) / QUARTER_US;
    (
        at_us.div_euclid(HOUR_US),
        usize::try_from(quarter).unwrap_or(0),
    )
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cell {
    contract: ContractId,
    hour: i64,
    camera: CameraId,
    device: DeviceId,
    class: String,
}

/// Where an event is counted.
pub(super) struct Counted<'a> {
    pub(super) contract: ContractId,
    pub(super) device: DeviceId,
    pub(super) camera: CameraId,
    pub(super) class: &'a str,
    pub(super) opened_us: i64,
}

/// What one commit adds and takes away.
#[derive(Debug, Default)]
pub(super) struct Deltas(HashMap<Cell, [i64; 4]>);

impl Deltas {
    pub(super) fn add(&mut self, event: &Counted<'_>, number: i64) {
        let (hour, quarter) = hour_of(event.opened_us);
        let cell = Cell {
            contract: event.contract,
            hour,
            camera: event.camera,
            device: event.device,
            class: event.class.to_owned(),
        };
        self.0.entry(cell).or_default()[quarter] += number;
    }

    /// At the end of the commit.
    pub(super) fn write(self, connection: &Connection) -> Result<()> {
        let mut add = connection.prepare_cached(
            "insert into event_hour values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             on conflict do update set q0 = q0 + excluded.q0, q1 = q1 + excluded.q1,
                                       q2 = q2 + excluded.q2, q3 = q3 + excluded.q3",
        )?;
        let mut source =
            connection.prepare_cached("insert or ignore into event_source values (?1, ?2, ?3)")?;
        for (cell, quarters) in self.0.iter().filter(|(_, quarters)| **quarters != [0; 4]) {
            let (contract, camera) = (id16(cell.contract.0), id16(cell.camera.0));
            let device = id16(cell.device.0);
            add.execute((
                contract,
                cell.hour,
                camera,
                device,
                &cell.class,
                quarters[0],
                quarters[1],
                quarters[2],
                quarters[3],
            ))?;
            source.execute((contract, device, camera))?;
        }
        Ok(())
    }
}

/// Counts the events of a boot whose clock is about to be put right no more.
pub(super) fn take_out(connection: &Connection, device: DeviceId, boot: Uuid) -> Result<()> {
    count_boot(connection, device, boot, -1)
}

/// Counts them where they are now.
pub(super) fn put_back(connection: &Connection, device: DeviceId, boot: Uuid) -> Result<()> {
    count_boot(connection, device, boot, 1)
}

fn count_boot(connection: &Connection, device: DeviceId, boot: Uuid, sign: i64) -> Result<()> {
    connection
        .prepare_cached(
            "insert into event_hour
             select contract, hour, camera, device, class,
                    ?3 * sum(q = 0), ?3 * sum(q = 1), ?3 * sum(q = 2), ?3 * sum(q = 3)
             from (select contract, camera, device, class,
                          opened_us / 3600000000 - (opened_us % 3600000000 < 0) as hour,
                          (opened_us % 3600000000 + 3600000000) % 3600000000 / 900000000 as q
                   from event where device = ?1 and boot = ?2 and synced = 0)
             where true group by 1, 2, 3, 4, 5
             on conflict do update set q0 = q0 + excluded.q0, q1 = q1 + excluded.q1,
                                       q2 = q2 + excluded.q2, q3 = q3 + excluded.q3",
        )?
        .execute((id16(device.0), id16(boot), sign))?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hours_before_1970_are_counted_as_sqlite_counts_them() {
        let connection = Connection::open_in_memory().unwrap();
        let by_sql = |at: i64| -> (i64, i64) {
            connection
                .query_row(
                    "select ?1 / 3600000000 - (?1 % 3600000000 < 0),
                            (?1 % 3600000000 + 3600000000) % 3600000000 / 900000000",
                    [at],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .unwrap()
        };
        for at in [
            0,
            1,
            -1,
            HOUR_US,
            -HOUR_US,
            -HOUR_US - 1,
            QUARTER_US,
            QUARTER_US - 1,
            i64::MAX,
            i64::MIN,
        ] {
            let (hour, quarter) = hour_of(at);
            assert_eq!((hour, quarter as i64), by_sql(at), "{at}");
        }
    }
}
