//! The command line of the agent: parse, install logging, dispatch, exit code.

use clap::{Parser, Subcommand};
use edge_agent::telemetry::{self, Talk};
use edge_agent::{cmd, heap};
use std::path::PathBuf;
use std::process::ExitCode;

/// Watches cameras, finds people and vehicles, keeps events safe and delivers them.
#[derive(Debug, Parser)]
#[command(version, after_help = cmd::EXIT_CODES)]
struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "/etc/edge-agent/edge-agent.toml"
    )]
    config: PathBuf,
    /// What to log: error, warn, info, debug, trace, or target=level pairs. Also EDGE_AGENT_LOG.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(cmd::run::Args),
    Check(cmd::check::Args),
    Enroll(cmd::enroll::Args),
    Status(cmd::status::Args),
    Spool(cmd::spool::Args),
    Camera(cmd::camera::Args),
    Replay(cmd::replay::Args),
    Model(cmd::model::Args),
    SupportBundle(cmd::support_bundle::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let talk = match cli.verb {
        Verb::Run(_) => {
            heap::tune();
            Talk::Service
        }
        _ => Talk::Command,
    };
    let outcome = telemetry::init(cli.log.as_deref(), talk).and_then(|recent| match cli.verb {
        Verb::Run(args) => cmd::run::run(&args, &cli.config, recent),
        Verb::Check(args) => cmd::check::run(&args, &cli.config),
        Verb::Enroll(args) => cmd::enroll::run(&args, &cli.config),
        Verb::Status(args) => cmd::status::run(&args, &cli.config),
        Verb::Spool(args) => cmd::spool::run(&args, &cli.config),
        Verb::Camera(args) => cmd::camera::run(&args, &cli.config),
        Verb::Replay(args) => cmd::replay::run(&args, &cli.config),
        Verb::Model(args) => cmd::model::run(&args, &cli.config),
        Verb::SupportBundle(args) => cmd::support_bundle::run(&args, &cli.config),
    });
    outcome.unwrap_or_else(|error| cmd::fail(&error))
}
