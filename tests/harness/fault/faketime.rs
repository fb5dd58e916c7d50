//! Another time for one process, to be changed while it runs: libfaketime over its realtime clock. The clocks that count
//! since the boot stay true, as they do when somebody sets a machine's clock.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

#[derive(Debug)]
pub struct FakeTime {
    library: &'static str,
    file: PathBuf,
}

impl FakeTime {
    /// The true time plus so many seconds.
    pub fn new(folder: &Path, offset_seconds: i64) -> Result<Self> {
        let library = LIBRARIES
            .into_iter()
            .find(|library| Path::new(library).exists())
            .context("CANNOT RUN: libfaketime is missing (apt-get install faketime)")?;
        let fake = Self {
            library,
            file: folder.join("faketime"),
        };
        fake.set(offset_seconds)?;
        Ok(fake)
    }

    /// Sets the clock: from the next reading on.
    pub fn set(&self, offset_seconds: i64) -> Result<()> {
        // In one step: a reader must not find half of it.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{offset_seconds:+}\n"))?;
        Ok(std::fs::rename(&new, &self.file)?)
    }

    pub fn dress(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
            .env("TZ", "UTC");
    }
}
