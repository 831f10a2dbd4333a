"""A DuckDB file as a warehouse. I/O.

Tables carry no primary key: its index would cost memory and forbid replacing a row in one transaction; that a key is there
once is the load's own work. A changed row is deleted and inserted: on scattered keys that is a hundred times faster than MERGE.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb

from ..errors import WarehouseError
from ..freed import give_back
from ..hub.segment import PLACE
from ..project import quoted, text
from ..spare import duckdb_in_memory
from . import Batch, Receipt, Table
from .dialect import Known
from .sql import SqlWarehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STORAGE = "v1.5.0"
"""Files are written so that DuckDB 1.5 reads them, whichever version writes."""

ROW_GROUP = 20_480
"""How many rows DuckDB compresses and writes together. What a load adds goes into the file group by group, on all cores; of the usual
122,880, all would wait in memory for the commit, which one core carries out."""

VACUUM_EVERY = 64
"""After every 64th load of a table, where less than FULL of its groups of rows is in use, DuckDB merges the groups of the file, of which
each load leaves one or two that are not full, and drops deleted rows. After each load, it would write most of a new table again for the
sake of one group less."""

FULL = 0.7
"""Large loads leave groups in which so much is in use. To merge these, three into two or four into three, writes nearly all of a table
again: of five million rows in ten seconds, into a file that is a quarter larger."""

KEPT_BLOCKS = 4 * 2**20
"""Bytes of the file's blocks that may stay in memory between two loads."""

_SMALLEST = 3 * 4096
"""Bytes: a database has three headers of a block each, from its making on (duckdb.org, internals: storage)."""

_CATALOG = "warehouse"
"""What the file is called while it is open: its own name may be a schema's too, and then DuckDB cannot tell them apart."""


