# One word is enough: `make demo` shows the product, `make test` proves it. Everything else is for those who work on it.
# ARGS='…' goes to the program, LANES='…' picks lanes of the tests, ONLY='…' picks benchmarks, PYTHON=… the interpreter.
# Set-up talks on stderr. make's own failure is always 2; for exact exit codes call .venv/bin/intertie.

.DEFAULT_GOAL := help
.PHONY: help venv demo test fire check bench soak lab-openstack clean
MAKEFLAGS += --no-print-directory
export PYTHON

help:
	@echo 'make demo           three sites in network namespaces, joined and serving; ARGS=--check to test and leave'
	@echo 'make test           everything, each lane timed; LANES="check unit federation simulator contract fuzz net hosts openstack fire demo"'
	@echo 'make fire           a story of faults over real agents; SECONDS=1800 SEED=7 for a longer one'
	@echo 'make check          format, lint, types, import rules, unit tests: under a minute'
	@echo 'make soak           the simulator for as long as told; SECONDS=3600 SEEDS=1.. PROFILE=all'
	@echo 'make bench          figures beside their baselines, kept in bench/; ONLY="api round" picks, ARGS=--tiny tries'
	@echo 'make lab-openstack  two real OpenStack regions with Intertie beside each, until Ctrl-C; ARGS="--check -o json"'
	@echo 'make venv | clean   the environment in .venv'

venv:
	@tools/make-venv

demo: venv
	@.venv/bin/intertie demo $(ARGS)

test: venv
	@.venv/bin/python tools/run_tests.py $(LANES)

fire: venv
	@INTERTIE_FIRE_SECONDS='$(SECONDS)' INTERTIE_FIRE_SEED='$(SEED)' .venv/bin/python -m pytest -s tests/fire/test_story.py

check: venv
	@.venv/bin/python tools/run_tests.py check unit

bench: venv
	@.venv/bin/python -m bench $(ONLY) $(ARGS)

soak: venv
	@.venv/bin/intertie-sim run --seeds $(or $(SEEDS),1..) --profile $(or $(PROFILE),all) --seconds $(or $(SECONDS),3600) \
		--keep-going $(ARGS)

lab-openstack: venv
	@.venv/bin/python -m lab up $(ARGS)

clean:
	rm -rf .venv .lab .venv.lock build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
