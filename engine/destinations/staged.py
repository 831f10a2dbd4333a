"""A batch's files on their way to a server: what it cannot hold is rejected, the rest is written as it takes it. I/O, through DuckDB.

For warehouses that cannot read the files themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import duckdb

from ..piece import RejectedValue
from ..project import quoted, text
from . import Batch

ORDER = {
    "_segment": "VARCHAR", "_syncer_epoch": "INTEGER", "_syncer_run": "INTEGER", "_syncer_ordinal": "INTEGER",
    "_syncer_number": "INTEGER", "_syncer_line": "BIGINT", "_syncer_counted": "BOOLEAN", "_syncer_at": "BIGINT",
}  # fmt: skip
"""What stands in a batch's files beside the declared columns."""

LONGEST_SHOWN = 2000
"""Characters of a rejected value that the rejects show."""


@dataclass(frozen=True)
class Unfit:
    """Values that a column cannot hold: the condition for one, and whether its record goes with it."""

    column: str
    why: str
    odd: str
    whole: bool


def fitted(batch: Batch, unfit: Iterable[Unfit]) -> Batch:
    """The batch with what does not fit among its rejects."""
    rejects: list[RejectedValue] = []
    dropped = values = 0
    kinds = {column.name: column.type.lower() for column in batch.table.columns}
    if not batch.files:
        return batch
    with _duckdb(Path(batch.files[0]).parent).cursor() as con:
        for one in unfit:
            shown = f"left(CAST({quoted(one.column)} AS VARCHAR), {LONGEST_SHOWN + 1})"
            for place, raw in con.execute(f"SELECT _segment, {shown} FROM {parquet(batch.files)} WHERE {one.odd}").fetchall():
                segment, _, line = place.partition("/")[2].rpartition("#")
                told = json.dumps(raw if len(raw) <= LONGEST_SHOWN else raw[:LONGEST_SHOWN] + "…")
                rejects.append(RejectedValue(segment, int(line), one.column, kinds[one.column], told, one.why, one.whole))
        if not rejects:
            return batch
        gone = {(one.segment, one.line) for one in rejects if one.whole}
        if gone:
            places = ", ".join(text(f"{batch.hub}/{segment}#{line}") for segment, line in gone)
            ((dropped,),) = con.execute(
                f"SELECT count(*) FILTER (_syncer_counted) FROM {parquet(batch.files)} WHERE _segment IN ({places})"
            ).fetchall()
        values = sum(1 for one in rejects if not one.whole and (one.segment, one.line) not in gone)
    return replace(
        batch,
        rejects=[*batch.rejects, *rejects],
        rejected=batch.rejected + dropped,
        rejected_values=batch.rejected_values + values,
    )


def selected(files: Sequence[str], written: Mapping[str, str], unfit: Iterable[Unfit]) -> str:
    """A SELECT of these expressions, by column: NULL for a value that does not fit, and without records that do not.

    The columns are called `c0`, `c1` and so on: any name would be one on the way, but not every name can be written everywhere.
    """
    odd: dict[str, list[str]] = {}
    whole: list[str] = []
    for one in unfit:
        (whole if one.whole else odd.setdefault(one.column, [])).append(f"coalesce({one.odd}, false)")
    fit = (f"CASE WHEN NOT ({' OR '.join(odd[name])}) THEN {value} END" if name in odd else value for name, value in written.items())
    values = (f"{value} AS c{place}" for place, value in enumerate(fit))
    where = f" WHERE NOT ({' OR '.join(whole)})" if whole else ""
    return f"SELECT {', '.join(values)} FROM {parquet(files)}{where}"


def copy(rows: str, to: str, form: str, folder: Path) -> None:
    """Write the rows of a SELECT to files of a form, which stands in DuckDB's words."""
    with _duckdb(folder).cursor() as con:
        con.execute(f"COPY ({rows}) TO {text(to)} ({form})")


@lru_cache(maxsize=1)
def _duckdb(folder: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB that spills into a folder. One is kept: to start another takes longer than most of what it is to do."""
    con = duckdb.connect(":memory:")
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
