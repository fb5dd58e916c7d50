//! MQTT 5 between bytes and meaning: the one place that knows the protocol crate, and closes what it lets
//! through.
//!
//! The crate checks packets and keeps a connection's state without doing I/O. Seen in its source (0.7.9), and
//! therefore caught here: packets before CONNECT, packet id 0 and packet ids still in use, wildcards in the topic
//! of a PUBLISH, what CONNACK said is not offered (QoS 2, retained messages). Its DISCONNECT is replaced by the
//! four-byte form, which every client understands; some swallow the three-byte one.
//!
//! Messages to the device go out with QoS 0: a receipt is repeated for every batch that is sent again, and a
//! command is pushed anew on every connection until its answer is recorded, so an acknowledgement by MQTT would
//! add nothing but packet ids to lose.

use super::outbox::Outbox;
use bytes::{Buf, BytesMut};
use mqtt_protocol_core::mqtt::Connection;
use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::common::{ArcPayload, Cursor};
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::{self as mqtt, GenericPacketTrait, Packet, Property, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, DisconnectReasonCode, MqttError, PubackReasonCode, SubackReasonCode,
    UnsubackReasonCode,
};
use mqtt_protocol_core::mqtt::role::Server;
use std::collections::HashSet;
use std::time::Duration;

/// Batches of one device that may be on their way to the commit at a time.
pub(super) const RECEIVE_MAXIMUM: u16 = 64;
/// The largest packet: a whole batch, and room for header, topic and properties.
pub(super) const MAX_PACKET_BYTES: u32 = wire::batch::MAX_BATCH_BYTES as u32 + 1024;
/// A device that asks for none, or for more, is told to keep to this.
const MAX_KEEP_ALIVE_SECONDS: u16 = 300;

/// What a device says when it connects.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    pub client_id: String,
    pub will_topic: Option<String>,
    pub keep_alive_seconds: u16,
    /// It wants to authenticate by more than its certificate, which nobody offers.
    pub wants_authentication: bool,
}

/// One packet of the device that somebody has to act on.
#[derive(Debug)]
pub(super) enum Inbound {
    Connect(Greeting),
    Publish {
        topic: String,
        /// Absent with QoS 0: then nobody waits for a PUBACK.
        packet_id: Option<u16>,
        payload: ArcPayload,
    },
    Subscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    /// Answered already.
    Ping,
    Goodbye {
        wants_will: bool,
    },
}

/// Why a connection must end now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub reason: DisconnectReasonCode,
    pub what: &'static str,
}

impl Violation {
    fn new(reason: DisconnectReasonCode, what: &'static str) -> Self {
        Self { reason, what }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not a byte yet.
    Fresh,
    /// In the middle of what may become a CONNECT.
    Begun,
    Greeting,
    Open,
    Closed,
}

pub(super) struct Codec {
    connection: Connection<Server>,
    state: State,
    /// QoS 1 packet ids not yet acknowledged.
    in_flight: HashSet<u16>,
    /// Silence that ends the connection: one and a half keep-alives.
    patience: Duration,
}

impl Codec {
    pub(super) fn new() -> Self {
        let options = ConnectionOptions::new()
            .maximum_packet_size_recv(MAX_PACKET_BYTES)
            .receive_maximum(RECEIVE_MAXIMUM);
        Self {
            connection: Connection::with_options(Version::V5_0, options),
            state: State::Fresh,
            in_flight: HashSet::new(),
            patience: patience_of(MAX_KEEP_ALIVE_SECONDS),
        }
    }

    /// How long the device may be silent.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Takes the next whole packet out of `input`; part of one is kept inside. After a violation there is no
    /// next packet.
    pub(super) fn next(
        &mut self,
        input: &mut BytesMut,
        outbox: &mut Outbox,
    ) -> Result<Option<Inbound>, Violation> {
        while !input.is_empty() && self.state != State::Closed {
            self.begin(input[0])?;
            let mut cursor = Cursor::new(&input[..]);
            let events = self.connection.recv(&mut cursor);
            let consumed = usize::try_from(cursor.position()).expect("within the input");
            input.advance(consumed);
            let understood = self
                .apply(events, outbox)
                .and_then(|packet| packet.map(|packet| self.understand(packet)).transpose());
            match understood {
                Ok(None) => {}
                Ok(Some(Inbound::Ping)) => {
                    self.send(v5_0::Pingresp::new().into(), outbox)?;
                    return Ok(Some(Inbound::Ping));
                }
                Ok(Some(inbound)) => return Ok(Some(inbound)),
                Err(violation) => {
                    self.disconnect(violation.reason, outbox);
                    return Err(violation);
                }
            }
        }
        Ok(None)
    }

    /// Another protocol is known by its first byte; waiting for the rest of its "packet" would only cost a place.
    fn begin(&mut self, first: u8) -> Result<(), Violation> {
        const CONNECT: u8 = 0x10;
        if self.state != State::Fresh {
            return Ok(());
        }
        if first != CONNECT {
            self.state = State::Closed;
            return Err(too_early());
        }
        self.state = State::Begun;
        Ok(())
    }

