# Each target works as the first command on a fresh machine: it makes its own virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-output
PEER ?=
FUZZ ?=
# Tests wait about as much as they work: one process more than cores, four at most.
SPREAD = --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) < 4 ? $$(getconf _NPROCESSORS_ONLN) + 1 : 4 )) \
	--dist loadfile --no-loadscope-reorder

.PHONY: help demo serve test test-all audit browser lint house bench fuzz setup clean

help:
	@echo "make demo    photos to pictures with the model that ships with Limner; ends with a contact sheet"
	@echo "make serve   the web app, in the browser"
	@echo "make test    everything that CI runs: lint, types, import rules, tests"
	@echo "make audit   are the pins known to have holes? (asks an advisory service)"
	@echo "make test-all  the same and the tests of a minute each, in every window and colour scheme"
	@echo "make bench   the README's benchmark table (PEER=path/to/diffusers for the trainer's peer)"
	@echo "make fuzz    a minute of random input for each reader of outsiders' bytes (FUZZ='lora --seconds 600')"
	@echo "make lint    ruff, mypy, import rules"
	@echo "make house   draws the rooms and who uses whom (docs/images/house.svg), and measures them"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt tools/install.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" sh tools/install.sh
	@touch $@

demo: setup
	$(BIN)/limner demo --out $(DEMO_OUT)

browser: setup
	VENV="$(VENV)" sh tools/browser.sh

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports & imports=$$!; $(BIN)/mypy; types=$$?; wait $$imports && exit $$types
	$(BIN)/python tools/house.py --check

house: setup
	$(BIN)/python tools/house.py --draw
	$(BIN)/python tools/house.py

serve: setup
	$(BIN)/limner serve

test: lint browser
	$(BIN)/pytest -m "not long and not engine_checkout" $(SPREAD)

test-all: lint browser
	LIMNER_WALK_LOOKS=all $(BIN)/pytest -m "not engine_checkout" $(SPREAD)

fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(FUZZ)

audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit
	$(VENV)-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

bench: browser
	$(BIN)/python benchmarks/table.py $(if $(PEER),--peer $(PEER))

clean:
	rm -rf $(VENV) demo-output bench-output fuzz-output
