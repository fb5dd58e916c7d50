//! The only file that speaks HTTPS: media, enrollment, and records and commands while MQTT is blocked.

use crate::error::{ErrorKind, Kind};
use crate::uplink::pace::Pace;
use crate::uplink::tls::{self, TlsVerdict};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};
use url::Url;
use wire::command::SignedCommand;
use wire::enroll::{EnrollRequest, EnrollResponse, Refusal};
use wire::heartbeat::Heartbeat;
use wire::renew::{RenewRequest, RenewResponse};
use wire::{Receipt, Sha256, UtcMicros};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One and a half keep-alives of the MQTT carriage: an answer that takes longer does not come. A request that
/// carries much is given the time that a slow line needs for it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Above this a blob is asked about before it is sent: part of it may be there already.
const ASK_FIRST_BYTES: usize = 256 * 1024;
/// One request carries at most this much of a blob, and on a slow line what it takes in two seconds: so every few
/// seconds an answer says that the line is alive.
const PIECE_BYTES: usize = 1 << 20;
const LEAST_PIECE_BYTES: usize = 16 * 1024;
/// Blobs whose upload broke off, remembered to be asked about; when there are more, all are forgotten.
const BROKEN_OFF: usize = 256;
/// An answer of the receiver is never larger.
const MAX_ANSWER_BYTES: usize = 1 << 20;

const UPLOAD_OFFSET: &str = "upload-offset";
const UPLOAD_LENGTH: &str = "upload-length";

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum HttpsError {
    #[error("cannot {doing} at {url}: {detail}; check the network and that the receiver runs")]
    Unreachable {
        doing: &'static str,
        url: String,
        detail: String,
    },
    #[error("{url} no longer answers; check the network")]
    Silent { url: String },
    #[error(
        "the receiver does not accept this device ({detail}). It goes on recording; to deliver again it needs a new \
         claim code: edge-agent enroll --again"
    )]
    DeviceRefused { detail: String },
    #[error(
        "the certificate of this device has expired. It goes on recording; to deliver again it needs a new claim \
         code: edge-agent enroll --again"
    )]
    DeviceExpired,
    #[error("the receiver at {url} cannot be trusted: {detail}")]
    ReceiverRefused { url: String, detail: String },
    #[error(
        "the receiver at {url} is not the one that the claim code was made for: check the address, or ask for a new code"
    )]
    WrongReceiver { url: String },
    #[error("cannot {doing}: the receiver refuses it ({status}, {code}): {message}")]
    Refused {
        doing: &'static str,
        status: u16,
        code: String,
        message: String,
    },
    #[error("cannot {doing}: the receiver's answer makes no sense: {detail}")]
    Nonsense { doing: &'static str, detail: String },
    #[error("HTTPS cannot be set up: {0}")]
    Setup(String),
}

impl HttpsError {
    /// The receiver looked at the very bytes and wants them never again. Anything else may pass.
    pub fn is_poison(&self) -> bool {
        const BAD_REQUEST: u16 = 400;
        const TOO_LARGE: u16 = 413;
        const UNPROCESSABLE: u16 = 422;
        matches!(
            self,
            Self::Refused {
                status: BAD_REQUEST | TOO_LARGE | UNPROCESSABLE,
                ..
            }
        )
    }

    /// Trying again is useless until this box is enrolled anew, or let in again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::DeviceRefused { .. } | Self::DeviceExpired)
    }

    /// No answer came, though there seemed to be a connection.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Silent { .. })
    }

    /// The receiver's word for why, for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "unreachable",
        }
    }
}

impl Kind for HttpsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Nonsense { .. } => {
                ErrorKind::Transient
            }
            Self::DeviceRefused { .. } | Self::DeviceExpired | Self::ReceiverRefused { .. } => {
                ErrorKind::Config
            }
            Self::WrongReceiver { .. } => ErrorKind::Permanent,
            Self::Refused { .. } if self.is_poison() => ErrorKind::Permanent,
            Self::Refused { .. } => ErrorKind::Transient,
            Self::Setup(_) => ErrorKind::Bug,
        }
    }
}

