//! The timeline: which events there are, each with its picture and with what only its record says.

use super::super::id16;
use super::pictures;
use super::stated::{self, STATED_COLUMNS, STATED_TABLES, Stated};
use crate::seal::SecretKey;
use crate::store::{ContractScope, EventCursor, EventFilter, EventRow, Result, Window};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

pub(super) fn list(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    filter: &EventFilter,
    before: Option<EventCursor>,
    limit: u32,
) -> Result<Vec<EventRow>> {
    let (conditions, mut values) = conditions(scope, filter, before);
    values.push(Value::Integer(i64::from(limit)));
    let mut statement = connection.prepare_cached(&format!(
        "select {STATED_COLUMNS} from {STATED_TABLES} where {conditions}
         order by e.opened_us desc, e.id desc limit ?"
    ))?;
    let rows = statement.query_map(params_from_iter(values), Stated::at)?;
    let mut events: Vec<Stated> = rows.collect::<rusqlite::Result<_>>()?;
    let contract = scope.contract();
    for event in &mut events {
        let shown = pictures::of_event(connection, contract, key, &event.row)?;
        event.row.snapshot = pictures::first_of(connection, contract, &event.row, &shown)?;
    }
    stated::read_records(connection, key, contract, &mut events)?;
    Ok(events.into_iter().map(|event| event.row).collect())
}

fn conditions(
    scope: ContractScope,
    filter: &EventFilter,
    before: Option<EventCursor>,
) -> (String, Vec<Value>) {
    let mut text = String::from("e.contract = ?");
    let mut values = vec![blob(scope.contract().0)];
    let mut also = |condition: &str, bound: &mut dyn Iterator<Item = Value>| {
        text.push_str(" and ");
        text.push_str(condition);
        values.extend(bound);
    };
    if let Some(site) = filter.site {
        also("d.site = ?", &mut [blob(site.0)].into_iter());
    }
    if let Some(camera) = filter.camera {
        also("e.camera = ?", &mut [blob(camera.0)].into_iter());
    }
    if let Some(class) = &filter.class {
        also("e.class = ?", &mut [Value::Text(class.clone())].into_iter());
    }
    if let Some(from) = filter.from_us {
        also(
            "e.opened_us >= ?",
            &mut [Value::Integer(from.0)].into_iter(),
        );
    }
    if let Some(to) = filter.to_us {
        also("e.opened_us < ?", &mut [Value::Integer(to.0)].into_iter());
    }
    if let Some(cursor) = before {
        let mut bound = [Value::Integer(cursor.opened_at_us.0), blob(cursor.id.0)].into_iter();
        also("(e.opened_us, e.id) < (?, ?)", &mut bound);
    }
    (text, values)
}

fn blob(id: uuid::Uuid) -> Value {
    Value::Blob(id16(id).to_vec())
}

/// How many events opened in each part of the window.
pub(super) fn density(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    window: Window,
    steps: u32,
) -> Result<Vec<u64>> {
    let step_us = (window.to_us.since_us(window.from_us) / i64::from(steps.max(1))).max(1);
    let filter = EventFilter {
        from_us: Some(window.from_us),
        to_us: Some(window.to_us),
        ..filter.clone()
    };
    let (conditions, mut values) = conditions(scope, &filter, None);
    values.insert(0, Value::Integer(step_us));
    values.insert(0, Value::Integer(window.from_us.0));
    let mut statement = connection.prepare_cached(&format!(
        "select (e.opened_us - ?) / ? as step, count(*) from event e join device d on d.id = e.device
         where {conditions} group by step"
    ))?;
    let mut counts = vec![0; steps as usize];
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let step: i64 = row.get(0)?;
        if let Some(count) = usize::try_from(step)
            .ok()
            .and_then(|step| counts.get_mut(step))
        {
            *count = row.get::<_, i64>(1)?.cast_unsigned();
        }
    }
    Ok(counts)
}
