//! Requests to the device interface and to enrollment. The first line of the input is method and path, then come headers up
//! to an empty line, then the body.
#![no_main]

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use fuzz::Receiver;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RECEIVER: LazyLock<Receiver> = LazyLock::new(Receiver::default);

struct Parts {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn parts(bytes: &[u8]) -> Option<Parts> {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, path) = first.split_once(' ')?;
    let mut rest = lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(
            name,
            HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?,
        );
    }
    Some(Parts {
        method: method.parse().ok()?,
        uri: path.parse().ok()?,
        headers,
        body: rest.to_vec(),
    })
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(parts) = parts(bytes) {
        RECEIVER.ask(parts.method, parts.uri, parts.headers, parts.body);
    }
});
