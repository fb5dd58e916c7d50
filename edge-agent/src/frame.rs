//! One decoded picture with its time, and nothing else.

use std::fmt;
use std::sync::Arc;
use wire::{CameraId, RecordTime};

/// How the bytes of a picture are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// 8-bit 4:2:0 planar: luma `[H, W]`, then two chroma planes `[ceil(H/2), ceil(W/2)]`. What decoders give.
    I420,
    /// 8-bit interleaved `[H, W, 3]`, red first. What picture files give.
    Rgb,
}

/// Matrix and range by which luma and chroma become colours (ITU-T H.273).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorSpace {
    /// BT.601, 16..235: standard definition.
    Bt601Limited,
    /// BT.709, 16..235: high definition.
    Bt709Limited,
    /// BT.601, 0..255: JPEG and many cameras.
    Bt601Full,
    /// BT.709, 0..255.
    Bt709Full,
}

/// Where a plane lies in the picture's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    pub offset: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// Bytes that somebody else may own, such as a decoder's mapped buffer: a frame is passed on, not copied.
pub type PixelBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

#[derive(Clone)]
pub struct Frame {
    pub camera: CameraId,
    /// When the picture reached this machine.
    pub time: RecordTime,
    pub width: u32,
    pub height: u32,
    pub format: PixelFormat,
    pub color: ColorSpace,
    /// Three planes for I420 (Y, U, V); for RGB the first alone counts.
    pub planes: [Plane; 3],
    pub bytes: PixelBytes,
}

impl Frame {
    /// A picture from interleaved RGB rows without padding, `[H, W, 3]`.
    pub fn from_rgb(
        camera: CameraId,
        time: RecordTime,
        width: u32,
        height: u32,
        rgb: Vec<u8>,
    ) -> Self {
        assert_eq!(
            rgb.len(),
            width as usize * height as usize * 3,
            "rgb is [H, W, 3]"
        );
        let plane = Plane {
            offset: 0,
            stride: width as usize * 3,
        };
        Self {
            camera,
            time,
            width,
            height,
            format: PixelFormat::Rgb,
            color: ColorSpace::Bt601Full,
            planes: [plane; 3],
            bytes: Arc::new(rgb),
        }
    }

    /// Row `y` of plane `index`, `len` bytes of it.
    pub fn row(&self, index: usize, y: usize, len: usize) -> &[u8] {
        let plane = self.planes[index];
        let start = plane.offset + y * plane.stride;
        &(*self.bytes).as_ref()[start..start + len]
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Frame({}x{} {:?} of {} at {})",
            self.width, self.height, self.format, self.camera, self.time.captured_at_us
        )
    }
}
