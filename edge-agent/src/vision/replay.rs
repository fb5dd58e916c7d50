//! One camera's analysis over a film, on one thread and in the film's own time: what it tells is the same every time.
//!
//! What runs on a box runs here: the same motion model, pace, detector, tracker and rules. Only the gate is left out: every
//! picture is decoded. So a case from the field can be had again on a desk, and a rule be tried before it is installed.

use super::gaze::Gaze;
use super::monotonic;
use super::schedule::{Choice, Pace, Schedule};
use super::watch::Watch;
use crate::capture::CaptureError;
use crate::capture::lookout::Waiting;
use crate::detect::{DetectError, Detector};
use crate::frame::Frame;
use crate::luma::SmallLuma;
use crate::motion::MotionModel;
use std::time::Duration;
use wire::{Record, RecordTime};

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Film(#[from] CaptureError),
    #[error(transparent)]
    Detect(#[from] DetectError),
}

/// How much there was to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Seen {
    pub frames: u64,
    pub frames_looked_at: u64,
    /// Frames in which something moved.
    pub frames_moving: u64,
}

/// Takes the film through the analysis; `tell` gets every record in order. Events that are open at the end are closed there.
pub fn replay(
    film: impl Iterator<Item = Result<Frame, CaptureError>>,
    pace: Pace,
    detector: &mut dyn Detector,
    watch: &mut Watch,
    motion: &mut MotionModel,
    mut tell: impl FnMut(Record),
) -> Result<Seen, ReplayError> {
    let mut schedule = Schedule::new(pace, 1);
    let mut gaze = Gaze::default();
    let mut seen = Seen::default();
    let mut last: Option<RecordTime> = None;
    for frame in film {
        let frame = frame?;
        let at = monotonic(&frame.time);
        let moved = motion.update(at, &SmallLuma::of(&frame));
        seen.frames += 1;
        seen.frames_moving += u64::from(moved.moving);
        last = Some(frame.time);
        let shown = Waiting {
            at,
            share: moved.share,
            wanted: false,
            catching_up: false,
        };
        if schedule.choose(at, Duration::ZERO, |_| Some(shown)) == Choice::Wait(Duration::ZERO) {
            continue;
        }
        let look = detector.detect(&frame, &gaze.parts(detector, &frame, &moved))?;
        let findings = watch.frame(&frame, &look.detections);
        seen.frames_looked_at += 1;
        schedule.done(
            0,
            at,
            at,
            moved.moving,
            gaze.saw(&findings, watch, pace.every),
        );
        schedule.give_back(0);
        findings.records.into_iter().for_each(&mut tell);
    }
    if let Some(time) = last {
        watch.finish(&time).records.into_iter().for_each(&mut tell);
    }
    Ok(seen)
}
