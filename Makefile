# What a person types. `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help run check test test-docker chaos bench docs schemas tables screenshots lock audit clean

# Some machines keep Python from writing down what it has compiled: then each of the many processes that tests start
# would compile all of Waybill anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
INSTALLED := .venv/.installed
REQUIRED := .venv/.required
PIP := $(BIN)/python -m pip install --disable-pip-version-check
LOCK := .venv.lock
PEERS := bench/peers/.venv/.installed

help:
	@echo 'make run          start everything, play the bundled deliveries, show each event; Ctrl-C stops'
	@echo 'make run ONCE=1   the same, but stop when every expected event was seen (exit 1 if one is missing)'
	@echo 'make check        format, lint, types, layers, unit and property tests: no broker, no database, two or three minutes'
	@echo 'make test         everything CI checks: format, lint, types, layers, tests on a real broker and database'
	@echo 'make test-docker  the integration tests in Docker, and compose.yaml up until a webhook is an event'
	@echo 'make chaos        the long fault suite: kills, freezes and cuts at random under load; writes docs/reliability.md;'
	@echo '                  then each law on 200 lives that nobody has tried before'
	@echo 'make bench        events a second beside other engines, delays, the door, compression, scale, replays, growth: most of an hour'
	@echo 'make bench WRITE=1   the same, and write docs/performance.md'
	@echo 'make docs         build the documentation site into build/docs'
	@echo 'make schemas      write the exported JSON Schemas, examples and drawings anew'
	@echo 'make tables       write migrations/schema.sql anew, from a database that the migrations have made'
	@echo 'make screenshots  take the pictures of the console that the docs show, by Chromium'
	@echo 'make lock         resolve the requirements anew'
	@echo 'make audit        ask the advisory service about every locked package; needs the network, no part of `make test`'
	@echo 'make clean        delete the virtual environment, the data of `make run` and all caches'

run: $(INSTALLED)
	@$(BIN)/waybill up $(if $(ONCE),--once) $(if $(NO_SAMPLES),--no-samples)

check: $(INSTALLED) static
	$(BIN)/pytest $(WORKERS) tests/unit tests/property

test: $(INSTALLED) static
	$(BIN)/pytest $(WORKERS) --numprocesses=3 --durations=25

.PHONY: static
static: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache

# Each worker has a broker and a database server of its own. The tests of a file share its fixtures and stay together.
# The files come in the order of tests/conftest.py: long ones first. Two workers leave a fifth of two processors idle: a
# third begins at the end, with files that need no services, for with services of its own it costs more than it saves.
WORKERS := --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-docker: $(INSTALLED)
	WAYBILL_TEST_STACK=docker $(BIN)/pytest tests/integration tests/docker

# WAYBILL_TEST_CHAOS=2 doubles the faults; WAYBILL_TEST_SEED=n repeats a plan. A part of tests/faults, run with
# WAYBILL_TEST_CHAOS=1 WAYBILL_TEST_WRITE_RELIABILITY=part, writes its own sections of the page.
chaos: $(INSTALLED)
	WAYBILL_TEST_CHAOS=$${WAYBILL_TEST_CHAOS:-1} WAYBILL_TEST_WRITE_RELIABILITY=whole $(BIN)/pytest tests/faults
	WAYBILL_TEST_REPLAY_KILLS=20 WAYBILL_TEST_RECONCILE_SHIPMENTS=10000 \
	$(BIN)/pytest tests/integration/test_replay.py tests/integration/test_reconcile.py
	HYPOTHESIS_PROFILE=full $(BIN)/pytest $(WORKERS) tests/property

bench: $(INSTALLED) $(PEERS)
	$(BIN)/python -m bench.compare $(if $(WRITE),--write)
	$(BIN)/python -m bench.latency $(if $(WRITE),--write)
	$(BIN)/python -m bench.door $(if $(WRITE),--write)
	$(BIN)/python -m bench.compression $(if $(WRITE),--write)
	$(BIN)/python -m bench.scale $(if $(WRITE),--write)
	$(BIN)/python -m bench.replay $(if $(WRITE),--write)
	$(BIN)/python -m bench.storage
	$(BIN)/python -m bench.growth $(if $(WRITE),--write)

docs: $(INSTALLED)
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --nitpicky --keep-going -c docs/site . build/docs
	@echo "The site: file://$(CURDIR)/build/docs/index.html"

