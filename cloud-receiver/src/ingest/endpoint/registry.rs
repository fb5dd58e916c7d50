//! One session per device: a new connection takes over from an old one that may be half dead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use wire::DeviceId;

#[derive(Debug, Default)]
pub(super) struct Registry {
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    next: u64,
    of: HashMap<DeviceId, (u64, CancellationToken)>,
}

/// A session's place; given up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<Registry>,
    device: DeviceId,
    number: u64,
    /// Fires when another connection of the device took over.
    pub(super) taken_over: CancellationToken,
}

impl Registry {
    pub(super) fn enter(self: &Arc<Self>, device: DeviceId) -> Place {
        let mut sessions = self.lock();
        sessions.next += 1;
        let number = sessions.next;
        let taken_over = CancellationToken::new();
        let before = sessions.of.insert(device, (number, taken_over.clone()));
        if let Some((_, before)) = before {
            before.cancel();
        }
        Place {
            registry: Arc::clone(self),
            device,
            number,
            taken_over,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().of.len()
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sessions = self.registry.lock();
        if sessions
            .of
            .get(&self.device)
            .is_some_and(|(number, _)| *number == self.number)
        {
            sessions.of.remove(&self.device);
        }
    }
}
