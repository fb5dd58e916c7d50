//! System calls that fail, are late, or at which the program is killed: by `strace -e inject=` (strace(1)).

use crate::wait;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What stands before a program's command line so that the given calls are tampered with.
///
/// `inject` is as strace takes it, such as `fdatasync:error=EIO:when=3` or `rename:signal=KILL:when=2`.
pub fn inject(inject: &[&str]) -> Result<Vec<String>> {
    Command::new("strace")
        .arg("--version")
        .output()
        .context("CANNOT RUN: strace is not installed")?;
    let calls: Vec<&str> = inject
        .iter()
        .filter_map(|one| one.split(':').next())
        .collect();
    let mut under: Vec<String> = ["strace", "-f", "-qq", "-o", "/dev/null"]
        .map(str::to_owned)
        .into();
    // Quicker, but a signal never arrives that way (strace 6.1).
    if !inject.iter().any(|one| one.contains("signal=")) {
        under.push("--seccomp-bpf".into());
    }
    under.push(format!("-etrace={}", calls.join(",")));
    for one in inject {
        under.push(format!("-einject={one}"));
    }
    under.push("--".into());
    Ok(under)
}

/// Tampering with a thread, or a whole process, that runs already. It ends when this is dropped: then calls are what
/// they were.
/// The same, with a log in which [`has_killed`] finds the blow.
pub fn inject_logged(inject: &[&str], log: &Path) -> Result<Vec<String>> {
    let mut under = self::inject(inject)?;
    let into = under.iter().position(|word| word == "/dev/null");
    under[into.context("strace writes somewhere")?] = log.display().to_string();
    Ok(under)
}

/// Whether an injected signal has struck. strace itself may get stuck over a program of many threads that dies so.
pub fn has_killed(log: &Path) -> bool {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.contains("killed by SIGKILL")
}

#[derive(Debug)]
pub struct Attached(Child);

/// `who` is a process with all its threads, or with `alone` one thread.
pub fn attach(who: u32, alone: bool, inject: &[&str]) -> Result<Attached> {
    let mut under = self::inject(inject)?;
    // No command follows, and a filter cannot be put into what runs already.
    under.retain(|word| word != "--" && word != "--seccomp-bpf" && !(alone && word == "-f"));
    let child = Command::new(&under[0])
        .args(&under[1..])
        .args(["-p", &who.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("attaching strace")?;
    let status = format!("/proc/{who}/status");
    wait::until("strace to be attached", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(&status).ok()?;
        let tracer = text
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        (tracer?.trim() != "0").then_some(())
    })?;
    Ok(Attached(child))
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // Lets go of what it traces before it ends.
            let _ = kill_process(pid, Signal::INT);
        }
        let ended = wait::until("strace to let go", Duration::from_secs(2), || {
            self.0.try_wait().ok().flatten()
        });
        if ended.is_err() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
