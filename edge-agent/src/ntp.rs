//! How far the device's clock is off, measured by SNTP against several servers; the only file that imports sntpc.
//!
//! It never sets the clock: every record carries offset and error bound instead. No answer, wrong answers, or no
//! majority leave the clock `unsynced` or in `holdover`; nothing else of the agent waits for it.

pub mod discipline;
pub mod select;

use crate::clock::{Clocks, TimeSource};
use crate::config::ClockConfig;
use crate::health::Reporter;
use crate::sink::Sink;
use discipline::{Anchored, Correction, Discipline, Instant};
use select::Interval;
use serde::{Deserialize, Serialize};
use sntpc::{NtpContext, NtpTimestampGenerator, NtpUdpSocket};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use wire::record::ClockRecord;
use wire::{Body, ClockStamp, Record, UtcMicros};

const NTP_PORT: u16 = 123;
/// Longest wait for one answer; a slower one would have a useless error bound anyway.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer that may be off by more than this is no answer (RFC 5905: MAXDIST and a margin).
const MAX_ERROR_US: u64 = 1_500_000;
/// What reading two clocks and truncating to microseconds may add.
const READING_ERROR_US: u64 = 50;
/// First wait after a round without agreement; doubles up to the poll interval.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// How long a server that says DENY or RSTR is left alone.
const DENIED_PAUSE: Duration = Duration::from_secs(3600);
/// Between two looks at whether the clock was stepped or the bound has grown.
const TICK: Duration = Duration::from_secs(1);

/// Host and port of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
pub fn parse_server(text: &str) -> Result<(String, u16), &'static str> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address.to_string(), NTP_PORT));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
            let port = port.parse().map_err(|_| "has a port that is no number")?;
            (host, port)
        }
        _ => (text, NTP_PORT),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if port == 0 {
        return Err("has port 0");
    }
    let allowed = |symbol: char| symbol.is_ascii_alphanumeric() || ".-_:%".contains(symbol);
    if host.is_empty() || !host.chars().all(allowed) {
        return Err("is no host name");
    }
    Ok((host.to_owned(), port))
}

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

/// A usable answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub interval: Interval,
    pub at: Instant,
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    pub verdict: Verdict,
    pub detail: String,
    /// The server asked to be left alone this long; zero means: to be asked half as often.
    pub pause: Option<Duration>,
}

impl Unusable {
    fn new(verdict: Verdict, detail: impl Display) -> Self {
        Self {
            verdict,
            detail: detail.to_string(),
            pause: None,
        }
    }
}

/// Asks one server once. `floor` is a time that is certainly past.
pub async fn ask(server: &str, clocks: &dyn Clocks, floor: UtcMicros) -> Result<Answer, Unusable> {
    let silent = |detail: &dyn Display| Unusable::new(Verdict::Silent, detail);
    let (host, port) = parse_server(server).map_err(|reason| silent(&reason))?;
    let exchange = async {
        let address = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(|error| silent(&format!("name not found: {error}")))?
            .next()
            .ok_or_else(|| silent(&"the name has no address"))?;
        exchange(address, clocks).await
    };
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, exchange)
        .await
        .map_err(|_| silent(&format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))??;
    plausible(answer, floor)
}

fn plausible(answer: Answer, floor: UtcMicros) -> Result<Answer, Unusable> {
    if answer.interval.error_us > MAX_ERROR_US {
        return Err(Unusable::new(
            Verdict::Implausible,
            format!("may be off by {} ms", answer.interval.error_us / 1000),
        ));
    }
    let latest = answer
        .at
        .utc
        .plus_us(answer.interval.offset_us)
        .plus_us(i64::try_from(answer.interval.error_us).unwrap_or(i64::MAX));
    if latest < floor {
        return Err(Unusable::new(
            Verdict::Implausible,
            "states a time that is certainly past",
        ));
    }
    Ok(answer)
}

async fn exchange(address: SocketAddr, clocks: &dyn Clocks) -> Result<Answer, Unusable> {
    let any: SocketAddr = if address.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let silent = |error: std::io::Error| Unusable::new(Verdict::Silent, error);
    let socket = UdpSocket::bind(any).await.map_err(silent)?;
    // Connected: answers of strangers are dropped by the kernel, and "port unreachable" is reported.
    socket.connect(address).await.map_err(silent)?;
    let socket = Connected { socket, address };
    let context = NtpContext::new(Stamper::new(clocks));
    let result = sntpc::get_time(address, &socket, context)
        .await
        .map_err(unusable)?;
    let at = Instant {
        utc: clocks.utc(),
        boottime: clocks.boottime(),
    };
    let error_us = short_us(result.root_delay) / 2
        + short_us(result.root_dispersion)
        + result.roundtrip.div_ceil(2)
        + READING_ERROR_US;
    Ok(Answer {
        interval: Interval {
            offset_us: result.offset,
            error_us,
        },
        at,
    })
}

/// NTP short format, 16 bit seconds and 16 bit fraction, in microseconds (RFC 5905 section 6).
fn short_us(short: u32) -> u64 {
    (u64::from(short) * 1_000_000) >> 16
}

