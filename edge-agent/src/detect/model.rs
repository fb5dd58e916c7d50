//! `model.toml`: everything the agent knows about a network, so that a new one needs no code.
//!
//! Strict: an unknown key, a label that belongs to no list, a mean without its standard deviation or a file whose
//! SHA-256 differs is refused, and the message names the file and says what to change. Whether the network's inputs
//! and outputs are those described here is checked when it is loaded ([`super::onnx`]).

use crate::error::{ErrorKind, Kind};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use wire::Sha256;

/// Name of the description in a model's folder.
pub const FILE_NAME: &str = "model.toml";

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// For status, logs and records.
    pub name: String,
    /// Beside `model.toml`.
    pub file: PathBuf,
    pub sha256: Sha256,
    /// Of the weights, with whoever holds the rights.
    pub licence: String,
    /// Where the file came from.
    pub source: String,
    pub input: Input,
    pub output: Output,
    pub thresholds: DefaultThresholds,
    /// In the order of the network's classes.
    pub labels: Vec<String>,
    /// The customer's classes, each with the labels that belong to it. Labels in no class are never reported.
    pub classes: BTreeMap<String, Vec<String>>,
    /// The folder this came from.
    #[serde(skip)]
    pub dir: PathBuf,
}

/// One float32 picture, `[1, 3, height, width]` or `[1, height, width, 3]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub name: String,
    pub width: u32,
    pub height: u32,
    pub layout: Layout,
    pub color_order: ColorOrder,
    pub fit: Fit,
    /// Fills what a letterbox leaves free, 0..255, before normalisation.
    #[serde(default)]
    pub pad: u8,
    /// Value = (level - mean) / std with levels 0..255, in the order of the input's channels.
    #[serde(default = "no_mean")]
    pub mean: [f32; 3],
    #[serde(default = "unit_std")]
    pub std: [f32; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorOrder {
    Rgb,
    Bgr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Keeps the picture's proportions; the picture lies at the top left, padding right or below.
    Letterbox,
    /// Fills the input.
    Stretch,
}

/// How boxes stand in the output tensors.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "family", rename_all = "snake_case", deny_unknown_fields)]
pub enum Output {
    /// NanoDet, PicoDet: per stride a map of class scores `[1, N, labels]` and one of distances to the four sides
    /// `[1, N, 4 * bins]`, each distance a distribution over `bins` (Generalized Focal Loss, Li et al., 2020).
    Gfl {
        strides: Vec<u32>,
        bins: u32,
        scores: Vec<String>,
        distances: Vec<String>,
    },
    /// YOLOX (Ge et al., 2021): one tensor `[1, N, 5 + labels]`, all strides after each other; centre, log size,
    /// objectness, class scores.
    Yolox { strides: Vec<u32>, tensor: String },
    /// Plain boxes `[1, N, 4]` and scores `[1, N, labels]`.
    BoxesScores {
        boxes: String,
        scores: String,
        format: BoxFormat,
        units: BoxUnits,
        count: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Centre, width, height.
    Cxcywh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxUnits {
    /// Of the network's input.
    Pixels,
    /// 0..1 of the network's input.
    Fractions,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultThresholds {
    /// A detection at or above this is believed on its own.
    pub score: f32,
    /// One at or above this may continue a track.
    pub follow: f32,
    /// Of two boxes of one label that overlap by more than this the worse is dropped.
    pub nms_iou: f32,
}

fn no_mean() -> [f32; 3] {
    [0.0; 3]
}

fn unit_std() -> [f32; 3] {
    [1.0; 3]
}

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(
        "model file {path}: {source}; check [model] dir in the configuration, and that the file was installed there"
    )]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {message}")]
    Description { path: PathBuf, message: String },
    #[error(
        "model file {path} has SHA-256 {found}, but its {FILE_NAME} says {expected}: it is not the file that was described; fetch it again, or describe the new one"
    )]
    Hash {
        path: PathBuf,
        expected: Sha256,
        found: Sha256,
    },
}

impl Kind for ModelError {
    fn kind(&self) -> ErrorKind {
        match self {
            ModelError::Read { .. } | ModelError::Description { .. } => ErrorKind::Config,
            ModelError::Hash { .. } => ErrorKind::Corrupt,
        }
    }
}