schemas: $(INSTALLED)
	$(BIN)/python -m tests.generated

tables: $(INSTALLED)
	WAYBILL_TEST_WRITE_SCHEMA=1 $(BIN)/pytest tests/integration/test_schema.py

screenshots: $(INSTALLED)
	WAYBILL_TEST_WRITE_SCREENSHOTS=1 $(BIN)/pytest tests/integration/test_browser.py \
	tests/integration/test_browser_acting.py -k 'serves_everybody or accepted'

lock: $(INSTALLED)
	$(BIN)/uv pip compile $(COMPILE) pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile $(COMPILE) --extra otel --constraint requirements.txt pyproject.toml --output-file requirements-otel.txt
	$(BIN)/uv pip compile $(COMPILE) --extra dev --extra docs --extra otel --constraint requirements-otel.txt pyproject.toml --output-file requirements-dev.txt
	$(BIN)/uv pip compile $(COMPILE) bench/peers/requirements.in --output-file bench/peers/requirements.txt
	$(BIN)/uv pip compile $(COMPILE) --constraint requirements-dev.txt examples/python/requirements.in --output-file examples/python/requirements.txt

# A package that the service does not know would count as clean without `--strict`.
audit: $(INSTALLED)
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --desc off \
	-r requirements.txt -r requirements-dev.txt || { echo 'make audit failed: a package above has a known' \
	'vulnerability, or the advisory service could not be asked (see the error): then nothing is known' >&2; exit 1; }

COMPILE := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

clean:
	rm -rf .venv .waybill build bench/peers/.venv bench/peers/kafka_streams/target .mypy_cache .ruff_cache .pytest_cache .hypothesis $(LOCK) \
	examples/python/.venv examples/java/libs examples/typescript/node_modules examples/typescript/build
	find . -name __pycache__ -prune -exec rm -rf {} +

# ---- the virtual environment -------------------------------------------------------------------------------------

# The first Python of at least 3.11.
FIND_PYTHON := for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; python=; done; \
	if [ -z "$$python" ]; then echo 'Waybill needs Python 3.11 or newer: install python3.11 with its venv module' \
	'(Debian: apt install python3 python3-venv; macOS: brew install python), or name one: make PYTHON=...' >&2; exit 1; fi

# Two makes at once must not both write the environment: the second waits, then finds it done.
HOLD_LOCK := import fcntl, os, sys; file = open(sys.argv[1], "w"); fcntl.flock(file, fcntl.LOCK_EX); \
	os.set_inheritable(file.fileno(), True); os.execvp(sys.argv[2], sys.argv[2:])

ifndef LOCKED

$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(FIND_PYTHON); "$$python" -c '$(HOLD_LOCK)' $(LOCK) $(MAKE) --silent LOCKED=1 $(INSTALLED)

else

# By uv, which is itself among the requirements: it takes seconds where pip takes minutes. Where it cannot, by pip.
$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(FIND_PYTHON); echo "Making .venv with $$("$$python" --version)"; \
	[ -x $(BIN)/python ] && $(BIN)/python -c '' || rm -rf .venv; \
	[ -d .venv ] || "$$python" -m venv .venv || { rm -rf .venv; \
	echo 'The venv module is missing or broken (Debian: apt install python3-venv)' >&2; exit 1; }
	@echo 'Installing the locked requirements'; rm -f $(REQUIRED)
	@{ awk '/^[^ \#]/ { wanted = /^uv==/ } wanted' requirements-dev.txt > .venv/.uv \
	&& $(PIP) --quiet --require-hashes -r .venv/.uv \
	&& $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt \
	&& touch $(REQUIRED); } || { { $(PIP) --progress-bar off --require-hashes -r requirements-dev.txt && touch $(REQUIRED); } \
	| awk '/^Collecting/ && ++n % 10 == 0 { print "  " n " packages"; fflush() }'; [ -e $(REQUIRED) ]; }
	@$(PIP) --quiet --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)

endif

# What Waybill is compared with stays out of its own environment.
$(PEERS): bench/peers/requirements.txt | $(INSTALLED)
	@echo 'Making bench/peers/.venv: the engines that Waybill is compared with'; rm -rf $(@D)
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r bench/peers/requirements.txt
	@touch $@