/// Binds a device to a contract. `url` is the portal's address, `config` from `tls::enrollment_config`.
pub async fn enroll(
    config: rustls::ClientConfig,
    url: &Url,
    request: &EnrollRequest,
) -> Result<EnrollResponse, HttpsError> {
    let call = Call {
        doing: "enroll",
        url: join(url, "device/v1/enroll")?,
        client: client(config)?,
        connections: None,
    };
    let sent = call.post().timeout(PATIENCE).json(request);
    call.json(call.send(sent).await?).await
}

/// The device's side of the receiver's device listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeviceClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: rustls::ClientConfig,
    base: Url,
    /// Exchanged when an answer did not come: the next request must not go out on the same dead connection.
    client: RwLock<(u64, reqwest::Client)>,
    broken_off: Mutex<HashSet<Sha256>>,
}

impl DeviceClient {
    /// `config` from `tls::device_config`; `base` is `https://host:port`.
    pub fn new(config: rustls::ClientConfig, base: Url) -> Result<Self, HttpsError> {
        let client = RwLock::new((0, client(config.clone())?));
        let shared = Arc::new(Shared {
            config,
            base,
            client,
            broken_off: Mutex::default(),
        });
        Ok(Self { shared })
    }

    /// Delivers one signed batch as it is; `patience` is how long the line may take for it.
    pub async fn post_batch(
        &self,
        signed: Bytes,
        patience: Duration,
    ) -> Result<Receipt, HttpsError> {
        let call = self.call("deliver records", "batch")?;
        let request = call
            .post()
            .header(CONTENT_TYPE, "application/octet-stream")
            .timeout(patience.max(PATIENCE))
            .body(signed);
        call.json(call.send(request).await?).await
    }

    /// Draws a new certificate.
    pub async fn renew(&self, request: &RenewRequest) -> Result<RenewResponse, HttpsError> {
        let call = self.call("renew the certificate", "renew")?;
        let request = call.post().timeout(PATIENCE).json(request);
        call.json(call.send(request).await?).await
    }

    /// Delivers a blob, going on where an earlier attempt ended. Returns once the receiver has all of it.
    pub(super) async fn put_blob(
        &self,
        sha256: Sha256,
        content_type: &str,
        bytes: &Bytes,
        pace: &Pace,
    ) -> Result<(), HttpsError> {
        let outcome = self.put_pieces(sha256, content_type, bytes, pace).await;
        let mut broken_off = self.broken_off();
        match &outcome {
            Err(HttpsError::Unreachable { .. } | HttpsError::Silent { .. }) => {
                if broken_off.len() >= BROKEN_OFF {
                    broken_off.clear();
                }
                broken_off.insert(sha256);
            }
            _ => {
                broken_off.remove(&sha256);
            }
        }
        outcome
    }

    async fn put_pieces(
        &self,
        sha256: Sha256,
        content_type: &str,
        bytes: &Bytes,
        pace: &Pace,
    ) -> Result<(), HttpsError> {
        let path = format!("blobs/{sha256}");
        let mut offset = 0;
        if bytes.len() > ASK_FIRST_BYTES || self.broken_off().contains(&sha256) {
            match self.blob_progress(&path).await? {
                Progress::Complete => return Ok(()),
                Progress::At(known) => offset = known.min(bytes.len()),
            }
        }
        // Each round either moves on or was told where to go on; a receiver that leads in circles is left.
        let rounds = 2 * (bytes.len() / LEAST_PIECE_BYTES + 2);
        for _ in 0..rounds {
            let room = pace.ahead_bytes().clamp(LEAST_PIECE_BYTES, PIECE_BYTES);
            let piece = offset..bytes.len().min(offset + room);
            let progress = self
                .put_piece(&path, content_type, bytes, piece, pace)
                .await?;
            match progress {
                Progress::Complete => return Ok(()),
                Progress::At(next) => offset = next.min(bytes.len()),
            }
        }
        Err(HttpsError::Nonsense {
            doing: "deliver a blob",
            detail: "it never says that the upload is complete".to_owned(),
        })
    }

