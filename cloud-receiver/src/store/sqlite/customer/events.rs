//! The timeline: which events there are, each with its picture and with what only its record says; and how many.

use super::super::hours::{HOUR_US, QUARTER_US, hour_of};
use super::super::id16;
use super::pictures;
use super::search::{self, Places, Search};
use super::stated::{self, STATED_COLUMNS, STATED_TABLES, Stated};
use crate::seal::SecretKey;
use crate::store::{
    ContractScope, Direction, EventCounts, EventCursor, EventFilter, Found, Result, SplitBy, Window,
};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;
use wire::UtcMicros;

pub(super) fn find(
    connection: &Connection,
    scope: ContractScope,
    key: &SecretKey,
    filter: &EventFilter,
    from: Option<EventCursor>,
    direction: Direction,
    limit: u32,
) -> Result<Found> {
    let search = Search::new(connection, scope, filter, direction)?;
    let hits = search.run(from, limit as usize)?;
    let mut statement = connection.prepare_cached(&format!(
        "select {STATED_COLUMNS} from {STATED_TABLES} where e.no = ?1 and e.contract = ?2"
    ))?;
    let contract = scope.contract();
    let mut events = Vec::with_capacity(hits.events.len());
    for hit in &hits.events {
        events.push(statement.query_row((hit.no, id16(contract.0)), Stated::at)?);
    }
    for event in &mut events {
        let shown = pictures::of_event(connection, contract, key, &event.row)?;
        event.row.snapshot = pictures::first_of(connection, contract, &event.row, &shown)?;
    }
    stated::read_records(connection, key, contract, &mut events)?;
    Ok(Found {
        events: events.into_iter().map(|event| event.row).collect(),
        searched_to: hits.searched_to,
    })
}

/// How many events opened in each part of the window. Scores are not counted by, and a part begins on a whole quarter of an
/// hour or the events of the window are read one by one: a window that is cut so finely is short.
pub(super) fn density(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    window: Window,
    steps: u32,
) -> Result<Vec<u64>> {
    let length_us = window.to_us.since_us(window.from_us);
    let step_us = (length_us / i64::from(steps.max(1))).max(1);
    let is_whole = |us: i64| us.rem_euclid(QUARTER_US) == 0;
    let mut counts = vec![0; steps as usize];
    let mut count = |at: i64, number: u64| {
        let step = usize::try_from((at - window.from_us.0).div_euclid(step_us)).ok();
        if let Some(place) = step.and_then(|step| counts.get_mut(step)) {
            *place += number;
        }
    };
    let places = search::places(connection, scope, filter)?;
    if is_whole(window.from_us.0) && is_whole(step_us) {
        of_hours(connection, scope, filter, &places, window, |cell| {
            count(cell.at_us, cell.count);
        })?;
        tagged_alone(connection, scope, filter, &places, window, |at| {
            count(at, 1)
        })?;
    } else {
        let filter = EventFilter {
            from_us: Some(window.from_us),
            to_us: Some(window.to_us),
            least_score_percent: None,
            ..filter.clone()
        };
        let search = Search::new(connection, scope, &filter, Direction::Older)?;
        let hits = search.run(None, COUNTED_AT_MOST)?;
        hits.events.iter().for_each(|hit| count(hit.opened_us(), 1));
    }
    Ok(counts)
}

/// Events that are counted one by one.
const COUNTED_AT_MOST: usize = 50_000;

