//! The operator's commands, one verb per file. Each prints a few words for people, or JSON with `--json`.
//!
//! Exit codes: 0 done; 1 failed, and standard error says why and what to do; 2 the command line was wrong; 3 the
//! device refused or failed; 4 the device has not answered in time; 5 done, but somebody could not be told of it.

mod account;
mod alert;
mod audit;
mod audit_log;
mod backup;
mod ca;
mod camera;
mod capacity;
mod confirm;
mod contract;
mod deliveries;
mod device;
mod device_files;
mod erase;
mod export;
mod heads;
mod hold;
mod init;
mod key;
mod lookup;
mod mail;
mod notice;
mod operator;
mod restore;
mod serve;
mod site;
mod status;
mod tag;
mod user;
mod verify;

use crate::app::open_store;
use crate::config::{Config, DEFAULT_PATH};
use crate::keys::Keys;
use crate::live::Live;
use crate::store::Actor;
use crate::store::sqlite::SqliteStore;
use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "cloud-receiver",
    version,
    about = "Receives, verifies and stores what devices deliver, and shows it to the customer."
)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// The configuration file.
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up a receiver: folders, keys, certificates, configuration, first operator.
    Init(init::Args),
    /// Run the receiver.
    Serve,
    /// Whether the receiver can do its work, and what needs a hand.
    Status,
    /// Contracts: who owns the data.
    #[command(subcommand)]
    Contract(contract::Verb),
    /// Erasing what contracts had that have ended, and the certificates of it.
    #[command(subcommand)]
    Erase(erase::Verb),
    /// Holds: what must be kept, whatever a contract's period or retention says.
    #[command(subcommand)]
    Hold(hold::Verb),
    /// Sites: places of a contract.
    #[command(subcommand)]
    Site(site::Verb),
    /// Cameras: list, names.
    #[command(subcommand)]
    Camera(camera::Verb),
    /// Tags of sites, cameras and events, by which the portal filters.
    #[command(subcommand)]
    Tag(tag::Verb),
    /// Devices: claim codes, list, revocation, commands.
    #[command(subcommand)]
    Device(device::Verb),
    /// How much is held, of whom, how that grows, and until when there is room.
    Capacity,
    /// What is stored, for whoever adds it up.
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Customers' accounts.
    #[command(subcommand)]
    User(user::Verb),
    /// Accounts of those who run the receiver.
    #[command(subcommand)]
    Operator(operator::Verb),
    /// Write what happened in a time, with its pictures and the proof of it, into one file.
    Export(export::Args),
    /// Check that everything is genuine and complete: of this receiver, or of an export.
    Verify(verify::Args),
    /// Signed statements of what is held, by which it can be shown later that nothing was taken away.
    #[command(subcommand)]
    Heads(heads::Verb),
    /// The receiver's certificate authority: a new one in its place, and how far devices have followed.
    #[command(subcommand)]
    Ca(ca::Verb),
    /// What is wrong with devices and cameras.
    #[command(subcommand)]
    Alert(alert::Verb),
    /// Tell customers of maintenance and incidents.
    #[command(subcommand)]
    Notice(notice::Verb),
    /// Mail that the receiver sends: what waits, what became of it.
    #[command(subcommand)]
    Mail(mail::Verb),
    /// The master key: a new one in its place. The contracts' keys: a copy of them.
    #[command(subcommand)]
    Key(key::Verb),
    /// Write a backup of everything, sealed per contract, while the receiver runs; or look at one.
    Backup(backup::Args),
    /// Bring a backup back into an empty data folder.
    Restore(restore::Args),
}

/// Runs the command line; logs and errors go to standard error.
pub fn run(cli: Cli) -> ExitCode {
    let serving = matches!(cli.command, Command::Serve);
    let outcome = crate::telemetry::init(serving).and_then(|()| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(dispatch(cli))
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let common = &cli.common;
    match cli.command {
        Command::Init(args) => init::run(common, args).await?,
        Command::Serve => serve::run(common).await?,
        Command::Status => return status::run(common).await,
        Command::Capacity => capacity::run(common).await?,
        Command::Contract(verb) => contract::run(common, verb).await?,
        Command::Erase(verb) => return erase::run(common, verb).await,
        Command::Hold(verb) => hold::run(common, verb).await?,
        Command::Site(verb) => site::run(common, verb).await?,
        Command::Camera(verb) => camera::run(common, verb).await?,
        Command::Tag(verb) => tag::run(common, verb).await?,
        Command::Device(verb) => return device::run(common, verb).await,
        Command::Audit(verb) => return audit::run(common, verb).await,
        Command::User(verb) => user::run(common, verb).await?,
        Command::Operator(verb) => operator::run(common, verb).await?,
        Command::Export(args) => export::run(common, args).await?,
        Command::Verify(args) => return Ok(verify::run(common, args).await),
        Command::Heads(verb) => return heads::run(common, verb).await,
        Command::Ca(verb) => ca::run(common, verb).await?,
        Command::Backup(args) => return backup::run(common, args).await,
        Command::Restore(args) => return restore::run(common, args).await,
        Command::Key(verb) => key::run(common, verb).await?,
        Command::Alert(verb) => alert::run(common, verb).await?,
        Command::Notice(verb) => return notice::run(common, verb).await,
        Command::Mail(verb) => mail::run(common, verb).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a command needs of the receiver's set-up.
struct Setup {
    config: Config,
    keys: Keys,
    store: SqliteStore,
}

fn setup(common: &Common) -> anyhow::Result<Setup> {
    let config = Config::load(&common.config)?;
    let keys = Keys::load(&config.keys_at())?;
    let store = open_store(&config, &keys, Live::default())?.by(console());
    Ok(Setup {
        config,
        keys,
        store,
    })
}

/// Whoever typed the command, by the account of the machine; behind `sudo` by the account it was called from.
fn console() -> Actor {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let name = name.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    Actor::Console(name)
}

/// Prints the words, or the value as JSON.
fn report(common: &Common, value: &impl Serialize, words: &str) -> anyhow::Result<()> {
    let text = if common.json {
        serde_json::to_string(value)?
    } else {
        words.to_owned()
    };
    print(|out| writeln!(out, "{text}"))
}

/// Writes on standard output. A reader that has had enough and gone, as `head` does, is no failure: what a command
/// found or did stays so, and its exit code says it.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    still_read(write(&mut out).and_then(|()| out.flush())).map(|_| ())
}

/// Whether somebody still reads what was written; any other failure to write is one.
fn still_read(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("writing on standard output"),
    }
}
