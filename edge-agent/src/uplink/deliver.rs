//! Records, receipts, heartbeats and commands: over MQTT while it can be reached, else over HTTPS.

use crate::spool::{Lane, LeasedBatch};
use crate::uplink::backoff::Backoff;
use crate::uplink::credentials::Credentials;
use crate::uplink::https::HttpsError;
use crate::uplink::mqtt::{Incoming, Link, MqttError, WINDOW};
use crate::uplink::network::Network;
use crate::uplink::{Carriage, Courier};
use futures::FutureExt;
use futures::future::{BoxFuture, Fuse, FusedFuture};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use wire::command::SignedCommand;
use wire::{Receipt, UtcMicros};

/// Without a receipt for this long a batch is sent again.
const RECEIPT_DEADLINE: Duration = Duration::from_secs(30);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a stopping agent goes on offering what it has.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);
/// Batches on their way at a time over HTTPS.
const HTTPS_WINDOW: usize = 4;
/// How long one long poll for commands waits at the receiver: a keep-alive of the other carriage.
const POLL_SECONDS: u32 = 10;
/// How often a box that waits looks whether its network has changed.
const LOOK_AT_NETWORK: Duration = Duration::from_secs(1);
/// How long the line waits for the spool. One that does not answer hangs in a call to its disk: heartbeats, commands and
/// receipts go on, and it is asked again.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);
/// A box that is offline and has news tries again after this at the latest, whatever the back-off says.
const NEWS_AFTER: Duration = Duration::from_secs(5);

/// Delivers until the stop.
pub(super) async fn run(courier: Arc<Courier>) {
    let mut backoff = Backoff::default();
    let mut wait = Duration::ZERO;
    loop {
        let mqtt_is_out = watch::Sender::new(!courier.config.mqtt);
        let (link, credentials) = tokio::select! {
            biased;
            () = courier.stop.cancelled() => break,
            link = courier.reach_mqtt(&mut backoff, wait, &mqtt_is_out) => link,
            never = courier.carry_over_https(mqtt_is_out.subscribe()) => match never {},
        };
        let ended = Session::new(&courier, link, credentials).run().await;
        courier.enter(Carriage::Offline);
        if courier.stop.is_cancelled() {
            break;
        }
        wait = match ended {
            End::Lost(error) => {
                courier.failed(&error, error.is_refusal());
                backoff.after_loss(rand::random())
            }
            End::NewCredentials => Duration::ZERO,
            End::Stopped => break,
        };
    }
    courier.enter(Carriage::Offline);
    courier.records_reporter.stopped();
}

type NewCredentials = watch::Receiver<Arc<Credentials>>;

impl Courier {
    /// Tries until there is a connection. The first failure lets HTTPS take over meanwhile.
    async fn reach_mqtt(
        &self,
        backoff: &mut Backoff,
        mut wait: Duration,
        mqtt_is_out: &watch::Sender<bool>,
    ) -> (Link, NewCredentials) {
        if !self.config.mqtt {
            return std::future::pending().await;
        }
        loop {
            self.pause(wait).await;
            let mut credentials = self.credentials.subscribe();
            let target = credentials.borrow_and_update().target.clone();
            match Link::connect(target, self.pace.clone()).await {
                Ok(link) => {
                    backoff.reset();
                    return (link, credentials);
                }
                Err(error) => {
                    self.failed(&error, error.is_refusal());
                    mqtt_is_out.send_replace(true);
                    wait = backoff.after_failure(rand::random());
                    // New ones came while the old ones were tried.
                    if credentials.has_changed().unwrap_or(false) {
                        wait = Duration::ZERO;
                    }
                }
            }
        }
    }

