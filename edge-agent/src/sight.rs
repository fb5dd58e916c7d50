//! Whether a camera still sees what it was put up to see. Pure; time comes with the picture.

use crate::luma::SmallLuma;
use std::time::Duration;

/// Why a camera sees nothing of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blindness {
    Covered,
    Turned,
    Defocused,
    Frozen,
    Black,
    Dark,
}

impl Blindness {
    /// The word of the record's reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Turned => "turned",
            Self::Defocused => "defocused",
            Self::Frozen => "frozen",
            Self::Black => "black",
            Self::Dark => "dark",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SightChange {
    Lost(Blindness),
    Regained,
}

/// Judges one camera's pictures.
#[derive(Debug, Default)]
pub struct SightModel;

impl SightModel {
    pub fn new() -> Self {
        Self
    }

    /// Takes the next picture, taken `at` on the boot clock; one a second is plenty. Tells a change once.
    pub fn update(&mut self, _at: Duration, _luma: &SmallLuma) -> Option<SightChange> {
        None
    }

    /// Whether this picture shows what the camera ought to see: one to be kept as the `before` of a later change.
    pub fn is_good(&self) -> bool {
        true
    }
}
