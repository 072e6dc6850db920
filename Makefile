# Everything a developer or an owner types. Each target installs what it needs itself.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ASSETS := src/cumulet/web/page/lib
# The guest images that the tests boot, kept between runs.
TEST_DATA := /var/cache/cumulet-test
# What a process has read of our modules, and of the tests' with their assertions, the next one need not read again.
unexport PYTHONDONTWRITEBYTECODE
# Fast tests share nothing, so that each process takes whatever is left. They wait for a third of their time, so that four
# processes keep two cores at work.
PARALLEL := --numprocesses $$(( $$(nproc) * 2 )) --dist worksteal --quiet
# Those with real guests run on three private hosts at a time, file by file in their order, and die with them. Two left a
# fifth of two cores idle.
IN_LABS := --tx "3*popen//python=tests/lab/enter $(CURDIR)/$(BIN)/python" --dist loadfile --no-loadscope-reorder --quiet

.PHONY: up down env lock api lint check test nested kills bench

up: env  ## a running cloud with a first VM, `hello`
	@$(BIN)/cumulet up

down: env  ## stop the server; VMs keep running, or with VMS=1 are removed first
	@$(BIN)/cumulet down $(if $(filter 1,$(VMS)),--vms)

env: $(VENV)/.ready $(ASSETS)/.ready  ## the Python environment, from pinned and hashed wheels, and the pages' files

$(VENV)/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	@scripts/bootstrap
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements/uv.txt requirements/dev.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(ASSETS)/.ready: package-lock.json scripts/web-assets
	@scripts/web-assets

lock:  ## pin every library with its hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/uv.in -o requirements/uv.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev requirements/build.in -o requirements/dev.txt
	npm install --silent --package-lock-only

api: env  ## write docs/api anew from the declared operations, and the picture of the layers
	$(BIN)/python scripts/write-api
	$(BIN)/python scripts/write-layers

lint: env  ## style, types and the layers of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint  ## style, types, and the fast tests on SQLite: no root, no guests, three minutes
	$(BIN)/pytest $(PARALLEL) --ignore tests/rest/test_schemathesis.py -m "not lab and not postgresql and not slow"

test: lint  ## everything, real guests included; those run on a private host that dies with the tests
	$(BIN)/python scripts/test-packages
	$(BIN)/python -m tests.nested.boot_files
	CUMULET_DATA_DIR=$(TEST_DATA) $(BIN)/cumulet image build
	@failed=0; \
	$(BIN)/pytest $(PARALLEL) -m "not lab" || failed=$$?; \
	$(BIN)/pytest $(IN_LABS) -m lab || failed=$$?; \
	exit $$failed

nested: env  ## a whole cloud and a VM with a card on an emulated machine, and a Debian with KVM as a host: some twenty minutes
	$(BIN)/python scripts/test-packages
	$(BIN)/python -m tests.nested.boot_files
	$(BIN)/python -m tests.nested.debian_host
	CUMULET_DATA_DIR=$(TEST_DATA) $(BIN)/cumulet image build
	tests/lab/enter $(BIN)/pytest --quiet tests/nested/whole_cloud.py tests/nested/debian_as_host.py

KILLS ?= 100

kills: env  ## a guest of a real cloud is moved while it runs, and each time something is killed at random: KILLS=100 times
	$(BIN)/python scripts/test-packages
	CUMULET_DATA_DIR=$(TEST_DATA) $(BIN)/cumulet image build
	KILLS=$(KILLS) tests/lab/enter $(BIN)/pytest --quiet --capture=no -m lab tests/lab/test_moving.py

bench: env  ## the figures of docs/promises.md, all or ONLY=one
	$(BIN)/python scripts/test-packages
	$(BIN)/python -m tests.nested.boot_files
	CUMULET_DATA_DIR=$(TEST_DATA) $(BIN)/cumulet image build
	tests/lab/enter $(BIN)/python -m bench $(ONLY)
