//! The verbs of the command line, one a file: its arguments and what it does.

pub mod camera;
pub mod check;
pub mod enroll;
pub mod model;
pub mod replay;
pub mod run;
pub mod spool;
pub mod status;
pub mod support_bundle;
pub mod table;

use crate::config::ConfigError;
use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

/// Shown below `--help`.
pub const EXIT_CODES: &str = "Exit codes:
  0   done; for `check` and `spool audit`: all is well
  1   failed; for `check`: something has to be put right; for `spool audit`: it does not add up
  2   the command line cannot be understood
  78  the configuration file has mistakes; each is printed with line and remedy";

/// `EX_CONFIG` of sysexits.h: systemd is told not to start again on it.
pub const CONFIG_EXIT_CODE: u8 = 78;

/// Says on standard error what went wrong, with its causes.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(mistakes) = error.downcast_ref::<ConfigError>() {
        eprintln!("{mistakes}");
        return ExitCode::from(CONFIG_EXIT_CODE);
    }
    eprintln!("edge-agent: {}", crate::error::in_words(error));
    ExitCode::FAILURE
}

/// Prints on standard output. A reader that has gone away, as `head` does, is no failure.
pub(crate) fn say(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("edge-agent: standard output cannot be written: {error}");
    }
}

/// A runtime for commands that wait for the network.
pub(crate) fn block_on<F: Future>(future: F) -> anyhow::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let output = runtime.block_on(future);
    // A name look-up that hangs must not hold up the exit.
    runtime.shutdown_background();
    Ok(output)
}
