#!/usr/bin/env bash
# Checks every dependency against deny.toml: licences, sources, banned crates. Builds cargo-deny once into .cache/.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=.cache/tools/bin/cargo-deny
if [ ! -x "$tool" ]; then
    echo "building cargo-deny (once)"
    cargo install cargo-deny --version 0.20.2 --locked --quiet --root .cache/tools
fi
"$tool" --workspace check --hide-inclusion-graph bans licenses sources
