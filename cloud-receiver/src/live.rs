//! News for browsers that are looking: sent after the commit, so that whoever hears of it can already read it.
//!
//! Only wake-ups and what a card needs travel here; a browser that was away reads the store instead. A slow
//! one that lags behind is told to reload, so nothing is missed silently.

use crate::store::ContractScope;
use serde::Serialize;
use tokio::sync::broadcast;
use wire::{CameraId, ContractId, EventId, UtcMicros};

/// How many items a slow browser may lag behind before it has to reload.
const BACKLOG: usize = 256;

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

#[derive(Clone, Debug)]
pub struct Live {
    sender: broadcast::Sender<(ContractId, News)>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            sender: broadcast::channel(BACKLOG).0,
        }
    }
}

impl Live {
    pub fn publish(&self, contract: ContractId, news: News) {
        // No listener is no error: nobody is looking.
        let _ = self.sender.send((contract, news));
    }

    pub fn subscribe(&self, scope: ContractScope) -> Listener {
        Listener {
            contract: scope.contract(),
            receiver: self.sender.subscribe(),
        }
    }
}

/// Hears one contract's news.
#[derive(Debug)]
pub struct Listener {
    contract: ContractId,
    receiver: broadcast::Receiver<(ContractId, News)>,
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
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.receiver.recv().await {
                Ok((contract, news)) if contract == self.contract => return Heard::News(news),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return Heard::Lagged,
                Err(broadcast::error::RecvError::Closed) => return Heard::Closed,
            }
        }
    }
}
