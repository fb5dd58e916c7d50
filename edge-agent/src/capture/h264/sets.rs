//! Parameter sets, as far as a slice header depends on them; ITU-T H.264, 7.3.2.1 and 7.3.2.2.

use super::SliceType;
use super::bits::Bits;

/// Of a sequence parameter set.
#[derive(Clone, Copy, Debug)]
pub(super) struct SequenceSet {
    pub(super) id: u8,
    pub(super) separate_planes: bool,
    /// Chroma is coded together with luma (`ChromaArrayType` is not 0).
    pub(super) has_chroma: bool,
    pub(super) frame_number_bits: u32,
    /// Of `pic_order_cnt_lsb`, where the order is told so (type 0).
    pub(super) order_count_bits: Option<u32>,
    /// The order is told by deltas (type 1 without `delta_pic_order_always_zero_flag`).
    pub(super) order_count_deltas: bool,
    pub(super) frames_only: bool,
}

impl SequenceSet {
    pub(super) fn read(bits: &mut Bits) -> Option<Self> {
        let profile = bits.take(8)?;
        bits.skip(16)?;
        let id = u8::try_from(bits.unsigned()?).ok()?;
        let chroma = if HIGH_PROFILES.contains(&profile) {
            Chroma::read(bits)?
        } else {
            Chroma::default()
        };
        let frame_number_bits = width(bits.unsigned()?)?;
        let (mut order_count_bits, mut order_count_deltas) = (None, false);
        match bits.unsigned()? {
            0 => order_count_bits = Some(width(bits.unsigned()?)?),
            1 => {
                order_count_deltas = !bits.flag()?;
                bits.signed()?;
                bits.signed()?;
                for _ in 0..bits.unsigned()?.min(255) {
                    bits.signed()?;
                }
            }
            _ => {}
        }
        bits.unsigned()?;
        bits.skip(1)?;
        bits.unsigned()?;
        bits.unsigned()?;
        let frames_only = bits.flag()?;
        Some(Self {
            id,
            separate_planes: chroma.separate_planes,
            has_chroma: chroma.format != 0 && !chroma.separate_planes,
            frame_number_bits,
            order_count_bits,
            order_count_deltas,
            frames_only,
        })
    }
}

/// Profiles whose sequence sets tell the chroma format and scaling matrices.
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

struct Chroma {
    format: u32,
    separate_planes: bool,
}

impl Default for Chroma {
    /// 4:2:0.
    fn default() -> Self {
        Self {
            format: 1,
            separate_planes: false,
        }
    }
}

impl Chroma {
    fn read(bits: &mut Bits) -> Option<Self> {
        let format = bits.unsigned()?;
        let separate_planes = format == 3 && bits.flag()?;
        bits.unsigned()?;
        bits.unsigned()?;
        bits.skip(1)?;
        if bits.flag()? {
            skip_scaling(bits, if format == 3 { 12 } else { 8 })?;
        }
        Some(Self {
            format,
            separate_planes,
        })
    }
}

/// `log2_max_..._minus4`, of a field that has 16 bits at most.
fn width(minus4: u32) -> Option<u32> {
    (minus4 <= 12).then_some(minus4 + 4)
}

/// `count` scaling lists, each present or not; the first six are 4x4, the others 8x8.
fn skip_scaling(bits: &mut Bits, count: usize) -> Option<()> {
    for list in 0..count {
        if bits.flag()? {
            let (mut last, mut next) = (8, 8);
            for _ in 0..if list < 6 { 16 } else { 64 } {
                if next != 0 {
                    next = (last + bits.signed()?).rem_euclid(256);
                }
                last = if next == 0 { last } else { next };
            }
        }
    }
    Some(())
}

/// Of a picture parameter set.
#[derive(Clone, Copy, Debug)]
pub(super) struct PictureSet {
    pub(super) id: u8,
    pub(super) sequence: u8,
    pub(super) cabac: bool,
    pub(super) order_in_frames: bool,
    /// How many pictures lists 0 and 1 refer to unless a slice says otherwise.
    pub(super) references: [u32; 2],
    pub(super) init_qp_minus26: i32,
    pub(super) redundant_pictures: bool,
    weighted_p: bool,
    weighted_b: u32,
}

impl PictureSet {
    /// `None` also when it divides the picture into slice groups: no camera does, and their map would have to be read.
    pub(super) fn read(bits: &mut Bits) -> Option<Self> {
        let id = u8::try_from(bits.unsigned()?).ok()?;
        let sequence = u8::try_from(bits.unsigned()?).ok()?;
        let cabac = bits.flag()?;
        let order_in_frames = bits.flag()?;
        if bits.unsigned()? != 0 {
            return None;
        }
        let references = [
            bits.unsigned()?.checked_add(1)?,
            bits.unsigned()?.checked_add(1)?,
        ];
        let weighted_p = bits.flag()?;
        let weighted_b = bits.take(2)?;
        let init_qp_minus26 = bits.signed()?;
        bits.signed()?;
        bits.signed()?;
        bits.skip(2)?;
        let redundant_pictures = bits.flag()?;
        Some(Self {
            id,
            sequence,
            cabac,
            order_in_frames,
            references,
            init_qp_minus26,
            redundant_pictures,
            weighted_p,
            weighted_b,
        })
    }

    /// Whether a slice of this kind carries a table of weights.
    pub(super) fn is_weighted(&self, kind: SliceType) -> bool {
        match kind {
            SliceType::P => self.weighted_p,
            SliceType::B => self.weighted_b == 1,
            SliceType::I => false,
        }
    }
}
