# Every target works from a fresh clone: the first one that needs .venv sets it up.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
INSTALLED_DOCS := .venv/.installed-docs

.DEFAULT_GOAL := help
.PHONY: help setup verify test lint docs bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1	/'

setup: $(INSTALLED) ## set up .venv (done by the others when needed)

verify: $(INSTALLED) ## the main job: our own cache agrees, SGLang 0.5.10.post1 does not, 0.5.18 does
	$(BIN)/python scripts/verify.py

test: $(INSTALLED) ## run the tests, without those marked slow
	$(BIN)/python -m pytest

lint: $(INSTALLED) ## lint, format check, types, import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED_DOCS) ## generate the generated pages and build docs/_build/html
	$(BIN)/hicache-verify docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(INSTALLED) ## run the benchmarks and print their table
	$(BIN)/python -m benchmarks

clean: ## remove .venv and everything built or written by a run
	rm -rf .venv .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf docs/_build out findings report.json dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv .venv

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,docs]'
	@touch $@
