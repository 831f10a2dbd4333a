"""A warehouse under test, of whichever kind, and batches for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import duckdb
import psycopg
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from rest_syncer.engine.destinations import Batch, Column, Receipt, Table, Warehouse
from rest_syncer.engine.destinations.bigquery import BigQuery
from rest_syncer.engine.destinations.delta import DeltaLake
from rest_syncer.engine.destinations.duckdb import DuckDB
from rest_syncer.engine.destinations.postgresql import PostgreSQL
from rest_syncer.engine.destinations.snowflake import Snowflake
from rest_syncer.engine.project import quoted
from tests.big import StandIn
from tests.ducks import idle, opened

WHOLE = "SYNCER_WHOLE" in os.environ
"""Whether all is to be tried that can be (`make tests-whole`); else, of much that is alike, some."""
TEXTS = ("snowflake", "bigquery")
"""Kinds in which a list is a JSON text."""
IMPOSSIBLE = {
    "snowflake": ["it's"],  # to Snowflake it is one as any; fakesnow puts names into statements of its own as they are
    "bigquery": ['quo"te', "a.b", "semi;colon", "{x}", "$1", "?"],
}
"""Names that no column can have, by kind."""

HUB, OTHER_HUB = "0a0a0a0a", "0b0b0b0b"
ORDERS = Table(
    schema="shop",
    name="orders",
    comment="What was ordered.",
    columns=[Column("id", "BIGINT", "Number of the order"), Column("sum", "VARCHAR", None), Column("at", "TIMESTAMPTZ", "Last change")],
    key=["id"],
    cursor="at",
)


@dataclass(frozen=True)
class V:
    """One version of a record: its values, and where it lies."""

    values: Mapping[str, Any]
    run: int = 1
    line: int = 1
    ordinal: int = 1
    number: int = 0
    epoch: int = 0
    counted: bool = True

    @property
    def segment(self) -> str:
        return f"{self.run:06}-{self.ordinal:02}-{self.number:06}"


def v(id_: int, sum_: str | None = "1.00", at: int | None = 10, **place: Any) -> V:
    """A version of an order; `at` is in seconds."""
    return V({"id": id_, "sum": sum_, "at": at}, **{"line": id_, **place})


@dataclass
class Shop:
    """A warehouse under test, and batches for it."""

    folder: Path
    target: Warehouse
    client: Client
    loads: dict[tuple[str, str], int] = field(default_factory=dict)
    made: int = 0

    def batch(self, *versions: V, table: Table = ORDERS, hub: str = HUB, **more: Any) -> Batch:
        self.made += 1
        number = self.loads.get((hub, table.name), 0) + 1
        given = {
            "load": number,
            "starts": (),
            "complete": False,
            "gone_since": None,
            "marks_gone": False,
            "rejects": (),
            "rejected": 0,
            "rejected_values": 0,
            "reject_lines": {},
            "spec_file": "shop.yaml",
            "clear_rejects": False,
            "synced_at": number * 1_000_000,
        } | more
        counted = sum(1 for one in versions if one.counted) + given["rejected"]
        files = [written(self.folder / f"rows-{self.made}.parquet", table, hub, versions)] if versions else []
        given = {"source": "shop"} | given
        return Batch(
            table=table,
            hub=hub,
            warehouse="00000000",  # never the largest: that would be the schema's id
            files=files,
            prints=dict.fromkeys(table.types, "p"),
            named=table.types,
            read=counted,
            **given,
        )

    def load(self, *versions: V, table: Table = ORDERS, hub: str = HUB, **more: Any) -> Receipt:
        """A batch in its turn, of which the warehouse is given the files beforehand, as when they are staged."""
        batch = self.batch(*versions, table=table, hub=hub, **more)
        with self.target.receiving(table) as receive:
            for file in batch.files:
                receive(file)
            receipt = self.target.commit(batch)
        assert receipt.balances, receipt
        self.loads[hub, table.name] = batch.load
        return receipt

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """What another client finds in the warehouse, by SQL that every kind understands."""
        self.target.close()
        return self.client.ask(sql)

    def change(self, sql: str) -> None:
        """What another client does to the warehouse."""
        self.target.close()
        self.client.ask(sql)

    def columns(self, table: str = "orders") -> list[tuple[Any, ...]]:
        where = f"table_schema = 'shop' AND table_name = '{table}'"
        return self.ask(f"SELECT column_name, data_type FROM information_schema.columns WHERE {where} ORDER BY ordinal_position")

    def comments(self) -> tuple[str | None, list[tuple[str, str | None]]]:
        """What the warehouse says of the table `orders`, and of its columns."""
        self.target.close()
        return self.client.comments("orders")

    def orders(self) -> list[tuple[Any, ...]]:
        """id, sum, at, when the row was written, when it went (in seconds)."""
        seconds = ", ".join(f"extract(epoch FROM {column})::BIGINT" for column in ('"at"', "_synced_at", "_deleted_at"))
        return self.ask(f"SELECT id, sum, {seconds} FROM shop.orders ORDER BY id")


class Client(Protocol):
    """Another user of a warehouse."""

    @property
    def url(self) -> str: ...
    def ask(self, sql: str) -> list[tuple[Any, ...]]: ...
    def comments(self, table: str) -> tuple[str | None, list[tuple[str, str | None]]]: ...
    def open(self, schema: str) -> Warehouse: ...


def is_tried(kind: str, marks: Collection[str], module: str) -> bool:
    """Whether a warehouse of a kind goes through a test. Where not all is tried, one goes through what is much alike (`many`); those that
    take their time go through the contract, which is a module of its own, and what the README shows of them, the slowest through the
    latter alone."""
    if kind == "duckdb" or (kind == "postgresql" and (WHOLE or "many" not in marks)):
        return True
    if "many" in marks:
        return WHOLE and (kind == "delta" or "shows" in marks)
    return WHOLE or "shows" in marks or (module == "test_warehouses" and kind != "snowflake")


def kind_of(client: Client) -> str:
    return client.url.partition(":")[0]


@dataclass
class File:
    """A DuckDB file, as another process has it."""

    path: Path

    @property
    def url(self) -> str:
        return f"duckdb:{self.path}"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with opened(self.path, read_only=False) as con:
            return con.execute(sql).fetchall()

    def comments(self, table: str) -> tuple[str | None, list[tuple[str, str | None]]]:
        columns = f"SELECT column_name, comment FROM duckdb_columns() WHERE table_name = '{table}' ORDER BY column_index"
        return self.ask(f"SELECT comment FROM duckdb_tables() WHERE table_name = '{table}'")[0][0], self.ask(columns)

    def open(self, schema: str) -> Warehouse:
        return DuckDB(str(self.path), schema)


@dataclass
class Database:
    """A PostgreSQL database, as another client has it."""

    url: str

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, options="-c timezone=UTC") as con:
            cursor = con.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def comments(self, table: str) -> tuple[str | None, list[tuple[str, str | None]]]:
        ((own,),) = self.ask(f"SELECT obj_description('shop.{table}'::regclass, 'pg_class')")
        return own, self.ask(
            f"SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
            f"WHERE attrelid = 'shop.{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )

    def open(self, schema: str) -> Warehouse:
        return PostgreSQL(self.url.removeprefix("postgresql:"), schema, pauses=())


@dataclass
class Lake:
    """A folder of Delta tables, as another reader and writer has it: all of a schema's tables at once."""

    root: Path

    @property
    def url(self) -> str:
        return f"delta:{self.root}"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(":memory:") as con:
            con.execute("SET TimeZone = 'UTC'")
            for schema in (path.name for path in self.root.glob("*")):
                con.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                for path in sorted((self.root / schema).glob("*/_delta_log")):
                    rows = QueryBuilder().register("t", DeltaTable(path.parent)).execute("SELECT * FROM t")
                    con.register("rows", rows)
                    con.execute(f"CREATE TABLE {schema}.{quoted(path.parent.name)} AS SELECT * FROM rows")
            found = con.execute(sql).fetchall()
            if not sql.startswith("SELECT"):
                tables = set(con.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall())
                for path in self.root.glob("*/*/_delta_log"):
                    if (path.parts[-3], path.parts[-2]) not in tables:
                        shutil.rmtree(path.parent)
                for schema, table in tables:
                    rows = con.sql(f"SELECT * FROM {schema}.{quoted(table)}")
                    write_deltalake(self.root / schema / table, rows, mode="overwrite", schema_mode="overwrite")
        return found

    def comments(self, table: str) -> tuple[str | None, list[tuple[str, str | None]]]:
        there = DeltaTable(self.root / "shop" / table)
        return there.metadata().description or None, [(one.name, one.metadata.get("comment") or None) for one in there.schema().fields]

    def open(self, schema: str) -> Warehouse:
        return DeltaLake(str(self.root), schema)


