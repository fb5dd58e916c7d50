//! Slows down guessing without ever locking the real user out.
//!
//! Failures are counted in three places, each with its own answer:
//!
//! - **One account from one address** (or from one known browser): after a few failures the next try is refused
//!   until a growing pause is over, at most a minute.
//! - **One address over all accounts**: the same, later, against trying one password on many accounts.
//! - **One account from everywhere**: never refused, only answered more slowly, at most by a few seconds; and
//!   not even that for a browser that signed in to the account before.
//!
//! So whoever attacks an account from elsewhere can make the customer's sign-in a few seconds slower, and
//! nothing worse. There is no lock to be opened by the operator. The counts live in memory: a restart forgets
//! them, which gives an attacker a few more guesses at a password of 70 bits, and nothing else.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use wire::UtcMicros;

const SECOND_US: i64 = 1_000_000;
/// Failures are forgotten when this long has passed without another one.
const FORGET_AFTER_US: i64 = 3600 * SECOND_US;
/// Keys remembered in each place. When full, the ones quiet for longest are forgotten first.
const MOST_KEYS: usize = 20_000;
const LONGEST_PAUSE_SECONDS: i64 = 60;
const LONGEST_SLOWDOWN_SECONDS: i64 = 5;

const FREE_TRIES_PER_ACCOUNT_AND_SOURCE: u32 = 5;
const FREE_TRIES_PER_ADDRESS: u32 = 30;
const FREE_TRIES_PER_ACCOUNT: u32 = 20;

/// Where a try comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address; an IPv6 one stands for its /64, which is one subscriber.
    Address(IpAddr),
    /// A browser that has signed in to this account before and could prove it.
    KnownBrowser(String),
}

/// What to do with a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Check the password, and answer not before this many seconds have passed.
    Try { slowdown_seconds: i64 },
    /// Do not even look at the password; say how long to wait.
    Wait { seconds: i64 },
}

#[derive(Debug, Default)]
pub struct Throttle {
    by_account_and_source: Counts<(String, Source)>,
    by_address: Counts<IpAddr>,
    by_account: Counts<String>,
}

impl Throttle {
    fn verdict(
        &mut self,
        login_id: &str,
        address: IpAddr,
        source: &Source,
        now: UtcMicros,
    ) -> Verdict {
        let own = self.by_account_and_source.pause_left(
            &(login_id.to_owned(), source.clone()),
            FREE_TRIES_PER_ACCOUNT_AND_SOURCE,
            now,
        );
        let known = matches!(source, Source::KnownBrowser(_));
        let shared = if known {
            0
        } else {
            self.by_address
                .pause_left(&subscriber(address), FREE_TRIES_PER_ADDRESS, now)
        };
        let seconds = own.max(shared);
        if seconds > 0 {
            return Verdict::Wait { seconds };
        }
        let over = self
            .by_account
            .failures(&login_id.to_owned(), now)
            .saturating_sub(FREE_TRIES_PER_ACCOUNT);
        let slowdown_seconds = if known {
            0
        } else {
            i64::from(over).min(LONGEST_SLOWDOWN_SECONDS)
        };
        Verdict::Try { slowdown_seconds }
    }

    /// As [`Self::verdict`], and a try that may be made counts as failed from now on, until [`Self::succeeded`]
    /// takes it back. Counted only when its check is over, a thousand tries sent at once would all be looked at.
    pub fn begin(
        &mut self,
        login_id: &str,
        address: IpAddr,
        source: &Source,
        now: UtcMicros,
    ) -> Verdict {
        let verdict = self.verdict(login_id, address, source, now);
        if matches!(verdict, Verdict::Try { .. }) {
            self.failed(login_id, address, source, now);
        }
        verdict
    }

    fn failed(&mut self, login_id: &str, address: IpAddr, source: &Source, now: UtcMicros) {
        self.by_account_and_source
            .add((login_id.to_owned(), source.clone()), now);
        self.by_address.add(subscriber(address), now);
        self.by_account.add(login_id.to_owned(), now);
    }

    /// Forgives this source only: one success must not wash away what others try on the account.
    pub fn succeeded(&mut self, login_id: &str, address: IpAddr, source: &Source) {
        self.by_account_and_source
            .forget(&(login_id.to_owned(), source.clone()));
        self.by_address.take_back_one(&subscriber(address));
        self.by_account.take_back_one(&login_id.to_owned());
    }
}

/// The part of an address that one subscriber holds.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[derive(Debug)]
struct Counts<K>(HashMap<K, Count>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    last_us: UtcMicros,
}

impl<K: Eq + Hash + Clone> Counts<K> {
    fn failures(&self, key: &K, now: UtcMicros) -> u32 {
        self.0
            .get(key)
            .filter(|count| now.since_us(count.last_us) < FORGET_AFTER_US)
            .map_or(0, |count| count.failures)
    }

    /// Whole seconds until the next try is looked at: 1, 2, 4, ... after the free tries.
    fn pause_left(&self, key: &K, free: u32, now: UtcMicros) -> i64 {
        let failures = self.failures(key, now);
        let Some(doublings) = failures.checked_sub(free) else {
            return 0;
        };
        let pause = (1_i64 << doublings.min(6)).min(LONGEST_PAUSE_SECONDS);
        let passed_us = self
            .0
            .get(key)
            .map_or(0, |count| now.since_us(count.last_us).max(0));
        let left_us = pause * SECOND_US - passed_us;
        (left_us.max(0) + SECOND_US - 1) / SECOND_US
    }

