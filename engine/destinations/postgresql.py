"""A PostgreSQL database as a warehouse. I/O.

A batch comes by COPY into a temporary table, while it is still being staged; one transaction takes it from there into a table with a
primary key, so that users' foreign keys and views stand on firm ground. Changed rows are updated in their place. Loaders of a schema wait
for each other by an advisory lock, which dies with its connection. `json` columns are `json` and not `jsonb`: it keeps the bytes that the
API sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from logging import NullHandler, getLogger
from typing import Any, ClassVar

import duckdb
import psycopg
from psycopg.conninfo import conninfo_to_dict

from ..errors import UsageError, WarehouseError
from ..hub.segment import PLACE
from ..project import Unfit, quoted, text
from . import Batch, Receipt, Table
from .copying import Copying
from .dialect import Known
from .shape import ADDED
from .sql import SqlWarehouse
from .staged import ORDER
from .upsert import InPlace, Upsert

MOST_COLUMNS = 1600
LONGEST_NAME = 63
"""Bytes: a longer one is cut off in silence (PostgreSQL, 4.1.1)."""
LONGEST_KEY = 2000
"""Bytes: an index entry takes a third of a page of 8 KB (PostgreSQL, 67.4.1), with what stands around it."""

PAUSES = (0.5, 2.0, 10.0)
"""Seconds before a load whose connection was lost is tried again."""

getLogger("psycopg").addHandler(NullHandler())  # what it logs may hold values, and would be printed

_ROWS = "rows"
_KINDS = {
    "VARCHAR": "text", "BIGINT": "bigint", "INTEGER": "integer", "DOUBLE": "double precision", "BOOLEAN": "boolean",
    "TIMESTAMPTZ": "timestamp with time zone", "DATE": "date", "JSON": "json",
}  # fmt: skip


_SETTINGS = {
    "timezone": "UTC", "client_min_messages": "warning", "extra_float_digits": "3", "standard_conforming_strings": "on",
    "default_transaction_isolation": r"read\ committed", "default_statistics_target": "10",
}  # fmt: skip
"""What is true of each session, whatever a role or a database has set: digests need all digits, who waits for a lock has to see what was
committed meanwhile, and of temporary tables a tenth of the usual sample tells the planner enough."""
_OPTIONS = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
"""What each table has of PostgreSQL's own (PostgreSQL, 5.6)."""


