# One command each. Every target that needs the environment makes it first: .venv, with the
# versions and hashes of constraints.txt, renewed when pyproject.toml or constraints.txt change.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The lock is complete, so nothing is left for pip to resolve; asked to, pip 23 looks for newer ones of
# what is wanted with an extra, and stops at their missing hashes.
LOCKED := --require-hashes --no-deps -r constraints.txt

.PHONY: help demo test car image check format lock clean

help: ## List these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

demo: $(READY) ## Run the whole method on virtual air (ARGS="--keep" leaves it running)
	@$(BIN)/fieldkit demo $(ARGS)

# Workers have a network each (tests/networks.py); ARGS="--numprocesses=0" is one after the other.
# In the order of tests/conftest.py: pytest-xdist would begin with the files of the most tests.
test: $(READY) ## Run every test that needs no root and no hardware (ARGS="-k beacon" to choose)
	@$(BIN)/python -m pytest --numprocesses=logical --dist=loadfile --no-loadscope-reorder $(ARGS)

car: $(READY) ## Build the virtual car: BlueZ and Wi-Fi tests, and all journeys with faults
	@$(BIN)/fieldkit car build
	@$(BIN)/fieldkit car check $(ARGS)

image: $(READY) ## Build and try the server's container image, and try deploy/install (needs root)
	@$(BIN)/python -m pytest $(ARGS) tests/container

check: $(READY) ## Check format, lint, types, layers and documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m fieldkit.docs --check

cover: $(READY) ## Test the protocol alone: every branch of it must be reached
	@$(BIN)/python -m pytest --quiet tests/twochannel/protocol \
	  --cov=twochannel.protocol --cov-branch --cov-report=term-missing:skip-covered \
	  --cov-fail-under=100

format: $(READY) ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# uv, because one of its locks serves every Python and processor; pip is enough to use the result.
lock: | $(BIN)/python ## Renew constraints.txt after a change in pyproject.toml (ARGS=--upgrade)
	@$(PIP) install --quiet 'uv>=0.9,<1'
	$(BIN)/uv pip compile --quiet --universal --all-extras --generate-hashes \
	  --custom-compile-command "make lock" --output-file constraints.txt $(ARGS) pyproject.toml

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
	  .ruff_cache demo-report.html demo.json world-report.html car-run car.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV) (once, about a minute) …"
	@if [ -t 1 ]; then $(PIP) install $(LOCKED) | $(COUNTER); else $(PIP) install -qq $(LOCKED); fi
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@

# Debian ships Python without the part that makes environments, so say what to install.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "$(PYTHON) is missing. Install Python: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $$($(PYTHON) -V) is older." \
	         "Name another: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import venv; from ensurepip import version' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make environments yet. Install that part:" \
	         "apt install $(notdir $(PYTHON))-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)

# Turns pip's report into one line that counts the packages.
define COUNTER
{ total=$$(grep -c '==' constraints.txt); count=0; \
  while read -r word _; do \
    case $$word in \
      Collecting) printf '\r  %d of %d packages' "$$((count += 1))" "$$total" ;; \
      Installing) printf '\r  installing %d packages …' "$$count" ;; \
    esac; \
  done; \
  printf '\r\e[K'; }
endef
