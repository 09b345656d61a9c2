# make demo and make test set up .venv by themselves; everything else hangs on the same stamp.
# PYTHON chooses the interpreter. On Linux without a GPU, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# before make spares the download of torch's CUDA libraries.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN_ARGS ?=
TEST_ARGS ?=

.PHONY: help demo test test-transformers4 lint format typecheck wheel clean

help:
	@echo "make demo       install, then run the recipe reviews-mini from data to report"
	@echo "make test       install, then run the tests with branch coverage, a process for each CPU"
	@echo "make test-transformers4   the same tests with transformers 4.57, in .venv-transformers4"
	@echo "make lint       ruff check and ruff format --check   (make format applies them)"
	@echo "make typecheck  mypy --strict on the built layout"
	@echo "make wheel      build the source archive and from it the wheel, into dist/"
	@echo "make clean      remove builds and caches; keeps .venv and runs/"

# torch first, by itself: its version decides what the rest resolves to.
# The editable install is the default (lenient) one: new files in bertcompress/, export/ and recipes/ import
# without a reinstall. Only a new subpackage needs one, and that edits pyproject.toml, which renews the stamp.
$(STAMP): pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[demo,dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/bertcompress run reviews-mini $(RUN_ARGS)

# A process for each CPU, one thread in each, and whoever is done takes over half of what another has left:
# neighbouring tests stay together, which share fixtures. TEST_ARGS="-n0" keeps all in one process, for a debugger.
SPREAD := --numprocesses auto --maxprocesses 8 --dist worksteal

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --cov --cov-report=term $(SPREAD) $(TEST_ARGS)

# In an environment of its own, because the two majors of transformers do not install side by side.
test-transformers4:
	$(MAKE) test VENV=.venv-transformers4 CONSTRAINTS=constraints-transformers4.txt

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The sources are not laid out as they are imported (export/ is bertcompress.export), so mypy reads a build.
typecheck: $(STAMP)
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target build/check .
	$(BIN)/mypy build/check/bertcompress

wheel: $(STAMP)
	rm -rf build dist
	$(BIN)/python -m build --no-isolation --outdir dist .

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage .coverage.*
	find bertcompress export recipes tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
