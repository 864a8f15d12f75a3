# fsroute. `make run` and `make test` need a Debian machine with Python 3.11 or newer and make; they bring the rest.

PYTHON ?= python3
LISTEN ?= 127.0.0.1:8084
DEMO   := sqlite:///demo.db
VENV   ?= .venv
BIN    := $(VENV)/bin
# The exact versions of everything that pip installs. constraints-lowest.txt has the lowest that setup.cfg allows.
CONSTRAINTS ?= constraints.txt
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)
# Each worker takes tests from the one that has most left. Calls ring in real time and need little of a processor, so more of
# them run at once than there are cores.
TOGETHER := -n 2 --dist worksteal
CALLS_TOGETHER := -n 3 --dist worksteal

.PHONY: help install run postgresql systemd unit test lint docs coverage lowest lowest-tests constraints e2e e2e-docker faults fault-tools bench fuzz record clean

help:
	@echo "make run      set up everything, load the demo, serve on $(LISTEN)"
	@echo "make test     set up what tests need, run them all (real calls too where a FreeSWITCH is found)"
	@echo "make unit     only the tests that start no process, in a minute or two"
	@echo "make e2e      only the calls through a real FreeSWITCH (FREESWITCH=/path/to/freeswitch names it)"
	@echo "make e2e-docker  the same calls through containers: FreeSWITCH, fsroute, PostgreSQL (needs Docker)"
	@echo "make lint     ruff and mypy"
	@echo "make docs     write the generated parts of docs/ anew"
	@echo "make coverage  which lines and branches tests/unit and tests/integration run, by package"
	@echo "make lowest   tests/unit and tests/integration/data with the lowest versions that setup.cfg allows"
	@echo "make constraints  write constraints.txt and constraints-lowest.txt anew, with the newest versions"
	@echo "make faults   every fault at every step of a call, and a load with random faults; writes docs/reliability.md (an hour"
	@echo "              at most; FAULTS='--rate 20 --seconds 60': a shorter load, FAULTS=--help: all options)"
	@echo "make bench    measure fsroute beside its peers, docs/performance.md says how (BENCH=--quick: a smoke test)"
	@echo "make fuzz     look for inputs that break something, FUZZ_S=30 seconds for each target (FUZZ=\"frames --seed 1\": options)"
	@echo "make install  .venv/bin/fsroute and nothing else"
	@echo "make record   record Event Socket conversations of a real FreeSWITCH anew (tests/recordings/)"
	@echo "make clean    remove what the above made"

install: $(BIN)/fsroute

# Debian keeps venv in a package of its own, python3-venv.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fsroute needs Python 3.11 or newer: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh scripts/install-packages.sh python3-venv
	$(PYTHON) -m venv $(VENV)

$(BIN)/fsroute: setup.cfg pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/tests-installed: setup.cfg pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP_INSTALL) --editable '.[test,postgresql]'
	@touch $(BIN)/fsroute $@

demo.db: $(BIN)/fsroute schema.sql scripts/demo.sql
	@rm -f demo.db demo.db-wal demo.db-shm
	@$(BIN)/fsroute init --db $(DEMO)
	@$(BIN)/fsroute load --db $(DEMO) scripts/demo.sql

run: demo.db
	@echo
	@echo "In FreeSWITCH's dialplan (freeswitch/dialplan/ has the whole of it):"
	@echo "    <action application=\"socket\" data=\"$(LISTEN)\"/>"
	@echo "Without a FreeSWITCH, in another terminal:"
	@echo "    $(BIN)/fsroute call --to 02214710100 --from 03023125001$(if $(filter-out 127.0.0.1:8084,$(LISTEN)), --port $(lastword $(subst :, ,$(LISTEN))))"
	@echo "    $(BIN)/fsroute explain --db $(DEMO) --to 02214710300"
	@echo "Ctrl-C ends it."
	@echo
	@$(BIN)/fsroute serve --db $(DEMO) --listen $(LISTEN)

# What the tests on PostgreSQL start.
postgresql:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || sh scripts/install-packages.sh postgresql

# What checks scripts/systemd.
systemd:
	@command -v systemd-analyze systemd-socket-activate >/dev/null 2>&1 || sh scripts/install-packages.sh systemd

# What the tests of faults need: SIPp for the load, and a clock that can be set for one process.
fault-tools:
	@command -v sipp >/dev/null || sh scripts/install-packages.sh sip-tester
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || sh scripts/install-packages.sh libfaketime

test: $(VENV)/tests-installed postgresql systemd fault-tools
	$(BIN)/python -m pytest tests/unit tests/integration $(TOGETHER)
	$(BIN)/python -m pytest tests/e2e $(CALLS_TOGETHER)

unit: $(VENV)/tests-installed
	$(BIN)/python -m pytest tests/unit $(TOGETHER)

e2e: $(VENV)/tests-installed
	$(BIN)/python -m pytest tests/e2e --require-freeswitch $(CALLS_TOGETHER)

faults: $(VENV)/tests-installed postgresql fault-tools
	$(BIN)/python -m scripts.faults.run $(FAULTS)

e2e-docker:
	sh scripts/e2e-docker.sh

lint: $(VENV)/tests-installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(BIN)/fsroute
	$(BIN)/python -m scripts.make_docs

# It counts the stack and the packages of a process, to which coverage adds its own.
UNMEASURED := --deselect tests/integration/embedded/test_mod_python.py::test_calls_need_a_quarter_of_the_stack_that_freeswitch_gives_and_no_gevent

coverage: $(VENV)/tests-installed postgresql systemd
	@rm -rf build/coverage
	@mkdir -p build/coverage
	$(BIN)/coverage run -m pytest tests/unit tests/integration $(TOGETHER) --timeout 600 $(UNMEASURED)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage json --quiet -o build/coverage/report.json
	@$(BIN)/python scripts/coverage_report.py build/coverage/report.json

# In an environment of its own, which holds other versions than the one for everything else.
lowest:
	$(MAKE) VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt lowest-tests

lowest-tests: $(VENV)/tests-installed postgresql
	$(BIN)/python -m pytest tests/unit tests/integration/data $(TOGETHER)

# uv works the versions out for all systems and Pythons at once, which pip does not.
UV = build/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra test --extra postgresql setup.cfg \
	--annotation-style line --no-emit-index-url --custom-compile-command "make constraints"

constraints:
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv >=0.5, <1'
	$(UV) --output-file constraints.txt
	$(UV) --resolution lowest-direct --output-file constraints-lowest.txt

bench: $(BIN)/fsroute
	$(BIN)/python -m scripts.bench.bench $(BENCH)

# atheris is in an environment of its own: its wheels are for Linux on x86-64 only.
FUZZ_S ?= 30

fuzz: $(VENV)/tests-installed
	$(BIN)/python -m scripts.fuzz.fuzz --seconds $(FUZZ_S) $(FUZZ)

record: $(VENV)/tests-installed
	$(BIN)/python -m pytest tests/e2e/test_recordings.py --require-freeswitch --record

clean:
	rm -rf .venv .venv-lowest demo.db demo.db-wal demo.db-shm *.egg-info build .mypy_cache .pytest_cache .ruff_cache .hypothesis
