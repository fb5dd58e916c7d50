//! Counters of one camera's analysis, and what `status` shows of them. Pure.

use super::watch::{Findings, Watch};
use crate::detect::{Look, LookTiming};
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;
use wire::CameraId;

/// What `edge-agent status` and the heartbeat say of one camera.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraVisionStats {
    pub camera: CameraId,
    pub frames_analysed: u64,
    /// Over the last ten seconds: what was given.
    pub fps_analysed: f64,
    /// What the camera is worth now: more than was given means that the machine has not time for it.
    pub fps_asked: f64,
    /// Means over the last [`RECENT`] looks.
    pub preprocess_ms: f64,
    pub inference_ms: f64,
    pub inference_ms_p95: f64,
    pub decode_ms: f64,
    /// Boxes published since the start.
    pub detections: u64,
    /// Confirmed tracks now.
    pub tracks: usize,
    pub events_open: usize,
    pub events_total: u64,
    /// Pictures the media worker had no room for, however often they were offered.
    pub pictures_missed: u64,
    /// Frames that could not be analysed.
    pub errors: u64,
}

/// So many looks are kept for means and percentiles.
const RECENT: usize = 256;
const FPS_WINDOW: Duration = Duration::from_secs(10);
/// An error that repeats is told no more often than this.
const TELL_ERROR_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Tally {
    recent: VecDeque<(Duration, LookTiming)>,
    started: Option<Duration>,
    last_frame: Option<Duration>,
    last_error: Option<Duration>,
    frames_analysed: u64,
    detections: u64,
    tracks: usize,
    events_open: usize,
    events_total: u64,
    pictures_missed: u64,
    errors: u64,
}

impl Tally {
    pub(super) fn looked(
        &mut self,
        now: Duration,
        look: &Look,
        findings: &Findings,
        watch: &Watch,
    ) {
        self.started.get_or_insert(now);
        self.last_frame = Some(now);
        self.frames_analysed += 1;
        self.detections += findings.boxes.len() as u64;
        self.tracks = findings
            .tracks
            .iter()
            .filter(|track| track.confirmed)
            .count();
        self.recent.push_back((now, look.timing));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.events(watch);
    }

    pub(super) fn events(&mut self, watch: &Watch) {
        self.events_open = watch.events_open();
        self.events_total = watch.events_total();
    }

    pub(super) fn missed_picture(&mut self) {
        self.pictures_missed += 1;
    }

    /// Counts a frame that could not be analysed; says whether to log it.
    pub(super) fn failed(&mut self, now: Duration) -> bool {
        self.errors += 1;
        self.last_frame = Some(now);
        let tell = self
            .last_error
            .is_none_or(|last| now.saturating_sub(last) >= TELL_ERROR_EVERY);
        if tell {
            self.last_error = Some(now);
        }
        tell
    }

    pub(super) fn since_last_frame(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_frame.unwrap_or_default())
    }

    pub(super) fn stats(
        &self,
        camera: CameraId,
        now: Duration,
        fps_asked: f64,
    ) -> CameraVisionStats {
        let mean = |part: fn(&LookTiming) -> Duration| {
            let sum: Duration = self.recent.iter().map(|(_, timing)| part(timing)).sum();
            milliseconds(sum) / self.recent.len().max(1) as f64
        };
        CameraVisionStats {
            camera,
            frames_analysed: self.frames_analysed,
            fps_analysed: self.fps(now),
            fps_asked,
            preprocess_ms: mean(|timing| timing.preprocess),
            inference_ms: mean(|timing| timing.inference),
            inference_ms_p95: self.inference_ms_p95(),
            decode_ms: mean(|timing| timing.decode),
            detections: self.detections,
            tracks: self.tracks,
            events_open: self.events_open,
            events_total: self.events_total,
            pictures_missed: self.pictures_missed,
            errors: self.errors,
        }
    }

    fn fps(&self, now: Duration) -> f64 {
        let in_window = |at: &Duration| now.saturating_sub(*at) < FPS_WINDOW;
        let looks: Vec<Duration> = self
            .recent
            .iter()
            .map(|(at, _)| *at)
            .filter(in_window)
            .collect();
        // At more than RECENT looks in ten seconds the window is what is kept.
        let full = self.recent.len() == RECENT && looks.len() == RECENT;
        let running = now.saturating_sub(self.started.unwrap_or(now));
        let span = match looks.first() {
            Some(first) if full => now.saturating_sub(*first),
            _ => running.min(FPS_WINDOW),
        };
        if span < Duration::from_millis(500) {
            return 0.0;
        }
        looks.len() as f64 / span.as_secs_f64()
    }

    fn inference_ms_p95(&self) -> f64 {
        let mut sorted: Vec<Duration> = self
            .recent
            .iter()
            .map(|(_, timing)| timing.inference)
            .collect();
        sorted.sort_unstable();
        let index = (sorted.len() * 95 / 100).min(sorted.len().saturating_sub(1));
        sorted
            .get(index)
            .copied()
            .map(milliseconds)
            .unwrap_or_default()
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
