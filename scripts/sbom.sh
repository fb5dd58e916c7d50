#!/usr/bin/env bash
# Writes a CycloneDX 1.5 bill of materials for each program that is shipped: target/sbom/edge-agent.cdx.json and
# target/sbom/cloud-receiver.cdx.json. Crates come from Cargo.lock; what is loaded beside them is added by sbom.py.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/cargo_tool.sh
cargo_tool cargo-cyclonedx 0.5.9
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
mkdir -p target/sbom
for program in edge-agent cloud-receiver; do
    name=sbom-of-$program
    "$tool" cyclonedx --quiet --manifest-path "$program/Cargo.toml" --format json --spec-version 1.5 \
        --no-build-deps --override-filename "$name"
    python3 scripts/sbom.py "$program/$name.json" "$program" >"target/sbom/$program.cdx.json"
    # The tool writes beside every manifest of the workspace that the program is made of.
    rm -f ./*/"$name.json"
done
