"""A BigQuery project as a warehouse; it has never been run against the real service: its SQL is held by golden files. I/O.

A schema is a dataset: `bigquery://PROJECT`, and `--schema` names the dataset, as it names the schema everywhere. For those who write
`bigquery://PROJECT/DATASET`, that has to be the same one: a word that says otherwise than `--schema` would hide where the tables are.

A transaction of several statements runs in a session and can change no table's shape, so a load does that first: a load job takes the
files into a table of its own, which ends by itself after a day, should the load be killed. In the transaction, temporary tables hold
what the load keeps; they go with the session. `json` columns are STRING, for JSON would write what the API sent anew. So are lists, as
JSON texts: an ARRAY can hold no NULL, and is never NULL itself, so that `[null]`, `[]` and nothing would be the same.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import duckdb
from google.api_core.exceptions import GoogleAPIError, NotFound, ServiceUnavailable, TooManyRequests
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

from ..errors import UsageError, WarehouseError
from ..project import Unfit, quoted
from . import Batch, Table, staged
from .dialect import Known, cut, stepwise
from .shape import ADDED
from .sql import SqlWarehouse
from .staged import ORDER
from .upsert import InPlace, Upsert

MOST_COLUMNS = 10_000
LONGEST_NAME = 300
"""Characters of a column's name (BigQuery, "Specifying a schema")."""
LONGEST_WORDS, LONGEST_TABLES_WORDS = 1024, 16_384
"""Characters of a column's description, and of a table's (BigQuery, "Quotas and limits")."""
LONGEST_TEXT = 10 * 2**20
"""Bytes: a row has 100 MB at most when it is loaded, and 10 MB is what one of its queries takes of a value ("Quotas and limits")."""

PAUSES = (0.5, 2.0, 10.0)
"""Seconds before a load whose connection was lost is tried again."""

_RESERVED = ("_change_", "_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier")
"""How no column's name may begin, in any case."""
_ODD_NAME = re.compile(r"[!\"$()*,./;?@\[\]\\^`{}~]")
"""What no column's name may hold."""
_PIECE = 4 * 2**20
_KINDS = {
    "VARCHAR": "STRING", "BIGINT": "INT64", "INTEGER": "INT64", "DOUBLE": "FLOAT64", "BOOLEAN": "BOOL", "TIMESTAMPTZ": "TIMESTAMP",
    "DATE": "DATE", "JSON": "STRING",
}  # fmt: skip


