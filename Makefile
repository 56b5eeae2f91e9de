# Every target sets up what it needs first; `make run` and `make test` work in a fresh clone.
# Variables: PYTHON (3.11 or newer), SHARED (test data and batteries), ARGS (for run and test).

PYTHON ?= python3
SHARED ?= $(or $(UNBROKEN_SHARED),../shared)
ARGS ?=

BIN := .venv/bin
CORE := .venv/.core
DEV := .venv/.dev
LOCAL := .venv/.local
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/dev.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check format cover battery sixteen overhead observed clients sim ledger million properties fuzz local schema docs screenshots api constraints clean

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

$(CORE): pyproject.toml constraints/dev.txt | $(BIN)/python
	@$(INSTALL) --editable .
	@touch $@

$(DEV): $(CORE)
	@$(INSTALL) --editable '.[dev]'
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

fuzz: $(DEV) ## Broken bytes at every codec, for ten minutes
	@$(BIN)/python benchmarks/fuzz.py $(ARGS)

sim: $(DEV) ## 100,000 simulated requests through an outage
	@$(BIN)/python -m unbroken.sim $(ARGS)

ledger: $(DEV) ## The ledger after 10,000 requests with faults, in SQLite and PostgreSQL, to the cent
	@$(BIN)/python -m pytest -m slow --timeout=600 tests/ledger $(ARGS)

million: $(DEV) ## A million simulated requests on one core, in under two minutes
	@$(BIN)/python benchmarks/million.py $(ARGS)

local: $(LOCAL) ## Two real models, one killed in the middle of an answer
	@$(BIN)/python -m pytest -m local --timeout=600 $(ARGS)

define need_shared
	@test -e "$(SHARED)/$(1)" || { \
	  echo 'make $@ needs $(SHARED)/$(1), which is not here; say where the folder is: make $@ SHARED=...' >&2; exit 1; }
endef

battery: $(DEV) | build ## Score failover in 70 fault scenarios (some 5 minutes)
	$(call need_shared,battery/battery.py)
	@$(BIN)/python "$(SHARED)/battery/battery.py" --label unbroken --url http://127.0.0.1:4100/v1 \
	  --start "$(BIN)/python benchmarks/battery_start.py" --out build/battery.json $(ARGS)

sixteen: $(DEV) | build ## The sixteen faults of the public failover benchmark
	$(call need_shared,battery/sixteen.py)
	@$(BIN)/python "$(SHARED)/battery/sixteen.py" --url http://127.0.0.1:4100/v1 \
	  --start "$(BIN)/python benchmarks/battery_start.py" --out build/sixteen.json $(ARGS)

overhead: $(DEV) | build ## What it costs beside nginx, per request and per event
	$(call need_shared,perf/overhead.py)
	@command -v nginx >/dev/null && command -v wrk >/dev/null || { \
	  echo 'make overhead needs the programs nginx and wrk (Debian packages of these names)' >&2; exit 1; }
	@$(BIN)/python "$(SHARED)/perf/overhead.py" --ready-port 4101 --json build/overhead.json \
	  --cmd 'exec $(BIN)/python benchmarks/overhead_start.py {port}' $(ARGS)

observed: $(DEV) | build ## What ledger, metrics and tracing cost together; fails beyond 25 %
	$(call need_shared,perf/overhead.py)
	@command -v nginx >/dev/null && command -v wrk >/dev/null || { \
	  echo 'make observed needs the programs nginx and wrk (Debian packages of these names)' >&2; exit 1; }
	@$(BIN)/python benchmarks/observed.py "$(SHARED)/perf/overhead.py" $(ARGS)

clients: $(DEV) | build ## Every client that people use, over a provider that breaks each answer
	@PYTHONPATH=tests $(BIN)/python -m clients.run $(ARGS)

constraints: ## Pin what a fresh environment gets today, in constraints/dev.txt
	@rm -rf build/pins && $(PYTHON) -m venv build/pins
	@build/pins/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	@{ sed -n '/^#/p' constraints/dev.txt; \
	  build/pins/bin/python -m pip freeze --exclude unbroken; } >build/pins/dev.txt
	@mv build/pins/dev.txt constraints/dev.txt

clean: ## Remove everything that was made
	@rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	@find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
