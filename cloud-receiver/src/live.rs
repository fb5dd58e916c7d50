//! News for browsers that are looking: sent after the commit, so that whoever hears of it can already read it.
//!
//! Only wake-ups and what a card needs travel here; a browser that was away reads the store instead. What comes faster
//! than anybody reads, and what a slow browser missed, becomes one call to reload every few seconds: nothing is missed
//! silently, and a box that delivers a backlog costs a viewer one page at a time.

use crate::seal::random;
use crate::store::ContractScope;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;
use wire::{CameraId, ContractId, EventId, UtcMicros};

/// How many items a slow browser may lag behind before it has to reload.
const BACKLOG: usize = 256;
/// So many news may follow each other at once,
const BURST: u32 = 20;
/// and after them one in this time: more cards than that nobody reads.
const ONE_EVERY: Duration = Duration::from_millis(500);
/// What is faster is told by a call to reload, after this, up to twice as long: meanwhile nothing is heard. Each listener has
/// a length of its own, because else all pages would be reloaded at the same moment.
const REST: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum News {
    /// An event opened, changed or closed, or its picture arrived.
    Event {
        id: EventId,
        camera: CameraId,
        opened_at_us: UtcMicros,
    },
    /// A camera's latest picture or state changed.
    Camera { camera: CameraId },
    /// What is missing from a timeline changed: a loss was told, or a camera stopped or runs again.
    Gap { camera: Option<CameraId> },
    /// A device's clock was put right, and with it the times of all that it had recorded before.
    Corrected,
}

/// A channel of its own for each contract that somebody looks at: what happens at one costs no other.
#[derive(Clone, Debug, Default)]
pub struct Live {
    channels: Arc<Mutex<HashMap<ContractId, broadcast::Sender<News>>>>,
}

impl Live {
    pub fn publish(&self, contract: ContractId, news: News) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(channel) = channels.get(&contract) else {
            return;
        };
        if channel.send(news).is_err() {
            // Nobody looks any more.
            channels.remove(&contract);
        }
    }

    pub fn subscribe(&self, scope: ContractScope) -> Listener {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = channels
            .entry(scope.contract())
            .or_insert_with(|| broadcast::channel(BACKLOG).0);
        Listener {
            receiver: channel.subscribe(),
            pace: Pace::new(Instant::now()),
            rest: REST + REST * u32::from(random::<1>()[0]) / u32::from(u8::MAX),
            rests_until: None,
        }
    }
}

/// Hears one contract's news.
#[derive(Debug)]
pub struct Listener {
    receiver: broadcast::Receiver<News>,
    pace: Pace,
    rest: Duration,
    rests_until: Option<Instant>,
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    News(News),
    /// Some news was missed: read the store.
    Lagged,
    Closed,
}

impl Listener {
    /// May be given up while it waits, and asked again: nothing is forgotten.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(until) = self.rests_until {
                tokio::time::sleep_until(until).await;
                self.rests_until = None;
                // What was said until now is in the store.
                self.receiver = self.receiver.resubscribe();
                return Heard::Lagged;
            }
            match self.receiver.recv().await {
                Ok(news) if self.pace.allows(Instant::now()) => return Heard::News(news),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.rests_until = Some(Instant::now() + self.rest);
                }
                Err(broadcast::error::RecvError::Closed) => return Heard::Closed,
            }
        }
    }
}

/// How much of what happens is told one by one.
#[derive(Debug)]
struct Pace {
    /// News that may still follow at once, as of then.
    left: u32,
    refilled_at: Instant,
}

impl Pace {
    fn new(at: Instant) -> Self {
        Self {
            left: BURST,
            refilled_at: at,
        }
    }

    fn allows(&mut self, at: Instant) -> bool {
        let more = at.duration_since(self.refilled_at).as_millis() / ONE_EVERY.as_millis();
        let more = u32::try_from(more).unwrap_or(BURST);
        if self.left.saturating_add(more) >= BURST {
            *self = Self::new(at);
        } else {
            self.left += more;
            self.refilled_at += ONE_EVERY * more;
        }
        let allows = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allows
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use uuid::Uuid;

    fn contract(number: u128) -> (ContractId, ContractScope) {
        let id = ContractId(Uuid::from_u128(number));
        (id, ContractScope::of_session(id))
    }

    fn camera(number: u128) -> News {
        News::Camera {
            camera: CameraId(Uuid::from_u128(number)),
        }
    }

    #[test]
    fn what_follows_too_fast_is_not_told_one_by_one() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        // A hundred in a second, for a minute.
        let at = |number: u32| began + Duration::from_millis(10) * number;
        let told = (0..6_000).filter(|number| pace.allows(at(*number))).count();
        assert_eq!(told, 20 + 119);
        // After ten seconds of quiet as at the beginning.
        let quiet = at(6_000) + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| pace.allows(quiet)).count(), 20);
    }

    #[tokio::test]
    async fn what_happens_at_one_contract_costs_no_other() {
        let live = Live::default();
        let ((one, _), (other, scope)) = (contract(1), contract(2));
        let mut listener = live.subscribe(scope);
        let _looks_too = live.subscribe(contract(1).1);
        for number in 0..1_000 {
            live.publish(one, camera(number));
        }
        live.publish(other, camera(7));
        assert_eq!(listener.next().await, Heard::News(camera(7)));
        drop(listener);
        live.publish(other, camera(8));
        assert_eq!(
            live.channels.lock().unwrap().len(),
            1,
            "nobody looks any more"
        );
    }

    #[tokio::test]
    async fn who_lags_behind_is_told_to_reload() {
        let live = Live::default();
        let (id, scope) = contract(1);
        let mut listener = live.subscribe(scope);
        for number in 0..1_000 {
            live.publish(id, camera(number));
        }
        assert_eq!(listener.next().await, Heard::Lagged);
        live.publish(id, camera(7));
        assert_eq!(listener.next().await, Heard::News(camera(7)));
    }
}
