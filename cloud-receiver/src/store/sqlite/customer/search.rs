//! Finding the events of a filter in order of time, without reading many that do not fit.
//!
//! Each condition has a source that lists only what fits it, in order: of one camera, of the cameras of a site or of a
//! tag, of a tag on events, of a class. Sources are merged; what the source does not decide (a score, a second condition)
//! is checked row by row, and after so many rows the search says how far it came. So a page costs as much among ten
//! million events as among ten thousand, and a rare combination costs a bounded amount each time it goes on.
//!
//! A class has no index of its own: events are written more often than anything else, and the hours in which a class
//! occurred are known from `event_hour` (see `sqlite/hours.rs`).

use super::super::hours::HOUR_US;
use super::super::{id16, uuid_at};
use crate::store::{ContractScope, Direction, EventCursor, EventFilter, Result};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;
use wire::{EventId, UtcMicros};

/// Rows that are checked one by one before the search says how far it came: some tens of milliseconds.
const ROWS_AT_MOST: usize = 5_000;
/// Rows of `event_hour` that one step of the search for a class reads.
const CELLS_AT_MOST: usize = 20_000;

type Id = [u8; 16];

/// An event as an index lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    opened_us: i64,
    id: Id,
    pub(super) no: i64,
}

impl Candidate {
    pub(super) fn opened_us(self) -> i64 {
        self.opened_us
    }

    fn cursor(self) -> EventCursor {
        EventCursor {
            opened_at_us: UtcMicros(self.opened_us),
            id: EventId(Uuid::from_bytes(self.id)),
        }
    }
}

/// What was found: row numbers in the order of the search.
#[derive(Debug, Default)]
pub(super) struct Hits {
    pub(super) events: Vec<Candidate>,
    pub(super) searched_to: Option<EventCursor>,
}

/// Where cameras, sites and tags of the filter lead.
pub(super) struct Places {
    /// Cameras that the site and the camera of the filter leave; absent: all.
    pub(super) cameras: Option<HashSet<Id>>,
    /// Devices of the filter's site; absent also where its cameras were at no other.
    pub(super) devices: Option<HashSet<Id>>,
    pub(super) tagged: Option<TaggedPlaces>,
}

impl Places {
    /// Whether the filter asks for what this camera of this device told; its tag is another question.
    pub(super) fn hold(&self, camera: &Id, device: &Id) -> bool {
        let holds = |all: &Option<HashSet<Id>>, id| all.as_ref().is_none_or(|all| all.contains(id));
        holds(&self.cameras, camera) && holds(&self.devices, device)
    }
}

/// What carries the filter's tag, but for single events.
pub(super) struct TaggedPlaces {
    pub(super) tag: String,
    pub(super) cameras: HashSet<Id>,
    pub(super) devices: HashSet<Id>,
    /// Cameras of these devices, and the cameras themselves.
    reach: HashSet<Id>,
}

pub(super) struct Search<'a> {
    connection: &'a Connection,
    contract: Id,
    filter: &'a EventFilter,
    places: Places,
    direction: Direction,
}

/// Hours, each with the cameras that saw something in it.
type Hours = BTreeMap<i64, HashSet<Id>>;

/// What is left of a source.
enum Left {
    Perhaps,
    Nothing,
    /// It gave up here.
    From(EventCursor),
}

