# run · demo · test · torture · fuzz · check · bench · soak · screenshots · audit · sbom · lock: each sets up what it needs on
# a machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SUPPLY := .venv-supply
SUPPLY_READY := $(SUPPLY)/.ready
LOCK = $(SUPPLY)/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 \
	--no-emit-package homeroom --no-emit-package homeroom-merge

# What of the tests is silent, quick and about the house itself.
QUICK := tests/test_layers.py tests/docs/test_references.py tests/docs/test_words.py

MINUTES ?= 30
SEED ?= 1
CASES ?= 100

.PHONY: run demo test torture fuzz check bench soak screenshots audit sbom lock clean

$(READY): pyproject.toml client_sdk/pyproject.toml merge/pyproject.toml constraints-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ./client_sdk -e ./merge -e .
	$(BIN)/pip check
	touch $@

$(SUPPLY_READY): constraints-supply.txt
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints-supply.txt
	touch $@

run: $(READY)
	$(BIN)/homeroom serve

demo: $(READY)
	$(BIN)/homeroom demo $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

torture: $(READY)
	$(BIN)/python -m tests.history.torture --minutes $(MINUTES) --seed $(SEED) $(ARGS)
	HOMEROOM_MERGE_KILLS=0 $(BIN)/python -m pytest -q --numprocesses 2 tests/merge/test_kills.py
	HOMEROOM_EVERYTHING=1 $(BIN)/python -m pytest -q --numprocesses 2 \
		tests/test_replica_kills.py tests/merge/test_bad_feeds.py tests/merge/test_sandbox.py tests/merge/test_worker.py

fuzz: $(READY)
	HOMEROOM_FUZZ_CASES=$(CASES) HOMEROOM_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -q -rP --numprocesses 2 --dist worksteal \
		tests/fuzzing $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -q $(QUICK) > $(VENV)/check.log || { cat $(VENV)/check.log; exit 1; }

bench: $(READY)
	$(BIN)/python -m bench.submit $(ARGS)
	$(BIN)/python -m bench.get $(ARGS)

soak: $(READY)
	$(BIN)/python -m bench.soak $(ARGS)

screenshots: $(READY)
	$(BIN)/python -m tests.browser.screenshots

audit: $(SUPPLY_READY)
	$(SUPPLY)/bin/pip-audit --strict --require-hashes --disable-pip -r constraints.txt
	$(SUPPLY)/bin/pip-audit --strict --require-hashes --disable-pip -r constraints-dev.txt

sbom: $(SUPPLY_READY)
	$(SUPPLY)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file sbom.cdx.json constraints.txt

# What is pinned stays; `make lock ARGS=--upgrade` takes what is newest, `ARGS="--upgrade-package starlette"` one of them.
lock: $(SUPPLY_READY)
	$(LOCK) $(ARGS) pyproject.toml --output-file constraints.txt
	$(LOCK) $(ARGS) --constraint constraints.txt --extra dev pyproject.toml --output-file constraints-dev.txt
	$(LOCK) $(ARGS) constraints-supply.in --output-file constraints-supply.txt

clean:
	rm -rf $(VENV) $(SUPPLY) homeroom-demo
