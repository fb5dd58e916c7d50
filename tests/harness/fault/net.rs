//! A network of its own for the calling thread and whatever it starts: a loopback that can be shaped or lose packets.
//!
//! Needs root, iproute2 and nftables. A thread that has entered it stays in it; programs and threads that it starts
//! are in it too, and nothing outside is touched.

use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Proof that the calling thread is in a network of its own.
#[derive(Debug)]
pub struct OwnNetwork(());

impl OwnNetwork {
    pub fn enter() -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "CANNOT RUN: a network namespace needs root"
        );
        // SAFETY: the call takes no memory of ours, and concerns the calling thread's network only.
        #[allow(unsafe_code)]
        let outcome = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        ensure!(
            outcome == 0,
            "CANNOT RUN: no network namespace: {}",
            std::io::Error::last_os_error()
        );
        let network = Self(());
        run(&["ip", "link", "set", "lo", "up"])?;
        Ok(network)
    }

    /// Everything together, both ways, goes through a link of so many bits a second with a short queue.
    pub fn shape(&self, bits_per_second: u64) -> Result<()> {
        // As on Ethernet; the loopback's own 64 KiB would go through a slow link in lumps.
        run(&["ip", "link", "set", "lo", "mtu", "1500"])?;
        let rate = format!("{bits_per_second}bit");
        run(&[
            "tc", "qdisc", "replace", "dev", "lo", "root", "tbf", "rate", &rate, "burst", "32kb",
            "latency", "50ms",
        ])
    }

    /// Of every hundred packets so many are dropped, by chance.
    pub fn lose_percent(&self, percent: u32) -> Result<()> {
        // Small packets, as on a real line: each loss is one, and not 64 KiB at once.
        run(&["ip", "link", "set", "lo", "mtu", "1500"])?;
        run(&["nft", "add", "table", "inet", "faults"])?;
        run(&[
            "nft",
            "add chain inet faults input { type filter hook input priority 0; }",
        ])?;
        run(&[
            "nft",
            &format!("add rule inet faults input iif lo numgen random mod 100 < {percent} drop"),
        ])
    }

    /// A good network again.
    pub fn heal(&self) -> Result<()> {
        // Either may never have been made.
        let _ = run(&["nft", "delete", "table", "inet", "faults"]);
        let _ = run(&["tc", "qdisc", "del", "dev", "lo", "root"]);
        Ok(())
    }

    /// Bytes that have gone over the loopback, headers included.
    pub fn bytes_carried(&self) -> Result<u64> {
        // Of this thread, not of the process: they may differ in their network.
        let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("lo:"));
        let sent = line.and_then(|line| line.split_whitespace().nth(8)?.parse().ok());
        sent.context("the loopback in /proc/net/dev")
    }
}

fn run(command: &[&str]) -> Result<()> {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .with_context(|| format!("CANNOT RUN: {}", command[0]))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {}",
        command.join(" "),
        words.trim()
    );
    Ok(())
}
