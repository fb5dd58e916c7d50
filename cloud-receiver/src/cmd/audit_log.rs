//! `audit list|verify|export`: who did what, and whether the log is whole.

use super::{Common, console, contract, print, report, setup};
use crate::clock::now;
use crate::evidence::audit_file::{self, Wanted};
use crate::evidence::check_export::{heads_files, open_all};
use crate::evidence::local;
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditBook, AuditFilter, AuditRow, Note};
use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::{Sha256, UtcMicros};

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only what was done with one contract's data: name or id.
    #[arg(long)]
    contract: Option<String>,
    /// Only of console, device, operator, system or user; or of an operator, a device, an account of the machine by name.
    #[arg(long)]
    actor: Option<String>,
    /// Only one action, like sign_in.fail, or all that begin so: sign_in.
    #[arg(long)]
    action: Option<String>,
    /// How many entries.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Signed heads that were kept elsewhere, a file or a folder of them: the log must hold what they state.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// Check a file of "audit export" by itself; the receiver is not needed.
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// From when on: 2026-11-22, 2026-11-22T14:30 (local), or with an offset.
    #[arg(long, value_parser = local::parse)]
    from: UtcMicros,
    /// Until when, exclusive.
    #[arg(long, value_parser = local::parse)]
    to: UtcMicros,
    /// Only what was done with one contract's data: name or id.
    #[arg(long)]
    contract: Option<String>,
    /// With the names of the customer's people, which are sealed in the log.
    #[arg(long)]
    names: bool,
    /// The file to write; it must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// An entry with its sealed part opened, where the key is still there.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    row: AuditRow,
    personal: Option<Map<String, Value>>,
}

pub(super) async fn list(common: &Common, args: ListArgs) -> anyhow::Result<ExitCode> {
    let store = setup(common)?.store;
    let contract = match &args.contract {
        Some(wanted) => Some(contract::by_name(&store, wanted).await?.id),
        None => None,
    };
    let filter = AuditFilter {
        contract,
        actor: args.actor,
        action: args.action,
    };
    let mut shown = Vec::new();
    for row in store.audit_newest(&filter, None, args.limit).await? {
        let personal = store.audit_personal(&row).await?;
        shown.push(Shown { row, personal });
    }
    if common.json {
        report(common, &shown, "")?;
        return Ok(ExitCode::SUCCESS);
    }
    print(|out| {
        shown
            .iter()
            .try_for_each(|entry| writeln!(out, "{}", line(entry)))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &Shown) -> String {
    let row = &entry.row;
    let word = |key: &str| entry.personal.as_ref()?.get(key)?.as_str();
    let who = row.actor_name.as_deref().or_else(|| word("user"));
    let who = who.map_or(String::new(), |name| format!(" {name}"));
    let subject = row.subject.as_deref().or_else(|| word("login_id"));
    let mut text = format!(
        "{:>8}  {}  {}{who}  {}  {}",
        row.no,
        local::time(row.at_us),
        row.actor,
        row.action,
        subject.unwrap_or_default()
    );
    if row.detail != "{}" {
        text += &format!("  {}", row.detail);
    }
    text.trim_end().to_owned()
}

#[derive(Serialize)]
struct Verified {
    entries: u64,
    head: Sha256,
    /// Numbers of entries that heads kept outside state, and that are there as they state them.
    against: Vec<u64>,
    problems: Vec<String>,
}

pub(super) async fn verify(common: &Common, args: VerifyArgs) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.file {
        return verify_file(common, path);
    }
    let setup = setup(common)?;
    let chain = setup.store.audit_chain().await?;
    let mut found = Verified {
        entries: chain.entries,
        head: chain.head,
        against: Vec::new(),
        problems: Vec::new(),
    };
    if let Some(broken) = chain.broken {
        found.problems.push(format!(
            "{}; from there on nothing is proven",
            broken.problem
        ));
    }
    if let Some(path) = &args.against {
        let key = setup.keys.evidence.verifying_key();
        compare(&setup.store, path, &key, &mut found).await?;
    }
    let mut words = format!("{} entries, head {}", found.entries, found.head);
    for no in &found.against {
        words += &format!("\nentry {no} is there as heads kept outside state it");
    }
    if args.against.is_none() {
        words += "\nWhoever can change this database can write a log anew. Compare with heads that were sent out: --against PATH.";
    }
    for problem in &found.problems {
        words += &format!("\nPROBLEM: {problem}");
    }
    report(common, &found, &words)?;
    Ok(ExitCode::from(u8::from(!found.problems.is_empty())))
}

async fn compare(
    store: &SqliteStore,
    path: &Path,
    key: &wire::VerifyingKey,
    found: &mut Verified,
) -> anyhow::Result<()> {
    let files = heads_files(path)?;
    let (heads, findings) = open_all(&files, key);
    found
        .problems
        .extend(findings.iter().map(ToString::to_string));
    let stated: Vec<_> = heads
        .iter()
        .filter_map(|heads| Some((heads.number(), heads.statement.audit?)))
        .collect();
    anyhow::ensure!(
        !stated.is_empty(),
        "the heads in {} say nothing of the audit log: they are of an older version",
        path.display()
    );
    for (number, audit) in stated {
        let no = audit.no;
        match store.audit_hash(no).await? {
            Some(hash) if hash == audit.hash => found.against.push(no),
            Some(_) => found.problems.push(format!(
                "entry {no} is another one than heads no. {number} state: the log was written anew"
            )),
            None => found.problems.push(format!(
                "entry {no}, which heads no. {number} state, is gone: the log was cut off"
            )),
        }
    }
    Ok(())
}

fn verify_file(common: &Common, path: &Path) -> anyhow::Result<ExitCode> {
    let file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let held = audit_file::check(BufReader::new(file))
        .with_context(|| format!("{} is not as it was written", path.display()))?;
    let words = format!(
        "{}: {} entries, unchanged and complete up to entry {} of the log, if {} is the receiver's key: compare it with what \
         \"heads key\" printed.",
        path.display(),
        held.entries,
        held.head.no,
        held.receiver_key
    );
    report(common, &held, &words)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn export(common: &Common, args: ExportArgs) -> anyhow::Result<ExitCode> {
    let setup = setup(common)?;
    let contract = match &args.contract {
        Some(wanted) => Some(contract::by_name(&setup.store, wanted).await?.id),
        None => None,
    };
    let wanted = Wanted {
        from_us: args.from,
        to_us: args.to,
        contract,
    };
    let out = args.out.display();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.out)
        .with_context(|| format!("creating {out}"))?;
    let mut note = Note::new("audit.export")
        .with("from_us", args.from.0)
        .with("to_us", args.to.0)
        .with("names", args.names);
    note.contract = contract;
    setup.store.note(console(), note, now()).await?;
    let (key, writer) = (&setup.keys.evidence, BufWriter::new(&file));
    let held = audit_file::write(&setup.store, key, wanted, args.names, now(), writer).await?;
    file.sync_all().with_context(|| format!("writing {out}"))?;
    let words = format!(
        "{out}: {} entries, up to entry {} of the log. Check it anywhere with:  cloud-receiver audit verify --file {out}",
        held.entries, held.head.no
    );
    report(common, &held, &words)?;
    Ok(ExitCode::SUCCESS)
}
