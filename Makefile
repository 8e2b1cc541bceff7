# SPDX-License-Identifier: Apache-2.0
# p4ct: connection-tracking offload to a P4 eswitch.  `make` lists the verbs.
#
# Every verb sets up what it needs first, once (tools/setup.sh); what touches the network runs in
# private namespaces (tools/private.py) and cannot leave anything behind.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.SUFFIXES:

TARGET ?= softswitch
TEST ?=
PACKETS ?= 5000
TRACES ?=
REQUESTS ?=
SEED ?=
PTF_TARGETS := softswitch bmv2
ifeq ($(filter $(TARGET),$(PTF_TARGETS)),)
$(error TARGET=$(TARGET) is unknown; it is one of: $(PTF_TARGETS))
endif

python := .venv/bin/python
private := $(python) tools/private.py --
pytest := $(python) -m pytest -q
# TEST=file, TEST=file.Class and TEST=file.Class.method name tests of ptf_tests/ the way ptf does.
test_words := $(subst ., ,$(TEST))
test_path := $(if $(TEST),ptf_tests/$(firstword $(test_words)).py$(subst $() ,,$(foreach word,$(wordlist 2,9,$(test_words)),::$(word))),ptf_tests)

test_file := $(if $(TEST),ptf_tests/$(firstword $(test_words)).py)

.PHONY: help run cli test check lint types imports drift unit interop ptf differential fuzz-conntrack \
        topo-test p4 bench doctor shell clean setup lock _ptf_bmv2 _ptf_file

help: ## this list
	@echo 'p4ct: connection-tracking offload to a P4 eswitch.  Start with: make run'
	@echo
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' \
	  | awk -F '\t' '{ printf "  make %-14s %s\n", $$1, $$2 }'
	@echo
	@echo '  TARGET=softswitch|bmv2 chooses the switch for run, cli and ptf (default softswitch).'
	@echo '  TEST=file[.Class[.method]] chooses the packet tests for ptf.'

setup: ## set up everything once (Debian packages when root, .venv, stubs); the others do it too
	@tools/setup.sh

run: setup ## the main job: real traffic through the eswitch, a live table, build/report.json
	@$(private) $(python) -m topo.run --target $(TARGET) $(RUN_FLAGS)

cli: setup ## the same topology with the Mininet prompt
	@$(private) $(python) -m topo.cli --target $(TARGET)

test: setup ## everything that proves it works: check, unit, ptf and the topology end to end
	@$(MAKE) check
	@$(MAKE) unit
	@$(MAKE) interop
	@$(MAKE) ptf TARGET=softswitch TEST=
	@$(MAKE) _ptf_bmv2
	@$(MAKE) topo-test
	@echo 'make test: everything passed'

check: lint types imports drift ## style, types, import contracts, compiled P4 against its sources

lint: setup
	@echo '== ruff'
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check . || \
	  { .venv/bin/ruff format --check .; echo 'run: .venv/bin/ruff format .'; exit 1; }

types: setup
	@echo '== pyright'
	@.venv/bin/pyright

imports: setup
	@echo '== import contracts'
	@.venv/bin/lint-imports --no-logo

drift: setup
	@echo '== compiled P4'
	@$(python) tools/p4build.py --check
	@$(python) tools/p4build.py --check --p4src bench/p4

unit: setup ## unit tests of the controller, softswitch and the tools
	@echo '== unit tests'
	@$(private) $(pytest) controller/tests softswitch/tests tools/tests bench/tests

interop: setup ## controllers of other projects against softswitch, in their own environments
	@echo '== p4runtime-shell and finsy'
	@tools/environment.sh shell .venv-shell
	@tools/environment.sh finsy build/finsy
	@$(private) $(pytest) softswitch/interop

ptf: _ptf_file setup ## packet tests of the P4 program on TARGET [TEST=...]
	@echo '== packet tests on $(TARGET)'
	@$(private) $(pytest) $(test_path) --target=$(TARGET)

_ptf_file:
	@$(if $(test_file),[ -e $(test_file) ] || { \
	  echo 'error: TEST=$(TEST): there is no $(test_file); the files are:' \
	    $$(cd ptf_tests && ls test_*.py | sed 's/\.py$$//') >&2; exit 2; },:)

_ptf_bmv2:
	@if command -v simple_switch_grpc >/dev/null; then $(MAKE) ptf TARGET=bmv2 TEST=; \
	 else echo '== packet tests on bmv2: skipped, simple_switch_grpc is not on the PATH'; fi

differential: setup ## random packets on softswitch and bmv2, all must be equal [PACKETS=5000 SEED=]
	@$(private) $(python) ptf_tests/differential --packets $(PACKETS) $(if $(SEED),--seed $(SEED))

fuzz-conntrack: setup ## random packets, the kernel's conntrack against p4ct's [SEED=n TRACES=5000]
	@PYTHONPATH=controller/tests $(private) $(python) -m against_kernel $(if $(TRACES),--traces $(TRACES)) \
	  $(if $(SEED),--seed $(SEED))

fuzz: setup ## malformed packets and requests, with sanitizers [PACKETS=10000000 REQUESTS=100000 SEED=]
	@PYTHONPATH=softswitch $(private) $(python) -m tests.fuzz \
	  $(if $(filter command line,$(origin PACKETS)),--packets $(PACKETS)) \
	  $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEED),--seed $(SEED))

topo-test: setup ## the topology's tests, the whole scenario among them
	@echo '== topology, end to end'
	@$(private) $(pytest) topo/tests

p4: setup ## compile p4src/ with the p4c on the PATH into p4src/compiled/
	@$(python) tools/p4build.py
	@$(python) tools/p4build.py --p4src bench/p4

bench: setup ## benchmarks; `bench/run forwarding` is all about a target's speed
	@$(private) bench/run

doctor: ## what works on this machine, what does not, and what to do about it
	@python=$(python); [ -x $$python ] || python=/usr/bin/python3; [ -x $$python ] || \
	  { echo 'error: there is no Python 3; install it: sudo apt-get install python3' >&2; exit 1; }; \
	  $$python tools/doctor.py

shell: setup ## p4runtime-shell (in its own environment) on the target at ADDRESS
	@tools/shell.sh $(ADDRESS)

lock: setup ## bring requirements*.txt up to date with requirements*.in
	@tools/lock.sh

clean: ## remove build/ and all that tests and tools leave; keeps .venv
	@rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