@dataclass
class Cloud:
    """A Snowflake database, as another client has it. The catalog has names in capitals."""

    url: str

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self.open("public")._connection()) as con:
            for one in sql.split("; "):
                found = con.cursor().execute(one).fetchall()
        return [tuple(row) for row in found]

    def comments(self, table: str) -> tuple[str | None, list[tuple[str, str | None]]]:
        there = self.open("shop")
        with closing(there):
            known = there.look()[table]
        return known.comment, list(known.comments.items())

    def open(self, schema: str) -> Snowflake:
        return Snowflake(self.url.removeprefix("snowflake:"), schema, pauses=())


@dataclass
class Project:
    """A BigQuery project: a stand-in, as what looks at its tables from behind."""

    behind: StandIn
    url: str = "bigquery://my-project"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self.behind.con.cursor() as con:
            con.execute("SET TimeZone = 'UTC'; USE \"my-project\"")
            return con.execute(sql).fetchall()

    def comments(self, table: str) -> tuple[str | None, list[tuple[str, str | None]]]:
        told = self.behind.descriptions
        columns = self.ask(f"SELECT column_name FROM duckdb_columns() WHERE table_name = '{table}' ORDER BY column_index")
        return told.get(("shop", table, None)) or None, [(name, told.get(("shop", table, name)) or None) for (name,) in columns]

    def open(self, schema: str) -> Warehouse:
        return BigQuery("//my-project", schema, pauses=())


