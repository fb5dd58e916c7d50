//! One camera under the agent's capture alone, for programs that measure it.

use anyhow::Result;
use edge_agent::capture::latest::Wakeup;
use edge_agent::capture::{self, CaptureDeps, CaptureHandle, Decoders, GateConfig, RetryPolicy};
use edge_agent::clock::{RealClocks, TimeSource};
use edge_agent::config::CameraConfig;
use edge_agent::health::Health;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Changes of state that nobody reads; a camera then keeps the newest.
const CHANGES: usize = 16;

#[derive(Debug)]
pub struct Watching {
    pub handle: CaptureHandle,
    pub wakeup: Arc<Wakeup>,
    pub time: TimeSource,
}

impl Watching {
    pub fn start(url: &str, policy: RetryPolicy, ring_bytes: usize) -> Result<Self> {
        Self::start_gated(url, policy, ring_bytes, GateConfig::default())
    }

    pub fn start_gated(
        url: &str,
        policy: RetryPolicy,
        ring_bytes: usize,
        gate: GateConfig,
    ) -> Result<Self> {
        let config: CameraConfig = toml::from_str(&format!(
            "id = \"{}\"\nname = \"measured\"\nurl = \"{url}\"",
            uuid::Uuid::new_v4()
        ))?;
        let wakeup = Arc::new(Wakeup::default());
        let time = TimeSource::new(Arc::new(RealClocks::new()));
        let (changes, _) = mpsc::channel(CHANGES);
        let deps = CaptureDeps {
            wakeup: Arc::clone(&wakeup),
            time: time.clone(),
            health: Health::default(),
            decoders: Arc::new(Decoders::new()),
            changes,
            policy,
            ring_bytes,
            gate,
        };
        Ok(Self {
            handle: capture::start(&config, deps)?,
            wakeup,
            time,
        })
    }
}
