"""One DuckDB for what tests look at: to start one takes longer than most looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import duckdb


@cache
def idle() -> duckdb.DuckDBPyConnection:
    """A DuckDB that has nothing in it. Who makes something there takes it out again."""
    con = duckdb.connect(":memory:")
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    return con


@contextmanager
def opened(file: Path, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse's file as `w`, to which names without a catalog belong: its own name is that of its schema, and DuckDB could not tell
    them apart."""
    con = idle()
    con.execute(f"ATTACH '{file}' AS w{' (READ_ONLY)' if read_only else ''}")
    try:
        con.execute("USE w")
        yield con
    finally:
        con.execute("USE memory")
        con.execute("DETACH w")
