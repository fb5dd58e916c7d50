//! `edge-agent enroll`: binds this box to a contract with the installer's claim code.

use crate::config;
use crate::control;
use crate::enroll::{Claim, enroll};
use crate::identity::Identity;
use crate::uplink::address_in_words;
use anyhow::{Context, bail};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest text taken for a claim code; a real one has 65 symbols.
const MAX_CODE_BYTES: u64 = 4096;

/// Bind this box to a contract with a claim code.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The receiver's portal: https://host:port
    #[arg(long)]
    url: String,
    /// The claim code. It then stands in the shell's history; --code-file or standard input do not.
    #[arg(long, conflicts_with = "code_file")]
    code: Option<String>,
    /// A file that holds the claim code. Without it and --code, standard input is read.
    #[arg(long, value_name = "PATH")]
    code_file: Option<PathBuf>,
    /// Even if this box is enrolled already. What waits for delivery is kept if the contract is the same, and destroyed
    /// if it is another.
    #[arg(long)]
    again: bool,
}

pub fn run(args: &Args, config_file: &Path) -> anyhow::Result<ExitCode> {
    let config = config::load(config_file)?;
    let data_dir = &config.device.data_dir;
    let code = code(args)?;
    let claim = Claim {
        url: &args.url,
        code: &code,
        again: args.again,
    };
    let enrollment = super::block_on(enroll(data_dir, &claim))??;
    let device = Identity::load(data_dir)?.map(|identity| identity.device_id);
    super::say(format_args!(
        "enrolled: device {} belongs to {} / {}\nrecords go to {}, pictures to {}\n",
        device.map(|device| device.to_string()).unwrap_or_default(),
        enrollment.contract_name,
        enrollment.site_name,
        address_in_words(&enrollment.mqtt_host, enrollment.mqtt_port),
        enrollment.device_url
    ));
    let is_running = control::is_answered(&config.device.control_socket());
    super::say(format_args!(
        "{}\n",
        if is_running {
            "the running agent begins to deliver within seconds: see `edge-agent status`"
        } else {
            "now start the agent: systemctl enable --now edge-agent"
        }
    ));
    Ok(ExitCode::SUCCESS)
}

fn code(args: &Args) -> anyhow::Result<String> {
    if let Some(code) = &args.code {
        return Ok(code.clone());
    }
    let mut text = String::new();
    if let Some(path) = &args.code_file {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_CODE_BYTES).read_to_string(&mut text))
            .with_context(|| format!("cannot read the claim code from {}", path.display()))?;
    } else {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            eprint!("claim code: ");
            stdin.read_line(&mut text)?;
        } else {
            stdin.take(MAX_CODE_BYTES).read_to_string(&mut text)?;
        }
    }
    if text.trim().is_empty() {
        bail!("no claim code was given; use --code-file, --code or standard input");
    }
    Ok(text)
}