class DuckDB(SqlWarehouse):
    """One schema of a DuckDB file."""

    errors: ClassVar[tuple[type[Exception], ...]] = (duckdb.Error,)
    memory: ClassVar[str] = "300MB"
    """What DuckDB may take; beyond that it spills. With 200 MB, a first load of texts of 100 KB would need a second try."""
    is_ample = False
    """Whether it may take what it takes by itself: 80 % of the machine's memory."""

    def __init__(self, path: str, schema: str) -> None:
        super().__init__(f"warehouse {path}", schema)
        self.path = path
        self._con: DuckDBPyConnection | None = None
        self._is_attached = False
        self._tries = Tries()

    def check(self, tables: Sequence[Table] = ()) -> None:
        folder = Path(self.path).resolve().parent
        if not folder.is_dir():
            raise WarehouseError(f"warehouse {self.path}: there is no folder {folder}; make it, or name another file with --to")
        if Path(self.path).is_dir():
            raise WarehouseError(f"warehouse {self.path}: is a folder; name a file in it")
        if Path(self.path).exists():
            self._connection()
            self.close()
        elif not os.access(folder, os.W_OK, effective_ids=True):
            raise WarehouseError(f"warehouse {self.path}: cannot be opened (permission denied); correct it, or name another file with --to")

    def close(self) -> None:
        """The file is let go of; the DuckDB that had it stays, for to start another takes 30 ms."""
        if self._con is not None:
            try:
                self._con.execute(f"DETACH DATABASE IF EXISTS {_CATALOG}")
            except duckdb.Error:  # a transaction broke off
                self._discard()
        self._forget()

    def _discard(self) -> None:
        """The DuckDB goes, too."""
        if self._con is not None:
            self._con.close()
            self._con = None
        self._forget()

    def _forget(self) -> None:
        self._is_attached = False
        self._tables = None

    @contextlib.contextmanager
    def receiving(self, table: Table) -> Iterator[Callable[[str], None]]:
        """Staging needs memory, so DuckDB lets go of what it keeps of the file; after a last load, that is closed anyway."""
        if self._is_attached:
            with contextlib.suppress(duckdb.Error):  # a load that follows will say it
                self._let_go()
        with super().receiving(table) as receive:
            yield receive

    def commit(self, batch: Batch) -> Receipt:
        receipt = self._tries.made(batch.table.name, partial(self._with_memory, batch))
        if batch.load % VACUUM_EVERY == 0:
            try:
                self._tidy_up(batch.table.name)
            except (duckdb.Error, WarehouseError):  # the load is committed all the same
                self._discard()
        return receipt

    def _with_memory(self, batch: Batch, is_ample: bool) -> Receipt:
        if not is_ample:
            return self._committed(batch)
        self._discard()
        self.is_ample = True
        try:
            return self._committed(batch)
        finally:
            self._discard()
            self.is_ample = False

    def _committed(self, batch: Batch) -> Receipt:
        if batch.files:
            give_back()  # what was needed to stage their rows
        return super().commit(batch)

    def _tidy_up(self, table: str) -> None:
        """Have groups of rows merged, where a table's are not FULL."""
        if self._used(table) < FULL:
            self.ask("RESET max_vacuum_tasks")
            self.ask(f"CHECKPOINT {_CATALOG}")
            self.ask("SET max_vacuum_tasks = 0")

    def _used(self, table: str) -> float:
        """What share of a table's groups of rows is in use; of one group, there is nothing to merge."""
        name = self.name(table)
        ((groups,),) = self.ask(f"SELECT count(DISTINCT row_group_id) FROM pragma_storage_info({text(name)})")
        ((rows,),) = self.ask(f"SELECT count(*) FROM {name}")
        return float(rows / (groups * ROW_GROUP)) if groups > 1 else 1.0

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection().execute(sql).fetchall()

    def told(self, error: Exception) -> tuple[str, str]:
        return _cause(error), _way_out(error)

    def fold(self, name: str) -> str:
        return name.lower()

    def name(self, table: str) -> str:
        return f"{_CATALOG}.{quoted(self.schema)}.{quoted(table)}"

    def make_schema(self) -> None:
        if not self._known("_syncer_receipts").columns:
            self.ask(f"CREATE SCHEMA IF NOT EXISTS {_CATALOG}.{quoted(self.schema)}")

    def look(self) -> dict[str, Known]:
        tables: dict[str, Known] = {}
        if not (self._con or Path(self.path).exists()):  # to look makes no file
            return tables
        where = f"WHERE database_name = {text(_CATALOG)} AND lower(schema_name) = lower({text(self.schema)})"
        columns = f"SELECT table_name, column_name, data_type, comment FROM duckdb_columns() {where} ORDER BY column_index"
        for name, column, kind, comment in self.ask(columns):
            known = tables.setdefault(name.lower(), Known())
            known.columns[column] = kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
            known.comments[column] = comment
        for name, comment in self.ask(f"SELECT table_name, comment FROM duckdb_tables() {where}"):
            tables[name.lower()].comment = comment
        return tables

    def add(self, table: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        """In one statement. Lists of values go in whole; where there is but one row, its values alone take half the time."""
        is_one = len(rows) == 1
        values = {f"c{place}": rows[0].get(name) if is_one else [row.get(name) for row in rows] for place, name in enumerate(columns)}
        given = []
        for place, kind in enumerate(columns.values()):
            plain = "BIGINT" if kind == "TIMESTAMPTZ" else kind
            value = f"$c{place}::{plain}" if is_one else f"unnest($c{place}::{plain}[])"
            given.append(self.instant(value) if kind == "TIMESTAMPTZ" else value)
        names = ", ".join(quoted(name) for name in columns)
        self._connection().execute(f"INSERT INTO {self.name(table)} ({names}) SELECT {', '.join(given)}", values)

    def put(self, batch: Batch) -> str:
        return f"read_parquet([{', '.join(text(file) for file in batch.files)}])"

    def put_columns(self, table: str, types: Mapping[str, str], files: Sequence[str]) -> str:
        return f"read_parquet([{', '.join(map(text, files))}])"

    def instant(self, micros: int | str) -> str:
        return f"make_timestamptz({micros})"

    def place(self, column: str) -> list[str]:
        return [f"regexp_extract({column}, {text(PLACE)}, {group})::BIGINT" for group in (1, 2, 3, 4)]

    def _let_go(self) -> None:
        """Free what DuckDB keeps of the file's blocks, with which it would fill all that it may take: they go when less is allowed, before
        anything that would have to be written out."""
        held = {str(tag): int(size) for tag, size in self.ask("SELECT tag, memory_usage_bytes FROM duckdb_memory()")}
        if held.pop("BASE_TABLE", 0) > KEPT_BLOCKS:
            with contextlib.suppress(duckdb.Error):  # some are in use
                self.ask(f"SET memory_limit = '{sum(held.values()) + KEPT_BLOCKS}B'")
            self._limit(self.memory)

    def _limit(self, memory: str) -> None:
        if not self.is_ample:
            self.ask(f"SET memory_limit = '{memory}'")

    def _connection(self) -> DuckDBPyConnection:
        if self._con is None:
            self._con = duckdb_in_memory()
            self._con.execute("SET TimeZone = 'UTC'")
            if not self.is_ample:
                self._con.execute(f"SET memory_limit = '{self.memory}'")
            self._con.execute(f"SET temp_directory = {text(f'{self.path}.tmp')}")
            self._con.execute("SET preserve_insertion_order = false")
            self._con.execute("SET max_vacuum_tasks = 0")
            self._con.execute("SET write_buffer_row_group_count = 1")
        if not self._is_attached:
            try:
                _clear_stump(Path(self.path))
                form = "" if Path(self.path).exists() else f", STORAGE_VERSION {text(STORAGE)}"
                self._con.execute(f"ATTACH {text(self.path)} AS {_CATALOG} (TYPE duckdb, ROW_GROUP_SIZE {ROW_GROUP}{form})")
                self._is_attached = True
            except duckdb.Error as error:
                self.close()
                raise WarehouseError(f"warehouse {self.path}: cannot be opened ({_cause(error)}); {_way_out(error)}") from None
        return self._con


class Tries:
    """Which tables need more memory for their loads: each load is made with little, and where that runs out again, whole, with more, as are
    those that follow. Texts may be so long that the 2,048 values of a column which are compared at once take it.

    A load may have been committed when memory runs out; its number tells.
    """

    def __init__(self) -> None:
        self.need_more: set[str] = set()

    def made(self, table: str, load: Callable[[bool], Receipt]) -> Receipt:
        """What `load` gives, which is told whether to take more memory."""
        if table not in self.need_more:
            try:
                return load(False)
            except WarehouseError as error:
                if not is_out_of_memory(error.__cause__):
                    raise
        self.need_more.add(table)
        return load(True)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether DuckDB's memory ran out. It is told by words alone: COMMIT and Arrow hand on the message, not its class."""
    told = str(error).lower()
    return NO_SPACE not in told and any(sign in told for sign in OUT_OF_MEMORY)


def _clear_stump(path: Path) -> None:
    """Remove the beginning of a database whose making broke off, so that nothing was ever in it; not where it is being made now."""
    if not path.is_file() or path.stat().st_size >= _SMALLEST:
        return
    with contextlib.suppress(OSError), path.open("rb+") as file:  # DuckDB says what keeps it from being opened
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DuckDB locks a file that it has open
        data = file.read()
        if len(data) < _SMALLEST and (data[8:12] == b"DUCK" or not data.strip(b"\0")):
            path.resolve().unlink()


NO_SPACE = "failed to offload"
"""What DuckDB says where it cannot spill; it calls that out of memory, too."""
OUT_OF_MEMORY = (
    "out of memory", "failed to pin block", "could not allocate block", "failed to allocate data", "failed to reserve memory",
)  # fmt: skip
CAUSES = {
    **dict.fromkeys(("no space left", NO_SPACE), ("the disk is full", "free space, and run again")),
    **dict.fromkeys(OUT_OF_MEMORY, ("its memory ran out", "free memory, and run again")),
}
"""What went wrong, and what to do, by words of an error's message."""

_CAUSES = CAUSES | {
    "file too large": ("its file may not grow", "raise the limit of file sizes, and run again"),
    "permission denied": ("permission denied", "correct it, or name another file with --to"),
    "depend on it": ("an index or a view depends on a column that has to change", "drop that, and run again"),
    "read-only": ("permission denied", "correct it, or name another file with --to"),
    "lock on file": ("another process has it open", "close that process (it is named by `lsof`), or name another file with --to"),
    "not a valid duckdb": ("it is no DuckDB database", "name another file with --to"),
    "version number": ("another version of DuckDB wrote it", "upgrade the package duckdb, or name another file with --to"),
}


def _cause(error: Exception) -> str:
    """What went wrong, without anything that may be data."""
    return next((cause for sign, (cause, _) in _CAUSES.items() if sign in str(error).lower()), type(error).__name__)


def _way_out(error: Exception) -> str:
    otherwise = "run again; if it stays, name another file with --to, and report it"
    return next((way for sign, (_, way) in _CAUSES.items() if sign in str(error).lower()), otherwise)
