//! What is in one picture: a model's file, its description, and boxes of the customer's classes.
//!
//! A detector is a file plus a `model.toml` beside it ([`model`]); nothing about a particular network is
//! written in code. [`aim`] chooses where to look, [`mosaic`] lays these parts into one input, and a frame goes through
//! [`preprocess`], [`onnx`] (the only file that imports `ort`) and [`decode`]; all but `onnx` are pure. What comes out is in fractions of the picture, so nobody behind this module knows how large
//! the model's input is.

pub mod aim;
pub mod decode;
pub mod model;
pub mod mosaic;
pub mod onnx;
pub mod preprocess;

use crate::config::{AnalysisConfig, ModelConfig, Provider};
use crate::error::{ErrorKind, Kind};
use crate::frame::Frame;
use crate::geometry;
use model::ModelError;
use onnx::RuntimeError;
use std::sync::Arc;
use std::time::Duration;
use wire::record::NormBox;

/// One object in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The customer's class: `person`, `vehicle`, `bicycle`, ...
    pub class: Arc<str>,
    /// 0..1.
    pub score: f32,
    pub rect: NormBox,
}

/// What one look at one frame found and what it cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Best first. Everything at or above [`Thresholds::follow`].
    pub detections: Vec<Detection>,
    pub timing: LookTiming,
}

/// Where the time of a look went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookTiming {
    pub preprocess: Duration,
    pub inference: Duration,
    pub decode: Duration,
}

/// Two scores, as ByteTrack (Zhang et al., ECCV 2022) uses them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// From here on a detection is believed on its own: it is published and may start a track.
    pub score: f32,
    /// From here on it may continue a track that is there already.
    pub follow: f32,
}

/// Finds objects in frames. The seam where tests put scripted objects.
pub trait Detector: Send {
    /// Looks at the given parts of the picture, or at all of it where none is given.
    fn detect(&mut self, frame: &Frame, parts: &[NormBox]) -> Result<Look, DetectError>;
    fn thresholds(&self) -> Thresholds;
    /// Name of the model, for status and records.
    fn model_name(&self) -> &str;
    /// Who runs it, as `[model] provider` names it, for status.
    fn provider(&self) -> &str {
        Provider::Cpu.as_str()
    }
    /// Width and height of what it sees, in pixels: larger pictures are made smaller for it, and [`aim`] knows by that
    /// what it cannot see in them. One that says nothing sees every picture as large as it is.
    fn input_size(&self) -> (u32, u32) {
        (u32::MAX, u32::MAX)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(
        "no class of [analysis] classes = {asked:?} is one of model {model:?}, which knows {known:?}; name one of these"
    )]
    NoClass {
        model: String,
        asked: Vec<String>,
        known: Vec<String>,
    },
}

impl Kind for DetectError {
    fn kind(&self) -> ErrorKind {
        match self {
            DetectError::Model(error) => error.kind(),
            DetectError::Runtime(error) => error.kind(),
            DetectError::NoClass { .. } => ErrorKind::Config,
        }
    }
}

/// The detector of the configuration: a described model run by ONNX Runtime.
#[derive(Debug)]
pub struct OnnxDetector {
    network: onnx::Network,
    thresholds: Thresholds,
    /// By label of the model: the customer's class, where it belongs to one that is wanted.
    class_of_label: Vec<Option<Arc<str>>>,
}

impl OnnxDetector {
    /// Loads the model and checks that its file is what its description says.
    pub fn open(model: &ModelConfig, analysis: &AnalysisConfig) -> Result<Self, DetectError> {
        let description = model::Description::load(&model.dir)?;
        let class_of_label = wanted_classes(&description, &analysis.classes)?;
        let thresholds = thresholds(&description, analysis.min_score);
        let network = onnx::Network::open_on(
            model.provider,
            description,
            model.runtime_library.as_deref(),
            model.threads_per_worker,
        )?;
        Ok(Self {
            network,
            thresholds,
            class_of_label,
        })
    }
}

impl Detector for OnnxDetector {
    fn detect(&mut self, frame: &Frame, parts: &[NormBox]) -> Result<Look, DetectError> {
        let follow = self.thresholds.follow;
        let (boxes, timing) = self.network.look_at(frame, parts, follow)?;
        let (width, height) = (frame.width as f32, frame.height as f32);
        let named = boxes.into_iter().filter_map(|found| {
            let class = self.class_of_label.get(usize::from(found.label))?.clone()?;
            Some(Detection {
                class,
                score: found.score,
                rect: geometry::from_corners(
                    found.x1 / width,
                    found.y1 / height,
                    found.x2 / width,
                    found.y2 / height,
                ),
            })
        });
        let nms_iou = self.network.description().thresholds.nms_iou;
        Ok(Look {
            detections: one_per_object(named, nms_iou),
            timing,
        })
    }

    fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    fn model_name(&self) -> &str {
        &self.network.description().name
    }

    fn provider(&self) -> &str {
        self.network.provider().as_str()
    }

    fn input_size(&self) -> (u32, u32) {
        let input = &self.network.description().input;
        (input.width, input.height)
    }
}

fn wanted_classes(
    description: &model::Description,
    asked: &[String],
) -> Result<Vec<Option<Arc<str>>>, DetectError> {
    if !asked
        .iter()
        .any(|class| description.classes.contains_key(class))
    {
        return Err(DetectError::NoClass {
            model: description.name.clone(),
            asked: asked.to_vec(),
            known: description.classes.keys().cloned().collect(),
        });
    }
    let names: Vec<Arc<str>> = asked
        .iter()
        .map(|class| Arc::from(class.as_str()))
        .collect();
    let class_of = |label: &String| {
        let class = description.class_of(label)?;
        names.iter().find(|name| &***name == class).cloned()
    };
    Ok(description.labels.iter().map(class_of).collect())
}

fn thresholds(description: &model::Description, min_score: Option<f32>) -> Thresholds {
    let score = min_score.unwrap_or(description.thresholds.score);
    Thresholds {
        score,
        follow: description.thresholds.follow.min(score),
    }
}

/// A van is found as `car` and as `truck`, which are one class to the customer: the better box stays.
/// Expects the best score first, and keeps that order.
fn one_per_object(found: impl Iterator<Item = Detection>, nms_iou: f32) -> Vec<Detection> {
    let mut kept: Vec<Detection> = Vec::new();
    for candidate in found {
        let covered = kept.iter().any(|better| {
            better.class == candidate.class
                && geometry::iou(&better.rect, &candidate.rect) > nms_iou
        });
        if !covered {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(class: &str, score: f32, x: f32) -> Detection {
        Detection {
            class: class.into(),
            score,
            rect: NormBox {
                x,
                y: 0.1,
                w: 0.4,
                h: 0.4,
            },
        }
    }

    #[test]
    fn a_van_is_one_vehicle_and_its_driver_stays() {
        let all = [
            found("vehicle", 0.8, 0.1),
            found("person", 0.7, 0.1),
            found("vehicle", 0.6, 0.12),
            found("vehicle", 0.5, 0.4),
        ];
        let kept = one_per_object(all.clone().into_iter(), 0.6);
        assert_eq!(kept, [all[0].clone(), all[1].clone(), all[3].clone()]);
    }
}
