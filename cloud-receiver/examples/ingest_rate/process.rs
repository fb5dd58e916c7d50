//! Servers as processes of their own, and what they use of the processor and of memory.

use std::io::Read;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A running server. Dropping it ends it.
pub struct Server {
    pub name: String,
    pub mqtt: u16,
    pub https: u16,
    pub portal: u16,
    pid: u32,
    _child: Child,
}

impl Server {
    /// This very program in another role; it says its ports on its first line.
    pub async fn start(args: &[&str], name: &str) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut child = Command::new(own)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).await.unwrap();
        let mut ports = line.split_whitespace().map(|port| port.parse().unwrap());
        Self {
            name: name.to_owned(),
            mqtt: ports.next().expect("the server says its ports"),
            https: ports.next().unwrap_or(0),
            portal: ports.next().unwrap_or(0),
            pid: child.id().unwrap(),
            _child: child,
        }
    }

    /// A peer's program that listens on `port`.
    pub async fn foreign(name: &str, mut command: Command, port: u16) -> Self {
        let child = command.kill_on_drop(true).spawn().unwrap();
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
        Self {
            name: name.to_owned(),
            mqtt: port,
            https: port,
            portal: port,
            pid: child.id().unwrap(),
            _child: child,
        }
    }

    /// Seconds of processor time so far.
    pub fn used(&self) -> f64 {
        Used::of(&self.pid.to_string())
    }

    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024
    }
}

/// Processor time, user and system.
pub struct Used;

impl Used {
    pub fn own() -> f64 {
        Self::of("self")
    }

    fn of(process: &str) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        // The name in parentheses may hold spaces; fields are counted after it.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }
}

/// Standard input ends when the one who started us has ended.
pub async fn parent_has_gone() {
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = ended.await;
}
