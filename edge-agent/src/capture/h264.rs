//! What an H.264 picture says of itself before its first coefficient: how its first slice is coded and how coarsely it
//! is quantised. Pure.
//!
//! Under a constant bit rate an encoder hides movement from anybody who only counts bytes: it quantises more coarsely
//! until the bytes are the same. The quantiser stands in the slice header, which is never entropy-coded with CABAC and
//! lies in front of everything, so that reading it costs some dozens of bits a picture. ITU-T H.264 (08/2021): 7.3.1
//! (NAL units), 7.3.2.1 and 7.3.2.2 (parameter sets), 7.3.3 (slice header), 9.1 (Exp-Golomb codes).
//!
//! A header that cannot be read is `None`: the stream is a stranger's.

mod bits;
mod sets;

use bits::Bits;
use sets::{PictureSet, SequenceSet};
use std::collections::BTreeMap;

/// How a slice predicts. SP and SI slices are P and I here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceType {
    P,
    B,
    I,
}

/// The first slice of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub kind: SliceType,
    /// `SliceQPY`, -48..=51: 26 + pic_init_qp_minus26 + slice_qp_delta. Six more halve the precision.
    pub qp: i8,
    /// Other pictures are predicted from this one (`nal_ref_idc` is not 0).
    pub is_reference: bool,
}

/// Remembers a stream's parameter sets, which come before the pictures that need them.
#[derive(Clone, Debug, Default)]
pub struct SliceReader {
    sequences: BTreeMap<u8, SequenceSet>,
    pictures: BTreeMap<u8, PictureSet>,
}

/// So much of a NAL unit is enough for its header, however many reference pictures it reorders.
const HEADER_BYTES: usize = 512;

const SLICE: u8 = 1;
const SLICE_PARTITION_A: u8 = 2;
const SLICE_IDR: u8 = 5;
const SEQUENCE_SET: u8 = 7;
const PICTURE_SET: u8 = 8;

impl SliceReader {
    /// Reads an access unit in byte-stream format (Annex B) up to its first slice.
    pub fn read(&mut self, unit: &[u8]) -> Option<Slice> {
        let mut rest = unit;
        while let Some(start) = after_start_code(rest) {
            rest = &rest[start..];
            let (&header, payload) = rest.split_first()?;
            let nal = Nal {
                kind: header & 0x1f,
                is_reference: header & 0x60 != 0,
            };
            match nal.kind {
                SEQUENCE_SET => self.keep_sequence(payload),
                PICTURE_SET => self.keep_picture(payload),
                SLICE | SLICE_PARTITION_A | SLICE_IDR => return self.slice(nal, payload),
                _ => {}
            }
        }
        None
    }

    fn keep_sequence(&mut self, payload: &[u8]) {
        if let Some(set) = SequenceSet::read(&mut Bits::of(until_next(payload))) {
            self.sequences.insert(set.id, set);
        }
    }

    fn keep_picture(&mut self, payload: &[u8]) {
        if let Some(set) = PictureSet::read(&mut Bits::of(until_next(payload))) {
            self.pictures.insert(set.id, set);
        }
    }

    /// `slice_header()`, up to `slice_qp_delta`.
    fn slice(&self, nal: Nal, payload: &[u8]) -> Option<Slice> {
        let mut bits = Bits::of(&payload[..payload.len().min(HEADER_BYTES)]);
        let _first_macroblock = bits.unsigned()?;
        let kind = match bits.unsigned()? % 5 {
            0 | 3 => SliceType::P,
            1 => SliceType::B,
            _ => SliceType::I,
        };
        let picture = self.pictures.get(&u8::try_from(bits.unsigned()?).ok()?)?;
        let sequence = self.sequences.get(&picture.sequence)?;
        let is_idr = nal.kind == SLICE_IDR;
        if sequence.separate_planes {
            bits.skip(2)?;
        }
        bits.skip(sequence.frame_number_bits)?;
        let is_field = !sequence.frames_only && bits.flag()?;
        if is_field {
            bits.skip(1)?;
        }
        if is_idr {
            bits.unsigned()?;
        }
        skip_order(&mut bits, sequence, picture, is_field)?;
        if picture.redundant_pictures {
            bits.unsigned()?;
        }
        if kind == SliceType::B {
            bits.skip(1)?;
        }
        let references = reference_counts(&mut bits, picture, kind)?;
        skip_reordering(&mut bits, kind)?;
        if picture.is_weighted(kind) {
            skip_weights(&mut bits, sequence, references)?;
        }
        if nal.is_reference {
            skip_marking(&mut bits, is_idr)?;
        }
        if picture.cabac && kind != SliceType::I {
            bits.unsigned()?;
        }
        let qp = 26 + picture.init_qp_minus26.checked_add(bits.signed()?)?;
        Some(Slice {
            kind,
            qp: i8::try_from(qp).ok().filter(|qp| (-48..=51).contains(qp))?,
            is_reference: nal.is_reference,
        })
    }
}

