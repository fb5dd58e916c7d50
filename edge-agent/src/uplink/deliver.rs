//! Records, receipts, heartbeats and commands: over MQTT while it can be reached, else over HTTPS.

use crate::spool::{Lane, LeasedBatch};
use crate::uplink::backoff::Backoff;
use crate::uplink::https::HttpsError;
use crate::uplink::mqtt::{Incoming, Link, MqttError, WINDOW};
use crate::uplink::{Carriage, Courier};
use futures::FutureExt;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use wire::Receipt;

/// Without a receipt for this long a batch is sent again.
const RECEIPT_DEADLINE: Duration = Duration::from_secs(30);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a stopping agent goes on offering what it has.
const FAREWELL: Duration = Duration::from_secs(5);
/// Batches on their way at a time over HTTPS.
const HTTPS_WINDOW: usize = 4;
/// How long one long poll for commands waits at the receiver.
const POLL_SECONDS: u32 = 25;

/// Delivers until the stop.
pub(super) async fn run(courier: Arc<Courier>) {
    let mut backoff = Backoff::default();
    let mut wait = Duration::ZERO;
    loop {
        let mqtt_is_out = watch::Sender::new(!courier.config.mqtt);
        let link = tokio::select! {
            biased;
            () = courier.stop.cancelled() => break,
            link = courier.reach_mqtt(&mut backoff, wait, &mqtt_is_out) => link,
            never = courier.carry_over_https(mqtt_is_out.subscribe()) => match never {},
        };
        let lost = Session::new(&courier, link).run().await;
        courier.enter(Carriage::Offline);
        if courier.stop.is_cancelled() {
            break;
        }
        if let Some(error) = lost {
            courier.failed(&error, matches!(error, MqttError::DeviceRefused { .. }));
        }
        wait = backoff.after_loss(rand::random());
    }
    courier.enter(Carriage::Offline);
    courier.records_reporter.stopped(courier.now());
}

impl Courier {
    /// Tries until there is a connection. The first failure lets HTTPS take over meanwhile.
    async fn reach_mqtt(
        &self,
        backoff: &mut Backoff,
        mut wait: Duration,
        mqtt_is_out: &watch::Sender<bool>,
    ) -> Link {
        if !self.config.mqtt {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(wait).await;
            match Link::connect(self.target.clone()).await {
                Ok(link) => {
                    backoff.reset();
                    return link;
                }
                Err(error) => {
                    self.failed(&error, matches!(error, MqttError::DeviceRefused { .. }));
                    mqtt_is_out.send_replace(true);
                    wait = backoff.after_failure(rand::random());
                }
            }
        }
    }

    /// Carries records, heartbeats and commands over HTTPS once MQTT is out. Dropped when MQTT is back: what was
    /// on its way is sent again.
    async fn carry_over_https(&self, mut mqtt_is_out: watch::Receiver<bool>) -> Infallible {
        if mqtt_is_out.wait_for(|out| *out).await.is_err() {
            return std::future::pending().await;
        }
        let (never, _) = tokio::join!(self.records_over_https(), self.commands_over_https());
        never
    }