class PostgreSQL(SqlWarehouse):
    """One schema of a PostgreSQL database, by what stands behind `postgresql:` in the URL that libpq takes.

    A password may stand in the environment (PGPASSWORD).
    """

    errors: ClassVar[tuple[type[Exception], ...]] = (psycopg.Error, duckdb.Error)
    upsert = InPlace

    def __init__(self, place: str, schema: str, pauses: Sequence[float] = PAUSES) -> None:
        url = f"postgresql:{place}"
        try:
            known = conninfo_to_dict(url)
        except psycopg.Error:
            raise UsageError("--to: is no URL of PostgreSQL; write postgresql://USER@HOST:PORT/DATABASE") from None
        super().__init__(f"warehouse postgresql://{known.get('host', 'localhost')}/{known.get('dbname', '')}", schema, pauses)
        self.url = url
        self._con: psycopg.Connection[tuple[Any, ...]] | None = None
        self._coming: Copying | None = None
        """Rows that are on their way, of a batch that is still being staged."""
        self._have_come = False
        """Whether the rows of the batch that is committed are all there already."""

    def check(self, tables: Sequence[Table] = ()) -> None:
        mistakes = [mistake for table in tables for mistake in _mistakes(table)]
        if mistakes:
            raise UsageError("\n".join(mistakes))
        ((encoding,),) = self.ask("SHOW server_encoding")
        self.close()
        if encoding != "UTF8":
            what = f"its encoding is {encoding}, which cannot hold all texts"
            raise WarehouseError(f"{self.where}: {what}; make a database with ENCODING 'UTF8' TEMPLATE template0, and name that")

    def close(self) -> None:
        self._leave_off()
        if self._con is not None:
            self._con.close()
            self._con = None
        self._tables, self._have_come = None, False

    @property
    def lost(self) -> bool:
        return self._con is not None and self._con.closed

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        self._leave_off()  # one connection cannot do both
        cursor = self._connection().execute(sql.encode())
        return cursor.fetchall() if cursor.description else []

    def told(self, error: Exception) -> tuple[str, str]:
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return "permission denied", "grant CREATE on the database, or make the schema and grant USAGE and CREATE on it"
        if isinstance(error, psycopg.errors.DependentObjectsStillExist):
            return "a view depends on a column that has to change", "drop that, and run again"
        if isinstance(error, psycopg.errors.ForeignKeyViolation):
            return "rows of another table refer to some that have to go", "delete those, or let ON DELETE CASCADE do it, and run again"
        if isinstance(error, psycopg.errors.DiskFull):
            return "the disk is full", "free space, and run again"
        if isinstance(error, psycopg.errors.ProgramLimitExceeded):
            return "a row has more than PostgreSQL's 8 KB of columns", "leave some properties out, or put several into one of type json"
        if isinstance(error, psycopg.OperationalError):
            return f"the connection was lost or refused, {type(error).__name__}", "run again when the server is there"
        return type(error).__name__, "run again; if it stays, name another --schema, and report it"

    def kind(self, type_: str) -> str:
        if type_.endswith("[]"):
            return self.kind(type_.removesuffix("[]")) + "[]"
        return _KINDS.get(type_) or type_.replace("DECIMAL", "numeric").replace(" ", "")

    def temporary(self, table: str) -> str:
        return f"pg_temp.{table}"

    def constraints(self, key: Sequence[str]) -> list[str]:
        return [f"PRIMARY KEY ({', '.join(map(quoted, key))})"] if key else []

    def make_schema(self) -> None:
        self.ask(f"SELECT pg_advisory_xact_lock(hashtextextended({text('syncer ' + self.schema)}, 0))")
        self._tables = None  # another loader may have been here before the lock was had
        if not self.ask(f"SELECT 1 FROM pg_namespace WHERE nspname = {text(self.schema)}"):  # the right to make one may be missing
            self.ask(f"CREATE SCHEMA {quoted(self.schema)}")

    def look(self) -> dict[str, Known]:
        tables: dict[str, Known] = {}
        for table, comment, column, kind, words, is_computed in self.ask(
            "SELECT c.relname, obj_description(c.oid, 'pg_class'), a.attname, format_type(a.atttypid, a.atttypmod), "
            "col_description(c.oid, a.attnum), a.attgenerated <> '' OR a.attidentity = 'a' "
            "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            f"WHERE n.nspname = {text(self.schema)} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname, a.attnum"
        ):
            known = tables.setdefault(table, Known(comment=comment))
            if column is not None:
                known.columns[column], known.comments[column] = kind, words
                known.computed |= {column} if is_computed else set()
        return tables

    def add(self, table: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        names = ", ".join(map(quoted, columns))
        marks = ", ".join(f"{self.instant('%s')}" if kind == "TIMESTAMPTZ" else "%s" for kind in columns.values())
        values = [[row.get(name) for name in columns] for row in rows]
        with self._connection().cursor() as cursor:
            cursor.executemany(f"INSERT INTO {self.name(table)} ({names}) VALUES ({marks})".encode(), values)

    def unfit(self, table: Table) -> Sequence[Unfit]:
        """NUL characters in texts, and keys that are too long for an index."""
        return list(_unfit(table.types, table.key))

    @contextmanager
    def receiving(self, table: Table) -> Iterator[Callable[[str], None]]:
        """The rows go into their temporary table while others are staged. What goes wrong is told where `put` does it again."""
        has_begun = False

        def receive(file: str) -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                with suppress(psycopg.Error, WarehouseError):
                    self._coming = self._copying(_ROWS, table.types | ORDER)
            if self._coming is not None:
                self._coming.add(file)

        try:
            yield receive
        finally:
            self._leave_off()

    def _leave_off(self) -> None:
        """Of rows that are on their way, nothing stays."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.break_off()
            self._forget_rows()

    def _forget_rows(self) -> None:
        with suppress(psycopg.Error, WarehouseError):  # the connection is lost, and they with it
            self._drop_temporary()

    def commit(self, batch: Batch) -> Receipt:
        coming, self._coming, self._have_come = self._coming, None, False
        if coming is not None:
            with suppress(Exception):  # `put` does it again
                coming.end()
                self._have_come = coming.files == [*batch.files]
        if not self._have_come:
            self._forget_rows()
        return super().commit(batch)

    def put(self, batch: Batch) -> str:
        joined = [*batch.table.key, "_segment"]
        have_come, self._have_come = self._have_come, False
        return self._planned(_ROWS, joined) if have_come else self._put(_ROWS, batch.table.types | ORDER, batch.files, joined)

    def put_columns(self, table: str, types: Mapping[str, str], files: Sequence[str]) -> str:
        """No row can have a key that does not fit."""
        return self._put(table, types, files, [*types], _unfit(types, [name for name in types if not name.startswith("_syncer_")]))

    def _put(self, table: str, types: Mapping[str, str], files: Sequence[str], joined: Iterable[str], unfit: Iterable[Unfit] = ()) -> str:
        """Columns of Parquet files into a temporary table."""
        with self._copying(table, types, unfit) as copying:
            for file in files:
                copying.add(file)
        return self._planned(table, joined)

    def _copying(self, table: str, types: Mapping[str, str], unfit: Iterable[Unfit] = ()) -> Copying:
        """What takes files into a new temporary table."""
        self._made.add(table)
        self.ask(f"CREATE TEMP TABLE {table} ({', '.join(f'{quoted(name)} {self.kind(type_)}' for name, type_ in types.items())})")
        con = self._connection()

        def copy(pieces: Iterator[bytes]) -> None:
            with con.cursor().copy(f"COPY pg_temp.{table} FROM STDIN (FORMAT csv)".encode()) as into:
                for piece in pieces:
                    into.write(piece)

        return Copying(types, unfit, copy)

    def _planned(self, table: str, joined: Iterable[str]) -> str:
        """A temporary table, when the planner has learned of the columns that it is joined by."""
        self.ask(f"ANALYZE pg_temp.{table} ({', '.join(map(quoted, joined))})")
        return f"pg_temp.{table}"

    def _prepared(self, batch: Batch) -> Upsert:
        if batch.anew and batch.table.keeps_versions:
            self._require_alone(batch.table)
        return super()._prepared(batch)

    def _require_alone(self, table: Table) -> None:
        """Raises WarehouseError where rows of another table would go, or lose what they refer to, with rows that are made anew."""
        there = f"to_regclass({text(self.name(table.name))})"
        found = self.ask(f"SELECT conname, conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND confrelid = {there} LIMIT 1")
        for constraint, other in found:
            raise WarehouseError(
                f"{self.where}: the versions in {table.schema}.{table.name} have to be made anew, and rows of {other} refer to them; drop "
                f"the constraint {constraint} of that table, and make it again after the load"
            )

    def instant(self, micros: int | str) -> str:
        return f"(timestamptz 'epoch' + {micros} * interval '1 microsecond')"

    def place(self, column: str) -> list[str]:
        return [f"(regexp_match({column}, {text(PLACE)}))[{group}]::bigint" for group in (1, 2, 3, 4)]

    def comparable(self, value: str, type_: str) -> str:
        if type_.startswith("JSON"):
            return f"CAST({value} AS text{type_.removeprefix('JSON')})"
        return f'{value} COLLATE "C"' if type_.startswith("VARCHAR") else value

    def digest(self, values: Mapping[str, str]) -> str:
        return f"md5(CAST(row({', '.join(values)}) AS text))"

    def _connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._con is None:
            try:
                self._con = psycopg.connect(self.url, autocommit=True, options=_OPTIONS, client_encoding="UTF8", application_name="syncer")
            except psycopg.Error as error:
                what = "correct the URL, PGPASSWORD or ~/.pgpass, or start the server"
                raise WarehouseError(f"{self.where}: cannot be opened ({_why_not(error)}); {what}") from None
        return self._con


def _mistakes(table: Table) -> Iterator[str]:
    """What of a table PostgreSQL cannot have."""
    most = MOST_COLUMNS - max(len(ADDED), len(ORDER))
    if len(table.columns) > most:
        yield f"{table.name}: has {len(table.columns):,} properties, and a table of PostgreSQL {most:,} at most; leave some out"
    for name in (table.schema, table.name, *(column.name for column in table.columns)):
        if len(name.encode()) > LONGEST_NAME:
            yield f"{table.name}: the name {name} is longer than {LONGEST_NAME} bytes, which PostgreSQL would cut off; shorten it"
    for column in table.columns:
        if column.name in _SYSTEM_COLUMNS:
            what = f"each table of PostgreSQL has a column {column.name} of its own"
            yield f"{table.name}.{column.name}: {what}; give the property another name, with `from: {column.name}`"
        if column.name in table.key and column.type.startswith("JSON"):
            yield f"{table.name}.{column.name}: of type json, which no key of PostgreSQL can be; make it a string"


def _unfit(types: Mapping[str, str], key: Sequence[str]) -> Iterator[Unfit]:
    for name, type_ in types.items():
        if odd := _holds_nul(name, type_):
            yield Unfit(name, "holds a NUL character, which no text of PostgreSQL can", odd)
    texts = [name for name in key if types[name] == "VARCHAR"]
    if texts:
        too_long = f"{' + '.join(f'strlen({quoted(name)})' for name in texts)} > {LONGEST_KEY}"
        yield Unfit(texts[0], f"is longer than {LONGEST_KEY:,} bytes, which no key of PostgreSQL can be", too_long)


def _holds_nul(name: str, type_: str) -> str | None:
    """The condition for it; None where no value of the type can."""
    if type_ == "VARCHAR":
        return f"contains({quoted(name)}, chr(0))"
    if type_ == "VARCHAR[]":
        return f"list_contains(list_transform({quoted(name)}, lambda one: contains(one, chr(0))), true)"
    return None


def _why_not(error: psycopg.Error) -> str:
    """Why a connection failed, without what may be secret."""
    said = str(error).lower()
    reasons = {
        "password": "the password is wrong, or missing", "does not exist": "there is no such database or user",
        "refused": "nobody listens there", "no such file": "nobody listens there", "timeout": "no answer in time",
        "could not translate": "the host's name is not known",
        "no pg_hba": "the server does not let this user in", "ssl": "no encrypted connection could be made",
    }  # fmt: skip
    return next((reason for sign, reason in reasons.items() if sign in said), type(error).__name__)
