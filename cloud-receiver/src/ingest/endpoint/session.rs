//! One device's connection from CONNECT to its end.
//!
//! One task reads, decides and writes; batches go through the [`Pipeline`]. When Receive Maximum of them await
//! their commit, nothing more is read: the device waits, not our memory.

use super::Endpoint;
use super::pipeline::{Answered, Pipeline};
use super::protocol::{
    Connect, ConnectReasonCode, DisconnectReasonCode, Incoming, KEEP_ALIVE_SECONDS, Protocol,
    PubackReasonCode, RECEIVE_MAXIMUM, SubackReasonCode,
};
use super::registry::Place;
use crate::clock::now;
use crate::store::{DeviceRow, StoreError};
use std::collections::HashSet;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use wire::topic::{Channel, Topic};
use wire::{CommandId, DeviceId};

/// CONNECT must come within this after the handshake.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A device that takes nothing for this long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 64 * 1024;

pub(super) struct Session {
    endpoint: Endpoint,
    id: DeviceId,
    stream: TlsStream<TcpStream>,
    protocol: Protocol,
    pipeline: Pipeline,
    changes: watch::Receiver<i64>,
    /// After CONNECT was accepted.
    entered: Option<Entered>,
    heard: Instant,
    keep_alive: Duration,
}

struct Entered {
    device: DeviceRow,
    place: Place,
    receipts: bool,
    commands: bool,
    /// Commands of this session: sent once each.
    sent: HashSet<CommandId>,
}

/// What to do next.
enum Step {
    Stop,
    TakenOver,
    Answer(Answered),
    Failed(StoreError),
    Changed,
    Read(usize),
    Silent,
}

impl Session {
    pub(super) fn new(endpoint: Endpoint, id: DeviceId, stream: TlsStream<TcpStream>) -> Self {
        let changes = endpoint.intake.store().changes();
        let pipeline = Pipeline::new(endpoint.intake.clone());
        Self {
            endpoint,
            id,
            stream,
            protocol: Protocol::new(),
            pipeline,
            changes,
            entered: None,
            heard: Instant::now(),
            keep_alive: CONNECT_WITHIN,
        }
    }