impl Description {
    /// Reads `model.toml` in `dir` and checks that it makes sense.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join(FILE_NAME);
        let text = std::fs::read_to_string(&path).map_err(|source| ModelError::Read {
            path: path.clone(),
            source,
        })?;
        let mut description =
            Self::parse(&text).map_err(|message| ModelError::Description { path, message })?;
        description.dir = dir.to_owned();
        Ok(description)
    }

    /// From the text of a `model.toml`; the error is a sentence for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let description: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        description.input.check()?;
        description.output.check()?;
        description.thresholds.check()?;
        description.check_labels()?;
        Ok(description)
    }

    /// The network's bytes, if they are those that were described.
    pub fn read_network(&self) -> Result<Vec<u8>, ModelError> {
        let path = self.network_path();
        let bytes = std::fs::read(&path).map_err(|source| ModelError::Read {
            path: path.clone(),
            source,
        })?;
        let found = Sha256::of(&bytes);
        if found != self.sha256 {
            return Err(ModelError::Hash {
                path,
                expected: self.sha256,
                found,
            });
        }
        Ok(bytes)
    }

    pub fn network_path(&self) -> PathBuf {
        self.dir.join(&self.file)
    }

    /// The customer's class of a label of the network.
    pub fn class_of(&self, label: &str) -> Option<&str> {
        self.classes
            .iter()
            .find(|(_, labels)| labels.iter().any(|one| one == label))
            .map(|(class, _)| class.as_str())
    }

    /// Name and shape of every output, in the order in which [`super::decode`] takes them.
    pub fn outputs(&self) -> Vec<(&str, Vec<i64>)> {
        let labels = self.labels.len() as i64;
        match &self.output {
            Output::Gfl {
                strides,
                bins,
                scores,
                distances,
            } => {
                let cells = |stride: &u32| i64::from(self.input.cells(*stride));
                let scores = std::iter::zip(scores, strides)
                    .map(|(name, stride)| (name.as_str(), vec![1, cells(stride), labels]));
                let distances = std::iter::zip(distances, strides).map(|(name, stride)| {
                    (name.as_str(), vec![1, cells(stride), 4 * i64::from(*bins)])
                });
                scores.chain(distances).collect()
            }
            Output::Yolox { strides, tensor } => {
                let cells: i64 = strides
                    .iter()
                    .map(|stride| i64::from(self.input.cells(*stride)))
                    .sum();
                vec![(tensor.as_str(), vec![1, cells, 5 + labels])]
            }
            Output::BoxesScores {
                boxes,
                scores,
                count,
                ..
            } => vec![
                (boxes.as_str(), vec![1, i64::from(*count), 4]),
                (scores.as_str(), vec![1, i64::from(*count), labels]),
            ],
        }
    }

    fn check_labels(&self) -> Result<(), String> {
        if self.labels.is_empty() || self.labels.len() > usize::from(u16::MAX) {
            return Err("labels: list 1 to 65535 names, in the network's order".into());
        }
        let known: BTreeSet<&String> = self.labels.iter().collect();
        if known.len() != self.labels.len() {
            return Err("labels: one name stands there twice".into());
        }
        let mut claimed = BTreeSet::new();
        for (class, labels) in &self.classes {
            for label in labels {
                if !known.contains(label) {
                    return Err(format!(
                        "classes.{class}: {label:?} is not among the labels"
                    ));
                }
                if !claimed.insert(label) {
                    return Err(format!(
                        "classes.{class}: {label:?} already belongs to a class"
                    ));
                }
            }
        }
        if claimed.is_empty() {
            return Err(
                "classes: give at least one class a label, or nothing is ever found".into(),
            );
        }
        Ok(())
    }
}

impl Input {
    /// Shape of the input tensor.
    pub fn shape(&self) -> [i64; 4] {
        let (width, height) = (i64::from(self.width), i64::from(self.height));
        match self.layout {
            Layout::Nchw => [1, 3, height, width],
            Layout::Nhwc => [1, height, width, 3],
        }
    }

    /// Columns of the grid that a stride makes of the input.
    pub fn columns(&self, stride: u32) -> u32 {
        self.width.div_ceil(stride)
    }

    /// Cells of that grid.
    pub fn cells(&self, stride: u32) -> u32 {
        self.columns(stride) * self.height.div_ceil(stride)
    }

