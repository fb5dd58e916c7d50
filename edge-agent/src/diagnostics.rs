//! What helps to find out what is wrong with a box, for somebody who is not there: the recent log and the support bundle.
//!
//! Nothing that leaves through here holds a secret: see [`scrub`]. Nothing here changes anything.

mod asked;
mod bundle;
mod machine;
pub mod scrub;

pub use bundle::{Bundle, CONTENT_TYPE as BUNDLE_TYPE};

use crate::config::Config;
use crate::control;
use crate::telemetry::{self, RecentLog};
use asked::ask;
use scrub::Secrets;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wire::UtcMicros;

pub const LOG_TYPE: &str = "text/plain; charset=utf-8";
/// For the journal of before this start.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(15);
/// Lines of it at most: it is there for what led to this start.
const JOURNAL_LINES: usize = 5_000;
/// The unit as it is installed.
const UNIT: &str = "edge-agent.service";

/// Where the log of the running agent is had from.
#[derive(Clone, Debug)]
enum Log {
    /// This process is the agent, and started then.
    Own { recent: RecentLog, since: UtcMicros },
    /// It listens on this socket, if it runs.
    Asked(PathBuf),
}

/// Knows where everything is, and what must not leave.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    config: Arc<Config>,
    config_file: PathBuf,
    secrets: Arc<Secrets>,
    log: Log,
}

/// The newest lines of the log, without secrets; never empty, because its first line says whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogText {
    pub text: String,
    /// Lines of the log in it.
    pub lines: usize,
}

impl Diagnostics {
    /// In the running agent, which started at `since`.
    pub fn of_agent(
        config: &Config,
        config_file: &Path,
        recent: RecentLog,
        since: UtcMicros,
    ) -> Self {
        Self::new(config, config_file, Log::Own { recent, since })
    }

    /// In a command beside it, or where no agent runs.
    pub fn beside(config: &Config, config_file: &Path) -> Self {
        let socket = config.device.control_socket();
        Self::new(config, config_file, Log::Asked(socket))
    }

    fn new(config: &Config, config_file: &Path, log: Log) -> Self {
        Self {
            config: Arc::new(config.clone()),
            config_file: config_file.to_owned(),
            secrets: Arc::new(Secrets::of(config)),
            log,
        }
    }

    /// What the running agent logged last: what the control socket answers.
    pub fn recent(&self) -> String {
        match &self.log {
            Log::Own { recent, .. } => self.secrets.scrub(&recent.newest(usize::MAX, None).text),
            Log::Asked(_) => String::new(),
        }
    }

    /// At most so many lines, none older than `since`. Where this start of the agent has said less, what the journal holds of
    /// before it comes first.
    pub async fn log(
        &self,
        at_most: usize,
        since: Option<UtcMicros>,
        at: UtcMicros,
    ) -> Result<LogText, String> {
        let (text, lines) = match &self.log {
            Log::Own {
                recent,
                since: started,
            } => {
                let own = recent.newest(at_most, since);
                let wanted = at_most - own.lines;
                let is_all = own.gone == 0 && since.is_none_or(|since| since < *started);
                let before = if wanted > 0 && is_all && telemetry::stderr_is_the_journal() {
                    before_start(wanted, since, *started).await
                } else {
                    String::new()
                };
                let gone = match own.gone {
                    0 => String::new(),
                    gone => format!("({gone} older lines are no longer kept)\n"),
                };
                let lines = own.lines + before.lines().count();
                (gone + &before + &own.text, lines)
            }
            Log::Asked(socket) => {
                let said = match control::ask_log(socket).await {
                    Ok(said) => said,
                    // Why an agent ended stands in the journal, if anywhere.
                    Err(error) => {
                        let journal = journal(UNIT, at_most, since, None).await;
                        journal.map_err(|why| format!("{error}; and the journal: {why}"))?
                    }
                };
                let lines = said.lines().count();
                (said, lines)
            }
        };
        let head = format!(
            "# edge-agent {}, {lines} lines, {}\n",
            env!("CARGO_PKG_VERSION"),
            jiff::Timestamp::from_microsecond(at.0)
                .map_or_else(|_| "?".into(), |at| at.to_string())
        );
        Ok(LogText {
            text: head + &self.secrets.scrub(&text),
            lines,
        })
    }

    /// Takes half a minute at most.
    pub async fn bundle(&self, at: UtcMicros) -> io::Result<Bundle> {
        bundle::make(self, at).await
    }
}

/// What this unit said before this start; a line that says why not, where the journal does not tell.
async fn before_start(lines: usize, since: Option<UtcMicros>, started: UtcMicros) -> String {
    let unit = own_unit().unwrap_or_else(|| UNIT.to_owned());
    journal(&unit, lines, since, Some(started))
        .await
        .unwrap_or_else(|why| format!("(what was logged before this start: {why})\n"))
}

async fn journal(
    unit: &str,
    lines: usize,
    since: Option<UtcMicros>,
    until: Option<UtcMicros>,
) -> Result<String, String> {
    let seconds = |at: UtcMicros| format!("@{}", at.0.div_euclid(1_000_000));
    let mut args = vec![
        format!("--unit={unit}"),
        format!("--lines={}", lines.min(JOURNAL_LINES)),
        "--no-pager".into(),
        "--quiet".into(),
        "--output=short-iso-precise".into(),
    ];
    args.extend(since.map(|at| format!("--since={}", seconds(at))));
    args.extend(until.map(|at| format!("--until={}", seconds(at))));
    ask("journalctl", args, JOURNAL_PATIENCE).await
}

/// The service that systemd runs this process as.
fn own_unit() -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let unit = groups.lines().next_back()?.rsplit('/').next()?;
    unit.ends_with(".service").then(|| unit.to_owned())
}

#[cfg(test)]
mod tests;
