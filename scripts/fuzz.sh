#!/usr/bin/env bash
# Fuzzes everything that reads a stranger's bytes, each target for FUZZ_SECONDS (20). Inputs that were worth keeping lie in
# .cache/fuzz/TARGET and are gone on from; what breaks a target is left in target/fuzz-found and told.
#
#   scripts/fuzz.sh [TARGET...]     wire mqtt records http config model-output video
#
# libFuzzer on the stable compiler: only crates of this workspace are instrumented, so the others are built once for all.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-20}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(wire mqtt records http config model-output video)

# What a target begins from: real input of its kind.
seeds() {
    case "$1" in
        wire|records) echo wire/golden/v1 ;;
        model-output) ;;
        *) echo "fuzz/seeds/$1" ;;
    esac
}

RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/instrument.sh cargo build --quiet -p fuzz --bins
found=target/fuzz-found
rm -rf "$found"
mkdir -p "$found"
for target in "${targets[@]}"; do
    corpus=.cache/fuzz/$target
    mkdir -p "$corpus"
    read -ra begin <<<"$(seeds "$target")"
    log=$found/$target.log
    # No leak detection: it belongs to a sanitizer that is not built in.
    if ! RUST_BACKTRACE=1 "target/debug/fuzz-$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
        -detect_leaks=0 -artifact_prefix="$found/$target-" "$corpus" "${begin[@]}" >"$log" 2>&1; then
        echo "fuzz: $target broke; its input is in $found, and this is what it said:" >&2
        grep -vE '^(#|INFO|NEW_FUNC)' "$log" | tail -40 >&2
        exit 1
    fi
    runs=$(grep -oE 'Done [0-9]+ runs' "$log" | grep -oE '[0-9]+')
    reached=$(grep -oE 'cov: [0-9]+' "$log" | tail -1)
    echo "fuzz: $target held for $runs inputs ($reached edges)"
done
