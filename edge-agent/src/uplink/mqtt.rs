//! The only file that speaks MQTT: one connection from connect to loss, never reused.
//!
//! What the client library would get wrong is kept away from it: it forgets unacknowledged messages on a clean
//! start (the spool remembers), keeps a packet-id collision across reconnects (every connection is a new event
//! loop), and says nothing about which publish was acknowledged (`Outgoing::Publish` comes in the order of
//! publishing, so a queue pairs them). Its event loop runs in a task of its own and is never cut off in
//! mid-poll: a poll that is dropped may leave a packet in the write buffer.

use crate::error::{ErrorKind, Kind};
use crate::uplink::pace::Pace;
use crate::uplink::tls::{self, TlsVerdict};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, Filter, LastWill, Packet, PubAckReason,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use wire::batch::MAX_BATCH_BYTES;
use wire::command::SignedCommand;
use wire::topic::{Channel, Topic};
use wire::{DeviceId, Receipt};

/// Publishes that may wait for their PUBACK at a time; fewer if the receiver says so.
pub const WINDOW: usize = 32;
/// Both sides notice a half-open link within 1.5 of these. Longer on a slow line: the library gives a connection up
/// whose ping was not answered by the time of the next, and on such a line both may have to wait behind one batch.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A receipt with 64 holes and a few thousand refused records fits; the library's own limit is 10 KiB, and a larger
/// packet would end every session anew.
const MAX_INCOMING_BYTES: u32 = 256 * 1024;
/// Packet ids run in a circle of this size. The library reserves a place for each: 65,536 of them, its default, take
/// 13 MB. More than the window, so that no id comes round while its message is still on its way.
const PACKET_IDS: u16 = 4 * WINDOW as u16;
/// Requests handed to the event loop: the window, the subscription and the goodbye.
const REQUESTS: usize = WINDOW + 8;
/// Events handed over by the event loop; when full it waits, and so does the receiver.
const EVENTS: usize = 256;

/// Where the receiver's MQTT listener is and who we are.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub device: DeviceId,
    pub tls: Arc<rustls::ClientConfig>,
}

/// As people write it: an IPv6 address stands in brackets before a port (RFC 3986, section 3.2.2).
pub fn address_in_words(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum MqttError {
    #[error("the MQTT connection to {address} failed: {detail}")]
    Lost { address: String, detail: String },
    #[error(
        "the receiver does not accept this device ({detail}): it was revoked, or enrolled anew elsewhere. It goes on \
         recording; to deliver again it needs a new claim code: edge-agent enroll --again"
    )]
    DeviceRefused { detail: String },
    #[error(
        "the certificate of this device has expired. It goes on recording; to deliver again it needs a new claim \
         code: edge-agent enroll --again"
    )]
    DeviceExpired,
    #[error("the receiver at {address} cannot be trusted: {detail}")]
    ReceiverRefused { address: String, detail: String },
    #[error("the receiver refuses the subscription to {0}")]
    NotSubscribed(&'static str),
    #[error("the send queue is full")]
    Full,
}

impl Kind for MqttError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Lost { .. } | Self::Full => ErrorKind::Transient,
            Self::DeviceRefused { .. }
            | Self::DeviceExpired
            | Self::ReceiverRefused { .. }
            | Self::NotSubscribed(_) => ErrorKind::Config,
        }
    }
}

impl MqttError {
    /// Trying again is useless until this box is enrolled anew, or let in again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::DeviceRefused { .. } | Self::DeviceExpired)
    }
}

/// What came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    Receipt(Receipt),
    Command(SignedCommand),
    /// The receiver took batch `id`, which does not settle it.
    Taken {
        id: i64,
    },
    /// The receiver refused batch `id`; for good if `is_poison`.
    Refused {
        id: i64,
        code: String,
        is_poison: bool,
    },
    Lost(MqttError),
}