impl<'a> Search<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        scope: ContractScope,
        filter: &'a EventFilter,
        direction: Direction,
    ) -> Result<Self> {
        Ok(Self {
            connection,
            contract: id16(scope.contract().0),
            filter,
            places: places(connection, scope, filter)?,
            direction,
        })
    }

    pub(super) fn run(&self, cursor: Option<EventCursor>, limit: usize) -> Result<Hits> {
        let mut hits = Hits::default();
        let (mut cursor, mut checked) = (cursor, 0);
        let decides = self.decides();
        while hits.events.len() < limit {
            let wanted = (limit - hits.events.len()).max(checked.min(512)).max(1);
            let (candidates, left) = self.candidates(cursor, wanted)?;
            for candidate in &candidates {
                if decides {
                    hits.events.push(*candidate);
                    continue;
                }
                checked += 1;
                if self.fits(*candidate)? {
                    hits.events.push(*candidate);
                    if hits.events.len() == limit {
                        return Ok(hits);
                    }
                }
            }
            match left {
                Left::Nothing => return Ok(hits),
                Left::From(at) => {
                    hits.searched_to = Some(at);
                    return Ok(hits);
                }
                Left::Perhaps => cursor = candidates.last().map(|last| last.cursor()),
            }
            if checked >= ROWS_AT_MOST {
                hits.searched_to = cursor;
                return Ok(hits);
            }
        }
        Ok(hits)
    }

    /// The next ones that may fit, in order.
    fn candidates(
        &self,
        cursor: Option<EventCursor>,
        wanted: usize,
    ) -> Result<(Vec<Candidate>, Left)> {
        let mut found = Vec::new();
        match (
            &self.places.tagged,
            &self.filter.class,
            &self.places.cameras,
        ) {
            (Some(tagged), _, cameras) => {
                let fits = |camera: &&Id| cameras.as_ref().is_none_or(|all| all.contains(*camera));
                for camera in tagged.reach.iter().filter(fits) {
                    self.of_camera(camera, cursor, wanted, &mut found)?;
                }
                self.of_tag(&tagged.tag, cursor, wanted, &mut found)?;
            }
            (None, Some(class), _) => return self.of_class(class, cursor, wanted),
            (None, None, Some(cameras)) => {
                for camera in cameras {
                    self.of_camera(camera, cursor, wanted, &mut found)?;
                }
            }
            (None, None, None) => self.of_all(cursor, wanted, &mut found)?,
        }
        self.order(&mut found, wanted);
        let left = match found.len() < wanted {
            true => Left::Nothing,
            false => Left::Perhaps,
        };
        Ok((found, left))
    }

    fn order(&self, found: &mut Vec<Candidate>, wanted: usize) {
        found.sort_unstable();
        found.dedup();
        if self.direction == Direction::Older {
            found.reverse();
        }
        found.truncate(wanted);
    }

    /// From (inclusive) and to (exclusive), and the place that the search goes on from, as bounds of a statement.
    fn bounds(&self, cursor: Option<EventCursor>) -> (i64, i64, i64, Id) {
        let from = self.filter.from_us.map_or(i64::MIN, |at| at.0);
        let to = self.filter.to_us.map_or(i64::MAX, |at| at.0);
        let beyond = match self.direction {
            Direction::Older => (i64::MAX, [255; 16]),
            Direction::Newer => (i64::MIN, [0; 16]),
        };
        let (at, id) = cursor.map_or(beyond, |c| (c.opened_at_us.0, id16(c.id.0)));
        match self.direction {
            Direction::Older => (from, to.min(at.saturating_add(1)), at, id),
            Direction::Newer => (from.max(at), to, at, id),
        }
    }

    fn comparison(&self) -> (&'static str, &'static str) {
        match self.direction {
            Direction::Older => ("<", "desc"),
            Direction::Newer => (">", "asc"),
        }
    }

    fn list(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        found: &mut Vec<Candidate>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(values, |row| {
            Ok(Candidate {
                opened_us: row.get(0)?,
                id: row.get(1)?,
                no: row.get(2)?,
            })
        })?;
        for row in rows {
            found.push(row?);
        }
        Ok(())
    }

    fn of_all(
        &self,
        cursor: Option<EventCursor>,
        wanted: usize,
        found: &mut Vec<Candidate>,
    ) -> Result<()> {
        let (comparison, order) = self.comparison();
        let (from, to, at, id) = self.bounds(cursor);
        let sql = format!(
            "select opened_us, id, no from event indexed by event_by_time
             where contract = ?1 and opened_us >= ?2 and opened_us < ?3 and (opened_us, id) {comparison} (?4, ?5)
             order by opened_us {order}, id {order} limit ?6"
        );
        self.list(
            &sql,
            (self.contract, from, to, at, id, wanted as i64),
            found,
        )
    }

    fn of_camera(
        &self,
        camera: &Id,
        cursor: Option<EventCursor>,
        wanted: usize,
        found: &mut Vec<Candidate>,
    ) -> Result<()> {
        let (comparison, order) = self.comparison();
        let (from, to, at, id) = self.bounds(cursor);
        let sql = format!(
            "select opened_us, id, no from event indexed by event_by_camera
             where contract = ?1 and camera = ?7 and opened_us >= ?2 and opened_us < ?3
               and (opened_us, id) {comparison} (?4, ?5)
             order by opened_us {order}, id {order} limit ?6"
        );
        self.list(
            &sql,
            (self.contract, from, to, at, id, wanted as i64, camera),
            found,
        )
    }

    fn of_tag(
        &self,
        tag: &str,
        cursor: Option<EventCursor>,
        wanted: usize,
        found: &mut Vec<Candidate>,
    ) -> Result<()> {
        let (comparison, order) = self.comparison();
        let (from, to, at, id) = self.bounds(cursor);
        let sql = format!(
            "select t.opened_us, t.event, e.no from event_tag t
                cross join event e on e.contract = t.contract and e.id = t.event
             where t.contract = ?1 and t.tag = ?7 and t.opened_us >= ?2 and t.opened_us < ?3
               and (t.opened_us, t.event) {comparison} (?4, ?5)
             order by t.opened_us {order}, t.event {order} limit ?6"
        );
        self.list(
            &sql,
            (self.contract, from, to, at, id, wanted as i64, tag),
            found,
        )
    }

    /// The hours in which the class occurred are known, and how often: so as many hours are read as hold what is wanted.
    fn of_class(
        &self,
        class: &str,
        cursor: Option<EventCursor>,
        wanted: usize,
    ) -> Result<(Vec<Candidate>, Left)> {
        let (from, to, at, id) = self.bounds(cursor);
        let (hours, stopped) = self.hours_of(class, cursor, wanted)?;
        let (comparison, order) = self.comparison();
        let sql = format!(
            "select opened_us, id, no from event indexed by event_by_camera
             where contract = ?1 and camera = ?2 and opened_us >= ?3 and opened_us < ?4 and class = ?5
               and (opened_us, id) {comparison} (?6, ?7)
             order by opened_us {order}, id {order} limit ?8"
        );
        let mut found = Vec::new();
        for (hour, cameras) in &hours {
            let begins = hour.saturating_mul(HOUR_US);
            let (from, to) = (begins.max(from), begins.saturating_add(HOUR_US).min(to));
            for camera in cameras {
                let values = (
                    self.contract,
                    camera,
                    from,
                    to,
                    class,
                    at,
                    id,
                    wanted as i64,
                );
                self.list(&sql, values, &mut found)?;
            }
        }
        self.order(&mut found, wanted);
        let left = match stopped {
            // What lies beyond was not looked at: nothing of it may be passed over.
            _ if found.len() == wanted => Left::Perhaps,
            Some(hour) => Left::From(self.edge_of(hour)),
            None => Left::Nothing,
        };
        Ok((found, left))
    }

    /// In the direction of the search: hours with the cameras that saw the class, until they hold what is wanted; and the
    /// last hour looked at, where it gave up before.
    fn hours_of(
        &self,
        class: &str,
        cursor: Option<EventCursor>,
        wanted: usize,
    ) -> Result<(Hours, Option<i64>)> {
        let (from, to, ..) = self.bounds(cursor);
        let (first, last) = (
            from.div_euclid(HOUR_US),
            to.saturating_sub(1).div_euclid(HOUR_US),
        );
        // The hour of the cursor may have been shown already: nothing is counted on it.
        let begun = match self.direction {
            Direction::Older => last,
            Direction::Newer => first,
        };
        let (_, order) = self.comparison();
        let mut statement = self.connection.prepare_cached(&format!(
            "select hour, camera, device, q0 + q1 + q2 + q3 from event_hour indexed by event_hour_by_class
             where contract = ?1 and class = ?2 and hour between ?3 and ?4 order by hour {order}"
        ))?;
        let mut rows = statement.query((self.contract, class, first, last))?;
        let mut hours = Hours::new();
        let (mut held, mut read, mut latest) = (0, 0, None);
        while let Some(row) = rows.next()? {
            let hour: i64 = row.get(0)?;
            if latest != Some(hour) && held >= wanted as i64 {
                return Ok((hours, latest));
            }
            if latest != Some(hour) && read >= CELLS_AT_MOST {
                return Ok((hours, latest));
            }
            latest = Some(hour);
            read += 1;
            let (camera, device): (Id, Id) = (row.get(1)?, row.get(2)?);
            let count: i64 = row.get(3)?;
            let of = |all: &Option<HashSet<Id>>, one| all.as_ref().is_none_or(|a| a.contains(one));
            if count > 0 && of(&self.places.cameras, &camera) && of(&self.places.devices, &device) {
                hours.entry(hour).or_default().insert(camera);
                held += if hour == begun { 0 } else { count };
            }
        }
        Ok((hours, None))
    }

    /// Where the search goes on when all of this hour was looked at.
    fn edge_of(&self, hour: i64) -> EventCursor {
        let (at, id) = match self.direction {
            Direction::Older => (hour.saturating_mul(HOUR_US), Uuid::nil()),
            Direction::Newer => (
                (hour + 1).saturating_mul(HOUR_US).saturating_sub(1),
                Uuid::max(),
            ),
        };
        EventCursor {
            opened_at_us: UtcMicros(at),
            id: EventId(id),
        }
    }

    /// Whether the source lists only what fits.
    fn decides(&self) -> bool {
        self.filter.least_score_percent.is_none()
            && self.places.tagged.is_none()
            && self.places.devices.is_none()
    }

    /// What the source has not decided.
    fn fits(&self, candidate: Candidate) -> Result<bool> {
        let filter = self.filter;
        let mut statement = self
            .connection
            .prepare_cached("select camera, device, class, score from event where no = ?1")?;
        let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<(Id, Id, String, f64)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let (camera, device, class, score) = statement.query_row([candidate.no], row)?;
        let of = |all: &Option<HashSet<Id>>, one| all.as_ref().is_none_or(|all| all.contains(one));
        Ok(of(&self.places.cameras, &camera)
            && of(&self.places.devices, &device)
            && filter.class.as_ref().is_none_or(|asked| *asked == class)
            && least_score(filter).is_none_or(|least| score >= least)
            && match &self.places.tagged {
                None => true,
                Some(tagged) => {
                    tagged.holds(&camera, &device) || self.is_tagged(candidate, &tagged.tag)?
                }
            })
    }

    fn is_tagged(&self, candidate: Candidate, tag: &str) -> Result<bool> {
        Ok(self
            .connection
            .prepare_cached(
                "select exists (select 1 from event_tag where contract = ?1 and event = ?2 and tag = ?3)",
            )?
            .query_row((self.contract, candidate.id, tag), |row| row.get(0))?)
    }
}

