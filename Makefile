# Two commands do everything: `make demo` shows it, `make test` proves it.

SHELL := /bin/bash
.DEFAULT_GOAL := help

DEMO_CAMERAS ?= 1
RECONNECTS ?= 1000
DURATION ?= 1h
export TEST_DATA ?= $(abspath ../shared/media)
export ORT_DYLIB_PATH ?= $(CURDIR)/.cache/onnxruntime/libonnxruntime.so.1.32.0

.PHONY: help demo test faults soak lint sbom fuzz pets latency drain bench-ingest bench-portal bench-viewers reconnects screenshots bench bench-cameras

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## Run everything on this machine, with real cameras: DEMO_CAMERAS=4 for four
	@scripts/setup.sh demo
	@echo "building (release); the first time takes some minutes"
	@cargo build --release --bins
	@target/release/demo --cameras $(DEMO_CAMERAS)

test: ## Install what tests need, and run them all
	@scripts/setup.sh test
	cargo build --workspace --bins
	cargo test --workspace

faults: ## Every fault test at full length, as root; most of an hour
	@scripts/setup.sh test
	cargo build --workspace --bins
	FAULTS=long cargo test --workspace fault_ -- --test-threads=2

soak: ## A seeded mix of all faults for DURATION=1h (also 90m, 600s); FAULT_SEED=n has the same choices again
	@scripts/setup.sh test
	cargo build --workspace --bins
	SOAK_SECONDS=$$(scripts/seconds.sh $(DURATION)) cargo test -p e2e --test faults fault_41 -- --nocapture

lint: ## Formatting, clippy, the rules on dependencies, and known vulnerabilities
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/deny.sh
	scripts/advisories.sh

sbom: ## Write what each program is made of (CycloneDX) into target/sbom
	scripts/sbom.sh

fuzz: ## Fuzz everything that reads a stranger's bytes; FUZZ_SECONDS=600 for longer than 20 each
	@scripts/setup.sh demo
	scripts/fuzz.sh

pets: ## How well people are found and followed on the whole PETS film, against its ground truth in TEST_DATA
	@scripts/setup.sh test
	cargo bench -p edge-agent --bench quality

latency: ## From camera to browser, over 100 events; and what the programs use meanwhile
	@scripts/setup.sh test
	cargo build --release --bins
	target/release/latency

drain: ## How a backlog drains over a link of 20 Mbit/s, and live latency meanwhile; as root
	@scripts/setup.sh test
	cargo build --release --bins
	target/release/drain

reconnects: ## Force RECONNECTS=1000 reconnects of a camera; memory and descriptors must stay flat
	@scripts/setup.sh test
	cargo build --release --bins
	target/release/reconnects --count $(RECONNECTS)

bench-portal: ## Whether pages cost the same among ten million events as among ten thousand: some 6 GB of TMPDIR
	cargo run --release -p cloud-receiver --example portal_speed

bench-viewers: ## Whether fifty people can look while ten devices send: times of pages, memory, and that nothing is lost
	cargo run --release -p cloud-receiver --example ingest_rate -- viewers

bench-ingest: ## Records/s and blobs/s the receiver takes in, against the limits, mosquitto and nginx
	@scripts/setup.sh bench
	cargo run --release -p cloud-receiver --example ingest_rate

bench: bench-cameras pets ## Everything that is measured of cameras: costs, memory, how many fit, what the gate loses, what is seen

bench-cameras: ## What cameras cost, how many fit, and what the gate loses; BENCH='--only cost' for a part, BENCH=--smoke
	@scripts/setup.sh test
	cargo build --release --workspace --bins
	cargo bench --workspace --bench cameras -- $(BENCH)

screenshots: ## Pictures of every page, phone and desktop, both languages, into target/screenshots
	@scripts/setup.sh test
	cargo build --release --bins
	target/release/screenshots