/// What a publish carries, so that its PUBACK can be told apart.
#[derive(Clone, Copy, Debug)]
struct Sent {
    what: What,
    bytes: usize,
    /// On their way when it was sent, its own among them.
    ahead_bytes: usize,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Batch(i64),
    Heartbeat,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    target: Target,
    client: AsyncClient,
    events: mpsc::Receiver<Result<Event, ConnectionError>>,
    pump: JoinHandle<()>,
    /// Handed to the event loop and not yet given a packet id, in order.
    unnumbered: VecDeque<Sent>,
    /// By packet id.
    unacknowledged: HashMap<u16, Sent>,
    window: usize,
    /// Of what is not acknowledged.
    bytes: usize,
    pace: Arc<Pace>,
    keep_alive: Duration,
    /// The library stirs at every keep-alive at the latest; unless a write hangs.
    stirred: Instant,
    /// A ping is on its way: its answer, or any other sign of life, is due by then.
    pong_due: Option<Instant>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Link {
    /// Connects and subscribes; the receiver then pushes receipts and commands.
    pub async fn connect(target: Target, pace: Arc<Pace>) -> Result<Self, MqttError> {
        let keep_alive = pace
            .patience(MAX_BATCH_BYTES)
            .clamp(KEEP_ALIVE, LONGEST_KEEP_ALIVE);
        let (client, event_loop) = AsyncClient::new(options(&target, keep_alive), REQUESTS);
        let (sender, events) = mpsc::channel(EVENTS);
        let mut link = Self {
            target,
            client,
            events,
            pump: tokio::spawn(pump(event_loop, sender)),
            unnumbered: VecDeque::new(),
            unacknowledged: HashMap::new(),
            window: WINDOW,
            bytes: 0,
            pace,
            keep_alive,
            stirred: Instant::now(),
            pong_due: None,
        };
        let timeout = CONNECT_TIMEOUT + Duration::from_secs(5);
        match tokio::time::timeout(timeout, link.greet()).await {
            Ok(greeted) => greeted.map(|()| link),
            Err(_) => Err(link.lost("no answer in time")),
        }
    }

    async fn greet(&mut self) -> Result<(), MqttError> {
        self.expect_connack().await?;
        let filters = [Channel::DownReceipt, Channel::DownCommand]
            .map(|channel| Filter::new(self.topic(channel), QoS::AtLeastOnce));
        self.client
            .try_subscribe_many(filters)
            .map_err(|_| MqttError::Full)?;
        loop {
            match self.event().await? {
                Event::Incoming(Packet::SubAck(answer)) => {
                    let is_granted = |code: &SubscribeReasonCode| {
                        matches!(code, SubscribeReasonCode::Success(_))
                    };
                    return if answer.return_codes.iter().all(is_granted) {
                        Ok(())
                    } else {
                        Err(MqttError::NotSubscribed("receipts and commands"))
                    };
                }
                _ => continue,
            }
        }
    }

    async fn expect_connack(&mut self) -> Result<(), MqttError> {
        loop {
            if let Event::Incoming(Packet::ConnAck(answer)) = self.event().await? {
                let limit = answer
                    .properties
                    .and_then(|properties| properties.receive_max);
                if let Some(limit) = limit {
                    // One below: the library's packet ids run in a circle of the limit's size.
                    self.window = WINDOW.min(usize::from(limit).saturating_sub(1).max(1));
                }
                return Ok(());
            }
        }
    }

    /// How many more publishes may be on their way. One place is kept for the heartbeat.
    pub fn room(&self) -> usize {
        (self.window - 1).saturating_sub(self.unnumbered.len() + self.unacknowledged.len())
    }

    /// Whether the line can take so many bytes more by now. A batch larger than the line likes goes alone.
    pub fn takes(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= self.pace.ahead_bytes()
    }

    /// How long a receipt may be awaited for what is sent now.
    pub fn patience(&self) -> Duration {
        self.pace.patience(self.bytes)
    }

    pub fn publish_batch(&mut self, id: i64, signed: Bytes) -> Result<(), MqttError> {
        self.publish(What::Batch(id), Channel::UpBatch, signed)
    }

    pub fn publish_heartbeat(&mut self, json: Vec<u8>) -> Result<(), MqttError> {
        self.publish(What::Heartbeat, Channel::UpHeartbeat, json.into())
    }

    fn publish(&mut self, what: What, channel: Channel, payload: Bytes) -> Result<(), MqttError> {
        let (topic, bytes) = (self.topic(channel), payload.len());
        self.client
            .try_publish(topic, QoS::AtLeastOnce, false, payload)
            .map_err(|_| MqttError::Full)?;
        self.bytes += bytes;
        self.unnumbered.push_back(Sent {
            what,
            bytes,
            ahead_bytes: self.bytes,
            at: Instant::now(),
        });
        Ok(())
    }

    /// The next thing that matters. After `Lost` there is nothing more. Safe to cancel.
    pub async fn next(&mut self) -> Incoming {
        loop {
            let event = match self.event().await {
                Ok(event) => event,
                Err(error) => return Incoming::Lost(error),
            };
            match self.understand(event) {
                Ok(Some(incoming)) => return incoming,
                Ok(None) => {}
                Err(error) => return Incoming::Lost(error),
            }
        }
    }

    fn understand(&mut self, event: Event) -> Result<Option<Incoming>, MqttError> {
        match event {
            Event::Outgoing(Outgoing::Publish(packet_id)) => {
                if let Some(sent) = self.unnumbered.pop_front() {
                    self.unacknowledged.insert(packet_id, sent);
                }
                Ok(None)
            }
            Event::Outgoing(Outgoing::AwaitAck(_)) => Err(self.lost("a packet id is stuck")),
            Event::Incoming(Packet::PubAck(ack)) => Ok(self.acknowledged(ack.pkid, ack.reason)),
            Event::Incoming(Packet::Publish(publish)) => {
                Ok(self.arrived(&publish.topic, &publish.payload))
            }
            _ => Ok(None),
        }
    }

    fn acknowledged(&mut self, packet_id: u16, reason: PubAckReason) -> Option<Incoming> {
        let sent = self.unacknowledged.remove(&packet_id)?;
        self.bytes -= sent.bytes;
        self.pace.answered(sent.ahead_bytes, sent.at.elapsed());
        let What::Batch(id) = sent.what else {
            return None;
        };
        let refused = |code: &str, is_poison| {
            Some(Incoming::Refused {
                id,
                code: code.to_owned(),
                is_poison,
            })
        };
        match reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                Some(Incoming::Taken { id })
            }
            PubAckReason::PayloadFormatInvalid => refused("payload_format_invalid", true),
            PubAckReason::QuotaExceeded => refused("quota_exceeded", false),
            PubAckReason::NotAuthorized => refused("not_authorized", false),
            other => refused(&format!("{other:?}"), false),
        }
    }

    fn arrived(&self, topic: &[u8], payload: &[u8]) -> Option<Incoming> {
        let topic: Option<Topic> = std::str::from_utf8(topic)
            .ok()
            .and_then(|text| text.parse().ok());
        let topic = topic.filter(|topic| topic.device == self.target.device)?;
        let understood = match topic.channel {
            Channel::DownReceipt => serde_json::from_slice(payload).map(Incoming::Receipt),
            Channel::DownCommand => serde_json::from_slice(payload).map(Incoming::Command),
            Channel::UpBatch | Channel::UpHeartbeat | Channel::UpOffline => return None,
        };
        understood
            .inspect_err(|error| {
                let topic = topic.to_string();
                tracing::warn!(topic, %error, "a message on {topic} cannot be read: {error}");
            })
            .ok()
    }

    /// Says goodbye, so that the will is not sent; waits a moment for it to leave.
    pub async fn disconnect(mut self) {
        if self.client.try_disconnect().is_err() {
            return;
        }
        let said = async {
            while let Ok(event) = self.event().await {
                if event == Event::Outgoing(Outgoing::Disconnect) {
                    break;
                }
            }
        };
        // The socket is closed either way.
        let _ = tokio::time::timeout(Duration::from_secs(1), said).await;
    }

    async fn event(&mut self) -> Result<Event, MqttError> {
        let patience = self.pace.patience(self.bytes);
        let stirs_by = self.stirred + self.keep_alive + patience;
        let due = self.pong_due.unwrap_or(stirs_by).min(stirs_by);
        let Ok(received) = timeout_at(due, self.events.recv()).await else {
            self.pace.fell_silent();
            return Err(self.lost(SILENT));
        };
        match received {
            Some(Ok(event)) => {
                self.note_life(&event, patience);
                Ok(event)
            }
            Some(Err(error)) => Err(self.failure(&error)),
            None => Err(self.lost("the connection is closed")),
        }
    }

    fn note_life(&mut self, event: &Event, patience: Duration) {
        self.stirred = Instant::now();
        match event {
            Event::Outgoing(Outgoing::PingReq) => self.pong_due = Some(self.stirred + patience),
            Event::Incoming(Packet::PingResp(_)) => self.pong_due = None,
            // The answer to the ping may wait behind others.
            Event::Incoming(_) => {
                self.pong_due = self.pong_due.map(|_| self.stirred + patience);
            }
            Event::Outgoing(_) => {}
        }
    }

    fn topic(&self, channel: Channel) -> String {
        let device = self.target.device;
        Topic { device, channel }.to_string()
    }

    fn lost(&self, detail: impl ToString) -> MqttError {
        MqttError::Lost {
            address: address_in_words(&self.target.host, self.target.port),
            detail: detail.to_string(),
        }
    }

    fn failure(&self, error: &ConnectionError) -> MqttError {
        use ConnectReturnCode as Code;
        if let ConnectionError::MqttState(StateError::AwaitPingResp) = error {
            self.pace.fell_silent();
        }
        // Said to a session that stood: the device was revoked, or its certificate counts no more.
        if let ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::NotAuthorized,
            ..
        }) = error
        {
            let detail = "NotAuthorized".to_owned();
            return MqttError::DeviceRefused { detail };
        }
        if let ConnectionError::ConnectionRefused(
            code @ (Code::NotAuthorized | Code::Banned | Code::BadUserNamePassword),
        ) = error
        {
            let detail = format!("{code:?}");
            return MqttError::DeviceRefused { detail };
        }
        match tls::verdict(error) {
            Some(TlsVerdict::DeviceRefused) => MqttError::DeviceRefused {
                detail: error.to_string(),
            },
            Some(TlsVerdict::DeviceExpired) => MqttError::DeviceExpired,
            Some(TlsVerdict::ReceiverRefused(detail)) => MqttError::ReceiverRefused {
                address: address_in_words(&self.target.host, self.target.port),
                detail,
            },
            Some(TlsVerdict::WrongReceiver) | None => self.lost(in_words(error)),
        }
    }
}

