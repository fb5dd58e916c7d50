//! `backup`: everything the receiver has, sealed per contract, into a folder elsewhere; and what such a folder holds.

use super::{Common, report, setup};
use crate::backup::check::Checked;
use crate::backup::make::Made;
use crate::config::Config;
use crate::evidence::local;
use crate::keys::Keys;
use crate::office::backups;
use anyhow::ensure;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use wire::{ContractId, UtcMicros};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The folder of the backup, best on another machine's disk: a new one, or one that this command has written to.
    /// Pictures that are in it already are not copied again.
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// How many backups to keep in it; older ones are deleted when the new one is whole.
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Which backups a folder holds.
    List {
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
    /// Check every hash and every seal, without restoring.
    Verify(Choice),
}

/// Which backup, and what opens it.
#[derive(Debug, clap::Args)]
pub(super) struct Choice {
    /// The folder that "backup --out" wrote to.
    #[arg(long, value_name = "DIR")]
    pub(super) from: PathBuf,
    /// Which of the backups in it, as "backup list" names them; the newest unless said.
    #[arg(long, value_name = "NAME")]
    pub(super) generation: Option<String>,
    /// The key backup: the newest there is. An old copy would open what was erased since. The receiver's own unless said.
    #[arg(long, value_name = "FILE")]
    pub(super) keys: Option<PathBuf>,
    /// A copy of the master key of then, where it was changed since the backup was made.
    #[arg(long, value_name = "FILE")]
    pub(super) old_master: Option<PathBuf>,
}

impl From<Choice> for backups::Choice {
    fn from(choice: Choice) -> Self {
        Self {
            from: choice.from,
            generation: choice.generation,
            keys: choice.keys,
            old_master: choice.old_master,
        }
    }
}

pub(super) async fn run(common: &Common, args: Args) -> anyhow::Result<ExitCode> {
    match (args.verb, args.out) {
        (Some(Verb::List { from }), _) => list(common, &from),
        (Some(Verb::Verify(choice)), _) => verify(common, choice).await,
        (None, Some(out)) => write(common, &out, args.keep as usize).await,
        (None, None) => unreachable!("the command line requires one of them"),
    }
}

async fn write(common: &Common, out: &Path, keep: usize) -> anyhow::Result<ExitCode> {
    let setup = setup(common)?;
    let out = std::path::absolute(out)?;
    ensure!(
        !out.starts_with(&setup.config.data_dir),
        "{} lies inside the data folder, with which it would be lost; choose a folder on another disk",
        out.display()
    );
    let key = Arc::new(setup.keys.evidence);
    let made = backups::take(&setup.store, setup.config.data_dir, key, &out, keep).await?;
    report(common, &made, &made_words(&made, &out))?;
    Ok(ExitCode::SUCCESS)
}

fn made_words(made: &Made, out: &Path) -> String {
    let mut words = format!(
        "Backup {} is in {}: {} contracts, {} rows, {} pictures, of which {} were copied ({} bytes).\n\
         It holds no keys. What else is needed to restore it must be kept elsewhere: the key folder, and the key backup.",
        made.generation,
        out.display(),
        made.contracts,
        made.rows,
        made.objects,
        made.objects_copied,
        made.bytes_copied,
    );
    if made.objects_not_there > 0 {
        words += &format!(
            "\n{} pictures were not there: deleted as agreed meanwhile, or lost; \"verify\" tells which.",
            made.objects_not_there
        );
    }
    if !made.deleted.is_empty() {
        words += &format!(
            "\nDeleted, as older than --keep: {}",
            made.deleted.join(", ")
        );
    }
    words
}

#[derive(Serialize)]
struct Listed {
    generation: String,
    made_at_us: UtcMicros,
    made_at: String,
    receiver_version: String,
    schema_version: i64,
    master_key: String,
    contracts: Vec<ContractId>,
    rows: u64,
    objects: u64,
    bytes: u64,
}

fn list(common: &Common, from: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(&common.config)?;
    let key = Keys::load(&config.keys_at())?.evidence;
    let mut listed = Vec::new();
    for generation in backups::listed(from, &key)? {
        let manifest = generation.manifest;
        let parts = || manifest.contracts.iter().map(|it| &it.part);
        let all = || parts().chain([&manifest.receiver]);
        let lists = manifest.contracts.iter();
        let lists: u64 = lists.map(|it| it.objects.bytes + it.object_bytes).sum();
        listed.push(Listed {
            generation: generation.name,
            made_at_us: manifest.made_at_us,
            made_at: local::utc(manifest.made_at_us),
            rows: all().flat_map(|part| part.rows.values()).sum(),
            bytes: all().map(|part| part.file.bytes).sum::<u64>() + lists,
            objects: manifest.contracts.iter().map(|it| it.object_count).sum(),
            contracts: manifest.contracts.iter().map(|it| it.contract).collect(),
            receiver_version: manifest.receiver_version,
            schema_version: manifest.schema_version,
            master_key: manifest.master_key,
        });
    }
    let line = |it: &Listed| {
        format!(
            "{}  made {}  {} contracts, {} rows, {} pictures, {} bytes",
            it.generation,
            local::time(it.made_at_us),
            it.contracts.len(),
            it.rows,
            it.objects,
            it.bytes
        )
    };
    let words = if listed.is_empty() {
        format!("{} holds no whole backup.", from.display())
    } else {
        listed.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    report(common, &listed, &words)?;
    Ok(ExitCode::SUCCESS)
}

async fn verify(common: &Common, choice: Choice) -> anyhow::Result<ExitCode> {
    let choice = backups::Choice::from(choice);
    let config = Config::load(&common.config)?;
    let checked = backups::verify(&config, &choice).await?;
    // A backup may be checked on a machine that has no receiver yet.
    if crate::app::database(&config).exists() {
        backups::note_checked(&setup(common)?.store, &choice.from, &checked).await?;
    }
    report(common, &checked, &checked_words(&checked))?;
    Ok(ExitCode::from(u8::from(!checked.problems.is_empty())))
}

fn checked_words(checked: &Checked) -> String {
    let mut words = format!(
        "Backup {}, made {}: {} contracts, {} rows, {} pictures open.",
        checked.generation,
        local::time(checked.made_at_us),
        checked.contracts,
        checked.rows,
        checked.objects
    );
    for contract in &checked.erased {
        words += &format!(
            "\nContract {contract} is erased since: its key is gone, and nothing of it opens."
        );
    }
    for problem in &checked.problems {
        words += &format!("\nPROBLEM: {problem}");
    }
    words
}
