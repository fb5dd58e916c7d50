//! News for browsers that are looking: sent after the commit, so that whoever hears of it can already read it.
//!
//! Only wake-ups and what a card needs travel here; a browser that was away reads the store instead. What comes faster
//! than anybody reads, and what a slow browser missed, becomes one call to reload every few seconds: nothing is missed
//! silently, and a box that delivers a backlog costs a viewer one page at a time.

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
/// What is faster is told by a call to reload, after this: meanwhile nothing is heard.
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
            left: BURST,
            refilled_at: Instant::now(),
            rests_until: None,
        }
    }
}

/// Hears one contract's news.
#[derive(Debug)]
pub struct Listener {
    receiver: broadcast::Receiver<News>,
    /// News that may still follow at once, as of then.
    left: u32,
    refilled_at: Instant,
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
                Ok(news) if self.may_follow() => return Heard::News(news),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.rests_until = Some(Instant::now() + REST);
                }
                Err(broadcast::error::RecvError::Closed) => return Heard::Closed,
            }
        }
    }

    fn may_follow(&mut self) -> bool {
        let more = self.refilled_at.elapsed().as_millis() / ONE_EVERY.as_millis();
        let more = u32::try_from(more).unwrap_or(BURST);
        if self.left.saturating_add(more) >= BURST {
            (self.left, self.refilled_at) = (BURST, Instant::now());
        } else {
            self.left += more;
            self.refilled_at += ONE_EVERY * more;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
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

    #[tokio::test(start_paused = true)]
    async fn a_flood_becomes_a_call_to_reload_every_few_seconds() {
        let live = Live::default();
        let (id, scope) = contract(1);
        let mut listener = live.subscribe(scope);
        let began = Instant::now();
        let (mut news, mut reloads) = (0, 0);
        // A hundred in a second, for a minute.
        for number in 0..6_000 {
            live.publish(id, camera(number));
            let wait = tokio::time::sleep(Duration::from_millis(10));
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    heard = listener.next() => match heard {
                        Heard::News(_) => news += 1,
                        Heard::Lagged => reloads += 1,
                        Heard::Closed => unreachable!("it is open"),
                    },
                }
            }
        }
        assert!(began.elapsed() >= Duration::from_secs(60));
        assert!((20..=145).contains(&news), "{news}");
        assert!((15..=20).contains(&reloads), "{reloads}");
        // The last of them is told by a reload too, and when it is quiet, what happens is heard at once.
        assert_eq!(listener.next().await, Heard::Lagged);
        tokio::time::advance(Duration::from_secs(2)).await;
        let quiet = Instant::now();
        live.publish(id, camera(7));
        assert_eq!(listener.next().await, Heard::News(camera(7)));
        assert_eq!(quiet.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
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

    #[tokio::test(start_paused = true)]
    async fn who_lags_behind_is_told_to_reload() {
        let live = Live::default();
        let (id, scope) = contract(1);
        let mut listener = live.subscribe(scope);
        for number in 0..1_000 {
            live.publish(id, camera(number));
        }
        assert_eq!(listener.next().await, Heard::Lagged);
    }
}
