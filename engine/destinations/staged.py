"""A batch's files on their way to a server, written as it takes them. I/O, through DuckDB.

For warehouses that cannot read the files themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..project import Unfit, quoted, text
from ..spare import duckdb_in_memory

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ORDER = {
    "_segment": "VARCHAR", "_syncer_epoch": "INTEGER", "_syncer_run": "INTEGER", "_syncer_ordinal": "INTEGER",
    "_syncer_number": "INTEGER", "_syncer_line": "BIGINT", "_syncer_counted": "BOOLEAN", "_syncer_at": "BIGINT",
}  # fmt: skip
"""What stands in a batch's files beside the declared columns."""


def selected(files: Sequence[str], written: Mapping[str, str], unfit: Iterable[Unfit] = ()) -> str:
    """A SELECT of these expressions, by column, without records that hold what is unfit.

    The columns are called `c0`, `c1` and so on: any name would be one on the way, but not every name can be written everywhere.
    """
    values = (f"{value} AS c{place}" for place, value in enumerate(written.values()))
    fits = " AND ".join(f"NOT coalesce({one.condition}, false)" for one in unfit)
    return f"SELECT {', '.join(values)} FROM {parquet(files)}{f' WHERE {fits}' if fits else ''}"


def copy(rows: str, to: str, form: str, folder: Path) -> None:
    """Write the rows of a SELECT to files of a form, which stands in DuckDB's words."""
    with _duckdb(folder).cursor() as con:
        con.execute(f"COPY ({rows}) TO {text(to)} ({form})")


@lru_cache(maxsize=1)
def _duckdb(folder: Path) -> DuckDBPyConnection:
    """A DuckDB that spills into a folder. One is kept: to start another takes longer than most of what it is to do."""
    con = duckdb_in_memory()
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    con.execute("SET memory_limit = '250MB'")
    con.execute(f"SET temp_directory = {text(str(folder))}")
    return con


def parquet(files: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(text, files))}])"


def json_list(name: str, type_: str) -> str:
    """A list as a JSON text: numbers with all their digits, instants as ISO 8601 has them, and elements of type json as texts."""
    element = type_.removesuffix("[]")
    if element in ("BIGINT", "INTEGER", "DOUBLE", "BOOLEAN") or element.startswith("DECIMAL"):
        written = "CAST(one AS VARCHAR)"
    elif element == "TIMESTAMPTZ":
        written = "CAST(to_json(strftime(one, '%Y-%m-%dT%H:%M:%S.%fZ')) AS VARCHAR)"
    else:
        written = "CAST(to_json(CAST(one AS VARCHAR)) AS VARCHAR)"
    listed = f"array_to_string(list_transform({quoted(name)}, lambda one: coalesce({written}, 'null')), ',')"
    return f"CASE WHEN {quoted(name)} IS NOT NULL THEN '[' || {listed} || ']' END"
