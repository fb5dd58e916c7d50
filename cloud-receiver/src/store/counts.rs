//! How many were seen or crossed a line, as charts ask for it.

use serde::{Deserialize, Serialize};

/// What a number counts: a class in the whole picture, in a zone, or over a line in one direction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counted {
    pub class: String,
    pub zone: Option<String>,
    pub line: Option<String>,
    /// Of a line: `in` or `out`.
    pub direction: Option<String>,
}

/// One thing that was counted, in equal parts of a window of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CountSeries {
    pub what: Counted,
    /// How many, in each part: the sum over its minutes and over the cameras that were asked for. What stays in view is
    /// counted once a minute; what crosses a line, each time.
    pub counts: Vec<u64>,
    /// The most at one moment of each part, at any of these cameras; where a device told of it.
    pub peaks: Vec<Option<u32>>,
}
