//! The test camera as a process of its own: what it costs and leaks is then not taken for the agent's.

use crate::process::program;
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A running `rtsp-camera`. Dropping it kills it.
#[derive(Debug)]
pub struct CameraProcess {
    child: Child,
    orders: ChildStdin,
    pub url: String,
}

impl CameraProcess {
    /// Serves when it returns.
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut child = Command::new(program("rtsp-camera")?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting rtsp-camera")?;
        let orders = child.stdin.take().context("standard input is a pipe")?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let mut camera = Self {
            child,
            orders,
            url: String::new(),
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        camera.url = line
            .trim()
            .strip_prefix("ready ")
            .context("rtsp-camera does not get ready")?
            .to_owned();
        Ok(camera)
    }

    /// Makes it misbehave: a line as `rtsp-camera --help` lists them.
    pub fn order(&mut self, line: &str) -> Result<()> {
        writeln!(self.orders, "{line}").context("rtsp-camera takes no orders any more")
    }
}

impl Drop for CameraProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