    async fn blob_progress(&self, path: &str) -> Result<Progress, HttpsError> {
        let call = self.call("ask for a blob", path)?;
        let request = call.client.head(call.url.clone()).timeout(PATIENCE);
        let response = call.send_raw(request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(Progress::At(0)),
            StatusCode::OK => Ok(match offset_in(response.headers()) {
                Some(offset) if !is_complete(response.headers(), offset) => Progress::At(offset),
                _ => Progress::Complete,
            }),
            _ => Err(call.refusal(response).await),
        }
    }

    async fn put_piece(
        &self,
        path: &str,
        content_type: &str,
        bytes: &Bytes,
        piece: Range<usize>,
        pace: &Pace,
    ) -> Result<Progress, HttpsError> {
        let call = self.call("deliver a blob", path)?;
        let (end, len) = (piece.end, piece.len());
        let request = call
            .client
            .put(call.url.clone())
            .header(CONTENT_TYPE, content_type)
            .header(UPLOAD_OFFSET, piece.start)
            .header(UPLOAD_LENGTH, bytes.len())
            .timeout(pace.patience(len).max(PATIENCE))
            .body(bytes.slice(piece));
        let began = Instant::now();
        let response = match call.send_raw(request).await {
            Ok(response) => response,
            Err(error) => {
                if error.is_silence() {
                    pace.fell_silent();
                }
                return Err(error);
            }
        };
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => {
                pace.answered(len, began.elapsed());
                Ok(Progress::Complete)
            }
            StatusCode::ACCEPTED => {
                pace.answered(len, began.elapsed());
                Ok(Progress::At(offset_in(response.headers()).unwrap_or(end)))
            }
            StatusCode::CONFLICT => match offset_in(response.headers()) {
                Some(known) => Ok(Progress::At(known)),
                None => Err(call.refusal(response).await),
            },
            _ => Err(call.refusal(response).await),
        }
    }

    pub async fn post_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), HttpsError> {
        let call = self.call("send the heartbeat", "heartbeat")?;
        let request = call.post().timeout(PATIENCE).json(heartbeat);
        call.send(request).await.map(drop)
    }

    /// Waits up to `wait_seconds` at the receiver for commands, and then `patience` for the answer.
    pub async fn commands(
        &self,
        wait_seconds: u32,
        patience: Duration,
    ) -> Result<Vec<SignedCommand>, HttpsError> {
        let path = format!("commands?wait_seconds={wait_seconds}");
        let call = self.call("fetch commands", &path)?;
        let timeout = patience + Duration::from_secs(wait_seconds.into());
        let request = call.client.get(call.url.clone()).timeout(timeout);
        call.json(call.send(request).await?).await
    }

    /// The verified receiver's clock; also the cheapest way to see whether it can be reached.
    pub async fn time(&self) -> Result<UtcMicros, HttpsError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            receiver_time_us: UtcMicros,
        }
        let call = self.call("ask for the time", "time")?;
        let request = call.client.get(call.url.clone()).timeout(PATIENCE);
        let answer: Answer = call.json(call.send(request).await?).await?;
        Ok(answer.receiver_time_us)
    }

    fn call(&self, doing: &'static str, path: &str) -> Result<Call<'_>, HttpsError> {
        let (generation, client) = self.read().clone();
        Ok(Call {
            doing,
            url: join(&self.shared.base, &format!("device/v1/{path}"))?,
            client,
            connections: Some((self, generation)),
        })
    }

    /// Leaves the connections of this generation behind. Requests under way on them go on by themselves.
    fn leave(&self, generation: u64) {
        let mut current = self.shared.client.write().expect(ONLY_EXCHANGED);
        if current.0 == generation
            && let Ok(fresh) = client(self.shared.config.clone())
        {
            *current = (generation + 1, fresh);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, (u64, reqwest::Client)> {
        self.shared.client.read().expect(ONLY_EXCHANGED)
    }

    fn broken_off(&self) -> MutexGuard<'_, HashSet<Sha256>> {
        self.shared
            .broken_off
            .lock()
            .expect("only added to and taken from under the lock")
    }
}

const ONLY_EXCHANGED: &str = "it is only exchanged under the lock";

/// How much of a blob the receiver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Complete,
    At(usize),
}

