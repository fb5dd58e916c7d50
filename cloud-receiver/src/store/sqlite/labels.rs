//! Tags and names that the operator gives. In clear, as names of sites are: pages filter and sort by them.

use super::{SqliteStore, id16, uuid_at};
use crate::store::{CameraRow, LabelBook, Note, Result, StoreError, TagRow, Tagged};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use wire::{CameraId, ContractId, DeviceId, EventId, SiteId, UtcMicros};

/// Of events that carry one tag, so many are listed.
const EVENTS_LISTED: u32 = 1000;

#[async_trait]
impl LabelBook for SqliteStore {
    async fn add_tag(
        &self,
        contract: ContractId,
        on: Tagged,
        tag: &str,
        at: UtcMicros,
    ) -> Result<bool> {
        let note = noted("tag.add", contract, on, tag);
        let tag = tag.to_owned();
        self.write_noted(note, at, move |connection| {
            add(connection, contract, on, &tag)
        })
        .await
    }

    async fn remove_tag(
        &self,
        contract: ContractId,
        on: Tagged,
        tag: &str,
        at: UtcMicros,
    ) -> Result<bool> {
        let note = noted("tag.remove", contract, on, tag);
        let tag = tag.to_owned();
        self.write_noted(note, at, move |connection| {
            let removed = match on {
                Tagged::Event(event) => connection.execute(
                    "delete from event_tag where contract = ?1 and event = ?2 and tag = ?3",
                    (id16(contract.0), id16(event.0), tag),
                ),
                place => connection.execute(
                    "delete from place_tag where contract = ?1 and kind = ?2 and place = ?3 and tag = ?4",
                    (id16(contract.0), place.kind(), id16(place.id()), tag),
                ),
            };
            Ok(removed? > 0)
        })
        .await
    }

    async fn tag_rows(&self, contract: ContractId) -> Result<Vec<TagRow>> {
        self.read(move |connection| {
            let mut found = Vec::new();
            let mut places = connection.prepare_cached(
                "select tag, kind, place from place_tag where contract = ?1 order by tag, kind desc, place",
            )?;
            let mut rows = places.query([id16(contract.0)])?;
            while let Some(row) = rows.next()? {
                let (kind, id): (String, _) = (row.get(1)?, uuid_at(row, 2)?);
                let on = match kind.as_str() {
                    "site" => Tagged::Site(SiteId(id)),
                    _ => Tagged::Camera(CameraId(id)),
                };
                let tag = row.get(0)?;
                found.push(TagRow { contract, tag, on });
            }
            let mut events = connection.prepare_cached(
                "select tag, event from (select tag, event, opened_us, row_number() over (
                        partition by tag order by opened_us desc) as place
                    from event_tag where contract = ?1)
                 where place <= ?2 order by tag, opened_us desc",
            )?;
            let mut rows = events.query((id16(contract.0), EVENTS_LISTED))?;
            while let Some(row) = rows.next()? {
                let on = Tagged::Event(EventId(uuid_at(row, 1)?));
                let tag = row.get(0)?;
                found.push(TagRow { contract, tag, on });
            }
            Ok(found)
        })
        .await
    }

    async fn contracts_of_event(&self, event: EventId) -> Result<Vec<ContractId>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select c.id from contract c
                 where exists (select 1 from event e where e.contract = c.id and e.id = ?1)",
            )?;
            let rows =
                statement.query_map([id16(event.0)], |row| Ok(ContractId(uuid_at(row, 0)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn name_camera(
        &self,
        camera: CameraId,
        name: Option<&str>,
        at: UtcMicros,
    ) -> Result<bool> {
        let contract = self
            .read(move |connection| {
                Ok(connection
                    .prepare_cached("select contract from camera where id = ?1")?
                    .query_row([id16(camera.0)], |row| Ok(ContractId(uuid_at(row, 0)?)))
                    .optional()?)
            })
            .await?;
        let Some(contract) = contract else {
            return Ok(false);
        };
        let note = Note::new("camera.name")
            .of(contract)
            .on(camera)
            .with_personal("name", name);
        let name = name.map(str::to_owned);
        self.write_noted(note, at, move |connection| {
            match name {
                Some(name) => connection.execute(
                    "insert into camera_label (camera, name) values (?1, ?2)
                     on conflict (camera) do update set name = excluded.name",
                    (id16(camera.0), name),
                )?,
                None => connection.execute(
                    "delete from camera_label where camera = ?1",
                    [id16(camera.0)],
                )?,
            };
            Ok(true)
        })
        .await
    }

    async fn cameras(&self) -> Result<Vec<CameraRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "select k.id, k.contract, c.name, s.id, s.name, d.id, k.name, k.state,
                        coalesce((select t.name from camera_state t where t.camera = k.id
                                  order by t.state_us desc, t.epoch desc, t.seq desc limit 1), ''),
                        (select json_group_array(tag) from place_tag t
                         where t.contract = k.contract and t.kind = 'camera' and t.place = k.id)
                 from camera_now k join device d on d.id = k.device join site s on s.id = d.site
                     join contract c on c.id = k.contract
                 order by c.name, s.name, k.name, k.id",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(CameraRow {
                    id: CameraId(uuid_at(row, 0)?),
                    contract: ContractId(uuid_at(row, 1)?),
                    contract_name: row.get(2)?,
                    site: SiteId(uuid_at(row, 3)?),
                    site_name: row.get(4)?,
                    device: DeviceId(uuid_at(row, 5)?),
                    name: row.get(6)?,
                    state: row.get(7)?,
                    device_name: row.get(8)?,
                    tags: serde_json::from_str(&row.get::<_, String>(9)?).unwrap_or_default(),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

/// The tag is the customer's word for something: the log keeps it sealed.
fn noted(action: &'static str, contract: ContractId, on: Tagged, tag: &str) -> Note {
    Note::new(action)
        .of(contract)
        .on(on.id())
        .with("kind", on.kind())
        .with_personal("tag", tag)
}

fn add(connection: &Connection, contract: ContractId, on: Tagged, tag: &str) -> Result<bool> {
    let owner = id16(contract.0);
    let id = id16(on.id());
    let is_there = match on {
        Tagged::Site(_) => "select 1 from site where contract = ?1 and id = ?2",
        Tagged::Camera(_) => "select 1 from camera where contract = ?1 and id = ?2",
        Tagged::Event(_) => "select 1 from event where contract = ?1 and id = ?2",
    };
    let is_there: Option<i64> = connection
        .prepare_cached(is_there)?
        .query_row((owner, id), |row| row.get(0))
        .optional()?;
    if is_there.is_none() {
        return Err(StoreError::Missing(on.kind()));
    }
    let added = match on {
        Tagged::Event(_) => connection.execute(
            "insert or ignore into event_tag (contract, tag, opened_us, event)
             select contract, ?3, opened_us, id from event where contract = ?1 and id = ?2",
            (owner, id, tag),
        )?,
        place => connection.execute(
            "insert or ignore into place_tag (contract, tag, kind, place) values (?1, ?2, ?3, ?4)",
            (owner, tag, place.kind(), id),
        )?,
    };
    Ok(added > 0)
}