    fn check(&self) -> Result<(), String> {
        const SIDES: std::ops::RangeInclusive<u32> = 16..=4096;
        if !SIDES.contains(&self.width) || !SIDES.contains(&self.height) {
            return Err("input: width and height are 16 to 4096 pixels".into());
        }
        if self.std.iter().any(|std| !std.is_finite() || *std <= 0.0)
            || self.mean.iter().any(|mean| !mean.is_finite())
        {
            return Err("input: mean must be finite and std above 0, one value a channel".into());
        }
        Ok(())
    }
}

impl Output {
    fn check(&self) -> Result<(), String> {
        match self {
            Output::Gfl {
                strides,
                bins,
                scores,
                distances,
            } => {
                check_strides(strides)?;
                if scores.len() != strides.len() || distances.len() != strides.len() {
                    return Err(
                        "output: name one tensor of scores and one of distances a stride".into(),
                    );
                }
                if !(2..=64).contains(bins) {
                    return Err("output: bins is 2 to 64".into());
                }
                Ok(())
            }
            Output::Yolox { strides, .. } => check_strides(strides),
            Output::BoxesScores { count, .. } if !(1..=100_000).contains(count) => {
                Err("output: count, the number of boxes, is 1 to 100000".into())
            }
            Output::BoxesScores { .. } => Ok(()),
        }
    }
}

fn check_strides(strides: &[u32]) -> Result<(), String> {
    if strides.is_empty() || strides.iter().any(|stride| !(1..=1024).contains(stride)) {
        return Err("output: strides lists at least one, each 1 to 1024 pixels".into());
    }
    Ok(())
}

impl DefaultThresholds {
    fn check(&self) -> Result<(), String> {
        let ordered = 0.0 < self.follow && self.follow <= self.score && self.score < 1.0;
        if !ordered {
            return Err("thresholds: 0 < follow <= score < 1 must hold".into());
        }
        if !(self.nms_iou > 0.0 && self.nms_iou <= 1.0) {
            return Err("thresholds: nms_iou is above 0 and at most 1".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The shipped description: the sample everyone starts from.
    const SHIPPED: &str = include_str!("../../../models/nanodet-g-416-int8/model.toml");

    #[test]
    fn the_shipped_description_is_understood() {
        let description = Description::parse(SHIPPED).unwrap();
        assert_eq!(description.labels.len(), 80);
        assert_eq!(description.class_of("truck"), Some("vehicle"));
        assert_eq!(description.class_of("toaster"), None);
        assert_eq!(description.input.shape(), [1, 3, 416, 416]);
        let outputs = description.outputs();
        assert_eq!(outputs[0], ("cls8", vec![1, 2704, 80]));
        assert_eq!(outputs[5], ("dis32", vec![1, 169, 44]));
    }

    fn check(change: &str, to: &str, complaint: &str) {
        let altered = SHIPPED.replacen(change, to, 1);
        assert_ne!(altered, SHIPPED, "{change} is not in the description");
        let error = Description::parse(&altered).unwrap_err();
        assert!(error.contains(complaint), "{change} -> {to}: {error}");
    }

    #[test]
    fn mistakes_are_named() {
        check("pad = 0", "padding = 0", "unknown field `padding`");
        check("sha256 = \"dc", "sha256 = \"zz", "64 hexadecimal digits");
        check("\"gfl\"", "\"rcnn\"", "unknown variant `rcnn`");
        check("\"bgr\"", "\"gbr\"", "unknown variant `gbr`");
        check("[\"person\"]", "[\"persona\"]", "\"persona\" is not among");
        check("[\"bicycle\"]", "[\"car\"]", "already belongs to a class");
        check(
            "strides = [8, 16, 32]",
            "strides = [8, 16]",
            "one tensor of scores",
        );
        check(
            "strides = [8, 16, 32]",
            "strides = [0, 16, 32]",
            "1 to 1024",
        );
        check("57.375", "0.0", "std above 0");
        check("width = 416", "width = 0", "16 to 4096");
        check("follow = 0.3", "follow = 0.9", "0 < follow <= score < 1");
        check("nms_iou = 0.6", "nms_iou = 1.6", "nms_iou");
        check(
            "\"bicycle\", \"car\"",
            "\"car\", \"car\"",
            "stands there twice",
        );
        check("licence = ", "license = ", "license");
    }

    #[test]
    fn a_missing_folder_says_where_to_look() {
        let error = Description::load(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.contains("/nowhere/model.toml") && text.contains("[model] dir"),
            "{text}"
        );
    }
}
