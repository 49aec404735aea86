# Everything a newcomer needs: `make demo` and `make test` work with nothing but Python 3.11+ and Make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PROTOS := $(shell find protos -name '*.proto')
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where it is set, each of some hundred processes would compile anew all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo dev test attack clauses contract lint proto proto-check bench bench-full bench-libraries \
  bench-audit bench-keys lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.made: requirements.lock pyproject.toml clients/python/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("piivault needs Python 3.11 or later; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

demo: $(VENV)/.made ## Tell the whole story on the real stack, in a temporary folder
	$(BIN)/python -m examples.osh.demo

dev: $(VENV)/.made ## Run the stack on this machine; state in .piivault/ (or ARGS="--split")
	$(BIN)/piivault dev $(ARGS)

test: $(VENV)/.made ## Run the whole suite: real OpenBao, SQLite and PostgreSQL
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

attack: $(VENV)/.made ## Try to break every wall, on split processes (dumps: one, on SQLite); prints what was attempted
	$(BIN)/pytest tests/attack --numprocesses 3 --dist loadfile $(ARGS)

contract: $(VENV)/.made ## Try what is relied upon in a key server: OpenBao, or yours (docs/keys.md)
	$(BIN)/pytest tests/contract $(ARGS)

clauses: $(VENV)/.made ## Walk the example's privacy policy, clause by clause; prints a table for lawyers
	$(BIN)/pytest tests/integration/test_clauses.py --quiet $(ARGS)

lint: $(VENV)/.made proto-check ## Check style, types, floors and protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy clients/python/tests
	$(BIN)/lint-imports --no-cache
	cd protos && ../$(BIN)/buf lint

proto: $(VENV)/.made ## Generate the stubs from protos/ (they are checked in)
	$(BIN)/python tools/generate_stubs.py

proto-check: $(VENV)/.made
	$(BIN)/python tools/generate_stubs.py --check

bench: $(VENV)/.made ## Measure against a bare gRPC echo and more, as ratios; draw docs/performance.svg
	$(BIN)/python -m tests.bench --draw docs/performance.svg $(ARGS)

bench-full: $(VENV)/.made ## The same, with 100,000 records for the roles and a million for growth
	$(BIN)/python -m tests.bench --full --draw docs/performance.svg $(ARGS)

bench-libraries: $(VENV)-bench/.made ## Seal a field as Asherah, Tink and the AWS Encryption SDK do
	$(VENV)-bench/bin/python -m tests.bench.libraries

$(VENV)-bench/.made: requirements.lock tests/bench/libraries.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/pip install --quiet --require-hashes -r requirements.lock
	$(VENV)-bench/bin/pip install --quiet -r tests/bench/libraries.txt
	$(VENV)-bench/bin/pip install --quiet --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

bench-audit: $(VENV)/.made ## Measure `piivault audit verify` on a million events, on one core
	$(BIN)/python -m tests.bench.audit $(ARGS)

bench-keys: $(VENV)/.made ## Measure `piivault keys status` on a million data keys
	$(BIN)/python -m tests.bench.keys_status $(ARGS)

lock: $(VENV)/.made ## Choose versions anew; the lock has hashes and names no host
	$(BIN)/uv pip compile --universal --upgrade --generate-hashes --no-emit-index-url --no-header --no-emit-package piivault \
	  --python-version 3.11 --extra dev --group test --group lint --group build --quiet pyproject.toml -o requirements.lock

clean: ## Remove the environment and what tools left behind
	rm -rf $(VENV) $(VENV)-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
