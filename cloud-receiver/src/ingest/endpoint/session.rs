//! One admitted connection, from its CONNACK to its end: a single task that waits for everything at once.

use super::codec::{Codec, Inbound, Violation};
use super::commit::{Answers, Content, Pipeline};
use super::outbox::Outbox;
use super::registry::Seat;
use super::{EndpointDeps, acl, commands};
use crate::ingest::identity::Presented;
use crate::store::{DeviceRow, StoreError};
use bytes::BytesMut;
use futures::future::BoxFuture;
use mqtt_protocol_core::mqtt::result_code::{
    DisconnectReasonCode, PubackReasonCode, SubackReasonCode, UnsubackReasonCode,
};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::topic::{Channel, Topic};
use wire::{CommandId, DeviceId};

/// Read at a time.
const READ_BYTES: usize = 16 * 1024;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("it said goodbye")]
    Goodbye,
    #[error("it asked to be counted as lost")]
    AskedForWill,
    #[error("the connection closed without a goodbye")]
    Closed,
    #[error("the connection failed: {0}")]
    Failed(io::Error),
    #[error("it sent {}", .0.what)]
    Violation(Violation),
    #[error("it was silent for one and a half keep-alives")]
    Silent,
    #[error("it does not take what is sent to it")]
    Stalled,
    #[error("it connected anew")]
    TakenOver,
    #[error("it is not, or no longer, in service")]
    Revoked,
    #[error("its certificate has expired")]
    Expired,
    #[error("the store failed: {0}")]
    Store(StoreError),
    #[error("the receiver stops")]
    Stopping,
}

impl End {
    /// What the device is told. None where it cannot hear it, or was told already.
    fn reason(&self) -> Option<DisconnectReasonCode> {
        use DisconnectReasonCode as Code;
        match self {
            End::Goodbye | End::AskedForWill | End::Closed | End::Failed(_) | End::Stalled => None,
            End::Violation(violation) => Some(violation.reason),
            End::Silent => Some(Code::KeepAliveTimeout),
            End::TakenOver => Some(Code::SessionTakenOver),
            End::Revoked | End::Expired => Some(Code::NotAuthorized),
            End::Store(_) => Some(Code::ServerBusy),
            End::Stopping => Some(Code::ServerShuttingDown),
        }
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        End::Violation(violation)
    }
}

/// What the database says about this device, when it was looked at anew.
type Look = Result<(Option<DeviceRow>, Vec<wire::command::Command>), StoreError>;
/// Work in progress, at most one of a kind.
type Job<T> = Option<BoxFuture<'static, T>>;

pub(super) struct Session {
    pub deps: EndpointDeps,
    pub device: Arc<DeviceRow>,
    pub presented: Presented,
    pub seat: Seat,
    pub codec: Codec,
    pub outbox: Outbox,
    /// Bytes that came behind the CONNECT.
    pub input: BytesMut,
    /// Taken before the device was looked up, so that no change falls between.
    pub changes: watch::Receiver<i64>,
}

impl Session {
    /// Serves until the end, and says why it came.
    pub(super) async fn run<R, W>(self, reader: R, writer: &mut W, stop: &CancellationToken) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut running = Running {
            silent_at: Instant::now() + self.codec.patience(),
            look_at: Instant::now(),
            heard_at: Instant::now(),
            pipeline: Pipeline::new(self.deps.clone(), Arc::clone(&self.device)),
            looking: None,
            noting: None,
            subscribed: HashSet::new(),
            pushed: HashSet::new(),
            unnoted: Vec::new(),
            session: self,
        };
        let end = match running.serve(reader, writer, stop).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        running.part(&end, writer).await;
        end
    }
}

struct Running {
    session: Session,
    pipeline: Pipeline,
    looking: Job<Look>,
    noting: Job<Result<(), StoreError>>,
    subscribed: HashSet<Channel>,
    /// Commands pushed on this connection.
    pushed: HashSet<CommandId>,
    /// Of these, those that may not be on the wire yet, or are not noted as sent.
    unnoted: Vec<CommandId>,
    silent_at: Instant,
    look_at: Instant,
    heard_at: Instant,
}

enum Never {}

