//! The real receiver, set up by its own commands as an operator would.

use crate::process::{Process, free_port, program, run, run_ok};
use crate::wait;
use anyhow::{Context, Result};
use serde_json::Value;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const STOP_GRACE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct Receiver {
    folder: PathBuf,
    config: PathBuf,
    pub portal_port: u16,
    pub device_port: u16,
    pub mqtt_port: u16,
    /// The first operator, as `init` printed it.
    pub operator: Value,
    process: Option<Process>,
}

impl Receiver {
    /// Makes a receiver below `folder` on free ports of the loopback. It does not run yet.
    pub fn init(folder: &Path) -> Result<Self> {
        Self::init_in(folder, None)
    }

    /// The same, whose data must stay in a region.
    pub fn init_in(folder: &Path, region: Option<&str>) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let config = folder.join("cloud-receiver.toml");
        let [portal_port, device_port, mqtt_port] = [free_port()?, free_port()?, free_port()?];
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let listens = [portal_port, device_port, mqtt_port].map(listen);
        let (data, keys) = (folder.join("data"), folder.join("keys"));
        let mut init = vec![
            "init",
            "--json",
            "--config",
            path(&config),
            "--data-dir",
            path(&data),
            "--key-dir",
            path(&keys),
            "--host",
            "localhost",
            "--host",
            "127.0.0.1",
            "--portal-listen",
            &listens[0],
            "--device-listen",
            &listens[1],
            "--mqtt-listen",
            &listens[2],
        ];
        init.extend(region.into_iter().flat_map(|region| ["--region", region]));
        let printed = run_ok("cloud-receiver", init)?;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            portal_port,
            device_port,
            mqtt_port,
            operator: serde_json::from_str(&printed).context("what init printed")?,
            process: None,
        })
    }

    /// One that was made elsewhere and whose folder came here whole, as after a move to another machine: its configuration is
    /// edited as an operator would, and nothing else. `operator` is what its `init` printed.
    pub fn moved_here(folder: &Path, from: &str, operator: Value) -> Result<Self> {
        let config = folder.join("cloud-receiver.toml");
        let text = std::fs::read_to_string(&config)?.replace(from, path(folder));
        let ports = [free_port()?, free_port()?, free_port()?];
        let mut given = ports.iter();
        let edited = text
            .lines()
            .map(|line| match line.split_once("127.0.0.1:") {
                Some((key, _)) if !line.starts_with('#') => {
                    let port = given.next().copied().unwrap_or_default();
                    format!("{key}127.0.0.1:{port}\"")
                }
                _ => line.to_owned(),
            });
        let edited: Vec<_> = edited.collect();
        std::fs::write(&config, edited.join("\n") + "\n")?;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            portal_port: ports[0],
            device_port: ports[1],
            mqtt_port: ports[2],
            operator,
            process: None,
        })
    }

    /// Starts it and waits until all three listeners answer.
    pub fn serve(&mut self) -> Result<()> {
        self.serve_under(&[])
    }

    /// The same with a program before its own command line, such as one that tampers with its system calls.
    pub fn serve_under(&mut self, under: &[String]) -> Result<()> {
        let receiver = program("cloud-receiver")?;
        let mut command = match under.split_first() {
            None => Command::new(receiver),
            Some((runner, rest)) => {
                let mut command = Command::new(runner);
                command.args(rest).arg(receiver);
                command
            }
        };
        command
            .args(["serve", "--config", path(&self.config)])
            .env("RUST_LOG", "info");
        let log = self.folder.join("receiver.log");
        let mut process = Process::start("cloud-receiver", command, &log)?;
        let ports = [self.portal_port, self.device_port, self.mqtt_port];
        wait::until("the receiver's listeners", Duration::from_secs(30), || {
            if process.ended().is_some() {
                return Some(());
            }
            ports
                .iter()
                .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
                .then_some(())
        })?;
        if let Some(status) = process.ended() {
            anyhow::bail!(
                "the receiver ended with {status}:\n{}",
                process.log_tail(30)
            );
        }
        self.process = Some(process);
        Ok(())
    }

    /// Runs one of the operator's commands; standard output must be JSON.
    pub fn command(&self, args: &[&str]) -> Result<Value> {
        let mut all = args.to_vec();
        all.extend(["--json", "--config", path(&self.config)]);
        let printed = run_ok("cloud-receiver", all)?;
        serde_json::from_str(&printed).with_context(|| format!("what {args:?} printed: {printed}"))
    }

    /// Runs a command as a person would, for its words and its exit code.
    pub fn command_raw(&self, args: &[&str]) -> Result<Output> {
        let mut all = args.to_vec();
        all.extend(["--config", path(&self.config)]);
        run("cloud-receiver", all)
    }

    /// A contract with one site and one account whose issued password stays valid.
    pub fn customer(&self, contract: &str, site: &str, login_id: &str) -> Result<Account> {
        self.command(&["contract", "add", "--name", contract])?;
        self.command(&["site", "add", "--contract", contract, "--name", site])?;
        let user = self.command(&[
            "user",
            "add",
            "--contract",
            contract,
            "--login-id",
            login_id,
            "--keep-password",
        ])?;
        Ok(Account {
            login_id: login_id.to_owned(),
            password: text(&user, "password")?,
        })
    }

    /// A fresh claim code for a site.
    pub fn claim(&self, site: &str) -> Result<String> {
        text(&self.command(&["device", "claim", "--site", site])?, "code")
    }

    pub fn portal_url(&self) -> String {
        format!("https://localhost:{}", self.portal_port)
    }

    /// Changes its configuration as an operator does, with an editor.
    pub fn configure(&self, from: &str, to: &str) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        anyhow::ensure!(text.contains(from), "{from:?} is not in the configuration");
        Ok(std::fs::write(&self.config, text.replacen(from, to, 1))?)
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("keys").join("ca.pem")
    }

    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(STOP_GRACE)?;
        }
        Ok(())
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }
}

#[derive(Clone, Debug)]
pub struct Account {
    pub login_id: String,
    pub password: String,
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value.get(key).and_then(Value::as_str);
    Ok(text
        .with_context(|| format!("no {key:?} in {value}"))?
        .to_owned())
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}
