//! The configured cameras: started independently, read together, stopped side by side.

use crate::capture::lookout::Lookout;
use crate::capture::{self, CameraChange, CaptureDeps, CaptureError, CaptureHandle};
use crate::clock::{TimeSource, utc_of};
use crate::config::CameraConfig;
use crate::control::report::{CameraLine, GateLine};
use crate::error::{ErrorKind, Kind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use wire::heartbeat::CameraReport;
use wire::record::CameraStateRecord;
use wire::{Body, Record};

/// State of a camera that could not even be tried, in this box's own words.
const FAILED: &str = "failed";
/// The same in the words that receivers know: state and reason.
const UNREACHED: (&str, &str) = ("retrying", "connect");

/// What became of one configured camera.
#[derive(Debug)]
enum Started {
    Disabled,
    /// A person has to put something right; the other cameras run.
    Failed(String),
    Watched(CaptureHandle),
}

#[derive(Debug)]
struct Camera {
    config: CameraConfig,
    /// Where it shows its newest picture, however late it can be started.
    lookout: Arc<Lookout>,
    started: Started,
    /// By the boot clock.
    started_at: Duration,
}

/// All cameras of the configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Cameras {
    all: Arc<Mutex<Vec<Camera>>>,
    time: TimeSource,
}

impl Cameras {
    pub(super) fn start(configs: &[CameraConfig], deps: &CaptureDeps) -> Self {
        let now = deps.time.clocks().boottime();
        let all = configs
            .iter()
            .map(|config| {
                let lookout = Arc::new(Lookout::new(deps.wakeup.clone()));
                Camera {
                    config: config.clone(),
                    started: start_one(config, deps, &lookout),
                    lookout,
                    started_at: now,
                }
            })
            .collect();
        Self {
            all: Arc::new(Mutex::new(all)),
            time: deps.time.clone(),
        }
    }

    /// Tries again what could not be started. Blocks for a moment.
    pub(super) fn retry_failed(&self, deps: &CaptureDeps) {
        for camera in self.lock().iter_mut() {
            if let Started::Failed(before) = &camera.started {
                match capture::start_into(&camera.config, deps.clone(), camera.lookout.clone()) {
                    Ok(handle) => {
                        tracing::info!(camera.id = %camera.config.id, "camera \"{}\" can be watched now", camera.config.name);
                        camera.started = Started::Watched(handle);
                    }
                    Err(error) if *before == failure_words(&error) => {}
                    Err(error) => camera.started = failed(&camera.config, &error),
                }
            }
        }
    }

    /// Cameras that are watched or will be, with the window in which each shows what it sees.
    pub(super) fn lookouts(&self) -> Vec<(CameraConfig, Arc<Lookout>)> {
        self.lock()
            .iter()
            .filter(|camera| !matches!(camera.started, Started::Disabled))
            .map(|camera| (camera.config.clone(), camera.lookout.clone()))
            .collect()
    }

    /// A record of each camera that could not even be tried: the customer must see that it is dead.
    pub(super) fn failure_records(&self, time: &TimeSource) -> Vec<Record> {
        self.lock()
            .iter()
            .filter(|camera| matches!(camera.started, Started::Failed(_)))
            .map(|camera| {
                let body = Body::CameraState(CameraStateRecord {
                    camera: camera.config.id,
                    name: camera.config.name.clone(),
                    state: UNREACHED.0.into(),
                    reason: Some(UNREACHED.1.into()),
                    width: None,
                    height: None,
                    codec: None,
                });
                Record::new(time.now(), body)
            })
            .collect()
    }

    /// One line each, without what vision knows.
    pub(super) fn lines(&self) -> Vec<CameraLine> {
        let all = self.lock();
        all.iter().map(|camera| self.line(camera)).collect()
    }

    /// Stops all and waits until nothing of them is left; a few seconds at most. Blocks.
    pub(super) fn stop(&self) {
        let all = std::mem::take(&mut *self.lock());
        for camera in &all {
            if let Started::Watched(handle) = &camera.started {
                handle.stop();
            }
        }
        drop(all);
    }

