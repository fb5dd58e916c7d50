//! Asks one server once; the only file that imports sntpc. Anything but a usable answer is told apart here.

use super::Verdict;
use super::discipline::Instant;
use super::select::Interval;
use crate::clock::Clocks;
use sntpc::{NtpContext, NtpTimestampGenerator, NtpUdpSocket};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use wire::UtcMicros;

const NTP_PORT: u16 = 123;
/// Longest wait for one answer; a slower one would have a useless error bound anyway.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer that may be off by more than this is no answer (RFC 5905: MAXDIST and a margin).
const MAX_ERROR_US: u64 = 1_500_000;
/// NTP counts seconds in 32 bits (RFC 5905 section 6): which era is meant has to be known.
const ERA_US: i64 = 1_000_000 << 32;
/// Seconds from 1900, where NTP begins, to 1970. All zeros mean "no time" (RFC 5905 section 6).
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;
/// An answer so long after the floor is none: no box is in use for so long.
const LONGEST_LIFE_US: i64 = 40 * 365 * 86_400_000_000;
/// What reading two clocks and truncating to microseconds may add.
const READING_ERROR_US: u64 = 50;
/// How long a server that says DENY or RSTR is left alone.
pub(super) const DENIED_PAUSE: Duration = Duration::from_secs(3600);

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
    let answer = in_era_after(answer, floor);
    let stated = answer.at.utc.plus_us(answer.interval.offset_us);
    if stated.since_us(floor) > LONGEST_LIFE_US {
        return Err(Unusable::new(
            Verdict::Implausible,
            "states a time that is certainly past, or decades ahead",
        ));
    }
    Ok(answer)
}

/// The same answer in the era in which what it states is not past: the box may believe it is 1970, and from 2036 on
/// the seconds of NTP begin anew.
fn in_era_after(answer: Answer, floor: UtcMicros) -> Answer {
    let error_us = i64::try_from(answer.interval.error_us).unwrap_or(i64::MAX);
    let latest = answer
        .at
        .utc
        .plus_us(answer.interval.offset_us)
        .plus_us(error_us);
    let eras = latest.since_us(floor).div_euclid(ERA_US);
    Answer {
        interval: Interval {
            offset_us: answer.interval.offset_us - eras * ERA_US,
            ..answer.interval
        },
        ..answer
    }
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
    let ntp_seconds = result.seconds.wrapping_add(UNIX_EPOCH_IN_NTP);
    if ntp_seconds & 0xffff_ffff == 0 && result.seconds_fraction == 0 {
        return Err(Unusable::new(Verdict::Unsynchronised, "states no time"));
    }
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
        let decades = LONGEST_LIFE_US + 1;
        for wrong in [
            answer(-200_000_000, 10),
            answer(0, 2_000_000),
            answer(decades, 10),
        ] {
            let found = plausible(wrong, floor).expect_err("implausible");
            assert_eq!(found.verdict, Verdict::Implausible);
        }
    }

    #[test]
    fn fault_29_the_era_is_the_one_in_which_the_answer_is_not_past() {
        let floor = UtcMicros(1_800_000_000_000_000);
        let truth = floor.plus_us(20 * 365 * 86_400_000_000);
        // What 32 bits of seconds leave of the distance, for a box that believes it is 1970, right, or decades ahead.
        for clock in [UtcMicros(0), truth, truth.plus_us(3_000_000_000_000_000)] {
            for eras in -2..=2 {
                let answer = Answer {
                    interval: Interval {
                        offset_us: truth.since_us(clock) + eras * ERA_US,
                        error_us: 10,
                    },
                    at: Instant {
                        utc: clock,
                        boottime: Duration::ZERO,
                    },
                };
                let found = plausible(answer, floor).expect("usable");
                assert_eq!(clock.plus_us(found.interval.offset_us), truth);
            }
        }
    }

    #[test]
    fn the_short_format_is_in_seconds_by_65536() {
        assert_eq!(short_us(65_536), 1_000_000);
        assert_eq!(short_us(66), 1007);
    }
}
