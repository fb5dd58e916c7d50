//! What a gate says of itself, for people.

use serde::Serialize;
use std::time::Duration;

/// What a camera is watched by while nothing moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// What its encoded pictures usually measure is being learned; everything is decoded meanwhile.
    #[default]
    Learning,
    /// Key frames, and the encoded sizes of what lies between them.
    Sizes,
    /// Key frames, and sizes weighed with the quantiser.
    Complexity,
    /// Key frames and so much of each group that no more than a second goes unseen.
    KeyFramesAndOpenings,
    /// Every picture is a key frame or close to one.
    KeyFrames,
    /// Every picture is decoded.
    Everything,
}

impl GateMode {
    /// The word used in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Sizes => "sizes",
            Self::Complexity => "complexity",
            Self::KeyFramesAndOpenings => "key_frames_and_openings",
            Self::KeyFrames => "key_frames",
            Self::Everything => "everything",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GateReport {
    pub mode: GateMode,
    /// A short sentence.
    pub why: String,
    /// Everything is decoded because something moves, or somebody follows something.
    pub active: bool,
    /// How often something was found to move, or signalled to, since the agent started.
    pub triggers: u64,
}

/// What a reason is made of.
pub(super) struct Known {
    pub(super) interval: Option<Duration>,
    pub(super) progress: f32,
    pub(super) quantiser: bool,
    pub(super) told: f32,
    pub(super) movements: f32,
}

pub(super) fn why(enabled: bool, mode: GateMode, known: &Known) -> String {
    let seconds = known.interval.unwrap_or_default().as_secs_f32();
    match mode {
        GateMode::Everything if !enabled => "the gate is turned off".into(),
        GateMode::Everything if known.interval.is_none() => {
            "no key frame came for more than 5 s".into()
        }
        GateMode::Everything => {
            format!("key frames come only every {seconds:.1} s; set the camera to 1 to 2 s")
        }
        GateMode::Learning => format!(
            "{:.0} % of what its pictures measure without movement is learned",
            known.progress * 100.0
        ),
        GateMode::KeyFramesAndOpenings if known.movements < 1.0 => {
            "encoded sizes have not told of a movement yet".into()
        }
        GateMode::KeyFramesAndOpenings => format!(
            "encoded sizes told of only {:.0} % of the last movements",
            100.0 * known.told / known.movements
        ),
        GateMode::KeyFrames => format!("key frames come every {seconds:.1} s"),
        GateMode::Sizes => "encoded sizes tell of movements".into(),
        GateMode::Complexity if known.quantiser => {
            "encoded sizes and quantisers tell of movements".into()
        }
        GateMode::Complexity => String::new(),
    }
}
