# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
export RAY_USAGE_STATS_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-known test-comparison lint bench clean

help:  ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)  ## install, then replay the Eleme stream with every remedy (5 to 10 minutes on 2 cores)
	$(BIN)/python -m simulator run configs/stream_eleme.yaml $(ARGS)

test: $(READY)  ## install, then run every test but those of test-known and test-comparison
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not known"
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

test-fast: $(READY)  ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not known"

test-known: $(READY)  ## the seven known worlds, which take minutes each (docs/known.md)
	$(BIN)/python -m pytest -m known

test-comparison: $(READY)  ## hold the backbones to FuxiCTR, deepctr-torch and scikit-learn (installs them)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[comparison]'
	$(BIN)/python -m pytest tests/comparison

lint: $(READY)  ## formatting, lint and strict type checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)  ## run the benchmarks and write benchmarks/results.json
	$(BIN)/python -m benchmarks

clean:  ## remove what installs and tests left behind (runs/ and data/ stay)
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
