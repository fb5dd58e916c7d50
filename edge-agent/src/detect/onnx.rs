//! The only file that imports `ort`: one network in one ONNX Runtime session.
//!
//! The library is loaded at run time, so a missing or old one is an error with a remedy and not a program that does
//! not start. Sessions run on as many threads as asked for, which do not spin while they wait: spinning doubles the
//! CPU time of the same work.

use super::LookTiming;
use super::decode::{self, LabelBox};
use super::model::Description;
use super::mosaic::{self, Tile};
use super::preprocess::Preprocessor;
use crate::config::Provider;
use crate::error::{ErrorKind, Kind};
use crate::frame::Frame;
use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use wire::record::NormBox;

/// What is looked for, in this order, when neither the configuration nor `ORT_DYLIB_PATH` names a library.
const USUAL_LIBRARIES: [&str; 3] = [
    "/usr/lib/edge-agent/libonnxruntime.so",
    "libonnxruntime.so.1",
    "libonnxruntime.so",
];

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(
        "ONNX Runtime 1.{} or newer is needed: {reason}. Get libonnxruntime.so from https://github.com/microsoft/onnxruntime/releases (or out of the PyPI wheel `onnxruntime`) and name it in [model] runtime_library or ORT_DYLIB_PATH",
        ort::MINOR_VERSION
    )]
    Library { reason: String },
    #[error("ONNX Runtime did not start: {0}")]
    Environment(ort::Error),
    #[error(
        "[model] provider = \"{asked}\": this ONNX Runtime was built without it; it has {}. Name a library that has it in [model] runtime_library, or write provider = \"cpu\"",
        in_words(known)
    )]
    NoProvider {
        asked: Provider,
        known: Vec<Provider>,
    },
    #[error(
        "[model] provider = \"{asked}\": ONNX Runtime cannot use it here: {source}. Install the driver and the libraries that it names, or write provider = \"cpu\""
    )]
    Provider { asked: Provider, source: ort::Error },
    #[error("network {path}: ONNX Runtime cannot load it: {source}")]
    Load { path: PathBuf, source: ort::Error },
    #[error("network {path} is not what its model.toml describes: {difference}")]
    Shape { path: PathBuf, difference: String },
    #[error("inference with {model}: {source}")]
    Run { model: String, source: ort::Error },
    #[error(
        "inference with {model}: output {output:?} has {found} values, {expected} were described"
    )]
    OutputLength {
        model: String,
        output: String,
        expected: usize,
        found: usize,
    },
}

impl Kind for RuntimeError {
    fn kind(&self) -> ErrorKind {
        match self {
            RuntimeError::Library { .. }
            | RuntimeError::NoProvider { .. }
            | RuntimeError::Provider { .. }
            | RuntimeError::Shape { .. } => ErrorKind::Config,
            RuntimeError::Environment(_)
            | RuntimeError::Load { .. }
            | RuntimeError::OutputLength { .. } => ErrorKind::Permanent,
            RuntimeError::Run { .. } => ErrorKind::Transient,
        }
    }
}

/// A loaded network, its input buffer and its description. Belongs to one thread at a time.
#[derive(Debug)]
pub struct Network {
    description: Description,
    session: Session,
    preprocessor: Preprocessor,
    provider: Provider,
}

impl Network {
    /// Loads the described file to run on the processor. `library` names ONNX Runtime; the first one loaded serves the
    /// whole process.
    pub fn open(
        description: Description,
        library: Option<&Path>,
        threads: usize,
    ) -> Result<Self, super::DetectError> {
        Self::open_on(Provider::Cpu, description, library, threads)
    }

    /// The same, run by this provider, or an error: never by another one instead.
    pub fn open_on(
        provider: Provider,
        description: Description,
        library: Option<&Path>,
        threads: usize,
    ) -> Result<Self, super::DetectError> {
        let bytes = description.read_network()?;
        let environment = environment(library)?;
        let known = providers();
        if !known.contains(&provider) {
            return Err(RuntimeError::NoProvider {
                asked: provider,
                known,
            }
            .into());
        }
        let loaded = |source| RuntimeError::Load {
            path: description.network_path(),
            source,
        };
        let session = match registration(provider, threads) {
            None => cpu_session(&environment, &bytes, threads).map_err(loaded)?,
            Some(registration) => {
                let builder = builder(&environment, threads).and_then(|builder| {
                    Ok(builder.with_execution_providers([registration.error_on_failure()])?)
                });
                let refused = |source| RuntimeError::Provider {
                    asked: provider,
                    source,
                };
                // Some find out what they lack only when they are given the network.
                builder
                    .and_then(|mut builder| builder.commit_from_memory(&bytes))
                    .map_err(refused)?
            }
        };
        compare(&description, &session).map_err(|difference| RuntimeError::Shape {
            path: description.network_path(),
            difference,
        })?;
        Ok(Self {
            preprocessor: Preprocessor::new(description.input.clone()),
            description,
            session,
            provider,
        })
    }

