//! The Unix socket that the command line asks: one JSON line in, one JSON line out, then it closes.
//!
//! Mode 0660: root and the agent's own group may ask. Nothing that is answered holds a secret.

pub mod report;

pub use report::StatusReport;

use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const MAX_REQUEST_BYTES: u64 = 4096;
/// A status of 64 cameras is below 100 kB.
const MAX_ANSWER_BYTES: u64 = 8 << 20;
const TIMEOUT: Duration = Duration::from_secs(3);
/// Askers at one moment; more wait in the listener's backlog.
const MAX_ASKERS: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
enum Request {
    Status,
    /// The newest lines of its log.
    Log,
    /// From a newer command line.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Status(Box<StatusReport>),
    Log(String),
    Refused(String),
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "no agent is running here (nothing listens on {}); start it with `systemctl start edge-agent`, or see \
         `journalctl -u edge-agent` for why it stopped", .0.display()
    )]
    NotRunning(PathBuf),
    #[error("you may not ask the agent at {}; use sudo or join its group", .0.display())]
    Forbidden(PathBuf),
    #[error("an agent is already running here: it answers on {}; stop it first", .0.display())]
    AlreadyRunning(PathBuf),
    #[error("the agent does not answer on {} within {} s: {cause}", path.display(), TIMEOUT.as_secs())]
    NoAnswer { path: PathBuf, cause: String },
    #[error("the control socket {} cannot be made: {cause}", path.display())]
    Listen { path: PathBuf, cause: io::Error },
}

/// What is answered; called on a thread that may wait.
#[derive(Clone)]
pub struct Sources {
    pub report: Arc<dyn Fn() -> StatusReport + Send + Sync>,
    /// Without secrets.
    pub log: Arc<dyn Fn() -> String + Send + Sync>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

/// Answers until it is dropped or told to stop.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlServer {
    /// Takes over a socket file that nobody listens on any more; refuses one that somebody does.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |cause| ControlError::Listen {
            path: path.to_owned(),
            cause,
        };
        if is_answered(path) {
            return Err(ControlError::AlreadyRunning(path.to_owned()));
        }
        match std::fs::remove_file(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed(cause)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(0o660);
        std::fs::set_permissions(path, mode).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    pub async fn run(&self, sources: Sources, stop: CancellationToken) {
        let askers = Arc::new(Semaphore::new(MAX_ASKERS));
        loop {
            let permit = askers.clone().acquire_owned().await;
            let stream = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket did not accept: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let sources = sources.clone();
            tokio::spawn(async move {
                let _permit = permit;
                // An asker that went away is not worth a line in the log.
                let _ = tokio::time::timeout(TIMEOUT, answer(stream, sources)).await;
            });
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether somebody listens on this socket.
pub fn is_answered(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

async fn answer(mut stream: UnixStream, sources: Sources) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_REQUEST_BYTES))
        .read_line(&mut line)
        .await?;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Status) => {
            let report = tokio::task::spawn_blocking(move || (sources.report)()).await?;
            Answer::Status(Box::new(report))
        }
        Ok(Request::Log) => {
            Answer::Log(tokio::task::spawn_blocking(move || (sources.log)()).await?)
        }
        Ok(Request::Unknown) => Answer::Refused("this agent does not know that request".into()),
        Err(error) => Answer::Refused(format!("not a request: {error}")),
    };
    let mut json = serde_json::to_vec(&answer)?;
    json.push(b'\n');
    writer.write_all(&json).await?;
    writer.shutdown().await
}

/// Asks the running agent.
pub async fn ask_status(path: &Path) -> Result<StatusReport, ControlError> {
    match ask(path, &Request::Status).await? {
        Answer::Status(report) => Ok(*report),
        other => Err(unexpected(path, other)),
    }
}

/// The newest lines of the running agent's log, without secrets.
pub async fn ask_log(path: &Path) -> Result<String, ControlError> {
    match ask(path, &Request::Log).await? {
        Answer::Log(text) => Ok(text),
        other => Err(unexpected(path, other)),
    }
}

fn unexpected(path: &Path, answer: Answer) -> ControlError {
    ControlError::NoAnswer {
        path: path.to_owned(),
        cause: match answer {
            Answer::Refused(message) => message,
            Answer::Status(_) | Answer::Log(_) => "it answered something else".into(),
        },
    }
}

