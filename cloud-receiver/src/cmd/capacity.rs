//! `capacity`: how much is held, of whom, how that grows, and until when there is room.

use super::{Common, report, setup};
use crate::clock::now;
use crate::jobs::capacity::words;
use crate::office::capacity::measured;
use crate::portal::words::thousands;

const MB: u64 = 1_000_000;

pub(super) async fn run(common: &Common) -> anyhow::Result<()> {
    let setup = setup(common)?;
    let capacity = measured(&setup.store, &setup.config.data_dir, now()).await?;
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