    /// Who runs it.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Boxes in pixels of the frame, best first, at or above `min_score`, by the network's own labels.
    pub fn look(
        &mut self,
        frame: &Frame,
        min_score: f32,
    ) -> Result<(Vec<LabelBox>, LookTiming), RuntimeError> {
        self.look_at(frame, &[], min_score)
    }

    /// The same, of these parts of the picture alone, as [`mosaic::pack`] lays them together; of the whole picture where
    /// there are none.
    pub fn look_at(
        &mut self,
        frame: &Frame,
        parts: &[NormBox],
        min_score: f32,
    ) -> Result<(Vec<LabelBox>, LookTiming), RuntimeError> {
        let picture = (frame.width, frame.height);
        let (mut found, mut timing) = (Vec::new(), LookTiming::default());
        for tiles in mosaic::pack(&self.description.input, picture, parts) {
            let candidates = self.infer(frame, &tiles, min_score, &mut timing)?;
            found.extend(mosaic::to_picture(&tiles, picture, candidates));
        }
        let started = Instant::now();
        let boxes = decode::suppress(found, self.description.thresholds.nms_iou);
        timing.decode += started.elapsed();
        Ok((boxes, timing))
    }

    /// One inference: candidates in pixels of the input, many for one object.
    fn infer(
        &mut self,
        frame: &Frame,
        tiles: &[Tile],
        min_score: f32,
        timing: &mut LookTiming,
    ) -> Result<Vec<LabelBox>, RuntimeError> {
        let started = Instant::now();
        let tensor = self.preprocessor.run_tiles(frame, tiles);
        let prepared = Instant::now();

        let name = &self.description.name;
        let failed = |source| RuntimeError::Run {
            model: name.clone(),
            source,
        };
        let input =
            TensorRef::from_array_view((self.description.input.shape(), tensor)).map_err(failed)?;
        let outputs = self
            .session
            .run(ort::inputs![self.description.input.name.as_str() => input])
            .map_err(failed)?;
        let inferred = Instant::now();

        let mut tensors = Vec::new();
        for (output, shape) in self.description.outputs() {
            let value = outputs
                .get(output)
                .expect("outputs were compared with the description when the network was loaded");
            let (_, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
            let expected = shape.iter().product::<i64>() as usize;
            if values.len() != expected {
                return Err(RuntimeError::OutputLength {
                    model: name.clone(),
                    output: output.to_owned(),
                    expected,
                    found: values.len(),
                });
            }
            tensors.push(values);
        }
        let candidates = decode::candidates(&self.description, &tensors, min_score);
        timing.preprocess += prepared - started;
        timing.inference += inferred - prepared;
        timing.decode += inferred.elapsed();
        Ok(candidates)
    }
}

/// The process's one environment. Kept for ever: ONNX Runtime allows a single one in a process's life.
fn environment(library: Option<&Path>) -> Result<Environment, RuntimeError> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut current = ENVIRONMENT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(environment) = &*current {
        return Ok(environment.clone());
    }
    let environment = load(library)?
        .with_name("edge-agent")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(RuntimeError::Environment)?;
    environment.set_log_level(LogLevel::Warning);
    *current = Some(environment.clone());
    Ok(environment)
}

