"""What a tool's tables hold: how many rows, and what is in them. I/O."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import psycopg

from .tools import Task, Tool


@dataclass(frozen=True)
class Held:
    """How many rows, and a digest of what they hold, in whatever order; that of a tool of others is not taken."""

    rows: int
    digest: int = 0


def held(tool: Tool, task: Task) -> Held | None:
    """What its tables hold; None where that cannot be told."""
    if not tool.table:
        counted = task.folder / "rows"
        return Held(int(counted.read_text()) if counted.exists() else 0)
    tables = [tool.table.format(name) for name in task.collections]
    if task.database:
        with psycopg.connect(task.database) as con:
            return Held(sum(con.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()[0] for table in tables))  # type: ignore[index]
    return _of_file(tool, task, tables)


def _of_file(tool: Tool, task: Task, tables: list[str]) -> Held | None:
    """Asked for with the tool's own DuckDB, for the file may be too new for another."""
    columns = f"* EXCLUDE ({tool.added})" if tool.added else "1"
    rows = " UNION ALL ".join(f"SELECT {columns} FROM {table}" for table in tables)
    asked = f"SELECT count(*), coalesce(bit_xor(hash(held)), 0) FROM ({rows}) held"
    opened = f"import duckdb; con = duckdb.connect({str(task.folder / 'out.duckdb')!r}, read_only=True)"
    quiet = "con.execute('SET enable_progress_bar = false')"  # it would be printed, too, where a query takes long
    code = f"{opened}; {quiet}; print(list(con.execute({asked!r}).fetchone()))"
    found = subprocess.run([tool.python, "-c", code], capture_output=True, text=True, check=False)
    return Held(*json.loads(found.stdout)) if found.returncode == 0 else None
