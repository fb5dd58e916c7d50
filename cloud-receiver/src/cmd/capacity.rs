//! `capacity`: how much is held, of whom, how that grows, and until when there is room.

use super::{Common, report, setup};
use crate::capacity::{Forecast, Level, Sample, WINDOW_US, forecast, level};
use crate::clock::now;
use crate::disk::Room;
use crate::jobs::capacity::{measure, words};
use crate::portal::words::thousands;
use crate::store::{CapacityBook, ContractUsage};
use serde::Serialize;

const MB: u64 = 1_000_000;

#[derive(Serialize)]
struct Capacity {
    now: Sample,
    #[serde(flatten)]
    forecast: Forecast,
    level: Level,
    /// `recent_` counts what came in within the last 24 hours.
    contracts: Vec<ContractUsage>,
}

pub(super) async fn run(common: &Common) -> anyhow::Result<()> {
    let setup = setup(common)?;
    let (store, dir) = (&setup.store, &setup.config.data_dir);
    let at = now();
    let (sample, usage) = measure(store, dir, at).await?;
    let mut samples = store.samples_since(at.plus_us(-WINDOW_US)).await?;
    samples.push(sample);
    let forecast = forecast(&samples);
    let has_room = Room::at(dir)?.has_room_for(0);
    let capacity = Capacity {
        now: sample,
        forecast,
        level: level(&sample, forecast, has_room, store.capacity_level().await?),
        contracts: usage.contracts,
    };
    let mut text = words(&capacity.now, capacity.forecast);
    text += &format!("state     {}\n\n", capacity.level.word());
    text +=
        "records      a day     objects         MB       MB a day   events    devices  contract\n";
    for of in &capacity.contracts {
        text += &format!(
            "{:<12} {:<9} {:<9} {:>10} {:>12}   {:<9} {:<8} {}\n",
            thousands(of.records),
            thousands(of.recent_records),
            thousands(of.objects),
            thousands((of.records_bytes + of.objects_bytes) / MB),
            thousands(of.recent_objects_bytes / MB),
            thousands(of.events),
            thousands(of.devices),
            of.name,
        );
    }
    report(common, &capacity, text.trim_end())
}
