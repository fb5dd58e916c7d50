//! Reduced luma pictures: shapes, strides and the mean of what was reduced.

use super::scenes::{Picture, luma_frame, time};
use super::*;
use wire::CameraId;

#[test]
fn every_size_has_its_cells() {
    // (frame, cells)
    let cases = [
        ((1920, 1080), (160, 90)),
        ((3840, 2160), (160, 90)),
        ((1080, 1920), (90, 160)),
        ((768, 576), (160, 120)),
        ((1281, 721), (160, 90)),
        ((161, 3), (160, 2)),
        ((160, 120), (160, 120)),
        ((7, 5), (7, 5)),
        ((5000, 1), (160, 1)),
        ((1, 1), (1, 1)),
        ((0, 0), (0, 0)),
    ];
    for ((wide, high), cells) in cases {
        let luma = SmallLuma::of(&luma_frame(wide, high, wide, vec![77; wide * high]));
        assert_eq!((luma.width, luma.height), cells, "{wide} x {high}");
        assert_eq!(luma.pixels, vec![77; cells.0 * cells.1], "{wide} x {high}");
        assert_eq!(luma.detail, 0.0, "{wide} x {high}");
    }
}

#[test]
fn a_cell_is_the_mean_of_its_pixels_and_padding_is_none_of_them() {
    let (wide, high, stride) = (645, 363, 700);
    let value = |x: usize, y: usize| (x / 4 + y / 6) as u8;
    let mut bytes = vec![255; stride * high];
    for (y, row) in bytes.chunks_mut(stride).enumerate() {
        for (x, byte) in row[..wide].iter_mut().enumerate() {
            *byte = value(x, y);
        }
    }
    let luma = SmallLuma::of(&luma_frame(wide, high, stride, bytes));
    for (index, pixel) in luma.pixels.iter().enumerate() {
        let (x, y) = (index % luma.width, index / luma.width);
        let columns = x * wide / luma.width..(x + 1) * wide / luma.width;
        let rows = y * high / luma.height..(y + 1) * high / luma.height;
        let all = || {
            rows.clone()
                .flat_map(|y| columns.clone().map(move |x| (x, y)))
        };
        let sum: f32 = all().map(|(x, y)| f32::from(value(x, y))).sum();
        let mean = sum / all().count() as f32;
        assert!(
            (f32::from(*pixel) - mean).abs() <= 1.0,
            "({x}, {y}): {pixel}, not {mean}"
        );
    }
}

#[test]
fn colours_weigh_as_the_eye_weighs_them() {
    for (rgb, luma) in [
        ([255, 0, 0], 76),
        ([0, 255, 0], 149),
        ([0, 0, 255], 28),
        ([90; 3], 90),
    ] {
        let bytes = rgb.repeat(320 * 180);
        let frame = Frame::from_rgb(CameraId(uuid::Uuid::nil()), time(), 320, 180, bytes);
        let small = SmallLuma::of(&frame);
        assert_eq!((small.width, small.height), (160, 90));
        let near = small.pixels.iter().all(|pixel| pixel.abs_diff(luma) <= 1);
        assert!(near, "{rgb:?}: {}", small.pixels[0]);
    }
}

#[test]
fn detail_tells_focus_from_noise() {
    let street = Picture::street(1);
    let sharp = street.small().detail;
    let blurred = street.clone().blurred(5);
    assert!(sharp > 10.0, "{sharp}");
    for sigma in [0.0, 2.0, 6.0] {
        let noisy = street.clone().with_noise(sigma, 3).small().detail;
        assert!(
            (noisy / sharp - 1.0).abs() < 0.1,
            "noise of {sigma}: {noisy}, not {sharp}"
        );
        let soft = blurred.clone().with_noise(sigma, 3).small().detail;
        assert!(
            soft < 0.25 * sharp,
            "blur and noise of {sigma}: {soft}, sharp {sharp}"
        );
    }
}