async fn ask(path: &Path, request: &Request) -> Result<Answer, ControlError> {
    let no_answer = |cause: String| ControlError::NoAnswer {
        path: path.to_owned(),
        cause,
    };
    let asked = tokio::time::timeout(TIMEOUT, exchange(path, request)).await;
    let bytes = match asked {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(cause)) => {
            return Err(match cause.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ControlError::NotRunning(path.to_owned())
                }
                io::ErrorKind::PermissionDenied => ControlError::Forbidden(path.to_owned()),
                _ => no_answer(cause.to_string()),
            });
        }
        Err(_) => return Err(no_answer("it is busy or stuck".into())),
    };
    serde_json::from_slice(&bytes).map_err(|error| no_answer(format!("not an answer: {error}")))
}

async fn exchange(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path).await?;
    let mut json = serde_json::to_vec(request)?;
    json.push(b'\n');
    stream.write_all(&json).await?;
    let mut bytes = Vec::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut bytes)
        .await?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::report::{CameraLine, SpoolLine, UplinkLine};
    use super::*;
    use crate::ntp::ClockReport;
    use uuid::Uuid;
    use wire::{CameraId, ClockStamp, DeviceId, UtcMicros};

    pub(crate) fn sample() -> StatusReport {
        let now = UtcMicros(1_790_000_000_000_000);
        StatusReport {
            version: "0.1.0".into(),
            device: DeviceId(Uuid::from_u128(1)),
            now_us: now,
            started_at_us: now.plus_us(-3_723_000_000),
            uptime_seconds: 3723,
            config_file: "/etc/edge-agent/edge-agent.toml".into(),
            model: "nanodet-g-416-int8".into(),
            provider: "cpu".into(),
            decoders: Vec::new(),
            enrollment: None,
            cameras: vec![CameraLine {
                camera: CameraId(Uuid::from_u128(2)),
                name: "正面入口".into(),
                state: "running".into(),
                reason: None,
                since_us: now.plus_us(-60_000_000),
                last_error: None,
                width: Some(1920),
                height: Some(1080),
                codec: Some("h264".into()),
                fps_in: 15.0,
                fps_decoded: 15.0,
                fps_analysed: 5.0,
                fps_asked: 5.0,
                gate: report::GateLine {
                    mode: "sizes".into(),
                    why: "encoded sizes tell of movements".into(),
                    active: true,
                    triggers: 3,
                    frames_caught_up: 40,
                    turns_asked: 12,
                    turns_given: 12,
                },
                frames_in: 900,
                frames_decoded: 900,
                frames_analysed: 300,
                detections: 900,
                frames_overwritten: 600,
                reconnects: 0,
                ring_bytes: 5_000_000,
                inference_ms_mean: Some(31.7),
                inference_ms_p95: Some(40.2),
                events_open: 1,
                events_total: 12,
                pictures_missed: 0,
                analysis_errors: 0,
            }],
            spool: SpoolLine::default(),
            uplink: UplinkLine {
                carriage: "not enrolled".into(),
                since_us: now,
                last_error: None,
                batches_sent: 0,
                blobs_sent: 0,
                receipts: 0,
                last_receipt_us: None,
            },
            clock: ClockReport {
                stamp: ClockStamp::UNSYNCED,
                agreed_seconds_ago: None,
                servers: Vec::new(),
            },
            units: Default::default(),
        }
    }

    #[tokio::test]
    async fn what_is_asked_is_answered() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("control.sock");
        assert!(matches!(
            ask_status(&path).await,
            Err(ControlError::NotRunning(_))
        ));

        let server = ControlServer::bind(&path).expect("bound");
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(matches!(
            ControlServer::bind(&path),
            Err(ControlError::AlreadyRunning(_))
        ));

        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let stop = stop.clone();
            let sources = Sources {
                report: Arc::new(sample),
                log: Arc::new(|| "a line\n".into()),
            };
            async move { server.run(sources, stop).await }
        });
        assert_eq!(ask_status(&path).await.expect("answered"), sample());
        assert_eq!(ask_status(&path).await.expect("answered twice"), sample());
        assert_eq!(ask_log(&path).await.expect("answered"), "a line\n");

        stop.cancel();
        running.await.expect("stopped");
        assert!(!path.exists(), "the socket is cleaned up");
    }

    #[tokio::test]
    async fn a_stale_socket_is_taken_over() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "left behind, as after a crash");
        assert!(matches!(
            ask_status(&path).await,
            Err(ControlError::NotRunning(_))
        ));
        ControlServer::bind(&path).expect("taken over");
    }
}
