//! Where the ids of events come from: handed in, so that the rules stay a function of their inputs. Pure.

use wire::{CameraId, EventId};

/// Makes ids of events.
pub type NewEventId = Box<dyn FnMut() -> EventId + Send>;

/// Ids that are the same at every run, in order, and different for each camera and seed: for the replay of a file.
pub fn seeded(seed: u64, camera: CameraId) -> NewEventId {
    let (high, low) = camera.0.as_u64_pair();
    let mut state = mixed(seed ^ mixed(high ^ mixed(low)));
    let mut count = 0_u64;
    Box::new(move || {
        count += 1;
        state = mixed(state);
        let mut bytes = [0; 16];
        // The count leads, as time does in the ids of a live camera.
        bytes[..6].copy_from_slice(&count.to_be_bytes()[2..]);
        bytes[8..].copy_from_slice(&state.to_be_bytes());
        EventId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    })
}

/// One step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn mixed(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_again_in_order_and_nobody_elses() {
        let ids = |seed, camera| -> Vec<EventId> {
            let mut new_id = seeded(seed, CameraId(uuid::Uuid::from_u128(camera)));
            (0..100).map(|_| new_id()).collect()
        };
        assert_eq!(ids(1, 7), ids(1, 7));
        assert!(ids(1, 7).is_sorted());
        assert!(ids(1, 7).iter().all(|id| id.0.get_version_num() == 8));
        for other in [ids(2, 7), ids(1, 8), ids(1, 7 << 64)] {
            assert!(ids(1, 7).iter().all(|id| !other.contains(id)));
        }
    }
}
