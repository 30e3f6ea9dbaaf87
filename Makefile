# Two commands on a fresh machine: `make demo` shows the whole system, `make test` checks it.
# Needs Python 3.11 or newer with venv, make, and a package index.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo up test soak bench docs lint format schemas lock audit clean

demo: $(VENV)/.demo          ## generate, train, start everything, show two readers, stop
	$(BIN)/frontpage up --once

up: $(VENV)/.demo            ## the same, and stay until Ctrl-C
	$(BIN)/frontpage up --stay

test: $(VENV)/.dev           ## the whole test suite
	$(BIN)/python -m pytest

soak: $(VENV)/.dev           ## fault scenarios at full length; options: make soak SOAK='--minutes 10'
	$(BIN)/python -m pytest tests/faults --long $(SOAK)

bench: $(VENV)/.bench        ## the worker beside others; options: make bench BENCH='--long'
	$(BIN)/python -m tests.benchmarks.stream $(BENCH)

lint: $(VENV)/.dev           ## what CI checks besides the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schemas: $(VENV)/.dev        ## renew schemas/json_schema and asyncapi.json from the records
	$(BIN)/python -m schemas.json_schema
	$(BIN)/python -m schemas.asyncapi

docs: $(VENV)/.dev           ## the documentation site, to .frontpage/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lock: $(VENV)/.audit         ## renew requirements.lock: what the image installs, with checksums
	$(BIN)/uv pip compile pyproject.toml --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-annotate --custom-compile-command "make lock" --quiet --output-file requirements.lock

audit: $(VENV)/.audit        ## look for known vulnerabilities in what requirements.lock names
	$(BIN)/python .ci/audit.py $(BIN)/pip-audit

clean:
	rm -rf $(VENV) .frontpage

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "frontpage needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[train,local]'
	$(BIN)/python -m worker.recommend.warm
	touch $@

$(VENV)/.dev: $(VENV)/.demo pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[train,local,import,docs,dev]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[train,local,import,docs,dev,bench]'
	touch $@

$(VENV)/.audit: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet 'pip-audit>=2.7,<3' 'uv>=0.5,<1'
	touch $@
