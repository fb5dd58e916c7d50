//! The programs that take part: cameras, the agent as an installer starts it, and the bare pipelines it is held
//! against. Each is a process of its own, so that one's cost is not taken for another's; all end when dropped.

use crate::usage;
use anyhow::{Context, Result, bail};
use edge_agent::control;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where cargo put the agent; the camera of package `e2e` lies beside it.
const AGENT: &str = env!("CARGO_BIN_EXE_edge-agent");

/// A child that dies with its handle.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Several cameras on one port, all playing one clip in a loop, each at its own place in it.
pub struct Cameras {
    _process: Owned,
    pub urls: Vec<String>,
}

impl Cameras {
    pub fn start(clip: &Path, cameras: usize) -> Result<Self> {
        let program = Path::new(AGENT).with_file_name("rtsp-camera");
        let mut child = Command::new(&program)
            .args(["--as-encoded", "--cameras", &cameras.to_string(), "--file"])
            .arg(clip)
            // It plays until it is ended; at the end of its input it plays on.
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "{} does not start; `make bench-cameras` builds it",
                    program.display()
                )
            })?;
        let output = child.stdout.take().context("its output is a pipe")?;
        let process = Owned(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let first = line
            .trim()
            .strip_prefix("ready ")
            .context("rtsp-camera does not get ready")?;
        let urls = (1..=cameras)
            .map(|number| match number {
                1 => first.to_owned(),
                _ => format!("{first}{number}"),
            })
            .collect();
        Ok(Self {
            _process: process,
            urls,
        })
    }
}

/// What the agent is to be like.
#[derive(Clone, Debug)]
pub struct Setup {
    pub model: PathBuf,
    pub onnxruntime: PathBuf,
    pub looks_per_second: f32,
    /// `auto` or `off`.
    pub gate: &'static str,
    /// Runs on these cores alone, as `taskset` names them.
    pub cores: Option<String>,
}

pub struct Agent {
    process: Owned,
    socket: PathBuf,
    folder: tempfile::TempDir,
}

