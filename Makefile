# Everything a developer runs. `make help` lists the targets.
VENV ?= .venv
PYTHON ?= python3
CORPUS ?= demo/corpus
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help venv lock demo test check faults long bench bench-short wheel clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 14

venv: $(STAMP) ## make .venv (or VENV=path) from the lock file, the package installed editable

$(STAMP): requirements-lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-lock.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

lock: venv ## bring requirements-lock.txt up to date with pyproject.toml
	$(BIN)/python -m pip install --quiet pip-tools
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --extra dev --strip-extras \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o requirements-lock.txt pyproject.toml

demo: venv ## make a corpus (or take CORPUS=path), process it, show what came out
	@PATH="$(abspath $(BIN)):$$PATH" CORPUS="$(CORPUS)" bash tests/demo.sh

test: venv ## run the tests
	$(BIN)/python -m pytest -m "not slow and not faults and not bench and not quality and not quality_short"

check: venv ## format, lint, types, direction of imports, size of modules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@long=$$(find corpusdiff -name '*.py' -exec awk 'END { if (NR > 300) print FILENAME ": " NR " lines, at most 300" }' {} \;); \
		[ -z "$$long" ] || { echo "$$long"; exit 1; }

faults: venv ## run the tests that kill processes, break disks and cut links
	$(BIN)/python -m pytest -m faults

long: venv ## run the tests that take minutes
	$(BIN)/python -m pytest -m "slow and not bench and not faults and not quality"

bench: venv ## measure speed against the floor, an hour of audio
	$(BIN)/python -m pytest -m bench -s

bench-short: venv ## the same over ten minutes of audio
	$(BIN)/python -m pytest -m "bench and not slow" -s

wheel: venv ## build dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what was made here
	rm -rf .venv build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find corpusdiff tests -name __pycache__ -type d -prune -exec rm -rf {} +
