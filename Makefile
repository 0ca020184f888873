# The daily actions. `scripts/demo` and `scripts/test` need no make; the recipes are shorthand for them.

.PHONY: crash-matrix fuzz demo test setup lint format types unit root machine vm recordings lock bench

demo:            ## run the first container and show its events
	scripts/demo
test:            ## everything that CI runs
	scripts/test
setup:           ## the virtual environment with the locked dependencies
	scripts/setup dev
lint:            ## lint, formatting and types
	scripts/test lint format types
format:          ## rewrite the files in the project's format
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .
types:           ## mypy --strict
	scripts/test types
unit:            ## the tests that need no privileges
	scripts/test unit
root:            ## the tests on the real kernel
	scripts/test root
machine:         ## the tests of kernel, limits and API, in a virtual machine with a pure cgroup v2
	scripts/test machine
vm:              ## a command in that machine: make vm RUN='uname -a'
	vm/run '$(RUN)'
recordings:      ## record the scenarios in tests/recordings anew, on the real kernel
	scripts/record
lock:            ## resolve the dependencies anew: make lock UPGRADE=--upgrade
	scripts/lock $(UPGRADE)
fuzz:            ## every fuzz target for a minute
	scripts/test fuzz
crash-matrix:    ## every scenario crashed at every point, on the fake kernel and (as root) on the real one
	.venv/bin/python -m tests.simulation --matrix
	.venv/bin/python -m tests.simulation --errnos
	.venv/bin/python -m tests.simulation --real --every $(or $(EVERY),1)
bench:           ## docket beside the engines that are installed
	.venv/bin/python -m benchmarks $(SCENARIOS)
