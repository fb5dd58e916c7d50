//! What the records of a batch speak of: kept in clear beside the sealed batch, because the balance counts by it.
//!
//! The schema's view `record` reads it.

use super::Result;
use rusqlite::Connection;
use std::fmt::Write;
use uuid::Uuid;
use wire::{Body, CameraId, EventId, Record};

pub(super) struct Contents {
    /// A JSON array: for each record `[kind, camera, event, captured_device_us]`, or null where it was refused.
    pub(super) records: String,
    /// Earliest and latest capture of a readable record by the device's clock; 0 where there is none.
    pub(super) from_device_us: i64,
    pub(super) to_device_us: i64,
}

impl Contents {
    pub(super) fn of(records: &[std::result::Result<Record, &'static str>]) -> Self {
        let captured = || {
            let read = records.iter().flatten();
            read.map(|record| record.time.captured_at_us.0)
        };
        let items: Vec<String> = records.iter().map(|record| item(record.as_ref())).collect();
        Self {
            records: format!("[{}]", items.join(",")),
            from_device_us: captured().min().unwrap_or(0),
            to_device_us: captured().max().unwrap_or(0),
        }
    }
}

fn item(record: std::result::Result<&Record, &&'static str>) -> String {
    let Ok(record) = record else {
        return "null".into();
    };
    let mut text = format!("[\"{}\"", record.body.kind());
    let camera = record.body.camera().map(|CameraId(id)| id);
    let event = event_of(&record.body).map(|EventId(id)| id);
    for id in [camera, event] {
        push_id(&mut text, id);
    }
    let _ = write!(text, ",{}]", record.time.captured_at_us.0);
    text
}

fn push_id(text: &mut String, id: Option<Uuid>) {
    let mut buffer = Uuid::encode_buffer();
    match id {
        Some(id) => text.extend([",\"", id.simple().encode_lower(&mut buffer), "\""]),
        None => text.push_str(",null"),
    }
}

/// The event that a record states or is a picture of.
fn event_of(body: &Body) -> Option<EventId> {
    match body {
        Body::Event(event) => Some(event.id),
        Body::Media(media) => media.event,
        _ => None,
    }
}

/// Takes a record out that was refused after all.
pub(super) fn strike(connection: &Connection, batch: i64, index: usize) -> Result<()> {
    connection
        .prepare_cached(
            "update batch set records = json_set(records, '$[' || ?2 || ']', null) where no = ?1",
        )?
        .execute((batch, index as i64))?;
    Ok(())
}
