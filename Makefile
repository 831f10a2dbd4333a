# Two targets matter: `make demo` and `make test`. Both make the environment they need, in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DUCKDB_15 := $(VENV)/duckdb15
FAKESNOW := $(VENV)/fakesnow/.ready

.PHONY: bench demo test lint types tests tests-whole warehouses tests-duckdb15 test-deep wheel format clean

demo: $(READY)
	$(BIN)/python -m tests.demo

test: lint types tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/syncer validate specs/*.yaml
	$(BIN)/syncer schema --check schemas/spec.schema.json
	$(BIN)/syncer schema --reference --check docs/spec.md

types: $(READY)
	MYPYPATH=$(VENV)/link $(BIN)/mypy

tests: $(READY) $(FAKESNOW)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

# All that can be tried: every warehouse through all tests, each durable step of each verb, a hundred kills. More than an hour.
tests-whole: $(READY) $(FAKESNOW)
	SYNCER_WHOLE=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

# What each warehouse can do, as the tests show it, into the README.
warehouses: $(READY) $(FAKESNOW)
	SYNCER_WHOLE=1 SYNCER_WRITE_TABLE=yes $(BIN)/python -m pytest -q -n 2 --dist worksteal -m shows

# The oldest DuckDB that is supported: what speaks to it, in an environment of its own; and that it reads what the newest wrote.
tests-duckdb15: $(READY) $(DUCKDB_15)/.ready
	$(DUCKDB_15)/bin/python -m pytest -q -n 2 --dist worksteal tests/test_columns.py tests/test_stage.py tests/test_duckdb.py
	$(DUCKDB_15)/bin/python -m pytest -q -n 2 --dist worksteal -k duckdb \
		tests/test_warehouses.py tests/test_rows.py tests/test_versions.py tests/test_rejects.py tests/test_damage.py
	SYNCER_DUCKDB_15=$(abspath $(DUCKDB_15))/bin/python $(BIN)/python -m pytest -q tests/test_duckdb.py -k reads_what_is_written

# syncer beside its peers, each in an environment of its own (.venv/bench), over nginx where that is installed, and into PostgreSQL. It takes
# an hour or more; BENCH="--works 100k" is a part. What is found is kept in bench/results.json, and makes docs/benchmarks.md.
bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m bench --write $(BENCH)

# Many more stories of lists that change while they are read: some 20 minutes. SYNCER_SEED=7 tries others than the usual ones.
test-deep: $(READY)
	SYNCER_DEEP=$${SYNCER_DEEP:-2000} $(BIN)/python -m pytest -q -n 2 --dist worksteal -rA tests/test_moving.py

# The wheel as a stranger gets it: built, installed into an empty environment, and run there.
wheel: $(READY)
	rm -rf $(VENV)/wheel && mkdir -p $(VENV)/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(VENV)/wheel .
	$(PYTHON) -m venv $(VENV)/wheel/env
	$(VENV)/wheel/env/bin/python -m pip install --quiet --disable-pip-version-check $(VENV)/wheel/*.whl
	$(VENV)/wheel/env/bin/syncer --help > /dev/null
	$(VENV)/wheel/env/bin/syncer validate specs/*.yaml
	$(VENV)/wheel/env/bin/syncer schema --check schemas/spec.schema.json

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/syncer schema > schemas/spec.schema.json
	$(BIN)/syncer schema --reference > docs/spec.md

clean:
	rm -rf $(VENV) .demo .syncer build *.egg-info desk_com.duckdb desk_com.duckdb.wal

# mypy finds the package `rest_syncer` through a link: its folder is the repository itself.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	mkdir -p $(VENV)/link && ln -sfn ../.. $(VENV)/link/rest_syncer
	touch $(READY)

$(DUCKDB_15)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DUCKDB_15)
	$(DUCKDB_15)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' 'duckdb>=1.5,<1.6'
	touch $@

# The stand-in for Snowflake wants an older DuckDB than the project has. Its parser is the compiled one: that halves the time.
$(FAKESNOW): Makefile | $(READY)
	$(PYTHON) -m venv $(VENV)/fakesnow
	$(VENV)/fakesnow/bin/python -m pip install --quiet --disable-pip-version-check \
	    'fakesnow[server]>=0.11.22,<0.12' 'snowflake-connector-python>=4,<5' 'sqlglot[c]'
	touch $(FAKESNOW)
