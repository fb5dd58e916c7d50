//! A picture small enough for a mail.

use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::{DynamicImage, ImageDecoder, Limits};
use std::io::Cursor;

const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;
const QUALITY: u8 = 70;
/// A device may have sent anything: one that would unpack to more is left out.
const UNPACKED_BYTES: u64 = 128 * 1024 * 1024;

/// A JPEG of a JPEG; nothing of what is none.
pub fn small_picture(jpeg: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = JpegDecoder::new(Cursor::new(jpeg)).ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(UNPACKED_BYTES);
    limits.max_image_width = Some(16_384);
    limits.max_image_height = Some(16_384);
    decoder.set_limits(limits).ok()?;
    let small = DynamicImage::from_decoder(decoder)
        .ok()?
        .thumbnail(WIDTH, HEIGHT)
        .into_rgb8();
    let mut bytes = Vec::new();
    small
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_large_picture_becomes_a_small_one_and_rubbish_none() {
        let large = image::RgbImage::from_fn(1920, 1080, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let mut jpeg = Vec::new();
        large
            .write_with_encoder(JpegEncoder::new(&mut jpeg))
            .unwrap();
        let small = small_picture(&jpeg).unwrap();
        assert!(small.len() < 40_000, "{}", small.len());
        let decoder = JpegDecoder::new(Cursor::new(&small)).unwrap();
        assert_eq!(decoder.dimensions(), (320, 180));
        assert_eq!(small_picture(b"no picture"), None);
    }
}
