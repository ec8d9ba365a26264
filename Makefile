# `make help` lists the targets. All of them work in .venv, made here with the pinned versions.

PYTHON ?= $(shell for p in python3.11 python3; do $$p -c "" 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
# A package index for torch alone, such as https://download.pytorch.org/whl/cpu: there a processor
# build of some 200 MB is offered, where the usual index may send gigabytes for graphics cards.
TORCH_INDEX ?=
# Whose text the demo trains on, such as MEMBERS="anna=texts/anna.txt ben=texts/ben.txt".
MEMBERS ?=
# For hf-tests: an unpacked source archive of huggingface_hub; PROTOTYPE=file.py runs against that
# application instead, HF_PYTEST="-k collections" chooses.
HF_TESTS ?=
PYTEST ?= -n auto --maxprocesses 4
PYTEST_SYSTEM ?= -n 2

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help demo test check test-system hf-tests format docs bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP)  ## train one model over four members, compare and verify (MEMBERS="a=path b=path": your own text)
	$(BIN)/llmos demo $(if $(strip $(MEMBERS)),--members "$(MEMBERS)")

test: $(STAMP)  ## the tests; PYTEST="-k recipe" chooses
	$(BIN)/pytest $(PYTEST)

check: $(STAMP)  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-system: $(STAMP)  ## install parts of the operating system (as root, or by sudo), run the tests that need them
	$(if $(filter 0,$(shell id -u)),,sudo) ./tests/install_system.sh
	test -x $(VENV)/s3/bin/moto_server || { $(BIN)/python -m venv $(VENV)/s3 && \
	  $(VENV)/s3/bin/pip install --quiet 'moto[server]>=5,<6'; }
	$(BIN)/python tests/with_servers.py $(BIN)/pytest -m system $(PYTEST_SYSTEM)
	$(BIN)/python tests/with_servers.py $(BIN)/pytest tests/hub $(PYTEST_SYSTEM)

hf-tests: $(STAMP)  ## huggingface_hub's own tests against a fresh hub (HF_TESTS=PATH: its unpacked source archive)
	$(BIN)/python tests/hub/acceptance/run_theirs.py "$(HF_TESTS)" \
	  $(if $(PROTOTYPE),--prototype "$(PROTOTYPE)") $(if $(HF_PYTEST),--pytest='$(HF_PYTEST)')

format: $(STAMP)  ## put the code into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## write the documents that are made from the code
	$(BIN)/llmos recipe keys > docs/recipe.md.new
	mv docs/recipe.md.new docs/recipe.md

bench: $(STAMP)  ## measure against other ways, as ratios within one run (CORPUS=file: your own text)
	$(BIN)/python benchmarks/iid.py --seeds 1 --rounds 4 $(if $(CORPUS),--corpus $(CORPUS))

clean:  ## remove what was built (.venv, caches); runs and data stay
	rm -rf $(VENV) build dist src/*.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
	  echo "error: no Python found: install Python 3.11, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), but LLMOS needs Python 3.11 or newer:" \
	  "install it, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "making $(VENV) with the versions of constraints.txt: a minute or more"
	$(PYTHON) -m venv $(VENV)
	$(if $(strip $(TORCH_INDEX)),$(BIN)/python -m pip install --index-url $(TORCH_INDEX) $(TORCH))
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
