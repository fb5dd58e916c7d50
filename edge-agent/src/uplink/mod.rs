//! The delivering side: takes from the spool, sends, and lets go only of what a receipt or a 2xx answers.
//!
//! Pull, not push: a commit only wakes the uplink, which decides itself what to lease. Live records and backlog
//! alternate, records come before pictures. MQTT carries records while it can be reached; otherwise HTTPS does,
//! and MQTT is tried again beside it. Sending twice is boring: whatever is in doubt is sent again.

pub mod backoff;
mod commands;
mod deliver;
mod floor;
pub mod https;
mod media;
mod mqtt;
mod status;
#[cfg(test)]
mod tests;
pub mod tls;

pub use floor::{FlooredTime, TimeFloor};
pub use status::{Carriage, UplinkStatus, UplinkWatch};

use crate::clock::TimeSource;
use crate::config::UplinkConfig;
use crate::error::{ErrorKind, Kind};
use crate::health::{Health, Reporter};
use crate::identity::Enrollment;
use crate::spool::SpoolHandle;
use commands::Commands;
use https::{DeviceClient, HttpsError};
use std::fmt;
use std::sync::Arc;
use tls::TlsError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::DeviceId;
use wire::command::Command;
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
    watch: UplinkWatch,
    tasks: Vec<JoinHandle<()>>,
}

impl Uplink {
    /// Starts delivering. Verified commands come out of the channel; whoever executes them answers each with an
    /// audit record. What is refused here is recorded here.
    pub fn start(parts: UplinkParts) -> Result<(Self, mpsc::Receiver<Command>), UplinkError> {
        let now = parts.time.now().captured_at_us;
        let (queue, orders) = mpsc::channel(commands::QUEUE);
        let watch = UplinkWatch::new(now);
        let courier = Arc::new(Courier::new(parts, watch.clone(), queue)?);
        let mut tasks = vec![tokio::spawn(deliver::run(courier.clone()))];
        for _ in 0..BLOB_WORKERS {
            tasks.push(tokio::spawn(media::run(courier.clone())));
        }
        Ok((Self { watch, tasks }, orders))
    }

    /// For `status` and the heartbeat. Cheap to clone.
    pub fn watch(&self) -> UplinkWatch {
        self.watch.clone()
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
    https: DeviceClient,
    target: mqtt::Target,
    config: UplinkConfig,
    heartbeat: DebugHeartbeat,
    time: TimeSource,
    verified_time: FlooredTime,
    floor: TimeFloor,
    watch: UplinkWatch,
    commands: Commands,
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
    ) -> Result<Self, UplinkError> {
        let UplinkParts {
            spool,
            device_id,
            enrollment,
            config,
            heartbeat,
            time,
            floor,
            health,
            stop,
        } = parts;
        let verified_time = FlooredTime::new(time.clone(), floor.clone());
        let for_https = tls::device_config(&enrollment, verified_time.clone(), tls::HTTP_ALPN)?;
        let for_mqtt = tls::device_config(&enrollment, verified_time.clone(), &[])?;
        let now = time.now().captured_at_us;
        Ok(Self {
            https: DeviceClient::new(for_https, enrollment.device_url.clone())?,
            target: mqtt::Target {
                host: enrollment.mqtt_host.clone(),
                port: enrollment.mqtt_port,
                device: device_id,
                tls: Arc::new(for_mqtt),
            },
            commands: Commands::new(
                device_id,
                enrollment.command_key,
                time.clone(),
                spool.clone(),
                queue,
            ),
            records_reporter: health.unit("uplink-records", now),
            media_reporter: health.unit("uplink-media", now),
            spool,
            config,
            heartbeat: DebugHeartbeat(heartbeat),
            time,
            verified_time,
            floor,
            watch,
            stop,
        })
    }
}
