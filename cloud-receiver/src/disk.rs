//! How full the disk below a folder is, and when that is too full for pictures.
//!
//! Records matter more than pictures: blobs are refused while there is still room for records, so that a flood of
//! pictures never stops the news of what happened.

use std::io;
use std::path::Path;

/// Of a disk this share is kept for the database, ...
const RESERVE_SHARE: u64 = 20;
/// ... but never more than this.
const RESERVE_BYTES_AT_MOST: u64 = 1024 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

impl Room {
    /// Of the disk that `folder` lies on, as this process may use it.
    pub fn at(folder: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(Self {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    /// What is kept free of blobs.
    pub fn reserve_bytes(self) -> u64 {
        (self.total_bytes / RESERVE_SHARE).min(RESERVE_BYTES_AT_MOST)
    }

    pub fn has_room_for(self, blob_bytes: u64) -> bool {
        self.free_bytes.saturating_sub(blob_bytes) > self.reserve_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_a_share_and_a_large_one_a_bound() {
        let room = |free_bytes, total_bytes| Room {
            free_bytes,
            total_bytes,
        };
        assert!(room(5_001, 20_000).has_room_for(4_000));
        assert!(!room(5_000, 20_000).has_room_for(4_000));
        assert!(!room(10, 20_000).has_room_for(4_000));
        assert_eq!(room(0, 1 << 40).reserve_bytes(), 1 << 30);
    }
}
