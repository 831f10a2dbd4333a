"""A folder of Delta tables as a warehouse, on disk or in a bucket. I/O.

A load works on a mirror: a DuckDB file with the lake's rows that the batch may touch, loaded as any DuckDB file is. What changed
there becomes one commit of the table, with the load's number as its application transaction (Delta protocol, "Transaction
Identifiers"), against the version that was mirrored: another loader's commit in between fails it. A commit is of one table, so
rejects and receipt go before it; both are written the same way again where the load is repeated, and a receipt counts when its
table has come to its number.

Lakes are not merged into: deltalake's MERGE holds in memory what it joins, or comes to a standstill (1.6, seen on 3,000,000 rows).
Few rows are replaced by a predicate over their places, many by writing all rows anew; both stream.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from arro3.core import Array, RecordBatch, RecordBatchReader, Schema
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from ..errors import WarehouseError
from ..project import Unfit, quoted, text
from . import RECEIVES_NOTHING, Batch, Receipt, Rejected, Seen, Table
from .duckdb import CAUSES, DuckDB, Tries
from .shape import ADDED, OF_VERSIONS, OURS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LOCK = "_syncer.lock"
"""Loaders of a schema on this machine wait for each other by it. Those of a bucket have the commits alone."""

MOST_NAMED = 4_000
"""How many places a predicate names: parsing 50,000 of them overflowed deltalake's stack (1.6)."""

MOST_FILES = 100
"""Tables of more files are compacted: each load adds some, and each read opens all."""

PIECE_BYTES = 4 * 2**20
"""About how much of a table is in memory at once on its way into the lake."""

FILE_BYTES = 64 * 2**20
"""How large the lake's files grow: one is in memory while it is written."""

_MARK, _LOAD = "syncer", "syncer_load"
"""What a load's commit says of itself in the table's history: whose it is, and its number."""
_ROW_GROUP = 16_384
_WRITER = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=_ROW_GROUP)
_ERRORS: tuple[type[Exception], ...] = (DeltaError, OSError, *DuckDB.errors)
_RUNS, _RECEIPTS, _REJECTS = OURS
_MIRRORED = (_RECEIPTS, _REJECTS)


