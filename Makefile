# Every target sets up what it needs in .venv, and nothing more. `make` alone lists them.

PYTHON ?= python3
# How often make conformance repeats.
RUNS ?= 50
# What make fuzz and make chaos draw from; how many records are sent, and how long things go wrong.
SEED ?= 1
RECORDS ?= 100000
MINUTES ?= 10
# How many processes make test spreads the tests over: most of them wait, for a broker or for a worker.
JOBS ?= 4
# More arguments for the command of a target, e.g. make test ARGS='-k kafka -x'
ARGS ?=

# What each set-up installs: the names after .venv/. and before -ready.
extras_demo = demo
extras_kafka = broker
extras_bench = bench
extras_test = test,dev
# Installed one by one beforehand: pip keeps what it has downloaded until all is installed, 3 GB beside the 8 that it
# becomes.
first_test = torch tensorflow
first_bench = $(first_test)

# Its brokers and workers need the machine for themselves.
chaos = tests/chaos/test_chaos.py

say = @printf '\033[2m%s\033[0m\n'
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test conformance fuzz lint format chaos bench bench-peers kafka clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.demo-ready $(if $(findstring kafka,$(ARGS)),.venv/.kafka-ready)  ## serve handwritten digits, roll out version 2 in mid-stream, refuse a broken version 3
	@.venv/bin/penstock demo $(ARGS)

test: lint  ## lint, then all tests, on a real Kafka that the run starts itself
	$(say) 'running the tests'
	@.venv/bin/python -m pytest -n $(JOBS) --dist loadfile $(or $(ARGS),--ignore $(chaos))
	@$(if $(ARGS),,.venv/bin/python -m pytest $(chaos))

lint: .venv/.test-ready  ## ruff, mypy --strict, import contracts
	$(say) 'checking style, types and imports'
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check --diff .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo 2>&1 >.venv/imports.log || { cat .venv/imports.log; exit 1; }

format: .venv/.test-ready  ## let ruff put the style right
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format .

conformance: .venv/.test-ready  ## the registry's tests RUNS times: in a random order, then with threads that pause by a seed
	@for run in $$(seq 1 $(RUNS)); do \
	    .venv/bin/python -m pytest -q tests/unit/registry --randomly-seed=$$run $(ARGS) && \
	    .venv/bin/python -m pytest -q tests/unit/registry --randomly-seed=$$run --schedule-seed=$$run $(ARGS) || exit 1; \
	done

fuzz: .venv/.test-ready  ## RECORDS random and mutated records through the data path, and to a live worker on a real Kafka
	@.venv/bin/python -m pytest -q tests/fuzz --fuzz-records=$(RECORDS) --fuzz-seed=$(SEED) $(ARGS)

chaos: .venv/.test-ready  ## everything goes wrong for MINUTES, by SEED, on a Kafka of three nodes; needs two cores
	@.venv/bin/python -m pytest -s $(chaos) --chaos-seed=$(SEED) --chaos-minutes=$(MINUTES) $(ARGS)

bench: .venv/.bench-ready  ## our worker against a loop written by hand, on a real Kafka
	@.venv/bin/python -m benchmarks $(ARGS)

bench-peers: .venv/.bench-ready  ## ours against MLServer, Quix Streams, FastStream, Faust, Cluster Serving's client and loops written by hand, each in an environment of its own
	@.venv/bin/python -m benchmarks peers redis $(ARGS)

kafka: .venv/.kafka-ready  ## run a real single-node Kafka without Docker until Ctrl-C
	@.venv/bin/penstock kafka $(ARGS)

clean:  ## remove the set-up and everything built
	@rm -rf .venv .penstock-cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

# The stamp, not the folder: a set-up that was interrupted is done again.
.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	    "penstock needs Python 3.11 or later, this is %d.%d; say which to use: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(say) 'creating .venv'
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.%-ready: setup.cfg pyproject.toml constraints.txt | .venv/.created
	$(say) 'installing what "$*" needs into .venv (once; one to three minutes)'
	@for what in $(first_$*) '-e.[$(extras_$*)]'; do \
	    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt "$$what" || exit 1; \
	done
	@touch $@
