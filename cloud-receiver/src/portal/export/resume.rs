//! How long a download is, what its bytes are, and how a broken one goes on (HTTP ranges).
//!
//! An export is made while it is sent, so it is made twice: once to measure and hash it, once to send it. The same export of
//! the same data has the same bytes, but for the moment at which it says it was made; that moment is kept for a while. So
//! who asks for the rest gets the rest of the very same file, or, where the data changed meanwhile, the whole new one. What
//! is sent is hashed again, and the last piece goes out only if nothing changed on the way.

use crate::evidence::export::{ExportError, Wanted};
use crate::portal::Exports;
use crate::store::ContractScope;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use futures::stream;
use ring::digest::{Context, SHA256};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wire::UtcMicros;

/// One that takes longer to measure is sent without a length, and cannot be gone on with: shorter times can.
const MEASURED_WITHIN: Duration = Duration::from_secs(25);
/// Exports whose moment is kept: in memory, because it is no loss when it is forgotten.
const REMEMBERED: usize = 256;

/// Which exports were made when.
#[derive(Debug, Default)]
pub struct Made(Mutex<VecDeque<(String, UtcMicros)>>);

impl Made {
    fn when(&self, key: &str) -> Option<UtcMicros> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter()
            .find(|(known, _)| known == key)
            .map(|(_, at)| *at)
    }

    fn remember(&self, key: String, at: UtcMicros) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|(known, _)| *known != key);
        made.push_front((key, at));
        made.truncate(REMEMBERED);
    }
}

/// What is asked for.
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    /// From where, and where the end is named, to there inclusive; only of an export that is remembered.
    range: Option<(u64, Option<u64>)>,
    /// Only if the file is still this one.
    if_range: Option<String>,
}

/// All of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    bytes: u64,
    hash: String,
}

impl Asked {
    pub(super) fn of(
        headers: &HeaderMap,
        made: &Made,
        scope: ContractScope,
        mut wanted: Wanted,
    ) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let range = text(header::RANGE).and_then(range_of);
        let known = range.and_then(|_| made.when(&key_of(scope, &wanted)));
        if let Some(at) = known {
            wanted.made_at = at;
        }
        Self {
            wanted,
            range: range.filter(|_| known.is_some()),
            if_range: text(header::IF_RANGE).map(str::to_owned),
        }
    }

    /// Nothing where it takes too long.
    pub(super) async fn measure(
        &self,
        exports: &Arc<dyn Exports>,
        scope: ContractScope,
    ) -> Result<Option<Whole>, ExportError> {
        let (out, mut pieces) = mpsc::channel::<Bytes>(super::PIECES);
        let count = async {
            let (mut hash, mut bytes) = (Context::new(&SHA256), 0);
            while let Some(piece) = pieces.recv().await {
                hash.update(&piece);
                bytes += piece.len() as u64;
            }
            Whole {
                bytes,
                hash: hex(hash),
            }
        };
        let both = async { tokio::join!(exports.write(scope, &self.wanted, out), count) };
        match tokio::time::timeout(MEASURED_WITHIN, both).await {
            Err(_) => Ok(None),
            Ok((Ok(()), whole)) => Ok(Some(whole)),
            Ok((Err(error), _)) => Err(error),
        }
    }

    /// Status, headers and which bytes.
    pub(super) fn answer(
        &self,
        whole: Option<&Whole>,
        made: &Made,
        scope: ContractScope,
    ) -> (StatusCode, HeaderMap, Range<u64>) {
        let mut head = HeaderMap::new();
        let Some(whole) = whole else {
            head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
            return (StatusCode::OK, head, 0..u64::MAX);
        };
        made.remember(key_of(scope, &self.wanted), self.wanted.made_at);
        let tag = format!("\"{}\"", whole.hash);
        head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let mut put = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                head.insert(name, value);
            }
        };
        put(header::ETAG, &tag);
        let is_same = self.if_range.as_ref().is_none_or(|asked| *asked == tag);
        let part = self.range.filter(|_| is_same).and_then(|(from, to)| {
            let end = to.map_or(whole.bytes, |to| to.saturating_add(1).min(whole.bytes));
            // One that lies beyond the end is not of this file: then all of it is sent.
            (from < end).then_some(from..end)
        });
        let (status, range) = match part {
            None => (StatusCode::OK, 0..whole.bytes),
            Some(part) => {
                let text = format!("bytes {}-{}/{}", part.start, part.end - 1, whole.bytes);
                put(header::CONTENT_RANGE, &text);
                (StatusCode::PARTIAL_CONTENT, part)
            }
        };
        put(
            header::CONTENT_LENGTH,
            &(range.end - range.start).to_string(),
        );
        (status, head, range)
    }
}

