//! How much room the spool may take, and when it has to give some back. Pure: sizes in, marks and an excess out.
//!
//! Two marks by quota: nothing happens up to the high one; beyond it the spool shrinks to the low one, 15/16 of
//! it, so that a full spool costs one sweep now and then and not one at every commit. Two marks by free space of
//! the disk, in the same way. On a disk smaller than the quota the disk is the quota.
//!
//! Everything the spool puts on the disk counts: pages of the database, blob files with their last block, and,
//! set apart beforehand, the ballast and the write-ahead log.

/// Room that is given up at once when the disk is full, so that deleting, which also needs room, can go on.
pub const BALLAST_BYTES: u64 = 4 << 20;
/// What a file costs beyond its bytes: the rest of its last block and its inode, at worst.
const FILE_OVERHEAD_BYTES: u64 = 4096;
/// Inodes to leave; a blob needs one, a reopened database two.
const MIN_FREE_INODES: u64 = 16;
/// What is shed for a commit that found no room; grows with every further failure.
pub const STARVED_STEP_BYTES: u64 = 1 << 20;

/// What the configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub quota_bytes: u64,
    /// Free space to leave on the disk. Only media is shed for it: records are worth more than other programs'
    /// room, and they are small.
    pub min_free_bytes: u64,
}

/// What the file system says of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// Absent where the file system makes inodes as it goes.
    pub free_inodes: Option<u64>,
}

/// What is kept to, for these limits on this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Database pages and blob files may take this much.
    pub high_bytes: u64,
    /// What they shrink to once they took more.
    pub low_bytes: u64,
    pub min_free_bytes: u64,
    pub ballast_bytes: u64,
    /// The write-ahead log is checkpointed at this size, and shrinks back to it.
    pub wal_bytes: u64,
    /// Damaged and refused things kept for a person to look at.
    pub quarantine_bytes: u64,
    /// Whether the disk, being smaller than the quota, decided.
    pub by_disk: bool,
}

impl Marks {
    pub fn new(limits: Limits, total_bytes: Option<u64>) -> Self {
        let total = total_bytes.unwrap_or(u64::MAX);
        // The file system needs some for itself, and a disk filled to the brim is slow.
        let disk = total - total / 8;
        let whole = limits.quota_bytes.min(disk);
        let ballast_bytes = BALLAST_BYTES.min(whole / 4);
        let wal_bytes = if whole >= 256 << 20 {
            4 << 20
        } else {
            (whole / 16).min(1 << 20)
        };
        let quarantine_bytes = (whole / 32).min(256 << 20);
        let high_bytes = whole - ballast_bytes - wal_bytes - quarantine_bytes;
        Self {
            high_bytes,
            low_bytes: high_bytes - high_bytes / 16,
            min_free_bytes: limits.min_free_bytes.min(total / 16),
            ballast_bytes,
            wal_bytes,
            quarantine_bytes,
            by_disk: disk < limits.quota_bytes,
        }
    }

    /// More pages than this the database must not have, whatever happens.
    pub fn max_pages(&self, page_bytes: u64) -> u64 {
        (self.high_bytes + self.high_bytes / 16 + (1 << 20)) / page_bytes
    }

    /// Free space is so low that media has to give way.
    pub fn is_low(&self, volume: Volume) -> bool {
        volume.free_bytes < self.min_free_bytes
            || volume
                .free_inodes
                .is_some_and(|free| free < MIN_FREE_INODES)
    }

    /// A commit may really have found no room.
    pub fn is_short(&self, volume: Volume) -> bool {
        volume.free_bytes < 2 * (self.ballast_bytes + self.wal_bytes)
            || volume
                .free_inodes
                .is_some_and(|free| free < MIN_FREE_INODES)
    }

    /// There is room to take the ballast back without falling below the mark again at once.
    pub fn has_room_for_ballast(&self, volume: Volume) -> bool {
        let wanted = self.min_free_bytes + self.ballast_bytes;
        volume.free_bytes >= wanted + wanted / 8 && !self.is_low(volume)
    }
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Pages of the database that are in use.
    pub database_bytes: u64,
    pub blobs: u64,
    /// Their files' sizes together.
    pub blob_bytes: u64,
    /// What this turn is about to add.
    pub incoming_bytes: u64,
    /// What a commit that found the disk full asks for.
    pub starved_bytes: u64,
}

impl Fill {
    pub fn used_bytes(&self) -> u64 {
        self.database_bytes + self.blob_bytes + self.blobs * FILE_OVERHEAD_BYTES
    }
}

/// Why something has to go: the word of the gap record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    #[default]
    Quota,
    Disk,
}

/// How much must go, to reach the low-water mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// To be shed from whatever there is, records last.
    pub any_bytes: u64,
    /// To be shed from media; includes `any_bytes`.
    pub media_bytes: u64,
    /// Files to be shed, whatever their size, where inodes are short.
    pub media_files: u64,
    pub cause: Cause,
}