class DeltaLake:
    """One schema of a lake: `ROOT/SCHEMA/TABLE`, a Delta table each. Access to a bucket comes from the environment."""

    def __init__(self, root: str, schema: str) -> None:
        self.is_local = "://" not in root
        self.root, self.schema = str(Path(root).resolve()) if self.is_local else root.rstrip("/"), schema
        self.where = f"warehouse delta:{root}"
        self._tries = Tries()

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
        last = _number(self.table(collection), hub)
        with self._mirror() as mirror:
            return {load: book for load, book in mirror.books(hub, collection).items() if load <= last}

    def rejects(self, samples: int = 5) -> Sequence[Rejected]:
        with self._mirror() as mirror:
            return mirror.rejects(samples)

    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with self._alone(), self._mirror(ours=()) as mirror:
            mirror.record(rows)
            tidy(self._append(mirror, _RUNS))

    def unfit(self, table: Table) -> Sequence[Unfit]:
        return ()

    def close(self) -> None:
        """Nothing is held between calls."""

    def receiving(self, table: Table) -> AbstractContextManager[Callable[[str], None]]:
        return RECEIVES_NOTHING

    def commit(self, batch: Batch) -> Receipt:
        return self._tries.made(batch.table.name, lambda is_ample: self._commit(batch, AmpleMirror if is_ample else Mirror))

    def _commit(self, batch: Batch, kind: type[Mirror]) -> Receipt:
        with (
            self._alone(),
            TemporaryDirectory(dir=Path(batch.files[0]).parent if batch.files else None, prefix="mirror-") as folder,
            self._mirror(batch.table, batch.hub, str(Path(folder) / "mirror.duckdb"), kind=kind) as mirror,
        ):
            return _Load(self, mirror, batch).run()

    def uri(self, table: str) -> str:
        return f"{self.root}/{self.schema}/{table}"

    def table(self, name: str) -> DeltaTable | None:
        """A table as it is now; None where there is none."""
        try:
            return DeltaTable(self.uri(name))
        except TableNotFoundError:
            return None

    @contextmanager
    def _mirror(
        self,
        table: Table | None = None,
        hub: str = "",
        path: str = ":memory:",
        ours: Sequence[str] = _MIRRORED,
        kind: type[Mirror] | None = None,
    ) -> Iterator[Mirror]:
        """A mirror of syncer's tables, and of a collection's without its rows, but for one of another hub."""
        with self._told("the load was rolled back"):
            mirror = (kind or Mirror)(path, self.schema, self.where)
            try:
                mirror.make_schema()
                for name in ours:
                    if there := self.table(name):
                        mirror.take(name, there, OURS[name][1])
                if table:
                    mirror.there = self.table(table.name)
                    mirror.take_shape(table, hub)
                yield mirror
            finally:
                mirror.close()

    def _append(self, mirror: Mirror, name: str, where: str = "true") -> DeltaTable:
        there, rows = self.table(name), mirror.rows(name, where)
        if there is None:
            return self.make(name, rows, OURS[name][0])
        write_deltalake(there, rows, mode="append", schema_mode="merge")
        return there

    def make(self, name: str, rows: RecordBatchReader, comment: str | None) -> DeltaTable:
        """A new table, of which another loader must not have made one."""
        write_deltalake(self.uri(name), rows, mode="error", description=comment)
        return DeltaTable(self.uri(name))

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
        except _ERRORS as error:
            cause, way_out = _cause(error)
            raise WarehouseError(f"{self.where}: {what} ({cause}); {way_out}") from error


