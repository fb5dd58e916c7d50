//! What to shed when the disk is full, and in which order. Pure: sizes in, a choice out.
//!
//! Order: clips, periodic pictures, requested pictures, event snapshots, oldest first within each; records only
//! when nothing else is left, and of them those last that already name a loss. Media that was delivered is
//! deleted at its 2xx, so it is never there to be shed.
//!
//! Two marks: nothing happens up to the quota (high water); beyond it the spool shrinks to 15/16 of it (low
//! water), so that a full disk costs one sweep now and then and not one at every commit.

/// What the spool may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub quota_bytes: u64,
    /// Free space to leave on the disk. Only media is shed for it: records are worth more than other
    /// programs' room, and they are small.
    pub min_free_bytes: u64,
}

/// How much must go, to reach the low-water mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// To be shed from whatever there is, records last.
    pub any_bytes: u64,
    /// To be shed from media; includes `any_bytes`.
    pub media_bytes: u64,
}

impl Excess {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// `used_bytes`: what the spool takes; `free_bytes`: what the disk has left, where that is known.
pub fn excess(limits: Limits, used_bytes: u64, free_bytes: Option<u64>) -> Excess {
    let low_water = limits.quota_bytes - limits.quota_bytes / 16;
    let any_bytes = if used_bytes > limits.quota_bytes {
        used_bytes - low_water
    } else {
        0
    };
    let missing = limits
        .min_free_bytes
        .saturating_sub(free_bytes.unwrap_or(u64::MAX));
    Excess {
        any_bytes,
        media_bytes: any_bytes.max(missing),
    }
}

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
            wire::MediaClass::Requested => Rank::Requested,
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
    let mut freed = 0;
    candidates.retain(|candidate| {
        let wanted = if candidate.rank.is_media() {
            excess.media_bytes
        } else {
            excess.any_bytes
        };
        let take = freed < wanted;
        if take {
            freed += candidate.bytes;
        }
        take
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        quota_bytes: 1600,
        min_free_bytes: 100,
    };

    #[test]
    fn nothing_goes_up_to_the_quota_and_then_down_to_the_low_mark() {
        assert!(excess(LIMITS, 1600, Some(100)).is_none());
        assert_eq!(excess(LIMITS, 1601, None).any_bytes, 101);
        let low_disk = excess(LIMITS, 0, Some(40));
        assert_eq!((low_disk.any_bytes, low_disk.media_bytes), (0, 60));
    }

    #[test]
    fn a_disk_that_others_filled_costs_media_but_no_record() {
        let candidates = vec![
            candidate(1, Rank::Records, 50),
            candidate(2, Rank::Snapshot, 10),
        ];
        let chosen = choose(candidates, excess(LIMITS, 0, Some(0)));
        assert_eq!(chosen, [candidate(2, Rank::Snapshot, 10)]);
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
            let excess = Excess { any_bytes, media_bytes: any_bytes + more };
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
