# The two commands to know: `make run` and `make test`. Everything happens in .venv and var/.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Long runs: SEED decides what happens, COUNT how much of it; results are JSON under $(RESULTS).
SEED    ?= 1
RESULTS ?= bench/results
ARGS    ?=
# All tests together run in a process per processor, at most four, each with databases of its own; chosen ones in one.
# A module's tests stay together, for the servers they share; the short modules come last.
# A test mostly waits: two processes for a processor, and no more than four, since each has servers of its own.
WORKERS ?= $(shell [ $$(nproc 2>/dev/null || echo 1) -ge 2 ] && echo 4 || echo 2)
SPREAD  := --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install run test check format config bench faults fuzz soak dist clean

help:
	@echo "make run      start duckmail with its own databases, for trial use   ARGS='--config FILE'"
	@echo "make test     run the tests                                          ARGS='-k name'"
	@echo "make check    style, types, layers, RFC index, sizes, generated files"
	@echo "make bench    measure                                                SEED COUNT"
	@echo "make faults   kill processes while they work, then compare           SEED COUNT"
	@echo "make fuzz     hostile inputs for every parser                        SEED COUNT"
	@echo "make soak     run for long, watch memory                             SEED COUNT"
	@echo "make dist     build the packages into dist/"
	@echo "make clean    remove .venv, caches and builds; var/ with its mail stays"

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "duckmail needs Python 3.11 or newer; choose one with: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv is missing; install it with: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

run: $(STAMP)
	@exec $(BIN)/duckmail serve $(ARGS)

test: $(STAMP)
	$(BIN)/pytest $(if $(strip $(ARGS)),$(ARGS),--numprocesses $(WORKERS) $(SPREAD))

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.tools.check_rfc
	$(BIN)/python -m tests.tools.check_sizes
	$(BIN)/python -m tests.tools.check_config
	$(BIN)/python -m tests.tools.check_imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

config: $(STAMP)
	$(BIN)/duckmail config generate > config/duckmail.toml

bench: COUNT ?= 1
bench: $(STAMP)
	$(BIN)/python -m bench --seed $(SEED) --count $(COUNT) --json $(RESULTS)/bench-$(SEED).json $(ARGS)

faults: COUNT ?= 20
faults: $(STAMP)
	$(BIN)/python -m tests.faults.run --seed $(SEED) --count $(COUNT) --json $(RESULTS)/faults-$(SEED).json $(ARGS)
	$(BIN)/python -m tests.faults.queue_run --seed $(SEED) --count $(COUNT) --json $(RESULTS)/faults-queue-$(SEED).json $(ARGS)
	$(BIN)/python -m tests.faults.mx_run --seed $(SEED) --count $(COUNT) --json $(RESULTS)/faults-mx-$(SEED).json $(ARGS)

fuzz: COUNT ?= 20000
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.run --seed $(SEED) --count $(COUNT) --json $(RESULTS)/fuzz-$(SEED).json $(ARGS)

soak: COUNT ?= 1000
soak: $(STAMP)
	$(BIN)/python -m bench.soak --seed $(SEED) --count $(COUNT) --json $(RESULTS)/soak-$(SEED).json $(ARGS)

dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m tests.tools.lock_wheel dist/*.whl speed >dist/requirements.txt
	$(BIN)/python -m tests.tools.lock_wheel dist/*.whl embedded,speed >dist/requirements-embedded.txt

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
