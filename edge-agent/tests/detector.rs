//! The detector against its numpy reference (`models/tools/reference.py`): decoding on frozen tensors, sampling
//! against `cv2.resize`, and whole frames of a real video through ONNX Runtime.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, frames_of_vtest, model, skipped, test_data};
use edge_agent::config::Provider;
use edge_agent::detect::decode::{self, LabelBox};
use edge_agent::detect::model::Description;
use edge_agent::detect::onnx::Network;
use edge_agent::detect::preprocess::{Preprocessor, Scale};
use edge_agent::error::{ErrorKind, Kind as _};
use edge_agent::frame::Frame;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use wire::record::NormBox;

#[derive(Deserialize)]
struct Frozen {
    tensors: Vec<Tensor>,
    scale: [f32; 2],
    picture: [u32; 2],
    threshold: f32,
    boxes: Vec<ReferenceBox>,
}

/// Rows that are not listed are zeros.
#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    rows: BTreeMap<usize, Vec<f32>>,
}

#[derive(Deserialize)]
struct ReferenceBox {
    label: u16,
    score: f32,
    #[serde(rename = "box")]
    corners: [f32; 4],
}

impl Tensor {
    fn dense(&self) -> Vec<f32> {
        let width = self.shape[2];
        let mut values = vec![0.0; self.shape.iter().product()];
        for (row, entries) in &self.rows {
            values[row * width..][..width].copy_from_slice(entries);
        }
        values
    }
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn corners(found: &LabelBox) -> [f32; 4] {
    [found.x1, found.y1, found.x2, found.y2]
}

/// Largest difference of any corner, in pixels.
fn distance(a: [f32; 4], b: [f32; 4]) -> f32 {
    std::iter::zip(a, b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

fn check_decoding(fixture: &str, description: &str) {
    let frozen: Frozen = read(fixture);
    let description = Description::parse(description).unwrap();
    let dense: Vec<Vec<f32>> = frozen.tensors.iter().map(Tensor::dense).collect();
    for ((name, shape), tensor) in std::iter::zip(description.outputs(), &dense) {
        assert_eq!(
            shape.iter().product::<i64>() as usize,
            tensor.len(),
            "{name}"
        );
    }
    let found = decode::decode(
        &description,
        &dense.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        Scale {
            x: frozen.scale[0],
            y: frozen.scale[1],
        },
        (frozen.picture[0], frozen.picture[1]),
        frozen.threshold,
    );
    assert_eq!(found.len(), frozen.boxes.len(), "{fixture}");
    for (ours, reference) in std::iter::zip(&found, &frozen.boxes) {
        assert_eq!(ours.label, reference.label, "{fixture}");
        assert!((ours.score - reference.score).abs() < 1e-3, "{fixture}");
        let away = distance(corners(ours), reference.corners);
        assert!(away < 1e-3, "{fixture}: {away} px");
    }
}

#[test]
fn nanodet_tensors_decode_as_the_reference_does() {
    check_decoding("frozen/nanodet_g_416_int8.json", &common::nanodet_toml());
}

#[test]
fn picodet_tensors_decode_as_the_reference_does() {
    check_decoding("frozen/picodet_s_416.json", &common::picodet_toml());
}

#[test]
fn yolox_tensors_decode_as_the_reference_does() {
    check_decoding("frozen/yolox_nano_416.json", &common::yolox_toml());
}

#[test]
fn plain_boxes_decode_as_the_reference_does() {
    check_decoding("frozen/boxes_scores.json", &common::boxes_scores_toml());
}

#[test]
fn sampling_is_that_of_cv2_within_one_level() {
    #[derive(Deserialize)]
    struct Resized {
        width: u32,
        height: u32,
        rgb: Vec<u8>,
        resized: BTreeMap<String, Vec<u8>>,
    }
    let fixture: Resized = read("resize.json");
    let frame = Frame::from_rgb(
        common::camera(),
        common::time_us(0),
        fixture.width,
        fixture.height,
        fixture.rgb,
    );
    for (size, expected) in fixture.resized {
        let (width, height) = size.split_once('x').unwrap();
        let mut description = Description::parse(&common::boxes_scores_toml()).unwrap();
        description.input.width = width.parse().unwrap();
        description.input.height = height.parse().unwrap();
        let mut preprocessor = Preprocessor::new(description.input);
        let (tensor, _) = preprocessor.run(&frame);
        let mut worst = 0.0_f32;
        let pixels = expected.len() / 3;
        for (index, level) in expected.iter().enumerate() {
            let ours = tensor[(index % 3) * pixels + index / 3];
            worst = worst.max((ours - f32::from(*level)).abs());
        }
        assert!(worst <= 1.0, "{size}: {worst} levels");
    }
}

#[derive(Deserialize)]
struct Frames {
    frames: BTreeMap<usize, Vec<ReferenceBox>>,
}

/// Ten frames: every box the reference is sure of is found, and nothing else, within 2 pixels and 0.03.
fn check_frames(model: &Model) {
    let Some(frames) = frames_of_vtest(10, 80, 10) else {
        return;
    };
    const SURE: f32 = 0.45;
    const SCORE: f32 = 0.03;
    const PIXELS: f32 = 2.0;
    let reference: Frames = read(&format!("frames/{}.json", model.file));
    let mut network = Network::open(
        Description::load(model.dir()).unwrap(),
        common::runtime_library().as_deref(),
        1,
    )
    .unwrap();
    let (mut compared, mut worst) = (0, (0.0_f32, 0.0_f32));
    for (number, frame) in &frames {
        let expected = &reference.frames[number];
        let (found, _) = network.look(frame, SURE - SCORE).unwrap();
        let pair = |ours: &LabelBox, theirs: &ReferenceBox| {
            ours.label == theirs.label
                && (ours.score - theirs.score).abs() <= SCORE
                && distance(corners(ours), theirs.corners) <= PIXELS
        };
        for theirs in expected.iter().filter(|theirs| theirs.score >= SURE) {
            let ours = found.iter().find(|ours| pair(ours, theirs));
            let nearest = || {
                found.iter().min_by(|a, b| {
                    distance(corners(a), theirs.corners)
                        .total_cmp(&distance(corners(b), theirs.corners))
                })
            };
            let ours = ours.unwrap_or_else(|| {
                panic!(
                    "{} frame {number}: {:?} {} not found; nearest is {:?}",
                    model.file,
                    theirs.corners,
                    theirs.score,
                    nearest()
                )
            });
            compared += 1;
            worst.0 = worst.0.max(distance(corners(ours), theirs.corners));
            worst.1 = worst.1.max((ours.score - theirs.score).abs());
        }
        for ours in found.iter().filter(|ours| ours.score >= SURE + SCORE) {
            assert!(
                expected.iter().any(|theirs| pair(ours, theirs)),
                "{} frame {number}: the reference has no {ours:?}",
                model.file
            );
        }
    }
    println!(
        "{}: {compared} boxes in {} frames, at most {:.2} px and {:.4} away",
        model.file,
        frames.len(),
        worst.0,
        worst.1
    );
    assert!(
        compared >= 40,
        "{compared} boxes are too few to say anything"
    );
}

#[test]
fn the_shipped_model_sees_what_the_reference_sees() {
    let Some(()) = common::with_runtime() else {
        return;
    };
    check_frames(&model::shipped());
}

#[test]
fn yolox_nano_needs_a_model_toml_and_nothing_else() {
    let (Some(()), Some(data)) = (common::with_runtime(), test_data("yolox_nano_416.onnx")) else {
        return;
    };
    check_frames(&model::described(
        "yolox_nano_416",
        &common::yolox_toml(),
        &data,
    ));
}

#[test]
fn picodet_s_needs_a_model_toml_and_nothing_else() {
    let (Some(()), Some(data)) = (common::with_runtime(), test_data("picodet_s_416.onnx")) else {
        return;
    };
    check_frames(&model::described(
        "picodet_s_416",
        &common::picodet_toml(),
        &data,
    ));
}

#[test]
fn a_file_that_is_not_what_was_described_is_refused_by_name() {
    let Some(()) = common::with_runtime() else {
        return;
    };
    let shipped = model::shipped();
    let network = shipped.dir().join("nanodet_g_416_int8.onnx");
    let toml = common::nanodet_toml();
    for (change, to, why) in [
        ("sha256 = \"d", "sha256 = \"e", "has SHA-256 dc5099f5"),
        ("width = 416", "width = 320", "shape [1, 3, 416, 416]"),
        ("\"cls8\"", "\"cls9\"", "no output \"cls9\""),
        ("bins = 11", "bins = 8", "shape [1, 2704, 44]"),
        (
            "name = \"images\"",
            "name = \"input\"",
            "no input \"input\"",
        ),
    ] {
        let altered = toml.replacen(change, to, 1);
        assert_ne!(altered, toml, "{change}");
        let model = model::described("nanodet_g_416_int8", &altered, &network);
        let error = Network::open(
            Description::load(model.dir()).unwrap(),
            common::runtime_library().as_deref(),
            1,
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("nanodet_g_416_int8.onnx"), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn two_runs_give_the_same_bits() {
    let Some(()) = common::with_runtime() else {
        return;
    };
    let Some(frames) = frames_of_vtest(0, 40, 3) else {
        skipped("frames");
        return;
    };
    let shipped = model::shipped();
    let open = || {
        Network::open(
            Description::load(shipped.dir()).unwrap(),
            common::runtime_library().as_deref(),
            1,
        )
        .unwrap()
    };
    let (mut one, mut other) = (open(), open());
    for frame in frames.values() {
        assert_eq!(
            one.look(frame, 0.1).unwrap().0,
            other.look(frame, 0.1).unwrap().0
        );
    }
}

#[test]
fn a_provider_that_the_library_lacks_is_refused_by_name_and_never_replaced() {
    let Some(()) = common::with_runtime() else {
        return;
    };
    let shipped = model::shipped();
    let open = |provider| {
        let description = Description::load(shipped.dir()).unwrap();
        Network::open_on(
            provider,
            description,
            common::runtime_library().as_deref(),
            1,
        )
    };
    assert_eq!(open(Provider::Cpu).unwrap().provider(), Provider::Cpu);
    for provider in Provider::ALL.into_iter().skip(1) {
        // With a library that has it, on a machine that has it, it is the one that runs.
        match open(provider) {
            Ok(network) => assert_eq!(network.provider(), provider),
            Err(error) => {
                let text = error.to_string();
                let names = format!("[model] provider = \"{provider}\"");
                assert!(text.contains(&names), "{text}");
                assert!(text.contains("write provider = \"cpu\""), "{text}");
                assert_eq!(error.kind(), ErrorKind::Config);
            }
        }
    }
}

/// People in the film pasted into a picture of 4K are too small there, and are found again in a part of it; two parts
/// in one input give what each gives alone.
#[test]
fn a_part_of_a_large_picture_shows_what_the_whole_does_not() {
    let (Some(()), Some(frames)) = (common::with_runtime(), frames_of_vtest(80, 80, 1)) else {
        return;
    };
    let film = frames.values().next().unwrap();
    let (frame, [first, second]) = common::twice_in_4k(film);
    let description = Description::load(model::shipped().dir()).unwrap();
    let mut network = Network::open(description, common::runtime_library().as_deref(), 1).unwrap();
    let mut people = |frame: &Frame, parts: &[NormBox]| {
        let (found, _) = network.look_at(frame, parts, 0.5).unwrap();
        found.iter().filter(|one| one.label == 0).count()
    };
    let in_film = people(film, &[]);
    assert!(in_film >= 4, "{in_film} people in the film");
    assert!(people(&frame, &[]) < in_film / 2);
    let (one, other) = (people(&frame, &[first]), people(&frame, &[second]));
    assert!(
        one >= in_film - 1 && other >= in_film - 1,
        "{one}, {other} of {in_film}"
    );
    assert_eq!(people(&frame, &[first, second]), one + other);
}
