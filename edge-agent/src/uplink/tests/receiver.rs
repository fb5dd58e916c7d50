//! A receiver in miniature: both device listeners over mutual TLS, real verification, real receipts, and faults on
//! request. It keeps what it took in memory; everything on the wire is the real protocol.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wire::command::SignedCommand;
use wire::enroll::Refusal;
use wire::heartbeat::Heartbeat;
use wire::receipt::Rejected;
use wire::renew::{RenewRequest, RenewResponse};
use wire::topic::{Channel, Topic};
use wire::{Epoch, Receipt, Record, Seq, SeqRange, Sha256, SignedBatch, UtcMicros, VerifyingKey};

pub(super) const TIME: UtcMicros = UtcMicros(1_795_400_000_000_000);

#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Every record by its key: a second delivery of the same changes nothing.
    pub(super) records: BTreeMap<(Epoch, Seq), Vec<u8>>,
    /// Epochs' batches as they came, again and again.
    pub(super) deliveries: Vec<(Epoch, Seq, &'static str)>,
    pub(super) blobs: HashMap<Sha256, Vec<u8>>,
    partial: HashMap<Sha256, Vec<u8>>,
    pub(super) heartbeats: Vec<Heartbeat>,
    pub(super) wills: u32,
    pub(super) goodbyes: u32,
    pub(super) connects: u32,
    /// Names that were asked for by SNI (RFC 6066, section 3).
    pub(super) names_asked_for: Vec<String>,
    // Faults.
    pub(super) is_poison: Option<Seq>,
    pub(super) withhold_receipts: bool,
    /// Cuts the next upload after so many bytes.
    pub(super) cut_blob_at: Option<usize>,
    pub(super) refuses_device: bool,
    /// Cannot say what time it is.
    pub(super) is_busy: bool,
    /// Answers no ping: what a half-open link looks like from the device.
    pub(super) is_deaf: bool,
    /// So many refusals of records nobody sent stand in every receipt.
    pub(super) foreign_refusals: u64,
    /// Answers to what is published come late, in reverse order, and receipts twice.
    pub(super) scrambles_answers: bool,
    /// Refused by number in every receipt.
    pub(super) rejects: Option<Seq>,
    /// Answers to requests for a certificate, in turn; without one the request is cut off.
    pub(super) renewals: VecDeque<Renewer>,
    /// Handed out by the next long poll.
    pub(super) commands: Vec<SignedCommand>,
}

/// Makes the answer to one request for a certificate.
pub(super) struct Renewer(pub(super) Box<dyn FnOnce(RenewRequest) -> RenewResponse + Send>);

impl std::fmt::Debug for Renewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewer")
    }
}

#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) taken: Arc<Mutex<Taken>>,
    record_key: VerifyingKey,
    tls: Arc<rustls::ServerConfig>,
    /// Cuts every MQTT connection; or sends a command down.
    down: broadcast::Sender<Down>,
}

#[derive(Clone, Debug)]
enum Down {
    Cut,
    Command(SignedCommand),
}

