//! Counts of a window of time, added up.

use super::super::{count, damaged, epoch_of, id16, name_of_record, seq_of, uuid_at};
use crate::seal::{Purpose, SecretKey};
use crate::store::{ContractScope, CountSeries, Counted, EventFilter, Result, Window};
use rusqlite::Connection;
use std::collections::BTreeMap;
use wire::DeviceId;

/// A minute belongs to the part that holds its middle: corrected by a few milliseconds, it would else slip into the
/// part before.
const HALF_MINUTE_US: i64 = 30_000_000;

/// Of a contract (1) and perhaps one camera (2) or site (3), from (4) and up to (5), in parts so long (6).
pub(in crate::store::sqlite) const COUNTS_OF_WINDOW: &str = "
    select c.device, c.epoch, c.seq, (c.minute_us - ?4) / ?6, c.sealed
    from minute_count c
    where c.contract = ?1 and c.minute_us >= ?4 and c.minute_us < ?5
    and c.camera in (
    select k.id from camera_now k join device d on d.id = k.device
    where k.contract = ?1 and (?2 is null or k.id = ?2) and (?3 is null or d.site = ?3))";

pub(super) fn read(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    filter: &EventFilter,
    window: Window,
    steps: u32,
) -> Result<Vec<CountSeries>> {
    let contract = scope.contract();
    let from_us = window.from_us.plus_us(-HALF_MINUTE_US);
    let step_us = (window.to_us.since_us(window.from_us) / i64::from(steps.max(1))).max(1);
    let mut statement = connection.prepare_cached(COUNTS_OF_WINDOW)?;
    let mut rows = statement.query((
        id16(contract.0),
        filter.camera.map(|camera| id16(camera.0)),
        filter.site.map(|site| id16(site.0)),
        from_us.0,
        window.to_us.plus_us(-HALF_MINUTE_US).0,
        step_us,
    ))?;
    let mut series: BTreeMap<Counted, CountSeries> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let device = DeviceId(uuid_at(row, 0)?);
        let (epoch, seq) = (epoch_of(row.get(1)?), seq_of(row.get(2)?));
        let name = name_of_record(contract, device, Purpose::Count, epoch, seq);
        let sealed: Vec<u8> = row.get(4)?;
        let bytes = key.open(&name, &sealed).map_err(damaged("a count"))?;
        let (what, count, peak) = count::from_bytes(&bytes)?;
        let is_asked = filter
            .class
            .as_ref()
            .is_none_or(|asked| *asked == what.class);
        let step = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(usize::MAX);
        if !is_asked || step >= steps as usize {
            continue;
        }
        let found = series.entry(what.clone()).or_insert_with(|| CountSeries {
            what,
            counts: vec![0; steps as usize],
            peaks: vec![None; steps as usize],
        });
        found.counts[step] += u64::from(count);
        found.peaks[step] = found.peaks[step].max(peak);
    }
    Ok(series.into_values().collect())
}
