//! From luma and chroma to red, green and blue (ITU-T H.273). Pure.

use crate::frame::ColorSpace;

/// What one conversion needs, in whole numbers of 2^-[`SHIFT`]: fine enough that the rounded levels are those of
/// floating point, and several times as fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct YuvToRgb {
    black: i32,
    luma: i32,
    v_to_r: i32,
    u_to_g: i32,
    v_to_g: i32,
    u_to_b: i32,
}

/// The largest sum, of blue, stays below 2^31.
const SHIFT: i32 = 21;

impl YuvToRgb {
    pub fn new(space: ColorSpace) -> Self {
        // Weights of red and blue in luma: BT.601 and BT.709, each section 3.
        let (kr, kb) = match space {
            ColorSpace::Bt601Limited | ColorSpace::Bt601Full => (0.299, 0.114),
            ColorSpace::Bt709Limited | ColorSpace::Bt709Full => (0.2126, 0.0722),
        };
        let (black, luma, chroma) = match space {
            ColorSpace::Bt601Limited | ColorSpace::Bt709Limited => {
                (16, 255.0 / 219.0, 255.0 / 224.0)
            }
            ColorSpace::Bt601Full | ColorSpace::Bt709Full => (0, 1.0, 1.0),
        };
        let kg = 1.0 - kr - kb;
        let fixed = |factor: f64| (factor * f64::from(1 << SHIFT)).round() as i32;
        Self {
            black,
            luma: fixed(luma),
            v_to_r: fixed(chroma * 2.0 * (1.0 - kr)),
            u_to_g: fixed(-chroma * 2.0 * (1.0 - kb) * kb / kg),
            v_to_g: fixed(-chroma * 2.0 * (1.0 - kr) * kr / kg),
            u_to_b: fixed(chroma * 2.0 * (1.0 - kb)),
        }
    }

    /// Red, green and blue, 0..=255, rounded; what lies outside is cut.
    #[inline]
    pub fn levels(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let luma = self.luma * (i32::from(y) - self.black) + (1 << (SHIFT - 1));
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        [
            luma + self.v_to_r * v,
            luma + self.u_to_g * u + self.v_to_g * v,
            luma + self.u_to_b * u,
        ]
        .map(|level| (level >> SHIFT).clamp(0, 255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_white_and_a_published_colour() {
        for (space, black, white) in [
            (ColorSpace::Bt601Limited, 16, 235),
            (ColorSpace::Bt709Limited, 16, 235),
            (ColorSpace::Bt601Full, 0, 255),
            (ColorSpace::Bt709Full, 0, 255),
        ] {
            let convert = YuvToRgb::new(space);
            assert_eq!(convert.levels(black, 128, 128), [0; 3], "{space:?}");
            assert_eq!(convert.levels(white, 128, 128), [255; 3], "{space:?}");
            // The far corners of the cube neither overflow nor wrap.
            for [y, u, v] in [[255, 255, 255], [255, 0, 0], [0, 255, 255], [0, 0, 0]] {
                convert.levels(y, u, v);
            }
        }
        // Pure red as 8-bit BT.709 is (63, 102, 240).
        let red = YuvToRgb::new(ColorSpace::Bt709Limited).levels(63, 102, 240);
        assert!(red[0] > 253 && red[1] < 2 && red[2] < 2, "{red:?}");
    }
}