/// A listener; dropping it closes the port.
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(super) fn new(record_key: VerifyingKey, tls: rustls::ServerConfig) -> Self {
        Self {
            taken: Arc::default(),
            record_key,
            tls: Arc::new(tls),
            down: broadcast::channel(16).0,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no test panics under the lock")
    }

    pub(super) fn cut_mqtt(&self) {
        let _ = self.down.send(Down::Cut);
    }

    pub(super) fn command(&self, command: SignedCommand) {
        let _ = self.down.send(Down::Command(command));
    }

    pub(super) async fn listen_https(&self, address: &str) -> Listening {
        let receiver = self.clone();
        listen(address, move |stream| receiver.clone().https(stream)).await
    }

    pub(super) async fn listen_mqtt(&self, address: &str) -> Listening {
        let receiver = self.clone();
        listen(address, move |stream| receiver.clone().mqtt(stream)).await
    }

    /// The verdict on one batch and the receipt of its epoch.
    fn take(&self, bytes: &[u8], carriage: &'static str) -> Result<Receipt, Refusal> {
        let refuse = |code: &str| Refusal {
            code: code.into(),
            message: code.into(),
        };
        let signed = SignedBatch::from_bytes(bytes.to_vec()).map_err(|_| refuse("bad_shape"))?;
        signed
            .verify(&self.record_key)
            .map_err(|_| refuse("bad_signature"))?;
        let batch = signed.parse().map_err(|_| refuse("bad_shape"))?;
        let mut taken = self.lock();
        taken
            .deliveries
            .push((batch.epoch, batch.first_seq, carriage));
        if taken.is_poison == Some(batch.first_seq) {
            return Err(refuse("payload_format_invalid"));
        }
        for (number, record) in (batch.first_seq.0..).zip(&batch.records) {
            let key = (batch.epoch, Seq(number));
            if taken.rejects == Some(key.1) {
                continue;
            }
            let known = taken.records.insert(key, record.clone());
            assert!(
                known.is_none_or(|known| known == *record),
                "{key:?} changed"
            );
        }
        // What is refused in a batch counts as answered in this one receipt.
        let refused = taken
            .rejects
            .filter(|seq| (batch.first_seq..=batch.last_seq()).contains(seq));
        let mut answered: Vec<Seq> = taken
            .records
            .keys()
            .filter(|(epoch, _)| *epoch == batch.epoch)
            .map(|(_, seq)| *seq)
            .chain(refused)
            .collect();
        answered.sort();
        let answered: Vec<SeqRange> = answered
            .into_iter()
            .map(|seq| SeqRange {
                first: seq,
                last: seq,
            })
            .collect();
        let mut receipt = Receipt::from_stored(batch.epoch, &answered, TIME);
        let rejected = |seq, code: &str| Rejected {
            seq,
            code: code.into(),
        };
        receipt.rejected = (0..taken.foreign_refusals)
            .map(|number| rejected(Seq(1_000_000 + number), "bad_signature"))
            .chain(refused.map(|seq| rejected(seq, "bad_shape")))
            .collect();
        Ok(receipt)
    }

    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let taken = self.lock();
        taken
            .records
            .values()
            .map(|json| Record::from_json(json).expect("a record").body.kind())
            .collect()
    }

    async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let stream = TlsAcceptor::from(self.tls.clone())
            .accept(stream)
            .await
            .ok()?;
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        self.lock().names_asked_for.extend(name);
        Some(stream)
    }

    async fn https(self, stream: TcpStream) {
        let Some(stream) = self.accept(stream).await else {
            return;
        };
        let service = hyper::service::service_fn(move |request| {
            let receiver = self.clone();
            async move { receiver.answer(request).await }
        });
        let http = hyper::server::conn::http1::Builder::new();
        // A client that went away is no news.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    /// An error cuts the connection.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        if self.lock().refuses_device {
            return Ok(json(
                StatusCode::FORBIDDEN,
                &Refusal {
                    code: "revoked".into(),
                    message: "this device was revoked".into(),
                },
            ));
        }
        match (method.as_str(), path.trim_start_matches("/device/v1/")) {
            ("GET", "time") if self.lock().is_busy => {
                Ok(json(StatusCode::SERVICE_UNAVAILABLE, &()))
            }
            ("GET", "time") => Ok(json(
                StatusCode::OK,
                &serde_json::json!({"receiver_time_us": TIME}),
            )),
            ("GET", "commands") => {
                let commands = std::mem::take(&mut self.lock().commands);
                Ok(json(StatusCode::OK, &commands))
            }
            ("POST", "heartbeat") => {
                let body = body(request).await?;
                let heartbeat = serde_json::from_slice(&body).map_err(|_| Cut)?;
                self.lock().heartbeats.push(heartbeat);
                Ok(json(StatusCode::OK, &()))
            }
            ("POST", "renew") => {
                let body = body(request).await?;
                let request = serde_json::from_slice(&body).map_err(|_| Cut)?;
                let Renewer(answer) = self.lock().renewals.pop_front().ok_or(Cut)?;
                Ok(json(StatusCode::OK, &answer(request)))
            }
            ("POST", "batch") => {
                let body = body(request).await?;
                Ok(match self.take(&body, "https") {
                    Ok(receipt) => json(StatusCode::OK, &receipt),
                    Err(refusal) => json(StatusCode::UNPROCESSABLE_ENTITY, &refusal),
                })
            }
            ("HEAD", path) => Ok(self.blob_progress(path)),
            ("PUT", path) => {
                let sha256 = blob_name(path)?;
                self.put_blob(sha256, request).await
            }
            _ => Ok(json(StatusCode::NOT_FOUND, &())),
        }
    }

    fn blob_progress(&self, path: &str) -> Response<Full<Bytes>> {
        let taken = self.lock();
        let sha256 = blob_name(path).unwrap_or(Sha256::ZERO);
        let mut answer = json(StatusCode::OK, &());
        *answer.body_mut() = Full::default();
        if let Some(bytes) = taken.blobs.get(&sha256) {
            answer
                .headers_mut()
                .insert("upload-offset", bytes.len().into());
            answer
                .headers_mut()
                .insert("upload-length", bytes.len().into());
        } else if let Some(bytes) = taken.partial.get(&sha256) {
            answer
                .headers_mut()
                .insert("upload-offset", bytes.len().into());
        } else {
            *answer.status_mut() = StatusCode::NOT_FOUND;
        }
        answer
    }

    async fn put_blob(
        &self,
        sha256: Sha256,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Cut> {
        let number = |name: &str| -> usize {
            let value = request.headers().get(name).and_then(|v| v.to_str().ok());
            value.and_then(|v| v.parse().ok()).unwrap_or(0)
        };
        let (offset, length) = (number("upload-offset"), number("upload-length"));
        let known = self.lock().partial.get(&sha256).map_or(0, Vec::len);
        if known != offset {
            let mut answer = json(StatusCode::CONFLICT, &());
            answer.headers_mut().insert("upload-offset", known.into());
            return Ok(answer);
        }
        let body = body(request).await?;
        let mut taken = self.lock();
        if let Some(cut) = taken.cut_blob_at.take() {
            taken
                .partial
                .entry(sha256)
                .or_default()
                .extend_from_slice(&body[..cut]);
            return Err(Cut);
        }
        let partial = taken.partial.entry(sha256).or_default();
        partial.extend_from_slice(&body);
        if partial.len() < length {
            let len = partial.len();
            let mut answer = json(StatusCode::ACCEPTED, &());
            answer.headers_mut().insert("upload-offset", len.into());
            return Ok(answer);
        }
        let whole = taken.partial.remove(&sha256).unwrap_or_default();
        if Sha256::of(&whole) != sha256 {
            return Ok(json(StatusCode::UNPROCESSABLE_ENTITY, &()));
        }
        taken.blobs.insert(sha256, whole);
        Ok(json(StatusCode::CREATED, &()))
    }

    /// One MQTT 5 connection (OASIS, section 3), as much of it as a device uses.
    async fn mqtt(self, stream: TcpStream) {
        let Some(mut stream) = self.accept(stream).await else {
            return;
        };
        let mut down = self.down.subscribe();
        let mut buffer = BytesMut::new();
        let mut device = None;
        let mut held = Vec::new();
        loop {
            while let Some((header, packet)) = take_packet(&mut buffer) {
                let answer = match header >> 4 {
                    CONNECT => {
                        let mut taken = self.lock();
                        taken.connects += 1;
                        // Receive Maximum 8: smaller than the device's own window.
                        vec![
                            0x20,
                            6,
                            0,
                            if taken.refuses_device { 0x87 } else { 0 },
                            3,
                            0x21,
                            0,
                            8,
                        ]
                    }
                    SUBSCRIBE => vec![0x90, 5, packet[0], packet[1], 0, 1, 1],
                    PUBLISH => {
                        let Some(answer) = self.published(packet, &mut device) else {
                            return;
                        };
                        if self.lock().scrambles_answers {
                            held.push(answer);
                            let is_last = held.len() == SCRAMBLED;
                            held.drain(..if is_last { SCRAMBLED } else { 0 })
                                .rev()
                                .flatten()
                                .collect()
                        } else {
                            answer
                        }
                    }
                    PINGREQ if self.lock().is_deaf => Vec::new(),
                    PINGREQ => {
                        let mut answer: Vec<u8> = held.drain(..).rev().flatten().collect();
                        answer.extend([0xd0, 0]);
                        answer
                    }
                    DISCONNECT => {
                        self.lock().goodbyes += 1;
                        return;
                    }
                    _ => Vec::new(),
                };
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                read = stream.read_buf(&mut buffer) => {
                    if !matches!(read, Ok(1..)) {
                        self.lock().wills += 1;
                        return;
                    }
                }
                order = down.recv() => match order {
                    Ok(Down::Command(command)) => {
                        let Some(device) = device else { continue };
                        let topic = Topic { device, channel: Channel::DownCommand };
                        let json = serde_json::to_vec(&command).expect("JSON");
                        if stream.write_all(&publish(&topic, &json)).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        }
    }

    fn published(&self, mut packet: Bytes, device: &mut Option<wire::DeviceId>) -> Option<Vec<u8>> {
        let topic_len = usize::from(packet.get_u16());
        let topic = packet.split_to(topic_len);
        let topic: Topic = std::str::from_utf8(&topic).ok()?.parse().ok()?;
        *device = Some(topic.device);
        let id = packet.get_u16();
        let properties = usize::from(packet.get_u8());
        packet.advance(properties);
        let [high, low] = id.to_be_bytes();
        let puback = vec![0x40, 2, high, low];
        if topic.channel == Channel::UpHeartbeat {
            let heartbeat = serde_json::from_slice(&packet).ok()?;
            self.lock().heartbeats.push(heartbeat);
            return Some(puback);
        }
        match self.take(&packet, "mqtt") {
            Ok(receipt) => {
                let mut answer = puback;
                if !self.lock().withhold_receipts {
                    let topic = Topic {
                        channel: Channel::DownReceipt,
                        ..topic
                    };
                    let json = serde_json::to_vec(&receipt).expect("JSON");
                    let times = if self.lock().scrambles_answers { 2 } else { 1 };
                    answer.extend(publish(&topic, &json).repeat(times));
                }
                Some(answer)
            }
            // Payload format invalid.
            Err(_) => Some(vec![0x40, 4, high, low, 0x99, 0]),
        }
    }
}

/// So many answers come together, the last first.
const SCRAMBLED: usize = 3;

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// A connection that is cut in mid-request.
#[derive(Debug)]
pub(super) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

async fn listen<F, T>(address: &str, serve: F) -> Listening
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        // Connections end with their listener.
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
        }
    });
    Listening { address, task }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Cut> {
    let collected = request.into_body().collect().await.map_err(|_| Cut)?;
    Ok(collected.to_bytes())
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("JSON");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

fn blob_name(path: &str) -> Result<Sha256, Cut> {
    path.trim_start_matches("blobs/").parse().map_err(|_| Cut)
}

/// A whole packet's first byte and rest, if one is there.
fn take_packet(buffer: &mut BytesMut) -> Option<(u8, Bytes)> {
    let mut len = 0;
    for (index, byte) in buffer.iter().skip(1).take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let start = index + 2;
            if buffer.len() < start + len {
                return None;
            }
            let header = buffer[0];
            buffer.advance(start);
            return Some((header, buffer.split_to(len).freeze()));
        }
    }
    None
}

/// QoS 0: the device's handling is the same, and the miniature needs no packet ids.
fn publish(topic: &Topic, payload: &[u8]) -> Vec<u8> {
    let topic = topic.to_string();
    let mut rest = Vec::new();
    rest.extend(u16::try_from(topic.len()).expect("short").to_be_bytes());
    rest.extend(topic.as_bytes());
    rest.push(0);
    rest.extend(payload);
    let mut packet = vec![0x30];
    let mut len = rest.len();
    loop {
        let low = u8::try_from(len & 0x7f).expect("seven bits");
        len >>= 7;
        packet.push(if len > 0 { low | 0x80 } else { low });
        if len == 0 {
            break;
        }
    }
    packet.extend(rest);
    packet
}
