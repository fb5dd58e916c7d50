//! What to shed when there is too much, and in which order. Pure: sizes in, a choice out.
//!
//! Order: clips, periodic pictures, requested pictures and files about the box, event snapshots, oldest first within each; records only
//! when nothing else is left, and of them those last that already name a loss. Media that was delivered is
//! deleted at its 2xx, so it is never there to be shed. How much must go is said in `room.rs`.

use crate::spool::room::Excess;

/// The order of shedding: least comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    Clip = 1,
    Periodic = 2,
    Requested = 3,
    Snapshot = 4,
    Records = 5,
    /// Batches that hold gap records: shedding them would lose the word about an earlier loss.
    RecordsNamingLosses = 6,
}

impl Rank {
    pub fn of_media(class: wire::MediaClass) -> Self {
        match class {
            wire::MediaClass::Clip => Rank::Clip,
            wire::MediaClass::Periodic => Rank::Periodic,
            wire::MediaClass::Diagnostic | wire::MediaClass::Requested => Rank::Requested,
            // A class this version does not know is kept as long as a snapshot.
            wire::MediaClass::Snapshot | wire::MediaClass::Unknown => Rank::Snapshot,
        }
    }

    pub fn is_media(self) -> bool {
        self < Rank::Records
    }
}

/// Something that could be shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Order of arrival within its table.
    pub id: i64,
    pub rank: Rank,
    pub bytes: u64,
}

/// The fewest candidates, in the order of shedding, that free the excess; all of them if that is not enough.
pub fn choose(mut candidates: Vec<Candidate>, excess: Excess) -> Vec<Candidate> {
    candidates.sort_unstable_by_key(|candidate| (candidate.rank, candidate.id));
    let (mut freed, mut files) = (0, 0);
    candidates.retain(|candidate| {
        let is_media = candidate.rank.is_media();
        let take = if is_media {
            freed < excess.media_bytes || files < excess.media_files
        } else {
            freed < excess.any_bytes
        };
        if take {
            freed += candidate.bytes;
            files += u64::from(is_media);
        }
        take
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_disk_that_others_filled_costs_media_but_no_record() {
        let candidates = vec![
            candidate(1, Rank::Records, 50),
            candidate(2, Rank::Snapshot, 10),
        ];
        let excess = Excess {
            media_bytes: 100,
            ..Excess::default()
        };
        let chosen = choose(candidates, excess);
        assert_eq!(chosen, [candidate(2, Rank::Snapshot, 10)]);
    }

    #[test]
    fn missing_inodes_take_files_in_order() {
        let candidates = (1..9).map(|id| candidate(id, Rank::Clip, 0)).collect();
        let excess = Excess {
            media_files: 3,
            ..Excess::default()
        };
        assert_eq!(choose(candidates, excess).len(), 3);
    }

    fn candidate(id: i64, rank: Rank, bytes: u64) -> Candidate {
        Candidate { id, rank, bytes }
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let rank = prop::sample::select(vec![
            Rank::Clip,
            Rank::Periodic,
            Rank::Requested,
            Rank::Snapshot,
            Rank::Records,
            Rank::RecordsNamingLosses,
        ]);
        prop::collection::vec((rank, 1u64..1000), 0..60).prop_map(|items| {
            (1..)
                .zip(items)
                .map(|(id, (rank, bytes))| candidate(id, rank, bytes))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn sheds_in_order_enough_and_no_more(
            candidates in candidates(),
            any_bytes in 0u64..20_000,
            more in 0u64..5_000,
        ) {
            let excess = Excess { any_bytes, media_bytes: any_bytes + more, ..Excess::default() };
            let chosen = choose(candidates.clone(), excess);
            let order = |c: &Candidate| (c.rank, c.id);

            // In order, and nothing that is kept comes before anything that goes, among what may go.
            prop_assert!(chosen.is_sorted_by_key(order));
            for kept in candidates.iter().filter(|c| !chosen.contains(c)) {
                for shed in &chosen {
                    prop_assert!(order(shed) < order(kept));
                }
            }

            // Enough, or everything; and without the last one it would not have been enough.
            let freed: u64 = chosen.iter().map(|c| c.bytes).sum();
            let everything = chosen.len() == candidates.len();
            prop_assert!(freed >= any_bytes || everything);
            if let Some(last) = chosen.last() {
                let wanted = if last.rank.is_media() { excess.media_bytes } else { any_bytes };
                prop_assert!(freed - last.bytes < wanted);
            }
        }
    }
}
