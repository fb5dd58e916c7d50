//! How far the device's clock is off, measured by SNTP against several servers.
//!
//! It never sets the clock: every record carries offset and error bound instead. No answer, wrong answers, or no
//! majority leave the clock `unsynced` or in `holdover`; nothing else of the agent waits for it.

pub mod discipline;
pub mod exchange;
pub mod select;

pub use exchange::{Answer, Unusable, ask, parse_server};

use crate::clock::TimeSource;
use crate::config::ClockConfig;
use crate::health::Reporter;
use crate::sink::{Sink, WaitingRoom};
use discipline::{Anchored, Correction, Discipline, Instant};
use exchange::DENIED_PAUSE;
use select::Interval;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::record::ClockRecord;
use wire::{Body, ClockStamp, Record, UtcMicros};

/// First wait after a round without agreement; doubles up to the poll interval.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// Between two looks at whether the clock was stepped or the bound has grown.
const TICK: Duration = Duration::from_secs(1);

/// What became of a server's latest answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not asked yet.
    Waiting,
    /// Part of the majority.
    Agrees,
    /// Answered, and a majority says otherwise.
    Outvoted,
    /// Answered, and no majority was found.
    Undecided,
    /// No answer: not found, not reachable, or nothing within two seconds.
    Silent,
    /// Asked us to go away or to ask less (kiss of death, RFC 5905 section 7.4).
    Kiss,
    /// Says itself that it does not know the time.
    Unsynchronised,
    /// Cannot be right: malformed, too far from its own source, or before this program was built.
    Implausible,
}

/// One server, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    pub server: String,
    pub verdict: Verdict,
    /// True time minus device time by its last usable answer.
    pub offset_us: Option<i64>,
    pub error_us: Option<u64>,
    /// What went wrong, where something did.
    pub detail: Option<String>,
}

/// All that is known of the clock, for `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockReport {
    pub stamp: ClockStamp,
    /// Since a majority last agreed.
    pub agreed_seconds_ago: Option<u64>,
    pub servers: Vec<ServerReport>,
}

/// Reads the report of the running clock task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClockStatus(Arc<Mutex<ClockReport>>);

impl ClockStatus {
    pub fn report(&self) -> ClockReport {
        self.0
            .lock()
            .expect("reports are only copied under the lock")
            .clone()
    }
}

/// What is remembered of one server between rounds.
#[derive(Debug)]
struct Server {
    name: String,
    last: Option<Anchored>,
    verdict: Verdict,
    detail: Option<String>,
    /// Not to be asked before this, on the boot-time clock.
    not_before: Duration,
    /// Grows when the server asks to be asked less.
    interval: Duration,
}

/// The clock task: asks, believes the majority, stamps.
pub struct NtpClock {
    config: ClockConfig,
    time: TimeSource,
    room: WaitingRoom,
    reporter: Reporter,
    floor: UtcMicros,
    servers: Vec<Server>,
    discipline: Discipline,
    status: ClockStatus,
}

impl std::fmt::Debug for NtpClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NtpClock")
            .field("servers", &self.servers)
            .field("discipline", &self.discipline)
            .finish_non_exhaustive()
    }
}

impl NtpClock {
    /// `floor` is a time that is certainly past: servers that state an earlier one are not believed.
    pub fn new(
        config: ClockConfig,
        time: TimeSource,
        sink: Arc<dyn Sink>,
        reporter: Reporter,
        floor: UtcMicros,
    ) -> Self {
        let poll = Duration::from_secs(u64::from(config.poll_seconds));
        let servers = config
            .servers
            .iter()
            .map(|name| Server {
                name: name.clone(),
                last: None,
                verdict: Verdict::Waiting,
                detail: None,
                not_before: Duration::ZERO,
                interval: poll,
            })
            .collect();
        let discipline = Discipline::new(Duration::from_secs(u64::from(
            config.holdover_after_seconds,
        )));
        let status = ClockStatus(Arc::new(Mutex::new(ClockReport {
            stamp: ClockStamp::UNSYNCED,
            agreed_seconds_ago: None,
            servers: Vec::new(),
        })));
        let clock = Self {
            config,
            time,
            room: WaitingRoom::new(sink),
            reporter,
            floor,
            servers,
            discipline,
            status,
        };
        clock.publish();
        clock
    }

    pub fn status(&self) -> ClockStatus {
        self.status.clone()
    }

