# Every target sets up what it needs first; `make run` and `make test` work in a fresh clone.
# Variables: PYTHON (3.11 or newer), SHARED (test data and batteries), ARGS (for run and test); for the batteries
# WORKERS, REPLICAS, KILL_STORE and STORE_BACK (after so many seconds).

PYTHON ?= python3
SHARED ?= $(or $(UNBROKEN_SHARED),../shared)
ARGS ?=

BIN := .venv/bin
CORE := .venv/.core
DEV := .venv/.dev
LOCAL := .venv/.local
TOOLS := build/tools/.tools
COMPILED := build/compiled
# `make overhead COMPILE=1` measures the compiled modules, as do `observed`, `bench` and `million`; else plain Python.
COMPILE ?=
FAST := $(if $(COMPILE),$(COMPILED)/.done)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/dev.txt
LOCK := build/pins/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-annotate
LOCKED := -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement

# How many gateways are measured by the batteries: workers of one, or replicas with a store, which may be killed.
CREW := $(if $(WORKERS),--workers $(WORKERS)) $(if $(REPLICAS),--replicas $(REPLICAS)) \
  $(if $(KILL_STORE),--kill-store $(KILL_STORE)) $(if $(STORE_BACK),--store-back $(STORE_BACK))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check format cover battery sixteen overhead observed bench soak chaos compiled clients sim ledger million properties mutate fuzz local schema docs screenshots api constraints clean schemathesis audit sbom locks openapi

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --------------------------------------------------------------- environment

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'unbroken needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ...' >&2; exit 1; }
	@echo 'setting up .venv ...'
	@# Some distributions ship venv without ensurepip: then the pip that is there fills the environment.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null && $(PYTHON) -m venv .venv || { \
	  $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

$(CORE): pyproject.toml constraints/core.lock | $(BIN)/python
	@$(BIN)/python $(LOCKED) constraints/core.lock
	@$(INSTALL) --no-deps --editable .
	@touch $@

$(DEV): $(CORE) constraints/dev.lock
	@$(BIN)/python $(LOCKED) constraints/dev.lock
	@touch $@

$(TOOLS): constraints/tools.lock | build
	@$(PYTHON) -m venv build/tools && build/tools/bin/python $(LOCKED) constraints/tools.lock
	@touch $@