impl Excess {
    /// A blob's file found no room: neither bytes nor, perhaps, an inode.
    pub fn for_blob(bytes: u64) -> Self {
        Self {
            any_bytes: 0,
            media_bytes: bytes + FILE_OVERHEAD_BYTES,
            media_files: 1,
            cause: Cause::Disk,
        }
    }

    pub fn is_none(&self) -> bool {
        self.any_bytes == 0 && self.media_bytes == 0 && self.media_files == 0
    }
}

/// What must go now. `volume` where the file system answers.
pub fn excess(marks: &Marks, fill: Fill, volume: Option<Volume>) -> Excess {
    let used = fill.used_bytes() + fill.incoming_bytes;
    let over_quota = if used > marks.high_bytes {
        used - marks.low_bytes
    } else {
        0
    };
    let mut missing = 0;
    let mut media_files = 0;
    if let Some(volume) = volume.filter(|volume| marks.is_low(*volume)) {
        if volume.free_bytes < marks.min_free_bytes {
            let low_water = marks.min_free_bytes + marks.min_free_bytes / 4;
            missing = low_water - volume.free_bytes;
        }
        media_files = MIN_FREE_INODES.saturating_sub(volume.free_inodes.unwrap_or(u64::MAX));
    }
    let any_bytes = over_quota.max(fill.starved_bytes);
    let cause = if over_quota > 0 && !marks.by_disk {
        Cause::Quota
    } else {
        Cause::Disk
    };
    Excess {
        any_bytes,
        media_bytes: any_bytes.max(missing),
        media_files,
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMITS: Limits = Limits {
        quota_bytes: 8 << 30,
        min_free_bytes: 512 * MIB,
    };

    fn volume(free_bytes: u64) -> Option<Volume> {
        Some(Volume {
            total_bytes: 64 << 30,
            free_bytes,
            free_inodes: Some(1000),
        })
    }

    fn fill(database_bytes: u64) -> Fill {
        Fill {
            database_bytes,
            ..Fill::default()
        }
    }

    #[test]
    fn nothing_goes_up_to_the_high_mark_and_then_down_to_the_low_one() {
        let marks = Marks::new(LIMITS, Some(64 << 30));
        assert!(!marks.by_disk);
        let plenty = volume(32 << 30);
        assert!(excess(&marks, fill(marks.high_bytes), plenty).is_none());
        let over = excess(&marks, fill(marks.high_bytes + 1), plenty);
        assert_eq!(over.any_bytes, marks.high_bytes + 1 - marks.low_bytes);
        assert_eq!(over.cause, Cause::Quota);
    }

    #[test]
    fn a_disk_that_others_fill_costs_media_but_no_record() {
        let marks = Marks::new(LIMITS, Some(64 << 30));
        let low = excess(&marks, fill(0), volume(500 * MIB));
        assert_eq!((low.any_bytes, low.media_bytes), (0, 140 * MIB));
        assert_eq!(low.cause, Cause::Disk);
        assert!(excess(&marks, fill(0), volume(512 * MIB)).is_none());
    }

    #[test]
    fn missing_inodes_cost_files_whatever_their_size() {
        let marks = Marks::new(LIMITS, Some(64 << 30));
        let no_inodes = Volume {
            free_inodes: Some(3),
            ..volume(32 << 30).expect("given")
        };
        let excess = excess(&marks, fill(0), Some(no_inodes));
        assert_eq!((excess.media_bytes, excess.media_files), (0, 13));
    }

    #[test]
    fn a_small_disk_is_the_quota() {
        let marks = Marks::new(LIMITS, Some(27 * MIB));
        assert!(marks.by_disk);
        assert_eq!(marks.ballast_bytes, 4 * MIB);
        let all = marks.high_bytes
            + marks.ballast_bytes
            + marks.wal_bytes
            + marks.quarantine_bytes
            + marks.min_free_bytes;
        assert!(all <= 27 * MIB, "{marks:?}");
        assert!(marks.high_bytes > 16 * MIB, "{marks:?}");
    }

    #[test]
    fn whatever_the_disk_the_marks_are_in_order() {
        for total in [0, 1, 4096, MIB, 16 * MIB, 300 * MIB, 64 << 30, u64::MAX] {
            for quota_bytes in [0, 1, 16 * MIB, 8 << 30, u64::MAX] {
                let limits = Limits {
                    quota_bytes,
                    ..LIMITS
                };
                let marks = Marks::new(limits, Some(total));
                assert!(marks.low_bytes <= marks.high_bytes, "{marks:?}");
                assert!(marks.high_bytes <= quota_bytes.min(total), "{marks:?}");
            }
        }
    }
}
