//! Logging: to the journal under systemd, readable on a terminal, JSON lines anywhere else.

use anyhow::Context;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Names the filter; a level, or `target=level` pairs.
pub const FILTER_VARIABLE: &str = "CLOUD_RECEIVER_LOG";
/// Our state changes, and other crates' warnings. The protocol crate logs every packet as info.
const SERVING: &str = "warn,cloud_receiver=info,mqtt_protocol_core=off";
/// Commands speak through their output.
const COMMAND: &str = "error,mqtt_protocol_core=off";

/// Installs logging for this process.
pub fn init(serving: bool) -> anyhow::Result<()> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) => EnvFilter::try_new(&text)
            .with_context(|| format!("cannot read {FILTER_VARIABLE}=\"{text}\"; try \"debug\""))?,
        Err(_) => EnvFilter::new(if serving { SERVING } else { COMMAND }),
    };
    let layer = if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        journal.boxed()
    } else if std::io::stderr().is_terminal() || !serving {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .json()
            .flatten_event(true)
            .boxed()
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .init();
    Ok(())
}

/// systemd names device and inode of the journal's stream; a redirected stderr differs (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    std::fs::metadata("/dev/stderr")
        .is_ok_and(|stderr| named == format!("{}:{}", stderr.dev(), stderr.ino()))
}
