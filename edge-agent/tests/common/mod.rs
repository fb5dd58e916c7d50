//! What tests of the detector share: where the library, the video and models lie, and descriptions of the models.
//!
//! What is missing is said loudly and skipped; with `CI=true` it fails.

#![allow(dead_code, clippy::unwrap_used)]

use edge_agent::capture::replay::Replay;
use edge_agent::frame::{Frame, Plane};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::record::NormBox;
use wire::{BootId, CameraId, ClockStamp, RecordTime, UtcMicros};

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

pub fn skipped(missing: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "missing: {missing}, and CI=true forbids to skip"
    );
    eprintln!("SKIPPED: missing {missing}");
}

/// ONNX Runtime's library: `ORT_DYLIB_PATH`, or what `make` fetched.
pub fn runtime_library() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return Some(path.into());
    }
    std::fs::read_dir(root().join(".cache/onnxruntime"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("libonnxruntime.so"))
}

pub fn with_runtime() -> Option<()> {
    if runtime_library().is_none() {
        skipped("ONNX Runtime (set ORT_DYLIB_PATH, or run make)");
        return None;
    }
    Some(())
}

/// A file of the test data that may not be shipped.
pub fn test_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TEST_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| root().join("../shared/media"));
    let path = folder.join(name);
    if !path.exists() {
        skipped(&format!("{} (set TEST_DATA)", path.display()));
        return None;
    }
    Some(path)
}

pub fn vtest() -> Option<PathBuf> {
    let path = root().join(".cache/media/vtest.avi");
    if !path.exists() {
        skipped("vtest.avi of Debian's opencv-doc in .cache/media (run make)");
        return None;
    }
    Some(path)
}

pub fn camera() -> CameraId {
    CameraId(uuid::Uuid::from_u128(7))
}

pub fn time_us(us: i64) -> RecordTime {
    RecordTime {
        captured_at_us: UtcMicros(1_700_000_000_000_000 + us),
        boot_id: BootId(uuid::Uuid::from_u128(1)),
        boottime_ns: 1_000_000_000 + us as u64 * 1000,
        clock: ClockStamp::UNSYNCED,
    }
}

/// `count` frames of the PETS video from `first` on, `step` apart, by number.
pub fn frames_of_vtest(first: usize, step: usize, count: usize) -> Option<BTreeMap<usize, Frame>> {
    let replay = Replay::open(&vtest()?, camera(), time_us(0)).unwrap();
    let frames: BTreeMap<usize, Frame> = replay
        .map(Result::unwrap)
        .enumerate()
        .skip(first)
        .step_by(step)
        .take(count)
        .collect();
    assert_eq!(frames.len(), count, "frames of vtest.avi");
    Some(frames)
}

/// The film's picture in two far corners of a grey one of 3840 x 2160, and where it lies.
pub fn twice_in_4k(film: &Frame) -> (Frame, [NormBox; 2]) {
    const SIZE: (usize, usize) = (3840, 2160);
    let corners = [(128, 128), (2944, 1456)];
    let (mut bytes, mut planes) = (Vec::new(), film.planes);
    for (index, divisor) in [(0, 1), (1, 2), (2, 2)] {
        let (stride, rows) = (SIZE.0 / divisor, SIZE.1 / divisor);
        let offset = bytes.len();
        planes[index] = Plane { offset, stride };
        bytes.resize(offset + stride * rows, 128);
        let wide = film.width as usize / divisor;
        for (left, top) in corners {
            for y in 0..film.height as usize / divisor {
                let start = offset + (top / divisor + y) * stride + left / divisor;
                bytes[start..start + wide].copy_from_slice(film.row(index, y, wide));
            }
        }
    }
    let frame = Frame {
        width: SIZE.0 as u32,
        height: SIZE.1 as u32,
        planes,
        bytes: Arc::new(bytes),
        ..film.clone()
    };
    let part = |(left, top): (usize, usize)| NormBox {
        x: left as f32 / SIZE.0 as f32,
        y: top as f32 / SIZE.1 as f32,
        w: film.width as f32 / SIZE.0 as f32,
        h: film.height as f32 / SIZE.1 as f32,
    };
    (frame, corners.map(part))
}

/// A model's folder: the shipped one, or a temporary one.
pub struct Model {
    pub file: String,
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Model {
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

pub mod model {
    use super::*;

    pub fn shipped() -> Model {
        Model {
            file: "nanodet_g_416_int8".into(),
            dir: root().join("models/nanodet-g-416-int8"),
            _temporary: None,
        }
    }

    /// A folder with this description and the file it is about.
    pub fn described(file: &str, toml: &str, network: &Path) -> Model {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("model.toml"), toml).unwrap();
        std::os::unix::fs::symlink(
            network.canonicalize().unwrap(),
            dir.path().join(format!("{file}.onnx")),
        )
        .unwrap();
        Model {
            file: file.into(),
            dir: dir.path().to_owned(),
            _temporary: Some(dir),
        }
    }
}

pub fn nanodet_toml() -> String {
    std::fs::read_to_string(root().join("models/nanodet-g-416-int8/model.toml")).unwrap()
}

/// The labels, as the shipped description has them.
fn coco_labels() -> String {
    let toml = nanodet_toml();
    let start = toml.find("labels = [").unwrap();
    let end = start + toml[start..].find(']').unwrap() + 1;
    toml[start..end].to_owned()
}

/// As it is shipped, to be completed with the file.
pub fn yolox_toml() -> String {
    std::fs::read_to_string(root().join("models/yolox-nano-416/model.toml")).unwrap()
}

pub fn picodet_toml() -> String {
    let tensors = |from: usize| {
        let names = (from..from + 4).map(|n| format!("\"save_infer_model/scale_{n}.tmp_1\""));
        names.collect::<Vec<_>>().join(", ")
    };
    format!(
        r#"
        name = "picodet-s-416"
        file = "picodet_s_416.onnx"
        sha256 = "cdab77bdde16e4f76bec734c4e5791801d1739e4c7ec1995e0e110e04300d0c2"
        licence = "Apache-2.0 (PaddlePaddle)"
        source = "https://github.com/PaddlePaddle/PaddleDetection"
        {labels}
        [input]
        name = "image"
        width = 416
        height = 416
        layout = "nchw"
        color_order = "rgb"
        fit = "stretch"
        mean = [123.675, 116.28, 103.53]
        std = [58.395, 57.12, 57.375]
        [output]
        family = "gfl"
        strides = [8, 16, 32, 64]
        bins = 8
        scores = [{scores}]
        distances = [{distances}]
        {thresholds}
        "#,
        labels = coco_labels(),
        scores = tensors(0),
        distances = tensors(4),
        thresholds = rest(0.5),
    )
}

pub fn boxes_scores_toml() -> String {
    format!(
        r#"
        name = "plain"
        file = "plain.onnx"
        sha256 = "{zeros}"
        licence = "none"
        source = "nowhere"
        {labels}
        [input]
        name = "images"
        width = 416
        height = 416
        layout = "nchw"
        color_order = "rgb"
        fit = "stretch"
        [output]
        family = "boxes_scores"
        boxes = "boxes"
        scores = "scores"
        format = "xyxy"
        units = "fractions"
        count = 3549
        {thresholds}
        "#,
        zeros = "0".repeat(64),
        labels = coco_labels(),
        thresholds = rest(0.5),
    )
}

fn rest(score: f32) -> String {
    format!(
        r#"
        [thresholds]
        score = {score}
        follow = 0.3
        nms_iou = 0.6
        [classes]
        person = ["person"]
        "#
    )
}