#[derive(Clone, Copy)]
struct Nal {
    kind: u8,
    is_reference: bool,
}

/// Where the byte behind the next start code (00 00 01) lies.
fn after_start_code(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(3)
        .position(|window| window == [0, 0, 1])
        .map(|at| at + 3)
}

/// A parameter set's payload ends where the next start code begins.
fn until_next(payload: &[u8]) -> &[u8] {
    let end = after_start_code(payload).map_or(payload.len(), |next| next - 3);
    &payload[..end]
}

/// The picture order count.
fn skip_order(
    bits: &mut Bits,
    sequence: &SequenceSet,
    picture: &PictureSet,
    is_field: bool,
) -> Option<()> {
    let has_delta = picture.order_in_frames && !is_field;
    match sequence.order_count_bits {
        Some(width) => {
            bits.skip(width)?;
            if has_delta {
                bits.signed()?;
            }
        }
        None if sequence.order_count_deltas => {
            bits.signed()?;
            if has_delta {
                bits.signed()?;
            }
        }
        None => {}
    }
    Some(())
}

/// How many pictures each list refers to.
fn reference_counts(bits: &mut Bits, picture: &PictureSet, kind: SliceType) -> Option<[u32; 2]> {
    let mut counts = picture.references;
    if kind != SliceType::I && bits.flag()? {
        counts[0] = bits.unsigned()?.checked_add(1)?;
        if kind == SliceType::B {
            counts[1] = bits.unsigned()?.checked_add(1)?;
        }
    }
    // The standard allows 32; more is a broken stream, not a reason to read on.
    let used = match kind {
        SliceType::I => [0, 0],
        SliceType::P => [counts[0], 0],
        SliceType::B => counts,
    };
    used.iter().all(|count| *count <= 32).then_some(used)
}

/// `ref_pic_list_modification()`.
fn skip_reordering(bits: &mut Bits, kind: SliceType) -> Option<()> {
    let lists = match kind {
        SliceType::I => 0,
        SliceType::P => 1,
        SliceType::B => 2,
    };
    for _ in 0..lists {
        if bits.flag()? {
            while bits.unsigned()? != 3 {
                bits.unsigned()?;
            }
        }
    }
    Some(())
}

/// `pred_weight_table()`.
fn skip_weights(bits: &mut Bits, sequence: &SequenceSet, references: [u32; 2]) -> Option<()> {
    bits.unsigned()?;
    if sequence.has_chroma {
        bits.unsigned()?;
    }
    for _ in 0..references[0] + references[1] {
        if bits.flag()? {
            bits.signed()?;
            bits.signed()?;
        }
        if sequence.has_chroma && bits.flag()? {
            for _ in 0..4 {
                bits.signed()?;
            }
        }
    }
    Some(())
}

/// `dec_ref_pic_marking()`.
fn skip_marking(bits: &mut Bits, is_idr: bool) -> Option<()> {
    if is_idr {
        return bits.skip(2);
    }
    if !bits.flag()? {
        return Some(());
    }
    loop {
        match bits.unsigned()? {
            0 => return Some(()),
            3 => {
                bits.unsigned()?;
                bits.unsigned()?;
            }
            5 => {}
            _ => {
                bits.unsigned()?;
            }
        }
    }
}

#[cfg(test)]
mod tests;