/// Opens the named library, or else the first usual one that can be opened.
fn load(library: Option<&Path>) -> Result<ort::environment::EnvironmentBuilder, RuntimeError> {
    let named = library.map(Path::to_owned).or_else(|| {
        std::env::var_os("ORT_DYLIB_PATH")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    let candidates = match named {
        Some(path) => vec![path],
        None => USUAL_LIBRARIES.map(PathBuf::from).to_vec(),
    };
    let mut reasons = Vec::new();
    for path in candidates {
        match ort::init_from(&path) {
            Ok(builder) => return Ok(builder),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(RuntimeError::Library {
        reason: reasons.join("; "),
    })
}

/// What this build of ONNX Runtime can run networks on. Whether the machine has what they need shows only when a
/// network is loaded.
fn providers() -> Vec<Provider> {
    let has = |provider: &Provider| match provider {
        Provider::Cpu => Ok(true),
        Provider::Xnnpack => ep::XNNPACK::is_available(),
        Provider::Openvino => ep::OpenVINO::is_available(),
        Provider::Cuda => ep::CUDA::is_available(),
        Provider::Tensorrt => ep::TensorRT::is_available(),
    };
    let all = Provider::ALL.into_iter();
    all.filter(|provider| has(provider).unwrap_or(false))
        .collect()
}

fn in_words(providers: &[Provider]) -> String {
    let names: Vec<&str> = providers.iter().map(|one| one.as_str()).collect();
    names.join(", ")
}

fn registration(provider: Provider, threads: usize) -> Option<ExecutionProviderDispatch> {
    let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
    match provider {
        Provider::Cpu => None,
        Provider::Xnnpack => Some(
            ep::XNNPACK::default()
                .with_intra_op_num_threads(threads)
                .build(),
        ),
        Provider::Openvino => Some(
            ep::OpenVINO::default()
                .with_num_threads(threads.get())
                .build(),
        ),
        Provider::Cuda => Some(ep::CUDA::default().build()),
        Provider::Tensorrt => Some(ep::TensorRT::default().build()),
    }
}

fn cpu_session(environment: &Environment, network: &[u8], threads: usize) -> ort::Result<Session> {
    builder(environment, threads)?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        .commit_from_memory(network)
}

fn builder(environment: &Environment, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        // Memory patterns plan one block as large as all of it: 6 to 8 MB more, and no quicker.
        .with_memory_pattern(false)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // Some exporters list their weights as inputs, about which ONNX Runtime warns once a weight.
        .with_log_level(LogLevel::Error)?)
}

/// What differs between the network and its description, in words.
fn compare(description: &Description, session: &Session) -> Result<(), String> {
    let input = &description.input;
    compare_tensor("input", session.inputs(), &input.name, &input.shape())?;
    for (name, shape) in description.outputs() {
        compare_tensor("output", session.outputs(), name, &shape)?;
    }
    Ok(())
}

fn compare_tensor(
    what: &str,
    outlets: &[Outlet],
    name: &str,
    expected: &[i64],
) -> Result<(), String> {
    let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == name) else {
        let known: Vec<&str> = outlets.iter().map(Outlet::name).take(12).collect();
        return Err(format!("it has no {what} {name:?}, but {known:?}"));
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(format!("{what} {name:?} is not a tensor"));
    };
    if *ty != TensorElementType::Float32 {
        return Err(format!("{what} {name:?} is {ty}, not float32"));
    }
    // -1 is a side the network leaves open; its length is checked at every run.
    let fits = shape.len() == expected.len()
        && std::iter::zip(shape.iter(), expected).all(|(has, want)| *has == -1 || has == want);
    if fits {
        Ok(())
    } else {
        Err(format!(
            "{what} {name:?} has shape {:?}, described is {expected:?}",
            &shape[..]
        ))
    }
}

/// ONNX Runtime's own messages, as ours.
fn log(level: LogLevel, category: &str, _id: &str, _location: &str, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => {
            tracing::warn!(onnx.category = category, "ONNX Runtime: {message}");
        }
        _ => tracing::debug!(onnx.category = category, "ONNX Runtime: {message}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    // These tests never load a library that works: the first one that does serves the process for ever.

    #[test]
    fn a_missing_library_says_how_to_get_it() {
        let error = load(Some(Path::new("/nowhere/libonnxruntime.so")))
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("/nowhere/libonnxruntime.so"), "{text}");
        assert!(
            text.contains("ORT_DYLIB_PATH") && text.contains("releases"),
            "{text}"
        );
    }

    #[test]
    fn an_old_library_is_refused_with_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let (source, library) = (dir.path().join("old.c"), dir.path().join("libold.so"));
        let c = r#"
            static const char *version(void) { return "1.10.0"; }
            static const void *api(unsigned number) { return 0; }
            struct base { const void *(*api)(unsigned); const char *(*version)(void); };
            const struct base *OrtGetApiBase(void) { static struct base b = { api, version }; return &b; }
        "#;
        std::fs::write(&source, c).unwrap();
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source);
        assert!(compiler.status().unwrap().success());
        let text = load(Some(&library)).err().unwrap().to_string();
        assert!(
            text.contains("'1.10.0'") && text.contains("or newer is needed"),
            "{text}"
        );
    }
}