    /// Acts on what the crate asks for; answers the packet it received, if it is a good one.
    fn apply(
        &mut self,
        events: Vec<Event>,
        outbox: &mut Outbox,
    ) -> Result<Option<Packet>, Violation> {
        let mut received = None;
        let mut outcome = Ok(());
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => received = Some(packet),
                // Ours is written instead, by whoever sees the violation.
                Event::RequestSendPacket {
                    packet: Packet::V5_0Disconnect(_),
                    ..
                } => {}
                Event::RequestSendPacket { packet, .. } => {
                    outbox.push(&packet.to_continuous_buffer());
                }
                Event::RequestTimerReset {
                    kind: TimerKind::PingreqRecv,
                    duration_ms,
                } => self.patience = Duration::from_millis(duration_ms),
                Event::NotifyError(error) => outcome = Err(violation_of(error)),
                Event::RequestClose => {
                    outcome = outcome.and(Err(violation_of(MqttError::ProtocolError)))
                }
                Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::NotifyPacketIdReleased(_) => {}
            }
        }
        outcome.map(|()| received)
    }

    fn understand(&mut self, packet: Packet) -> Result<Inbound, Violation> {
        use DisconnectReasonCode as Code;
        match (self.state, packet) {
            (State::Begun, Packet::V5_0Connect(connect)) => {
                self.state = State::Greeting;
                Ok(Inbound::Connect(greeting_of(&connect)))
            }
            (State::Open, Packet::V5_0Publish(publish)) => self.publish(&publish),
            (State::Open, Packet::V5_0Subscribe(subscribe)) => Ok(Inbound::Subscribe {
                packet_id: whole(subscribe.packet_id())?,
                filters: subscribe
                    .entries()
                    .iter()
                    .map(|entry| entry.topic_filter().to_owned())
                    .collect(),
            }),
            (State::Open, Packet::V5_0Unsubscribe(unsubscribe)) => Ok(Inbound::Unsubscribe {
                packet_id: whole(unsubscribe.packet_id())?,
                filters: unsubscribe
                    .entries()
                    .iter()
                    .map(|filter| filter.as_str().to_owned())
                    .collect(),
            }),
            (State::Open, Packet::V5_0Pingreq(_)) => Ok(Inbound::Ping),
            (State::Open, Packet::V5_0Disconnect(goodbye)) => {
                self.state = State::Closed;
                Ok(Inbound::Goodbye {
                    wants_will: goodbye.reason_code() == Some(Code::DisconnectWithWillMessage),
                })
            }
            (State::Open, _) => Err(Violation::new(
                Code::ProtocolError,
                "a packet that has no place here",
            )),
            _ => Err(too_early()),
        }
    }

    fn publish(&mut self, publish: &v5_0::Publish) -> Result<Inbound, Violation> {
        use DisconnectReasonCode as Code;
        let refuse = |reason, what| Err(Violation::new(reason, what));
        if publish.qos() == mqtt::Qos::ExactlyOnce {
            return refuse(Code::QosNotSupported, "a message with QoS 2");
        }
        if publish.retain() {
            return refuse(Code::RetainNotSupported, "a retained message");
        }
        let topic = publish.topic_name();
        if topic.contains(['+', '#']) {
            return refuse(Code::TopicNameInvalid, "a message to a wildcard");
        }
        let packet_id = publish.packet_id().map(whole).transpose()?;
        if let Some(packet_id) = packet_id
            && !self.in_flight.insert(packet_id)
        {
            return refuse(Code::ProtocolError, "a packet id that is still in use");
        }
        Ok(Inbound::Publish {
            topic: topic.to_owned(),
            packet_id,
            payload: publish.payload().clone(),
        })
    }

    /// Lets the device in, and says what is on offer.
    pub(super) fn welcome(
        &mut self,
        greeting: &Greeting,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        let offer = offer(greeting.keep_alive_seconds).expect("constants within their ranges");
        let connack = v5_0::Connack::builder()
            .session_present(false)
            .reason_code(ConnectReasonCode::Success)
            .props(offer)
            .build()
            .expect("a reason code is given");
        self.send(connack.into(), outbox)?;
        self.state = State::Open;
        Ok(())
    }

    /// Turns the device away.
    pub(super) fn refuse(&mut self, reason: ConnectReasonCode, outbox: &mut Outbox) {
        let connack = v5_0::Connack::builder()
            .session_present(false)
            .reason_code(reason)
            .build()
            .expect("a reason code is given");
        // The crate asks for the close that refusing means; a device that cannot even take this hears nothing.
        let _ = self.send(connack.into(), outbox);
        self.state = State::Closed;
    }

    pub(super) fn acknowledge(
        &mut self,
        packet_id: u16,
        reason: PubackReasonCode,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        self.in_flight.remove(&packet_id);
        let builder = v5_0::Puback::builder().packet_id(packet_id);
        let builder = match reason {
            PubackReasonCode::Success => builder,
            reason => builder.reason_code(reason),
        };
        let puback = builder.build().expect("packet ids are checked on arrival");
        self.send(puback.into(), outbox)
    }

    pub(super) fn grant(
        &mut self,
        packet_id: u16,
        reasons: Vec<SubackReasonCode>,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        let suback = v5_0::Suback::builder()
            .packet_id(packet_id)
            .reason_codes(reasons)
            .build()
            .map_err(violation_of)?;
        self.send(suback.into(), outbox)
    }

    pub(super) fn ungrant(
        &mut self,
        packet_id: u16,
        reasons: Vec<UnsubackReasonCode>,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        let unsuback = v5_0::Unsuback::builder()
            .packet_id(packet_id)
            .reason_codes(reasons)
            .build()
            .map_err(violation_of)?;
        self.send(unsuback.into(), outbox)
    }

    /// A message to the device, QoS 0.
    pub(super) fn push(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        let publish = v5_0::Publish::builder()
            .topic_name(topic)
            .map_err(violation_of)?
            .qos(mqtt::Qos::AtMostOnce)
            .payload(payload)
            .build()
            .map_err(violation_of)?;
        self.send(publish.into(), outbox)
    }

    /// Says why the connection ends, where MQTT allows to say anything.
    pub(super) fn disconnect(&mut self, reason: DisconnectReasonCode, outbox: &mut Outbox) {
        const DISCONNECT: u8 = 0xE0;
        if self.state == State::Open {
            outbox.push(&[DISCONNECT, 2, reason as u8, 0]);
        }
        self.state = State::Closed;
    }

    /// A packet that the device's own limits forbid ends the connection: half of a truth is not sent.
    fn send(&mut self, packet: Packet, outbox: &mut Outbox) -> Result<(), Violation> {
        if self.state == State::Closed {
            return Ok(());
        }
        let events = self.connection.send(packet);
        self.apply(events, outbox).map(drop)
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

fn too_early() -> Violation {
    Violation::new(
        DisconnectReasonCode::ProtocolError,
        "a packet before the connection was established",
    )
}

/// Packet id 0 passes the crate's parser and fails in its builders.
fn whole(packet_id: u16) -> Result<u16, Violation> {
    match packet_id {
        0 => Err(Violation::new(
            DisconnectReasonCode::ProtocolError,
            "packet id 0",
        )),
        id => Ok(id),
    }
}

fn greeting_of(connect: &v5_0::Connect) -> Greeting {
    Greeting {
        client_id: connect.client_id().to_owned(),
        will_topic: connect.will_topic().map(str::to_owned),
        keep_alive_seconds: connect.keep_alive(),
        wants_authentication: connect
            .props()
            .iter()
            .any(|property| matches!(property, Property::AuthenticationMethod(_))),
    }
}

/// The properties of a CONNACK that lets in. Receive Maximum and Maximum Packet Size are added by the crate.
fn offer(keep_alive_seconds: u16) -> Result<mqtt::Properties, MqttError> {
    let mut offer = vec![
        mqtt::SessionExpiryInterval::new(0)?.into(),
        mqtt::MaximumQos::new(1)?.into(),
        mqtt::RetainAvailable::new(0)?.into(),
        mqtt::TopicAliasMaximum::new(0)?.into(),
        mqtt::WildcardSubscriptionAvailable::new(0)?.into(),
        mqtt::SubscriptionIdentifierAvailable::new(0)?.into(),
        mqtt::SharedSubscriptionAvailable::new(0)?.into(),
    ];
    if !(1..=MAX_KEEP_ALIVE_SECONDS).contains(&keep_alive_seconds) {
        offer.push(mqtt::ServerKeepAlive::new(MAX_KEEP_ALIVE_SECONDS)?.into());
    }
    Ok(offer)
}

fn patience_of(keep_alive_seconds: u16) -> Duration {
    Duration::from_secs(u64::from(keep_alive_seconds)) * 3 / 2
}

/// Codes of the protocol keep their meaning; the crate's own errors on foreign bytes mean malformed ones.
fn violation_of(error: MqttError) -> Violation {
    const FIRST_OF_THE_CRATE: u16 = 0x100;
    let what = match error {
        MqttError::PacketTooLarge => "a packet larger than allowed",
        MqttError::ReceiveMaximumExceeded => "more unacknowledged messages than allowed",
        MqttError::ProtocolError => "a packet against the protocol",
        MqttError::TopicAliasInvalid => "a topic alias, of which none is offered",
        MqttError::UnsupportedProtocolVersion => "a protocol other than MQTT 5",
        _ => "a malformed packet",
    };
    let reason = if (error as u16) < FIRST_OF_THE_CRATE {
        error.into()
    } else {
        DisconnectReasonCode::MalformedPacket
    };
    Violation::new(reason, what)
}
