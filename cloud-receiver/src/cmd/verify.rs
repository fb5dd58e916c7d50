//! `verify`: is everything genuine and complete? Of what this receiver holds, or, with `--export`, of a file, for
//! which nothing else is needed.
//!
//! Exit codes: 0 genuine, 1 not genuine or not complete, 2 it could not be checked.

use super::export::{contract_by_name, sources};
use super::{Common, print, setup};
use crate::evidence::check_export::{self, Checked, Trust, heads_files, open_all};
use crate::evidence::check_stamps::{StampedHeads, Stamps};
use crate::evidence::time_stamp::Authorities;
use crate::evidence::{check_store, local};
use crate::store::HeadsBook;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use wire::evidence::finding::Told;
use wire::evidence::{Finding, Weight};
use wire::{UtcMicros, VerifyingKey};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check this export; needs no configuration, database or network.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Signed heads that were kept elsewhere: a file, or a folder of them. A time stamp beside one (the same name with
    /// the ending .tsr) is checked too.
    #[arg(long, value_name = "PATH")]
    heads: Option<PathBuf>,
    /// Certificate (PEM) of the authority whose time stamps you believe; the store's own check takes the configured one.
    #[arg(long, value_name = "FILE")]
    time_stamp_ca: Option<PathBuf>,
    /// The receiver's public evidence key as you know it ("heads key" prints it).
    #[arg(long, value_name = "KEY", requires = "export")]
    receiver_key: Option<VerifyingKey>,
    /// Only this contract of the store.
    #[arg(long, conflicts_with = "export")]
    contract: Option<String>,
}

const GENUINE: u8 = 0;
const NOT_GENUINE: u8 = 1;
const NOT_CHECKED: u8 = 2;

pub(super) async fn run(common: &Common, args: Args) -> ExitCode {
    let outcome = match &args.export {
        Some(_) => verify_export(&args),
        None => verify_store(common, &args).await,
    };
    let verdict = match outcome {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("Error: {error:#}");
            return ExitCode::from(NOT_CHECKED);
        }
    };
    let printed = if common.json {
        serde_json::to_string_pretty(&verdict.to_json())
            .map_err(anyhow::Error::from)
            .and_then(|json| print(|out| writeln!(out, "{json}")))
    } else {
        print(|out| verdict.write(out))
    };
    if let Err(error) = printed {
        eprintln!("Error: {error:#}");
        return ExitCode::from(NOT_CHECKED);
    }
    ExitCode::from(verdict.code())
}

/// What is told in the end.
struct Verdict {
    /// What was looked at, a line each: name and value.
    facts: Vec<(String, String)>,
    findings: Vec<Finding>,
    /// What cannot be said, though nothing is wrong.
    limits: Vec<String>,
    trusted: bool,
    /// Heads from outside speak of what was checked: then the tail is proven too.
    anchored: bool,
    from: Option<UtcMicros>,
    to: Option<UtcMicros>,
    /// Time stamps that fit their heads.
    stamps: Vec<StampedHeads>,
}

#[derive(Serialize)]
struct Json<'a> {
    verdict: &'static str,
    exit_code: u8,
    findings: Vec<Told<'a>>,
    limits: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    from_utc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_utc: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    time_stamps: &'a [StampedHeads],
    facts: Vec<Fact<'a>>,
}

#[derive(Serialize)]
struct Fact<'a> {
    name: &'a str,
    value: &'a str,
}

impl Verdict {
    fn worst(&self) -> Option<Weight> {
        self.findings
            .iter()
            .map(Finding::weight)
            .filter(|weight| *weight > Weight::Note)
            .max()
    }

    fn code(&self) -> u8 {
        match self.worst() {
            Some(_) => NOT_GENUINE,
            None if !self.trusted => NOT_CHECKED,
            None => GENUINE,
        }
    }

