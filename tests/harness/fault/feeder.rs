//! The feeder as a child process: what it has said so far, orders to it, and how it can be killed.

use super::feeding::Feed;
use super::{Order, Said};
use crate::process::program;
use crate::wait;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// How the feeder is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub spool_dir: Option<PathBuf>,
    pub quota_bytes: Option<u64>,
    pub min_free_bytes: Option<u64>,
    pub no_uplink: bool,
    pub no_mqtt: bool,
    pub seed: u64,
    /// What runs it: `strace ...`, `ip netns exec box`, `prlimit ...`; the feeder's own command line follows.
    pub under: Vec<String>,
    pub environment: Vec<(String, String)>,
}

/// What all feeders of one box have said, over all their starts: the oracle's evidence.
pub type Journal = Arc<Mutex<Vec<Said>>>;

#[derive(Debug)]
pub struct Feeder {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Since this start.
    heard: Journal,
    reader: Option<JoinHandle<()>>,
    log: PathBuf,
    orders: u64,
}

impl Feeder {
    /// Starts it on an enrolled data folder; returns once the spool is open.
    pub fn start(
        data_dir: &Path,
        log: &Path,
        options: &Options,
        journal: &Journal,
    ) -> Result<Self> {
        let mut feeder = Self::spawn(data_dir, log, options, journal)?;
        feeder.opened(START)?;
        Ok(feeder)
    }

