//! What the row of a count record keeps sealed: not the whole record, which its batch holds, because such rows are many.

use crate::store::{Counted, Result, StoreError};
use wire::record::CountRecord;

pub(super) fn to_bytes(record: &CountRecord) -> Vec<u8> {
    let what = Counted {
        class: record.class.clone(),
        zone: record.zone.clone(),
        line: record.line.clone(),
        direction: record.direction.clone(),
    };
    serde_json::to_vec(&(what, record.count, record.peak)).expect("words and numbers are JSON")
}

/// What was counted, how many, and the most at one moment.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<(Counted, u32, Option<u32>)> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Corrupt(format!("a count's row: {error}")))
}