impl Running {
    async fn serve<R, W>(
        &mut self,
        mut reader: R,
        writer: &mut W,
        stop: &CancellationToken,
    ) -> Result<Never, End>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            self.take_in()?;
            self.note_sent();
            let is_reading = self.has_room();
            if is_reading {
                self.session.input.reserve(READ_BYTES);
            } else {
                // Who is not listened to cannot be called silent.
                self.silent_at = Instant::now() + self.session.codec.patience();
            }
            let is_answering = !self.session.outbox.is_full();
            let session = &mut self.session;
            let (is_writing, stalled_at) = (session.outbox.has_work(), session.outbox.deadline());
            tokio::select! {
                () = stop.cancelled() => return Err(End::Stopping),
                () = session.seat.taken_over() => return Err(End::TakenOver),
                read = reader.read_buf(&mut session.input), if is_reading => {
                    if read.map_err(End::Failed)? == 0 {
                        return Err(End::Closed);
                    }
                    // Part of a large packet on a slow line is a sign of life too: who sends it cannot ping.
                    self.silent_at = Instant::now() + self.session.codec.patience();
                }
                written = session.outbox.step(writer), if is_writing => {
                    written.map_err(End::Failed)?;
                }
                answers = self.pipeline.next(), if is_answering => {
                    self.answer(answers.map_err(End::Store)?)?;
                }
                look = done(&mut self.looking) => self.see(look)?,
                noted = done(&mut self.noting) => {
                    if let Err(error) = noted {
                        self.warn_of_store("noting a sign of life or a sent command", &error);
                    }
                }
                changed = session.changes.changed() => {
                    // A store that is gone answers nothing either; the next look tells.
                    self.look_at = if changed.is_ok() {
                        Instant::now()
                    } else {
                        return Err(End::Store(StoreError::Missing("store any more")));
                    };
                }
                () = tokio::time::sleep_until(self.look_at), if self.looking.is_none() => self.look(),
                () = tokio::time::sleep_until(self.silent_at), if is_reading => return Err(End::Silent),
                () = tokio::time::sleep_until(stalled_at), if is_writing => {
                    return Err(End::Stalled);
                }
            }
        }
    }

    fn device(&self) -> DeviceId {
        self.session.device.device
    }

    fn topic(&self, channel: Channel) -> String {
        let device = self.device();
        Topic { device, channel }.to_string()
    }

    fn has_room(&self) -> bool {
        !self.pipeline.is_full() && !self.session.outbox.is_full()
    }

    /// Acts on every whole packet that is there, while there is room for what it brings.
    fn take_in(&mut self) -> Result<(), End> {
        while self.has_room() {
            let session = &mut self.session;
            match session
                .codec
                .next(&mut session.input, &mut session.outbox)?
            {
                Some(inbound) => self.act(inbound)?,
                None => break,
            }
        }
        Ok(())
    }

    fn act(&mut self, inbound: Inbound) -> Result<(), End> {
        match inbound {
            Inbound::Publish {
                topic,
                packet_id,
                payload,
            } => {
                let content = match acl::may_publish(self.device(), &topic) {
                    Some(Channel::UpBatch) => Content::Batch(payload),
                    Some(Channel::UpHeartbeat) => Content::Heartbeat(payload),
                    Some(_) => Content::Decided(PubackReasonCode::Success),
                    None => self.refuse_topic(packet_id)?,
                };
                self.pipeline.push(packet_id, content);
            }
            Inbound::Subscribe { packet_id, filters } => self.subscribe(packet_id, &filters)?,
            Inbound::Unsubscribe { packet_id, filters } => self.unsubscribe(packet_id, &filters)?,
            Inbound::Ping => self.note_heard(),
            Inbound::Goodbye { wants_will: false } => return Err(End::Goodbye),
            Inbound::Goodbye { wants_will: true } => return Err(End::AskedForWill),
            Inbound::Connect(_) => {
                return Err(End::Violation(Violation {
                    reason: DisconnectReasonCode::ProtocolError,
                    what: "a second CONNECT",
                }));
            }
        }
        Ok(())
    }

    /// With QoS 1 the device can be told; with QoS 0 the only answer is the end.
    fn refuse_topic(&self, packet_id: Option<u16>) -> Result<Content, End> {
        let device = self.device();
        tracing::warn!(device.id = %device, "device {device} published to a topic that is not its own");
        match packet_id {
            Some(_) => Ok(Content::Decided(PubackReasonCode::NotAuthorized)),
            None => Err(End::Violation(Violation {
                reason: DisconnectReasonCode::NotAuthorized,
                what: "a message to a topic that is not its own",
            })),
        }
    }

    fn subscribe(&mut self, packet_id: u16, filters: &[String]) -> Result<(), End> {
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            reasons.push(match acl::may_subscribe(self.device(), filter) {
                Ok(channel) => {
                    self.subscribed.insert(channel);
                    SubackReasonCode::GrantedQos0
                }
                Err(reason) => reason,
            });
        }
        let session = &mut self.session;
        session
            .codec
            .grant(packet_id, reasons, &mut session.outbox)?;
        if self.subscribed.contains(&Channel::DownCommand) {
            self.look_at = Instant::now();
        }
        Ok(())
    }

    fn unsubscribe(&mut self, packet_id: u16, filters: &[String]) -> Result<(), End> {
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            let was_there = acl::may_subscribe(self.device(), filter)
                .is_ok_and(|channel| self.subscribed.remove(&channel));
            reasons.push(if was_there {
                UnsubackReasonCode::Success
            } else {
                UnsubackReasonCode::NoSubscriptionExisted
            });
        }
        let session = &mut self.session;
        Ok(session
            .codec
            .ungrant(packet_id, reasons, &mut session.outbox)?)
    }

    /// Commands count as sent once they have left this process, not before.
    fn note_sent(&mut self) {
        if self.noting.is_none() && !self.unnoted.is_empty() && !self.session.outbox.has_work() {
            let deps = &self.session.deps;
            self.noting = Some(Box::pin(commands::note_sent(
                Arc::clone(&deps.store),
                std::mem::take(&mut self.unnoted),
                (deps.now)(),
            )));
        }
    }

    /// Receipts first: they carry the precise codes of what is refused, PUBACK only says that it is.
    fn answer(&mut self, answers: Answers) -> Result<(), End> {
        let topic = self.topic(Channel::DownReceipt);
        let Session { codec, outbox, .. } = &mut self.session;
        if self.subscribed.contains(&Channel::DownReceipt) {
            for receipt in &answers.receipts {
                let json = serde_json::to_vec(receipt).expect("receipts are plain JSON");
                codec.push(&topic, json, outbox)?;
            }
        }
        for (packet_id, reason) in answers.acknowledgements {
            codec.acknowledge(packet_id, reason, outbox)?;
        }
        Ok(())
    }

    fn look(&mut self) {
        let deps = &self.session.deps;
        self.look_at = Instant::now() + deps.limits.look_every;
        self.looking = Some(Box::pin(commands::look(
            Arc::clone(&deps.store),
            self.device(),
            self.subscribed.contains(&Channel::DownCommand),
            (deps.now)(),
        )));
    }

    /// Ends the session of a revoked device; pushes commands that were not pushed on it yet.
    fn see(&mut self, look: Look) -> Result<(), End> {
        let (row, commands) = match look {
            Ok(look) => look,
            Err(error) => {
                self.warn_of_store("looking for commands and revocations", &error);
                return Ok(());
            }
        };
        let presented = &self.session.presented;
        if !row.is_some_and(|row| acl::is_in_service(&row, presented)) {
            return Err(End::Revoked);
        }
        if presented.certificate.is_expired((self.session.deps.now)()) {
            return Err(End::Expired);
        }
        let topic = self.topic(Channel::DownCommand);
        for command in commands {
            if !self.pushed.insert(command.id) {
                continue;
            }
            let Session {
                deps,
                codec,
                outbox,
                ..
            } = &mut self.session;
            let signed = command.sign(&deps.command_key);
            let json = serde_json::to_vec(&signed).expect("commands are plain JSON");
            codec.push(&topic, json, outbox)?;
            self.unnoted.push(command.id);
        }
        Ok(())
    }

    /// Batches and heartbeats are noted by the store; a device that only pings is noted here, now and then.
    fn note_heard(&mut self) {
        let deps = &self.session.deps;
        if self.noting.is_some() || self.heard_at.elapsed() < deps.limits.note_heard_every {
            return;
        }
        self.heard_at = Instant::now();
        let (store, device, now) = (Arc::clone(&deps.store), self.device(), (deps.now)());
        self.noting = Some(Box::pin(
            async move { store.heard(device, None, now).await },
        ));
    }

    /// Says why it ends, to who can hear it. At a stop, what has arrived is answered first, else it is sent again;
    /// but not at any price.
    async fn part<W: AsyncWrite + Unpin>(&mut self, end: &End, writer: &mut W) {
        let farewell = self.session.deps.limits.farewell;
        if let End::Stopping = end {
            let _ = tokio::time::timeout(farewell, self.answer_all()).await;
        }
        let session = &mut self.session;
        if let Some(reason) = end.reason() {
            session.codec.disconnect(reason, &mut session.outbox);
        }
        if !matches!(end, End::Closed | End::Failed(_) | End::Stalled) {
            let _ = tokio::time::timeout(farewell, session.outbox.drain(writer)).await;
        }
    }

    async fn answer_all(&mut self) -> Result<(), End> {
        while !self.pipeline.is_empty() {
            let answers = self.pipeline.next().await.map_err(End::Store)?;
            self.answer(answers)?;
        }
        Ok(())
    }

    fn warn_of_store(&self, what: &str, error: &StoreError) {
        let device = self.device();
        tracing::warn!(device.id = %device, %error, "{what} for device {device}: {error}");
    }
}

/// Waits for the job, if there is one, and clears its place. Safe to cancel.
async fn done<T>(job: &mut Job<T>) -> T {
    match job {
        Some(running) => {
            let outcome = running.await;
            *job = None;
            outcome
        }
        None => std::future::pending().await,
    }
}