class Mirror(DuckDB):
    """A DuckDB database with the part of a lake that matters now. It has less memory while deltalake works, too."""

    taking: ClassVar[str] = "120MB"
    giving: ClassVar[str] = "60MB"

    def __init__(self, path: str, schema: str, where: str) -> None:
        super().__init__(path, schema)
        self.where = where
        self.there: DeltaTable | None = None
        """A collection's table, at the version that is looked at and committed against."""
        self.earlier = ""
        """Where only some of its rows are here: what tells of these as they were."""

    def _connection(self) -> DuckDBPyConnection:
        is_new, con = self._con is None, super()._connection()
        if is_new:
            con.execute("PRAGMA force_compression = 'uncompressed'")  # it is read once: to compress it takes two thirds of a load
        return con

    def commit(self, batch: Batch) -> Receipt:
        """In one try: the lake makes another mirror for a second one."""
        return self._committed(batch)

    def take_shape(self, table: Table, hub: str) -> None:
        """The table of a collection, without its rows, and the receipts up to what it has come to."""
        if self.look().get(_RECEIPTS):
            ahead = f"hub = {text(hub)} AND collection = {text(table.name)} AND load > {_number(self.there, hub)}"
            self.ask(f"DELETE FROM {self.name(_RECEIPTS)} WHERE {ahead}")
        if self.there:
            is_ours = any(field.name == "_segment" for field in self.there.schema().fields)
            other = f"NOT starts_with(_segment, {text(hub + '/')}) LIMIT 1" if is_ours else "false"
            self.take(table.name, self.there, table.types, other)

    def take(self, table: str, there: DeltaTable, types: Mapping[str, str], within: str = "true", where: str = "true") -> None:
        """A lake's rows into the table of that name, made where it is not there: those within a condition in the lake's SQL, and
        another one here, over `t`. Texts that are JSON by these types become that again."""
        texts = {field.name for field in there.schema().fields if '"string"' in json.dumps(json.loads(field.type.to_json()))}
        cast = ", ".join(
            f"CAST({quoted(name)} AS {type_}) AS {quoted(name)}" for name, type_ in types.items() if "JSON" in type_ and name in texts
        )
        con, name = self._connection(), self.name(table)
        self._limit(self.taking)
        con.register("incoming", QueryBuilder().register("t", there).execute(f"SELECT * FROM t WHERE {within}"))
        select = f"SELECT * {f'REPLACE ({cast}) ' if cast else ''}FROM incoming AS t WHERE {where}"
        con.execute(f"INSERT INTO {name} BY NAME {select}" if self._known(table).columns else f"CREATE TABLE {name} AS {select}")
        con.unregister("incoming")
        self._limit(self.memory)
        self._tables = None

    def standing(self, table: str, where: str) -> int:
        here = super().standing(table, where)
        if not self.earlier or not self.there:
            return here
        con, found = self._connection(), QueryBuilder().register("t", self.there).execute(f"SELECT count(*) AS n FROM t WHERE {where}")
        con.register("incoming", found)
        ((there,),) = con.execute("SELECT n FROM incoming").fetchall()
        con.unregister("incoming")
        ((taken,),) = self.ask(f"SELECT count(*) FROM {self.earlier} WHERE {where}")
        return int(here + there - taken)

    def columns(self, table: str) -> Mapping[str, str]:
        return self._known(table).columns

    def comments(self, table: str) -> Mapping[str, str | None]:
        return self._known(table).comments

    def rows(self, table: str, where: str = "true") -> RecordBatchReader:
        """Rows of a table as a stream of small batches, whose schema has the columns' comments; JSON goes as text."""
        known = self._known(table)
        listed = ", ".join(
            f"CAST(t.{quoted(name)} AS {kind.replace('JSON', 'VARCHAR')}) AS {quoted(name)}" if "JSON" in kind else f"t.{quoted(name)}"
            for name, kind in known.columns.items()
        )
        con, select = self._connection(), f"SELECT {listed} FROM {self.name(table)} AS t WHERE"
        bare = RecordBatchReader.from_stream(con.sql(f"{select} false")).schema
        words = {name: {"comment": comment} if comment else {} for name, comment in known.comments.items()}
        schema = Schema([bare.field(name).with_metadata(words.get(name, {})) for name in bare.names])
        has_places = "rowid" not in map(str.lower, known.columns)  # a column of that name hides them: then all comes at once
        ((last,),) = self.ask(f"SELECT {'coalesce(max(rowid), -1)' if has_places else 0} FROM {self.name(table)} LIMIT 1") or [(-1,)]

        def batches() -> Iterator[RecordBatch]:
            self._limit(self.giving)
            first, many = 0, 1_024
            while first <= last:
                size, piece = 0, f"rowid BETWEEN {first} AND {first + many - 1}" if has_places else "true"
                for batch in RecordBatchReader.from_stream(con.sql(f"{select} {piece} AND ({where})")):
                    size += batch.nbytes
                    yield RecordBatch.from_arrays(list[Array](batch.columns), schema=schema)
                first += many
                many = min(max(many * PIECE_BYTES // max(size, PIECE_BYTES // 4), 16), _ROW_GROUP)
            self._limit(self.memory)

        return RecordBatchReader.from_batches(schema, batches())


class AmpleMirror(Mirror):
    """One that may take what DuckDB takes by itself."""

    is_ample = True


class _Load:
    """One batch into the mirror, and from there into the lake."""

    def __init__(self, lake: DeltaLake, mirror: Mirror, batch: Batch) -> None:
        self.lake, self.mirror, self.batch, self.table = lake, mirror, batch, batch.table
        self.rejects, self.receipts = lake.table(_REJECTS), lake.table(_RECEIPTS)
        self.key = [*self.table.key, "_version"] if self.table.keeps_versions else list(self.table.key)
        self.stamps = [*ADDED, *(OF_VERSIONS if self.table.keeps_versions else ())]
        """What tells that a row was written: one of these changes with it, though not each time the same one."""
        self.name, self.before, self.touched, self.rejected = map(
            mirror.name, (batch.table.name, "_syncer_before", "_syncer_touched", "_syncer_rejected")
        )
        self.had_rejects = self.rejects is not None
        self.mine = f"collection = {text(batch.table.name)}"
        self.of_load = f"{self.mine} AND load = {batch.load} AND starts_with(segment, {text(batch.hub + '/')})"

    def run(self) -> Receipt:
        batch, mirror = self.batch, self.mirror
        books = mirror.books(batch.hub, self.table.name)
        if batch.load == max(books, default=0):
            return books[batch.load]
        replaces = batch.anew or batch.clear_rejects or not self._fits()
        is_whole = replaces or batch.marks_gone
        if mirror.there:
            self._take_rows(mirror.there, is_whole)
        if not replaces:
            words = dict.fromkeys([*self.key, *self.stamps])
            mirror.ask(f"CREATE TABLE {self.before} AS SELECT {', '.join(map(quoted, words))} FROM {self.name}")
            mirror.earlier = "" if is_whole else self.before
        self._take_rejects()
        receipt = mirror.commit(batch)
        # before its receipt: one without a table is of a table that was dropped
        there = mirror.there or self.lake.make(self.table.name, mirror.rows(self.table.name, "false"), self.table.comment)
        self._add_rejects()
        self.receipts = self._replace(_RECEIPTS, self.receipts, f"{self.mine} AND hub = {text(batch.hub)} AND load = {batch.load}")
        mine = {_MARK: app(batch.hub), _LOAD: str(batch.load)}
        properties = CommitProperties(mine, app_transactions=[Transaction(app(batch.hub), batch.load)])
        if replaces:
            self._write_all(there, properties)
        else:
            self._write_changes(there, is_whole, properties)
        self._drop_rejects()
        self._describe(there)
        for one in (there, self.receipts, self.rejects):
            tidy(one)
        return receipt

    def _fits(self) -> bool:
        """Whether the lake has the declared columns, by their names of today."""
        there = {name.lower(): kind for name, kind in self.mirror.columns(self.table.name).items()}
        return all(there.get(name.lower()) == kind for name, kind in self.table.types.items())

    def _take_rows(self, there: DeltaTable, whole: bool) -> None:
        """The rows that the batch may touch, and those that rejects explain."""
        mirror, types = self.mirror, self.table.types
        mirror.ask(f"DELETE FROM {self.name}")
        if whole:
            mirror.take(self.table.name, there, types)
            return
        touched = []
        for keys, columns in ((self._keys(), self.table.key), (self._parents(), self.table.parent_key)):
            same = " AND ".join(f"t.{quoted(name)} = b.{quoted(name)}" for name in columns)
            touched += [f"EXISTS (SELECT 1 FROM {keys} AS b WHERE {same})"] if keys else []
        if touched:
            mirror.take(self.table.name, there, types, self._range(), " OR ".join(touched))
        rejected = f"SELECT segment FROM {mirror.name(_REJECTS)} WHERE {self.mine} AND NOT whole_record"
        if self.rejects and mirror.ask(f"{rejected} LIMIT 1"):
            others = f"t._segment IN ({rejected}) AND t._segment NOT IN (SELECT _segment FROM {self.name})"
            mirror.take(self.table.name, there, types, where=others)

    def _keys(self) -> str:
        """A table expression of the keys that the batch is about; empty where it is about none."""
        batch, columns = self.batch, ", ".join(map(quoted, self.table.key))
        rows = [self.mirror.put(batch)] if batch.files else []
        told = [self.mirror.put_columns("told", batch.table.key_types, batch.told.files)] if batch.told and batch.told.files else []
        selects = " UNION ALL ".join(f"SELECT {columns} FROM {one}" for one in [*rows, *told])
        return f"({selects})" if selects else ""

    def _parents(self) -> str:
        """A table expression of the parents whose lists are whole; empty where there are none."""
        lists = self.batch.told.lists if self.batch.told else ()
        return self.mirror.put_columns("lists", self.table.parent_types, lists) if lists else ""

    def _range(self) -> str:
        """Between which values of the key's first column all rows lie that the batch is about, as far as the lake can use that."""
        first, keys = self.table.key[0], self._keys()
        if self._parents() or self.table.types[first] != "BIGINT":  # of other types, orders and literals may differ
            return "true"
        ((least, most),) = self.mirror.ask(f"SELECT min({quoted(first)}), max({quoted(first)}) FROM {keys} AS b")
        return "true" if least is None else f"{quoted(first)} BETWEEN {least} AND {most}"

    def _take_rejects(self) -> None:
        """What the lake tells of the collection is set aside; the mirror goes without what a load told that did not come to its end."""
        mirror, name = self.mirror, self.mirror.name(_REJECTS)
        if self.had_rejects:
            mirror.ask(f"CREATE TABLE {self.rejected} AS SELECT * FROM {name} WHERE {self.mine}")
            mirror.ask(f"DELETE FROM {name} WHERE {self.of_load}")

    def _add_rejects(self) -> None:
        """What this load tells. What it no longer tells goes when its rows are there."""
        tables = [_REJECTS, "_syncer_rejected"] if self.had_rejects else [_REJECTS]
        if any(self.mirror.ask(f"SELECT 1 FROM {self.mirror.name(name)} WHERE {self.of_load} LIMIT 1") for name in tables):
            self.rejects = self._replace(_REJECTS, self.rejects, self.of_load)

    def _drop_rejects(self) -> None:
        if self.had_rejects and self.mirror.ask(f"SELECT * FROM {self.rejected} EXCEPT SELECT * FROM {self.mirror.name(_REJECTS)} LIMIT 1"):
            self.rejects = self._replace(_REJECTS, self.rejects, self.mine)

    def _replace(self, name: str, there: DeltaTable | None, where: str) -> DeltaTable:
        """Those rows of one of syncer's own tables by the mirror's."""
        rows = self.mirror.rows(name, where)
        if there is None:
            return self.lake.make(name, rows, OURS[name][0])
        write_deltalake(there, rows, mode="overwrite", predicate=where, schema_mode="merge")
        return there

    def _write_all(self, there: DeltaTable, properties: CommitProperties) -> None:
        rows = self.mirror.rows(self.table.name)
        write_deltalake(
            there,
            rows,
            mode="overwrite",
            schema_mode="overwrite",
            commit_properties=properties,
            writer_properties=_WRITER,
            target_file_size=FILE_BYTES,
        )

    def _write_changes(self, there: DeltaTable, is_whole: bool, properties: CommitProperties) -> None:
        """One commit of the rows that were written and of those that are no more."""
        mirror, same = self.mirror, " AND ".join(f"t.{quoted(name)} = b.{quoted(name)}" for name in self.key)
        differs = " OR ".join(f"t.{word} IS DISTINCT FROM b.{word}" for word in self.stamps)
        mirror.ask(
            f"CREATE TABLE {self.touched} AS SELECT b._segment AS old, t._segment AS new "
            f"FROM {self.before} AS b FULL JOIN {self.name} AS t ON {same} WHERE {differs}"
        )
        ((olds, news),) = mirror.ask(f"SELECT count(old), count(new) FROM {self.touched}")
        if olds + news > MOST_NAMED and olds:
            if not is_whole:
                rest = f"NOT EXISTS (SELECT 1 FROM {self.before} AS b WHERE {same})"
                mirror.take(self.table.name, there, self.table.types, where=rest)
            self._write_all(there, properties)
            return
        rows = mirror.rows(self.table.name, f"_segment IN (SELECT new FROM {self.touched})")
        if not olds:
            write_deltalake(
                there, rows, mode="append", commit_properties=properties, writer_properties=_WRITER, target_file_size=FILE_BYTES
            )
            return
        places = mirror.ask(
            f"SELECT old FROM {self.touched} WHERE old IS NOT NULL UNION SELECT new FROM {self.touched} WHERE new IS NOT NULL"
        )
        named = f"_segment IN ({', '.join(text(place) for (place,) in places)})"
        write_deltalake(
            there,
            rows,
            mode="overwrite",
            predicate=named,
            commit_properties=properties,
            writer_properties=_WRITER,
            target_file_size=FILE_BYTES,
        )

    def _describe(self, there: DeltaTable) -> None:
        """What the table and its columns are, in the lake's own words, where they have changed alone."""
        words = self.mirror.comments(self.table.name)
        if (there.metadata().description or None) != self.table.comment:
            there.alter.set_table_description(self.table.comment or "")
        for field in there.schema().fields:
            known = words.get(field.name) or ""
            if (field.metadata.get("comment") or "") != known:
                there.alter.set_column_metadata(field.name, {"comment": known})


def app(hub: str) -> str:
    """Whose application transactions a hub's loads are."""
    return f"syncer/{hub}"


def _number(there: DeltaTable | None, hub: str) -> int:
    """Up to which load a table's receipts count: all, where it was dropped. A RESTORE takes rows back, and no transaction."""
    if there is None:
        return sys.maxsize
    number = there.transaction_version(app(hub)) or 0
    for many in (1, 20) if number else ():
        if (shown := _shown(there.history(many), hub, number)) is not None:
            return shown
    history = there.history() if number else []
    shown = _shown(history, hub, number)
    return shown if shown is not None else 0 if any(map(_is_restore, history)) else number


def _shown(history: Sequence[Mapping[str, Any]], hub: str, number: int) -> int | None:
    """The load of a hub that a table shows by its history, the newest commit first, where `number` is the last one; None where that does
    not tell."""
    reach = sys.maxsize
    for commit in history:
        if commit["version"] > reach:
            continue
        if commit.get(_MARK) == app(hub):
            return int(commit[_LOAD]) if reach < sys.maxsize else number
        if _is_restore(commit):
            reach = _version(commit)
    return None


def _is_restore(commit: Mapping[str, Any]) -> bool:
    return commit.get("operation") == "RESTORE"


def _version(restore: Mapping[str, Any]) -> int:
    """The version to which a table was restored; one before all, where that is not said: by time, it depends on how old files look."""
    version = str((restore.get("operationParameters") or {}).get("version"))
    return int(version) if version.isdecimal() else -1


def tidy(there: DeltaTable | None) -> None:
    """Make few files of many small ones. Another's commit may forbid it: then a later load does."""
    if there and len(there.file_uris()) > MOST_FILES:
        with suppress(CommitFailedError):
            there.optimize.compact(target_size=FILE_BYTES, max_concurrent_tasks=1, writer_properties=_WRITER)


_CAUSES = CAUSES | {
    "file too large": ("a file may not grow", "raise the limit of file sizes, and run again"),
    "permission denied": ("permission denied", "correct it, or name another place with --to"),
    "accessdenied": ("permission denied", "correct the credentials in the environment"),
    "nosuchbucket": ("there is no such bucket", "make it, or name another place with --to"),
    "error sending request": ("nobody answers there", "correct the address in the environment, or run again when the store is there"),
    "transaction failed": ("another loader was here", "run again"),
}


def _cause(error: Exception) -> tuple[str, str]:
    otherwise = (type(error).__name__, "run again; if it stays, name another place with --to, and report it")
    if isinstance(error, CommitFailedError):
        otherwise = _CAUSES["transaction failed"]
    return next((told for sign, told in _CAUSES.items() if sign in str(error).lower()), otherwise)
