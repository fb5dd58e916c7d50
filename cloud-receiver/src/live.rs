//! News for browsers that are looking: sent after the commit, so that whoever hears of it can already read it.
//!
//! Only wake-ups and what a card needs travel here. What happens after a silence is told at once; what follows is told
//! together, a few times a second, and of more than anybody reads only the newest one by one, with a word that there was
//! more. So what happens now is heard of beside a backlog that arrives, and a box that delivers as fast as it can costs
//! each viewer the same as one that is merely busy. Nothing is missed silently.

use crate::store::ContractScope;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use wire::{CameraId, ContractId, EventId, UtcMicros};

/// How long news are gathered after others were told.
const TOGETHER: Duration = Duration::from_millis(200);
/// Events that are told one by one each time, and so for everything else.
const MOST: usize = 32;
/// How many times' news a slow browser may lag behind before it has to reload.
const BACKLOG: usize = 16;

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
    /// More than is told one by one: read the store.
    More,
}

/// A channel for each contract that somebody looks at: what happens at one costs no other.
#[derive(Clone, Debug, Default)]
pub struct Live {
    channels: Arc<Mutex<HashMap<ContractId, Channel>>>,
}

#[derive(Debug)]
struct Channel {
    gathered: Gathered,
    wake: Arc<Notify>,
    told: broadcast::Sender<Arc<[News]>>,
}

impl Live {
    pub fn publish(&self, contract: ContractId, news: News) {
        if let Some(channel) = self.channels().get_mut(&contract) {
            channel.gathered.add(news);
            channel.wake.notify_one();
        }
    }

    /// From now on. Within a Tokio runtime.
    pub fn subscribe(&self, scope: ContractScope) -> Listener {
        let contract = scope.contract();
        let mut channels = self.channels();
        let channel = channels.entry(contract).or_insert_with(|| {
            let wake = Arc::new(Notify::new());
            tokio::spawn(self.clone().tell(contract, Arc::clone(&wake)));
            Channel {
                gathered: Gathered::default(),
                wake,
                told: broadcast::channel(BACKLOG).0,
            }
        });
        Listener {
            receiver: channel.told.subscribe(),
        }
    }

    /// Until nobody looks any more.
    async fn tell(self, contract: ContractId, wake: Arc<Notify>) {
        loop {
            wake.notified().await;
            if !self.tell_once(contract) {
                return;
            }
            tokio::time::sleep(TOGETHER).await;
        }
    }

    fn tell_once(&self, contract: ContractId) -> bool {
        let mut channels = self.channels();
        let Some(channel) = channels.get_mut(&contract) else {
            return false;
        };
        let news = std::mem::take(&mut channel.gathered).all();
        let is_heard = channel.told.send(news).is_ok();
        if !is_heard {
            channels.remove(&contract);
        }
        is_heard
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<ContractId, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be told next.
#[derive(Debug, Default)]
struct Gathered {
    /// By when they began, so that the newest are those that stay.
    events: BTreeMap<(UtcMicros, EventId), CameraId>,
    others: Vec<News>,
    is_cut: bool,
}

impl Gathered {
    fn add(&mut self, news: News) {
        match news {
            News::Event {
                id,
                camera,
                opened_at_us,
            } => {
                self.events.insert((opened_at_us, id), camera);
                if self.events.len() > MOST {
                    self.events.pop_first();
                    self.is_cut = true;
                }
            }
            other if self.others.contains(&other) => {}
            other if self.others.len() < MOST => self.others.push(other),
            _ => self.is_cut = true,
        }
    }

    fn all(self) -> Arc<[News]> {
        let event = |((opened_at_us, id), camera)| News::Event {
            id,
            camera,
            opened_at_us,
        };
        let events = self.events.into_iter().map(event);
        let more = self.is_cut.then_some(News::More);
        events.chain(self.others).chain(more).collect()
    }
}

/// Hears one contract's news.
#[derive(Debug)]
pub struct Listener {
    receiver: broadcast::Receiver<Arc<[News]>>,
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    News(Arc<[News]>),
    /// Some news was missed: read the store.
    Lagged,
    Closed,
}

impl Listener {
    /// May be given up while it waits, and asked again: nothing is forgotten.
    pub async fn next(&mut self) -> Heard {
        match self.receiver.recv().await {
            Ok(news) => Heard::News(news),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Lagged,
            Err(broadcast::error::RecvError::Closed) => Heard::Closed,
        }
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

    fn camera(number: u128) -> CameraId {
        CameraId(Uuid::from_u128(number))
    }

    fn state(number: u128) -> News {
        let camera = camera(number);
        News::Camera { camera }
    }

    fn event(number: u128, opened_us: i64) -> News {
        News::Event {
            id: EventId(Uuid::from_u128(number)),
            camera: camera(1),
            opened_at_us: UtcMicros(opened_us),
        }
    }

    async fn told(listener: &mut Listener) -> Vec<News> {
        match listener.next().await {
            Heard::News(news) => news.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_first_is_told_at_once_and_what_follows_together() {
        let live = Live::default();
        let (id, scope) = contract(1);
        let mut listener = live.subscribe(scope);
        live.publish(id, event(1, 1));
        assert_eq!(told(&mut listener).await, [event(1, 1)]);
        // An event that is told of again, as when its picture arrives, is one.
        for news in [event(2, 2), state(7), event(2, 2), state(7)] {
            live.publish(id, news);
        }
        assert_eq!(told(&mut listener).await, [event(2, 2), state(7)]);
    }

    #[tokio::test]
    async fn what_happens_now_is_heard_of_beside_a_backlog() {
        let live = Live::default();
        let (id, scope) = contract(1);
        let mut listener = live.subscribe(scope);
        for number in 0..5_000 {
            live.publish(id, event(number, i64::try_from(number).unwrap()));
            if number == 2_500 {
                live.publish(id, event(9_999, 1_000_000));
            }
        }
        let told = told(&mut listener).await;
        assert_eq!(told.len(), MOST + 1);
        assert!(told.contains(&event(9_999, 1_000_000)));
        assert_eq!(told.last(), Some(&News::More));
    }

    #[tokio::test]
    async fn what_happens_at_one_contract_costs_no_other() {
        let live = Live::default();
        let ((one, _), (other, scope)) = (contract(1), contract(2));
        let mut listener = live.subscribe(scope);
        live.publish(one, state(1));
        assert_eq!(live.channels().len(), 1, "nobody looks at that one");
        live.publish(other, state(7));
        assert_eq!(told(&mut listener).await, [state(7)]);
        drop(listener);
        live.publish(other, state(8));
        assert!(!live.tell_once(other));
        assert_eq!(live.channels().len(), 0, "nobody looks any more");
    }

    #[tokio::test]
    async fn who_lags_behind_is_told_to_reload() {
        let live = Live::default();
        let (id, scope) = contract(1);
        let mut listener = live.subscribe(scope);
        for number in 0..u128::try_from(BACKLOG).unwrap() + 1 {
            live.publish(id, state(number));
            assert!(live.tell_once(id));
        }
        assert_eq!(listener.next().await, Heard::Lagged);
        assert_eq!(told(&mut listener).await, [state(1)]);
    }
}
