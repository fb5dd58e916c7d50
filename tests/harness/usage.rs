//! What a process uses of the machine, from /proc.

use anyhow::{Context, Result};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub resident_kib: u64,
    pub descriptors: u64,
    pub threads: u64,
    /// Processor time, of user and kernel together.
    pub cpu: Duration,
}

impl Usage {
    /// Of this process.
    pub fn now() -> Result<Self> {
        Self::of("self")
    }

    /// Of a process by its id.
    pub fn of(process: impl std::fmt::Display) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        Ok(Self {
            resident_kib: field(&status, "VmRSS:")?,
            descriptors: std::fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64,
            threads: field(&status, "Threads:")?,
            cpu: cpu(&process.to_string())?,
        })
    }
}

fn field(status: &str, name: &str) -> Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("/proc/self/status says no {name}"))
}

/// The kernel counts the time of programs in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

fn cpu(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in brackets may hold spaces; fields 14 and 15 are user and kernel time, and 3 is the first behind it.
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u32 = behind_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|number| number.parse::<u32>().ok())
        .sum();
    Ok(TICK * ticks)
}
