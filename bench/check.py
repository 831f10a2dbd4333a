"""What it costs to look for values that do not fit: a projection of clean records with and without that, in CPU seconds.

    python -m bench.check [--records 100000] [--runs 5]

The first figure is the reading of the values' texts, which both need; the last one is DuckDB's own typed `read_json` of the same records,
which rounds and guesses where ours rejects.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb

from rest_syncer.engine.extract import Extraction, Stored, extract
from rest_syncer.engine.hub import Hub
from rest_syncer.engine.hub.segment import decode_ndjson
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
        projection, values, records = row_projection(collection), Path(folder) / "values.csv", Path(folder) / "records.ndjson"
        records.write_bytes(b"".join(decode_ndjson(hub.data("things", name), name) for name in hub.segments("things")))
        stored = [Stored(name, hub.head("things", name).records, hub.data("things", name)) for name in hub.segments("things")]
        wanted = Extraction("things", stored, projection.own_paths, projection.parents_paths, projection.digested)
        checked = projection.select(str(values), _write(wanted, values))
        types = ", ".join(f"{text(name)}: {text(prop.column_type.duckdb)}" for name, prop in collection.properties.items())
        ways = {
            "checked": checked,
            "not checked": f"SELECT * EXCLUDE ({ODD}) FROM ({checked})",
            "read_json": f"FROM read_json({text(str(records))}, columns = {{{types}}}, format = 'newline_delimited')",
        }
        con.execute("SET threads = 1")
        con.execute("SET disabled_optimizers = 'common_subexpressions'")
        for _ in range(options.runs):
            took = {"texts": _seconds(partial(_write, wanted, values))}
            for name, sql in ways.items():
                took[name] = _seconds(partial(con.execute, f"CREATE OR REPLACE TABLE plain AS {sql}"))
            print("  ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()))


def _write(wanted: Extraction, values: Path) -> int:
    """Write the file that a projection reads; gives its longest line's bytes."""
    with values.open("wb") as out:
        return extract(wanted, out).longest


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