    /// Waits before the next attempt; less long if the network changes, if there are new credentials, or if, with
    /// the box offline, there is news that somebody may be waiting for.
    pub(super) async fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let news_from = Instant::now() + NEWS_AFTER.mul_f64(rand::random_range(0.2..1.0));
        let (network, waiting) = (Network::now(), self.spool.stats().pending_records);
        let mut credentials = self.credentials.subscribe();
        credentials.mark_unchanged();
        loop {
            let look = Instant::now() + LOOK_AT_NETWORK;
            tokio::select! {
                () = tokio::time::sleep_until(look.min(until)) => {}
                // The sender lives as long as the courier.
                _ = credentials.changed() => return,
            }
            let now = Instant::now();
            if now >= until || Network::now() != network {
                return;
            }
            let is_offline = self.watch.status().carriage == Carriage::Offline;
            if is_offline && now >= news_from && self.spool.stats().pending_records > waiting {
                return;
            }
        }
    }

    /// Carries records, heartbeats and commands over HTTPS once MQTT is out. Dropped when MQTT is back: what was
    /// on its way is sent again.
    async fn carry_over_https(&self, mut mqtt_is_out: watch::Receiver<bool>) -> Infallible {
        if mqtt_is_out.wait_for(|out| *out).await.is_err() {
            return std::future::pending().await;
        }
        let silence = Notify::new();
        let (never, _) = tokio::join!(
            self.records_over_https(&silence),
            self.commands_over_https(&silence)
        );
        never
    }

    async fn records_over_https(&self, silence: &Notify) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.https().time().await {
                Ok(time) => {
                    self.heard(time);
                    self.enter(Carriage::Https);
                    self.spool.begin_session();
                    backoff.reset();
                    self.post_until_failure(silence).await
                }
                Err(error) => error,
            };
            self.enter(Carriage::Offline);
            self.failed(&error, error.is_refusal());
            self.pause(backoff.after_failure(rand::random())).await;
        }
    }

    async fn post_until_failure(&self, silence: &Notify) -> HttpsError {
        let mut heartbeat = self.heartbeat_interval();
        let mut lane = Lane::Live;
        loop {
            if heartbeat.tick().now_or_never().is_some() {
                let report = (self.heartbeat.0)(Carriage::Https);
                if let Err(error) = self.https().post_heartbeat(&report).await {
                    return error;
                }
            }
            let batches = self.lease(HTTPS_WINDOW, lane).await;
            lane = lane.other();
            if batches.is_empty() {
                tokio::select! {
                    () = self.spool.batches_ready() => {}
                    () = tokio::time::sleep(TICK) => {}
                    () = silence.notified() => return HttpsError::Silent { url: self.credentials.borrow().enrollment.device_url.to_string() },
                }
                continue;
            }
            if let Err(error) = self.post_all(batches).await {
                return error;
            }
        }
    }

    /// At once what the line takes at once, and the rest behind it.
    async fn post_all(&self, batches: Vec<LeasedBatch>) -> Result<(), HttpsError> {
        let mut left = VecDeque::from(batches);
        while let Some(first) = left.pop_front() {
            let mut bytes = first.signed.len();
            let mut group = vec![first];
            while let Some(next) =
                left.pop_front_if(|next| bytes + next.signed.len() <= self.pace.ahead_bytes())
            {
                bytes += next.signed.len();
                group.push(next);
            }
            let posts = group.into_iter().map(|batch| self.post(batch, bytes));
            for posted in futures::future::join_all(posts).await {
                if let Err(error) = posted {
                    let ids = left.iter().map(|batch| batch.id).collect();
                    self.spool.release_batches(ids);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// An error is one of the connection; a batch the receiver refuses for good is parked and no error. `ahead_bytes`:
    /// all that is on its way together with it.
    async fn post(&self, batch: LeasedBatch, ahead_bytes: usize) -> Result<(), HttpsError> {
        self.watch.update(|status| status.batches_sent += 1);
        let (patience, began) = (self.pace.patience(ahead_bytes), Instant::now());
        match self.https().post_batch(batch.signed, patience).await {
            Ok(receipt) => {
                self.pace.answered(ahead_bytes, began.elapsed());
                self.receipted(receipt);
                Ok(())
            }
            Err(error) if error.is_poison() => {
                tracing::warn!(%error, "parking a batch: {error}");
                self.spool.park_batch(batch.id, error.code());
                Ok(())
            }
            Err(error) => {
                if error.is_silence() {
                    self.pace.fell_silent();
                }
                self.spool.release_batches(vec![batch.id]);
                Err(error)
            }
        }
    }

    /// The long poll is also what notices a half-open line while nothing is to be sent.
    async fn commands_over_https(&self, silence: &Notify) -> Infallible {
        loop {
            // What is on its way up may stand before the answer.
            let patience = self.pace.patience(2 * self.pace.ahead_bytes());
            match self.https().commands(POLL_SECONDS, patience).await {
                Ok(commands) => {
                    for command in commands {
                        self.heard_command(command);
                    }
                    // A receiver that never waits must not be asked without a pause.
                    tokio::time::sleep(TICK).await;
                }
                Err(error) => {
                    if error.is_silence() {
                        silence.notify_one();
                    }
                    tokio::time::sleep(RETRY_COMMANDS).await;
                }
            }
        }
    }

    /// Up to `room` batches, half of them of this lane and the rest of either, so that neither waits for the other.
    /// Fewer, or none, if the spool does not answer in time.
    async fn lease(&self, room: usize, first: Lane) -> Vec<LeasedBatch> {
        let by = Instant::now() + LEASE_PATIENCE;
        let mut leased = Vec::new();
        let second = first.other();
        for (limit, lane) in [(room.div_ceil(2), first), (room, second), (room, first)] {
            let left = room - leased.len();
            let answer = self.spool.lease_batches(limit.min(left), lane);
            let Ok(answer) = tokio::time::timeout_at(by, answer).await else {
                self.spool_answers(false);
                break;
            };
            self.spool_answers(true);
            match answer {
                Ok(batches) => leased.extend(batches),
                // The spool itself says in the status, and in the log, what is wrong with it.
                Err(error) => tracing::debug!(%error, "cannot lease records: {error}"),
            }
            if leased.len() == room {
                break;
            }
        }
        leased
    }

    /// Logs when that changes.
    fn spool_answers(&self, answers: bool) {
        if self.spool_answers.swap(answers, Ordering::Relaxed) == answers {
            return;
        }
        if answers {
            tracing::info!("the spool answers again: delivery goes on");
        } else {
            let seconds = LEASE_PATIENCE.as_secs();
            tracing::warn!(
                "the spool has not answered for {seconds} s: nothing new can be delivered until it does; its disk may hang"
            );
        }
    }

    /// To be looked at beside the line: that takes the disk, which may hang.
    fn heard_command(&self, command: SignedCommand) {
        if self.heard_commands.try_send(command).is_err() {
            tracing::warn!("a command is not heard: too many wait for this box's disk");
        }
    }

    fn receipted(&self, receipt: Receipt) {
        self.heard(receipt.receiver_time_us);
        let now = self.time.clocks().boottime();
        self.watch.update(|status| {
            status.receipts += 1;
            status.last_receipt = Some(now);
        });
        self.records_reporter.progressed();
        self.spool.settle(receipt);
    }

    /// What a verified receiver says of the time.
    pub(super) fn heard(&self, stated: UtcMicros) {
        if self.credentials.borrow().can_be(stated) {
            self.verified_time.heard(stated);
        } else {
            tracing::warn!(
                "the receiver's clock is beyond the end of our certificate: not believed"
            );
        }
    }

    fn heartbeat_interval(&self) -> Interval {
        let period = Duration::from_secs(self.config.heartbeat_seconds.max(1).into());
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    }

    fn enter(&self, carriage: Carriage) {
        self.watch.enter(carriage, self.time.clocks().boottime());
        if carriage != Carriage::Offline {
            self.records_reporter.progressed();
        }
    }

    /// Shows the error in the status and logs it when it is another one than before.
    fn failed(&self, error: &dyn std::fmt::Display, is_refused: bool) {
        let text = error.to_string();
        self.records_reporter.failed(&text);
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

/// Batches that the spool is asked for.
type Leasing<'a> = Fuse<BoxFuture<'a, Vec<LeasedBatch>>>;

/// One MQTT connection's worth of delivering.
struct Session<'a> {
    courier: &'a Courier,
    link: Link,
    credentials: NewCredentials,
    /// Leased; the line takes them a little later.
    waiting: VecDeque<LeasedBatch>,
    /// Sent and not receipted, by row.
    outstanding: HashMap<i64, Outstanding>,
    lane: Lane,
}

struct Outstanding {
    batch: LeasedBatch,
    overdue: Instant,
}

/// How a session ended.
enum End {
    Lost(MqttError),
    /// Ended on purpose, to connect with the new ones.
    NewCredentials,
    Stopped,
}

impl<'a> Session<'a> {
    fn new(courier: &'a Courier, link: Link, credentials: NewCredentials) -> Self {
        Self {
            courier,
            link,
            credentials,
            waiting: VecDeque::new(),
            outstanding: HashMap::new(),
            lane: Lane::Live,
        }
    }

    async fn run(mut self) -> End {
        self.courier.enter(Carriage::Mqtt);
        self.courier.spool.begin_session();
        let mut heartbeat = self.courier.heartbeat_interval();
        let mut tick = tokio::time::interval(TICK);
        let mut farewell: Option<Instant> = None;
        let mut changing: Option<Instant> = None;
        // Beside everything else, because it may take long.
        let mut leasing: Leasing<'a> = Fuse::terminated();
        loop {
            let mut found_none = false;
            let incoming = tokio::select! {
                incoming = self.link.next() => Some(incoming),
                leased = &mut leasing => {
                    found_none = leased.is_empty();
                    self.waiting.extend(leased);
                    None
                }
                // A call that comes while batches are being leased is kept: they may have been looked for before it.
                () = self.courier.spool.batches_ready(), if self.room() > 0 && leasing.is_terminated() => None,
                _ = heartbeat.tick() => {
                    self.beat();
                    None
                }
                _ = tick.tick() => {
                    self.send_late_ones_again();
                    None
                }
                _ = self.credentials.changed(), if changing.is_none() => {
                    changing = Some(Instant::now() + FAREWELL);
                    None
                }
                () = self.courier.stop.cancelled(), if farewell.is_none() => {
                    farewell = Some(Instant::now() + FAREWELL);
                    self.beat();
                    None
                }
            };
            if let Some(incoming) = incoming
                && let Some(lost) = self.handle(incoming)
            {
                return End::Lost(lost);
            }
            if farewell.is_some_and(|end| Instant::now() > end || self.is_done()) {
                self.link.disconnect().await;
                return End::Stopped;
            }
            // Nothing new is begun under the old credentials; what is on its way is awaited, or sent again.
            let Some(end) = changing else {
                self.send_waiting();
                if self.waiting.is_empty() && leasing.is_terminated() && !found_none {
                    leasing = self.lease();
                }
                continue;
            };
            if Instant::now() > end || self.outstanding.is_empty() {
                self.link.disconnect().await;
                return End::NewCredentials;
            }
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

    /// As many as there is room for.
    fn lease(&mut self) -> Leasing<'a> {
        let (courier, room, lane) = (self.courier, self.room(), self.lane);
        if room == 0 {
            return Fuse::terminated();
        }
        self.lane = lane.other();
        courier.lease(room, lane).boxed().fuse()
    }

    fn send_waiting(&mut self) {
        while self.room() > 0
            && let Some(next) = self.waiting.front()
        {
            let is_on_its_way = self.outstanding.contains_key(&next.id);
            if !is_on_its_way
                && (!self.link.takes(next.signed.len())
                    // The connection is gone, which is the next thing to be heard; the lease ends with the session.
                    || self.link.publish_batch(next.id, next.signed.clone()).is_err())
            {
                return;
            }
            let sent = self.waiting.pop_front();
            if let Some(batch) = sent.filter(|_| !is_on_its_way) {
                self.note_sent(batch);
            }
        }
    }

    fn note_sent(&mut self, batch: LeasedBatch) {
        self.courier.watch.update(|status| status.batches_sent += 1);
        let patience = RECEIPT_DEADLINE.max(self.link.patience());
        let overdue = Instant::now() + patience;
        self.outstanding
            .insert(batch.id, Outstanding { batch, overdue });
    }

    fn handle(&mut self, incoming: Incoming) -> Option<MqttError> {
        match incoming {
            Incoming::Receipt(receipt) => {
                self.outstanding.retain(|_, Outstanding { batch, .. }| {
                    !receipt.settles(batch.epoch, batch.first_seq, batch.last_seq)
                });
                self.courier.receipted(receipt);
            }
            Incoming::Command(command) => self.courier.heard_command(command),
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
            .extract_if(|_, outstanding| Instant::now() > outstanding.overdue)
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
