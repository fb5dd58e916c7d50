//! The composition root: builds the parts, wires them, starts and stops them in order. The only place where they meet.
//!
//! Each part gets what it needs and fetches nothing. Cameras fill slots, vision empties them, records and pictures go
//! to the spool, and the uplink delivers from there; nothing on the way waits for anything behind the spool.

mod cameras;
mod commands;
mod delivery;
mod handed_on;
mod interrupted;
mod roster;
mod stages;
mod view;
mod watchdog;

use crate::capture::gst::choice;
use crate::capture::{CaptureDeps, DEFAULT_RING_BYTES, Decoders, GateConfig, RetryPolicy};
use crate::clock::{RealClocks, TimeSource};
use crate::config::{Config, GateMode};
use crate::control::{ControlServer, Sources};
use crate::detect::{Detector, OnnxDetector};
use crate::diagnostics::Diagnostics;
use crate::health::Health;
use crate::identity::{Identity, SavedFloor};
use crate::media::{self, MediaWorker};
use crate::ntp::NtpClock;
use crate::sink::Sink;
use crate::spool::{Spool, SpoolHandle, SpoolKeys};
use crate::supervise::Supervisor;
use crate::telemetry::RecentLog;
use crate::uplink::TimeFloor;
use crate::vision::{CameraInput, Outlets, Vision, pace};
use anyhow::{Context, bail};
use cameras::Cameras;
use stages::{Ending, Stage, TaskStage, blocking};
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle as Task;
use tokio_util::sync::CancellationToken;
use view::{Delivery, View};
use wire::record::DeviceStateRecord;
use wire::{Body, Record};

pub use watchdog::notify_systemd;

/// Changes of cameras that wait to be recorded; a camera keeps its newest one while there is no room.
const CAMERA_CHANGES: usize = 64;
/// How long a stopping unit is waited for at most; one that hangs is left behind.
const THREAD_PATIENCE: Duration = Duration::from_secs(3);
/// For the last pictures of events to find room.
const EVENTS_PATIENCE: Duration = Duration::from_secs(2);
/// The uplink offers for five seconds what fits into them.
const UPLINK_PATIENCE: Duration = Duration::from_secs(6);
/// A camera that could not even be tried is tried again so often: what is missing may be put right meanwhile.
const RETRY_CAMERAS_EVERY: Duration = Duration::from_secs(15);

/// A running agent. Stop it with [`Agent::stop`]; dropping it leaves threads behind.
pub struct Agent {
    view: Arc<View>,
    spool: SpoolHandle,
    vision: Stage,
    media: Stage,
    uplink: TaskStage,
    rest: TaskStage,
    time: TimeSource,
    model: String,
    /// Held as long as the agent runs: two agents must not share a spool.
    _lock: std::fs::File,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Agent({})", self.view.device)
    }
}

