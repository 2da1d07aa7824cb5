# Everything a developer runs. `make help` lists the targets.
VENV ?= .venv
PYTHON ?= python3
CORPUS ?= demo/corpus
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JUDGES := $(VENV)/.judges
FORMATS := $(VENV)/.formats
PEERS := $(VENV)/.peers
FAULTS := $(abspath $(VENV))/faults.jsonl

# each test file has one process; a test of a cluster starts several
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile

LOCK = CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --strip-extras \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links

.PHONY: help venv quality-venv formats-venv bench-venv lock demo test check formats faults faults-short image scale long quality quality-short bench bench-short wheel clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 14

venv: $(STAMP) ## make .venv (or VENV=path) from the lock file, the package installed editable

$(STAMP): requirements-lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-lock.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

quality-venv: $(JUDGES) ## add the judges and peers of `make quality`; pesq is compiled

$(JUDGES): $(STAMP) requirements-quality.txt
	$(BIN)/python -m pip install --quiet -r requirements-quality.txt
	@touch $@

formats-venv: $(FORMATS) ## add the libraries that others read corpora with: lhotse, datasets, webdataset, PyTorch ...

$(FORMATS): $(STAMP) requirements-formats.txt
	$(BIN)/python -m pip install --quiet -r requirements-formats.txt
	@touch $@

bench-venv: $(PEERS) ## add the peers of `make bench`; those that are programs (ffmpeg, sox with libsox-fmt-mp3) are Debian's

$(PEERS): $(STAMP) requirements-bench.txt
	$(BIN)/python -m pip install --quiet -r requirements-bench.txt
	@touch $@

lock: venv ## bring requirements-lock.txt up to date with pyproject.toml
	$(BIN)/python -m pip install --quiet pip-tools
	$(LOCK) --extra dev -o requirements-lock.txt pyproject.toml
	$(LOCK) --extra quality -c requirements-lock.txt -o requirements-quality.txt pyproject.toml
	$(LOCK) --extra formats -c requirements-lock.txt -o requirements-formats.txt pyproject.toml
	$(LOCK) --extra bench -c requirements-lock.txt -c requirements-formats.txt -o requirements-bench.txt pyproject.toml
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements-formats.txt requirements-bench.txt

demo: venv ## make a corpus (or take CORPUS=path), process it, show what came out
	@PATH="$(abspath $(BIN)):$$PATH" CORPUS="$(CORPUS)" bash tests/demo.sh

test: venv ## run the tests
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not faults and not faults_short and not scale and not bench and not quality and not quality_short"

check: venv ## format, lint, types, direction of imports, size of modules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@long=$$(find corpusdiff -name '*.py' -exec awk 'END { if (NR > 300) print FILENAME ": " NR " lines, at most 300" }' {} \;); \
		[ -z "$$long" ] || { echo "$$long"; exit 1; }

formats: formats-venv ## exports, sources and training read by the formats' own libraries
	$(BIN)/python -m pytest $(PARALLEL) $(wildcard tests/formats tests/training tests/test_training.py) tests/test_export.py tests/test_terminal.py

faults: venv ## kill processes, break disks, cut links, fail stores; the table of it all
	@rm -f $(FAULTS)
	CORPUSDIFF_FAULT_TABLE=$(FAULTS) $(BIN)/python -m pytest -m "faults or faults_short"
	PYTHONPATH=tests $(BIN)/python -m fault_table $(FAULTS) -o tests/faults/TABLE.md

faults-short: venv ## a sample of each kind of them
	$(BIN)/python -m pytest -m faults_short

image: venv ## build the container image without Docker, and run the demo inside
	$(BIN)/python -m pytest -m faults tests/deploy/test_container.py

scale: venv ## run a simulated corpus of ten million tracks
	$(BIN)/python -m pytest -m scale -s

long: venv ## run the tests that take minutes
	$(BIN)/python -m pytest -m "slow and not bench and not faults and not faults_short and not scale and not quality"

quality: quality-venv ## judge the sound against peers: jobs/QUALITY.md, the README's table, and what must hold
	PYTHONPATH=tests $(BIN)/python -m quality --readme README.md
	$(BIN)/python -m pytest -m quality

quality-short: quality-venv ## the same on a sample, and the stages around learned models
	$(BIN)/python -m pytest -m quality_short
	$(BIN)/python -m pytest tests/stages/test_learned.py

bench: bench-venv ## measure speed against the floor and peers: tests/bench/TABLE.md, and what must hold
	$(BIN)/python -m pytest -m bench -s

bench-short: bench-venv ## the same over small loads, with looser limits
	$(BIN)/python -m pytest -m "bench and not slow" -s

wheel: venv ## build dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what was made here
	rm -rf .venv build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find corpusdiff tests -name __pycache__ -type d -prune -exec rm -rf {} +
