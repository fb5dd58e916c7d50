//! How full the receiver is, of whom, how that grows, and until when there is room.

use super::Result;
use crate::capacity::{Forecast, Level, Sample, WINDOW_US, forecast, level};
use crate::disk::Room;
use crate::jobs::capacity::measure;
use crate::store::sqlite::SqliteStore;
use crate::store::{CapacityBook, ContractUsage};
use anyhow::Context;
use serde::Serialize;
use std::path::Path;
use wire::UtcMicros;

#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    pub now: Sample,
    #[serde(flatten)]
    pub forecast: Forecast,
    pub level: Level,
    /// `recent_` counts what came in within the last 24 hours.
    pub contracts: Vec<ContractUsage>,
}

/// Measured at this moment: seconds where there are millions of records.
pub async fn measured(store: &SqliteStore, dir: &Path, at: UtcMicros) -> Result<Capacity> {
    let (sample, usage) = measure(store, dir, at).await?;
    let mut samples = store.samples_since(at.plus_us(-WINDOW_US)).await?;
    samples.push(sample);
    let forecast = forecast(&samples);
    let room = Room::at(dir).with_context(|| dir.display().to_string())?;
    let before = store.capacity_level().await?;
    Ok(Capacity {
        now: sample,
        forecast,
        level: level(&sample, forecast, room.has_room_for(0), before),
        contracts: usage.contracts,
    })
}
