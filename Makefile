# `make demo` and `make test` need Python >= 3.11 and network access to a package index, nothing else.
# Everything they install goes into .venv of this clone. PYTHON=/path/to/python chooses another one.

PYTHON ?= $(firstword $(foreach p,python3 python3.11 python3.12 python3.13 python,\
	$(if $(shell $(p) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null | grep True),$(p))))
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

.PHONY: help setup demo test lint types pytest format clean

help:
	@echo "make demo    build and run the example for this machine, arm64 and Cortex-M4"
	@echo "make test    ruff, mypy and the tests"
	@echo "make lint | types | pytest | format    one of them alone"
	@echo "make clean   remove what the build made; .venv stays"

# The stamps stand for "installed and up to date": they are renewed when pyproject.toml changes.
$(VENV)/python.stamp:
	@test -n "$(PYTHON)" || { echo "fpc needs Python >= 3.11; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) .ci/make_venv.py $(VENV)
	@touch $@

$(VENV)/fpc.stamp: $(VENV)/python.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/fpc.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(VENV)/dev.stamp

demo: $(VENV)/fpc.stamp
	$(BIN)/python examples/digits/demo.py

test: lint types pytest

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The package-dir mapping (passes/, targets/) exists only in an installed package, so mypy reads one.
types: $(VENV)/dev.stamp
	@rm -rf build/lib build/bdist* build/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --target build/installed .
	cd build/installed && ../../$(BIN)/mypy --config-file ../../pyproject.toml

pytest: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q --durations=15 --numprocesses auto --dist loadfile $(PYTEST_ARGS)

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
