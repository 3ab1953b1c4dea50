.DEFAULT_GOAL := help
.PHONY: help repro check test mutants fuzz kills bench app environment

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Stages run as `python -m …`: with the environment's programs first, DVC finds the right one.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
# A test process a core. The tests of one file stay together, for they share what is slow to make; files start in the order of
# tests/conftest.py, or the longest would start last and run alone.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder
# pip compiles what it installs on one core, which is more than half of its time; compileall takes all cores. Some packages come with
# files that are no Python of this version, so its exit code says nothing.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
COMPILE := @$(BIN)/python -m compileall -q -j 0 -x '/tests/' $(VENV)/lib >/dev/null 2>&1 || true

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-14s %s\n", $$1, $$2}'

repro: $(VENV)/ready ## install what is needed and run the pipeline on the corpora of params.yaml (the synthetic demo by default)
	@$(BIN)/python -m pipeline.preflight
	$(BIN)/dvc repro

check: $(VENV)/ready-dev ## install what is needed and run lint, types, the rules of imports, and the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test: $(VENV)/ready-dev ## install what is needed and run lint, types, the rules of imports, and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m pytest $(PARALLEL)

mutants: $(VENV)/ready-mutants ## put small faults into the code and count how many the tests notice (about an hour)
	$(BIN)/python -m bench.mutants

FUZZ ?= --examples 100000
fuzz: $(VENV)/ready-dev ## let every reader of outside input read FUZZ broken inputs ("--examples 100000", or "--minutes 600" for hours)
	$(BIN)/python -m tests.fuzz.run $(FUZZ)

kills: $(VENV)/ready ## kill every stage at random moments, about 100 times, and compare the bytes with a run that was not killed
	$(BIN)/python -m bench.kills

bench: $(VENV)/ready ## time training steps, extraction and seeds side by side against what the machine could do
	$(BIN)/python -m bench.training
	$(BIN)/python -m bench.extraction
	$(BIN)/python -m bench.seeds

MODEL ?= starter
app: $(VENV)/ready-app ## serve a local page that gives the emotions of a recording, by MODEL (the starter that comes with the project)
	$(BIN)/python -m pipeline.app --model $(MODEL) $(if $(KEEP),--keep "$(KEEP)")

environment: $(VENV)/ready ## only make the virtual environment in .venv

$(VENV)/ready: requirements.txt requirements-lock.txt
	@command -v git >/dev/null || { echo "error: git is needed, and not installed: apt install git"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed: apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "error: Python lacks what makes environments: apt install python3-venv"; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt -c requirements-lock.txt
	$(COMPILE)
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	$(PIP) -r requirements-dev.txt -c requirements-lock.txt
	$(COMPILE)
	@touch $@

$(VENV)/ready-mutants: $(VENV)/ready-dev requirements-mutants.txt
	$(PIP) -r requirements-mutants.txt -c requirements-lock.txt
	$(COMPILE)
	@touch $@

$(VENV)/ready-app: $(VENV)/ready requirements-app.txt
	$(PIP) -r requirements-app.txt
	$(COMPILE)
	@touch $@
