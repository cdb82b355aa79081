# run · demo · test · torture · check · bench · screenshots: each sets up what it needs on a machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

MINUTES ?= 30
SEED ?= 1

.PHONY: run demo test torture check bench screenshots clean

$(READY): pyproject.toml client_sdk/pyproject.toml merge/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt -e ./client_sdk -e ./merge -e ".[dev]"
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

check: $(READY)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary

bench: $(READY)
	$(BIN)/python -m bench.submit $(ARGS)
	$(BIN)/python -m bench.get $(ARGS)

screenshots: $(READY)
	$(BIN)/python -m tests.browser.screenshots

clean:
	rm -rf $(VENV) homeroom-demo
