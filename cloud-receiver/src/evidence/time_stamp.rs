//! Time stamps (RFC 3161) over signed heads: a third party's signature says when a heads file existed at the latest.
//!
//! Heads bind the receiver to what it once stated; a time stamp binds it to when. Without one, whoever holds the
//! evidence key could make heads of last year today.
//!
//! | module | what it is |
//! |---|---|
//! | `form` | the messages, in ASN.1 |
//! | `check` | the judgement of an answer: pure, bytes in, verdict out |
//! | `ask` | the request to an authority over HTTP: the only file of the receiver that imports reqwest |
//! | `authorities` | whose certificates are believed |
//!
//! What is stored and sent out is the authority's answer as it came (`heads-000123.tsr`); so other programs can check
//! it too: `openssl ts -verify -data heads-000123.json -in heads-000123.tsr -CAfile ca.pem`.

mod ask;
mod authorities;
mod check;
mod form;

pub use authorities::Authorities;
pub use check::{TimeStamp, check};

use crate::clock::now;
use crate::config;
use crate::seal::random;
use anyhow::Context;
use wire::Sha256;

/// An authority's answer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// The answer as it came: DER of a TimeStampResp.
    pub answer: Vec<u8>,
    pub stamp: TimeStamp,
}

/// What is wrong with a time stamp.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StampError {
    #[error("this is no answer of a time-stamp authority: {0}")]
    Unreadable(String),
    #[error("the authority refused: {0}")]
    Refused(String),
    #[error("it is a time stamp of something else: its SHA-256 is not that of the document")]
    AnotherDocument,
    #[error("it answers another request: its nonce is not the one that was sent")]
    AnotherNonce,
    #[error("its signature does not hold: {0}")]
    Forged(String),
    #[error("its signature cannot be checked: this program does not know {0}")]
    Unsupported(String),
    #[error("its certificate ({by}) is not good for it: {problem}")]
    Certificate { by: String, problem: String },
}

/// By how much the authority's clock and ours may differ.
const CLOCKS_APART_US: u64 = 600_000_000;

/// Asks the configured authority for a time stamp over `document`, and checks the answer.
///
/// Errors name the authority, and say what to do where that can be said.
pub async fn stamp(document: &[u8], heads: &config::Heads) -> anyhow::Result<Stamped> {
    let url = heads.time_stamps_from.as_str();
    let authorities = Authorities::configured(heads)?;
    let nonce = nonce();
    let request = form::request(Sha256::of(document), &nonce)
        .context("writing the request for a time stamp")?;
    let answer = ask::ask(url, request, authorities.as_ref()).await?;
    let stamp = check(&answer, document, Some(&nonce), authorities.as_ref())
        .with_context(|| format!("the answer of {url}"))?;
    // Kept for good: a time that is plainly wrong would be told by every verification.
    let off_us = stamp.at_us.since_us(now()).unsigned_abs();
    anyhow::ensure!(
        off_us <= CLOCKS_APART_US,
        "{url} states a time that is {} s off this machine's; check both clocks",
        off_us / 1_000_000
    );
    Ok(Stamped { answer, stamp })
}

/// 63 random bits as a positive INTEGER of 8 bytes: longer ones some authorities refuse.
fn nonce() -> [u8; 8] {
    let mut nonce = random::<8>();
    nonce[0] = nonce[0] & 0x7f | 0x40;
    nonce
}
