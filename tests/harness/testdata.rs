//! Data that may be tested with but not shipped: looked for in `$TEST_DATA`, by default `../shared/media`.

use crate::process::repository;
use anyhow::{Result, bail};
use std::path::PathBuf;
use tempfile::TempDir;

/// A file of the test data. Where it is missing a test must skip, and this says so loudly; in CI it is an error.
pub fn file(name: &str) -> Result<Option<PathBuf>> {
    let folder = std::env::var_os("TEST_DATA")
        .map_or_else(|| repository().join("../shared/media"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Ok(Some(path));
    }
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("test data is missing: {}", path.display());
    }
    eprintln!(
        "SKIPPED: {} is missing; set TEST_DATA to the folder that holds it",
        path.display()
    );
    Ok(None)
}

/// YOLOX-Nano as a user adds it: the description from `models/`, the file beside it.
pub fn yolox_folder() -> Result<Option<TempDir>> {
    let Some(weights) = file("yolox_nano_416.onnx")? else {
        return Ok(None);
    };
    let folder = tempfile::tempdir()?;
    let description = repository().join("models/yolox-nano-416/model.toml");
    std::fs::copy(description, folder.path().join("model.toml"))?;
    std::fs::copy(weights, folder.path().join("yolox_nano_416.onnx"))?;
    Ok(Some(folder))
}