    /// Until told to stop.
    pub async fn run(&mut self, stop: CancellationToken) {
        if self.servers.is_empty() {
            tracing::warn!("no clock servers are configured: the clock stays unsynchronised");
        }
        let mut wait = FIRST_RETRY;
        let poll = Duration::from_secs(u64::from(self.config.poll_seconds));
        let mut next_round = Duration::ZERO;
        loop {
            if self.now().boottime >= next_round && !self.servers.is_empty() {
                let agreed = tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    agreed = self.round() => agreed,
                };
                wait = if agreed { poll } else { (wait * 2).min(poll) };
                next_round = self.now().boottime + wait;
            }
            let now = self.now();
            let correction = self.discipline.tick(now);
            self.apply(correction, now);
            self.room.flush();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(TICK) => {}
            }
        }
        self.reporter.stopped();
    }

    fn now(&self) -> Instant {
        let clocks = self.time.clocks();
        Instant {
            utc: clocks.utc(),
            boottime: clocks.boottime(),
        }
    }

    /// Asks every server that is due, all at once. Tells whether a majority agreed.
    pub async fn round(&mut self) -> bool {
        let now = self.now();
        let due: Vec<usize> = (0..self.servers.len())
            .filter(|&index| self.servers[index].not_before <= now.boottime)
            .collect();
        let answers = futures::future::join_all(
            due.iter()
                .map(|&index| ask(&self.servers[index].name, self.time.clocks(), self.floor)),
        )
        .await;
        let now = self.now();
        for (index, answer) in due.into_iter().zip(answers) {
            self.servers[index].note(answer, now);
        }
        let agreed = self.vote();
        match agreed {
            Some(interval) => {
                self.reporter.progressed();
                let was = self.discipline.stamp().state;
                let correction = self.discipline.agree(interval, now);
                let stamp = self.discipline.stamp();
                if was != stamp.state {
                    tracing::info!(
                        offset_us = stamp.offset_us,
                        error_us = stamp.error_us,
                        "the clock is synchronised: off by {} ms, known to {} ms",
                        stamp.offset_us / 1000,
                        stamp.error_us.unwrap_or(0).div_ceil(1000)
                    );
                }
                self.apply(correction, now);
            }
            None => self.reporter.failed("no majority of clock servers agrees"),
        }
        self.publish();
        agreed.is_some()
    }

    /// Whom the fresh answers make a majority of.
    fn vote(&mut self) -> Option<Interval> {
        let now = self.now();
        let fresh_for = Duration::from_secs(u64::from(self.config.poll_seconds)) * 2;
        let fresh: Vec<(usize, Interval)> = self
            .servers
            .iter()
            .enumerate()
            .filter_map(|(index, server)| {
                let last = server.last.filter(|last| last.age(now) <= fresh_for)?;
                Some((index, last.at(now)))
            })
            .collect();
        let intervals: Vec<Interval> = fresh.iter().map(|(_, interval)| *interval).collect();
        let agreed = select::select(&intervals);
        for (index, interval) in fresh {
            let server = &mut self.servers[index];
            if !matches!(
                server.verdict,
                Verdict::Agrees | Verdict::Outvoted | Verdict::Undecided
            ) {
                // Its last answer still counts; its latest silence is what people should see.
                continue;
            }
            let verdict = match agreed {
                None => Verdict::Undecided,
                Some(agreed) if agreed.overlaps(interval) => Verdict::Agrees,
                Some(_) => Verdict::Outvoted,
            };
            if verdict == Verdict::Outvoted && server.verdict != Verdict::Outvoted {
                tracing::warn!(
                    clock.server = %server.name,
                    offset_us = interval.offset_us,
                    "the clock server {} is outvoted: it differs from the others by {:.3} s",
                    server.name,
                    (interval.offset_us - agreed.map_or(0, |agreed| agreed.offset_us)) as f64 / 1e6
                );
            }
            server.verdict = verdict;
        }
        agreed
    }

    /// `now` is when the discipline was last asked.
    fn apply(&mut self, correction: Option<Correction>, now: Instant) {
        let stamp = self.discipline.stamp();
        self.time.set_stamp_of(stamp, now.utc, now.boottime);
        self.publish();
        let Some(Correction { before, after }) = correction else {
            return;
        };
        if before.error_us.is_some() {
            tracing::warn!(
                before_us = before.offset_us,
                after_us = after.offset_us,
                "the clock jumped by {} ms against the true time",
                (after.offset_us - before.offset_us) / 1000
            );
        }
        // Stated of the clock as it stands in this very record, should it have been set a moment ago. Without this
        // record nobody could read the earlier ones right, so it waits for the disk as long as the agent runs.
        let time = self.time.now();
        let after = time.clock;
        let record = Record::new(time, Body::Clock(ClockRecord { before, after }));
        self.room.put(record);
    }

    fn publish(&self) {
        let now = self.now();
        let servers = self
            .servers
            .iter()
            .map(|server| {
                let interval = server.last.map(|last| last.at(now));
                ServerReport {
                    server: server.name.clone(),
                    verdict: server.verdict,
                    offset_us: interval.map(|interval| interval.offset_us),
                    error_us: interval.map(|interval| interval.error_us),
                    detail: server.detail.clone(),
                }
            })
            .collect();
        let report = ClockReport {
            stamp: self.discipline.stamp(),
            agreed_seconds_ago: self
                .discipline
                .agreed()
                .map(|agreed| agreed.age(now).as_secs()),
            servers,
        };
        *self
            .status
            .0
            .lock()
            .expect("reports are only copied under the lock") = report;
    }
}

impl Server {
    fn note(&mut self, answer: Result<Answer, Unusable>, now: Instant) {
        match answer {
            Ok(answer) => {
                self.last = Some(Anchored::new(answer.interval, answer.at));
                if self.verdict != Verdict::Outvoted {
                    self.verdict = Verdict::Undecided;
                }
                self.detail = None;
            }
            Err(unusable) => {
                if self.verdict != unusable.verdict {
                    tracing::debug!(
                        clock.server = %self.name,
                        "the clock server {} gave no usable answer: {}",
                        self.name,
                        unusable.detail
                    );
                }
                self.verdict = unusable.verdict;
                self.detail = Some(unusable.detail);
                if let Some(pause) = unusable.pause {
                    self.interval = self.interval.saturating_mul(2).min(DENIED_PAUSE);
                    self.not_before = now.boottime + pause.max(self.interval);
                }
            }
        }
    }
}