impl Agent {
    /// Builds and starts everything. An error needs a person; what goes wrong later is in `status` and is tried again.
    /// `recent` is what this process logs.
    pub async fn start(
        config: Config,
        config_file: &Path,
        recent: RecentLog,
    ) -> anyhow::Result<Self> {
        let data_dir = config.device.data_dir.clone();
        let lock = lock_data_dir(&data_dir)?;
        let control = ControlServer::bind(&config.device.control_socket())?;
        let identity = Identity::load_or_create(&data_dir)?;
        let device = identity.device_id;
        let clocks = Arc::new(RealClocks::new());
        let time = TimeSource::new(clocks.clone());
        let health = Health::with_clocks(clocks);
        let rest = Supervisor::new(health.clone(), time.clone(), CancellationToken::new());

        // Before anything is started: a model that is not what it says must not leave half an agent behind.
        let detectors = open_detectors(&config).await?;
        let model = detectors[0].model_name().to_owned();
        let thresholds = detectors[0].thresholds();
        let provider = detectors[0].provider().to_owned();
        choice::set_policy(config.capture.decoder);

        let spool = open_spool(&config, identity, &time, &health).await?;
        spool.set_contract_ended(crate::ended::is_marked(&data_dir));
        let is_wiped = handed_on::wipe_if_owed(&data_dir, &spool).await?;
        let sink: Arc<dyn Sink> = Arc::new(spool.clone());
        record_device_state(&spool, &time, "started", &model, THREAD_PATIENCE).await;
        // Of what another contract's cameras saw the end is nobody's business either.
        if !is_wiped {
            interrupted::end_interrupted(&spool).await?;
        }

        let saved_floor = SavedFloor::load(&Identity::folder(&data_dir));
        let floor = TimeFloor::new(Some(saved_floor.get()));
        let clock = NtpClock::new(
            config.clock.clone(),
            time.clone(),
            sink.clone(),
            rest.reporter("clock"),
            saved_floor.get(),
        );
        let clock_status = clock.status();

        let (media_queue, media_worker) = media::queue(sink.clone());
        let (changes, change_queue) = mpsc::channel(CAMERA_CHANGES);
        let deps = CaptureDeps {
            wakeup: Arc::default(),
            time: time.clone(),
            health: health.clone(),
            decoders: Arc::new(Decoders::new()),
            changes,
            policy: RetryPolicy::default(),
            ring_bytes: DEFAULT_RING_BYTES,
            gate: GateConfig {
                enabled: config.analysis.gate == GateMode::Auto,
                ..GateConfig::default()
            },
        };
        let cameras = Cameras::start(&config.cameras, &deps);
        for record in cameras.failure_records(&time) {
            spool.put_durable(record).await?;
        }
        roster::tell_removals(&data_dir, &config.cameras, &spool, &time).await?;
        let inputs = cameras
            .lookouts()
            .into_iter()
            .map(|(camera, lookout)| CameraInput::new(&camera, &config, lookout))
            .collect();
        let outlets = Outlets {
            sink: sink.clone(),
            media: media_queue.clone(),
        };
        let vision = Arc::new(Vision::new(
            inputs,
            pace(&config.analysis),
            thresholds,
            deps.wakeup.clone(),
            outlets,
            time.clone(),
        ));

        let view = Arc::new(View {
            device,
            config_file: config_file.display().to_string(),
            model: model.clone(),
            provider,
            quota_bytes: config.spool.quota_bytes,
            started_boottime: time.clocks().boottime(),
            time: time.clone(),
            health: health.clone(),
            cameras,
            vision: vision.clone(),
            spool: spool.clone(),
            clock: clock_status,
            delivery: Mutex::new(Delivery::NotEnrolled),
            diagnostics: Diagnostics::of_agent(&config, config_file, recent, time.clocks().utc()),
        });

        let vision_stage = start_vision(&config, detectors, &vision, &health, &time)?;
        let media_stage = start_media(media_worker, &health, &time)?;
        let uplink_stop = CancellationToken::new();
        let uplink = TaskStage {
            tasks: vec![tokio::spawn(delivery::deliver(
                config.clone(),
                view.clone(),
                floor.clone(),
                uplink_stop.clone(),
            ))],
            stop: uplink_stop,
        };
        let tasks = vec![
            start_clock(&rest, clock),
            start_control(&rest, control, view.clone()),
            tokio::spawn(record_camera_changes(change_queue, spool.clone())),
            tokio::spawn(keep_floor(saved_floor, floor, rest.stop.clone())),
            tokio::spawn(retry_cameras(view.cameras.clone(), deps, rest.stop.clone())),
            tokio::spawn(watchdog::run(health, rest.stop.clone())),
        ];
        tracing::info!(
            device.id = %device,
            cameras = config.cameras.len(),
            "agent {} runs with {} cameras and model {model}",
            env!("CARGO_PKG_VERSION"),
            config.cameras.len()
        );
        Ok(Self {
            view,
            spool,
            vision: vision_stage,
            media: media_stage,
            uplink,
            rest: TaskStage {
                stop: rest.stop,
                tasks,
            },
            time,
            model,
            _lock: lock,
        })
    }

