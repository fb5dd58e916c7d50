//! What systemd does for the agent's unit, by the same protocol (sd_notify(3), systemd.service(5) `WatchdogSec=`): hears
//! that it is ready, and ends it when the watchdog hears nothing for too long.

use crate::agent::Agent;
use crate::wait;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    watchdog: Duration,
    heard: Arc<Mutex<Heard>>,
}

/// What the agent has said since its start.
#[derive(Debug)]
struct Heard {
    ready: bool,
    last: Instant,
}

impl Keeper {
    /// `watchdog` is what the unit would say in `WatchdogSec=`.
    pub fn new(folder: &Path, watchdog: Duration) -> Result<Self> {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).context("the notify socket")?;
        let heard = Arc::new(Mutex::new(Heard {
            ready: false,
            last: Instant::now(),
        }));
        let listening = Arc::downgrade(&heard);
        socket.set_read_timeout(Some(Duration::from_millis(250)))?;
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Some(heard) = listening.upgrade() {
                let Ok(length) = socket.recv(&mut buffer) else {
                    continue;
                };
                let words = String::from_utf8_lossy(&buffer[..length]);
                let mut heard = heard.lock().expect("only noted");
                heard.ready |= words.contains("READY=1");
                if words.contains("READY=1") || words.contains("WATCHDOG=1") {
                    heard.last = Instant::now();
                }
            }
        });
        Ok(Self {
            path,
            watchdog,
            heard,
        })
    }

    /// Starts the agent as systemd would and waits until it says that it is ready.
    pub fn start(&self, agent: &mut Agent, patience: Duration) -> Result<()> {
        self.heard.lock().expect("only noted").ready = false;
        agent.start_with(|command| self.dress(command))?;
        let ready = wait::until("the agent to be ready", patience, || {
            let ended = agent.process()?.ended();
            (ended.is_some() || self.heard.lock().expect("only noted").ready).then_some(ended)
        });
        let log = agent.process().map(|process| process.log_tail(20));
        match ready.with_context(|| log.clone().unwrap_or_default())? {
            None => Ok(()),
            Some(status) => bail!(
                "the agent ended with {status}:\n{}",
                log.unwrap_or_default()
            ),
        }
    }

    fn dress(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.path);
        command.env("WATCHDOG_USEC", self.watchdog.as_micros().to_string());
    }

    fn silence(&self) -> Duration {
        self.heard.lock().expect("only noted").last.elapsed()
    }

    /// Waits for `condition`, as long as systemd would have no reason to end the agent.
    pub fn keep_until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        wait::until(what, patience, || {
            let silence = self.silence();
            if silence > self.watchdog {
                return Some(Err(anyhow::anyhow!(
                    "systemd would have ended the agent while {what} was awaited: no word for {silence:?}"
                )));
            }
            condition().map(Ok)
        })?
    }

    /// Waits until the watchdog has heard nothing for too long and ends the agent then. Returns how long that took.
    ///
    /// systemd sends SIGABRT first, and SIGKILL to what does not end of it: here it is SIGKILL at once, because strace
    /// loses its way when what it delays is signalled. Whoever traces has to let go before the agent can be buried.
    pub fn end_when_silent(&self, agent: &mut Agent, patience: Duration) -> Result<Duration> {
        let began = Instant::now();
        wait::until("the watchdog to hear nothing", patience, || {
            (self.silence() > self.watchdog).then_some(())
        })?;
        let process = agent.process().context("it runs")?;
        ensure!(process.ended().is_none(), "the agent has ended by itself");
        process.signal(Signal::KILL);
        Ok(began.elapsed())
    }
}
