//! Which events are open, as the accepted records say: so that a start after a crash can end what was cut off.
//!
//! Kept in the transaction that accepts the record, so it is exactly as true as the outbox itself. Of several revisions
//! in one turn only the last is written.

use crate::spool::outbox::{Application, Sql};
use crate::spool::seal::{Item, Vault};
use crate::spool::turn::Entry;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use uuid::Uuid;
use wire::record::EventState;
use wire::{Body, EventId, Record};

/// More events than a box can have open at a time; beyond it the one that was told of longest ago is let go.
const MOST_OPEN: u32 = 1024;

/// What an accepted record says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) event: EventId,
    pub(super) is_over: bool,
}

impl Told {
    pub(super) fn by(record: &Record) -> Option<Self> {
        match &record.body {
            Body::Event(event) => Some(Self {
                event: event.id,
                is_over: event.state == EventState::Closed,
            }),
            _ => None,
        }
    }
}

impl Application<'_> {
    pub(super) fn follow_events(&self, entries: &[Entry]) -> Sql<()> {
        let mut last = BTreeMap::new();
        for entry in entries {
            if let Some(told) = entry.told {
                last.insert(told.event.0, (told, entry));
            }
        }
        let mut opened = false;
        for (told, entry) in last.into_values() {
            if told.is_over {
                self.transaction
                    .prepare_cached("delete from open_event where event = ?1")?
                    .execute([told.event.0.as_bytes()])?;
            } else {
                self.keep_open(told.event, &entry.json)?;
                opened = true;
            }
        }
        if opened {
            self.transaction
                .prepare_cached(
                    "delete from open_event where told in
                        (select told from open_event order by told desc limit -1 offset ?1)",
                )?
                .execute([MOST_OPEN])?;
        }
        Ok(())
    }

    fn keep_open(&self, event: EventId, json: &[u8]) -> Sql<()> {
        let sealed = self.author.vault.seal(Item::OpenEvent(event), json);
        self.transaction
            .prepare_cached(
                "insert or replace into open_event (event, told, sealed)
                 values (?1, (select coalesce(max(told), 0) + 1 from open_event), ?2)",
            )?
            .execute(params![event.0.as_bytes(), sealed])?;
        Ok(())
    }
}

/// The newest record of each event that is open, the longest untold first. What cannot be opened is passed over: it
/// is no reason not to start.
pub(super) fn all(connection: &Connection, vault: &Vault) -> Sql<Vec<Record>> {
    let mut statement = connection.prepare("select event, sealed from open_event order by told")?;
    let rows = statement.query_map((), |row| {
        let event = EventId(Uuid::from_bytes(row.get(0)?));
        Ok((event, row.get::<_, Vec<u8>>(1)?))
    })?;
    let mut records = Vec::new();
    for row in rows {
        let (event, sealed) = row?;
        let json = vault.open(Item::OpenEvent(event), sealed).ok();
        records.extend(json.and_then(|json| Record::from_json(&json).ok()));
    }
    Ok(records)
}
