//! What the bench looks at: the PETS film, what truly is on it, and what each model finds there.

use super::mot::{Marked, Marks};
use anyhow::{Context, Result};
use edge_agent::capture::replay::Replay;
use edge_agent::config::{AnalysisConfig, ModelConfig};
use edge_agent::detect::{Detection, Detector, OnnxDetector, Thresholds};
use edge_agent::geometry;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use wire::record::NormBox;
use wire::{CameraId, RecordTime, Sha256};

/// Pictures the film has in a second.
pub const FRAMES_PER_SECOND: usize = 10;
/// Width and height of its pictures, which the truth is given in.
pub const SIZE: (f32, f32) = (768.0, 576.0);

/// Where everything lies.
pub struct Places {
    /// The repository.
    pub root: PathBuf,
    /// Truth and models that are not shipped.
    pub data: PathBuf,
    /// What the bench writes.
    pub out: PathBuf,
}

impl Places {
    pub fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        let data =
            std::env::var_os("TEST_DATA").map_or(root.join("../shared/media"), PathBuf::from);
        let out = root.join("target/quality");
        std::fs::create_dir_all(&out)?;
        Ok(Self { root, data, out })
    }
}

/// A model that may be there.
pub struct Candidate {
    pub name: &'static str,
    /// Folder of its description, or of the one it differs from in its file only.
    folder: &'static str,
    file: &'static str,
    /// Read before the figures are believed.
    pub caveat: &'static str,
}

pub const CANDIDATES: [Candidate; 3] = [
    Candidate {
        name: "nanodet-int8",
        folder: "models/nanodet-g-416-int8",
        file: "nanodet_g_416_int8.onnx",
        caveat: "calibrated on 12 frames of this film, without their truth",
    },
    Candidate {
        name: "nanodet-fp32",
        folder: "models/nanodet-g-416-int8",
        file: "nanodet_g_416.onnx",
        caveat: "has seen nothing of this film",
    },
    Candidate {
        name: "yolox-nano",
        folder: "models/yolox-nano-416",
        file: "yolox_nano_416.onnx",
        caveat: "has seen nothing of this film",
    },
];

impl Candidate {
    /// A folder with a whole model; `None` where its file is not on this machine.
    fn folder(&self, places: &Places) -> Result<Option<PathBuf>> {
        let described = places.root.join(self.folder);
        if described.join(self.file).exists() {
            return Ok(Some(described));
        }
        let Ok(file) = places.data.join(self.file).canonicalize() else {
            return Ok(None);
        };
        let folder = places.out.join("models").join(self.name);
        std::fs::create_dir_all(&folder)?;
        let network = std::fs::read(&file)?;
        std::fs::write(folder.join(self.file), &network)?;
        let description = std::fs::read_to_string(described.join("model.toml"))?;
        let hash = Sha256::of(&network).to_string();
        let description = with_line(&description, "name", self.name);
        let description = with_line(&description, "file", self.file);
        let description = with_line(&description, "sha256", &hash);
        std::fs::write(folder.join("model.toml"), description)?;
        Ok(Some(folder))
    }

    /// What the model finds on every frame, looked at afresh or, if `cached`, as the last run wrote it down. `None` where
    /// its file is not on this machine.
    pub fn look(&self, places: &Places, cached: bool) -> Result<Option<Looks>> {
        let path = places.out.join(format!("{}.json", self.name));
        if cached && path.exists() {
            let text = std::fs::read_to_string(&path)?;
            return Ok(Some(serde_json::from_str(&text)?));
        }
        let Some(dir) = self.folder(places)? else {
            return Ok(None);
        };
        let config = ModelConfig {
            dir,
            runtime_library: fetched_runtime(places),
            ..ModelConfig::default()
        };
        let mut detector = OnnxDetector::open(&config, &AnalysisConfig::default())?;
        let film = places.root.join(".cache/media/vtest.avi");
        let mut frames = Vec::new();
        for frame in Replay::open(&film, CameraId(uuid::Uuid::from_u128(1)), start())? {
            let look = detector.detect(&frame?, &[])?;
            frames.push(look.detections.iter().map(Found::from).collect());
        }
        let thresholds = detector.thresholds();
        let looks = Looks {
            score: thresholds.score,
            follow: thresholds.follow,
            frames,
        };
        std::fs::write(&path, serde_json::to_string(&looks)?)?;
        Ok(Some(looks))
    }
}

/// What a model found, as it is written down.
#[derive(Serialize, Deserialize)]
pub struct Looks {
    score: f32,
    follow: f32,
    frames: Vec<Vec<Found>>,
}

#[derive(Serialize, Deserialize)]
struct Found {
    class: String,
    score: f32,
    rect: NormBox,
}

impl From<&Detection> for Found {
    fn from(found: &Detection) -> Self {
        Self {
            class: found.class.to_string(),
            score: found.score,
            rect: found.rect,
        }
    }
}

impl Looks {
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            score: self.score,
            follow: self.follow,
        }
    }

    /// By frame.
    pub fn detections(&self) -> Vec<Vec<Detection>> {
        let detection = |found: &Found| Detection {
            class: found.class.as_str().into(),
            score: found.score,
            rect: found.rect,
        };
        let frame = |frame: &Vec<Found>| frame.iter().map(detection).collect();
        self.frames.iter().map(frame).collect()
    }
}

/// People by frame: full bodies, also of those who are hidden. Nobody is left out.
pub fn truth(places: &Places) -> Result<Vec<Marks>> {
    let path = places.data.join("PETS2009-S2L1-gt.xml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: set TEST_DATA to the folder with it", path.display()))?;
    let document = roxmltree::Document::parse(&text)?;
    let named = |name: &'static str| move |node: &roxmltree::Node| node.has_tag_name(name);
    let frames = document.descendants().filter(named("frame"));
    let marks = |frame: roxmltree::Node| {
        let objects = frame.descendants().filter(named("object"));
        objects.map(mark).collect::<Result<Marks>>()
    };
    frames.map(marks).collect()
}

/// `<object id=""><box xc="" yc="" w="" h=""/></object>`, in pixels.
fn mark(object: roxmltree::Node) -> Result<Marked> {
    let rect = object.descendants().find(|node| node.has_tag_name("box"));
    let rect = rect.context("an object without a box")?;
    let value = |name| -> Result<f32> {
        let text = rect.attribute(name);
        Ok(text
            .with_context(|| format!("a box without {name}"))?
            .parse()?)
    };
    let (w, h) = (value("w")?, value("h")?);
    let (x, y) = (value("xc")? - w / 2.0, value("yc")? - h / 2.0);
    let id = object.attribute("id").context("an object without id")?;
    Ok(Marked {
        id: id.parse()?,
        rect: geometry::from_corners(x / SIZE.0, y / SIZE.1, (x + w) / SIZE.0, (y + h) / SIZE.1),
    })
}

/// The text with the first line `key = ...` saying `value`.
fn with_line(text: &str, key: &str, value: &str) -> String {
    let begins = format!("{key} = ");
    let mut done = false;
    let line = |line: &str| {
        if done || !line.starts_with(&begins) {
            return format!("{line}\n");
        }
        done = true;
        format!("{begins}\"{value}\"\n")
    };
    text.lines().map(line).collect()
}

fn fetched_runtime(places: &Places) -> Option<PathBuf> {
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        return None;
    }
    let entries = std::fs::read_dir(places.root.join(".cache/onnxruntime")).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.to_string_lossy().contains("libonnxruntime.so"))
}

fn start() -> RecordTime {
    RecordTime {
        boottime_ns: 1_000_000_000,
        ..RecordTime::BEGINNING
    }
}