    async fn records_over_https(&self) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.https.time().await {
                Ok(time) => {
                    self.floor.raise(time);
                    self.enter(Carriage::Https);
                    self.spool.begin_session();
                    backoff.reset();
                    self.post_until_failure().await
                }
                Err(error) => error,
            };
            self.enter(Carriage::Offline);
            self.failed(&error, matches!(error, HttpsError::DeviceRefused { .. }));
            tokio::time::sleep(backoff.after_failure(rand::random())).await;
        }
    }

    async fn post_until_failure(&self) -> HttpsError {
        let mut heartbeat = self.heartbeat_interval();
        let mut lane = Lane::Live;
        loop {
            if heartbeat.tick().now_or_never().is_some() {
                let report = (self.heartbeat.0)(Carriage::Https);
                if let Err(error) = self.https.post_heartbeat(&report).await {
                    return error;
                }
            }
            let batches = self.lease(HTTPS_WINDOW, &mut lane).await;
            if batches.is_empty() {
                tokio::select! {
                    () = self.spool.batches_ready() => {}
                    () = tokio::time::sleep(TICK) => {}
                }
                continue;
            }
            let posts = batches.into_iter().map(|batch| self.post(batch));
            for posted in futures::future::join_all(posts).await {
                if let Err(error) = posted {
                    return error;
                }
            }
        }
    }

    /// An error is one of the connection; a batch the receiver refuses for good is parked and no error.
    async fn post(&self, batch: LeasedBatch) -> Result<(), HttpsError> {
        self.watch.update(|status| status.batches_sent += 1);
        match self.https.post_batch(batch.signed).await {
            Ok(receipt) => {
                self.receipted(receipt);
                Ok(())
            }
            Err(error) if error.is_poison() => {
                tracing::warn!(%error, "parking a batch: {error}");
                self.spool.park_batch(batch.id, error.code());
                Ok(())
            }
            Err(error) => {
                self.spool.release_batches(vec![batch.id]);
                Err(error)
            }
        }
    }

    async fn commands_over_https(&self) -> Infallible {
        loop {
            match self.https.commands(POLL_SECONDS).await {
                Ok(commands) => {
                    for command in &commands {
                        self.commands
                            .accept(command, self.verified_time.now())
                            .await;
                    }
                    // A receiver that never waits must not be asked without a pause.
                    tokio::time::sleep(TICK).await;
                }
                Err(_) => tokio::time::sleep(RETRY_COMMANDS).await,
            }
        }
    }

    /// Up to `room` batches, the lanes in turn, so that neither waits for the other.
    async fn lease(&self, room: usize, lane: &mut Lane) -> Vec<LeasedBatch> {
        let mut leased = Vec::new();
        let (first, second) = (*lane, lane.other());
        *lane = second;
        for (limit, lane) in [(room.div_ceil(2), first), (room, second), (room, first)] {
            let left = room - leased.len();
            match self.spool.lease_batches(limit.min(left), lane).await {
                Ok(batches) => leased.extend(batches),
                Err(error) => tracing::warn!(%error, "cannot lease records: {error}"),
            }
            if leased.len() == room {
                break;
            }
        }
        leased
    }

    fn receipted(&self, receipt: Receipt) {
        self.floor.raise(receipt.receiver_time_us);
        let now = self.now();
        self.watch.update(|status| {
            status.receipts += 1;
            status.last_receipt_us = Some(now);
        });
        self.records_reporter.progressed(now);
        self.spool.settle(receipt);
    }

    fn heartbeat_interval(&self) -> Interval {
        let period = Duration::from_secs(self.config.heartbeat_seconds.max(1).into());
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    }

    pub(super) fn now(&self) -> wire::UtcMicros {
        self.time.now().captured_at_us
    }

    fn enter(&self, carriage: Carriage) {
        let now = self.now();
        self.watch.enter(carriage, now);
        if carriage != Carriage::Offline {
            self.records_reporter.progressed(now);
        }
    }

    /// Shows the error in the status and logs it when it is another one than before.
    fn failed(&self, error: &dyn std::fmt::Display, is_refused: bool) {
        let text = error.to_string();
        self.records_reporter.failed(self.now(), &text);
        let is_news = self.watch.update(|status| {
            status.is_refused |= is_refused;
            status.last_error.replace(text.clone()) != Some(text.clone())
        });
        if is_news {
            tracing::warn!("{text}");
        }
    }
}

const RETRY_COMMANDS: Duration = Duration::from_secs(5);

/// One MQTT connection's worth of delivering.
struct Session<'a> {
    courier: &'a Courier,
    link: Link,
    /// Sent and not receipted, by row.
    outstanding: HashMap<i64, Outstanding>,
    lane: Lane,
}

struct Outstanding {
    batch: LeasedBatch,
    sent: Instant,
}

impl<'a> Session<'a> {
    fn new(courier: &'a Courier, link: Link) -> Self {
        Self {
            courier,
            link,
            outstanding: HashMap::new(),
            lane: Lane::Live,
        }
    }

