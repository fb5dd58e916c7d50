//! What one camera's last look tells about its next one: where to look, and how soon. Pure.

use super::monotonic;
use super::schedule::Interest;
use super::watch::{Findings, Watch};
use crate::detect::Detector;
use crate::detect::aim::Aim;
use crate::event::Followed;
use crate::frame::Frame;
use crate::motion::Motion;
use std::time::Duration;
use wire::record::NormBox;

#[derive(Debug, Default)]
pub struct Gaze {
    /// Made with the first detector that looks: all are of one model.
    aim: Option<Aim>,
    /// Where tracks were expected after the last look.
    followed: Vec<NormBox>,
}

impl Gaze {
    /// The parts of this picture that are worth looking at; none means all of it.
    pub fn parts(
        &mut self,
        detector: &dyn Detector,
        frame: &Frame,
        motion: &Motion,
    ) -> Vec<NormBox> {
        let aim = self
            .aim
            .get_or_insert_with(|| Aim::new(detector.input_size()));
        let size = (frame.width, frame.height);
        aim.parts(
            monotonic(&frame.time),
            size,
            &motion.regions,
            &self.followed,
        )
    }

    /// Takes in what was found, and says how soon more is wanted of a camera that is looked at `every` so often at most.
    pub fn saw(&mut self, findings: &Findings, watch: &Watch, every: Duration) -> Interest {
        self.followed = findings.tracks.iter().map(|track| track.rect).collect();
        match watch.followed() {
            Followed::Moving if watch.is_calm(every * 2) => Interest::Steady,
            Followed::Moving => Interest::Following,
            Followed::Standing => Interest::Standing,
            Followed::Nothing => Interest::Nothing,
        }
    }
}
