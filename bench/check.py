"""What it costs to look for values that do not fit: a projection of clean records with and without that, in CPU seconds.

    python -m bench.check [--records 100000] [--runs 5]

The third figure is DuckDB's own typed `read_json` of the same files, which rounds and guesses where ours rejects.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import duckdb

from rest_syncer.engine.hub import Hub
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.project import ODD, row_projection, text

from .memory import SPEC, fill


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of checking values.")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    collection = parse_spec(SPEC).spec.collections["things"]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, duckdb.connect() as con:
        hub = Hub(Path(folder), "big")
        hub.claim("https://api.example.com", {})
        fill(hub, 1, options.records, 1000)
        files = ", ".join(text(str(hub.file("things", name, Path(folder)))) for name in hub.segments("things"))
        checked = row_projection(collection).select(f"read_ndjson_objects([{files}])")
        types = ", ".join(f"{text(name)}: {text(prop.column_type.duckdb)}" for name, prop in collection.properties.items())
        ways = {
            "checked": checked,
            "not checked": f"SELECT * EXCLUDE ({ODD}) FROM ({checked})",
            "read_json": f"FROM read_json([{files}], columns = {{{types}}}, format = 'newline_delimited')",
        }
        con.execute("SET threads = 1")
        con.execute("SET disabled_optimizers = 'common_subexpressions'")
        for _ in range(options.runs):
            print("  ".join(f"{name} {_seconds(con, sql):.2f} s" for name, sql in ways.items()))


def _seconds(con: duckdb.DuckDBPyConnection, sql: str) -> float:
    start = time.process_time()
    con.execute(f"CREATE OR REPLACE TABLE plain AS {sql}")
    return time.process_time() - start


if __name__ == "__main__":
    main()
