//! Rows of holds: what must be kept, and why.

use super::{SqliteStore, damaged, id16, name_of_id, optional_time_at, time_at, uuid_at};
use crate::seal::Purpose;
use crate::store::{Hold, Note, Result, StoreError};
use rusqlite::{OptionalExtension, Row};
use uuid::Uuid;
use wire::{CameraId, ContractId, DeviceId, SiteId, UtcMicros};

fn hold_at(row: &Row<'_>) -> rusqlite::Result<(Hold, Vec<u8>)> {
    let optional_id = |index| -> rusqlite::Result<Option<Uuid>> {
        Ok(row.get::<_, Option<[u8; 16]>>(index)?.map(Uuid::from_bytes))
    };
    let hold = Hold {
        id: uuid_at(row, 0)?,
        contract: ContractId(uuid_at(row, 1)?),
        site: optional_id(2)?.map(SiteId),
        camera: optional_id(3)?.map(CameraId),
        from_us: optional_time_at(row, 4)?,
        to_us: optional_time_at(row, 5)?,
        placed_us: time_at(row, 6)?,
        why: String::new(),
    };
    Ok((hold, row.get(7)?))
}

impl SqliteStore {
    pub(super) async fn keep_hold(&self, hold: Hold) -> Result<()> {
        let (contract, at) = (hold.contract, hold.placed_us);
        let name = name_of_id(contract, DeviceId(Uuid::nil()), Purpose::Hold, hold.id);
        let sealed = self.key(contract).await?.seal(&name, hold.why.as_bytes());
        let note = Note::new("hold.add")
            .of(contract)
            .on(hold.id)
            .with("site", hold.site.map(|site| site.to_string()))
            .with("camera", hold.camera.map(|camera| camera.to_string()))
            .with("from_us", hold.from_us.map(|from| from.0))
            .with("to_us", hold.to_us.map(|to| to.0))
            .with_personal("why", &*hold.why);
        self.write_noted(note, at, move |connection| {
            super::erasure::must_not_be_erased(connection, contract)?;
            connection.execute(
                "insert into hold (id, contract, site, camera, from_us, to_us, placed_us, sealed)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (
                    id16(hold.id),
                    id16(contract.0),
                    hold.site.map(|site| id16(site.0)),
                    hold.camera.map(|camera| id16(camera.0)),
                    hold.from_us.map(|from| from.0),
                    hold.to_us.map(|to| to.0),
                    at.0,
                    sealed,
                ),
            )?;
            super::changes::bump(connection)
        })
        .await
    }

    pub(super) async fn all_holds(&self) -> Result<Vec<Hold>> {
        let found: Vec<(Hold, Vec<u8>)> = self
            .read(|connection| {
                let mut statement = connection.prepare_cached(
                    "select id, contract, site, camera, from_us, to_us, placed_us, sealed from hold
                     where contract not in (select contract from erasure) order by placed_us, id",
                )?;
                let rows = statement.query_map([], hold_at)?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        let mut holds = Vec::with_capacity(found.len());
        for (mut hold, sealed) in found {
            let name = name_of_id(hold.contract, DeviceId(Uuid::nil()), Purpose::Hold, hold.id);
            let why = self.key(hold.contract).await?.open(&name, &sealed);
            let why = why.map_err(damaged("why there is a hold"))?;
            hold.why = String::from_utf8_lossy(&why).into_owned();
            holds.push(hold);
        }
        Ok(holds)
    }

    pub(super) async fn lift_hold(&self, id: Uuid, at: UtcMicros) -> Result<()> {
        let contract = self
            .read(move |connection| {
                connection
                    .query_row(
                        "select contract from hold where id = ?1",
                        [id16(id)],
                        |row| uuid_at(row, 0),
                    )
                    .optional()?
                    .ok_or(StoreError::Missing("hold"))
            })
            .await?;
        let note = Note::new("hold.remove").of(ContractId(contract)).on(id);
        self.write_noted(note, at, move |connection| {
            if connection.execute("delete from hold where id = ?1", [id16(id)])? == 0 {
                return Err(StoreError::Missing("hold"));
            }
            // The erasure that it held up may be due now.
            super::changes::bump(connection)
        })
        .await
    }
}
