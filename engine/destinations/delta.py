"""A folder of Delta tables as a warehouse, on disk or in a bucket. I/O.

A load works on a mirror: a DuckDB file with the lake's rows that the batch may touch, loaded as any DuckDB file is. What changed
there becomes one commit of the table, with the load's number as its application transaction (Delta protocol, "Transaction
Identifiers"), against the version that was mirrored: another loader's commit in between fails it. A commit is of one table, so
rejects and receipt go before it; both are written the same way again where the load is repeated, and a receipt counts when its
table has come to its number.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from ..errors import WarehouseError
from ..project import quoted, text
from . import Batch, Receipt, Rejected, Seen, Table
from .duckdb import DuckDB
from .sql import OURS

LOCK = "_syncer.lock"
"""Loaders of a schema on this machine wait for each other by it. Those of a bucket have the commits alone."""

_RUNS, _RECEIPTS, _REJECTS = OURS
_MIRRORED = (_RECEIPTS, _REJECTS)


class _Mirror(DuckDB):
    """A DuckDB file with the part of a lake that matters now."""

    def __init__(self, folder: str, schema: str, where: str) -> None:
        super().__init__(str(Path(folder) / "mirror.duckdb"), schema)
        self.where = where
        self.make_schema()

    def take(self, table: str, rows: object, json_columns: Sequence[str] = (), where: str = "true") -> None:
        """Rows of an Arrow stream into a table, which is made where it is not there."""
        con, name = self._connection(), self.name(table)
        casts = ", ".join(f"CAST({quoted(column)} AS JSON) AS {quoted(column)}" for column in json_columns)
        con.register("incoming", rows)
        select = f"SELECT *{f' REPLACE ({casts})' if casts else ''} FROM incoming AS t WHERE {where}"
        con.execute(f"INSERT INTO {name} {select}" if self._known(table).columns else f"CREATE TABLE {name} AS {select}")
        con.unregister("incoming")
        self._tables = None

    def arrow(self, table: str, what: str = "t.*", where: str = "true") -> Any:
        """Rows of a table as an Arrow stream."""
        texts = [name for name, kind in self._known(table).columns.items() if kind.startswith("JSON")]
        listed = ", ".join(f"CAST({quoted(name)} AS VARCHAR{self._known(table).columns[name][4:]}) AS {quoted(name)}" for name in texts)
        source = f"(SELECT *{f' REPLACE ({listed})' if listed else ''} FROM {self.name(table)})"
        return self._connection().sql(f"SELECT {what} FROM {source} AS t WHERE {where}")

    def changes(self, table: str, written: str, key: Sequence[str]) -> Any:
        """The rows of a table that were written, and the keys that are in the table `dead`: those with `_syncer_dead`."""
        keys = ", ".join(map(quoted, key))
        rows = self.arrow(table, "t.*, false AS _syncer_dead", written)
        return rows.query("written", f"SELECT * FROM written UNION ALL BY NAME SELECT {keys}, true AS _syncer_dead FROM dead")


class DeltaLake:
    """One schema of a lake: `ROOT/SCHEMA/TABLE`, a Delta table each. Access to a bucket comes from the environment."""

    def __init__(self, root: str, schema: str) -> None:
        self.is_local = "://" not in root
        self.root, self.schema = str(Path(root).resolve()) if self.is_local else root.rstrip("/"), schema
        self.where = f"warehouse delta:{root}"

    def check(self, tables: Sequence[Table] = ()) -> None:
        if self.is_local:
            folder = Path(self.root)
            if folder.exists() and not folder.is_dir():
                raise WarehouseError(f"{self.where}: is a file; name a folder")
            there = folder if folder.exists() else folder.parent
            if not there.is_dir():
                raise WarehouseError(f"{self.where}: there is no folder {there}; make it, or name another one with --to")
            if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
                raise WarehouseError(f"{self.where}: cannot be written (permission denied); correct it, or name another folder with --to")
        with self._told("cannot be opened"):
            self.table(_RECEIPTS)

    def identity(self, hub: str) -> str:
        with self._alone(), self._mirror() as mirror:
            is_new = hub not in mirror.hubs()
            known = mirror.identity(hub)
            if is_new:
                for name in OURS:
                    self._append(mirror, name, f"hub = {text(hub)} AND load = 0" if name == _RECEIPTS else "false")
            return known

    def hubs(self) -> Sequence[str]:
        with self._mirror() as mirror:
            return mirror.hubs()

    def seen(self, hub: str, table: Table) -> Seen:
        with self._mirror(table, hub) as mirror:
            return mirror.seen(hub, table)

    def books(self, hub: str, collection: str) -> Mapping[int, Receipt]:
        last = self._number(hub, collection)
        with self._mirror() as mirror:
            return {load: book for load, book in mirror.books(hub, collection).items() if load <= last}

    def rejects(self, samples: int = 5) -> Sequence[Rejected]:
        with self._mirror() as mirror:
            return mirror.rejects(samples)

    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with self._alone(), self._mirror(ours=()) as mirror:
            mirror.record(rows)
            self._append(mirror, _RUNS)

    def close(self) -> None:
        """Nothing is held between calls."""

    def commit(self, batch: Batch) -> Receipt:
        folder = str(Path(batch.files[0]).parent) if batch.files else None
        with self._alone(), self._mirror(batch.table, batch.hub, folder) as mirror:
            return _Load(self, mirror, batch).run()

    def uri(self, table: str) -> str:
        return f"{self.root}/{self.schema}/{table}"

    def table(self, name: str) -> DeltaTable | None:
        """A table as it is now; None where there is none."""
        return DeltaTable(self.uri(name)) if DeltaTable.is_deltatable(self.uri(name)) else None

    def _number(self, hub: str, collection: str) -> int:
        """Up to which load the receipts count: all, where the table was dropped."""
        there = self.table(collection)
        return (there.transaction_version(app(hub)) or 0) if there else sys.maxsize

    @contextmanager
    def _mirror(
        self, table: Table | None = None, hub: str = "", folder: str | None = None, ours: Sequence[str] = _MIRRORED
    ) -> Iterator[_Mirror]:
        """A mirror of syncer's tables, and of a collection's without its rows, but for one of another hub."""
        with TemporaryDirectory(dir=folder, prefix="mirror-") as place, self._told("the load was rolled back"):
            mirror = _Mirror(place, self.schema, self.where)
            try:
                for name in ours:
                    if there := self.table(name):
                        mirror.take(name, _rows(there), json_columns(OURS[name][1], there))
                if table:
                    self._take_shape(mirror, table, hub)
                yield mirror
            finally:
                mirror.close()

    def _take_shape(self, mirror: _Mirror, table: Table, hub: str) -> None:
        if mirror.look().get(_RECEIPTS):
            ahead = f"hub = {text(hub)} AND collection = {text(table.name)} AND load > {self._number(hub, table.name)}"
            mirror.ask(f"DELETE FROM {mirror.name(_RECEIPTS)} WHERE {ahead}")
        if there := self.table(table.name):
            is_ours = any(field.name == "_segment" for field in there.schema().fields)
            other = f"NOT starts_with(_segment, {text(hub + '/')}) LIMIT 1" if is_ours else "false"
            mirror.take(table.name, _rows(there, other), json_columns(_types(table), there))

    def _append(self, mirror: _Mirror, name: str, where: str = "true") -> None:
        there = self.table(name)
        write_deltalake(
            there or self.uri(name), mirror.arrow(name, where=where), mode="append", schema_mode="merge" if there else None,
            description=OURS[name][0],
        )  # fmt: skip

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Without another loader of the schema on this machine: a lock that ends with its process."""
        if not self.is_local:
            yield
            return
        folder = Path(self.root) / self.schema
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise WarehouseError(
                f"{self.where}: cannot be written ({error.strerror}); correct it, or name another folder with --to"
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of the lake as errors of ours, without anything that may be data."""
        try:
            yield
        except (DeltaError, OSError) as error:
            cause, way_out = _cause(error)
            raise WarehouseError(f"{self.where}: {what} ({cause}); {way_out}") from error


class _Load:
    """One batch into the mirror, and from there into the lake."""

    def __init__(self, lake: DeltaLake, mirror: _Mirror, batch: Batch) -> None:
        self.lake, self.mirror, self.batch, self.table = lake, mirror, batch, batch.table
        self.there = lake.table(batch.table.name)
        self.rejects, self.receipts = lake.table(_REJECTS), lake.table(_RECEIPTS)
        self.key = [*self.table.key, "_version"] if self.table.keeps_versions else list(self.table.key)

    def run(self) -> Receipt:
        batch, mirror = self.batch, self.mirror
        seen = mirror.seen(batch.hub, self.table)
        if seen.load == batch.load:
            return mirror.books(batch.hub, self.table.name)[batch.load]
        is_there = seen.there and seen.fits and not self._renames()
        replaces = batch.anew or batch.clear_rejects or not is_there
        if self.there:
            self._take_rows(self.there, whole=replaces or batch.marks_gone)
        if not replaces:
            mirror.ask(f"CREATE TABLE before AS SELECT {', '.join(map(quoted, self.key))} FROM {mirror.name(self.table.name)}")
        receipt = mirror.commit(batch)
        there = self.there or self._make()  # before its receipt: one without a table is of a table that was dropped
        self._write_ours()
        properties = CommitProperties(app_transactions=[Transaction(app(batch.hub), batch.load)])
        if replaces:
            rows = mirror.arrow(self.table.name)
            write_deltalake(there, rows, mode="overwrite", schema_mode="overwrite", commit_properties=properties)
        else:
            self._write_changes(there, properties)
        self._describe()
        return receipt

    def _make(self) -> DeltaTable:
        uri = self.lake.uri(self.table.name)
        write_deltalake(uri, self.mirror.arrow(self.table.name, where="false"), mode="error", description=self.table.comment)
        return DeltaTable(uri)

    def _renames(self) -> bool:
        """Whether some column is called otherwise in the lake, where that means to write it anew."""
        there = {field.name.lower() for field in self.there.schema().fields} if self.there else set()
        return any(column.name.lower() not in there for column in self.table.columns)

    def _take_rows(self, there: DeltaTable, whole: bool) -> None:
        """The rows that the batch may touch, and those that rejects explain."""
        mirror, batch, table = self.mirror, self.batch, self.table
        mirror.ask(f"DELETE FROM {mirror.name(table.name)}")
        wanted = []
        told = [mirror.put_told(batch, batch.told)] if batch.told and batch.told.files else []
        for keys in [*([mirror.put(batch)] if batch.files else []), *told]:
            same = " AND ".join(f"t.{quoted(name)} = b.{quoted(name)}" for name in table.key)
            wanted.append(f"EXISTS (SELECT 1 FROM {keys} AS b WHERE {same})")
        if self.rejects:
            mine = f"SELECT segment FROM {mirror.name(_REJECTS)} WHERE collection = {text(table.name)}"
            wanted.append(f"t._segment IN ({mine})")
        if whole or wanted:
            where = "true" if whole else f"({' OR '.join(wanted)})"
            mirror.take(table.name, _rows(there), json_columns(_types(table), there), where)

    def _write_ours(self) -> None:
        """The collection's rejects as they are after the load, and its receipt."""
        mine = f"collection = {text(self.table.name)}"
        if self.rejects or self.mirror.ask(f"SELECT 1 FROM {self.mirror.name(_REJECTS)} WHERE {mine} LIMIT 1"):
            self._replace(_REJECTS, self.rejects, mine)
        self._replace(_RECEIPTS, self.receipts, f"{mine} AND hub = {text(self.batch.hub)} AND load = {self.batch.load}")

    def _replace(self, name: str, there: DeltaTable | None, where: str) -> None:
        rows = self.mirror.arrow(name, where=where)
        if there is None:
            write_deltalake(self.lake.uri(name), rows, mode="error", description=OURS[name][0])
        else:
            write_deltalake(there, rows, mode="overwrite", predicate=where, schema_mode="merge")

    def _write_changes(self, there: DeltaTable, properties: CommitProperties) -> None:
        """One commit of the rows that were written and of those that are no more."""
        mirror, name = self.mirror, self.mirror.name(self.table.name)
        keys = ", ".join(map(quoted, self.key))
        same = " AND ".join(f"t.{quoted(word)} = b.{quoted(word)}" for word in self.key)
        now = f"t._synced_at = {mirror.instant(self.batch.synced_at)}"
        mirror.ask(f"CREATE TABLE dead AS SELECT {keys} FROM before AS b WHERE NOT EXISTS (SELECT 1 FROM {name} AS t WHERE {same})")
        replaced = mirror.ask(f"SELECT 1 FROM {name} AS t JOIN before AS b ON {same} WHERE {now} LIMIT 1")
        if not replaced and not mirror.ask("SELECT 1 FROM dead LIMIT 1"):
            write_deltalake(there, mirror.arrow(self.table.name, where=now), mode="append", commit_properties=properties)
            return
        columns = list(mirror.look()[self.table.name.lower()].columns)
        source = mirror.changes(self.table.name, now, self.key)
        values = {quoted(column): f"s.{quoted(column)}" for column in columns}
        merger = there.merge(
            source, " AND ".join(f"t.{quoted(word)} = s.{quoted(word)}" for word in self.key), "s", "t", commit_properties=properties
        )
        merger = merger.when_matched_delete("s._syncer_dead").when_matched_update(values)
        merger.when_not_matched_insert(values, "NOT s._syncer_dead").execute()

    def _describe(self) -> None:
        """What the table and its columns are, in the lake's own words."""
        there = self.lake.table(self.table.name)
        known = self.mirror.look()[self.table.name.lower()]
        if there is None:
            return
        if (there.metadata().description or None) != self.table.comment:
            there.alter.set_table_description(self.table.comment or "")
        for field in there.schema().fields:
            words = known.comments.get(field.name)
            if field.metadata.get("comment") != words and (words or field.metadata.get("comment")):
                there.alter.set_column_metadata(field.name, {"comment": words or ""})


def app(hub: str) -> str:
    """Whose application transactions a hub's loads are."""
    return f"syncer/{hub}"


def json_columns(types: Mapping[str, str], there: DeltaTable) -> list[str]:
    """The columns of type json, which a lake has as texts."""
    texts = {field.name.lower() for field in there.schema().fields if json.loads(field.type.to_json()) == "string"}
    return [name for name, type_ in types.items() if type_ == "JSON" and name.lower() in texts]


def _types(table: Table) -> dict[str, str]:
    return {column.name: column.type for column in table.columns}


def _rows(table: DeltaTable, where: str = "true") -> Any:
    return QueryBuilder().register("t", table).execute(f"SELECT * FROM t WHERE {where}")


_CAUSES = {
    "no space left": ("the disk is full", "free space, and run again"),
    "file too large": ("a file may not grow", "raise the limit of file sizes, and run again"),
    "permission denied": ("permission denied", "correct it, or name another place with --to"),
    "accessdenied": ("permission denied", "correct the credentials in the environment"),
    "nosuchbucket": ("there is no such bucket", "make it, or name another place with --to"),
    "transaction failed": ("another loader was here", "run again"),
}


def _cause(error: Exception) -> tuple[str, str]:
    otherwise = (type(error).__name__, "run again; if it stays, name another place with --to, and report it")
    if isinstance(error, CommitFailedError):
        otherwise = _CAUSES["transaction failed"]
    return next((told for sign, told in _CAUSES.items() if sign in str(error).lower()), otherwise)