impl Agent {
    /// Starts the agent on cameras of its own, without a receiver and without clock servers.
    pub fn start(setup: &Setup, urls: &[String]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("edge-agent.toml");
        std::fs::write(&config, configuration(setup, folder.path(), urls)?)?;
        let log = std::fs::File::create(folder.path().join("agent.log"))?;
        let mut command = match &setup.cores {
            None => Command::new(AGENT),
            Some(cores) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", cores, AGENT]);
                command
            }
        };
        let child = command
            .args(["run", "--log", "warn", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the agent does not start")?;
        Ok(Self {
            process: Owned(child),
            socket: folder.path().join("control.sock"),
            folder,
        })
    }

    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub fn cpu_seconds(&self) -> Result<f64> {
        usage::cpu_seconds(self.id())
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What `edge-agent status --json` prints.
    pub fn status(&self) -> Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let report = runtime.block_on(control::ask_status(&self.socket))?;
        Ok(serde_json::to_value(report)?)
    }

    /// Waits until every camera was looked at.
    pub fn wait_looking(&mut self, at_most: Duration) -> Result<()> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(status) = self.process.0.try_wait()? {
                bail!("the agent ended with {status}:\n{}", self.log_tail());
            }
            if let Ok(status) = self.status()
                && cameras(&status).all(|camera| number(camera, "frames_analysed") > 0.0)
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "not every camera is looked at after {at_most:?}:\n{}",
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Stops it as systemd does; what it wrote stays until this is dropped.
    pub fn stop(&mut self) -> Result<()> {
        let id = rustix::process::Pid::from_child(&self.process.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let status = self.process.0.wait()?;
        if !status.success() {
            bail!("the agent ended with {status}:\n{}", self.log_tail());
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

fn configuration(setup: &Setup, folder: &Path, urls: &[String]) -> Result<String> {
    let mut toml = format!(
        "[device]\ndata_dir = {:?}\ncontrol_socket = {:?}\n\n[model]\ndir = {:?}\nruntime_library = {:?}\n\n\
         [analysis]\nframes_per_second = {:?}\ngate = {:?}\n\n\
         [uplink]\nenabled = false\n\n[clock]\nservers = []\n",
        folder.join("data"),
        folder.join("control.sock"),
        setup.model,
        setup.onnxruntime,
        setup.looks_per_second,
        setup.gate,
    );
    for (index, url) in urls.iter().enumerate() {
        // Ids that are the same in every run, so that two agents name one camera alike.
        let id = uuid::Uuid::from_u128(0x4000_0000_0000 + index as u128);
        write!(
            toml,
            "\n[[camera]]\nid = \"{id}\"\nname = \"camera {}\"\nurl = {url:?}\nperiodic_picture_seconds = 60\n",
            index + 1
        )?;
    }
    Ok(toml)
}

pub fn cameras(status: &Value) -> impl Iterator<Item = &Value> {
    status["cameras"].as_array().into_iter().flatten()
}

/// A counter of a camera; 0 where the agent does not tell it.
pub fn number(camera: &Value, name: &str) -> f64 {
    camera[name].as_f64().unwrap_or_default()
}

/// The sum of a counter over all cameras.
pub fn total(status: &Value, name: &str) -> f64 {
    cameras(status).map(|camera| number(camera, name)).sum()
}

/// How much of a stream is decoded at the least, by nothing but GStreamer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Receive,
    KeyFrames,
    Everything,
}

impl Limit {
    pub const ALL: [Limit; 3] = [Limit::Receive, Limit::KeyFrames, Limit::Everything];

    pub fn name(self) -> &'static str {
        match self {
            Limit::Receive => "receive",
            Limit::KeyFrames => "key-frames",
            Limit::Everything => "everything",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }

    pub fn pipeline(self, url: &str) -> String {
        let receive =
            format!("rtspsrc location={url} protocols=tcp latency=0 ! rtph264depay ! h264parse");
        let decode = "avdec_h264 max-threads=1";
        match self {
            Limit::Receive => format!("{receive} ! fakesink sync=false"),
            Limit::KeyFrames => {
                format!(
                    "{receive} ! identity drop-buffer-flags=delta-unit ! {decode} ! fakesink sync=false"
                )
            }
            Limit::Everything => format!("{receive} ! {decode} ! fakesink sync=false"),
        }
    }
}

/// This program again, as nothing but pipelines.
pub struct Pipelines(Owned);

impl Pipelines {
    pub fn start(limit: Limit, urls: &[String]) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(["--as-limit", limit.name()])
            .args(urls)
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self(Owned(child)))
    }

    pub fn cpu_seconds(&mut self) -> Result<f64> {
        if let Some(status) = self.0.0.try_wait()? {
            bail!("a bare pipeline ended with {status}");
        }
        usage::cpu_seconds(self.0.0.id())
    }
}

/// What [`Pipelines`] runs; returns only when something goes wrong.
pub fn run_as_limit(limit: Limit, urls: &[String]) -> Result<()> {
    use gstreamer as gst;
    use gstreamer::prelude::*;
    gst::init()?;
    let (sender, errors) = std::sync::mpsc::channel();
    let mut running = Vec::new();
    for url in urls {
        let pipeline = gst::parse::launch(&limit.pipeline(url))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| anyhow::anyhow!("several elements make a pipeline"))?;
        let sender = sender.clone();
        let bus = pipeline.bus().context("every pipeline has a bus")?;
        bus.set_sync_handler(move |_, message| {
            if let gst::MessageView::Error(error) = message.view() {
                let _ = sender.send(error.error().to_string());
            }
            gst::BusSyncReply::Drop
        });
        pipeline.set_state(gst::State::Playing)?;
        running.push(pipeline);
    }
    let error = errors.recv()?;
    for pipeline in running {
        let _ = pipeline.set_state(gst::State::Null);
    }
    bail!("{error}")
}
