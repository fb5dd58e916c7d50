# Two commands do everything: `make demo` shows it, `make test` proves it.

SHELL := /bin/bash
.DEFAULT_GOAL := help

DEMO_CAMERAS ?= 1
RECONNECTS ?= 1000
export TEST_DATA ?= $(abspath ../shared/media)
export ORT_DYLIB_PATH ?= $(CURDIR)/.cache/onnxruntime/libonnxruntime.so.1.32.0

.PHONY: help demo test lint pets reconnects screenshots audit clean

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

lint: ## Formatting, clippy, and the rules on dependencies
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/deny.sh
