//! Bits of a NAL unit, the emulation prevention bytes (00 00 **03**) left out on the way; ITU-T H.264, 7.3.1 and 9.1.

pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte that was not taken yet.
    next: usize,
    zeros: u32,
    byte: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    /// Of the payload behind a NAL unit's header byte.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            next: 0,
            zeros: 0,
            byte: 0,
            left: 0,
        }
    }

    pub(super) fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.byte = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left & 1))
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        self.bit().map(|bit| bit == 1)
    }

    /// `u(n)`, up to 32 bits.
    pub(super) fn take(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0_u32, |value, _| Some(value << 1 | self.bit()?))
    }

    pub(super) fn skip(&mut self, bits: u32) -> Option<()> {
        (0..bits).try_for_each(|_| self.bit().map(|_| ()))
    }

    /// `ue(v)`.
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// `se(v)`.
    pub(super) fn signed(&mut self) -> Option<i32> {
        let code = self.unsigned()?;
        let size = i32::try_from(code.div_ceil(2)).ok()?;
        Some(if code % 2 == 1 { size } else { -size })
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.get(self.next)?;
        self.next += 1;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.get(self.next)?;
            self.next += 1;
        }
        self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_table_9_2() {
        // 1, 010, 011, 00100, 00101, 00110: 0, 1, 2, 3, 4, 5.
        let bytes = [0b1010_0110, 0b0100_0010, 0b1001_1000];
        let mut bits = Bits::of(&bytes);
        let codes: Vec<_> = (0..6).map_while(|_| bits.unsigned()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5]);
        let mut bits = Bits::of(&bytes);
        let codes: Vec<_> = (0..6).map_while(|_| bits.signed()).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2, 3]);
    }

    #[test]
    fn what_prevents_emulation_is_no_data() {
        let mut bits = Bits::of(&[0, 0, 3, 1, 0, 0, 3]);
        assert_eq!(bits.take(24), Some(1));
        assert_eq!(bits.take(16), Some(0));
        assert_eq!(bits.bit(), None);
    }

    #[test]
    fn a_code_that_never_ends_is_none() {
        assert_eq!(Bits::of(&[0; 20]).unsigned(), None);
        assert_eq!(Bits::of(&[]).signed(), None);
    }
}
