//! Brings the bytes of an export, and of heads kept elsewhere, to the check. Needs no configuration, no database, no
//! network, and no key but public ones.

use super::container::{Container, Entry};
use anyhow::{Context, bail};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use wire::VerifyingKey;
use wire::digest::Hasher;
use wire::evidence::export::{ExportCheck, ExportReport, open_heads};
use wire::evidence::heads::Heads;
use wire::evidence::manifest::{MANIFEST, SIGNATURE};
use wire::evidence::{Finding, SignedHeads};

/// Where the trust in the receiver's key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The user named it.
    Given,
    /// Taken from heads that the user kept.
    FromHeads,
    /// Nobody said so but the export itself.
    Unknown,
}

/// What a check of a file came to.
#[derive(Debug)]
pub struct Checked {
    pub report: ExportReport,
    pub key: VerifyingKey,
    pub trust: Trust,
    /// Numbers and times of the heads from outside.
    pub outside: Vec<(u64, wire::UtcMicros)>,
}

/// Reads heads files: one, or all of a folder.
pub fn heads_files(path: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        let entries =
            std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
        paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        paths.sort();
        if paths.is_empty() {
            bail!(
                "{} holds no heads (heads-000001.json and so on)",
                path.display()
            );
        }
    }
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok((path, bytes))
    };
    paths.into_iter().map(read).collect()
}

/// Verifies heads from outside under a key; what is wrong with them is a finding.
pub fn open_all(files: &[(PathBuf, Vec<u8>)], key: &VerifyingKey) -> (Vec<Heads>, Vec<Finding>) {
    let (mut heads, mut findings) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        match open_heads(&path.display().to_string(), bytes, key) {
            Ok(opened) => heads.push(opened),
            Err(finding) => findings.push(finding),
        }
    }
    (heads, findings)
}

/// Checks an export. `key`: the receiver's evidence key as the user knows it.
pub fn check(
    export: &Path,
    heads: &[(PathBuf, Vec<u8>)],
    key: Option<VerifyingKey>,
) -> anyhow::Result<Checked> {
    let file = File::open(export).with_context(|| format!("opening {}", export.display()))?;
    let mut container = Container::open(BufReader::new(file))
        .with_context(|| format!("reading {}", export.display()))?;
    let mut findings: Vec<Finding> = container
        .problems()
        .iter()
        .map(|problem| Finding::ContainerChanged {
            problem: problem.clone(),
        })
        .collect();
    let (key, trust) = match key {
        Some(key) => (Some(key), Trust::Given),
        None => match heads
            .iter()
            .find_map(|(_, bytes)| SignedHeads::from_json(bytes).ok()?.claimed_key().ok())
        {
            Some(key) => (Some(key), Trust::FromHeads),
            None => (None, Trust::Unknown),
        },
    };
    let json = named(&mut container, MANIFEST)?;
    let signature = named(&mut container, SIGNATURE)?;
    let (Some(json), Some(signature)) = (json, signature) else {
        bail!(
            "{} holds no manifest.json with its signature: this is no export of a receiver, or its end was cut off",
            export.display()
        );
    };
    let mut check = match ExportCheck::new(&json, &signature, key) {
        Ok(check) => check,
        Err(finding) => bail!("{}: {finding}", export.display()),
    };
    let key = key.unwrap_or(check.manifest().receiver_key);
    each_file(&mut container, &mut check)?;
    let (outside, unusable) = open_all(heads, &key);
    let numbers = outside
        .iter()
        .map(|heads| (heads.number(), heads.statement.at_us))
        .collect();
    let mut report = check.finish(outside);
    findings.extend(unusable);
    findings.append(&mut report.findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight()));
    report.findings = findings;
    Ok(Checked {
        report,
        key,
        trust,
        outside: numbers,
    })
}

type Archive = Container<BufReader<File>>;

fn whole(container: &mut Archive, entry: &Entry) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(entry.bytes as usize);
    container
        .read(entry, |piece| bytes.extend_from_slice(piece))
        .with_context(|| format!("reading {}", entry.name))?;
    Ok(bytes)
}

fn named(container: &mut Archive, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let found = container
        .entries()
        .iter()
        .find(|entry| entry.name == name)
        .cloned();
    found.map(|entry| whole(container, &entry)).transpose()
}

/// Every file but the manifest, by name, so that the batches of an epoch come in the order of their numbers.
fn each_file(container: &mut Archive, check: &mut ExportCheck) -> anyhow::Result<()> {
    let mut entries: Vec<Entry> = container
        .entries()
        .iter()
        .filter(|entry| ![MANIFEST, SIGNATURE].contains(&entry.name.as_str()))
        .cloned()
        .collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        if ExportCheck::wants_bytes(&entry.name) {
            let bytes = whole(container, &entry)?;
            check.whole_file(&entry.name, &bytes);
        } else {
            let mut hasher = Hasher::default();
            container
                .read(&entry, |piece| hasher.update(piece))
                .with_context(|| format!("reading {}", entry.name))?;
            check.hashed_file(&entry.name, hasher.finish());
        }
    }
    Ok(())
}
