#!/usr/bin/env bash
# Checks every dependency against deny.toml: licences, sources, banned crates.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/cargo_tool.sh
cargo_tool cargo-deny 0.20.2
"$tool" --workspace check --hide-inclusion-graph bans licenses sources
