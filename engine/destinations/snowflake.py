"""A Snowflake database as a warehouse. I/O.

What makes or changes a table commits whatever was open (Snowflake, "Transactions": DDL), so a load does all of that first: the files
go to a temporary stage and by COPY into a temporary table, the temporary tables of the load are made empty, and the table gets its
shape. Then one transaction takes rows, rejects and receipt. A load that is killed before it leaves temporary tables, which go with
their session, and at most new columns, which the next load fills.

Names are stored as Snowflake stores names without quotes, in capitals, so that `select id from shop.orders` works here as anywhere;
one that needs quotes stays as it is. Instants are TIMESTAMP_TZ, at offset 0: they look the same in every session, whatever its time
zone. `json` columns are VARCHAR and not VARIANT, which would write the bytes that the API sent anew; `parse_json` reads them. Lists
are VARIANT, their instants and `json` elements as texts. The dialect's differences are written by hand and not translated by a
library: what is sent is what is read here.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import duckdb
import snowflake.connector
from snowflake.connector import errors

from ..errors import UsageError, WarehouseError
from ..hub.segment import PLACE
from ..kinds import did_you_mean
from ..project import Unfit, quoted, text
from . import Batch, Table, staged
from .dialect import Known, cut, stepwise
from .sql import SqlWarehouse
from .staged import ORDER
from .upsert import InPlace, Upsert

LONGEST_NAME = 255
"""Characters (Snowflake, "Identifier requirements")."""
LONGEST_TEXT = 16 * 2**20
"""Bytes of a VARCHAR or VARIANT as they are declared by default (Snowflake, "String & binary data types")."""

PAUSES = (0.5, 2.0, 10.0)
"""Seconds before a load whose connection was lost is tried again."""

NETWORK_TIMEOUT = 120
"""Seconds for which the connector asks again where it gets no answer, or one that means `later`; left alone, it would for ever."""

_PARAMETERS = ("warehouse", "role", "host", "port", "protocol", "network_timeout")
"""What may stand behind the `?` of a URL."""
_SESSION = {
    "TIMEZONE": "UTC", "LOCK_TIMEOUT": 900, "QUERY_TAG": "syncer", "CLIENT_TELEMETRY_ENABLED": False,
    "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": 0, "QUOTED_IDENTIFIERS_IGNORE_CASE": False, "DATE_INPUT_FORMAT": "AUTO",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM",
}  # fmt: skip
"""What is true of each session, whatever an account has set. Many rows at once would make the connector create a stage for them, which
ends a transaction; and an instant's text, of which digests are made, has all its digits."""
_ROWS_AT_ONCE = 1000
_FILE_BYTES = "64MB"
_KINDS = {
    "VARCHAR": "VARCHAR", "BIGINT": "NUMBER(19,0)", "INTEGER": "NUMBER(10,0)", "DOUBLE": "FLOAT", "BOOLEAN": "BOOLEAN",
    "TIMESTAMPTZ": "TIMESTAMP_TZ", "DATE": "DATE", "JSON": "VARCHAR",
}  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
"""A name that needs no quotes."""


class _Exact(str):
    """A name of the catalog that could do without quotes but for its letters, which are not all capitals: it needs them."""

    __slots__ = ()


