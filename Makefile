# Every verb of this project. `make` alone lists them.
#
# Nothing but make and Python >= 3.11 is needed; every verb first makes .venv what requirements.lock says,
# which takes no time when it already is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# How many tests run at once: one more than there are cores, since some only wait for a server. JOBS=0 runs them in this
# process, for a debugger.
JOBS ?= $(shell $(PY) -c 'import os; print((os.cpu_count() or 1) + 1)')
# Where `make serve` keeps its data.
DATA ?= tocsin-data

.PHONY: help setup demo serve test check sim weather fuzz bench docs lock cover fix clean
.PHONY: check-lint check-format check-imports check-types

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what requirements.lock names into .venv (all other verbs do this first)
	@scripts/setup

demo: setup ## see Tocsin work, with nothing to configure
	@exec .venv/bin/tocsin demo $(ARGS)

serve: setup ## run the server on ./tocsin-data (DATA=folder for another one)
	@exec .venv/bin/tocsin serve --data $(DATA) $(ARGS)

test: setup ## all tests in parallel, then the coverage bars (ARGS="tests/core -k lease": only these, no bars)
ifdef ARGS
	@$(PYTEST) $(ARGS)
else
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest -q -n $(JOBS) --dist worksteal
	@$(PY) -m coverage combine -q
	@$(PY) scripts/coverage_bars.py
endif

check: setup ## style, the floors and the border, types: everything that can be told without running it
	@$(MAKE) $(if $(findstring jobserver,$(MAKEFLAGS)),,-j4 --output-sync=target) check-lint check-format check-imports check-types

check-lint:
	@$(PY) -m ruff check --quiet --output-format=concise
check-format:
	@$(PY) -m ruff format --check --quiet --output-format=concise || { echo "make fix formats them."; false; }
check-imports:
	@said=$$(.venv/bin/lint-imports --no-logo 2>&1) || { echo "$$said"; false; }
check-types:
	@$(PY) -m mypy --no-error-summary

fix: setup ## mend what the linter can mend, and format
	@$(PY) -m ruff check --fix --quiet || true
	@$(PY) -m ruff format --quiet
	@$(PY) -m ruff check

sim: setup ## the simulation tests, under seeds 0..SEEDS-1 (300), or under the one that failed: SEED=8127
	@$(PYTEST) -q -n $(JOBS) --dist worksteal tests/simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),300)) $(ARGS)

weather: setup ## everything that tries to break it, for an hour, and the numbers in docs/reliability.md
	@exec $(PY) -m tests.reliability.weather $(ARGS)

fuzz: setup ## look for what the API's description does not say: MINUTES=10, SEED= for the run that found something
	@exec $(PY) -m tests.fuzz.fuzz --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: setup ## measure speed on this machine
	@exec $(PY) -m benchmarks $(ARGS)

docs: setup ## check the documentation: links, anchors, code blocks, verbs and commands that it names
	@$(PY) scripts/check_docs.py

cover: setup ## a page per file of what the last `make test` did not run (htmlcov/)
	@$(PY) -m coverage html -q && echo "htmlcov/index.html"

lock: ## resolve the dependencies anew and write requirements.lock (needs uv; ARGS=--upgrade for newer ones)
	@scripts/lock $(ARGS)

clean: ## remove what was made here: .venv, caches, reports; never ./tocsin-data
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov dist .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
