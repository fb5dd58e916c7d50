//! A real ACME authority on the loopback: Debian's pebble, whose certificates last for seconds.

use crate::process::{Process, free_port};
use crate::receiver::path;
use crate::wait;
use anyhow::{Context, Result};
use serde_json::json;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// So many of a hundred good nonces are refused, as a busy authority does.
const REFUSED_NONCES: &str = "15";

#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    port: u16,
    management_port: u16,
    process: Option<Process>,
}

impl Authority {
    /// Makes one that looks for answers at `portal_port`, and whose certificates last for `life`. It does not run yet.
    pub fn new(folder: &Path, portal_port: u16, life: Duration) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key.pem"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let (port, management_port) = (free_port()?, free_port()?);
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management_port}"),
            "certificate": certificate,
            "privateKey": key,
            "httpPort": 1,
            "tlsPort": portal_port,
            "certificateValidityPeriod": life.as_secs(),
        }});
        std::fs::write(folder.join("pebble.json"), config.to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
            port,
            management_port,
            process: None,
        })
    }

    /// Starts it. What it knew before it was stopped it has forgotten, its own keys included.
    pub fn serve(&mut self) -> Result<()> {
        let mut command = Command::new("pebble");
        command
            .args(["-config", path(&self.folder.join("pebble.json"))])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", REFUSED_NONCES);
        let log = self.folder.join("pebble.log");
        self.process = Some(Process::start("pebble", command, &log)?);
        let ports = [self.port, self.management_port];
        wait::until("pebble", Duration::from_secs(15), || {
            let answers = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
            ports.iter().all(answers).then_some(())
        })
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// By which its own server is believed.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// By which its certificates are, PEM.
    pub async fn root(&self) -> Result<Vec<u8>> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pem = std::fs::read(self.ca_file())?;
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&pem)?])
            .build()?;
        let url = format!("https://localhost:{}/roots/0", self.management_port);
        let answer = client.get(url).send().await?.error_for_status()?;
        Ok(answer.bytes().await.context("its root")?.to_vec())
    }

    /// All that it said.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}