# What an earlier build left behind would come along, so all of it goes first.
$(COMPILED)/.done: setup.py pyproject.toml $(shell find src -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*') | $(DEV) build
	@echo 'compiling the hot modules (three minutes, after each change) ...'
	@rm -rf $(COMPILED) build/wheels build/lib.* build/temp.* build/bdist.*
	@UNBROKEN_COMPILE=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheels . >build/compile.log 2>&1 || { \
	  tail -n 20 build/compile.log >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-deps --no-compile --target $(COMPILED) build/wheels/unbroken-*.whl
	@touch $@

$(LOCAL): $(DEV)
	@echo 'building llama.cpp (some minutes, once) ...'
	@$(INSTALL) --editable '.[local]'
	@touch $@

build:
	@mkdir -p build

# --------------------------------------------------------------- every day

run: $(CORE) ## Watch it work: providers fail, requests survive
	@$(BIN)/unbroken demo $(ARGS)

test: $(DEV) ## Run the tests
	@$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile $(ARGS)

check: $(DEV) ## Lint, format and types, without changing anything
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(DEV) ## Format, and fix what can be fixed
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

docs: $(DEV) ## Rewrite the generated parts of the documentation
	@$(BIN)/python docs/generate.py

openapi: $(DEV) ## Rewrite the OpenAPI document of the gateway's paths
	@$(BIN)/python docs/write_openapi.py

screenshots: $(DEV) ## Draw the pictures of the dashboard anew, in Chromium
	@$(BIN)/python docs/picture_dashboard.py $(ARGS)

api: $(DEV) ## Rewrite the list of public names, to be committed on purpose
	@$(BIN)/python tests/test_public_api.py --write

schema: $(DEV) ## Rewrite the JSON schema of the configuration
	@$(BIN)/python -m unbroken.config_schema docs/unbroken.schema.json

# --------------------------------------------------------------- thorough

cover: $(DEV) | build ## Coverage; fails below 100 % of core and 95 % of wire, branches included
	@$(BIN)/coverage run -m pytest -q $(ARGS)
	@$(BIN)/coverage report --include='src/unbroken/core/*' --fail-under=100
	@$(BIN)/coverage report --include='src/unbroken/wire/*' --fail-under=95

properties: $(DEV) ## Property tests, a hundred times as long, and the slow tests
	@$(BIN)/python -m pytest -m 'hypothesis or slow' --hypothesis-profile=long --timeout=3600 $(ARGS)

mutate: $(DEV) ## Break core in thousands of small ways; fails below 95 % noticed (ARGS='--sample 500 --seed 1')
	@$(BIN)/python -m benchmarks.mutate $(ARGS)

fuzz: $(DEV) ## Broken bytes at every codec and every door, for twelve minutes
	@$(BIN)/python -m benchmarks.fuzz_doors
	@$(BIN)/python benchmarks/fuzz.py $(ARGS)

schemathesis: $(DEV) $(TOOLS) ## Made-up requests against our own OpenAPI document
	@$(BIN)/python benchmarks/contract.py --tool build/tools/bin/schemathesis $(ARGS)

audit: $(DEV) $(TOOLS) ## Pins and hashes of what we depend on, and what is known against it
	@$(BIN)/python benchmarks/audit.py --tool build/tools/bin/pip-audit $(ARGS)

sbom: $(TOOLS) ## What a plain installation consists of, as CycloneDX, in build/sbom.json
	@build/tools/bin/cyclonedx-py requirements constraints/core.lock --pyproject pyproject.toml \
	  --output-reproducible --of JSON --output-file build/sbom.json
	@echo build/sbom.json

sim: $(DEV) ## 100,000 simulated requests through an outage
	@$(BIN)/python -m unbroken.sim $(ARGS)

dst: $(DEV) ## Thousands of seeds of replicas, store, clocks and providers that fail; every promise is looked at
	@$(BIN)/python -m benchmarks.dst $(ARGS)

ledger: $(DEV) ## The ledger after 10,000 requests with faults, in SQLite and PostgreSQL, to the cent
	@$(BIN)/python -m pytest -m slow --timeout=600 tests/ledger $(ARGS)

proof: $(DEV) ## Every strategy over traces of real traffic, as docs/proof.md (15 minutes; ARGS=--quick: two)
	$(call need_shared,traces)
	@$(BIN)/python -m benchmarks.proof "$(SHARED)/traces" $(ARGS)

million: $(DEV) $(FAST) ## A million simulated requests on one core, in under two minutes
	@PYTHONPATH=$(if $(COMPILE),$(COMPILED)) $(BIN)/python benchmarks/million.py $(ARGS)

local: $(LOCAL) ## Two real models, one killed in the middle of an answer
	@$(BIN)/python -m pytest -m local --timeout=600 $(ARGS)

define need_shared
	@test -e "$(SHARED)/$(1)" || { \
	  echo 'make $@ needs $(SHARED)/$(1), which is not here; say where the folder is: make $@ SHARED=...' >&2; exit 1; }
endef

battery: $(DEV) | build ## Score failover in 70 fault scenarios (2 minutes); WORKERS=2, or REPLICAS=2 KILL_STORE=35
	$(call need_shared,battery/battery.py)
	@$(BIN)/python "$(SHARED)/battery/battery.py" --label unbroken --url http://127.0.0.1:4100/v1 \
	  --start "$(BIN)/python -m benchmarks.battery_start $(CREW)" --out build/battery.json $(ARGS)

sixteen: $(DEV) | build ## The sixteen faults of the public failover benchmark
	$(call need_shared,battery/sixteen.py)
	@$(BIN)/python "$(SHARED)/battery/sixteen.py" --url http://127.0.0.1:4100/v1 \
	  --start "$(BIN)/python -m benchmarks.battery_start $(CREW)" --out build/sixteen.json $(ARGS)

overhead: $(DEV) $(FAST) | build ## What it costs beside nginx, per request and per event
	$(call need_shared,perf/overhead.py)
	@command -v nginx >/dev/null && command -v wrk >/dev/null || { \
	  echo 'make overhead needs the programs nginx and wrk (Debian packages of these names)' >&2; exit 1; }
	@PYTHONPATH=$(if $(COMPILE),$(COMPILED)) $(BIN)/python "$(SHARED)/perf/overhead.py" --ready-port 4101 --json build/overhead.json \
	  --cmd 'exec $(BIN)/python benchmarks/overhead_start.py {port}' $(ARGS)

observed: $(DEV) $(FAST) | build ## What ledger, metrics and tracing cost together; fails beyond 25 %
	$(call need_shared,perf/overhead.py)
	@command -v nginx >/dev/null && command -v wrk >/dev/null || { \
	  echo 'make observed needs the programs nginx and wrk (Debian packages of these names)' >&2; exit 1; }
	@PYTHONPATH=$(if $(COMPILE),$(COMPILED)) $(BIN)/python benchmarks/observed.py "$(SHARED)/perf/overhead.py" $(ARGS)

bench: $(DEV) $(FAST) | build ## All of what it costs in one table: requests, events, streams, bodies, memory; peers by ARGS
	$(call need_shared,perf/overhead.py)
	@PYTHONPATH=$(if $(COMPILE),$(COMPILED)) $(BIN)/python -m benchmarks.bench "$(SHARED)/perf/overhead.py" $(ARGS)

soak: $(DEV) | build ## Half an hour of everything at once, and whether anything is left behind
	@$(BIN)/python -m benchmarks.soak $(ARGS)

chaos: $(DEV) | build ## Kill, cut off, fill, slow down and set wrong what gateways need, under load (3 minutes; as root)
	@$(BIN)/python -m benchmarks.chaos $(ARGS)

compiled: $(COMPILED)/.done ## Compile the hot modules, and run the tests with them
	@PYTHONPATH=$(abspath $(COMPILED)) $(BIN)/python -m pytest --override-ini="pythonpath=tests ." --numprocesses=auto --dist=loadfile $(ARGS)

clients: $(DEV) | build ## Every client that people use, over a provider that breaks each answer
	@PYTHONPATH=tests $(BIN)/python -m clients.run $(ARGS)

constraints: ## Pin what a fresh environment gets today, in constraints/dev.txt
	@rm -rf build/pins && $(PYTHON) -m venv build/pins
	@build/pins/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	@{ sed -n '/^#/p' constraints/dev.txt; \
	  build/pins/bin/python -m pip freeze --exclude unbroken; } >build/pins/dev.txt
	@mv build/pins/dev.txt constraints/dev.txt
	@$(MAKE) --no-print-directory locks

locks: ## The pins once more, each with the hashes of its files, in constraints/*.lock
	@test -d build/pins || $(PYTHON) -m venv build/pins
	@build/pins/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	@$(LOCK) pyproject.toml --constraint constraints/dev.txt --output-file constraints/core.lock
	@$(LOCK) pyproject.toml --extra dev --constraint constraints/dev.txt --output-file constraints/dev.lock
	@$(LOCK) pyproject.toml --extra postgres --extra redis --extra secrets --constraint constraints/dev.txt \
	  --output-file constraints/image.lock
	@$(LOCK) constraints/build.in --constraint constraints/dev.txt --output-file constraints/build.lock
	@$(LOCK) constraints/tools.in --output-file constraints/tools.lock

clean: ## Remove everything that was made
	@rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	@find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
