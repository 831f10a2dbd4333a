"""DuckDBs in memory, begun ahead: to start one takes 40 ms, in which others may work. I/O."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_begun: deque[Future[DuckDBPyConnection]] = deque()


def begin_duckdbs(number: int) -> None:
    """Have so many ready, or under way, for the next calls of `duckdb_in_memory`."""
    if (lacking := number - len(_begun)) > 0:
        pool = ThreadPoolExecutor(lacking)  # a process does not end in the midst of a start
        _begun.extend(pool.submit(_start) for _ in range(lacking))
        pool.shutdown(wait=False)


def duckdb_in_memory() -> DuckDBPyConnection:
    """A DuckDB of the caller's own, which nothing was said to: one that was begun, or a new one. Raises duckdb.Error."""
    with suppress(IndexError):
        begun = _begun.popleft()
        if begun.exception() is None:
            return begun.result()
    return _start()


def _start() -> DuckDBPyConnection:
    import duckdb

    return duckdb.connect(":memory:")
