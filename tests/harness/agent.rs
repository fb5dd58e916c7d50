//! The real agent, configured and enrolled by its own commands as an installer would.

use crate::process::{Process, program, repository, run};
use crate::receiver::path;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const STOP_GRACE: Duration = Duration::from_secs(20);

/// A camera as the agent's configuration names it.
#[derive(Clone, Debug)]
pub struct CameraEntry {
    pub id: uuid::Uuid,
    pub name: String,
    pub url: String,
    pub periodic_picture_seconds: u32,
    /// Further lines of TOML, such as privacy masks.
    pub extra: String,
}

impl CameraEntry {
    pub fn new(name: &str, url: &str) -> Self {
        Self {
            id: uuid::Uuid::new_v4(),
            name: name.to_owned(),
            url: url.to_owned(),
            periodic_picture_seconds: 60,
            extra: String::new(),
        }
    }
}

#[derive(Debug)]
pub struct Agent {
    folder: PathBuf,
    config: PathBuf,
    process: Option<Process>,
}

impl Agent {
    /// Writes a configuration below `folder`. `extra` is TOML that goes before the cameras.
    pub fn configure(folder: &Path, cameras: &[CameraEntry], extra: &str) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut toml = format!(
            "[device]\ndata_dir = {:?}\n\n[model]\ndir = {:?}\n\n{extra}\n",
            folder.join("data"),
            repository().join("models/nanodet-g-416-int8"),
        );
        for camera in cameras {
            write!(
                toml,
                "\n[[camera]]\nid = \"{}\"\nname = {:?}\nurl = {:?}\nperiodic_picture_seconds = {}\n{}\n",
                camera.id, camera.name, camera.url, camera.periodic_picture_seconds, camera.extra
            )?;
        }
        let config = folder.join("edge-agent.toml");
        std::fs::write(&config, toml)?;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            process: None,
        })
    }

    /// Enrolls with a claim code on standard input, as an installer would paste it.
    pub fn enroll(&self, url: &str, code: &str) -> Result<()> {
        let output = self.try_enroll(url, code)?;
        if !output.status.success() {
            bail!(
                "enrolling failed: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    pub fn try_enroll(&self, url: &str, code: &str) -> Result<Output> {
        self.enroll_with(&["enroll", "--url", url], code)
    }

    /// The same for a box that is enrolled already.
    pub fn try_enroll_again(&self, url: &str, code: &str) -> Result<Output> {
        self.enroll_with(&["enroll", "--again", "--url", url], code)
    }

    fn enroll_with(&self, args: &[&str], code: &str) -> Result<Output> {
        use std::io::Write as _;
        let mut child = self
            .program(args)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("standard input")?;
        writeln!(stdin, "{code}")?;
        drop(stdin);
        Ok(child.wait_with_output()?)
    }

    pub fn start(&mut self) -> Result<()> {
        self.start_with(|_| ())
    }

    /// `dress` has a word in how the program is started.
    pub fn start_with(&mut self, dress: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = self.program(&["run"])?;
        command.env("RUST_LOG", "info");
        dress(&mut command);
        let log = self.folder.join("agent.log");
        self.process = Some(Process::start("edge-agent", command, &log)?);
        Ok(())
    }

    fn program(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("edge-agent")?);
        command
            .args(args)
            .args(["--config", path(&self.config)])
            .env("ORT_DYLIB_PATH", onnxruntime());
        Ok(command)
    }

    /// What `edge-agent status --json` says; `None` while nobody answers.
    pub fn status(&self) -> Option<Value> {
        let args = ["status", "--json", "--config", path(&self.config)];
        let output = run("edge-agent", args).ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Runs any of the agent's commands as a person would.
    pub fn command_raw(&self, args: &[&str]) -> Result<Output> {
        Ok(self.program(args)?.stdin(Stdio::null()).output()?)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(STOP_GRACE)?;
        }
        Ok(())
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }
}

/// ONNX Runtime's library: where the environment says, or where `scripts/setup.sh` put it.
pub fn onnxruntime() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").map_or_else(
        || repository().join(".cache/onnxruntime/libonnxruntime.so.1.32.0"),
        PathBuf::from,
    )
}
