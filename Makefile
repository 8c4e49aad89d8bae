# The one list of commands. Each bootstraps .venv from requirements.txt, pinned and hashed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# No tool of ours or below us calls home.
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false

.PHONY: help venv demo test faults sanitize check format bench serve lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## the whole flow on scanned digits: train, select, validate, publish
	@$(BIN)/python -m flows.demo $(DEMO)

test: $(READY) ## every test but those of `make faults`, on real parts; TEST="tests/data -k png" for some
	@$(BIN)/python -m pytest $(TEST)

faults: $(READY) ## hangs, a full disk, 30 SIGKILLs while it trains; FAULTS="--kills 5" for less
	@$(BIN)/python -m pytest -m faults
	@$(BIN)/python -m tests.faults $(FAULTS)

sanitize: $(READY) ## the native operators under the address and undefined-behaviour sanitizers
	@$(BIN)/python -m pytest tests/native/test_sanitized.py

check: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## let ruff rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## the figures of the README
	@$(BIN)/python -m benchmarks $(BENCH)

serve: $(READY) ## Prefect server, pool, deployments and worker on this machine, until Ctrl-C
	@$(BIN)/python -m infra.serve

venv: $(READY) ## only the environment

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 12); \
	sys.exit(None if ok else f"Python {sys.version.split()[0]} found, 3.11 or 3.12 needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is needed (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "installing into $(VENV) (3.4 GB, a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

lock: $(READY) ## resolve requirements.txt anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --native-tls --quiet -o requirements.txt

clean: ## the environment and the demo's workspace
	rm -rf $(VENV) workspace
