#!/usr/bin/env bash
# Checks every dependency against the RustSec advisory database: the current one where it can be fetched, else the copy in
# ADVISORY_DB. Says which, and how old it is. Exceptions stand in scripts/advisories.py, each with its reason.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/cargo_tool.sh
cargo_tool cargo-audit 0.22.2
copy=${ADVISORY_DB:-../shared/advisory-db}
found=$(mktemp)
trap 'rm -f "$found"' EXIT

# Its exit code is not asked: it knows no exception of one version of one crate. No JSON is no answer.
if timeout 120 "$tool" audit --json --quiet --db .cache/advisory-db >"$found" 2>/dev/null || [ -s "$found" ]; then
    python3 scripts/advisories.py "$found" .cache/advisory-db "the current database"
elif [ -d "$copy/crates" ]; then
    "$tool" audit --json --quiet --no-fetch --stale --db "$copy" >"$found" || [ -s "$found" ]
    python3 scripts/advisories.py "$found" "$copy" "a copy, because the current database cannot be fetched"
else
    echo "advisories: the database cannot be fetched, and ADVISORY_DB ($copy) holds no copy of it" >&2
    exit 1
fi
