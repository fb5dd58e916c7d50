//! The real agent, watching real cameras and delivering to a real receiver, for faults that concern capture, vision and
//! the agent's life. Each camera is a server of its own, so that one can fail by itself.

use super::oracle::{self, StoredRecord};
use crate::agent::{Agent, CameraEntry};
use crate::camera::{Camera, CameraOptions};
use crate::film::{Film, FilmOptions};
use crate::process::run_ok;
use crate::receiver::{Account, Receiver, path};
use crate::wait;
use crate::world;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A cold start on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Street {
    pub agent: Agent,
    pub receiver: Receiver,
    pub account: Account,
    pub cameras: Vec<Camera>,
    pub device: String,
    folder: TempDir,
}

/// One epoch as `cloud-receiver device deliveries --json` tells it.
#[derive(Debug, Deserialize)]
struct Delivered {
    records: u64,
    holes: Vec<Value>,
    links_pending: u64,
    links_broken: u64,
}

impl Street {
    /// Everything but the agent runs; it is configured, with `extra` TOML, and enrolled.
    pub fn new(cameras: usize, extra: &str) -> Result<Self> {
        Self::with_agent_in(None, cameras, extra)
    }

    /// With the agent's data on a disk that is to fail.
    pub fn with_agent_in(disk: Option<&Path>, cameras: usize, extra: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = FilmOptions {
            frames: Some(120),
            ..FilmOptions::new(world::film())
        };
        let film = Film::encode(&options)?;
        let cameras: Vec<Camera> = (0..cameras)
            .map(|_| Camera::with_film(CameraOptions::new(options.clone()), film.clone()))
            .collect::<Result<_>>()?;
        let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
        receiver.serve()?;
        let account = receiver.customer("契約", "本社", "customer")?;
        let entries: Vec<CameraEntry> = cameras
            .iter()
            .zip(world::CAMERA_NAMES)
            .map(|(camera, name)| CameraEntry {
                periodic_picture_seconds: 5,
                ..CameraEntry::new(name, &camera.url())
            })
            .collect();
        let agent_folder = disk.unwrap_or(folder.path()).join("agent");
        let agent = Agent::configure(&agent_folder, &entries, extra)?;
        agent.enroll(&receiver.portal_url(), &receiver.claim("本社")?)?;
        let devices = receiver.command(&["device", "list"])?;
        let device = devices[0]["device"].as_str().context("one device")?;
        Ok(Self {
            device: device.to_owned(),
            agent,
            receiver,
            account,
            cameras,
            folder,
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The receiver's own index, to look into.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("receiver/data/receiver.db")
    }

    /// A camera as the agent's status tells of it; `None` while nobody answers.
    pub fn camera(&self, index: usize) -> Option<Value> {
        self.agent.status()?.get("cameras")?.get(index).cloned()
    }

    /// So many frames of a camera were looked at.
    pub fn analysed(&self, index: usize) -> Option<u64> {
        self.camera(index)?.get("frames_analysed")?.as_u64()
    }

    /// Waits until every camera's frames are looked at and something was recorded of it.
    pub fn await_watching(&self) -> Result<()> {
        for index in 0..self.cameras.len() {
            wait::until("frames to be looked at", PATIENCE, || {
                self.analysed(index).filter(|looks| *looks > 3)
            })
            .with_context(|| format!("{:?}", self.camera(index)))?;
        }
        Ok(())
    }

    /// Waits until the spool is empty: then everything that was ever accepted must be there, and there once: numbers
    /// without holes, and no batch missing between two. Returns how many records there are.
    pub fn nothing_is_lost(&self) -> Result<u64> {
        self.nothing_is_lost_within(PATIENCE)
    }

    pub fn nothing_is_lost_within(&self, patience: Duration) -> Result<u64> {
        wait::until("an empty spool", patience, || {
            let spool = self.agent.status()?.get("spool")?.clone();
            let pending = spool["pending_records"].as_u64()? + spool["pending_blobs"].as_u64()?;
            (pending == 0).then_some(())
        })
        .with_context(|| format!("{:?}", self.agent.status()))?;
        let report = self
            .receiver
            .command(&["device", "deliveries", "--device", &self.device])?;
        let epochs: Vec<Delivered> = serde_json::from_value(report)?;
        for epoch in &epochs {
            ensure!(epoch.holes.is_empty(), "records are missing: {epochs:#?}");
            ensure!(
                epoch.links_broken + epoch.links_pending == 0,
                "a batch is missing: {epochs:#?}"
            );
        }
        Ok(epochs.iter().map(|epoch| epoch.records).sum())
    }

    /// Everything the receiver holds.
    pub fn stored(&self) -> Result<Vec<StoredRecord>> {
        let config = path(self.receiver.config());
        let args = ["audit", "records", "--device", &self.device];
        let printed = run_ok("cloud-receiver", args.iter().chain(&["--config", config]))?;
        oracle::parse(&printed)
    }

    /// A thread of the agent by its name, as `top -H` shows it.
    pub fn thread(&mut self, name: &str) -> Result<u32> {
        let process = self.agent.process().context("the agent runs")?;
        let tasks = format!("/proc/{}/task", process.id());
        for task in std::fs::read_dir(&tasks)? {
            let task = task?;
            let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if comm.trim().starts_with(name) {
                return Ok(task.file_name().to_string_lossy().parse()?);
            }
        }
        anyhow::bail!("the agent has no thread {name}")
    }

    /// What everybody wrote last, for a failure's report.
    pub fn logs(&mut self) -> String {
        [self.receiver.process(), self.agent.process()]
            .into_iter()
            .flatten()
            .map(|process| format!("--- {}\n{}\n", process.name(), process.log_tail(25)))
            .collect()
    }
}
