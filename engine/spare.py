"""DuckDBs in memory, begun ahead: to start one takes 40 ms, in which others may work. I/O."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_begun: deque[Future[DuckDBPyConnection]] = deque()


def begin(number: int) -> None:
    """Start some beside what is done next, so that as many later calls of `duckdb_in_memory` need not."""
    if (lacking := number - len(_begun)) > 0:
        pool = ThreadPoolExecutor(lacking)  # a process does not end in the midst of a start
        _begun.extend(pool.submit(_start) for _ in range(lacking))
        pool.shutdown(wait=False)


def duckdb_in_memory() -> DuckDBPyConnection:
    """A DuckDB of the caller's own, which nothing was said to: one that was begun, or a new one. Raises duckdb.Error."""
    try:
        return _begun.popleft().result()
    except IndexError:
        return _start()


def _start() -> DuckDBPyConnection:
    import duckdb

    return duckdb.connect(":memory:")
