//! The tags that a contract's sites, cameras and events carry.

use super::super::id16;
use crate::store::{ContractScope, EventRow, Result};
use rusqlite::Connection;

/// Every tag of the contract, for the filter.
pub(super) fn all(connection: &Connection, scope: ContractScope) -> Result<Vec<String>> {
    // Of events each tag is looked for after the one before: they may be carried by very many.
    let mut statement = connection.prepare_cached(
        "with recursive of_events (tag) as (
            select min(tag) from event_tag where contract = ?1
            union all
            select (select min(t.tag) from event_tag t where t.contract = ?1 and t.tag > o.tag)
            from of_events o where o.tag is not null)
         select tag from of_events where tag is not null
         union select tag from place_tag where contract = ?1 order by 1",
    )?;
    let rows = statement.query_map([id16(scope.contract().0)], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Those that an event is found by: its own, its camera's and its site's.
pub(super) fn of_event(
    connection: &Connection,
    scope: ContractScope,
    event: &EventRow,
) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "select tag from event_tag where contract = ?1 and event = ?2
         union select tag from place_tag where contract = ?1 and kind = 'camera' and place = ?3
         union select tag from place_tag where contract = ?1 and kind = 'site' and place = ?4
         order by 1",
    )?;
    let values = (
        id16(scope.contract().0),
        id16(event.id.0),
        id16(event.camera.0),
        id16(event.site.0),
    );
    let rows = statement.query_map(values, |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
