//! `edge-agent support-bundle`: one file for whoever looks for a fault, for when the receiver cannot ask for it. The same as
//! the receiver gets.

use crate::clock::{Clocks, RealClocks};
use crate::config;
use crate::diagnostics::Diagnostics;
use anyhow::Context;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write log, status and facts of this box, without its secrets, into one file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write, a tar.gz; it must not exist yet. By default named after the time, in this folder.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub fn run(args: &Args, config_file: &Path) -> anyhow::Result<ExitCode> {
    let config = config::load(config_file)?;
    let at = RealClocks::new().utc();
    let to = args.to.clone().unwrap_or_else(|| {
        let name = jiff::Timestamp::from_microsecond(at.0).map_or_else(
            |_| at.0.to_string(),
            |at| at.strftime("%Y%m%d-%H%M%SZ").to_string(),
        );
        PathBuf::from(format!("edge-agent-support-{name}.tar.gz"))
    });
    // Before the work: nobody waits half a minute to hear that there is no place for it.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&to)
        .with_context(|| {
            format!(
                "{} cannot be made; name another with --to FILE",
                to.display()
            )
        })?;
    let made = super::block_on(Diagnostics::beside(&config, config_file).bundle(at));
    let made = made.and_then(|bundle| {
        let bundle = bundle?;
        file.write_all(&bundle.bytes)?;
        file.sync_all()?;
        Ok(bundle)
    });
    let bundle = made.inspect_err(|_| {
        // Half a bundle is worse than none.
        let _ = std::fs::remove_file(&to);
    })?;
    let mut words = format!("{}, {} kB\n", to.display(), bundle.bytes.len() / 1000);
    for why in &bundle.missing {
        let _ = writeln!(words, "! not in it: {why}");
    }
    words.push_str("It names cameras, the contract and addresses of the network; it holds no picture and no password.\n");
    super::say(words);
    Ok(ExitCode::SUCCESS)
}
