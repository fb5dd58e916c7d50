//! Events that were open when the agent was cut off: their objects are watched by nobody any more, so they are over.
//! Without a word about it the customer would see them go on for ever.
//!
//! Each is ended once, by a record like any other: the spool forgets an open event in the commit that takes its end,
//! so a crash in between ends it at the next start. An object that still stands there is a new event.

use crate::spool::SpoolHandle;
use wire::record::EventState;
use wire::{Body, Record};

/// Ends them all. Done before anything is watched.
pub(super) async fn end_interrupted(spool: &SpoolHandle) -> anyhow::Result<()> {
    let ends: Vec<Record> = spool.interrupted_events().iter().filter_map(end).collect();
    if ends.is_empty() {
        return Ok(());
    }
    let count = ends.len();
    // Together, so that they share commits.
    futures::future::try_join_all(ends.into_iter().map(|end| spool.put_durable(end))).await?;
    tracing::info!("{count} events that a crash had cut off are ended");
    Ok(())
}

/// The event ended when its object was last seen, as far as anyone knows. All its times are on the clock of its last
/// record, of another boot perhaps: so the end is stamped as that record was.
fn end(last: &Record) -> Option<Record> {
    let Body::Event(event) = &last.body else {
        return None;
    };
    let mut event = event.clone();
    event.revision += 1;
    event.state = EventState::Closed;
    event.closed_at_us = Some(event.last_seen_at_us);
    Some(Record::new(last.time, Body::Event(event)))
}