    fn line(&self, camera: &Camera) -> CameraLine {
        let mut line = CameraLine {
            camera: camera.config.id,
            name: camera.config.name.clone(),
            state: "disabled".into(),
            reason: None,
            since_us: utc_of(self.time.clocks(), camera.started_at),
            last_error: None,
            width: None,
            height: None,
            codec: None,
            fps_in: 0.0,
            fps_decoded: 0.0,
            fps_analysed: 0.0,
            fps_asked: 0.0,
            gate: GateLine::default(),
            frames_in: 0,
            frames_decoded: 0,
            frames_analysed: 0,
            detections: 0,
            frames_overwritten: 0,
            reconnects: 0,
            ring_bytes: 0,
            inference_ms_mean: None,
            inference_ms_p95: None,
            events_open: 0,
            events_total: 0,
            pictures_missed: 0,
            analysis_errors: 0,
        };
        match &camera.started {
            Started::Disabled => {}
            Started::Failed(error) => {
                line.state = FAILED.into();
                line.last_error = Some(error.clone());
            }
            Started::Watched(handle) => {
                let status = handle.status();
                line.state = status.state.as_str().into();
                line.reason = status.reason.map(|reason| reason.as_str().into());
                line.since_us = status.since_us;
                line.last_error = status.last_error;
                line.width = status.width;
                line.height = status.height;
                line.codec = status.codec.map(|codec| codec.as_str().into());
                line.fps_in = status.fps_in;
                line.fps_decoded = status.fps_decoded;
                line.frames_in = status.frames_in;
                line.frames_decoded = status.frames_decoded;
                line.frames_overwritten = handle.lookout.overwritten() + status.frames_skipped;
                line.reconnects = status.reconnects;
                line.ring_bytes = status.ring_bytes;
                line.gate = GateLine {
                    mode: status.gate.mode.as_str().into(),
                    why: status.gate.why,
                    active: status.gate.active,
                    triggers: status.gate.triggers,
                    frames_caught_up: status.frames_caught_up,
                    turns_asked: status.turns_asked,
                    turns_given: status.turns_given,
                };
            }
        }
        line
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Camera>> {
        self.all
            .lock()
            .expect("cameras are only looked at under the lock")
    }
}

fn start_one(config: &CameraConfig, deps: &CaptureDeps, lookout: &Arc<Lookout>) -> Started {
    if !config.enabled {
        return Started::Disabled;
    }
    match capture::start_into(config, deps.clone(), lookout.clone()) {
        Ok(handle) => Started::Watched(handle),
        Err(error) => failed(config, &error),
    }
}

fn failed(config: &CameraConfig, error: &CaptureError) -> Started {
    tracing::error!(camera.id = %config.id, "camera \"{}\" is not watched: {error}", config.name);
    Started::Failed(failure_words(error))
}

fn failure_words(error: &CaptureError) -> String {
    let state = if error.kind() == ErrorKind::Config {
        "put this right; it is tried again every 15 s"
    } else {
        "it is tried again every 15 s"
    };
    format!("{error}; {state}")
}

/// What the heartbeat says of a camera.
pub(super) fn report(line: &CameraLine) -> CameraReport {
    let (state, reason) = if line.state == FAILED {
        (UNREACHED.0.into(), Some(UNREACHED.1.into()))
    } else {
        (line.state.clone(), line.reason.clone())
    };
    CameraReport {
        camera: line.camera,
        state,
        reason,
        since_us: line.since_us,
        frames_per_second_in: line.fps_in,
        frames_per_second_analysed: line.fps_analysed,
    }
}

/// The record of a change, stamped with when it happened and not with when it is written.
pub(super) fn record_of(change: CameraChange) -> Record {
    let body = Body::CameraState(CameraStateRecord {
        camera: change.camera,
        name: change.name,
        state: change.state.as_str().into(),
        reason: change.reason.map(|reason| reason.as_str().into()),
        width: change.width,
        height: change.height,
        codec: change.codec.map(|codec| codec.as_str().into()),
    });
    Record::new(change.at, body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::capture::{Decoders, RetryPolicy};
    use crate::clock::RealClocks;
    use crate::health::Health;

    #[test]
    fn a_camera_whose_ca_file_comes_later_is_watched_then() {
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        let mut config: CameraConfig = toml::from_str(
            "id = \"00000000-0000-0000-0000-000000000001\"\nname = \"gate\"\nurl = \"rtsps://127.0.0.1:9/x\"",
        )
        .unwrap();
        config.ca_file = Some(ca_file.clone());
        let (changes, _) = tokio::sync::mpsc::channel(1);
        let time = TimeSource::new(Arc::new(RealClocks::new()));
        let deps = CaptureDeps {
            wakeup: Arc::default(),
            time: time.clone(),
            health: Health::default(),
            decoders: Arc::new(Decoders::new()),
            changes,
            policy: RetryPolicy::default(),
            ring_bytes: 1 << 20,
            gate: crate::capture::GateConfig::default(),
        };
        let cameras = Cameras::start(&[config], &deps);
        cameras.retry_failed(&deps);
        let line = &cameras.lines()[0];
        assert_eq!(line.state, FAILED);
        let words = line.last_error.clone().unwrap();
        assert!(
            words.contains("ca.pem") && words.contains("tried again"),
            "{words}"
        );
        assert_eq!(cameras.lookouts().len(), 1, "vision waits for its frames");
        assert_eq!(cameras.failure_records(&time).len(), 1);

        let certificate = rcgen::generate_simple_self_signed(["gate".to_owned()]).unwrap();
        std::fs::write(&ca_file, certificate.cert.pem()).unwrap();
        cameras.retry_failed(&deps);
        assert_ne!(cameras.lines()[0].state, FAILED);
        cameras.stop();
    }
}