/// How many events opened between each two of the edges, which are in order and on whole quarters of an hour.
pub(super) fn counts(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    edges: &[UtcMicros],
    split: SplitBy,
) -> Result<Vec<EventCounts>> {
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
        return Ok(Vec::new());
    };
    let window = Window {
        from_us: *first,
        to_us: *last,
    };
    let parts = edges.len() - 1;
    let places = search::places(connection, scope, filter)?;
    let mut by_camera: HashMap<[u8; 16], Vec<u64>> = HashMap::new();
    let mut by_class: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    of_hours(connection, scope, filter, &places, window, |cell| {
        let part = edges.partition_point(|edge| edge.0 <= cell.at_us);
        let Some(part) = part.checked_sub(1).filter(|part| *part < parts) else {
            return;
        };
        let counts = match split {
            SplitBy::Camera => by_camera
                .entry(cell.camera)
                .or_insert_with(|| vec![0; parts]),
            SplitBy::Class => match by_class.get_mut(cell.class) {
                Some(counts) => counts,
                None => by_class
                    .entry(cell.class.to_owned())
                    .or_insert_with(|| vec![0; parts]),
            },
        };
        counts[part] += cell.count;
    })?;
    let cameras = by_camera
        .into_iter()
        .map(|(id, counts)| (Uuid::from_bytes(id).to_string(), counts))
        .collect::<BTreeMap<_, _>>();
    let all = match split {
        SplitBy::Camera => cameras,
        SplitBy::Class => by_class,
    };
    Ok(all
        .into_iter()
        .map(|(of, counts)| EventCounts { of, counts })
        .collect())
}

/// A quarter of an hour of one camera and class, in which there was something.
struct Cell<'a> {
    at_us: i64,
    camera: [u8; 16],
    class: &'a str,
    count: u64,
}

/// All that is counted within the window, but for events that carry the filter's tag themselves.
fn of_hours(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    places: &Places,
    window: Window,
    mut tell: impl FnMut(Cell<'_>),
) -> Result<()> {
    let (first, _) = hour_of(window.from_us.0);
    let (last, _) = hour_of(window.to_us.0.saturating_sub(1));
    let mut statement = connection.prepare_cached(
        "select hour, camera, device, class, q0, q1, q2, q3 from event_hour
         where contract = ?1 and hour between ?2 and ?3",
    )?;
    let mut rows = statement.query((id16(scope.contract().0), first, last))?;
    while let Some(row) = rows.next()? {
        let (camera, device): ([u8; 16], [u8; 16]) = (row.get(1)?, row.get(2)?);
        let class = row.get_ref(3)?.as_str().unwrap_or_default();
        let is_asked = filter.class.as_ref().is_none_or(|asked| asked == class)
            && places.hold(&camera, &device)
            && places
                .tagged
                .as_ref()
                .is_none_or(|tagged| tagged.holds(&camera, &device));
        if !is_asked {
            continue;
        }
        let hour: i64 = row.get(0)?;
        for quarter in 0..4_u8 {
            let count: i64 = row.get(4 + usize::from(quarter))?;
            let at_us = hour * HOUR_US + i64::from(quarter) * QUARTER_US;
            let is_within = at_us >= window.from_us.0 && at_us < window.to_us.0;
            if let (Ok(count @ 1..), true) = (u64::try_from(count), is_within) {
                tell(Cell {
                    at_us,
                    camera,
                    class,
                    count,
                });
            }
        }
    }
    Ok(())
}

/// Events that carry the filter's tag while their camera and site do not.
fn tagged_alone(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    places: &Places,
    window: Window,
    mut tell: impl FnMut(i64),
) -> Result<()> {
    let Some(tagged) = &places.tagged else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(
        "select t.opened_us, e.camera, e.device, e.class from event_tag t
            cross join event e on e.contract = t.contract and e.id = t.event
         where t.contract = ?1 and t.tag = ?2 and t.opened_us >= ?3 and t.opened_us < ?4",
    )?;
    let contract = id16(scope.contract().0);
    let (from, to) = (window.from_us.0, window.to_us.0);
    let mut rows = statement.query((contract, &tagged.tag, from, to))?;
    while let Some(row) = rows.next()? {
        let (camera, device): ([u8; 16], [u8; 16]) = (row.get(1)?, row.get(2)?);
        let class = row.get_ref(3)?.as_str().unwrap_or_default();
        let is_asked = filter.class.as_ref().is_none_or(|asked| asked == class)
            && places.hold(&camera, &device);
        if is_asked && !tagged.holds(&camera, &device) {
            tell(row.get(0)?);
        }
    }
    Ok(())
}