class BigQuery(SqlWarehouse):
    """One dataset of a BigQuery project, by what stands behind `bigquery:` in the URL.

    Access comes from the environment, as Google's own tools take it: GOOGLE_APPLICATION_CREDENTIALS, or what `gcloud` left.
    """

    errors: ClassVar[tuple[type[Exception], ...]] = (GoogleAPIError, GoogleAuthError, duckdb.Error)
    upsert = InPlace
    shapes_apart = True

    def __init__(self, place: str, schema: str, pauses: Sequence[float] = PAUSES) -> None:
        self.project, self.location = _project(place, schema)
        super().__init__(f"warehouse bigquery://{self.project}", schema, pauses)
        self._client: bigquery.Client | None = None
        self._session: str | None = None
        self._is_there = self._is_lost = False
        self._staged: list[str] = []
        self._prepared_loads = 0

    def check(self, tables: Sequence[Table] = ()) -> None:
        mistakes = [mistake for table in tables for mistake in _mistakes(table)]
        if mistakes:
            raise UsageError("\n".join(mistakes))
        try:
            self._find()
        except self.errors as error:
            cause, way_out = self.told(error)
            raise WarehouseError(f"{self.where}: cannot be opened ({cause}); {way_out}") from None
        self.close()

    def close(self) -> None:
        if self._session is not None:
            with contextlib.suppress(*self.errors):
                self.ask("CALL BQ.ABORT_SESSION()")
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]  # it says nothing of its types
        self._client = self._session = self._tables = None
        self._is_there = self._is_lost = False

    @property
    def lost(self) -> bool:
        return self._is_lost

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._run(sql)

    def told(self, error: Exception) -> tuple[str, str]:
        said = str(error).lower()
        if isinstance(error, GoogleAuthError):
            return "there are no credentials, or they are not valid", "set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file"
        return next((told for sign, told in _CAUSES.items() if sign in said), _otherwise(error))

    def quoted(self, name: str) -> str:
        return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"

    def text(self, value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
        return f"'{escaped}'"

    def fold(self, name: str) -> str:
        return name.lower()

    def name(self, table: str) -> str:
        return f"{self.quoted(self.project)}.{self.quoted(self.schema)}.{self.quoted(table)}"

    def kind(self, type_: str) -> str:
        if type_.endswith("[]"):
            return "STRING"
        if not (found := re.fullmatch(r"DECIMAL\((\d+), ?(\d+)\)", type_)):
            return _KINDS[type_]
        digits, scale = int(found[1]), int(found[2])
        return f"{'NUMERIC' if scale <= 9 and digits - scale <= 29 else 'BIGNUMERIC'}({digits}, {scale})"

    def make_schema(self) -> None:
        self._tables = None  # another loader may have been here
        if not self._find():
            made = bigquery.Dataset(f"{self.project}.{self.schema}")
            made.location = self.location
            self._connection().create_dataset(made, exists_ok=True)

    def _find(self) -> bool:
        """Whether the dataset is there. Where it lies, statements have to be sent to."""
        if not self._is_there:
            try:
                self.location = self._connection().get_dataset(f"{self.project}.{self.schema}").location
                self._is_there = True
            except NotFound:
                return False
        return True

    def look(self) -> dict[str, Known]:
        tables: dict[str, Known] = {}
        if not self._find():
            return tables
        dataset = f"{self.quoted(self.project)}.{self.quoted(self.schema)}.INFORMATION_SCHEMA"
        for table, column, kind, words in self.ask(
            f"SELECT c.table_name, c.column_name, c.data_type, p.description FROM {dataset}.COLUMNS AS c "
            f"JOIN {dataset}.COLUMN_FIELD_PATHS AS p ON p.table_name = c.table_name AND p.field_path = c.column_name "
            "ORDER BY c.table_name, c.ordinal_position"
        ):
            known = tables.setdefault(self.fold(table), Known())
            known.columns[column], known.comments[column] = kind, words or None
        options = f"SELECT table_name, option_value FROM {dataset}.TABLE_OPTIONS WHERE option_name = 'description'"
        for table, words in self.ask(options):
            tables.setdefault(self.fold(table), Known()).comment = _unquoted(words)
        return tables

    def words(self, said: str | None, of_table: bool) -> str | None:
        most = LONGEST_TABLES_WORDS if of_table else LONGEST_WORDS
        return said if said is None or len(said) <= most else said[: most - 1] + "…"

    def describe(self, table: str, words: Mapping[str | None, str | None]) -> None:
        """At once: a table may be changed five times in ten seconds."""
        there = self._connection().get_table(f"{self.project}.{self.schema}.{table}")
        if None in words:
            there.description = words[None]
        there.schema = [
            bigquery.SchemaField.from_api_repr(one.to_api_repr() | {"description": words[one.name] or ""}) if one.name in words else one
            for one in there.schema
        ]
        self._connection().update_table(there, ["description", "schema"])

    def alter(self, table: str, changes: Sequence[str]) -> None:
        """At once, for the same reason."""
        self.ask(f"ALTER TABLE {self.name(table)} {', '.join(changes)}")

    def add(self, table: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        """As JSON texts: a parameter that is an array can hold no NULL."""
        names = ", ".join(map(self.quoted, columns))
        values = ", ".join(self._out_of_json(f"JSON_VALUE(one, '$[{place}]')", kind) for place, kind in enumerate(columns.values()))
        for piece in _pieces(json.dumps([cut(row.get(name), LONGEST_TEXT) for name in columns]) for row in rows):
            given = bigquery.ScalarQueryParameter("rows", "STRING", piece)
            self._run(f"INSERT INTO {self.name(table)} ({names}) SELECT {values} FROM UNNEST(JSON_QUERY_ARRAY(@rows)) AS one", given)

    def _out_of_json(self, value: str, kind: str) -> str:
        if kind == "TIMESTAMPTZ":
            return self.instant(f"CAST({value} AS INT64)")
        return value if self.kind(kind) == "STRING" else f"CAST({value} AS {self.kind(kind)})"

    def unfit(self, table: Table) -> Sequence[Unfit]:
        """Texts that are too long."""
        return list(_unfit(table))

    def put(self, batch: Batch) -> str:
        return self.put_columns("rows", batch.table.types | ORDER, batch.files)

    def put_columns(self, table: str, types: Mapping[str, str], files: Sequence[str]) -> str:
        """In a table of their own, under a name of its own; a table expression that calls them by their names."""
        staging, folder = f"_syncer_staged_{secrets.token_hex(8)}", Path(files[0]).parent
        written = {column: _written(column, type_) for column, type_ in types.items()}
        listed = ", ".join(f"c{place} {self.kind(type_)}" for place, type_ in enumerate(types.values()))
        day = "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))"
        self.ask(f"CREATE TABLE {self.name(staging)} ({listed}) {day}")
        self._staged.append(staging)
        with TemporaryDirectory(dir=folder) as place:
            staged.copy(staged.selected(files, written), f"{place}/rows.parquet", "FORMAT parquet", folder)
            self._load(staging, Path(f"{place}/rows.parquet"))
        named = ", ".join(f"c{place} AS {self.quoted(column)}" for place, column in enumerate(types))
        return f"(SELECT {named} FROM {self.name(staging)})"

    def temporary(self, table: str) -> str:
        return f"_SESSION.{table}_{self._prepared_loads}"

    def prepare(self, load: Upsert) -> None:
        """Each load's temporary tables have names of their own, for each statement more would take a second."""
        self._prepared_loads += 1

    def keep(self, table: str, select: str) -> None:
        self.ask(f"CREATE TEMP TABLE {table}_{self._prepared_loads} AS {select}")

    def before(self, one: Sequence[str], other: Sequence[str]) -> str:
        return stepwise(one, other)

    def later(self, one: str, other: str) -> str:
        return f"coalesce(greatest({one}, {other}), {one}, {other})"

    def values(self, alias: str, names: Sequence[str], rows: Sequence[Sequence[int]]) -> str:
        named = ", ".join(f"{name} INT64" for name in names)
        listed = ", ".join(f"STRUCT<{named}>({', '.join(map(str, row))})" for row in rows)
        return f"UNNEST([{listed}]) AS {alias}"

    def instant(self, micros: int | str) -> str:
        return f"TIMESTAMP_MICROS({micros})"

    def place(self, column: str) -> list[str]:
        """Each number by a pattern of its own: BigQuery's have one group."""
        parts = (r"/(\d+)-\d+-\d+#\d+$", r"/\d+-(\d+)-\d+#\d+$", r"/\d+-\d+-(\d+)#\d+$", r"#(\d+)$")
        return [f"CAST(REGEXP_EXTRACT({column}, r'{part}') AS INT64)" for part in parts]

    def digest(self, values: Mapping[str, str]) -> str:
        texts = (f"coalesce(TO_HEX(MD5(CAST({value} AS STRING))), '-')" for value in values)
        return f"TO_HEX(MD5(concat({', '.join(texts)})))"

    def _drop_temporary(self) -> None:
        while self._staged:
            self.ask(f"DROP TABLE IF EXISTS {self.name(self._staged.pop())}")

    def _run(self, sql: str, *given: bigquery.ScalarQueryParameter) -> list[tuple[Any, ...]]:
        client = self._connection()
        config = bigquery.QueryJobConfig(query_parameters=list(given))
        if self._session is None:
            config.create_session = True
        else:
            config.connection_properties = [bigquery.ConnectionProperty("session_id", self._session)]
        try:
            job = client.query(sql, job_config=config, location=self.location)
            rows = [tuple(row.values()) for row in job.result()]
        except (ServiceUnavailable, TooManyRequests):
            self._is_lost = True
            raise
        if self._session is None and job.session_info:
            self._session = job.session_info.session_id
        return rows

    def _load(self, table: str, file: Path) -> None:
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition="WRITE_APPEND",
            decimal_target_types=["NUMERIC", "BIGNUMERIC"],
        )
        with file.open("rb") as stream:
            self._connection().load_table_from_file(
                stream, f"{self.project}.{self.schema}.{table}", location=self.location, job_config=config
            ).result()

    def _connection(self) -> bigquery.Client:
        if self._client is None:
            try:
                self._client = bigquery.Client(project=self.project)
            except (GoogleAuthError, OSError, ValueError):
                what = "set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file, or run `gcloud auth application-default login`"
                raise WarehouseError(f"{self.where}: cannot be opened (there are no credentials); {what}") from None
        return self._client


def _project(place: str, schema: str) -> tuple[str, str | None]:
    """The project of a URL, and where a dataset is to be made. Raises UsageError."""
    parts = urlsplit(f"bigquery:{place}")
    dataset, more = parts.path.strip("/"), dict(parse_qsl(parts.query))
    if not parts.netloc or "@" in parts.netloc or "/" in dataset or more.keys() - {"location"}:
        raise UsageError("--to: is no URL of BigQuery; write bigquery://PROJECT, or bigquery://PROJECT?location=EU")
    if dataset and dataset != schema:
        raise UsageError(f"--to bigquery: names the dataset {dataset}, and the schema is {schema}; say --schema {dataset}")
    return parts.netloc, more.get("location")


def _mistakes(table: Table) -> Iterator[str]:
    """What of a table BigQuery cannot have."""
    most = MOST_COLUMNS - max(len(ADDED), len(ORDER))
    if len(table.columns) > most:
        yield f"{table.name}: has {len(table.columns):,} properties, and a table of BigQuery {most:,} at most; leave some out"
    for name in (column.name for column in table.columns):
        if len(name) > LONGEST_NAME:
            yield f"{table.name}: the name {name} is longer than {LONGEST_NAME} characters, which none of BigQuery's can be; shorten it"
        if name.lower().startswith(_RESERVED) or _ODD_NAME.search(name):
            yield f"{table.name}: no column of BigQuery can be called {name}; rename the property, and say `from: {name}`"
    for name in table.key:
        if table.types[name] == "DOUBLE":
            yield f"{table.name}.{name}: of type number, by which BigQuery groups nothing, so it can be no key; make it a decimal"


def _unfit(table: Table) -> Iterator[Unfit]:
    for column in table.columns:
        if column.type in ("VARCHAR", "JSON") or column.type.endswith("[]"):
            too_long = f"strlen({_written(column.name, column.type)}) > {LONGEST_TEXT}"
            yield Unfit(column.name, "is longer than 10 MB, which no value of BigQuery's can be", too_long)


def _written(name: str, type_: str) -> str:
    """A value as the type of its column is loaded from: the others are the same in a Parquet file."""
    if type_.endswith("[]"):
        return staged.json_list(name, type_)
    return f"CAST({quoted(name)} AS VARCHAR)" if type_ == "JSON" else quoted(name)


def _pieces(rows: Iterable[str]) -> Iterator[str]:
    """JSON arrays of some rows each, small enough for a request."""
    piece: list[str] = []
    size = 0
    for row in rows:
        if piece and size + len(row) > _PIECE:
            yield f"[{', '.join(piece)}]"
            piece, size = [], 0
        piece.append(row)
        size += len(row)
    if piece:
        yield f"[{', '.join(piece)}]"


def _unquoted(words: str) -> str | None:
    """A description out of the literal that the catalog has of it."""
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r", "t": "\t"}.get(found[1], found[1]), words[1:-1]) or None


_CAUSES = {
    "aborted due to concurrent update": ("another loader was here", "run again"),
    "could not serialize": ("another loader was here", "run again"),
    "permission": ("permission denied", "grant the roles BigQuery Data Editor and BigQuery Job User"),
    "not found: project": ("there is no such project, or it may not be used", "correct the URL"),
    "project": ("there is no such project, or it may not be used", "correct the URL"),
    "quota": ("a quota is used up", "run again later"),
}


def _otherwise(error: Exception) -> tuple[str, str]:
    return type(error).__name__, "run again; if it stays, name another --schema, and report it"