    fn add(&mut self, key: K, now: UtcMicros) {
        let failures = self.failures(&key, now).saturating_add(1);
        if self.0.len() >= MOST_KEYS && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        self.0.insert(
            key,
            Count {
                failures,
                last_us: now,
            },
        );
    }

    fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }

    fn take_back_one(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            count.failures = count.failures.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: UtcMicros) {
        self.0
            .retain(|_, count| now.since_us(count.last_us) < FORGET_AFTER_US);
        if self.0.len() < MOST_KEYS {
            return;
        }
        let mut times: Vec<UtcMicros> = self.0.values().map(|count| count.last_us).collect();
        times.sort_unstable();
        let cut = times[times.len() / 4];
        self.0.retain(|_, count| count.last_us > cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

    fn at(seconds: i64) -> UtcMicros {
        UtcMicros(1_000_000_000 * SECOND_US + seconds * SECOND_US)
    }

    fn fail(throttle: &mut Throttle, address: IpAddr, times: u32, now: UtcMicros) {
        for _ in 0..times {
            throttle.failed("tanaka", address, &Source::Address(address), now);
        }
    }

    #[test]
    fn the_pause_grows_and_ends() {
        let mut throttle = Throttle::default();
        let source = Source::Address(OWN);
        let verdict = |throttle: &mut Throttle, now| throttle.verdict("tanaka", OWN, &source, now);
        fail(&mut throttle, OWN, 4, at(0));
        assert_eq!(
            verdict(&mut throttle, at(0)),
            Verdict::Try {
                slowdown_seconds: 0
            }
        );
        fail(&mut throttle, OWN, 1, at(0));
        assert_eq!(verdict(&mut throttle, at(0)), Verdict::Wait { seconds: 1 });
        assert_eq!(
            verdict(&mut throttle, at(1)),
            Verdict::Try {
                slowdown_seconds: 0
            }
        );
        fail(&mut throttle, OWN, 2, at(1));
        assert_eq!(verdict(&mut throttle, at(2)), Verdict::Wait { seconds: 3 });
        fail(&mut throttle, OWN, 10, at(2));
        assert_eq!(verdict(&mut throttle, at(2)), Verdict::Wait { seconds: 60 });
        assert!(matches!(
            verdict(&mut throttle, at(62)),
            Verdict::Try { .. }
        ));
    }

    #[test]
    fn tries_sent_at_once_are_counted_before_they_are_checked() {
        let mut throttle = Throttle::default();
        let source = Source::Address(OWN);
        let looked_at = (0..100)
            .filter(|_| {
                let verdict = throttle.begin("tanaka", OWN, &source, at(0));
                matches!(verdict, Verdict::Try { .. })
            })
            .count();
        assert_eq!(looked_at, FREE_TRIES_PER_ACCOUNT_AND_SOURCE as usize);
    }

    #[test]
    fn a_try_that_succeeded_leaves_no_count_behind() {
        let mut throttle = Throttle::default();
        let source = Source::Address(OWN);
        for _ in 0..FREE_TRIES_PER_ADDRESS * 2 {
            let verdict = throttle.begin("tanaka", OWN, &source, at(0));
            assert_eq!(
                verdict,
                Verdict::Try {
                    slowdown_seconds: 0
                }
            );
            throttle.succeeded("tanaka", OWN, &source);
        }
    }

    #[test]
    fn an_attacker_elsewhere_only_slows_the_real_user_down() {
        let mut throttle = Throttle::default();
        for host in 0..200 {
            let address = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, host));
            fail(&mut throttle, address, 5, at(0));
        }
        let new_browser = throttle.verdict("tanaka", OTHER, &Source::Address(OTHER), at(0));
        assert_eq!(
            new_browser,
            Verdict::Try {
                slowdown_seconds: LONGEST_SLOWDOWN_SECONDS
            }
        );
        let known = Source::KnownBrowser("n".into());
        let known_browser = throttle.verdict("tanaka", OTHER, &known, at(0));
        assert_eq!(
            known_browser,
            Verdict::Try {
                slowdown_seconds: 0
            }
        );
    }

    #[test]
    fn one_address_trying_many_accounts_has_to_pause() {
        let mut throttle = Throttle::default();
        for account in 0..FREE_TRIES_PER_ADDRESS {
            throttle.failed(
                &format!("user-{account}"),
                OWN,
                &Source::Address(OWN),
                at(0),
            );
        }
        let verdict = throttle.verdict("another", OWN, &Source::Address(OWN), at(0));
        assert_eq!(verdict, Verdict::Wait { seconds: 1 });
    }

    #[test]
    fn one_subscriber_cannot_pose_as_many() {
        let one: IpAddr = "2001:db8:1:2::1".parse().expect("address");
        let other: IpAddr = "2001:db8:1:2:ffff::9".parse().expect("address");
        assert_eq!(subscriber(one), subscriber(other));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("address");
        assert_eq!(subscriber(mapped), OWN);
    }

    #[test]
    fn memory_stays_bounded() {
        let mut counts = Counts::default();
        for key in 0..(MOST_KEYS as u64 + 100) {
            counts.add(key, at(key as i64 / 100));
        }
        assert!(counts.0.len() <= MOST_KEYS);
    }
}
