//! The only file that speaks HTTPS: media, enrollment, and records and commands while MQTT is blocked.

use crate::error::{ErrorKind, Kind};
use crate::uplink::tls::{self, TlsVerdict};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::time::Duration;
use url::Url;
use wire::command::SignedCommand;
use wire::enroll::{EnrollRequest, EnrollResponse, Refusal};
use wire::heartbeat::Heartbeat;
use wire::{Receipt, Sha256, UtcMicros};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte for this long a transfer is given up; a slow one that moves is not.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// For answers that are small.
const SMALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Above this a blob is asked about before it is sent: part of it may be there already.
const ASK_FIRST_BYTES: usize = 256 * 1024;
/// One request carries at most this much of a blob, so that a cut loses at most this much.
const PIECE_BYTES: usize = 1 << 20;
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
    #[error(
        "the receiver does not accept this device ({detail}): it was revoked or its certificate expired; enroll it again"
    )]
    DeviceRefused { detail: String },
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
            Self::Unreachable { .. } | Self::Nonsense { .. } => ErrorKind::Transient,
            Self::DeviceRefused { .. } | Self::ReceiverRefused { .. } => ErrorKind::Config,
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
    let client = client(config)?;
    let url = join(url, "device/v1/enroll")?;
    let call = Call::new("enroll", &url);
    let sent = client.post(url).timeout(SMALL_TIMEOUT).json(request);
    call.json(call.send(sent).await?).await
}

/// The device's side of the receiver's device listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeviceClient {
    client: reqwest::Client,
    base: Url,
}

impl DeviceClient {
    /// `config` from `tls::device_config`; `base` is `https://host:port`.
    pub fn new(config: rustls::ClientConfig, base: Url) -> Result<Self, HttpsError> {
        Ok(Self {
            client: client(config)?,
            base,
        })
    }

    /// Delivers one signed batch as it is.
    pub async fn post_batch(&self, signed: Bytes) -> Result<Receipt, HttpsError> {
        let url = self.url("batch")?;
        let call = Call::new("deliver records", &url);
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/octet-stream")
            .timeout(READ_TIMEOUT)
            .body(signed);
        call.json(call.send(request).await?).await
    }

    /// Delivers a blob, going on where an earlier attempt ended. Returns once the receiver has all of it.
    pub async fn put_blob(
        &self,
        sha256: Sha256,
        content_type: &str,
        bytes: &Bytes,
    ) -> Result<(), HttpsError> {
        let url = self.url(&format!("blobs/{sha256}"))?;
        let mut offset = 0;
        if bytes.len() > ASK_FIRST_BYTES {
            match self.blob_progress(&url).await? {
                Progress::Complete => return Ok(()),
                Progress::At(known) => offset = known.min(bytes.len()),
            }
        }
        // Each round either moves on or was told where to go on; a receiver that leads in circles is left.
        let rounds = 2 * (bytes.len() / PIECE_BYTES + 2);
        for _ in 0..rounds {
            match self.put_piece(&url, content_type, bytes, offset).await? {
                Progress::Complete => return Ok(()),
                Progress::At(next) => offset = next.min(bytes.len()),
            }
        }
        Err(HttpsError::Nonsense {
            doing: "deliver a blob",
            detail: "it never says that the upload is complete".to_owned(),
        })
    }

    async fn blob_progress(&self, url: &Url) -> Result<Progress, HttpsError> {
        let call = Call::new("ask for a blob", url);
        let request = self.client.head(url.clone()).timeout(SMALL_TIMEOUT);
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
        url: &Url,
        content_type: &str,
        bytes: &Bytes,
        offset: usize,
    ) -> Result<Progress, HttpsError> {
        let call = Call::new("deliver a blob", url);
        let end = bytes.len().min(offset + PIECE_BYTES);
        let request = self
            .client
            .put(url.clone())
            .header(CONTENT_TYPE, content_type)
            .header(UPLOAD_OFFSET, offset)
            .header(UPLOAD_LENGTH, bytes.len())
            .body(bytes.slice(offset..end));
        let response = call.send_raw(request).await?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => Ok(Progress::Complete),
            StatusCode::ACCEPTED => Ok(Progress::At(offset_in(response.headers()).unwrap_or(end))),
            StatusCode::CONFLICT => match offset_in(response.headers()) {
                Some(known) => Ok(Progress::At(known)),
                None => Err(call.refusal(response).await),
            },
            _ => Err(call.refusal(response).await),
        }
    }

    pub async fn post_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), HttpsError> {
        let url = self.url("heartbeat")?;
        let call = Call::new("send the heartbeat", &url);
        let request = self.client.post(url).timeout(SMALL_TIMEOUT).json(heartbeat);
        call.send(request).await.map(drop)
    }

    /// Waits up to `wait_seconds` at the receiver for commands.
    pub async fn commands(&self, wait_seconds: u32) -> Result<Vec<SignedCommand>, HttpsError> {
        let mut url = self.url("commands")?;
        url.query_pairs_mut()
            .append_pair("wait_seconds", &wait_seconds.to_string());
        let call = Call::new("fetch commands", &url);
        let timeout = SMALL_TIMEOUT + Duration::from_secs(wait_seconds.into());
        let request = self.client.get(url).timeout(timeout);
        call.json(call.send(request).await?).await
    }

    /// The verified receiver's clock; also the cheapest way to see whether it can be reached.
    pub async fn time(&self) -> Result<UtcMicros, HttpsError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            receiver_time_us: UtcMicros,
        }
        let url = self.url("time")?;
        let call = Call::new("ask for the time", &url);
        let request = self.client.get(url).timeout(SMALL_TIMEOUT);
        let answer: Answer = call.json(call.send(request).await?).await?;
        Ok(answer.receiver_time_us)
    }

    fn url(&self, path: &str) -> Result<Url, HttpsError> {
        join(&self.base, &format!("device/v1/{path}"))
    }
}

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
        .read_timeout(READ_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(10))
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
struct Call {
    doing: &'static str,
    url: String,
}

impl Call {
    fn new(doing: &'static str, url: &Url) -> Self {
        Self {
            doing,
            url: url.to_string(),
        }
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
        let url = self.url.clone();
        match tls::verdict(error) {
            Some(TlsVerdict::WrongReceiver) => HttpsError::WrongReceiver { url },
            Some(TlsVerdict::ReceiverRefused(detail)) => {
                HttpsError::ReceiverRefused { url, detail }
            }
            Some(TlsVerdict::DeviceRefused) => HttpsError::DeviceRefused {
                detail: causes(error),
            },
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
