//! MQTT 5 without I/O: bytes in, packets out, and back. The only file that imports mqtt_protocol_core.
//!
//! It closes what that crate lets through: packets before CONNECT, packet id 0, wildcards in a PUBLISH topic, QoS 2,
//! retained messages. Whatever is wrong ends the connection, with a reason code where the protocol allows one.

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{
    MaximumQos, Packet, Property, Qos, RetainAvailable, ServerKeepAlive, SessionExpiryInterval,
    SharedSubscriptionAvailable, SubscriptionIdentifierAvailable, WildcardSubscriptionAvailable,
    v5_0,
};
use mqtt_protocol_core::mqtt::prelude::GenericPacketTrait;
use mqtt_protocol_core::mqtt::result_code::{MqttError, UnsubackReasonCode};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use std::fmt;
use wire::batch::MAX_BATCH_BYTES;

pub(super) use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, DisconnectReasonCode, PubackReasonCode, SubackReasonCode,
};

/// Publishes of a device that may await their commit.
pub(super) const RECEIVE_MAXIMUM: u16 = 32;
/// A batch with its topic and properties fits.
pub(super) const MAXIMUM_PACKET_BYTES: u32 = MAX_BATCH_BYTES as u32 + 4096;
/// Longest keep-alive that is granted; also the one of a device that asks for none.
pub(super) const KEEP_ALIVE_SECONDS: u16 = 300;

/// What a device sent, with all that is needed to judge it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Connect(Connect),
    Publish {
        topic: String,
        /// Absent at QoS 0.
        packet_id: Option<u16>,
        payload: Vec<u8>,
    },
    Subscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Disconnect,
    /// Nothing to do: a ping, which was answered.
    Alive,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) client_id: String,
    pub(super) will_topic: Option<String>,
    pub(super) keep_alive_seconds: u16,
}

pub(super) struct Protocol {
    connection: Connection<role::Server>,
    input: Vec<u8>,
    /// How much of `input` was taken.
    taken: usize,
    output: Vec<u8>,
    connected: bool,
    /// Why no more is read; what is in `output` is still written.
    closed: Option<&'static str>,
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol")
    }
}

impl Protocol {
    pub(super) fn new() -> Self {
        let options = ConnectionOptions::new()
            .maximum_packet_size_recv(MAXIMUM_PACKET_BYTES)
            .receive_maximum(RECEIVE_MAXIMUM);
        let mut connection = Connection::with_options(Version::V5_0, options);
        connection.set_auto_ping_response(true);
        Self {
            connection,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            connected: false,
            closed: None,
        }
    }