    /// Starts it and waits for nothing.
    pub fn spawn(
        data_dir: &Path,
        log: &Path,
        options: &Options,
        journal: &Journal,
    ) -> Result<Self> {
        let mut command = command(data_dir, options)?;
        let stderr = File::options().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .context("starting the feeder")?;
        let stdout = child.stdout.take().context("standard output")?;
        let heard = Journal::default();
        let (ours, all) = (heard.clone(), journal.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A feeder that is killed leaves whole lines: each is one write.
                let said: Said =
                    serde_json::from_str(&line).expect("the feeder says what Said says");
                ours.lock().expect("only pushed").push(said.clone());
                if !matches!(said, Said::Figures { .. }) {
                    all.lock().expect("only pushed").push(said);
                }
            }
        });
        Ok(Self {
            stdin: child.stdin.take(),
            child,
            heard,
            reader: Some(reader),
            log: log.to_owned(),
            orders: 0,
        })
    }

    /// Waits until the spool is open; returns how long opening took.
    pub fn opened(&mut self, patience: Duration) -> Result<Duration> {
        let ms = self.await_said("the feeder's spool to open", patience, |said| match said {
            Said::Started { opening_ms, .. } => Some(*opening_ms),
            _ => None,
        })?;
        Ok(Duration::from_millis(ms))
    }

    /// Asks for events; returns the order's number for [`Feeder::done`].
    pub fn put(&mut self, feed: Feed) -> Result<u64> {
        self.orders += 1;
        let order = self.orders;
        self.order(&Order::Put(Feed { order, ..feed }))?;
        Ok(order)
    }

    /// Waits until everything of an order was offered to the spool; returns how many records it accepted.
    pub fn done(&mut self, wanted: u64, patience: Duration) -> Result<u64> {
        self.await_said("the end of feeding", patience, |said| match said {
            Said::Done { order, kept } if *order == wanted => Some(*kept),
            _ => None,
        })
    }

    /// Puts, and waits until the spool has accepted.
    pub fn put_all(&mut self, feed: Feed, patience: Duration) -> Result<u64> {
        let order = self.put(feed)?;
        self.done(order, patience)
    }

    pub fn order(&mut self, order: &Order) -> Result<()> {
        let stdin = self
            .stdin
            .as_mut()
            .context("the feeder takes no orders any more")?;
        writeln!(stdin, "{}", serde_json::to_string(order)?).context("ordering the feeder")
    }

    /// Waits until it has said something; looks at everything since its start.
    pub fn await_said<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut is_it: impl FnMut(&Said) -> Option<T>,
    ) -> Result<T> {
        let mut seen = 0;
        let found = wait::until(what, patience, || {
            let ended = self.ended().is_some();
            {
                let heard = self.heard.lock().expect("only pushed");
                for said in &heard[seen..] {
                    if let Some(found) = is_it(said) {
                        return Some(Ok(found));
                    }
                }
                seen = heard.len();
            }
            ended.then(|| Err(anyhow::anyhow!("the feeder ended while {what} was awaited")))
        });
        found
            .and_then(|found| found)
            .with_context(|| format!("the feeder's log ends with:\n{}", self.log_tail(15)))
    }

    /// The latest figures it told.
    pub fn figures(&self) -> Option<Said> {
        let heard = self.heard.lock().expect("only pushed");
        let is_figures = |said: &&Said| matches!(said, Said::Figures { .. });
        heard.iter().rev().find(is_figures).cloned()
    }

    /// Waits for figures that were read after this call and that `is_it`. Older ones, of the same state at another
    /// time or still on their way, tell nothing of now.
    pub fn await_figures(
        &mut self,
        what: &str,
        patience: Duration,
        mut is_it: impl FnMut(&Said) -> bool,
    ) -> Result<()> {
        let mut seen = self.heard.lock().expect("only pushed").len();
        let mut told = 0;
        wait::until(what, patience, || {
            if let Some(status) = self.ended() {
                return Some(Err(anyhow::anyhow!("the feeder ended with {status}")));
            }
            let heard = self.heard.lock().expect("only pushed");
            let fresh = heard[seen..].iter();
            seen = heard.len();
            for said in fresh.filter(|said| matches!(said, Said::Figures { .. })) {
                told += 1;
                // The first may have been read before this call.
                if told > 1 && is_it(said) {
                    return Some(Ok(()));
                }
            }
            None
        })
        .and_then(|found| found)
        .with_context(|| {
            format!(
                "its last figures: {:?}; its log ends with:\n{}",
                self.figures(),
                self.log_tail(15)
            )
        })
    }

    /// Waits until nothing is pending in its spool.
    pub fn drained(&mut self, patience: Duration) -> Result<()> {
        self.await_figures("an empty spool", patience, |said| {
            matches!(
                said,
                Said::Figures {
                    pending_records: 0,
                    pending_blobs: 0,
                    ..
                }
            )
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// kill -9 of it and of whatever runs it; everything it had said by then is heard.
    pub fn kill(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        self.hear_out();
    }

    /// In the agent's order: what can be delivered is, then the spool closes.
    pub fn stop(mut self) -> Result<()> {
        self.order(&Order::Stop)?;
        let ended = wait::until("the feeder's end", STOP, || self.ended());
        if ended.is_err() {
            self.kill();
        }
        let status = ended.with_context(|| self.log_tail(15))?;
        self.hear_out();
        if !status.success() {
            bail!("the feeder ended with {status}:\n{}", self.log_tail(15));
        }
        Ok(())
    }

    /// Waits for its end by itself.
    pub fn await_end(&mut self, patience: Duration) -> Result<ExitStatus> {
        let status = wait::until("the feeder's end", patience, || self.ended())?;
        self.hear_out();
        Ok(status)
    }

    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn hear_out(&mut self) {
        self.stdin = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

fn command(data_dir: &Path, options: &Options) -> Result<Command> {
    let feeder = program("feeder")?;
    let mut command = match options.under.split_first() {
        None => Command::new(feeder),
        Some((runner, rest)) => {
            let mut command = Command::new(runner);
            command.args(rest).arg(feeder);
            command
        }
    };
    command.arg("--data-dir").arg(data_dir);
    command.args(["--seed", &options.seed.to_string()]);
    if let Some(dir) = &options.spool_dir {
        command.arg("--spool-dir").arg(dir);
    }
    if let Some(bytes) = options.quota_bytes {
        command.args(["--quota-bytes", &bytes.to_string()]);
    }
    if let Some(bytes) = options.min_free_bytes {
        command.args(["--min-free-bytes", &bytes.to_string()]);
    }
    if options.no_uplink {
        command.arg("--no-uplink");
    }
    if options.no_mqtt {
        command.arg("--no-mqtt");
    }
    command.envs(
        options
            .environment
            .iter()
            .map(|(name, value)| (name, value)),
    );
    Ok(command)
}
