//! A whole small world: cameras, receiver, customer, enrolled agent, all real, all on this machine.

use crate::agent::{Agent, CameraEntry};
use crate::browser::Browser;
use crate::camera::{Camera, CameraOptions};
use crate::film::FilmOptions;
use crate::process::repository;
use crate::receiver::{Account, Receiver};
use crate::wait;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// What the places are called, so that the portal looks like somebody's.
pub const CAMERA_NAMES: [&str; 8] = [
    "正門",
    "駐車場",
    "搬入口",
    "東通路",
    "西通路",
    "中庭",
    "裏門",
    "受付",
];

#[derive(Debug)]
pub struct World {
    pub agent: Agent,
    pub receiver: Receiver,
    pub cameras: Camera,
    pub account: Account,
    // Removed last: everybody above writes into it.
    _folder: Option<TempDir>,
}

impl World {
    /// Everything running, in a temporary folder, with `cameras` cameras that play the PETS street film and a
    /// picture of each every so many seconds.
    pub fn start(cameras: usize, periodic_picture_seconds: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = CameraOptions {
            cameras,
            ..CameraOptions::new(FilmOptions::new(film()))
        };
        let mut world = Self::start_in(folder.path(), options, periodic_picture_seconds)?;
        world._folder = Some(folder);
        Ok(world)
    }

    /// The same below a folder that stays.
    pub fn start_in(
        folder: &Path,
        options: CameraOptions,
        periodic_picture_seconds: u32,
    ) -> Result<Self> {
        let mut world = Self::set_up(folder, options, |entry| {
            entry.periodic_picture_seconds = periodic_picture_seconds;
        })?;
        world.agent.start()?;
        Ok(world)
    }

    /// Everything but the agent running, which is configured and enrolled; `change` has a word in each camera's
    /// configuration.
    pub fn set_up(
        folder: &Path,
        options: CameraOptions,
        change: impl Fn(&mut CameraEntry),
    ) -> Result<Self> {
        let count = options.cameras;
        let cameras = Camera::start(options)?;
        let mut receiver = Receiver::init(&folder.join("receiver"))?;
        receiver.serve()?;
        let account = receiver.customer("デモ契約", "本社", "demo")?;
        let names = CAMERA_NAMES.iter().take(count).enumerate();
        let entries: Vec<_> = names
            .map(|(index, name)| {
                let mut entry = CameraEntry::new(name, &cameras.url_of(index));
                change(&mut entry);
                entry
            })
            .collect();
        let agent = Agent::configure(&folder.join("agent"), &entries, "")?;
        agent.enroll(&receiver.portal_url(), &receiver.claim("本社")?)?;
        Ok(Self {
            agent,
            receiver,
            cameras,
            account,
            _folder: None,
        })
    }

    /// Signs a browser in by its form and waits for the overview.
    pub async fn sign_in(&self, browser: &Browser) -> Result<()> {
        browser.goto(&self.receiver.portal_url()).await?;
        browser.fill("login_id", &self.account.login_id).await?;
        browser.fill("password", &self.account.password).await?;
        browser.submit().await?;
        browser
            .see("[data-camera], [data-empty]", Duration::from_secs(20))
            .await
            .context("the overview after signing in")?;
        Ok(())
    }

    /// Waits until the agent has nothing left to deliver.
    pub fn delivered(&self, timeout: Duration) -> Result<()> {
        wait::until("an empty spool", timeout, || {
            let status = self.agent.status()?;
            let spool = status.get("spool")?;
            let pending =
                spool.get("pending_records")?.as_u64()? + spool.get("pending_blobs")?.as_u64()?;
            (pending == 0).then_some(())
        })
    }

    /// What everybody wrote, for a failure's report.
    pub fn logs(&mut self) -> String {
        [self.receiver.process(), self.agent.process()]
            .into_iter()
            .flatten()
            .map(|process| format!("--- {}\n{}\n", process.name(), process.log_tail(25)))
            .collect()
    }
}

/// The PETS street film that `scripts/setup.sh` fetched.
pub fn film() -> std::path::PathBuf {
    repository().join(".cache/media/vtest.avi")
}
