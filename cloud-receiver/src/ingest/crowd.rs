//! How many connections one address may hold, so that one visitor cannot take all there are.

use crate::auth::throttle::subscriber;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the open connections of each address; an IPv6 one stands for its /64, which is one subscriber.
#[derive(Debug)]
pub struct Crowd {
    most: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

impl Crowd {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            held: Mutex::default(),
        })
    }

    /// A place for one more connection, given back when it is dropped; none if the address holds its share.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = subscriber(address);
        let mut held = self.held();
        let count = held.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place {
            crowd: Arc::clone(self),
            address,
        })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Counts stay right whatever panicked while they were held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of an address.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.crowd.held();
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_address_takes_its_share_and_no_more() {
        let crowd = Crowd::new(2);
        let first = crowd.enter(address("192.0.2.1"));
        let second = crowd.enter(address("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(crowd.enter(address("192.0.2.1")).is_none());
        let other = crowd.enter(address("192.0.2.2"));
        assert!(other.is_some());
        drop(first);
        assert!(crowd.enter(address("192.0.2.1")).is_some());
        drop((second, other));
        assert!(
            crowd.held().is_empty(),
            "nothing is remembered of those who left"
        );
    }

    #[test]
    fn a_subscriber_has_many_addresses() {
        let crowd = Crowd::new(1);
        let place = crowd.enter(address("2001:db8:1:2::1"));
        assert!(place.is_some());
        assert!(crowd.enter(address("2001:db8:1:2:ffff::9")).is_none());
        assert!(crowd.enter(address("2001:db8:1:3::1")).is_some());
    }
}