    /// Bytes that came from the network.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..self.taken);
        self.taken = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Bytes that want to go to the network.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    pub(super) fn closed(&self) -> Option<&'static str> {
        self.closed
    }

    /// The next packet, if a whole one has come.
    pub(super) fn next(&mut self) -> Option<Incoming> {
        while self.closed.is_none() && self.taken < self.input.len() {
            let mut cursor = Cursor::new(&self.input[self.taken..]);
            let events = self.connection.recv(&mut cursor);
            self.taken +=
                usize::try_from(cursor.position()).expect("positions lie within the input");
            if let Some(incoming) = self.handle(events) {
                return Some(incoming);
            }
        }
        None
    }

    fn handle(&mut self, events: Vec<Event>) -> Option<Incoming> {
        let mut incoming = None;
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => self.write(&packet),
                Event::NotifyPacketReceived(packet) => incoming = self.received(packet),
                Event::NotifyError(error) => self.fail(error),
                Event::RequestClose => self.close("the protocol was broken"),
                // Keep-alive is watched by the session, packet ids of ours are not used.
                Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::NotifyPacketIdReleased(_) => {}
            }
        }
        // Of a packet that broke the rules nothing is looked at.
        incoming.filter(|_| self.closed.is_none())
    }

    fn received(&mut self, packet: Packet) -> Option<Incoming> {
        if let Packet::V5_0Connect(connect) = packet {
            return Some(Incoming::Connect(Connect {
                client_id: connect.client_id().to_owned(),
                will_topic: connect.will_topic().map(ToOwned::to_owned),
                keep_alive_seconds: connect.keep_alive(),
            }));
        }
        if !self.connected {
            self.close("a packet came before CONNECT");
            return None;
        }
        match packet {
            Packet::V5_0Publish(publish) => self.received_publish(&publish),
            Packet::V5_0Subscribe(subscribe) => Some(Incoming::Subscribe {
                packet_id: self.nonzero(subscribe.packet_id())?,
                filters: subscribe
                    .entries()
                    .iter()
                    .map(|entry| entry.topic_filter().to_owned())
                    .collect(),
            }),
            Packet::V5_0Unsubscribe(unsubscribe) => Some(Incoming::Unsubscribe {
                packet_id: self.nonzero(unsubscribe.packet_id())?,
                filters: unsubscribe
                    .entries()
                    .iter()
                    .map(|entry| entry.as_str().to_owned())
                    .collect(),
            }),
            Packet::V5_0Pingreq(_) => Some(Incoming::Alive),
            Packet::V5_0Disconnect(_) => {
                self.closed = Some("the device said goodbye");
                Some(Incoming::Disconnect)
            }
            _ => {
                self.disconnect(
                    DisconnectReasonCode::ProtocolError,
                    "an unexpected packet came",
                );
                None
            }
        }
    }

    fn received_publish(&mut self, publish: &v5_0::Publish) -> Option<Incoming> {
        let packet_id = match publish.packet_id() {
            Some(id) => Some(self.nonzero(id)?),
            None => None,
        };
        let wrong = if publish.qos() == Qos::ExactlyOnce {
            Some(DisconnectReasonCode::QosNotSupported)
        } else if publish.retain() {
            Some(DisconnectReasonCode::RetainNotSupported)
        } else if publish.topic_name().contains(['+', '#']) {
            Some(DisconnectReasonCode::TopicNameInvalid)
        } else {
            None
        };
        if let Some(reason) = wrong {
            self.disconnect(reason, "a PUBLISH was not allowed as it was");
            return None;
        }
        Some(Incoming::Publish {
            topic: publish.topic_name().to_owned(),
            packet_id,
            payload: publish.payload().as_slice().to_vec(),
        })
    }

    /// Packet id 0 is malformed (MQTT 5, section 2.2.1); the crate passes it on and cannot answer it.
    fn nonzero(&mut self, packet_id: u16) -> Option<u16> {
        if packet_id == 0 {
            self.disconnect(DisconnectReasonCode::ProtocolError, "packet id 0 was used");
            return None;
        }
        Some(packet_id)
    }

    pub(super) fn accept(&mut self, server_keep_alive: Option<u16>) {
        let mut props: Vec<Property> = vec![property(SessionExpiryInterval::new(0))];
        props.push(property(MaximumQos::new(1)));
        props.push(property(RetainAvailable::new(0)));
        props.push(property(WildcardSubscriptionAvailable::new(0)));
        props.push(property(SharedSubscriptionAvailable::new(0)));
        props.push(property(SubscriptionIdentifierAvailable::new(0)));
        if let Some(seconds) = server_keep_alive {
            props.push(property(ServerKeepAlive::new(seconds)));
        }
        let connack = v5_0::Connack::builder()
            .session_present(false)
            .reason_code(ConnectReasonCode::Success)
            .props(props)
            .build();
        self.connected = true;
        self.send(connack);
    }

    pub(super) fn refuse(&mut self, reason: ConnectReasonCode, why: &'static str) {
        let connack = v5_0::Connack::builder()
            .session_present(false)
            .reason_code(reason)
            .build();
        self.send(connack);
        self.close(why);
    }

    pub(super) fn puback(&mut self, packet_id: u16, reason: PubackReasonCode) {
        let puback = v5_0::Puback::builder()
            .packet_id(packet_id)
            .reason_code(reason)
            .build();
        self.send(puback);
    }

    pub(super) fn suback(&mut self, packet_id: u16, reasons: Vec<SubackReasonCode>) {
        let suback = v5_0::Suback::builder()
            .packet_id(packet_id)
            .reason_codes(reasons)
            .build();
        self.send(suback);
    }

    pub(super) fn unsuback(&mut self, packet_id: u16, count: usize) {
        let unsuback = v5_0::Unsuback::builder()
            .packet_id(packet_id)
            .reason_codes(vec![UnsubackReasonCode::Success; count])
            .build();
        self.send(unsuback);
    }

    /// Publishes at QoS 0. One larger than the device takes ends the connection.
    pub(super) fn publish(&mut self, topic: &str, payload: Vec<u8>) {
        let publish = v5_0::Publish::builder()
            .topic_name(topic)
            .and_then(|builder| builder.qos(Qos::AtMostOnce).payload(payload).build());
        self.send(publish);
    }

    pub(super) fn disconnect(&mut self, reason: DisconnectReasonCode, why: &'static str) {
        if self.connected && self.closed.is_none() {
            self.write_disconnect(reason);
        }
        self.close(why);
    }

    fn send<P: Into<Packet>>(&mut self, packet: Result<P, MqttError>) {
        match packet {
            Ok(packet) => {
                let events = self.connection.send(packet.into());
                self.handle(events);
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: MqttError) {
        tracing::debug!(?error, "MQTT protocol error");
        let reason = match error {
            MqttError::PacketTooLarge => DisconnectReasonCode::PacketTooLarge,
            MqttError::ReceiveMaximumExceeded => DisconnectReasonCode::ReceiveMaximumExceeded,
            _ => DisconnectReasonCode::ProtocolError,
        };
        self.disconnect(reason, "the protocol was broken");
    }

    fn close(&mut self, why: &'static str) {
        self.closed.get_or_insert(why);
    }

    fn write(&mut self, packet: &Packet) {
        match packet {
            Packet::V5_0Disconnect(disconnect) => {
                let reason = disconnect.reason_code();
                self.write_disconnect(reason.unwrap_or(DisconnectReasonCode::NormalDisconnection));
                self.close("the protocol was broken");
            }
            other => self.output.extend_from_slice(&other.to_continuous_buffer()),
        }
    }

    /// The form with an empty property list: rumqttc does not report the shorter one, which is allowed as well.
    fn write_disconnect(&mut self, reason: DisconnectReasonCode) {
        self.output
            .extend_from_slice(&[0xE0, 0x02, reason as u8, 0x00]);
    }
}

fn property<P: Into<Property>>(property: Result<P, MqttError>) -> Property {
    property
        .expect("the values are constants within their range")
        .into()
}
