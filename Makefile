# `make demo` and `make test` need Python >= 3.11, make and the package index.
#
#   make demo [METHOD=motion_field] [WORKDIR=runs/demo]   train on synthetic drives
#   make test [TESTS=tests/geometry]                      run the tests
#   make commands                                         run what the docs tell to run
#   make lint                                             check style
#   make types                                            check types
#   make clean                                            remove the environment
#
# PYTHON chooses the interpreter, VENV the folder of the virtual environment, WORKERS
# the number of test processes.

PYTHON ?= python3
VENV ?= .venv
METHOD ?= motion_field
WORKDIR ?= runs/demo
WORKERS ?= 2
TESTS ?= tests

# Large pages for large arrays, where glibc >= 2.35 can: XLA allocates its buffers anew in
# every step, and a step on CPU takes a quarter longer with small ones.
GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
export GLIBC_TUNABLES

BIN := $(VENV)/bin
COMMANDS := tests/documented_commands_test.py
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test commands lint types clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.installed
	$(BIN)/python -m mdm_jax.main --config=configs/synthetic.py:$(METHOD) \
		--workdir=$(WORKDIR)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n $(WORKERS) --ignore=$(COMMANDS) $(TESTS)

commands: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n $(WORKERS) $(COMMANDS)

lint: $(VENV)/.installed_dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed_dev
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache

# The stamps stand for a finished installation of what setup.cfg asked for.
$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "mdm_jax needs Python >= 3.11; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name a newer one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Installing into $(VENV) (once; a few minutes)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "Could not make a virtual environment. On Debian and Ubuntu it needs" \
			"the package python3-venv." >&2; exit 1; }
	@$(INSTALL) --editable ".[test]"
	@touch $@

$(VENV)/.installed_dev: $(VENV)/.installed
	@$(INSTALL) --editable ".[dev]"
	@touch $@
