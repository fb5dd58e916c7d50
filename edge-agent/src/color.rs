//! From luma and chroma to red, green and blue (ITU-T H.273). Pure.

use crate::frame::ColorSpace;

/// What one conversion needs: `r = luma * (y - black) + v_to_r * (v - 128)`, and so on, all on the scale 0..255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct YuvToRgb {
    black: f32,
    luma: f32,
    v_to_r: f32,
    u_to_g: f32,
    v_to_g: f32,
    u_to_b: f32,
}

impl YuvToRgb {
    pub fn new(space: ColorSpace) -> Self {
        // Weights of red and blue in luma: BT.601 and BT.709, each section 3.
        let (kr, kb) = match space {
            ColorSpace::Bt601Limited | ColorSpace::Bt601Full => (0.299, 0.114),
            ColorSpace::Bt709Limited | ColorSpace::Bt709Full => (0.2126, 0.0722),
        };
        let (black, luma, chroma) = match space {
            ColorSpace::Bt601Limited | ColorSpace::Bt709Limited => {
                (16.0, 255.0 / 219.0, 255.0 / 224.0)
            }
            ColorSpace::Bt601Full | ColorSpace::Bt709Full => (0.0, 1.0, 1.0),
        };
        let kg = 1.0 - kr - kb;
        Self {
            black,
            luma,
            v_to_r: chroma * 2.0 * (1.0 - kr),
            u_to_g: -chroma * 2.0 * (1.0 - kb) * kb / kg,
            v_to_g: -chroma * 2.0 * (1.0 - kr) * kr / kg,
            u_to_b: chroma * 2.0 * (1.0 - kb),
        }
    }

    /// Red, green and blue, 0..=255, rounded.
    #[inline]
    pub fn levels(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        // The cast cuts off what is below 0 or above 255.
        self.rgb(y, u, v).map(|level| (level + 0.5) as u8)
    }

    /// Not rounded, 0..=255.
    #[inline]
    fn rgb(&self, y: u8, u: u8, v: u8) -> [f32; 3] {
        let luma = self.luma * (f32::from(y) - self.black);
        let (u, v) = (f32::from(u) - 128.0, f32::from(v) - 128.0);
        [
            luma + self.v_to_r * v,
            luma + self.u_to_g * u + self.v_to_g * v,
            luma + self.u_to_b * u,
        ]
        .map(|level| level.clamp(0.0, 255.0))
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
            assert_eq!(convert.rgb(black, 128, 128), [0.0; 3], "{space:?}");
            for level in convert.rgb(white, 128, 128) {
                assert!((level - 255.0).abs() < 0.01, "{space:?} {level}");
            }
        }
        // Pure red as 8-bit BT.709 is (63, 102, 240).
        let red = YuvToRgb::new(ColorSpace::Bt709Limited).rgb(63, 102, 240);
        assert!(
            (red[0] - 255.0).abs() < 1.5 && red[1] < 1.5 && red[2] < 1.5,
            "{red:?}"
        );
    }
}