fn key_of(scope: ContractScope, wanted: &Wanted) -> String {
    let wanted = Wanted {
        made_at: UtcMicros(0),
        ..wanted.clone()
    };
    format!("{} {wanted:?}", scope.contract())
}

/// `bytes=100-` or `bytes=100-199`; of several ranges, or of the last bytes alone, none: then all is sent.
fn range_of(text: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let to = match to {
        "" => None,
        to => Some(to.parse().ok()?),
    };
    Some((from.parse().ok()?, to))
}

fn hex(hash: Context) -> String {
    let hash = hash.finish();
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The bytes of the range. The last of them go out when all of the file was the same as when it was measured.
pub(super) fn body(
    pieces: mpsc::Receiver<Bytes>,
    task: JoinHandle<Result<(), ExportError>>,
    range: Range<u64>,
    whole: Option<Whole>,
) -> Body {
    let sending = Sending {
        pieces,
        task: Some(task),
        range,
        whole,
        hash: Context::new(&SHA256),
        at: 0,
        held: None,
    };
    Body::from_stream(stream::unfold(sending, |mut sending| async move {
        let next = sending.next().await?;
        if let Err(error) = &next {
            tracing::error!("an export broke off: {error}");
        }
        Some((next, sending))
    }))
}

struct Sending {
    pieces: mpsc::Receiver<Bytes>,
    task: Option<JoinHandle<Result<(), ExportError>>>,
    range: Range<u64>,
    whole: Option<Whole>,
    hash: Context,
    at: u64,
    /// Always one piece behind.
    held: Option<Bytes>,
}

impl Sending {
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        while let Some(piece) = self.pieces.recv().await {
            self.hash.update(&piece);
            let begins = self.at;
            self.at += piece.len() as u64;
            let from = self.range.start.clamp(begins, self.at) - begins;
            let to = self.range.end.clamp(begins, self.at) - begins;
            if from < to {
                let wanted = piece.slice(from as usize..to as usize);
                if let Some(before) = self.held.replace(wanted) {
                    return Some(Ok(before));
                }
            }
        }
        let task = self.task.take()?;
        let failure = match task.await {
            Ok(Ok(())) => self.changed(),
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        match failure {
            Some(failure) => Some(Err(std::io::Error::other(failure))),
            None => self.held.take().map(Ok),
        }
    }

    fn changed(&mut self) -> Option<String> {
        let sent = Whole {
            bytes: self.at,
            hash: hex(std::mem::replace(&mut self.hash, Context::new(&SHA256))),
        };
        let changed = self.whole.as_ref().is_some_and(|whole| *whole != sent);
        changed.then(|| "records arrived meanwhile; it has to be asked for again".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_with_a_beginning() {
        assert_eq!(range_of("bytes=10-"), Some((10, None)));
        assert_eq!(range_of("bytes=10-19"), Some((10, Some(19))));
        for text in ["bytes=-5", "bytes=1-2,4-5", "items=1-2", "bytes=x-", ""] {
            assert_eq!(range_of(text), None, "{text}");
        }
    }
}