fn offset_in(headers: &HeaderMap) -> Option<usize> {
    headers.get(UPLOAD_OFFSET)?.to_str().ok()?.parse().ok()
}

/// A `HEAD` answers with both figures, or with the offset alone while the upload is incomplete.
fn is_complete(headers: &HeaderMap, offset: usize) -> bool {
    let length = headers
        .get(UPLOAD_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    length == Some(offset)
}

fn client(config: rustls::ClientConfig) -> Result<reqwest::Client, HttpsError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        // The kernel's own watch: what is sent and never acknowledged ends the connection, however slow the line is.
        .tcp_user_timeout(PATIENCE)
        .http2_keep_alive_interval(PATIENCE / 3)
        .http2_keep_alive_timeout(PATIENCE * 2 / 3)
        .user_agent(concat!("edge-agent/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| HttpsError::Setup(causes(&error)))
}

fn join(base: &Url, path: &str) -> Result<Url, HttpsError> {
    let mut base = base.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    base.join(path)
        .map_err(|error| HttpsError::Setup(error.to_string()))
}

/// One request, for error messages that say what it was for.
struct Call<'a> {
    doing: &'static str,
    url: Url,
    client: reqwest::Client,
    /// Whose connections it uses; left behind when no answer comes.
    connections: Option<(&'a DeviceClient, u64)>,
}

impl Call<'_> {
    fn post(&self) -> RequestBuilder {
        self.client.post(self.url.clone())
    }

    /// Sends; any status but 2xx is an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, HttpsError> {
        let response = self.send_raw(request).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    async fn send_raw(&self, request: RequestBuilder) -> Result<Response, HttpsError> {
        request.send().await.map_err(|error| self.failure(&error))
    }

    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        response: Response,
    ) -> Result<T, HttpsError> {
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| HttpsError::Nonsense {
            doing: self.doing,
            detail: error.to_string(),
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, HttpsError> {
        let mut body = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| self.failure(&error))?
        {
            body.extend_from_slice(&piece);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(HttpsError::Nonsense {
                    doing: self.doing,
                    detail: "it is longer than any answer should be".to_owned(),
                });
            }
        }
        Ok(body)
    }

    async fn refusal(&self, response: Response) -> HttpsError {
        let status = response.status();
        let refusal = match self.body(response).await {
            Ok(body) => serde_json::from_slice(&body).ok(),
            Err(_) => None,
        };
        let refusal: Refusal = refusal.unwrap_or_else(|| Refusal {
            code: format!("http_{}", status.as_u16()),
            message: status.canonical_reason().unwrap_or("no reason").to_owned(),
        });
        // Enrollment has no device yet that could be refused: its codes say it all.
        let is_device = self.doing != "enroll";
        if is_device && refusal.code == "certificate_expired" {
            return HttpsError::DeviceExpired;
        }
        if is_device && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return HttpsError::DeviceRefused {
                detail: format!("{}: {}", refusal.code, refusal.message),
            };
        }
        HttpsError::Refused {
            doing: self.doing,
            status: status.as_u16(),
            code: refusal.code,
            message: refusal.message,
        }
    }

    fn failure(&self, error: &reqwest::Error) -> HttpsError {
        if error.is_timeout()
            && let Some((connections, generation)) = self.connections
        {
            connections.leave(generation);
        }
        let url = self.url.to_string();
        // A connection that cannot even be made is no sign of a line that went silent.
        if error.is_timeout() && !error.is_connect() {
            return HttpsError::Silent { url };
        }
        match tls::verdict(error) {
            Some(TlsVerdict::WrongReceiver) => HttpsError::WrongReceiver { url },
            Some(TlsVerdict::ReceiverRefused(detail)) => {
                HttpsError::ReceiverRefused { url, detail }
            }
            Some(TlsVerdict::DeviceRefused) => HttpsError::DeviceRefused {
                detail: causes(error),
            },
            Some(TlsVerdict::DeviceExpired) => HttpsError::DeviceExpired,
            None => HttpsError::Unreachable {
                doing: self.doing,
                url,
                detail: causes(error),
            },
        }
    }
}

/// The last cause says the most; the first ones only say that a request failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
