//! Checks the time stamps of heads: those that lie beside heads files, and those in the database.

use super::time_stamp::{Authorities, StampError, TimeStamp, check};
use crate::store::HeadsRow;
use anyhow::Context;
use serde::Serialize;
use std::io;
use std::path::PathBuf;
use wire::evidence::heads::Statement;
use wire::evidence::{Finding, SignedHeads};

/// A time stamp that fits its heads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StampedHeads {
    /// Number of the heads, by their own word.
    pub heads: u64,
    #[serde(flatten)]
    pub stamp: TimeStamp,
}

/// What of some time stamps was checked, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Stamps {
    pub good: Vec<StampedHeads>,
    pub findings: Vec<Finding>,
}

impl Stamps {
    /// Those that lie beside heads files, named as these but for the ending `.tsr`.
    pub fn beside(
        files: &[(PathBuf, Vec<u8>)],
        authorities: Option<&Authorities>,
    ) -> anyhow::Result<Self> {
        let mut stamps = Self::default();
        for (path, document) in files {
            let path = path.with_extension("tsr");
            match std::fs::read(&path) {
                Ok(answer) => {
                    stamps.judge(&path.display().to_string(), &answer, document, authorities);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("reading {}", path.display()));
                }
            }
        }
        Ok(stamps)
    }

    /// Those of the receiver's own book.
    pub fn of_book(rows: &[HeadsRow], authorities: Option<&Authorities>) -> Self {
        let mut stamps = Self::default();
        for row in rows {
            if let Some(stamp) = &row.stamp {
                let place = format!("the time stamp of heads no. {} in the database", row.number);
                stamps.judge(&place, &stamp.answer, row.document.as_bytes(), authorities);
            }
        }
        stamps
    }

    /// Those of `others` beside these; a copy of one counts once.
    pub fn add(&mut self, others: Self) {
        let new = others.good.into_iter();
        let new: Vec<_> = new.filter(|one| !self.good.contains(one)).collect();
        self.good.extend(new);
        self.findings.extend(others.findings);
    }

    /// The one that states the latest time.
    pub fn newest(&self) -> Option<&StampedHeads> {
        self.good.iter().max_by_key(|stamped| stamped.stamp.at_us)
    }

    fn judge(
        &mut self,
        place: &str,
        answer: &[u8],
        document: &[u8],
        authorities: Option<&Authorities>,
    ) {
        let file = place.to_owned();
        match check(answer, document, None, authorities) {
            // Heads that cannot be read are told as such.
            Ok(stamp) => self
                .good
                .extend(number_of(document).map(|heads| StampedHeads { heads, stamp })),
            Err(error @ (StampError::AnotherDocument | StampError::Forged(_))) => {
                let problem = error.to_string();
                self.findings.push(Finding::StampForged { file, problem });
            }
            Err(error) => {
                let problem = error.to_string();
                self.findings.push(Finding::StampUnusable { file, problem });
            }
        }
    }
}

fn number_of(document: &[u8]) -> Option<u64> {
    let signed = SignedHeads::from_json(document).ok()?;
    let statement: Statement = serde_json::from_str(&signed.statement).ok()?;
    Some(statement.number)
}