    /// Returns, with the reason, if the spool ends by itself. Then nothing is kept any more and the process must end.
    pub async fn spool_died(&self) -> String {
        self.spool.died().await
    }

    /// Stops in the order of the data's way, so that what a part still has reaches the next, and within `budget`
    /// whatever hangs: that is left behind.
    pub async fn stop(self, budget: Duration) {
        let ending = Ending::within(budget);
        let cameras = self.view.cameras.clone();
        blocking("cameras", ending.patience(THREAD_PATIENCE), move || {
            cameras.stop();
        })
        .await;
        self.vision
            .end("vision", ending.patience(THREAD_PATIENCE))
            .await;
        let vision = self.view.vision.clone();
        let patience = ending.patience(EVENTS_PATIENCE);
        blocking("events", patience, move || vision.finish(patience)).await;
        self.media
            .end("media", ending.patience(THREAD_PATIENCE))
            .await;
        let patience = ending.patience(THREAD_PATIENCE);
        record_device_state(&self.spool, &self.time, "stopping", &self.model, patience).await;
        self.uplink
            .end("uplink", ending.patience(UPLINK_PATIENCE))
            .await;
        self.rest
            .end("the rest", ending.patience(THREAD_PATIENCE))
            .await;
        if tokio::time::timeout(ending.left(), self.spool.close())
            .await
            .is_err()
        {
            tracing::error!("the spool did not close in time; what it accepted is safe");
        }
        tracing::info!("agent stopped");
    }
}

fn lock_data_dir(data_dir: &Path) -> anyhow::Result<std::fs::File> {
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("the data folder {} cannot be made", data_dir.display()))?;
    let path = data_dir.join("agent.lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("{} cannot be opened; check its owner", path.display()))?;
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    if rustix::fs::flock(&file, exclusive).is_err() {
        bail!(
            "another agent uses the data folder {}; stop it first",
            data_dir.display()
        );
    }
    Ok(file)
}

/// One for each worker. At least one.
async fn open_detectors(config: &Config) -> anyhow::Result<Vec<OnnxDetector>> {
    let (model, analysis) = (config.model.clone(), config.analysis.clone());
    let opened = tokio::task::spawn_blocking(move || {
        (0..model.workers.max(1))
            .map(|_| OnnxDetector::open(&model, &analysis))
            .collect::<Result<Vec<_>, _>>()
    });
    Ok(opened.await??)
}

async fn open_spool(
    config: &Config,
    identity: Identity,
    time: &TimeSource,
    health: &Health,
) -> anyhow::Result<SpoolHandle> {
    let keys = SpoolKeys {
        device_id: identity.device_id,
        record_key: identity.record_key,
        spool_key: identity.spool_key,
    };
    let dir = config.device.data_dir.join("spool");
    let (config, time, health) = (config.spool.clone(), time.clone(), health.clone());
    let opened =
        tokio::task::spawn_blocking(move || Spool::open(&dir, &config, keys, time, &health));
    Ok(opened.await??)
}

async fn record_device_state(
    spool: &SpoolHandle,
    time: &TimeSource,
    state: &str,
    model: &str,
    patience: Duration,
) {
    let body = Body::DeviceState(DeviceStateRecord {
        state: state.into(),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        model: Some(model.into()),
    });
    let put = spool.put_durable(Record::new(time.now(), body));
    match tokio::time::timeout(patience, put).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "\"{state}\" could not be recorded: {error}"),
        Err(_) => tracing::error!("\"{state}\" could not be recorded: the spool does not answer"),
    }
}