impl TaggedPlaces {
    pub(super) fn holds(&self, camera: &Id, device: &Id) -> bool {
        self.cameras.contains(camera) || self.devices.contains(device)
    }
}

/// The score from which events are wanted. What pages write as 50 % is 0.495 and more: they round.
pub(super) fn least_score(filter: &EventFilter) -> Option<f64> {
    let percent = filter.least_score_percent?;
    Some((f64::from(percent) - 0.5) / 100.0)
}

pub(super) fn places(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
) -> Result<Places> {
    let contract = id16(scope.contract().0);
    let ids = |sql: &str, of: &dyn rusqlite::ToSql| -> Result<HashSet<Id>> {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(rusqlite::params![contract, of], |row| {
            Ok(id16(uuid_at(row, 0)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    let one = |id: Uuid| HashSet::from([id16(id)]);
    let (mut cameras, mut devices) = (filter.camera.map(|camera| one(camera.0)), None);
    if let Some(site) = filter.site {
        let (of_site, elsewhere) = cameras_of_site(connection, contract, id16(site.0))?;
        if !of_site.is_disjoint(&elsewhere) {
            devices = Some(ids(
                "select id from device where contract = ?1 and site = ?2",
                &id16(site.0),
            )?);
        }
        cameras = Some(match cameras {
            Some(wanted) => of_site.intersection(&wanted).copied().collect(),
            None => of_site,
        });
    }
    let tagged = match &filter.tag {
        None => None,
        Some(tag) => {
            let cameras = ids(
                "select place from place_tag where contract = ?1 and tag = ?2 and kind = 'camera'",
                tag,
            )?;
            let of_devices = ids(
                "select s.camera from place_tag t join device d on d.site = t.place and d.contract = t.contract
                    join event_source s on s.contract = d.contract and s.device = d.id
                 where t.contract = ?1 and t.tag = ?2 and t.kind = 'site'",
                tag,
            )?;
            let devices = ids(
                "select d.id from place_tag t join device d on d.site = t.place and d.contract = t.contract
                 where t.contract = ?1 and t.tag = ?2 and t.kind = 'site'",
                tag,
            )?;
            Some(TaggedPlaces {
                tag: tag.clone(),
                reach: cameras.union(&of_devices).copied().collect(),
                cameras,
                devices,
            })
        }
    };
    Ok(Places {
        cameras,
        devices,
        tagged,
    })
}

/// Cameras of which devices of the site have told, and those of which others have.
fn cameras_of_site(
    connection: &Connection,
    contract: Id,
    site: Id,
) -> Result<(HashSet<Id>, HashSet<Id>)> {
    let mut statement = connection.prepare_cached(
        "select s.camera, d.site = ?2 from event_source s join device d on d.id = s.device
         where s.contract = ?1",
    )?;
    let mut rows = statement.query((contract, site))?;
    let (mut here, mut elsewhere) = (HashSet::new(), HashSet::new());
    while let Some(row) = rows.next()? {
        let set = if row.get(1)? {
            &mut here
        } else {
            &mut elsewhere
        };
        set.insert(row.get(0)?);
    }
    Ok((here, elsewhere))
}
