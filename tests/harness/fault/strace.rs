//! System calls that fail, are late, or at which the program is killed: by `strace -e inject=` (strace(1)).

use anyhow::{Context, Result};
use std::process::Command;

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
    let mut under: Vec<String> = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"]
        .map(str::to_owned)
        .into();
    under.push(format!("-etrace={}", calls.join(",")));
    for one in inject {
        under.push(format!("-einject={one}"));
    }
    under.push("--".into());
    Ok(under)
}
