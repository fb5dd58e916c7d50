//! The last seconds of a stream as it came, encoded: what led up to a moment, and where a decoder can start.
//!
//! Bounded in bytes and in time: when full, the oldest group of pictures goes as a whole, because its rest could not be
//! decoded; and it goes when nobody will ask for anything so old. The ring also carries units from the receiving thread to the camera's own: that one reads behind a
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

    /// Whether decoding can begin at this picture (byte-stream), if it is coded without another: the parser puts parameter sets
    /// before every picture that clears the decoder (IDR; H.265: any IRAP), and cameras do it themselves where they mean a
    /// beginning. A picture that is merely coded without another, as encoders put one at a change of scene, has none: what
    /// follows it may refer to what came before, and a decoder that begins there waits in vain.
    pub(super) fn begins(self, unit: &[u8]) -> bool {
        let mut rest = unit;
        while let Some(at) = rest.windows(3).position(|window| window == [0, 0, 1]) {
            rest = &rest[at + 3..];
            let Some(header) = rest.first() else {
                return false;
            };
            // NAL unit types of the sequence parameter set and of slices: ITU-T H.264 table 7-1, H.265 table 7-1.
            let (is_set, is_slice) = match self {
                Self::H264 => (header & 0x1f == 7, matches!(header & 0x1f, 1..=5)),
                Self::H265 => (header >> 1 & 0x3f == 33, header >> 1 & 0x3f < 32),
            };
            if is_set || is_slice {
                return is_set;
            }
        }
        false
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
    /// When it reached this machine, on the boot clock.
    pub fn taken_at(&self) -> Duration {
        Duration::from_nanos(self.time.boottime_ns)
    }

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
    /// Somebody still reads from here on.
    held_from: Option<u64>,
}

/// A group is dropped when the next one began so long ago. Two to three times what is ever looked back at.
const LONGEST: Duration = Duration::from_secs(15);
/// While somebody reads, the ring may become larger by this part of itself.
const HELD_PART: usize = 2;

impl GopRing {
    pub fn new(capacity_bytes: usize) -> Self {
        Self {
            units: VecDeque::new(),
            first_number: 0,
            bytes: 0,
            capacity_bytes,
            held_from: None,
        }
    }

    pub fn push(&mut self, unit: AccessUnit) {
        self.bytes += unit.held_bytes();
        self.units.push_back(unit);
        while self.units.len() > 1 && (self.bytes > self.capacity_bytes || self.is_outdated()) {
            let most = self.capacity_bytes + self.capacity_bytes / HELD_PART;
            let is_held = self
                .held_from
                .is_some_and(|from| from < self.second_group());
            if is_held && self.bytes <= most {
                break;
            }
            self.drop_oldest_group();
        }
    }

    /// Whether what follows the oldest group begins with a key frame and reaches back far enough.
    fn is_outdated(&self) -> bool {
        let next = self.second_group() - self.first_number;
        let next = usize::try_from(next).ok().and_then(|at| self.units.get(at));
        let newest = self.units.back();
        next.zip(newest).is_some_and(|(next, newest)| {
            next.key && newest.taken_at() >= next.taken_at() + LONGEST
        })
    }

