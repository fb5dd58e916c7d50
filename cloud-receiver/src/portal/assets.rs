//! Style, script and icon, built into the binary.
//!
//! Their addresses carry a hash of their content, so browsers keep them for a year and still see a new version at
//! once.

use super::problem::Problem;
use axum::extract::{Path, RawQuery};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;
use wire::Sha256;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const ASSETS: [Asset; 3] = [
    Asset {
        name: "portal.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("assets/portal.css"),
    },
    Asset {
        name: "portal.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("assets/portal.js"),
    },
    Asset {
        name: "icon.svg",
        content_type: "image/svg+xml",
        bytes: include_bytes!("assets/icon.svg"),
    },
];

const OFFLINE_WORKER: &str = include_str!("assets/offline-worker.js");

/// One version for all: they are released together.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: Vec<u8> = ASSETS
        .iter()
        .flat_map(|asset| asset.bytes)
        .copied()
        .collect();
    Sha256::of(&all).to_string()[..12].to_owned()
});

/// The address of an asset as pages write it.
pub fn address(name: &str) -> String {
    format!("/assets/{name}?v={}", *VERSION)
}

pub async fn asset(
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .ok_or(Problem::NotFound)?;
    let is_current = query.is_some_and(|query| query == format!("v={}", *VERSION));
    let keep = if is_current {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, keep),
    ];
    Ok((headers, asset.bytes).into_response())
}

/// At the top, because a worker's reach is the folder it lies in.
pub async fn offline_worker() -> Response {
    let script = OFFLINE_WORKER.replace("{version}", &VERSION);
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, script).into_response()
}