fn start_vision(
    config: &Config,
    detectors: Vec<OnnxDetector>,
    vision: &Arc<Vision>,
    health: &Health,
    time: &TimeSource,
) -> anyhow::Result<Stage> {
    let stop = CancellationToken::new();
    let supervisor = Supervisor::new(health.clone(), time.clone(), stop.clone());
    let mut threads = Vec::new();
    for (index, detector) in detectors.into_iter().enumerate() {
        let (vision, stop) = (vision.clone(), stop.clone());
        let (model, analysis) = (config.model.clone(), config.analysis.clone());
        let mut first = Some(detector);
        let thread = supervisor.thread(&format!("vision-{index}"), move |reporter| {
            // After a panic the session may be in any state: it is made anew.
            let mut detector = match first.take() {
                Some(detector) => detector,
                None => OnnxDetector::open(&model, &analysis)?,
            };
            vision.run_worker(&mut detector, &stop, reporter);
            Ok::<(), crate::detect::DetectError>(())
        });
        threads.push(thread.context("a vision thread cannot be made")?);
    }
    Ok(Stage { stop, threads })
}

fn start_media(worker: MediaWorker, health: &Health, time: &TimeSource) -> anyhow::Result<Stage> {
    let stop = CancellationToken::new();
    let supervisor = Supervisor::new(health.clone(), time.clone(), stop.clone());
    let until = stop.clone();
    let thread = supervisor.thread("media", move |reporter| {
        worker.run(&until, reporter);
        Ok::<(), Infallible>(())
    });
    Ok(Stage {
        stop,
        threads: vec![thread.context("the media thread cannot be made")?],
    })
}

fn start_clock(supervisor: &Supervisor, clock: NtpClock) -> Task<()> {
    let clock = Arc::new(tokio::sync::Mutex::new(clock));
    let stop = supervisor.stop.clone();
    supervisor.task("clock", move |_| {
        let (clock, stop) = (clock.clone(), stop.clone());
        async move {
            clock.lock().await.run(stop).await;
            Ok::<(), Infallible>(())
        }
    })
}

fn start_control(supervisor: &Supervisor, server: ControlServer, view: Arc<View>) -> Task<()> {
    let server = Arc::new(server);
    let stop = supervisor.stop.clone();
    let runtime = tokio::runtime::Handle::current();
    supervisor.task("control", move |_| {
        let (server, stop) = (server.clone(), stop.clone());
        let (view, runtime) = (view.clone(), runtime.clone());
        async move {
            let diagnostics = view.diagnostics.clone();
            let sources = Sources {
                report: Arc::new(move || view.report(&runtime)),
                log: Arc::new(move || diagnostics.recent()),
            };
            server.run(sources, stop).await;
            Ok::<(), Infallible>(())
        }
    })
}

/// Until the last camera is gone.
async fn record_camera_changes(
    mut changes: mpsc::Receiver<crate::capture::CameraChange>,
    spool: SpoolHandle,
) {
    while let Some(change) = changes.recv().await {
        let record = cameras::record_of(change);
        if let Err(error) = spool.put_durable(record).await {
            tracing::error!(%error, "a camera's change could not be recorded: {error}");
        }
    }
}

/// Tries cameras again that could not be started: a file may be there now, a package installed.
async fn retry_cameras(cameras: Cameras, deps: CaptureDeps, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY_CAMERAS_EVERY) => {}
        }
        let (cameras, deps) = (cameras.clone(), deps.clone());
        let retried = tokio::task::spawn_blocking(move || cameras.retry_failed(&deps));
        if retried.await.is_err() {
            tracing::error!("trying cameras again panicked");
        }
    }
}

/// Writes the time floor down when it has risen.
async fn keep_floor(mut saved: SavedFloor, floor: TimeFloor, stop: CancellationToken) {
    let mut changes = floor.changes();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        let risen = *changes.borrow_and_update();
        let written = tokio::task::spawn_blocking(move || {
            let outcome = saved.save(risen);
            (saved, outcome)
        });
        let Ok((kept, outcome)) = written.await else {
            return;
        };
        saved = kept;
        if let Err(error) = outcome {
            tracing::warn!(%error, "the time floor could not be saved: {error}");
        }
    }
}