    /// Returns why the connection was lost; nothing if it was closed on purpose.
    async fn run(mut self) -> Option<MqttError> {
        self.courier.enter(Carriage::Mqtt);
        self.courier.spool.begin_session();
        let mut heartbeat = self.courier.heartbeat_interval();
        let mut tick = tokio::time::interval(TICK);
        let mut farewell: Option<Instant> = None;
        loop {
            let incoming = tokio::select! {
                incoming = self.link.next() => Some(incoming),
                () = self.courier.spool.batches_ready(), if self.room() > 0 => None,
                _ = heartbeat.tick() => {
                    self.beat();
                    None
                }
                _ = tick.tick() => {
                    self.send_late_ones_again();
                    None
                }
                () = self.courier.stop.cancelled(), if farewell.is_none() => {
                    farewell = Some(Instant::now() + FAREWELL);
                    self.beat();
                    None
                }
            };
            if let Some(incoming) = incoming
                && let Some(lost) = self.handle(incoming).await
            {
                return Some(lost);
            }
            if farewell.is_some_and(|end| Instant::now() > end || self.is_done()) {
                self.link.disconnect().await;
                return None;
            }
            self.fill().await;
        }
    }

    fn room(&self) -> usize {
        self.link
            .room()
            .min(WINDOW.saturating_sub(self.outstanding.len()))
    }

    fn is_done(&self) -> bool {
        self.outstanding.is_empty() && self.courier.spool.is_drained()
    }

    async fn fill(&mut self) {
        let room = self.room();
        if room == 0 {
            return;
        }
        for batch in self.courier.lease(room, &mut self.lane).await {
            if self.outstanding.contains_key(&batch.id) {
                continue;
            }
            match self.link.publish_batch(batch.id, batch.signed.clone()) {
                Ok(()) => {
                    self.courier.watch.update(|status| status.batches_sent += 1);
                    let sent = Instant::now();
                    self.outstanding
                        .insert(batch.id, Outstanding { batch, sent });
                }
                Err(_) => self.courier.spool.release_batches(vec![batch.id]),
            }
        }
    }

    async fn handle(&mut self, incoming: Incoming) -> Option<MqttError> {
        match incoming {
            Incoming::Receipt(receipt) => {
                self.outstanding.retain(|_, Outstanding { batch, .. }| {
                    !receipt.settles(batch.epoch, batch.first_seq, batch.last_seq)
                });
                self.courier.receipted(receipt);
            }
            Incoming::Command(command) => {
                let now = self.courier.verified_time.now();
                self.courier.commands.accept(&command, now).await;
            }
            // The receiver has it, but only a receipt says that it is stored.
            Incoming::Taken { .. } => {}
            Incoming::Refused {
                id,
                code,
                is_poison: true,
            } => {
                tracing::warn!(code, "parking a batch that the receiver refuses: {code}");
                self.outstanding.remove(&id);
                self.courier.spool.park_batch(id, code);
            }
            // Not now: it is sent again when its receipt is overdue, which is pause enough.
            Incoming::Refused { code, .. } => {
                tracing::warn!(code, "the receiver does not take a batch now: {code}");
            }
            Incoming::Lost(error) => return Some(error),
        }
        None
    }

    fn send_late_ones_again(&mut self) {
        let late: Vec<i64> = self
            .outstanding
            .extract_if(|_, outstanding| outstanding.sent.elapsed() > RECEIPT_DEADLINE)
            .map(|(id, _)| id)
            .collect();
        if !late.is_empty() {
            let count = late.len();
            tracing::warn!(count, "{count} batches have no receipt and are sent again");
            self.courier.spool.release_batches(late);
        }
    }

    fn beat(&mut self) {
        let report = (self.courier.heartbeat.0)(Carriage::Mqtt);
        let json = serde_json::to_vec(&report).expect("heartbeats hold only what JSON can say");
        // With no room the next one will do: only the latest counts.
        if self.link.publish_heartbeat(json).is_err() {
            tracing::debug!("no room for a heartbeat");
        }
    }
}
