//! The only place that knows GStreamer. Everything that leaves it is plain bytes, times and our own errors.

pub mod choice;
pub(super) mod decode;
pub mod file;
mod picture;
mod proof;
pub(super) mod receive;

use super::error::CaptureError;
use gstreamer as gst;
use std::sync::OnceLock;

/// Starts GStreamer once for the process; later calls answer what the first one found.
pub fn init() -> Result<(), CaptureError> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| gst::init().map_err(|error| error.to_string()))
        .clone()
        .map_err(CaptureError::Init)
}

/// Checks that everything a camera needs is installed, before the first camera needs it.
pub fn check_plugins() -> Result<(), CaptureError> {
    PACKAGES
        .iter()
        .try_for_each(|(element, _)| require(element))
}

/// Which Debian package brings which element.
const PACKAGES: [(&str, &str); 14] = [
    ("appsrc", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("decodebin", "gstreamer1.0-plugins-base"),
    ("videoconvert", "gstreamer1.0-plugins-base"),
    ("filesrc", "libgstreamer1.0-0"),
    ("capsfilter", "libgstreamer1.0-0"),
    ("rtspsrc", "gstreamer1.0-plugins-good"),
    ("rtpbin", "gstreamer1.0-plugins-good"),
    ("rtph264depay", "gstreamer1.0-plugins-good"),
    ("rtph265depay", "gstreamer1.0-plugins-good"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("h265parse", "gstreamer1.0-plugins-bad"),
    ("avdec_h264", "gstreamer1.0-libav"),
    ("avdec_h265", "gstreamer1.0-libav"),
];

/// A new element, or the package that would bring it.
fn element<'a>(
    name: &'static str,
) -> Result<gst::element_factory::ElementBuilder<'a>, CaptureError> {
    require(name)?;
    Ok(gst::ElementFactory::make(name))
}

/// Checks for an element that is built by other means.
fn require(name: &'static str) -> Result<(), CaptureError> {
    init()?;
    if gst::ElementFactory::find(name).is_some() {
        return Ok(());
    }
    let package = PACKAGES
        .iter()
        .find(|(element, _)| *element == name)
        .map_or("gstreamer1.0-plugins-good", |(_, package)| package);
    Err(CaptureError::MissingElement {
        element: name,
        package,
    })
}

/// For what GStreamer refuses although nothing outside could be the reason.
fn refused(what: &'static str) -> impl Fn(gst::glib::BoolError) -> CaptureError {
    move |error| CaptureError::Pipeline {
        what,
        problem: error.to_string(),
    }
}
