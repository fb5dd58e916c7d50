//! Pure: does the index, from which pages are made, say what the signed records say? The index is in clear and could
//! be changed by whoever reaches the database; the records could not.

use crate::store::{EventIndex, MediaIndex, RecordIndex};
use std::collections::HashSet;
use wire::evidence::Finding;
use wire::record::{EventRecord, MediaRecord};
use wire::{Batch, Body, DeviceId, Record, Seq};

/// What the database shows of one batch, in clear.
pub(super) struct Rows {
    pub(super) records: Vec<RecordIndex>,
    pub(super) media: Vec<MediaIndex>,
    pub(super) events: Vec<EventIndex>,
}

/// Compares every record of a genuine batch. `refused`: numbers of single records that were refused.
pub(super) fn compare(
    device: DeviceId,
    batch: &Batch,
    rows: &Rows,
    refused: &HashSet<Seq>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, bytes) in batch.records.iter().enumerate() {
        let seq = batch.first_seq.advanced_by(index as u64);
        if refused.contains(&seq) {
            continue;
        }
        let differing = differing_column(bytes, seq, rows);
        findings.extend(differing.map(|column| Finding::IndexDiffers {
            device,
            epoch: batch.epoch,
            seq,
            column: column.to_owned(),
        }));
    }
    findings
}

fn differing_column(bytes: &[u8], seq: Seq, rows: &Rows) -> Option<&'static str> {
    let Some(row) = rows.records.iter().find(|row| row.seq == seq) else {
        return Some("its row is gone");
    };
    // One of a newer version is kept as of unknown kind: there is nothing to compare.
    let Ok(record) = Record::from_json(bytes) else {
        return None;
    };
    if row.kind != record.body.kind() {
        return Some("kind");
    }
    if row.captured_device_us != record.time.captured_at_us.0 {
        return Some("time");
    }
    if row.camera != record.body.camera() {
        return Some("camera");
    }
    match &record.body {
        Body::Event(event) => differing_event(event, row, rows),
        Body::Media(media) => differing_media(media, record.time.captured_at_us.0, seq, rows),
        _ => None,
    }
}

fn differing_event(event: &EventRecord, row: &RecordIndex, rows: &Rows) -> Option<&'static str> {
    if row.event != Some(event.id) {
        return Some("event");
    }
    let Some(shown) = rows.events.iter().find(|shown| shown.id == event.id) else {
        return Some("the event is gone");
    };
    // Only the highest revision is shown; it stands in this batch or in a later one.
    if shown.revision < event.revision {
        return Some("event: an older revision is shown");
    }
    if shown.revision > event.revision {
        return None;
    }
    let columns = [
        (shown.class == event.class, "event: class"),
        (shown.camera == event.camera, "event: camera"),
        (shown.score == f64::from(event.score), "event: score"),
        (
            shown.opened_device_us == event.opened_at_us.0,
            "event: time",
        ),
    ];
    first_wrong(&columns)
}

fn differing_media(
    media: &MediaRecord,
    captured_us: i64,
    seq: Seq,
    rows: &Rows,
) -> Option<&'static str> {
    let Some(shown) = rows.media.iter().find(|shown| shown.seq == seq) else {
        return Some("the picture's row is gone");
    };
    let columns = [
        (shown.sha256 == media.sha256, "picture: SHA-256"),
        (shown.class == media.class.as_str(), "picture: class"),
        (shown.content_type == media.content_type, "picture: type"),
        (
            shown.bytes == i64::try_from(media.bytes).unwrap_or(i64::MAX),
            "picture: length",
        ),
        (shown.camera == media.camera, "picture: camera"),
        (shown.event == media.event, "picture: event"),
        (shown.captured_device_us == captured_us, "picture: time"),
    ];
    first_wrong(&columns)
}

fn first_wrong(columns: &[(bool, &'static str)]) -> Option<&'static str> {
    columns
        .iter()
        .find(|(right, _)| !right)
        .map(|(_, name)| *name)
}
