//! One camera's analysis over a film, on one thread and in the film's own time: what it tells is the same every time.
//!
//! What runs on a box runs here: the same eyes (motion, sight, and which pictures are shown), pace, detector, tracker and rules.
//! Two things are left out, because a film says nothing of either. There is no gate: every picture is decoded. And the
//! detector is never late. So a case from the field can be had again on a desk, and a rule be tried before it is installed.

use super::gaze::Gaze;
use super::monotonic;
use super::schedule::{Choice, Pace, Schedule};
use super::watch::Watch;
use crate::capture::CaptureError;
use crate::capture::eyes::Eyes;
use crate::capture::lookout::{Attention, Waiting};
use crate::detect::{DetectError, Detector};
use crate::frame::Frame;
use crate::geometry::polygon::Point;
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
    /// Frames that were compared with what the camera usually shows, and those of them in which something moved.
    pub frames_compared: u64,
    pub frames_moving: u64,
}

/// Takes the film through the analysis; `tell` gets every record in order. Events that are open at the end are closed there.
pub fn replay(
    film: impl Iterator<Item = Result<Frame, CaptureError>>,
    pace: Pace,
    detector: &mut dyn Detector,
    watch: &mut Watch,
    motion_masks: &[Vec<Point>],
    mut tell: impl FnMut(Record),
) -> Result<Seen, ReplayError> {
    let eyes = Eyes::new(motion_masks);
    let mut attention = Attention::default();
    let mut schedule = Schedule::new(pace, 1);
    let mut gaze = Gaze::default();
    let mut seen = Seen::default();
    let mut last: Option<RecordTime> = None;
    for frame in film {
        let frame = frame?;
        let at = monotonic(&frame.time);
        seen.frames += 1;
        last = Some(frame.time);
        let look = eyes.look(frame, &attention);
        if let Some(news) = look.seen {
            seen.frames_compared += 1;
            seen.frames_moving += u64::from(news.verdict.moving);
            if let Some((change, after)) = news.sight {
                let findings = watch.camera_sight(&after.time, change);
                findings.records.into_iter().for_each(&mut tell);
            }
        }
        let Some(glimpse) = look.show else { continue };
        let shown = Waiting {
            at,
            share: glimpse.motion.share,
            wanted: glimpse.wanted,
            catching_up: false,
        };
        if schedule.choose(at, Duration::ZERO, |_| Some(shown)) == Choice::Wait(Duration::ZERO) {
            continue;
        }
        let (frame, motion) = (&glimpse.frame, &glimpse.motion);
        let found = detector.detect(frame, &gaze.parts(detector, frame, motion))?;
        let findings = watch.frame(frame, &found.detections);
        seen.frames_looked_at += 1;
        let interest = gaze.saw(&findings, watch, pace.every);
        schedule.done(0, at, at, motion.moving, interest);
        schedule.give_back(0);
        attention = schedule.attention(0, at);
        findings.records.into_iter().for_each(&mut tell);
    }
    if let Some(time) = last {
        watch.finish(&time).records.into_iter().for_each(&mut tell);
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Look, LookTiming, Thresholds};
    use crate::event::ids;
    use crate::luma::scenes::{self, HIGH, Picture, WIDE, luma_frame};
    use crate::vision::watch::WatchConfig;
    use wire::record::{Body, EventState, NormBox};
    use wire::{CameraId, UtcMicros};

    /// Finds nothing, and notes when it was asked.
    #[derive(Default)]
    struct Nothing {
        asked_at: Vec<Duration>,
    }

    impl Detector for Nothing {
        fn detect(&mut self, frame: &Frame, _: &[NormBox]) -> Result<Look, DetectError> {
            self.asked_at.push(monotonic(&frame.time));
            Ok(Look {
                detections: Vec::new(),
                timing: LookTiming::default(),
            })
        }

        fn thresholds(&self) -> Thresholds {
            Thresholds {
                score: 0.5,
                follow: 0.1,
            }
        }

        fn model_name(&self) -> &str {
            "nothing"
        }
    }

    /// So many seconds of a film, 15 pictures a second, of what `scene` shows at each number of a picture.
    fn film(
        seconds: u64,
        scene: impl Fn(u64) -> Picture,
    ) -> impl Iterator<Item = Result<Frame, CaptureError>> {
        (0..seconds * 15).map(move |number| {
            let picture = scene(number).with_noise(2.0, number);
            let bytes = picture.0.iter().map(|value| (value + 0.5) as u8).collect();
            let us = number * 1_000_000 / 15;
            let time = RecordTime {
                captured_at_us: UtcMicros(us as i64),
                boottime_ns: 1_000_000_000 + us * 1000,
                ..scenes::time()
            };
            Ok(Frame {
                time,
                ..luma_frame(WIDE, HIGH, WIDE, bytes)
            })
        })
    }

    fn replayed(
        film: impl Iterator<Item = Result<Frame, CaptureError>>,
    ) -> (Seen, Vec<Record>, Vec<Duration>) {
        let camera = CameraId(uuid::Uuid::nil());
        let mut detector = Nothing::default();
        let config = WatchConfig::plain(camera, Duration::ZERO);
        let mut watch = Watch::new(config, detector.thresholds(), ids::seeded(0, camera));
        let mut records = Vec::new();
        let pace = Pace::new(5.0, 10);
        let tell = |record| records.push(record);
        let seen = replay(film, pace, &mut detector, &mut watch, &[], tell)
            .expect("nothing can go wrong in it");
        (seen, records, detector.asked_at)
    }

    #[test]
    fn a_camera_that_was_covered_is_told_as_on_a_box() {
        let street = Picture::street(1);
        let (_, records, _) = replayed(film(50, |number| match number / 15 {
            20..36 => street.clone().covered(60.0),
            _ => street.clone(),
        }));
        let told: Vec<_> = records
            .iter()
            .filter_map(|record| match &record.body {
                Body::Event(event) => Some((
                    record.time.captured_at_us.0 / 1_000_000,
                    event.state,
                    event.reasons[0].rule.as_str(),
                )),
                _ => None,
            })
            .collect();
        assert!(
            matches!(
                told[..],
                [
                    (28..=30, EventState::Opened, "covered"),
                    (41..=43, EventState::Closed, "covered")
                ]
            ),
            "{told:?}"
        );
    }

    #[test]
    fn a_film_is_compared_and_looked_at_as_often_as_a_camera() {
        let street = Picture::street(1);
        // A box comes in after twenty seconds and crosses the picture in four.
        let walk = |number: u64| match number {
            300..360 => street
                .clone()
                .with_box([0.014 * (number - 300) as f32, 0.4, 0.08, 0.3], 230.0),
            _ => street.clone(),
        };
        let (seen, _, asked_at) = replayed(film(30, walk));
        assert_eq!(seen.frames, 450);
        // All while none was shown for a while, and of those that move as many as can be shown or are told apart.
        assert!((400..=430).contains(&seen.frames_compared), "{seen:?}");
        assert!((35..=60).contains(&seen.frames_moving), "{seen:?}");
        let still = asked_at.iter().filter(|at| **at < Duration::from_secs(21));
        assert_eq!(still.count(), 3, "{asked_at:?}");
        let moving = asked_at
            .iter()
            .filter(|at| (21..26).contains(&at.as_secs()));
        assert!((18..=26).contains(&moving.count()), "{asked_at:?}");
    }
}