    /// Runs to the end; says why it ended.
    pub(super) async fn run(mut self) -> String {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Err(error) = self.write().await {
                return error;
            }
            if let Some(reason) = self.protocol.closed() {
                let _ = tokio::time::timeout(WRITE_WITHIN, self.stream.shutdown()).await;
                return reason.to_owned();
            }
            let handled = match self.next_step(&mut buffer).await {
                Err(error) => return error,
                Ok(Step::Read(count)) => {
                    self.heard = Instant::now();
                    self.protocol.feed(&buffer[..count]);
                    self.take_packets().await
                }
                Ok(Step::Answer(answer)) => {
                    self.answer(answer);
                    // What was waiting for room may now be taken from what was read before.
                    self.take_packets().await
                }
                Ok(Step::Failed(error)) => Err(error),
                Ok(Step::Changed) => self.look_again().await,
                Ok(Step::Stop) => self.end(
                    DisconnectReasonCode::ServerShuttingDown,
                    "the receiver stops",
                ),
                Ok(Step::TakenOver) => self.end(
                    DisconnectReasonCode::SessionTakenOver,
                    "the device connected anew",
                ),
                Ok(Step::Silent) => self.end(
                    DisconnectReasonCode::KeepAliveTimeout,
                    "the device was silent for too long",
                ),
            };
            if let Err(error) = handled {
                // Nothing was decided about what is in flight: the device sends it again.
                tracing::error!(device.id = %self.id, %error, "the store failed; the device is sent away");
                self.protocol
                    .disconnect(DisconnectReasonCode::ServerBusy, "the store failed");
            }
        }
    }

    async fn next_step(&mut self, buffer: &mut [u8]) -> Result<Step, String> {
        let silent = self.heard + self.keep_alive;
        let room = self.has_room();
        let (device, taken_over) = match &self.entered {
            Some(entered) => (Some(&entered.device), entered.place.taken_over.clone()),
            // Never fires.
            None => (None, CancellationToken::new()),
        };
        Ok(tokio::select! {
            biased;
            () = self.endpoint.stop.cancelled() => Step::Stop,
            () = taken_over.cancelled() => Step::TakenOver,
            answered = self.pipeline.next(device) => {
                answered.map_or_else(Step::Failed, Step::Answer)
            }
            changed = self.changes.changed(), if self.entered.is_some() => {
                changed.map_err(|_| "the store has ended".to_owned())?;
                Step::Changed
            }
            read = self.stream.read(buffer), if room => match read {
                Ok(0) => return Err("the device closed the connection".into()),
                Ok(count) => Step::Read(count),
                Err(error) => return Err(format!("reading: {error}")),
            },
            () = tokio::time::sleep_until(silent), if room => Step::Silent,
        })
    }

    fn has_room(&self) -> bool {
        self.pipeline.len() < usize::from(RECEIVE_MAXIMUM)
    }

    async fn write(&mut self) -> Result<(), String> {
        let output = self.protocol.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let written = tokio::time::timeout(WRITE_WITHIN, async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("writing: {error}")),
            Err(_) => Err("the device takes nothing".into()),
        }
    }

    fn end(&mut self, reason: DisconnectReasonCode, why: &'static str) -> Result<(), StoreError> {
        self.protocol.disconnect(reason, why);
        Ok(())
    }

    /// Takes packets while there is room for what they start.
    async fn take_packets(&mut self) -> Result<(), StoreError> {
        while self.has_room()
            && let Some(incoming) = self.protocol.next()
        {
            match incoming {
                Incoming::Connect(connect) => self.connect(&connect).await?,
                Incoming::Publish {
                    topic,
                    packet_id,
                    payload,
                } => {
                    self.publish(&topic, packet_id, payload);
                }
                Incoming::Subscribe { packet_id, filters } => {
                    self.subscribe(packet_id, &filters).await?
                }
                Incoming::Unsubscribe { packet_id, filters } => {
                    for filter in &filters {
                        self.set_wanted(filter, false);
                    }
                    self.protocol.unsuback(packet_id, filters.len());
                }
                Incoming::Disconnect | Incoming::Alive => {}
            }
        }
        Ok(())
    }

    async fn connect(&mut self, connect: &Connect) -> Result<(), StoreError> {
        let will = Topic {
            device: self.id,
            channel: Channel::UpOffline,
        }
        .to_string();
        if connect.client_id != self.id.to_string() {
            self.protocol.refuse(
                ConnectReasonCode::ClientIdentifierNotValid,
                "the client id is not the certificate's device",
            );
            return Ok(());
        }
        if connect
            .will_topic
            .as_ref()
            .is_some_and(|topic| *topic != will)
        {
            self.protocol.refuse(
                ConnectReasonCode::NotAuthorized,
                "the will is for a foreign topic",
            );
            return Ok(());
        }
        let device = match self.endpoint.intake.admit(self.id).await? {
            Ok(device) => device,
            Err(turned) => {
                self.protocol
                    .refuse(ConnectReasonCode::NotAuthorized, turned.code());
                return Ok(());
            }
        };
        let asked = connect.keep_alive_seconds;
        let granted = if (1..=KEEP_ALIVE_SECONDS).contains(&asked) {
            asked
        } else {
            KEEP_ALIVE_SECONDS
        };
        self.keep_alive = Duration::from_millis(u64::from(granted) * 1500);
        self.protocol.accept((granted != asked).then_some(granted));
        self.entered = Some(Entered {
            device,
            place: self.endpoint.registry.enter(self.id),
            receipts: false,
            commands: false,
            sent: HashSet::new(),
        });
        tracing::info!(device.id = %self.id, "a device connected over MQTT");
        Ok(())
    }

    fn publish(&mut self, topic: &str, packet_id: Option<u16>, payload: Vec<u8>) {
        let Some(entered) = &self.entered else { return };
        let own = topic
            .parse::<Topic>()
            .ok()
            .filter(|topic| topic.device == self.id);
        match own.map(|topic| topic.channel) {
            Some(Channel::UpBatch) => self.pipeline.batch(&entered.device, packet_id, payload),
            Some(Channel::UpHeartbeat) => self.pipeline.heartbeat(packet_id, payload),
            Some(Channel::UpOffline) => self.pipeline.answer(packet_id, PubackReasonCode::Success),
            Some(Channel::DownReceipt | Channel::DownCommand) | None => {
                self.publish_refused(packet_id)
            }
        }
    }

    fn publish_refused(&mut self, packet_id: Option<u16>) {
        tracing::warn!(device.id = %self.id, "a device published to a topic that is not its own");
        if packet_id.is_some() {
            self.pipeline
                .answer(packet_id, PubackReasonCode::NotAuthorized);
        } else {
            // QoS 0 has no answer but this.
            self.protocol
                .disconnect(DisconnectReasonCode::NotAuthorized, "a foreign topic");
        }
    }

    fn answer(&mut self, answered: Answered) {
        for (packet_id, reason) in answered.acks {
            if let Some(packet_id) = packet_id {
                self.protocol.puback(packet_id, reason);
            }
        }
        if self
            .entered
            .as_ref()
            .is_some_and(|entered| entered.receipts)
        {
            let topic = Topic {
                device: self.id,
                channel: Channel::DownReceipt,
            }
            .to_string();
            for receipt in answered.receipts {
                let json = serde_json::to_vec(&receipt).expect("receipts are plain data");
                self.protocol.publish(&topic, json);
            }
        }
    }

    async fn subscribe(&mut self, packet_id: u16, filters: &[String]) -> Result<(), StoreError> {
        let reasons = filters
            .iter()
            .map(|filter| {
                if self.set_wanted(filter, true) {
                    SubackReasonCode::GrantedQos0
                } else {
                    SubackReasonCode::NotAuthorized
                }
            })
            .collect();
        self.protocol.suback(packet_id, reasons);
        self.send_commands().await
    }

    /// Whether the filter is one of the device's own two.
    fn set_wanted(&mut self, filter: &str, wanted: bool) -> bool {
        let own = filter
            .parse::<Topic>()
            .ok()
            .filter(|topic| topic.device == self.id);
        let Some(entered) = &mut self.entered else {
            return false;
        };
        match own.map(|topic| topic.channel) {
            Some(Channel::DownReceipt) => entered.receipts = wanted,
            Some(Channel::DownCommand) => entered.commands = wanted,
            _ => return false,
        }
        true
    }

    /// Something changed: the device may have been revoked, or have got a command.
    async fn look_again(&mut self) -> Result<(), StoreError> {
        if self.endpoint.intake.admit(self.id).await?.is_err() {
            return self.end(
                DisconnectReasonCode::NotAuthorized,
                "the device was revoked",
            );
        }
        self.send_commands().await
    }

    async fn send_commands(&mut self) -> Result<(), StoreError> {
        let Some(entered) = self.entered.as_mut().filter(|entered| entered.commands) else {
            return Ok(());
        };
        let store = self.endpoint.intake.store();
        let topic = Topic {
            device: self.id,
            channel: Channel::DownCommand,
        }
        .to_string();
        for command in store.pending_commands(self.id, now()).await? {
            if entered.sent.insert(command.id) {
                let signed = command.sign(&self.endpoint.command_key);
                let json = serde_json::to_vec(&signed).expect("commands are plain data");
                self.protocol.publish(&topic, json);
                store.command_sent(command.id, now()).await?;
            }
        }
        Ok(())
    }
}
