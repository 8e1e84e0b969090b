# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
JOBS ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: demo test format clean

demo: .venv/installed
	$(BIN)/veravox score samples/protocol.csv
	@echo 'For `veravox` in this shell: export PATH="$(CURDIR)/$(BIN):$$PATH"'

test: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n $(JOBS) --dist worksteal

format: .venv/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "veravox needs Python 3.11 or newer; install it or run: make PYTHON=/path/to/python $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module is missing; on Debian or Ubuntu: apt install python3-venv"; exit 2; }

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
