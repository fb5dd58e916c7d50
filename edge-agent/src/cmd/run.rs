//! `edge-agent run`: the agent itself, until a signal.

use crate::agent::{Agent, notify_systemd};
use crate::config;
use crate::heap;
use crate::supervise::PANIC_EXIT_CODE;
use crate::telemetry::RecentLog;
use anyhow::Context;
use sd_notify::NotifyState;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Everything is over by then, whatever hangs; systemd's patience (TimeoutStopSec) is longer.
const STOP_BUDGET: Duration = Duration::from_secs(12);
/// By then cameras are connected, the detector has looked, and nothing more is loaded.
const START_IS_OVER: Duration = Duration::from_secs(20);
/// As a shell reports a program that a signal ended.
const SECOND_SIGNAL_EXIT_CODE: i32 = 130;

/// Run the agent until SIGTERM, SIGINT or SIGHUP. A second signal ends it at once.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, config_file: &Path, recent: RecentLog) -> anyhow::Result<ExitCode> {
    let config = config::load(config_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("agent")
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::install()?;
        let agent = tokio::select! {
            started = Agent::start(config, config_file, recent) => started?,
            () = signals.next() => return Ok(ExitCode::SUCCESS),
        };
        notify_systemd(NotifyState::Ready).await;
        tokio::spawn(async {
            tokio::time::sleep(START_IS_OVER).await;
            tokio::task::spawn_blocking(heap::give_back);
        });
        let code = tokio::select! {
            () = signals.next() => ExitCode::SUCCESS,
            why = agent.spool_died() => {
                tracing::error!("the agent ends and has to be started again: {why}");
                ExitCode::from(PANIC_EXIT_CODE)
            }
        };
        tokio::spawn(notify_systemd(NotifyState::Stopping));
        tracing::info!("stopping; a second signal ends at once");
        tokio::spawn(async move {
            signals.next().await;
            std::process::exit(SECOND_SIGNAL_EXIT_CODE);
        });
        agent.stop(STOP_BUDGET).await;
        Ok(code)
    });
    // Threads that hang in a foreign library are left behind.
    runtime.shutdown_background();
    outcome
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal that started it was closed.
    hangup: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