const SILENT: &str = "the receiver no longer answers";

fn in_words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::MqttState(StateError::AwaitPingResp) => SILENT.to_owned(),
        ConnectionError::Timeout(_) => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// Polls until the first error. A new connection gets a new event loop.
async fn pump(mut event_loop: EventLoop, events: mpsc::Sender<Result<Event, ConnectionError>>) {
    loop {
        let event = event_loop.poll().await;
        let is_over = event.is_err();
        if events.send(event).await.is_err() || is_over {
            return;
        }
    }
}

fn options(target: &Target, keep_alive: Duration) -> MqttOptions {
    let device = target.device;
    let will = Topic {
        device,
        channel: Channel::UpOffline,
    };
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    let mut options = MqttOptions::new(device.to_string(), &target.host, target.port);
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
            target.tls.clone(),
        )))
        .set_clean_start(true)
        .set_keep_alive(Duration::from_secs(keep_alive.as_secs()))
        .set_connection_timeout(CONNECT_TIMEOUT.as_secs())
        .set_network_options(network)
        .set_max_packet_size(Some(MAX_INCOMING_BYTES))
        .set_outgoing_inflight_upper_limit(PACKET_IDS)
        .set_last_will(LastWill::new(
            will.to_string(),
            Vec::new(),
            QoS::AtLeastOnce,
            false,
            None,
        ));
    options
}
