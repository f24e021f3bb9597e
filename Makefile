# Each target makes its own environment in .venv and installs what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check reference clean

demo: .venv/ready  ## a small project, runs of it, and its board, in a scratch folder
	@$(BIN)/dagtasks demo $(or $(DEMO),$$(mktemp -d)/dagtasks-demo)

test: .venv/ready  ## the quick suite, some six minutes
	$(BIN)/python -m pytest -n 2 -m "not slow and not engine and not browser"

check: .venv/ready  ## style, types, imports, and the repository's own tasks and site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dagtasks validate
	$(BIN)/dagtasks board build --strict

reference: .venv/ready  ## the pages of the documentation that are made of the code
	$(BIN)/python -m dagtasks.api.reference > site_src/reference/api-requests.md

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	@touch $@

clean:
	rm -rf .venv site build dist
