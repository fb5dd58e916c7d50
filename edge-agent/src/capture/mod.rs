//! Cameras in, frames out.
//!
//! Each camera has a thread of its own and two pipelines: one that receives encoded pictures, and one that decodes
//! them, borrowed only while somebody wants to see something. Between them lies a ring of what came last. Cameras
//! share nothing that one of them could block: a dead, wrong or changing camera is its own problem, and it is tried
//! again for ever.

mod address;
mod arrivals;
mod backoff;
mod camera;
mod decoders;
mod decoding;
pub mod error;
pub(crate) mod eyes;
pub mod gate;
mod gop;
pub mod gst;
pub mod h264;
mod intake;
pub mod latest;
pub mod lookout;
pub mod replay;
mod status;
mod turns;

pub use backoff::RetryPolicy;
pub use decoders::Decoders;
pub use error::{CaptureError, Failure, Reason};
pub use gate::{AtMost, GateConfig, GateMode, GateReport};
pub use gop::Codec;
pub use status::{CameraChange, CameraState, CameraStatus};

use crate::clock::TimeSource;
use crate::config::CameraConfig;
use crate::health::Health;
use address::Address;
use camera::CameraThread;
use eyes::Eyes;
use gate::Gate;
use intake::Intake;
use latest::Wakeup;
use lookout::Lookout;
use status::StatusBoard;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use wire::CameraId;

/// Encoded pictures kept of one camera: about 15 s at 4 Mbit/s.
pub const DEFAULT_RING_BYTES: usize = 8 << 20;

/// A camera's thread that has not ended by then hangs in a foreign library; it is left behind.
const STOP_AT_MOST: Duration = Duration::from_secs(5);

/// What a camera needs from the rest of the agent. Cloned for each.
#[derive(Clone, Debug)]
pub struct CaptureDeps {
    /// Rung whenever a frame is put into any slot.
    pub wakeup: Arc<Wakeup>,
    pub time: TimeSource,
    pub health: Health,
    /// Shared by all cameras.
    pub decoders: Arc<Decoders>,
    /// Bounded; when it is full, a camera keeps its newest change and passes it on when there is room.
    pub changes: tokio::sync::mpsc::Sender<CameraChange>,
    pub policy: RetryPolicy,
    /// Bound of each camera's ring of encoded pictures.
    pub ring_bytes: usize,
    pub gate: GateConfig,
}

/// Checks that GStreamer and all of its elements that cameras need are installed; a missing one is named together
/// with its Debian package.
pub fn check() -> Result<(), CaptureError> {
    gst::check_plugins()
}

/// Starts a camera. An error here needs a person; whatever goes wrong later is in `status` and is tried again.
pub fn start(config: &CameraConfig, deps: CaptureDeps) -> Result<CaptureHandle, CaptureError> {
    let lookout = Arc::new(Lookout::new(Arc::clone(&deps.wakeup)));
    start_into(config, deps, lookout)
}

/// The same, with glimpses shown in `lookout`, which rings `deps.wakeup`.
pub fn start_into(
    config: &CameraConfig,
    deps: CaptureDeps,
    lookout: Arc<Lookout>,
) -> Result<CaptureHandle, CaptureError> {
    check()?;
    let address = Address::of(config)?;
    gst::receive::check_trust(config, &address)?;
    let now = deps.time.now();
    let intake = Arc::new(Intake::new(deps.ring_bytes));
    let board = Arc::new(StatusBoard::new(config.id, config.name.clone(), now));
    let time = deps.time.clone();
    lookout.on_answer({
        let intake = Arc::downgrade(&intake);
        move || {
            if let Some(intake) = intake.upgrade() {
                intake.ring_bell();
            }
        }
    });
    let eyes = Arc::new(Eyes::new(&config.motion_masks));
    let gate = Gate::new(deps.gate);
    let reporter = deps.health.unit(format!("cap-{}", config.name));
    let camera = CameraThread {
        config: config.clone(),
        address,
        deps,
        intake: Arc::clone(&intake),
        board: Arc::clone(&board),
        lookout: Arc::clone(&lookout),
        eyes,
        gate,
        format: None,
        reporter,
        untold: None,
        complained: None,
    };
    let thread = std::thread::Builder::new()
        .name(thread_name(config.id))
        .spawn(move || camera.run())
        .map_err(|error| CaptureError::Thread {
            camera: config.name.clone(),
            problem: error.to_string(),
        })?;
    Ok(CaptureHandle {
        camera: config.id,
        lookout,
        intake,
        board,
        time,
        thread: Some(thread),
    })
}

/// A camera that is being watched. Dropping it stops the camera and waits until nothing of it is left.
#[derive(Debug)]
pub struct CaptureHandle {
    pub camera: CameraId,
    /// The newest glimpse: what is not taken in time is overwritten, and counted there.
    pub lookout: Arc<Lookout>,
    intake: Arc<Intake>,
    board: Arc<StatusBoard>,
    time: TimeSource,
    thread: Option<JoinHandle<()>>,
}

impl CaptureHandle {
    pub fn status(&self) -> CameraStatus {
        self.board.read(&self.time.now(), self.intake.ring_bytes())
    }

    /// Tells the camera to stop and returns at once: stop all, then drop all, and they end side by side.
    pub fn stop(&self) {
        self.intake.stop();
    }
}

impl Drop for CaptureHandle {
    fn drop(&mut self) {
        self.intake.stop();
        if !self.intake.wait_done(STOP_AT_MOST) {
            tracing::error!(camera.id = %self.camera, "camera {} does not stop; it is left behind", self.camera);
            return;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Linux shows 15 letters of a thread's name.
fn thread_name(camera: CameraId) -> String {
    let id = camera.to_string();
    format!("cap-{}", &id[id.len().saturating_sub(8)..])
}
