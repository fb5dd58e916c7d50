//! What the running agent can say about itself, put together from what its parts say: the status and the heartbeat.

use super::cameras::{self, Cameras};
use crate::capture::gst::choice;
use crate::clock::{TimeSource, utc_of};
use crate::control::StatusReport;
use crate::control::report::{CameraLine, DecoderLine, EnrollmentReport, SpoolLine, UplinkLine};
use crate::diagnostics::Diagnostics;
use crate::health::Health;
use crate::identity::Enrollment;
use crate::identity::certificate::Validity;
use crate::ntp::ClockStatus;
use crate::spool::SpoolHandle;
use crate::uplink::{Carriage, UplinkWatch};
use crate::vision::Vision;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::DeviceId;
use wire::heartbeat::Heartbeat;

/// How long the status waits for the spool's count; without it, it says zero lost rather than nothing at all.
const SHED_PATIENCE: Duration = Duration::from_secs(1);

/// Where records go, as far as this start of the agent knows.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    /// Turned off in the configuration.
    Disabled,
    /// No enrollment yet.
    NotEnrolled,
    /// The enrollment cannot be used, and why.
    Unusable(String),
    Running {
        watch: UplinkWatch,
        enrollment: Box<EnrollmentReport>,
    },
}

pub(super) fn enrollment_report(enrollment: &Enrollment) -> Box<EnrollmentReport> {
    Box::new(EnrollmentReport {
        contract: enrollment.contract_name.clone(),
        site: enrollment.site_name.clone(),
        receiver: enrollment.device_url.to_string(),
        certificate_until_us: Validity::of(&enrollment.certificate_pem)
            .map(|validity| validity.until_us),
    })
}

fn decoder_line(chosen: choice::Chosen) -> DecoderLine {
    DecoderLine {
        codec: chosen.codec,
        feed: chosen.feed,
        element: chosen.element,
        hardware: chosen.hardware,
        why: chosen.why,
    }
}

/// Reads all parts. Shared by the control socket and the uplink.
pub(super) struct View {
    pub(super) device: DeviceId,
    pub(super) config_file: String,
    pub(super) model: String,
    /// What runs it.
    pub(super) provider: String,
    pub(super) quota_bytes: u64,
    pub(super) started_boottime: Duration,
    pub(super) time: TimeSource,
    pub(super) health: Health,
    pub(super) cameras: Cameras,
    pub(super) vision: Arc<Vision>,
    pub(super) spool: SpoolHandle,
    pub(super) clock: ClockStatus,
    pub(super) delivery: Mutex<Delivery>,
    pub(super) diagnostics: Diagnostics,
}

impl View {
    pub(super) fn set_delivery(&self, delivery: Delivery) {
        *self.delivery.lock().expect("only moved under the lock") = delivery;
    }

    fn delivery(&self) -> Delivery {
        self.delivery
            .lock()
            .expect("only copied under the lock")
            .clone()
    }

    fn uptime_seconds(&self) -> u64 {
        (self.time.clocks().boottime() - self.started_boottime).as_secs()
    }

    /// Blocks for a moment: call it on a thread that may wait.
    pub(super) fn report(&self, runtime: &tokio::runtime::Handle) -> StatusReport {
        let delivery = self.delivery();
        let cameras = self.camera_lines();
        let pictures_missed = cameras.iter().map(|line| line.pictures_missed).sum();
        StatusReport {
            version: env!("CARGO_PKG_VERSION").into(),
            device: self.device,
            now_us: self.time.clocks().utc(),
            started_at_us: utc_of(self.time.clocks(), self.started_boottime),
            uptime_seconds: self.uptime_seconds(),
            config_file: self.config_file.clone(),
            model: self.model.clone(),
            provider: self.provider.clone(),
            decoders: choice::chosen().into_iter().map(decoder_line).collect(),
            enrollment: match &delivery {
                Delivery::Running { enrollment, .. } => Some((**enrollment).clone()),
                _ => None,
            },
            cameras,
            spool: SpoolLine {
                pictures_missed,
                ..self.spool_line(runtime)
            },
            uplink: self.uplink_line(&delivery),
            clock: self.clock.report(),
            units: self.health.snapshot(),
        }
    }

    pub(super) fn heartbeat(&self, carriage: Carriage) -> Heartbeat {
        let clock = self.clock.report();
        Heartbeat {
            sent_at_us: self.time.clocks().utc(),
            epoch: self.spool.epoch(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.uptime_seconds(),
            clock: self.time.stamp(),
            clock_checked_seconds_ago: clock.agreed_seconds_ago,
            spool: self.spool.stats().report(),
            carriage: carriage.as_str().into(),
            cameras: self
                .camera_lines()
                .iter()
                .filter(|line| line.state != "disabled")
                .map(cameras::report)
                .collect(),
        }
    }

    fn camera_lines(&self) -> Vec<CameraLine> {
        let seen = self.vision.stats();
        let mut lines = self.cameras.lines();
        for line in &mut lines {
            let Some(stats) = seen.iter().find(|stats| stats.camera == line.camera) else {
                continue;
            };
            line.fps_analysed = stats.fps_analysed as f32;
            line.fps_asked = stats.fps_asked as f32;
            line.frames_analysed = stats.frames_analysed;
            line.detections = stats.detections;
            if stats.frames_analysed > 0 {
                line.inference_ms_mean = Some(stats.inference_ms as f32);
                line.inference_ms_p95 = Some(stats.inference_ms_p95 as f32);
            }
            line.events_open = stats.events_open as u64;
            line.events_total = stats.events_total;
            line.pictures_missed = stats.pictures_missed;
            line.analysis_errors = stats.errors;
        }
        lines
    }

    fn spool_line(&self, runtime: &tokio::runtime::Handle) -> SpoolLine {
        let stats = self.spool.stats();
        let shed = runtime.block_on(tokio::time::timeout(
            SHED_PATIENCE,
            self.spool.shed_in_all(),
        ));
        SpoolLine {
            pending_records: stats.pending_records,
            pending_blobs: stats.pending_blobs,
            bytes: stats.report().bytes,
            quota_bytes: self.quota_bytes,
            oldest_pending_us: stats.oldest_pending_us,
            parked_records: stats.parked_records,
            shed: shed.ok().and_then(Result::ok).unwrap_or(0),
            pictures_missed: 0,
        }
    }

    fn uplink_line(&self, delivery: &Delivery) -> UplinkLine {
        let at = |then| utc_of(self.time.clocks(), then);
        let idle = |carriage: &str, last_error: Option<String>| UplinkLine {
            carriage: carriage.into(),
            since_us: at(self.started_boottime),
            last_error,
            batches_sent: 0,
            blobs_sent: 0,
            receipts: 0,
            last_receipt_us: None,
        };
        match delivery {
            Delivery::Disabled => idle("disabled", None),
            Delivery::NotEnrolled => idle("not enrolled", None),
            Delivery::Unusable(why) => idle("offline", Some(why.clone())),
            Delivery::Running { watch, .. } => {
                let status = watch.status();
                UplinkLine {
                    carriage: status.carriage.as_str().into(),
                    since_us: at(status.since),
                    last_error: status.last_error,
                    batches_sent: status.batches_sent,
                    blobs_sent: status.blobs_sent,
                    receipts: status.receipts,
                    last_receipt_us: status.last_receipt.map(at),
                }
            }
        }
    }
}
