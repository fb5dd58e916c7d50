//! Receiver, customer and an enrolled box in one folder, with lines between them that can be made bad.

use super::feeder::{Journal, Options};
use super::oracle::{self, Oracle, StoredRecord, Verdict};
use super::proxy::Proxy;
use super::{Feeder, feeding::Feed};
use crate::agent::Agent;
use crate::process::run_ok;
use crate::receiver::{Account, Receiver, path};
use anyhow::{Context, Result};
use edge_agent::identity::Identity;
use edge_agent::spool::{Audit, SpoolKeys};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use wire::DeviceId;

/// RELIABILITY.md: a fresh event gets through within so long of the connection being back.
pub const FRESH_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Site {
    pub receiver: Receiver,
    pub account: Account,
    /// Configured and enrolled; not running. Tests that need the real agent start it.
    pub agent: Agent,
    pub device: DeviceId,
    /// What all feeders of this box have said.
    pub journal: Journal,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl Site {
    /// In a temporary folder.
    pub fn new() -> Result<Self> {
        let temporary = tempfile::tempdir()?;
        let mut site = Self::in_folder(temporary.path(), temporary.path())?;
        site._temporary = Some(temporary);
        Ok(site)
    }

    /// With the receiver's own folder elsewhere, such as on a disk that is to fail.
    pub fn in_folder(folder: &Path, receiver_folder: &Path) -> Result<Self> {
        let mut receiver = Receiver::init(&receiver_folder.join("receiver"))?;
        receiver.serve()?;
        let account = receiver.customer("契約", "本社", "customer")?;
        let agent = Agent::configure(&folder.join("agent"), &[], "")?;
        agent.enroll(&receiver.portal_url(), &receiver.claim("本社")?)?;
        let devices = receiver.command(&["device", "list"])?;
        let device = devices[0]["device"].as_str().context("one device")?;
        Ok(Self {
            device: device.parse()?,
            receiver,
            account,
            agent,
            journal: Journal::default(),
            folder: folder.to_owned(),
            _temporary: None,
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn start_feeder(&self, options: &Options) -> Result<Feeder> {
        let log = self.folder.join("feeder.log");
        Feeder::start(&self.agent.data_dir(), &log, options, &self.journal)
    }

    pub fn spawn_feeder(&self, options: &Options) -> Result<Feeder> {
        let log = self.folder.join("feeder.log");
        Feeder::spawn(&self.agent.data_dir(), &log, options, &self.journal)
    }

    /// Puts a proxy into both lines of the box: MQTT and HTTPS. The names stay `localhost`, so certificates fit.
    pub fn through_proxies(&self) -> Result<Lines> {
        let lines = Lines {
            mqtt: Proxy::start(self.receiver.mqtt_port)?,
            https: Proxy::start(self.receiver.device_port)?,
        };
        self.change_enrollment(|enrollment| {
            enrollment["mqtt_port"] = lines.mqtt.port().into();
            enrollment["device_url"] = format!("https://localhost:{}", lines.https.port()).into();
        })?;
        Ok(lines)
    }

    /// Changes what the box keeps of its enrollment.
    pub fn change_enrollment(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let file = self.agent.data_dir().join("identity/enrollment.json");
        let mut enrollment: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        change(&mut enrollment);
        Ok(std::fs::write(&file, serde_json::to_vec(&enrollment)?)?)
    }

    /// Everything the receiver holds of the box.
    pub fn stored(&self) -> Result<Vec<StoredRecord>> {
        let printed = run_ok(
            "cloud-receiver",
            [
                "audit",
                "records",
                "--device",
                &self.device.to_string(),
                "--config",
                path(self.receiver.config()),
            ],
        )?;
        oracle::parse(&printed)
    }

    /// What `edge-agent spool audit` would say of a spool that lies there.
    pub fn audit_spool(&self, dir: &Path) -> Result<Audit> {
        let identity =
            Identity::load(&self.agent.data_dir())?.context("this box has no identity")?;
        let keys = SpoolKeys {
            device_id: identity.device_id,
            record_key: identity.record_key,
            spool_key: identity.spool_key,
        };
        Ok(edge_agent::spool::audit(dir, &keys)?)
    }

    /// What became of every obligation so far.
    pub fn judge(&self) -> Result<Verdict> {
        Oracle::hear(&self.journal).judge(&self.stored()?)
    }

    /// The end of most tests: the faults have stopped; a fresh event gets through in time, the spool drains, and
    /// nothing at all is lost.
    pub fn settle(&self, feeder: Feeder, patience: Duration) -> Result<Verdict> {
        let verdict = self.settle_with_gaps(feeder, patience)?;
        anyhow::ensure!(
            verdict.records_named_lost == 0 && verdict.blobs_named_lost == 0,
            "something is lost: {verdict:?}"
        );
        Ok(verdict)
    }

    /// The same where losses are allowed that gap records name.
    pub fn settle_with_gaps(&self, mut feeder: Feeder, patience: Duration) -> Result<Verdict> {
        feeder.drained(patience)?;
        let one = Feed {
            events: 1,
            picture_every: 1,
            ..Feed::default()
        };
        feeder.put_all(one, FRESH_WITHIN)?;
        feeder
            .drained(FRESH_WITHIN)
            .context("a fresh event did not get through in time")?;
        feeder.stop()?;
        self.judge()
    }
}

/// The two lines of a box.
#[derive(Debug)]
pub struct Lines {
    pub mqtt: Proxy,
    pub https: Proxy,
}

impl Lines {
    pub fn both(&self, change: impl Fn(&Proxy)) {
        change(&self.mqtt);
        change(&self.https);
    }
}
