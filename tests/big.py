"""A stand-in for BigQuery's client: it takes down each statement, translates it for a DuckDB in memory, and answers from there.

That shows what the SQL means as sqlglot reads BigQuery's dialect. It is not the real service, which no test here has ever seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import duckdb
import sqlglot
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import bigquery
from sqlglot import exp

_TYPES = {
    "VARCHAR": "STRING", "BIGINT": "INT64", "DOUBLE": "FLOAT64", "BOOLEAN": "BOOL", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "DATE": "DATE",
}  # fmt: skip


@dataclass
class StandIn:
    """One project, and what it was asked."""

    con: duckdb.DuckDBPyConnection
    asked: list[str] = field(default_factory=list)
    descriptions: dict[tuple[str, str, str | None], str | None] = field(default_factory=dict)

    @classmethod
    def new(cls) -> StandIn:
        con = duckdb.connect(":memory:")
        con.execute("SET TimeZone = 'UTC'")
        con.execute("ATTACH ':memory:' AS \"my-project\"")
        return cls(con)

    def another(self) -> StandIn:
        """Another client of the same project."""
        con = self.con.cursor()
        con.execute("SET TimeZone = 'UTC'")
        return StandIn(con, self.asked, self.descriptions)

    def get_dataset(self, name: str) -> Any:
        if not self.con.execute("SELECT 1 FROM duckdb_schemas() WHERE schema_name = ?", [name.split(".")[1]]).fetchall():
            raise NotFound("no such dataset")
        return SimpleNamespace(location="EU")

    def create_dataset(self, dataset: bigquery.Dataset, exists_ok: bool) -> None:
        self.con.execute(f'CREATE SCHEMA "my-project".{dataset.dataset_id}')

    def get_table(self, name: str) -> Any:
        _, dataset, table = name.split(".")
        fields = [
            bigquery.SchemaField(column, kind, description=self.descriptions.get((dataset, table, column)) or "")
            for column, kind in self._columns(dataset, table)
        ]
        return SimpleNamespace(place=(dataset, table), description=self.descriptions.get((dataset, table, None)), schema=fields)

    def update_table(self, table: Any, what: Sequence[str]) -> None:
        assert what == ["description", "schema"]
        told = {one.name: one.description for one in table.schema} | {None: table.description}
        self.descriptions |= {(*table.place, column): words for column, words in told.items()}
        shown = ", ".join(f"{column or 'the table'}: {words}" for column, words in told.items() if words)
        self.asked.append(f"-- tables.patch of {table.place[1]}: {shown}")

    def load_table_from_file(self, stream: BinaryIO, table: str, **_: Any) -> Any:
        file = Path(stream.name)
        names = [column for (column, *_) in self.con.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()]
        project, dataset, name = table.split(".")
        self.asked.append(f"-- load job: Parquet of {', '.join(names)} into {_steady(name)}")
        self.con.execute(f'INSERT INTO "{project}"."{dataset}"."{name}" BY NAME SELECT * FROM \'{file}\'')
        return SimpleNamespace(result=lambda: None)

    def query(self, sql: str, job_config: bigquery.QueryJobConfig, location: str | None) -> Any:
        assert location == "EU" or "CREATE" not in sql
        if "INFORMATION_SCHEMA" not in sql:
            self.asked.append(_steady(sql))
        try:
            found = self._answer(sql, job_config.query_parameters)
        except duckdb.Error as error:
            raise BadRequest(str(error)) from error
        return SimpleNamespace(
            result=lambda: [dict(enumerate(row)) for row in found],
            session_info=SimpleNamespace(session_id="s") if job_config.create_session else None,
        )

    def close(self) -> None:
        self.con.close()

    def _answer(self, sql: str, given: Sequence[Any]) -> list[tuple[Any, ...]]:
        if "INFORMATION_SCHEMA.COLUMNS" in sql:
            dataset = sql.split("`")[3]
            tables = self.con.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = ?", [dataset]).fetchall()
            return [
                (table, column, kind, self.descriptions.get((dataset, table, column)))
                for (table,) in tables
                for column, kind in self._columns(dataset, table)
            ]
        if "INFORMATION_SCHEMA.TABLE_OPTIONS" in sql:
            dataset = sql.split("`")[3]
            told = {place[1]: words for place, words in self.descriptions.items() if place[0] == dataset and place[2] is None and words}
            return [(table, repr(words)) for table, words in told.items()]
        if sql.startswith("CALL"):
            return []
        if sql in ("BEGIN", "COMMIT", "ROLLBACK"):
            return self.con.execute(sql).fetchall()
        if given:
            return self._insert(sql, given)
        tree = sqlglot.parse_one(sql, read="bigquery")
        if isinstance(tree, exp.Alter):  # DuckDB makes one change a statement
            for change in tree.args["actions"]:
                one = tree.copy()
                one.set("actions", [change])
                self.con.execute(one.sql(dialect="duckdb"))
            return []
        if isinstance(tree, exp.Create):
            tree.set("properties", None if "OPTIONS" in sql else tree.args.get("properties"))
        translated = tree.sql(dialect="duckdb").replace("_SESSION.", "temp.").replace('"_SESSION".', "temp.")
        return self.con.execute(translated).fetchall()

    def _insert(self, sql: str, given: Sequence[Any]) -> list[tuple[Any, ...]]:
        """`INSERT ... SELECT JSON_VALUE(one, '$[0]') ... FROM UNNEST(...) AS one`: rows that come as JSON."""
        into, values = re.fullmatch(r"(INSERT INTO .*?) SELECT (.*) FROM UNNEST.*", sql).groups()  # type: ignore[union-attr]  # it is so
        marks = [
            "make_timestamptz(?)" if "TIMESTAMP_MICROS" in one else "?"
            for one in re.findall(r"(?:TIMESTAMP_MICROS.CAST.)?JSON_VALUE", values)
        ]
        for row in json.loads(given[0].value):
            self.con.execute(f"{into.replace('`', chr(34))} VALUES ({', '.join(marks)})", row)
        return []

    def _columns(self, dataset: str, table: str) -> list[tuple[str, str]]:
        found = self.con.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? ORDER BY column_index",
            [dataset, table],
        ).fetchall()
        return [(column, _TYPES.get(kind) or kind.replace("DECIMAL(", "NUMERIC(").replace(",", ", ")) for column, kind in found]


def _steady(sql: str) -> str:
    """Without what is another one each time."""
    return re.sub(r"_syncer_staged_\w+", "_syncer_staged_0", sql)
