# The two commands: `make run` shows the whole product on real models, `make test` tests it.
# Both set everything up by themselves, in .venv and in the user's data folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
APP := $(BIN)/ai-codegen-assistant
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test check bench format test-editor bench-editor extension wheel clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(VENV)/installed  ## Set up, then watch the assistant work on the starter models
	@$(APP) demo

test: $(VENV)/installed-dev  ## Set up, then run all tests that need no editor
	$(BIN)/pytest

check: $(VENV)/installed-dev  ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev  ## Format, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev  ## Measure (tables for people, the last line of each is JSON)
	bench/run

test-editor: extension  ## Drive the extension and the server in real editors
	tests/editor/run.sh

bench-editor: extension  ## Measure typing in the real editor while models load and answer
	tests/editor/bench.sh

extension: $(VENV)/installed-dev  ## Check and build the VS Code extension: build/ai-codegen-assistant.vsix
	cd editor-client && npm ci --ignore-scripts --no-audit --no-fund
	cd editor-client && npm run check && npm test
	cd editor-client && PYTHON="$(CURDIR)/$(BIN)/python" npm run vsix

wheel: $(VENV)/installed-dev  ## Build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

clean:  ## Remove what was built here; models and taught tasks stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "Setting up Python in $(VENV) (about two minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip hatchling
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Adding what the tests need"
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@