    fn word(&self) -> &'static str {
        match self.worst() {
            Some(Weight::Tampered) => "NOT GENUINE",
            Some(_) => "GENUINE, BUT NOT COMPLETE",
            None if !self.trusted => "CANNOT BE SAID",
            None if !self.anchored => {
                "GENUINE; WHETHER THE TAIL IS COMPLETE CANNOT BE SAID (see the note)"
            }
            None => "GENUINE AND COMPLETE",
        }
    }

    fn to_json(&self) -> Json<'_> {
        let facts = self.facts.iter().map(|(name, value)| Fact { name, value });
        Json {
            verdict: self.word(),
            exit_code: self.code(),
            findings: self.findings.iter().map(Told::from).collect(),
            limits: &self.limits,
            from_utc: self.from.map(local::utc),
            to_utc: self.to.map(local::utc),
            time_stamps: &self.stamps,
            facts: facts.collect(),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for (name, value) in &self.facts {
            writeln!(out, "{name:<10} {value}")?;
        }
        writeln!(out)?;
        self.write_of(out, "Changed, removed, moved or added:", |weight| {
            weight == Weight::Tampered
        })?;
        self.write_of(out, "Missing:", |weight| weight == Weight::Incomplete)?;
        self.write_of(out, "Explained:", |weight| weight == Weight::Note)?;
        for limit in &self.limits {
            writeln!(out, "Note: {limit}")?;
        }
        if !self.limits.is_empty() {
            writeln!(out)?;
        }
        writeln!(out, "{}", self.word())
    }

    fn write_of(
        &self,
        out: &mut dyn Write,
        title: &str,
        which: impl Fn(Weight) -> bool,
    ) -> io::Result<()> {
        /// More on a screen help nobody; JSON has them all.
        const SHOWN: usize = 50;
        let findings: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| which(finding.weight()))
            .collect();
        if findings.is_empty() {
            return Ok(());
        }
        writeln!(out, "{title}")?;
        for (index, finding) in findings.iter().take(SHOWN).enumerate() {
            writeln!(out, "  {}. {finding}", index + 1)?;
        }
        if findings.len() > SHOWN {
            writeln!(
                out,
                "  and {} more; --json prints all",
                findings.len() - SHOWN
            )?;
        }
        writeln!(out)
    }
}

fn fact(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn verify_export(args: &Args) -> anyhow::Result<Verdict> {
    let path = args.export.as_deref().expect("called with an export only");
    let heads = args
        .heads
        .as_deref()
        .map(heads_files)
        .transpose()?
        .unwrap_or_default();
    let checked = check_export::check(path, &heads, args.receiver_key)?;
    let authorities = args
        .time_stamp_ca
        .as_deref()
        .map(Authorities::read)
        .transpose()?;
    let stamps = Stamps::beside(&heads, authorities.as_ref())?;
    let manifest = &checked.report.manifest;
    let mut facts = vec![
        fact("export", path.display().to_string()),
        fact("contract", &*manifest.contract_name),
        fact(
            "time",
            format!(
                "{} to {} ({})",
                local::time(manifest.from_us),
                local::time(manifest.to_us),
                local::ZONE
            ),
        ),
        fact("made", local::time(manifest.made_at_us)),
        fact(
            "key",
            format!("{} ({})", checked.key, trust_words(checked.trust)),
        ),
        fact("heads", heads_words(&checked.outside)),
    ];
    for device in &manifest.devices {
        let Some(report) = checked.report.devices.get(&device.device) else {
            continue;
        };
        facts.push(fact(
            "device",
            format!(
                "{} at {}: {} records in {} batches, {} pictures{}",
                device.device,
                device.site_name,
                report.records,
                report.batches,
                report.pictures,
                deleted_words(report.deleted_records)
            ),
        ));
    }
    let mut verdict = Verdict {
        facts,
        limits: limits(&checked),
        trusted: checked.trust != Trust::Unknown,
        anchored: checked.report.anchor.is_some(),
        from: Some(manifest.from_us),
        to: Some(manifest.to_us),
        findings: checked.report.findings,
        stamps: Vec::new(),
    };
    tell_stamps(&mut verdict, stamps, authorities.is_some());
    Ok(verdict)
}

/// What the time stamps say, and what they do not.
fn tell_stamps(verdict: &mut Verdict, stamps: Stamps, believed: bool) {
    if let Some(newest) = stamps.newest() {
        let (count, heads) = (stamps.good.len(), newest.heads);
        let (at, by) = (local::time(newest.stamp.at_us), &newest.stamp.by);
        let words = format!("{count} fit; heads no. {heads} existed at {at}, says {by}");
        verdict.facts.push(fact("time stamp", words));
        if !newest.stamp.vouched_for {
            verdict.limits.push(
                "whose time stamps these are was not checked: anybody can make a certificate with such a name. Get the \
                 authority's own certificate from itself, and give it with --time-stamp-ca FILE."
                    .to_owned(),
            );
        }
    } else if believed && stamps.findings.is_empty() {
        verdict.limits.push(
            "no time stamp lies beside the heads (heads-000001.tsr and so on): when they were made is the receiver's word."
                .to_owned(),
        );
    }
    verdict.findings.extend(stamps.findings);
    verdict.stamps = stamps.good;
}

fn deleted_words(records: u64) -> String {
    match records {
        0 => String::new(),
        records => format!("; {records} records deleted as agreed"),
    }
}

fn trust_words(trust: Trust) -> &'static str {
    match trust {
        Trust::Given => "given with --receiver-key",
        Trust::FromHeads => "from the heads you kept",
        Trust::Unknown => "claimed by the export itself",
    }
}

