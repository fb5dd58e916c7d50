//! From a decoder's buffer to a `Frame` without copying: the frame keeps the buffer mapped until nobody looks at
//! it any more.

use crate::frame::{ColorSpace, Frame, PixelFormat, Plane};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::{VideoColorMatrix, VideoColorRange};
use std::sync::Arc;
use wire::{CameraId, RecordTime};

/// From this height on, a stream that does not say its colour matrix is taken for high definition.
const HIGH_DEFINITION_HEIGHT: u32 = 720;

/// The picture in `sample`, which has to be I420.
pub(super) fn frame(
    sample: &gst::Sample,
    camera: CameraId,
    time: RecordTime,
) -> Result<Frame, &'static str> {
    let caps = sample.caps().ok_or("a picture without caps")?;
    let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| "a picture of unknown layout")?;
    if info.format() != gst_video::VideoFormat::I420 {
        return Err("a picture that is not I420");
    }
    let buffer = sample.buffer_owned().ok_or("a picture without bytes")?;
    let planes = planes(&buffer, &info);
    let bytes = buffer
        .into_mapped_buffer_readable()
        .map_err(|_| "a picture that cannot be read")?;
    let frame = Frame {
        camera,
        time,
        width: info.width(),
        height: info.height(),
        format: PixelFormat::I420,
        color: color_space(&info),
        planes,
        bytes: Arc::new(bytes),
    };
    if holds_all_rows(&frame) {
        Ok(frame)
    } else {
        Err("a picture with missing rows")
    }
}

/// Lets decoders hand over their own buffers with their own strides, instead of copying each picture into a
/// tight one.
pub(super) fn accept_padded_pictures(sink: &gst_app::AppSink) {
    let pad = sink
        .static_pad("sink")
        .expect("every appsink has a sink pad");
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(query) = info.query_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        match query.view_mut() {
            gst::QueryViewMut::Allocation(allocation) => {
                allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// The buffer's own word on its layout goes before what the caps imply.
fn planes(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) -> [Plane; 3] {
    let (offsets, strides) = match buffer.meta::<gst_video::VideoMeta>() {
        Some(meta) => (meta.offset().to_vec(), meta.stride().to_vec()),
        None => (info.offset().to_vec(), info.stride().to_vec()),
    };
    std::array::from_fn(|index| Plane {
        offset: offsets[index],
        stride: usize::try_from(strides[index]).expect("decoders store rows top down"),
    })
}

/// Every row of every plane lies within the bytes: what `Frame::row` relies on.
fn holds_all_rows(frame: &Frame) -> bool {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let sizes = [
        (width, height),
        (width.div_ceil(2), height.div_ceil(2)),
        (width.div_ceil(2), height.div_ceil(2)),
    ];
    let bytes = (*frame.bytes).as_ref().len();
    width > 0
        && height > 0
        && frame
            .planes
            .iter()
            .zip(sizes)
            .all(|(plane, (width, height))| {
                plane.stride >= width && plane.offset + (height - 1) * plane.stride + width <= bytes
            })
}

fn color_space(info: &gst_video::VideoInfo) -> ColorSpace {
    let colorimetry = info.colorimetry();
    let bt709 = match colorimetry.matrix() {
        VideoColorMatrix::Bt709 => true,
        VideoColorMatrix::Unknown => info.height() >= HIGH_DEFINITION_HEIGHT,
        _ => false,
    };
    let full = colorimetry.range() == VideoColorRange::Range0_255;
    match (bt709, full) {
        (false, false) => ColorSpace::Bt601Limited,
        (true, false) => ColorSpace::Bt709Limited,
        (false, true) => ColorSpace::Bt601Full,
        (true, true) => ColorSpace::Bt709Full,
    }
}
