//! The last seconds of a stream as it came, encoded: what led up to a moment, and where a decoder can start.
//!
//! Bounded in bytes: when full, the oldest group of pictures goes as a whole, because its rest could not be
//! decoded. The ring also carries units from the receiving thread to the camera's own: that one reads behind a
//! cursor, and sees by the numbers if it was overtaken.

use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wire::RecordTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    H264,
    H265,
}

impl Codec {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
        }
    }
}

/// What the encoded stream says of itself. Parameter sets are repeated in front of every key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFormat {
    pub codec: Codec,
    /// 0 as long as the stream has not said.
    pub width: u32,
    pub height: u32,
}

/// Encoded bytes in the receiver's own buffer: passed on, not copied.
pub type UnitBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// One encoded picture (byte-stream, start codes) with everything that belongs to it.
#[derive(Clone)]
pub struct AccessUnit {
    /// When it reached this machine.
    pub time: RecordTime,
    /// On the stream's own clock; several runs of a camera have unrelated ones.
    pub pts: Option<Duration>,
    /// Nothing before it is needed to decode it and what follows.
    pub key: bool,
    pub format: StreamFormat,
    pub bytes: UnitBytes,
}

/// What a unit takes beside its bytes: buffer, mapping and allocator. Small pictures would otherwise make a ring
/// several times as large as it is said to be.
const OVERHEAD_BYTES: usize = 1024;

impl AccessUnit {
    pub fn len_bytes(&self) -> usize {
        (*self.bytes).as_ref().len()
    }

    fn held_bytes(&self) -> usize {
        self.len_bytes() + OVERHEAD_BYTES
    }
}

impl fmt::Debug for AccessUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.key { "key" } else { "delta" };
        write!(f, "AccessUnit({kind}, {} bytes)", self.len_bytes())
    }
}

#[derive(Debug)]
pub struct GopRing {
    units: VecDeque<AccessUnit>,
    /// Number of the first unit held; numbers count up for ever.
    first_number: u64,
    bytes: usize,
    capacity_bytes: usize,
}

impl GopRing {
    pub fn new(capacity_bytes: usize) -> Self {
        Self {
            units: VecDeque::new(),
            first_number: 0,
            bytes: 0,
            capacity_bytes,
        }
    }

    pub fn push(&mut self, unit: AccessUnit) {
        self.bytes += unit.held_bytes();
        self.units.push_back(unit);
        while self.bytes > self.capacity_bytes && self.units.len() > 1 {
            self.drop_oldest_group();
        }
    }

    /// Memory taken, what belongs to each unit beside its bytes included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number the next unit will have.
    pub fn next_number(&self) -> u64 {
        self.first_number + self.units.len() as u64
    }

    /// The first unit held whose number is not below `cursor`, with its number.
    pub fn at_or_after(&self, cursor: u64) -> Option<(u64, &AccessUnit)> {
        let number = cursor.max(self.first_number);
        let index = usize::try_from(number - self.first_number).ok()?;
        self.units.get(index).map(|unit| (number, unit))
    }

    /// What has to be decoded to see unit `number`: from its key frame up to itself. `None` when the key frame is
    /// not held, or belongs to a stream of another format.
    pub fn group_up_to(&self, number: u64) -> Option<Vec<AccessUnit>> {
        let index = usize::try_from(number.checked_sub(self.first_number)?).ok()?;
        let wanted = self.units.get(index)?;
        let key = (0..=index).rev().find(|&at| self.units[at].key)?;
        let group: Vec<_> = self.units.range(key..=index).cloned().collect();
        group
            .iter()
            .all(|unit| unit.format.codec == wanted.format.codec)
            .then_some(group)
    }

    /// Up to the next key frame. A single group larger than the ring loses its beginning unit by unit: nobody can
    /// start there any more, but a reader that is further on is not disturbed.
    fn drop_oldest_group(&mut self) {
        let next_key = self.units.iter().skip(1).position(|unit| unit.key);
        for _ in 0..next_key.map_or(1, |index| index + 1) {
            if let Some(unit) = self.units.pop_front() {
                self.bytes -= unit.held_bytes();
                self.first_number += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::{SimClocks, TimeSource};
    use wire::UtcMicros;

    fn unit(key: bool, bytes: usize) -> AccessUnit {
        AccessUnit {
            time: TimeSource::new(Arc::new(SimClocks::new(UtcMicros(1)))).now(),
            pts: None,
            key,
            format: StreamFormat {
                codec: Codec::H264,
                width: 0,
                height: 0,
            },
            bytes: Arc::new(vec![0_u8; bytes]),
        }
    }

    /// `K` is a key frame that takes 10 KiB, `.` another of 5.
    fn ring(capacity_kib: usize, units: &str) -> GopRing {
        let mut ring = GopRing::new(capacity_kib << 10);
        for c in units.chars() {
            let taken = if c == 'K' { 10 << 10 } else { 5 << 10 };
            ring.push(unit(c == 'K', taken - OVERHEAD_BYTES));
        }
        ring
    }

    fn held(ring: &GopRing) -> String {
        ring.units
            .iter()
            .map(|u| if u.key { 'K' } else { '.' })
            .collect()
    }

    #[test]
    fn the_oldest_group_goes_as_a_whole() {
        assert_eq!(held(&ring(100, "K..K..")), "K..K..");
        assert_eq!(held(&ring(39, "K..K..")), "K..");
        assert_eq!(held(&ring(39, "K..K..K")), "K..K");
        assert_eq!(held(&ring(1000, "..K.")), "..K.");
        let ring = ring(39, "K..K..");
        assert_eq!((ring.bytes(), ring.next_number()), (20 << 10, 6));
    }

    #[test]
    fn a_group_larger_than_the_ring_keeps_its_newest_units() {
        let ring = ring(20, "K......");
        assert_eq!(held(&ring), "....");
        assert!(ring.group_up_to(6).is_none(), "its key frame is gone");
        assert_eq!(ring.at_or_after(0).unwrap().0, 3);
    }

    #[test]
    fn a_reader_sees_what_it_missed_by_the_numbers() {
        let ring = ring(39, "K..K..");
        assert_eq!(ring.at_or_after(0).unwrap().0, 3);
        assert_eq!(ring.at_or_after(5).unwrap().0, 5);
        assert!(ring.at_or_after(6).is_none());
    }

    #[test]
    fn decoding_starts_at_the_key_frame_before() {
        let ring = ring(1000, ".K..K.");
        let lengths: Vec<_> = (0..6)
            .map(|number| ring.group_up_to(number).map(|group| group.len()))
            .collect();
        assert_eq!(lengths, [None, Some(1), Some(2), Some(3), Some(1), Some(2)]);
        assert!(ring.group_up_to(6).is_none());
    }

    #[test]
    fn a_group_never_joins_two_codecs() {
        let mut ring = ring(1000, "K..");
        let mut foreign = unit(false, 5);
        foreign.format.codec = Codec::H265;
        ring.push(foreign);
        assert!(ring.group_up_to(3).is_none());
    }
}
