//! What a search for events answers, and what charts and tags are asked by.

use super::EventRow;
use serde::{Deserialize, Serialize};
use wire::{CameraId, ContractId, EventId, SiteId, UtcMicros};

/// Place in a timeline (keyset, not offset).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCursor {
    pub opened_at_us: UtcMicros,
    pub id: EventId,
}

/// Which way from the cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Older,
    Newer,
}

/// What a search found, in its direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    pub events: Vec<EventRow>,
    /// Where the search gave up, because it had read enough: it may go on from here. Absent where all was searched, or as
    /// many were found as were wanted.
    pub searched_to: Option<EventCursor>,
}

/// What one bar of a chart is split by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitBy {
    Class,
    Camera,
}

/// How many events opened in each part of a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventCounts {
    /// The class, or the camera's id.
    pub of: String,
    pub counts: Vec<u64>,
}

/// Pictures that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stock {
    pub pictures: u64,
    pub bytes: u64,
}

/// What can carry a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum Tagged {
    Site(SiteId),
    Camera(CameraId),
    Event(EventId),
}

impl Tagged {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Site(_) => "site",
            Self::Camera(_) => "camera",
            Self::Event(_) => "event",
        }
    }

    pub fn id(self) -> uuid::Uuid {
        match self {
            Self::Site(id) => id.0,
            Self::Camera(id) => id.0,
            Self::Event(id) => id.0,
        }
    }
}

/// A tag and what carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagRow {
    pub contract: ContractId,
    pub tag: String,
    #[serde(flatten)]
    pub on: Tagged,
}