fn heads_words(outside: &[(u64, UtcMicros)]) -> String {
    let newest = outside.iter().max_by_key(|(number, _)| *number);
    match newest {
        None => "none from outside".to_owned(),
        Some((number, at)) => format!(
            "{} from outside, the newest no. {number} of {}",
            outside.len(),
            local::time(*at)
        ),
    }
}

fn limits(checked: &Checked) -> Vec<String> {
    let manifest = &checked.report.manifest;
    let mut limits = Vec::new();
    if checked.trust == Trust::Unknown {
        limits.push(format!(
            "nothing but the export itself says whose key it is signed with. Ask the operator of the receiver, in another \
             way than this file came, whether its evidence key is\n      {}\n      and then give it with --receiver-key.",
            checked.key
        ));
    }
    let newest = checked
        .outside
        .iter()
        .filter(|_| checked.report.anchor.is_some())
        .max_by_key(|(number, _)| *number);
    match newest {
        None => limits.push(
            "without signed heads kept outside (--heads) it is not proven that the receiver itself did not cut off the tail \
             - the newest records, or a whole device - before it made this export."
                .to_owned(),
        ),
        Some((number, at)) if *at < manifest.to_us => limits.push(format!(
            "the newest heads, no. {number}, are of {}: what the receiver got after that is not anchored by them.",
            local::time(*at)
        )),
        Some(_) => {}
    }
    limits
}

async fn verify_store(common: &Common, args: &Args) -> anyhow::Result<Verdict> {
    let setup = setup(common)?;
    let key = setup.keys.evidence.verifying_key();
    let contract = match &args.contract {
        Some(name) => Some(contract_by_name(&setup.store, name).await?.id),
        None => None,
    };
    let files = args
        .heads
        .as_deref()
        .map(heads_files)
        .transpose()?
        .unwrap_or_default();
    let (outside, unusable) = open_all(&files, &key);
    let authorities = match &args.time_stamp_ca {
        Some(path) => Some(Authorities::read(path)?),
        None => Authorities::configured(&setup.config.heads)?,
    };
    let mut stamps = Stamps::of_book(&setup.store.heads().await?, authorities.as_ref());
    let outside_stamps = Stamps::beside(&files, authorities.as_ref())?;
    let outside_words = heads_words(
        &outside
            .iter()
            .map(|heads| (heads.number(), heads.statement.at_us))
            .collect::<Vec<_>>(),
    );
    let data_dir = setup.config.data_dir.display().to_string();
    let sources = sources(setup)?;
    let mut report = check_store::check(&sources, contract, outside).await?;
    report.findings.extend(unusable);
    let newest = report.newest.as_ref().map_or_else(
        || "none".to_owned(),
        |row| {
            format!(
                "{} in the database, the newest no. {} of {}",
                report.heads,
                row.number,
                local::time(row.at_us)
            )
        },
    );
    let mut facts = vec![
        fact("store", data_dir),
        fact("key", key.to_string()),
        fact("heads", format!("{newest}; {outside_words}")),
        fact("pictures", format!("{} read and hashed", report.pictures)),
    ];
    for (device, checked) in &report.devices {
        facts.push(fact(
            "device",
            format!(
                "{} of {}/{}: {} records in {} batches and {} epochs{}",
                device.device,
                device.contract_name,
                device.site_name,
                checked.records,
                checked.batches,
                checked.epochs,
                deleted_words(checked.deleted_records)
            ),
        ));
    }
    let limits = (!report.anchored).then(|| {
        "whoever can change this database can change the heads in it too. Compare with those that were sent out, the newest included: --heads FOLDER.".to_owned()
    });
    let mut verdict = Verdict {
        facts,
        findings: report.findings,
        limits: limits.into_iter().collect(),
        trusted: true,
        anchored: report.anchored,
        from: None,
        to: None,
        stamps: Vec::new(),
    };
    stamps.add(outside_stamps);
    tell_stamps(&mut verdict, stamps, args.time_stamp_ca.is_some());
    Ok(verdict)
}
