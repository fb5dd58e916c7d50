//! A file as a camera: every picture once, in order, with the file's own times. Two runs give the same frames.

use super::error::CaptureError;
use super::gst::file::FileDecoder;
use crate::frame::Frame;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::{CameraId, RecordTime};

/// Iterates over the frames of a video file in its native size.
///
/// A frame's time is `start` plus its time within the file, whatever the wall clock does meanwhile.
#[derive(Debug)]
pub struct Replay {
    path: PathBuf,
    camera: CameraId,
    start: RecordTime,
    decoder: FileDecoder,
}

impl Replay {
    pub fn open(path: &Path, camera: CameraId, start: RecordTime) -> Result<Self, CaptureError> {
        Ok(Self {
            path: path.to_owned(),
            camera,
            start,
            decoder: FileDecoder::open(path)?,
        })
    }

    /// The next frame; `None` at the end of the file.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, CaptureError> {
        let Some(picture) = self.decoder.next_picture()? else {
            return Ok(None);
        };
        let time = later(self.start, picture.at);
        picture
            .into_frame(self.camera, time)
            .map(Some)
            .map_err(|problem| CaptureError::File {
                path: self.path.clone(),
                problem: problem.into(),
            })
    }
}

impl Iterator for Replay {
    type Item = Result<Frame, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_frame().transpose()
    }
}

fn later(start: RecordTime, by: Duration) -> RecordTime {
    let by_us = i64::try_from(by.as_micros()).expect("no film is 292,000 years long");
    let by_ns = u64::try_from(by.as_nanos()).expect("no film is 584 years long");
    RecordTime {
        captured_at_us: start.captured_at_us.plus_us(by_us),
        boottime_ns: start.boottime_ns + by_ns,
        ..start
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::{SimClocks, TimeSource};
    use std::io::Write;
    use std::process::Command;
    use std::sync::Arc;
    use wire::UtcMicros;

    fn start() -> RecordTime {
        TimeSource::new(Arc::new(SimClocks::new(UtcMicros(1_000_000_000)))).now()
    }

    fn camera() -> CameraId {
        CameraId(uuid::Uuid::from_u128(7))
    }

    /// A film of 30 frames, 10 a second, each a little brighter than the one before.
    fn film(dir: &Path) -> PathBuf {
        let path = dir.join("film.mkv");
        let status = Command::new("gst-launch-1.0")
            .args(["-q", "videotestsrc", "num-buffers=30", "pattern=ball", "!"])
            .args([
                "video/x-raw,format=I420,width=130,height=98,framerate=10/1",
                "!",
            ])
            .args(["x264enc", "!", "matroskamux", "!", "filesink"])
            .arg(format!("location={}", path.display()))
            .status()
            .unwrap();
        assert!(status.success());
        path
    }

    #[test]
    fn every_frame_comes_once_in_order_with_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(dir.path());
        let frames: Vec<Frame> = Replay::open(&path, camera(), start())
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let times: Vec<i64> = frames
            .iter()
            .map(|frame| frame.time.captured_at_us.0 - 1_000_000_000)
            .collect();
        assert_eq!(times, (0..30).map(|n| n * 100_000).collect::<Vec<_>>());
        assert!(frames.iter().all(|f| (f.width, f.height) == (130, 98)));

        let again = Replay::open(&path, camera(), start()).unwrap();
        for (first, second) in frames.iter().zip(again) {
            let second = second.unwrap();
            assert!((0..98).all(|y| first.row(0, y, 130) == second.row(0, y, 130)));
            assert!((0..49).all(|y| first.row(2, y, 65) == second.row(2, y, 65)));
        }
    }

    /// The same film as tight planes, written by GStreamer's own tools.
    fn raw(film: &Path, dir: &Path) -> Vec<u8> {
        let path = dir.join("film.yuv");
        let status = Command::new("gst-launch-1.0")
            .args([
                "-q",
                "filesrc",
                &format!("location={}", film.display()),
                "!",
            ])
            .args([
                "decodebin",
                "!",
                "videoconvert",
                "!",
                "video/x-raw,format=I420",
                "!",
            ])
            .args(["filesink", &format!("location={}", path.display())])
            .status()
            .unwrap();
        assert!(status.success());
        std::fs::read(path).unwrap()
    }

    #[test]
    fn every_row_lies_where_the_planes_say() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(dir.path());
        let raw = raw(&path, dir.path());
        // Tight rows are filled up to four bytes: (stride, width, height) of each plane of 130x98.
        let layout = [(132, 130, 98), (68, 65, 49), (68, 65, 49)];
        let mut at = 0;
        for frame in Replay::open(&path, camera(), start()).unwrap() {
            let frame = frame.unwrap();
            for (plane, (stride, width, height)) in layout.into_iter().enumerate() {
                for y in 0..height {
                    assert_eq!(frame.row(plane, y, width), &raw[at..at + width]);
                    at += stride;
                }
            }
        }
        assert_eq!(at, raw.len());
    }

    #[test]
    fn what_is_no_film_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(b"this is no film, only a text about one")
            .unwrap();
        let error = Replay::open(&path, camera(), start())
            .and_then(|mut replay| replay.next_frame().map(|_| ()))
            .unwrap_err();
        assert!(error.to_string().contains("notes.txt"), "{error}");

        let missing = Replay::open(&dir.path().join("gone.avi"), camera(), start());
        assert!(missing.unwrap_err().to_string().contains("no such file"));
    }
}
