//! How full the receiver is, of whom, how that grows, and until when there is room.
//!
//! Measuring reads every contract's rows: seconds where there are millions. The command measures when it is called; the portal
//! shows what was [kept](Kept) of the last time, and measures at most once an hour by itself.

use super::{Office, Result};
use crate::capacity::{Forecast, Level, Sample, WINDOW_US, forecast, level};
use crate::disk::Room;
use crate::jobs::capacity::measure;
use crate::store::sqlite::SqliteStore;
use crate::store::{CapacityBook, ContractUsage};
use anyhow::Context;
use serde::Serialize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
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

const HOUR_US: i64 = 3_600_000_000;

/// What was measured last, for pages; one measuring at a time, however many ask.
#[derive(Debug)]
pub struct Kept {
    last: Mutex<Option<Arc<Capacity>>>,
    turn: Semaphore,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

impl Kept {
    fn last(&self) -> Option<Arc<Capacity>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    fn keep(&self, capacity: Capacity) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Arc::new(capacity));
    }
}

impl Office {
    /// As it was measured within the last hour, or else anew; where that takes longer than `patience`, what there is by then.
    pub async fn capacity(&self, at: UtcMicros, patience: Duration) -> Option<Arc<Capacity>> {
        let last = self.kept.last();
        let age_us = last.as_ref().map(|last| at.since_us(last.now.at_us));
        // A clock that was set back must not stop the measuring.
        if age_us.is_none_or(|age| !(0..HOUR_US).contains(&age)) {
            self.measure(at, patience).await;
        }
        self.kept.last()
    }

    /// Measures anew, which goes on where it takes longer than `patience`. `false`: it is not done yet, or failed.
    pub async fn measure(&self, at: UtcMicros, patience: Duration) -> bool {
        let office = self.clone();
        let measuring = tokio::spawn(async move {
            let Ok(_turn) = office.kept.turn.try_acquire() else {
                return false;
            };
            match measured(&office.store, &office.config.data_dir, at).await {
                Ok(capacity) => {
                    office.kept.keep(capacity);
                    true
                }
                Err(error) => {
                    tracing::error!("how full the receiver is could not be measured: {error}");
                    false
                }
            }
        });
        let measured = tokio::time::timeout(patience, measuring).await;
        matches!(measured, Ok(Ok(true)))
    }
}