def written(file: Path, table: Table, hub: str, versions: Sequence[V]) -> str:
    """Rows as `stage` writes them."""
    ours = {
        "_segment": "VARCHAR", "_syncer_epoch": "INTEGER", "_syncer_run": "INTEGER", "_syncer_ordinal": "INTEGER",
        "_syncer_number": "INTEGER", "_syncer_line": "BIGINT", "_syncer_counted": "BOOLEAN", "_syncer_at": "BIGINT",
    }  # fmt: skip
    kinds = {column.name: column.type for column in table.columns} | ours
    with idle().cursor() as con:
        con.execute(f"CREATE TEMP TABLE rows ({', '.join(f'{quoted(name)} {kind}' for name, kind in kinds.items())})")
        marks = ", ".join("to_timestamp(?)" if kind == "TIMESTAMPTZ" else "?" for kind in kinds.values())
        for one in versions:
            place = f"{hub}/{table.name}/{one.segment}#{one.line}"
            values = [one.values[column.name] for column in table.columns]
            con.execute(
                f"INSERT INTO rows VALUES ({marks})",
                [*values, place, one.epoch, one.run, one.ordinal, one.number, one.line, one.counted, 1_000_000 * one.run],
            )
        con.execute(f"COPY rows TO '{file}' (FORMAT parquet)")
    return str(file)
