# Each target does its whole set-up: a virtual environment of its own, then the work.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

MINUTES ?= 10

.PHONY: demo test test-all test-versions test-wheel soak bench lint findings docs clean

demo: $(VENV)/core
	rm -rf $(DEMO)
	$(BIN)/l2s demo $(DEMO)

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

test-versions:
	tests/versions.sh

test-wheel:
	tests/wheel.sh

soak: $(VENV)/dev
	$(BIN)/python -m soak --minutes $(MINUTES)

bench: $(VENV)/dev
	$(BIN)/python benchmarks/bench.py

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What other libraries do that one would guess wrong; outside CI. NEWEST=1 drops the pins.
findings:
	PYTHON=$(PYTHON) findings/run.sh

docs: $(VENV)/docs
	$(BIN)/python docs/build_site.py
	$(BIN)/zensical build --strict --clean
	@echo "Open build/site/index.html."

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[dev,torch,dask]'
	touch $@ $(VENV)/core

$(VENV)/docs: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@ $(VENV)/core

clean:
	rm -rf $(VENV) $(DEMO) build
