# Two commands: `make demo` (installs what anmok needs, no torch) and `make test` (also the references).
# On Windows, use the commands shown under "Without make" in CONTRIBUTING.md.

PYTHON ?= python3
BIN := .venv/bin
PICTURES ?=
LABELS ?=
export PIP_CONSTRAINT := $(CURDIR)/requirements.lock
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench torture lock clean

# Exit status 1 means that some pictures could not be used; they are named, and the report is there.
demo: .venv/installed
	@$(BIN)/anmok demo $(if $(PICTURES),"$(PICTURES)") $(if $(LABELS),--labels "$(LABELS)") --output demo-report \
	  || test $$? -eq 1

test: .venv/tested
	$(BIN)/python -m pytest

# Style, types and the floors of the house.
check: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Speed beside the peers on the same weights, in under a quarter of an hour: tables to the terminal, numbers and plots to
# docs/benchmarks. What takes longer stands with its command in docs/benchmarks.md.
bench: .venv/benched
	$(BIN)/python benchmarks/first_answer.py
	$(BIN)/python benchmarks/encode.py --models ViT-B-32 --rounds 3
	$(BIN)/python benchmarks/sweep.py --batches 1 16 --rounds 2
	$(BIN)/python benchmarks/index.py --pictures 64
	$(BIN)/python benchmarks/vectors.py --rows 10000 100000 --peers
	$(BIN)/python benchmarks/train.py --models "small ViT, 96 px" "small ResNet, 96 px"
	$(BIN)/python benchmarks/plots.py

# Hundreds of kills and cuts where `make test` does a few.
torture: .venv/tested
	TORTURE_ROUNDS=300 $(BIN)/python -m pytest tests/store tests/serve

# New exact versions of everything (needs uv: pip install uv).
lock:
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-emit-index-url \
	  --no-header --emit-build-options pyproject.toml requirements.in --output-file requirements.lock

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("anmok needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.12 …" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

.venv/benched: .venv/tested
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf .venv demo-report
