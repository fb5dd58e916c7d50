//! A part of the audit log as a file that anybody can check without the receiver: JSON, one line each.
//!
//! The first line says what was asked for and names the key; then come the entries, whole. Of an entry that was not asked
//! for only number and hash are there, where the next one or the end follows from it. The last line states the newest entry
//! of the log and the hash of all lines before it, signed. So nobody can change, add or take out an entry that was asked
//! for, or cut the file short, without its being seen.

use crate::store::{AuditBook, AuditRow};
use anyhow::{Context, bail, ensure};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::{BufRead, Write};
use wire::digest::Hasher;
use wire::evidence::heads::AuditHead;
use wire::sign::Purpose;
use wire::{ContractId, Sha256, SigningKey, UtcMicros, VerifyingKey};

const FORMAT: &str = "caas/audit/v1";
const PAGE: u32 = 1000;

/// Which entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub from_us: UtcMicros,
    /// Exclusive.
    pub to_us: UtcMicros,
    pub contract: Option<ContractId>,
}

impl Wanted {
    fn takes(&self, row: &AuditRow) -> bool {
        self.from_us <= row.at_us
            && row.at_us < self.to_us
            && self
                .contract
                .is_none_or(|wanted| row.contract == Some(wanted))
    }
}

#[derive(Serialize, Deserialize)]
struct First {
    format: String,
    #[serde(flatten)]
    wanted: Wanted,
    receiver_key: VerifyingKey,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    row: AuditRow,
    /// What its sealed part says, for whoever reads it: not hashed, because the sealed part is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    personal: Option<Map<String, Value>>,
}

#[derive(Serialize, Deserialize)]
struct Last {
    /// JSON of an [`End`], as signed.
    end: String,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct End {
    head: AuditHead,
    at_us: UtcMicros,
    entries: u64,
    /// SHA-256 of all lines before.
    lines: Sha256,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    pub entries: u64,
    pub head: AuditHead,
    pub receiver_key: VerifyingKey,
}

/// Hashes what goes by.
struct Lines<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Lines<W> {
    fn add(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.hasher.update(&line);
        self.out.write_all(&line)?;
        Ok(())
    }
}

/// Writes the entries that are wanted, up to the newest there is now. With `names`, sealed parts are opened beside.
pub async fn write(
    book: &(impl AuditBook + ?Sized),
    key: &SigningKey,
    wanted: Wanted,
    names: bool,
    at: UtcMicros,
    out: impl Write,
) -> anyhow::Result<Held> {
    let head = book.audit_head().await?.context("the audit log is empty")?;
    let mut lines = Lines {
        out,
        hasher: Hasher::default(),
    };
    let receiver_key = key.verifying_key();
    lines.add(&First {
        format: FORMAT.into(),
        wanted,
        receiver_key,
    })?;
    let (mut entries, mut written, mut before) = (
        0,
        0,
        AuditHead {
            no: 0,
            hash: Sha256::ZERO,
        },
    );
    while before.no < head.no {
        let rows = book.audit_after(before.no, PAGE).await?;
        ensure!(
            !rows.is_empty(),
            "entry {} is missing; run \"audit verify\"",
            before.no + 1
        );
        for row in rows.into_iter().take_while(|row| row.no <= head.no) {
            let place = AuditHead {
                no: row.no,
                hash: row.hash,
            };
            if wanted.takes(&row) {
                if written < before.no {
                    lines.add(&before)?;
                }
                let personal = if names {
                    book.audit_personal(&row).await?
                } else {
                    None
                };
                lines.add(&Entry { row, personal })?;
                (entries, written) = (entries + 1, place.no);
            }
            before = place;
        }
    }
    if written < head.no {
        lines.add(&head)?;
    }
    let end = serde_json::to_string(&End {
        head,
        at_us: at,
        entries,
        lines: lines.hasher.finish(),
    })?;
    let signature = key.sign(Purpose::Audit, Sha256::of(end.as_bytes()));
    let mut last = serde_json::to_vec(&Last {
        end,
        signature: HEXLOWER.encode(&signature),
    })?;
    last.push(b'\n');
    lines.out.write_all(&last)?;
    lines.out.flush()?;
    Ok(Held {
        entries,
        head,
        receiver_key,
    })
}

/// Checks a file by itself: every entry follows from the one before it, and the end is signed by the key that the first
/// line names. Whose key that is, is for the reader to compare.
pub fn check(file: impl BufRead) -> anyhow::Result<Held> {
    let mut walk: Option<Walk> = None;
    let mut lines = file.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let line = line.context("reading the file")?;
        let told = || format!("line {}", index + 1);
        let Some(walk) = &mut walk else {
            walk = Some(Walk::begin(&line).with_context(told)?);
            continue;
        };
        if lines.peek().is_none() {
            return walk.end(&line).with_context(told);
        }
        walk.entry(&line).with_context(told)?;
    }
    bail!("the file ends before its signature: it was cut short")
}

struct Walk {
    wanted: Wanted,
    receiver_key: VerifyingKey,
    before: AuditHead,
    entries: u64,
    hasher: Hasher,
}

impl Walk {
    fn begin(line: &str) -> anyhow::Result<Self> {
        let first: First = serde_json::from_str(line).context("this is no file of an audit log")?;
        ensure!(
            first.format == FORMAT,
            "the format \"{}\" is not known here; install a newer cloud-receiver",
            first.format
        );
        let mut walk = Self {
            wanted: first.wanted,
            receiver_key: first.receiver_key,
            before: AuditHead {
                no: 0,
                hash: Sha256::ZERO,
            },
            entries: 0,
            hasher: Hasher::default(),
        };
        walk.hash(line);
        Ok(walk)
    }

    fn hash(&mut self, line: &str) {
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
    }

    fn entry(&mut self, line: &str) -> anyhow::Result<()> {
        let value: Value = serde_json::from_str(line)?;
        self.hash(line);
        if value.get("action").is_none() {
            let place: AuditHead = serde_json::from_value(value)?;
            ensure!(place.no > self.before.no, "entries are out of order");
            self.before = place;
            return Ok(());
        }
        let row = serde_json::from_value::<Entry>(value)?.row;
        ensure!(
            row.no == self.before.no + 1,
            "entry {} does not follow on entry {}",
            row.no,
            self.before.no
        );
        ensure!(
            row.hash_after(self.before.hash) == row.hash,
            "entry {} was changed",
            row.no
        );
        ensure!(
            self.wanted.takes(&row),
            "entry {} was not asked for",
            row.no
        );
        self.before = AuditHead {
            no: row.no,
            hash: row.hash,
        };
        self.entries += 1;
        Ok(())
    }

    fn end(&mut self, line: &str) -> anyhow::Result<Held> {
        let last: Last = serde_json::from_str(line).context("the file was cut short")?;
        let signature = HEXLOWER.decode(last.signature.as_bytes())?;
        let fits =
            self.receiver_key
                .verify(Purpose::Audit, Sha256::of(last.end.as_bytes()), &signature);
        ensure!(fits.is_ok(), "the signature does not fit");
        let end: End = serde_json::from_str(&last.end)?;
        let lines = std::mem::take(&mut self.hasher).finish();
        ensure!(
            end.lines == lines && end.entries == self.entries && end.head == self.before,
            "lines were changed, added or taken out"
        );
        Ok(Held {
            entries: end.entries,
            head: end.head,
            receiver_key: self.receiver_key,
        })
    }
}
