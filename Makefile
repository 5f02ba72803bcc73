# `make demo` and `make test` are all that a fresh machine needs: Python 3.11 or later, make, git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench bench-peers clean

demo: $(VENV)/ready
	$(BIN)/connector demo

test: $(VENV)/ready
	$(BIN)/pytest

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# 10,000 records in a few minutes; BENCH=full: 100,000, too
bench: $(VENV)/bench
	$(BIN)/python benchmarks/sandbox.py
	$(BIN)/python benchmarks/bench.py

bench-peers: $(VENV)/bench
	$(BIN)/python benchmarks/peers.py

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/bench: $(VENV)/ready benchmarks/requirements/hand.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r benchmarks/requirements/hand.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-peers benchmarks/data benchmarks/out demo demo-occ demo-intouch build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
