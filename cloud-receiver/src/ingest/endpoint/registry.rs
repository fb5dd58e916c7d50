//! Which devices are connected. One connection a device: the newest wins, since the older one is most likely a
//! line that went dead unnoticed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use wire::DeviceId;

#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    seats: Arc<Mutex<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    by_device: HashMap<DeviceId, (u64, CancellationToken)>,
    given: u64,
}

/// A connection's place; leaving it is dropping it.
#[derive(Debug)]
pub(super) struct Seat {
    registry: Registry,
    device: DeviceId,
    number: u64,
    taken_over: CancellationToken,
}

impl Registry {
    /// Seats a new connection of the device, and tells the one that sat there to end.
    pub(super) fn seat(&self, device: DeviceId) -> Seat {
        let taken_over = CancellationToken::new();
        let mut seats = self.lock();
        seats.given += 1;
        let number = seats.given;
        let before = seats.by_device.insert(device, (number, taken_over.clone()));
        if let Some((_, older)) = before {
            older.cancel();
        }
        drop(seats);
        Seat {
            registry: self.clone(),
            device,
            number,
            taken_over,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seats> {
        // Nothing in here can be left half done.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) async fn taken_over(&self) {
        self.taken_over.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.registry.lock();
        let is_ours = seats
            .by_device
            .get(&self.device)
            .is_some_and(|(number, _)| *number == self.number);
        if is_ours {
            seats.by_device.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_newest_sits_and_the_older_one_leaves_its_seat_alone() {
        let registry = Registry::default();
        let device = DeviceId(Uuid::from_u128(1));
        let old = registry.seat(device);
        let other = registry.seat(DeviceId(Uuid::from_u128(2)));
        let new = registry.seat(device);
        assert!(old.taken_over.is_cancelled());
        assert!(!other.taken_over.is_cancelled());
        drop(old);
        assert!(!new.taken_over.is_cancelled());
        let newest = registry.seat(device);
        assert!(new.taken_over.is_cancelled());
        drop((other, new, newest));
        assert!(registry.lock().by_device.is_empty());
    }
}
