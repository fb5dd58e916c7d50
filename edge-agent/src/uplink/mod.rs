//! The delivering side: takes from the spool, sends, and lets go only of what a receipt or a 2xx answers.
//!
//! Pull, not push: a commit only wakes the uplink, which decides itself what to lease. Live records and backlog
//! alternate, records come before pictures. MQTT carries records while it can be reached; otherwise HTTPS does,
//! and MQTT is tried again beside it. Sending twice is boring: whatever is in doubt is sent again.

pub mod backoff;
mod commands;
mod credentials;
mod deliver;
mod floor;
pub mod https;
mod media;
mod mqtt;
mod network;
mod pace;
mod renewal;
mod status;
#[cfg(test)]
mod tests;
pub mod tls;

pub use floor::{FlooredTime, TimeFloor};
pub use mqtt::address_in_words;
pub use renewal::Renewal;
pub use status::{Carriage, UplinkStatus, UplinkWatch};

use crate::clock::TimeSource;
use crate::config::UplinkConfig;
use crate::error::{ErrorKind, Kind};
use crate::health::{Health, Reporter};
use crate::identity::Enrollment;
use crate::spool::SpoolHandle;
use commands::Commands;
use credentials::Credentials;
use https::{DeviceClient, HttpsError};
use pace::Pace;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tls::TlsError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::DeviceId;
use wire::command::{Command, SignedCommand};
use wire::heartbeat::Heartbeat;

/// Blobs on their way at a time.
const BLOB_WORKERS: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Https(#[from] HttpsError),
}

impl Kind for UplinkError {
    fn kind(&self) -> ErrorKind {
        match self {
            UplinkError::Tls(error) => error.kind(),
            UplinkError::Https(error) => error.kind(),
        }
    }
}

/// Says what the device says about itself; the argument is the carriage it goes by.
pub type HeartbeatSource = Arc<dyn Fn(Carriage) -> Heartbeat + Send + Sync>;

/// What the uplink is built from.
pub struct UplinkParts {
    pub spool: SpoolHandle,
    pub device_id: DeviceId,
    pub enrollment: Enrollment,
    /// Where renewed certificates and the ids of commands are kept.
    pub data_dir: PathBuf,
    pub config: UplinkConfig,
    pub heartbeat: HeartbeatSource,
    pub time: TimeSource,
    pub floor: TimeFloor,
    pub health: Health,
    /// Once cancelled, what is pending is offered for a few seconds more; the spool has to live that long.
    pub stop: CancellationToken,
}

impl fmt::Debug for UplinkParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UplinkParts({}, {:?})", self.device_id, self.enrollment)
    }
}

/// The running uplink.
#[derive(Debug)]
pub struct Uplink {
    courier: Arc<Courier>,
    renewal: Renewal,
    tasks: Vec<JoinHandle<()>>,
}

impl Uplink {
    /// Starts delivering. Verified commands come out of the channel; whoever executes them answers each with an
    /// audit record. What is refused here is recorded here.
    pub fn start(parts: UplinkParts) -> Result<(Self, mpsc::Receiver<Command>), UplinkError> {
        let now = parts.time.clocks().boottime();
        let (queue, orders) = mpsc::channel(commands::QUEUE);
        let watch = UplinkWatch::new(now);
        let (heard, to_check) = mpsc::channel(commands::QUEUE);
        let courier = Arc::new(Courier::new(parts, watch, queue, heard)?);
        let (renewal, requests) = Renewal::new();
        let mut tasks = vec![
            tokio::spawn(deliver::run(courier.clone())),
            tokio::spawn(commands::run(courier.clone(), to_check)),
            tokio::spawn(renewal::run(courier.clone(), requests)),
        ];
        for _ in 0..BLOB_WORKERS {
            tasks.push(tokio::spawn(media::run(courier.clone())));
        }
        let uplink = Self {
            courier,
            renewal,
            tasks,
        };
        Ok((uplink, orders))
    }

    /// For `status` and the heartbeat. Cheap to clone.
    pub fn watch(&self) -> UplinkWatch {
        self.courier.watch.clone()
    }

    /// By which the certificate can be renewed before its time. Cheap to clone.
    pub fn renewal(&self) -> Renewal {
        self.renewal.clone()
    }

    /// Takes up what `enroll` gave, if it is not what is in use already. Says whether it was news.
    pub fn adopt(&self, enrollment: Enrollment) -> Result<bool, UplinkError> {
        let is_news = self.is_news(&enrollment);
        if is_news {
            self.courier.adopt(enrollment)?;
        }
        Ok(is_news)
    }

    /// Whether it is another one than is in use.
    pub fn is_news(&self, enrollment: &Enrollment) -> bool {
        self.courier.credentials.borrow().enrollment.fingerprint() != enrollment.fingerprint()
    }

    /// Waits for the end after the stop was given; at most some seconds. Close the spool afterwards.
    pub async fn join(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "an uplink task ended badly: {error}");
            }
        }
    }
}

/// What all tasks of the uplink share.
#[derive(Debug)]
struct Courier {
    spool: SpoolHandle,
    device: DeviceId,
    data_dir: PathBuf,
    credentials: watch::Sender<Arc<Credentials>>,
    pace: Arc<Pace>,
    config: UplinkConfig,
    heartbeat: DebugHeartbeat,
    time: TimeSource,
    verified_time: FlooredTime,
    watch: UplinkWatch,
    commands: Commands,
    heard_commands: mpsc::Sender<SignedCommand>,
    spool_answers: AtomicBool,
    records_reporter: Reporter,
    media_reporter: Reporter,
    stop: CancellationToken,
}

/// A closure has no `Debug` of its own.
struct DebugHeartbeat(HeartbeatSource);

impl fmt::Debug for DebugHeartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeartbeatSource")
    }
}

impl Courier {
    fn new(
        parts: UplinkParts,
        watch: UplinkWatch,
        queue: mpsc::Sender<Command>,
        heard_commands: mpsc::Sender<SignedCommand>,
    ) -> Result<Self, UplinkError> {
        let UplinkParts {
            spool,
            device_id,
            enrollment,
            data_dir,
            config,
            heartbeat,
            time,
            floor,
            health,
            stop,
        } = parts;
        let verified_time = FlooredTime::new(time.clone(), floor);
        let credentials = Credentials::new(device_id, enrollment, &verified_time)?;
        Ok(Self {
            credentials: watch::Sender::new(Arc::new(credentials)),
            pace: Arc::default(),
            commands: Commands::new(device_id, &data_dir, time.clone(), spool.clone(), queue),
            heard_commands,
            spool_answers: AtomicBool::new(true),
            records_reporter: health.unit("uplink-records"),
            media_reporter: health.unit("uplink-media"),
            spool,
            device: device_id,
            data_dir,
            config,
            heartbeat: DebugHeartbeat(heartbeat),
            time,
            verified_time,
            watch,
            stop,
        })
    }

    /// With the credentials of now.
    fn https(&self) -> DeviceClient {
        self.credentials.borrow().https.clone()
    }

    /// Whoever connects from now on uses these.
    fn adopt(&self, enrollment: Enrollment) -> Result<(), UplinkError> {
        let credentials = Credentials::new(self.device, enrollment, &self.verified_time)?;
        self.credentials.send_replace(Arc::new(credentials));
        Ok(())
    }
}