fn unusable(error: sntpc::Error) -> Unusable {
    use sntpc::{Error, KissOfDeathCode};
    const NOT_SYNCHRONISED: &str = "says that it is not synchronised itself";
    match error {
        // A server that has just started says so with these codes, or with stratum 0 and no code at all (chronyd).
        Error::KissOfDeath(KissOfDeathCode::Init | KissOfDeathCode::Step) => {
            Unusable::new(Verdict::Unsynchronised, NOT_SYNCHRONISED)
        }
        Error::KissOfDeath(KissOfDeathCode::Experimental(code))
            if !code.iter().all(u8::is_ascii_graphic) =>
        {
            Unusable::new(Verdict::Unsynchronised, NOT_SYNCHRONISED)
        }
        Error::KissOfDeath(code) => Unusable {
            verdict: Verdict::Kiss,
            detail: format!("kiss of death: {}", code.as_str()),
            pause: Some(match code {
                KissOfDeathCode::Deny | KissOfDeathCode::Rstr => DENIED_PAUSE,
                _ => Duration::ZERO,
            }),
        },
        Error::UnsynchronizedClock | Error::IncorrectStratumHeaders => {
            Unusable::new(Verdict::Unsynchronised, NOT_SYNCHRONISED)
        }
        Error::Network | Error::AddressResolve => Unusable::new(Verdict::Silent, "not reachable"),
        other => Unusable::new(Verdict::Implausible, format!("{other:?}")),
    }
}

/// The two clocks as sntpc wants to read them.
#[derive(Clone, Copy)]
struct Stamper<'a> {
    clocks: &'a dyn Clocks,
    utc: UtcMicros,
}

impl<'a> Stamper<'a> {
    fn new(clocks: &'a dyn Clocks) -> Self {
        Self {
            clocks,
            utc: clocks.utc(),
        }
    }
}

impl NtpTimestampGenerator for Stamper<'_> {
    fn init(&mut self) {
        self.utc = self.clocks.utc();
    }

    fn timestamp_sec(&self) -> u64 {
        u64::try_from(self.utc.0).unwrap_or(0) / 1_000_000
    }

    fn timestamp_subsec_micros(&self) -> u32 {
        u32::try_from(u64::try_from(self.utc.0).unwrap_or(0) % 1_000_000).expect("below a million")
    }
}

struct Connected {
    socket: UdpSocket,
    address: SocketAddr,
}

impl NtpUdpSocket for Connected {
    async fn send_to(&self, bytes: &[u8], _: SocketAddr) -> sntpc::Result<usize> {
        self.socket
            .send(bytes)
            .await
            .map_err(|_| sntpc::Error::Network)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> sntpc::Result<(usize, SocketAddr)> {
        let length = self
            .socket
            .recv(buffer)
            .await
            .map_err(|_| sntpc::Error::Network)?;
        Ok((length, self.address))
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
    sink: Arc<dyn Sink>,
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
            sink,
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
            let correction = self.discipline.tick(self.now());
            self.apply(correction);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(TICK) => {}
            }
        }
        self.reporter.stopped(self.time.clocks().utc());
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
                self.reporter.progressed(now.utc);
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
                self.apply(correction);
            }
            None => self
                .reporter
                .failed(now.utc, "no majority of clock servers agrees"),
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
                    "the clock server {} is outvoted: it differs from the others by {} ms",
                    server.name,
                    (interval.offset_us - agreed.map_or(0, |agreed| agreed.offset_us)) / 1000
                );
            }
            server.verdict = verdict;
        }
        agreed
    }

    fn apply(&mut self, correction: Option<Correction>) {
        let stamp = self.discipline.stamp();
        if self.time.stamp() != stamp {
            self.time.set_stamp(stamp);
        }
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
        let record = Record::new(self.time.now(), Body::Clock(ClockRecord { before, after }));
        let sink = self.sink.clone();
        // The sink may wait for the disk; the clock does not.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = sink.put(record) {
                tracing::error!(%error, "a clock correction could not be recorded: {error}");
            }
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_every_spelling() {
        for (text, expected) in [
            ("ntp.nict.jp", ("ntp.nict.jp", 123)),
            ("10.0.0.1:1123", ("10.0.0.1", 1123)),
            ("::1", ("::1", 123)),
            ("[::1]", ("::1", 123)),
            ("[::1]:1123", ("::1", 1123)),
        ] {
            let (host, port) = expected;
            assert_eq!(parse_server(text), Ok((host.into(), port)), "{text}");
        }
        for text in ["", "a b", "a:0", "a:99999", "a:", "http://a", ":123"] {
            assert!(parse_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_from_the_past_or_with_a_useless_bound_is_implausible() {
        let answer = |offset_us, error_us| Answer {
            interval: Interval {
                offset_us,
                error_us,
            },
            at: Instant {
                utc: UtcMicros(1_000_000_000),
                boottime: Duration::ZERO,
            },
        };
        let floor = UtcMicros(900_000_000);
        assert!(plausible(answer(0, 10), floor).is_ok());
        for wrong in [answer(-200_000_000, 10), answer(0, 2_000_000)] {
            let found = plausible(wrong, floor).expect_err("implausible");
            assert_eq!(found.verdict, Verdict::Implausible);
        }
    }

    #[test]
    fn the_short_format_is_in_seconds_by_65536() {
        assert_eq!(short_us(65_536), 1_000_000);
        assert_eq!(short_us(66), 1007);
    }
}