class Snowflake(SqlWarehouse):
    """One schema of a Snowflake database, by what stands behind `snowflake:` in the URL.

    A password, or the path of a private key, stands in the environment (SNOWFLAKE_PASSWORD, SNOWFLAKE_PRIVATE_KEY_PATH).
    """

    errors: ClassVar[tuple[type[Exception], ...]] = (errors.Error, duckdb.Error)
    upsert = InPlace
    shapes_apart = True

    def __init__(self, place: str, schema: str, pauses: Sequence[float] = PAUSES) -> None:
        self.options = _options(place)
        super().__init__(f"warehouse snowflake://{self.options['account']}/{self.options['database']}", schema, pauses)
        self._con: snowflake.connector.SnowflakeConnection | None = None
        self._is_lost = self._is_used = False

    def check(self, tables: Sequence[Table] = ()) -> None:
        mistakes = [mistake for table in tables for mistake in _mistakes(table)]
        if mistakes:
            raise UsageError("\n".join(mistakes))
        self._connection()
        self.close()

    def close(self) -> None:
        if self._con is not None:
            with contextlib.suppress(errors.Error):
                self._con.close()
            self._con = None
        self._tables, self._is_lost, self._is_used = None, False, False

    @property
    def lost(self) -> bool:
        return self._is_lost

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._execute(sql)

    def told(self, error: Exception) -> tuple[str, str]:
        number = getattr(error, "errno", None)
        if isinstance(error, errors.Error) and number in _CAUSES:
            return _CAUSES[number]
        if _is_loss(error):
            return f"the connection was lost or refused, {type(error).__name__}", "run again when Snowflake is there"
        known = f"{type(error).__name__} {number}" if number else type(error).__name__
        return known, "run again; if it stays, name another --schema, and report it"

    def quoted(self, name: str) -> str:
        return quoted(name.upper() if _PLAIN.fullmatch(name) and not isinstance(name, _Exact) else name)

    def text(self, value: str) -> str:
        return text(value.replace("\\", "\\\\"))

    def fold(self, name: str) -> str:
        if isinstance(name, _Exact):
            return quoted(name)
        return name.lower() if _PLAIN.fullmatch(name) else name

    def kind(self, type_: str) -> str:
        return "VARIANT" if type_.endswith("[]") else _KINDS.get(type_) or type_.replace("DECIMAL", "NUMBER").replace(" ", "")

    def make_schema(self) -> None:
        self._tables = None  # another loader may have been here
        if self._is_used:
            return
        there = f"CATALOG_NAME = CURRENT_DATABASE() AND SCHEMA_NAME = {self.text(self._stored(self.schema))}"
        if not self.ask(f"SELECT 1 FROM INFORMATION_SCHEMA.SCHEMATA WHERE {there}"):
            self.ask(f"CREATE SCHEMA IF NOT EXISTS {self.quoted(self.schema)}")  # the right to make one may be missing
        self.ask(f"USE SCHEMA {self.quoted(self.schema)}")
        self._is_used = True

    def look(self) -> dict[str, Known]:
        tables: dict[str, Known] = {}
        where = f"TABLE_SCHEMA = {self.text(self._stored(self.schema))}"
        for name, comment in self.ask(f"SELECT TABLE_NAME, COMMENT FROM INFORMATION_SCHEMA.TABLES WHERE {where}"):
            tables[self.fold(_spoken(name))] = Known(comment=comment or None)
        for name, column, kind, precision, scale, words in self.ask(
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, COMMENT FROM INFORMATION_SCHEMA.COLUMNS "
            f"WHERE {where} ORDER BY TABLE_NAME, ORDINAL_POSITION"
        ):
            known = tables.setdefault(self.fold(_spoken(name)), Known())
            known.columns[_spoken(column)] = f"NUMBER({precision},{scale})" if kind == "NUMBER" else kind.replace("TEXT", "VARCHAR")
            known.comments[_spoken(column)] = words or None
        return tables

    def describe(self, table: str, words: Mapping[str | None, str | None]) -> None:
        for column, said in words.items():
            what = f"COMMENT ON TABLE {self.name(table)} IS"
            if column is not None:
                what = f"ALTER TABLE {self.name(table)} ALTER COLUMN {self.quoted(column)} COMMENT"
            self.ask(f"{what} {self.text(said or '')}")

    def add(self, table: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        marks = ", ".join(self.instant("?") if kind == "TIMESTAMPTZ" else "?" for kind in columns.values())
        values = [[cut(row.get(name), LONGEST_TEXT) for name in columns] for row in rows]
        names = ", ".join(map(self.quoted, columns))
        self._execute(f"INSERT INTO {self.name(table)} ({names}) VALUES ({marks})", values)

    def unfit(self, table: Table) -> Sequence[Unfit]:
        """Texts and lists that are too long."""
        return list(_unfit(table))

    def put(self, batch: Batch) -> str:
        return self.put_columns("rows", batch.table.types | ORDER, batch.files)

    def put_columns(self, table: str, types: Mapping[str, str], files: Sequence[str]) -> str:
        """Columns of Parquet files into a temporary table. On their way they are called by numbers, and are of plain types."""
        name, stage = self.temporary(table), f"_SYNCER_{secrets.token_hex(8).upper()}"
        listed = ", ".join(f"{self.quoted(column)} {self.kind(type_)}" for column, type_ in types.items())
        written = {column: _written(column, type_) for column, type_ in types.items()}
        read = ", ".join(self._read(f"$1:c{place}", type_) for place, type_ in enumerate(types.values()))
        folder = Path(files[0]).parent
        with TemporaryDirectory(dir=folder) as place:
            staged.copy(staged.selected(files, written), f"{place}/rows", f"FORMAT parquet, FILE_SIZE_BYTES '{_FILE_BYTES}'", folder)
            self.ask(f"CREATE OR REPLACE TEMPORARY TABLE {name} ({listed})")
            self.ask(f"CREATE TEMPORARY STAGE {stage}")
            self.ask(f"PUT {self.text(f'file://{place}/rows/*')} @{stage} AUTO_COMPRESS = FALSE")
        self.ask(f"COPY INTO {name} FROM (SELECT {read} FROM @{stage}) FILE_FORMAT = (TYPE = PARQUET NULL_IF = ()) PURGE = TRUE")
        return name

    def _read(self, value: str, type_: str) -> str:
        """A value of a staged file as one of its column."""
        if type_ == "TIMESTAMPTZ":
            return self.instant(f"{value}::NUMBER(19,0)")
        return f"PARSE_JSON({value}::VARCHAR)" if type_.endswith("[]") else f"{value}::{self.kind(type_)}"

    def temporary(self, table: str) -> str:
        return f"_SYNCER_{table.upper()}"  # no collection may be called so; a temporary table would hide it

    def prepare(self, load: Upsert) -> None:
        for table, select in load.temporaries().items():
            self.ask(f"CREATE OR REPLACE TEMPORARY TABLE {self.temporary(table)} AS SELECT * FROM ({select}) AS s LIMIT 0")

    def keep(self, table: str, select: str) -> None:
        """Each is replaced by the next of its name, and all go with the session."""
        self.ask(f"INSERT INTO {self.temporary(table)} {select}")

    def discard(self, table: str) -> None:
        self.ask(f"DELETE FROM {self.temporary(table)}")

    def instant(self, micros: int | str) -> str:
        return f"TO_TIMESTAMP_TZ({micros}, 6)"

    def place(self, column: str) -> list[str]:
        return [f"CAST(REGEXP_SUBSTR({column}, {self.text(PLACE)}, 1, 1, 'e', {group}) AS NUMBER(19,0))" for group in (1, 2, 3, 4)]

    def before(self, one: Sequence[str], other: Sequence[str]) -> str:
        return stepwise(one, other)

    def later(self, one: str, other: str) -> str:
        return f"GREATEST_IGNORE_NULLS({one}, {other})"

    def joined(self, value: str, order: Sequence[str]) -> str:
        return f"LISTAGG({value}, '') WITHIN GROUP (ORDER BY {', '.join(order)})"

    def comparable(self, value: str, type_: str) -> str:
        return f"TO_JSON({value})" if type_.endswith("[]") else value

    def digest(self, values: Mapping[str, str]) -> str:
        """Of a FLOAT, Snowflake's text has not all digits; its hash is of all."""
        texts = (f"HASH({value})" if type_ == "DOUBLE" else value for value, type_ in values.items())
        return f"MD5({' || '.join(f'''coalesce(MD5(CAST({one} AS VARCHAR)), '-')''' for one in texts)})"

    def _stored(self, name: str) -> str:
        """A name as the catalog has it."""
        return name.upper() if _PLAIN.fullmatch(name) else name

    def _execute(self, sql: str, rows: Sequence[Sequence[Any]] | None = None) -> list[tuple[Any, ...]]:
        try:
            with self._connection().cursor() as cursor:
                if rows is None:
                    cursor.execute(sql)
                else:
                    for first in range(0, len(rows), _ROWS_AT_ONCE):
                        cursor.executemany(sql, rows[first : first + _ROWS_AT_ONCE])
                return [tuple(row) for row in cursor.fetchall()]
        except errors.Error as error:
            self._is_lost = self._is_lost or _is_loss(error)
            raise

    def _connection(self) -> snowflake.connector.SnowflakeConnection:
        if self._con is None:
            given = self.options | _credentials(self.where)
            try:
                self._con = snowflake.connector.connect(
                    **given, session_parameters=_SESSION, autocommit=True, paramstyle="qmark", application="syncer",
                    validate_default_parameters=True, login_timeout=30, platform_detection_timeout_seconds=0.0,
                )  # fmt: skip
            except (errors.Error, OSError, ValueError, TypeError) as error:
                raise WarehouseError(f"{self.where}: cannot be opened ({_why_not(error)}); {_WAY_IN}") from None
        return self._con


def _options(place: str) -> dict[str, Any]:
    """What a URL says, in the connector's words. Raises UsageError."""
    form = "snowflake://USER@ACCOUNT/DATABASE?warehouse=NAME&role=NAME"
    parts = urlsplit(f"snowflake:{place}")
    database = unquote(parts.path.strip("/"))
    if not parts.username or not parts.hostname or not database or "/" in database:
        raise UsageError(f"--to: is no URL of Snowflake; write {form}")
    more = dict(parse_qsl(parts.query))
    if unknown := more.keys() - set(_PARAMETERS):
        raise UsageError(f"--to snowflake: there is no parameter {min(unknown)}; {did_you_mean(min(unknown), _PARAMETERS)}")
    if odd := [name for name in ("port", "network_timeout") if not more.get(name, "1").isdigit()]:
        raise UsageError(f"--to snowflake: {odd[0]} is a number")
    if more.get("protocol", "https") != "https" and more.get("host") not in ("127.0.0.1", "localhost"):
        raise UsageError("--to snowflake: protocol=http would send the password for all to read; leave it out")
    numbers = {"network_timeout": NETWORK_TIMEOUT} | {name: int(more[name]) for name in ("port", "network_timeout") if name in more}
    return {"user": unquote(parts.username), "account": parts.hostname, "database": database, **more, **numbers}


def _credentials(where: str) -> dict[str, Any]:
    """What the environment has of them, by the names of Snowflake's own tools. Raises WarehouseError where it has none."""
    found = {
        "password": os.environ.get("SNOWFLAKE_PASSWORD"),
        "private_key_file": os.environ.get("SNOWFLAKE_PRIVATE_KEY_PATH"),
        "private_key_file_pwd": os.environ.get("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE") or os.environ.get("PRIVATE_KEY_PASSPHRASE"),
        "authenticator": os.environ.get("SNOWFLAKE_AUTHENTICATOR"),
    }
    if not (found["password"] or found["private_key_file"] or found["authenticator"]):
        raise WarehouseError(f"{where}: there is no password; set SNOWFLAKE_PASSWORD, or SNOWFLAKE_PRIVATE_KEY_PATH for a key pair")
    if found["private_key_file"] and not found["authenticator"]:
        found |= {"authenticator": "SNOWFLAKE_JWT", "password": None}
    return {name: value for name, value in found.items() if value}


def _mistakes(table: Table) -> Iterator[str]:
    """What of a table Snowflake cannot have."""
    for name in (table.schema, table.name, *(column.name for column in table.columns)):
        if len(name) > LONGEST_NAME:
            yield f"{table.name}: the name {name} is longer than {LONGEST_NAME} characters, which none of Snowflake's can be; shorten it"


def _unfit(table: Table) -> Iterator[Unfit]:
    for column in table.columns:
        if column.type in ("VARCHAR", "JSON") or column.type.endswith("[]"):
            too_long = f"strlen({_written(column.name, column.type)}) > {LONGEST_TEXT}"
            yield Unfit(column.name, "is longer than 16 MB, which no value of Snowflake's can be", too_long)


def _written(name: str, type_: str) -> str:
    """A value as one of the few types that a Parquet file and COPY mean the same by."""
    if type_.endswith("[]"):
        return staged.json_list(name, type_)
    if type_ == "TIMESTAMPTZ":
        return f"epoch_us({quoted(name)})"
    is_plain = type_ in ("BIGINT", "INTEGER", "DOUBLE", "BOOLEAN")
    return quoted(name) if is_plain else f"CAST({quoted(name)} AS VARCHAR)"


def _spoken(name: str) -> str:
    """A name of the catalog as one would write it."""
    if not _PLAIN.fullmatch(name):
        return name
    return name.lower() if name == name.upper() else _Exact(name)


def _is_loss(error: Exception) -> bool:
    """Whether it is the connection's, and not the statement's."""
    return isinstance(error, errors.OperationalError | errors.InterfaceError | errors.InternalServerError | errors.ServiceUnavailableError)


_WAY_IN = "correct the URL, SNOWFLAKE_PASSWORD or SNOWFLAKE_PRIVATE_KEY_PATH, or run again when Snowflake is there"
_CAUSES = {
    606: ("no virtual warehouse is chosen", "name one in the URL, ?warehouse=NAME, or give the user a default one"),
    625: ("another loader is at work, or was killed in its transaction", "run again when that has ended; SHOW LOCKS names it"),
    2003: ("something is not there, or the role may not use it", "grant the role USAGE on database and schema, and the tables"),
    3001: ("permission denied", "grant the role CREATE SCHEMA on the database, or USAGE, CREATE TABLE and CREATE STAGE on the schema"),
    90105: ("there is no such database, or the role may not use it", "correct the URL"),
}  # fmt: skip
"""Causes and ways out, by Snowflake's numbers of errors."""


def _why_not(error: Exception) -> str:
    """Why a connection failed, without what may be secret."""
    said = str(error).lower()
    reasons = {
        "incorrect username or password": "the user or the password is wrong",
        "jwt token": "the key is not the user's",
        "private key": "the private key cannot be read",
        "no such file": "the private key cannot be read",
        "role": "the role cannot be used",
        "requested database": "there is no such database",
        "requested warehouse": "there is no such virtual warehouse",
        "refused": "nobody listens there",
        "404": "there is no such account",
        "403": "there is no such account",
        "name or service not known": "there is no such account",
        "failed to resolve": "there is no such account",
        "could not connect": "nobody answers there, or there is no such account",
        "timed out": "no answer in time",
    }
    return next((reason for sign, reason in reasons.items() if sign in said), type(error).__name__)