    /// Nothing from this unit on is dropped, as long as the ring does not outgrow itself by half.
    pub fn hold(&mut self, from: Option<u64>) {
        self.held_from = from;
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

    pub fn newest(&self) -> Option<&AccessUnit> {
        self.units.back()
    }

    /// Number of the last key frame not behind unit `number`: where decoding begins to see that one. `None` when it is
    /// not held, or belongs to a stream of another format.
    pub fn key_up_to(&self, number: u64) -> Option<u64> {
        let index = usize::try_from(number.checked_sub(self.first_number)?).ok()?;
        let wanted = self.units.get(index)?.format.codec;
        let group = (0..=index).rev();
        let mut group = group.take_while(|&at| self.units[at].format.codec == wanted);
        let key = group.find(|&at| self.units[at].key)?;
        Some(self.first_number + key as u64)
    }

    /// The newest key frame not taken after `at` on the boot clock.
    pub fn key_taken_by(&self, at: Duration) -> Option<AccessUnit> {
        let mut newest_first = self.units.iter().rev();
        newest_first
            .find(|unit| unit.key && unit.taken_at() <= at)
            .cloned()
    }

    /// Number of the first unit of the second group held.
    fn second_group(&self) -> u64 {
        let next_key = self.units.iter().skip(1).position(|unit| unit.key);
        self.first_number + next_key.map_or(1, |index| index as u64 + 1)
    }

    /// Up to the next key frame. A single group larger than the ring loses its beginning unit by unit: nobody can
    /// start there any more, but a reader that is further on is not disturbed.
    fn drop_oldest_group(&mut self) {
        for _ in self.first_number..self.second_group() {
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

    /// NAL units of these headers, each with a start code and something in it.
    fn nals(headers: &[u8]) -> Vec<u8> {
        let nal = |header: &u8| [0, 0, 1, *header, 0x88, 0x80];
        headers.iter().flat_map(nal).collect()
    }

    #[test]
    fn decoding_begins_at_parameter_sets_and_not_at_any_picture_coded_by_itself() {
        let (h264, h265) = (Codec::H264, Codec::H265);
        for (codec, headers, expected) in [
            // Delimiter, sets, SEI, slice that clears the decoder.
            (h264, &[0x09, 0x67, 0x68, 0x06, 0x65][..], true),
            // An open group: sets, SEI of a recovery point, slice.
            (h264, &[0x67, 0x68, 0x06, 0x41], true),
            // A change of scene, and an ordinary picture.
            (h264, &[0x09, 0x41], false),
            (h264, &[0x09, 0x06, 0x01], false),
            // Sets for the next picture come too late for this one.
            (h264, &[0x41, 0x67], false),
            (h264, &[], false),
            // VPS, SPS, PPS, IDR or CRA; TRAIL_R alone.
            (h265, &[0x40, 0x42, 0x44, 0x26], true),
            (h265, &[0x42, 0x44, 0x2a], true),
            (h265, &[0x46, 0x02], false),
        ] {
            assert_eq!(
                codec.begins(&nals(headers)),
                expected,
                "{codec:?} {headers:x?}"
            );
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
    fn what_is_too_old_goes_unless_it_is_read_or_has_no_successor() {
        let clocks = Arc::new(SimClocks::new(UtcMicros(1)));
        let time = TimeSource::new(clocks.clone());
        let mut ring = GopRing::new(1 << 20);
        let push = |ring: &mut GopRing, units: &str| {
            for c in units.chars() {
                clocks.advance(Duration::from_secs(5));
                ring.push(AccessUnit {
                    time: time.now(),
                    ..unit(c == 'K', 5)
                });
            }
            held(ring)
        };
        assert_eq!(push(&mut ring, "K..K.."), "K..K..");
        assert_eq!(
            push(&mut ring, "."),
            "K...",
            "the second group is 15 s long"
        );
        assert_eq!(
            push(&mut ring, "....."),
            "K........",
            "nothing else can be decoded"
        );
        ring.hold(Some(3));
        assert_eq!(push(&mut ring, "K...."), "K........K....");
        ring.hold(None);
        assert_eq!(push(&mut ring, "."), "K.....");
    }

    #[test]
    fn a_group_larger_than_the_ring_keeps_its_newest_units() {
        let ring = ring(20, "K......");
        assert_eq!(held(&ring), "....");
        assert!(ring.key_up_to(6).is_none(), "its key frame is gone");
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
        let keys: Vec<_> = (0..7).map(|number| ring.key_up_to(number)).collect();
        let expected = [None, Some(1), Some(1), Some(1), Some(4), Some(4), None];
        assert_eq!(keys, expected);
    }

    #[test]
    fn decoding_never_joins_two_codecs() {
        let mut ring = ring(1000, "K..");
        let mut foreign = unit(false, 5);
        foreign.format.codec = Codec::H265;
        ring.push(foreign);
        assert_eq!((ring.key_up_to(2), ring.key_up_to(3)), (Some(0), None));
    }

    #[test]
    fn what_is_being_read_stays_up_to_a_bound() {
        let mut ring = ring(39, "K..K");
        ring.hold(Some(1));
        ring.push(unit(false, (5 << 10) - OVERHEAD_BYTES));
        ring.push(unit(false, (5 << 10) - OVERHEAD_BYTES));
        assert_eq!(held(&ring), "K..K..", "the reader is at 1");
        ring.hold(Some(3));
        ring.push(unit(false, (5 << 10) - OVERHEAD_BYTES));
        assert_eq!(held(&ring), "K...", "the first group is read");
        for _ in 0..20 {
            ring.push(unit(true, (10 << 10) - OVERHEAD_BYTES));
        }
        assert!(ring.bytes() <= (39 << 10) * 3 / 2, "{}", ring.bytes());
    }
}
