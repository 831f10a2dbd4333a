"""A warehouse that speaks SQL: what all such do alike. I/O, through the connection of a kind.

A kind of warehouse says in its own way how a statement gets there, what it calls types, and the few expressions in which
dialects differ; each is one class in one file beside this. A batch's rows are put where the warehouse can read them, and
`upsert` does the rest there, in the transaction that the receipt is in.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from ..errors import WarehouseError
from ..hub.segment import run_of
from ..project import Unfit, quoted, text
from . import KEYS, LISTS, TOLD, Batch, Column, Receipt, Rejected, Seen, Table
from .upsert import Upsert
from .versions import Versions

P = ParamSpec("P")
T = TypeVar("T")

LONGEST_SHOWN = 2000
"""Characters of a value that a column cannot hold as a whole."""
BOOK = [name for name in Receipt.__struct_fields__ if name != "load"]
ADDED = {"_synced_at": "TIMESTAMPTZ", "_deleted_at": "TIMESTAMPTZ", "_segment": "VARCHAR"}
"""The columns of ours in each table; types are in DuckDB's words here and below."""
OF_VERSIONS = {"_valid_from": "TIMESTAMPTZ", "_valid_to": "TIMESTAMPTZ", "_version": "BIGINT"}
"""Further ones, of a table that keeps versions."""
_ADDED_COMMENTS = {
    "_synced_at": "When this row last changed here.",
    "_deleted_at": "When the record was found to be gone from the source; null while it is there.",
    "_segment": "Where the record's raw JSON lies: hub/collection/segment#line.",
    "_valid_from": "From when on the record was like this.",
    "_valid_to": "Until when it was; null while it is.",
    "_version": "How many versions of the record there are up to this one.",
}
_LATER = {"budget_left", "budget_resets_at", "held_back", "source", "gone_since", "told_until", "spec_file", "run"}
"""Columns that tables of an earlier version lack: they are added to them."""
_LEDGER = {
    "run": "BIGINT", "verb": "VARCHAR", "collection": "VARCHAR", "status": "VARCHAR", "started_at": "TIMESTAMPTZ",
    "ended_at": "TIMESTAMPTZ", "requests": "BIGINT", "pages": "BIGINT", "bytes": "BIGINT", "received": "BIGINT",
    "api_total": "BIGINT", "stop": "VARCHAR", "proof": "VARCHAR", "budget_left": "BIGINT",
    "budget_resets_at": "TIMESTAMPTZ", **dict.fromkeys(BOOK, "BIGINT"), "error": "VARCHAR",
}  # fmt: skip
_RECEIPTS = {
    "hub": "VARCHAR", "warehouse": "VARCHAR", "collection": "VARCHAR", "load": "BIGINT", "committed_at": "TIMESTAMPTZ",
    **dict.fromkeys(BOOK, "BIGINT"), "properties": "JSON", "source": "VARCHAR", "gone_since": "BIGINT", "told_until": "BIGINT",
}  # fmt: skip
_REJECTS = {
    "collection": "VARCHAR", "property": "VARCHAR", "type": "VARCHAR", "raw": "VARCHAR", "reason": "VARCHAR", "whole_record": "BOOLEAN",
    "spec_file": "VARCHAR", "spec_line": "BIGINT", "run": "BIGINT", "segment": "VARCHAR", "load": "BIGINT", "rejected_at": "TIMESTAMPTZ",
}  # fmt: skip
OURS = {
    "_syncer_runs": ("The ledger: what each run asked for, received and wrote.", _LEDGER),
    "_syncer_receipts": ("What was loaded from which hub, committed with the rows.", _RECEIPTS),
    "_syncer_rejects": ("Values that their declared type cannot hold; raw is the exact JSON.", _REJECTS),
}


class Known(Struct):
    """What is known of a table: its columns' types and comments by name (none, where there is no such table), and its own comment."""

    columns: dict[str, str] = field(default_factory=dict)
    comments: dict[str, str | None] = field(default_factory=dict)
    comment: str | None = None
    computed: set[str] = field(default_factory=set)
    """The columns whose values the warehouse makes itself."""


def _saying(method: Callable[Concatenate[SqlWarehouse, P], T]) -> Callable[Concatenate[SqlWarehouse, P], T]:
    """A method in which what a statement raises becomes a WarehouseError."""

    @wraps(method)
    def said(self: SqlWarehouse, /, *args: P.args, **options: P.kwargs) -> T:
        try:
            return method(self, *args, **options)
        except self.errors as error:
            cause, way_out = self.told(error)
            raise WarehouseError(f"{self.where}: cannot be read ({cause}); {way_out}") from error

    return said


class SqlWarehouse:
    """One schema of a warehouse that speaks SQL."""

    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """What a statement may raise."""
    upsert: type[Upsert] = Upsert
    shapes_apart: ClassVar[bool] = False
    """Whether making or changing a table would end a transaction, or cannot stand in one: then it is done before."""

    def __init__(self, where: str, schema: str, pauses: Sequence[float] = ()) -> None:
        self.where, self.schema, self.pauses = where, schema, pauses
        self._tables: dict[str, Known] | None = None
        self._made: set[str] = set()
        """The temporary tables that there may be."""

    # What a kind says in its own way.

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that a statement gives; it opens the connection where there is none. Raises WarehouseError where that cannot be."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def told(self, error: Exception) -> tuple[str, str]:
        """What went wrong, without anything that may be data, and what to do."""
        raise NotImplementedError

    @property
    def lost(self) -> bool:
        """Whether the connection was lost, so that what it was in may be tried again."""
        return False

    def quoted(self, name: str) -> str:
        """A name as a statement has it."""
        return quoted(name)

    def text(self, value: str) -> str:
        """A text as a statement has it."""
        return text(value)

    def kind(self, type_: str) -> str:
        """What the warehouse calls a type of DuckDB's, as `look` gives it, too."""
        return type_

    def fold(self, name: str) -> str:
        """A column's name, so that it equals those that are the same to the warehouse."""
        return name

    def name(self, table: str) -> str:
        return f"{self.quoted(self.schema)}.{self.quoted(table)}"

    def temporary(self, table: str) -> str:
        """What a temporary table is called."""
        return f"temp.{table}"

    def prepare(self, load: Upsert) -> None:
        """Make what a load needs, for a warehouse that can make no temporary table in a transaction."""

    def keep(self, table: str, select: str) -> None:
        """Keep what a SELECT gives in a temporary table, until the load ends or it is discarded."""
        self._made.add(table)
        self.ask(f"CREATE TEMP TABLE {table} AS {select}")

    def discard(self, table: str) -> None:
        """Keep it no longer; something else may be kept in its place."""
        self.ask(f"DROP TABLE {self.temporary(table)}")

    def standing(self, table: str, where: str) -> int:
        """How many rows of a table are so, by columns of ours."""
        ((number,),) = self.ask(f"SELECT count(*) FROM {self.name(table)} WHERE {where}")
        return int(number)

    def constraints(self, key: Sequence[str]) -> list[str]:
        """What stands behind the columns of a table with a key."""
        return []

    def make_schema(self) -> None:
        """Where there is none."""
        raise NotImplementedError

    def look(self) -> dict[str, Known]:
        """All tables of the schema, by their folded names."""
        raise NotImplementedError

    def add(self, table: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows into one of `OURS`, by name; instants are microseconds, `columns` are those that any row has."""
        raise NotImplementedError

    def unfit(self, table: Table) -> Sequence[Unfit]:
        return ()

    def put(self, batch: Batch) -> str:
        """Put a batch's rows where the warehouse can read them; a table expression."""
        raise NotImplementedError

    def put_columns(self, table: str, types: Mapping[str, str], files: Sequence[str]) -> str:
        """As `put`, some columns of files, for which a temporary table may be called `table`."""
        raise NotImplementedError

    def instant(self, micros: int | str) -> str:
        """An instant, from microseconds since 1970, or an expression of them."""
        raise NotImplementedError

    def place(self, column: str) -> list[str]:
        """The four numbers of a record's place (`hub.segment.PLACE`) out of a column."""
        raise NotImplementedError

    def comparable(self, value: str, type_: str) -> str:
        """A value as one that can be compared, in the order in which DuckDB has them."""
        return value

    def digest(self, values: Mapping[str, str]) -> str:
        """What is the same for the same values, and for no others; they come with their types."""
        listed = ", ".join(f"CAST({value} AS VARCHAR)" for value in values)
        return f"md5(CAST(to_json(list_value({listed})) AS VARCHAR))"

    def before(self, one: Sequence[str], other: Sequence[str]) -> str:
        """Whether some numbers come before others: the first that differ decide."""
        return f"row({', '.join(one)}) < row({', '.join(other)})"

    def later(self, one: str, other: str) -> str:
        """The later of two instants, or the one that is not NULL."""
        return f"greatest({one}, {other})"

    def values(self, alias: str, names: Sequence[str], rows: Sequence[Sequence[int]]) -> str:
        """A table expression of numbers, with names behind its alias."""
        listed = ", ".join(f"({', '.join(map(str, row))})" for row in rows)
        return f"(VALUES {listed}) AS {alias}({', '.join(names)})"

    def joined(self, value: str, order: Sequence[str]) -> str:
        """The texts of a group behind each other, in an order."""
        return f"string_agg({value}, '' ORDER BY {', '.join(order)})"

    def alter(self, table: str, changes: Sequence[str]) -> None:
        """Change a table's columns."""
        for change in changes:
            self.ask(f"ALTER TABLE {self.name(table)} {change}")

    def words(self, said: str | None, of_table: bool) -> str | None:
        """A description of a table or column, as far as the warehouse can hold it."""
        return said

    def describe(self, table: str, words: Mapping[str | None, str | None]) -> None:
        """Say in the warehouse what some columns of a table are, and (None) the table itself."""
        for column, said in words.items():
            what = f"TABLE {self.name(table)}" if column is None else f"COLUMN {self.name(table)}.{self.quoted(column)}"
            self.ask(f"COMMENT ON {what} IS {'NULL' if said is None else self.text(said)}")

    # What all do alike.

    @_saying
    def identity(self, hub: str) -> str:
        with self._ready():
            known = self._own_id() or secrets.token_hex(4)
            if not self.ask(f"SELECT 1 FROM {self.name('_syncer_receipts')} WHERE hub = {self.text(hub)} AND load = 0"):
                self._add("_syncer_receipts", [{"hub": hub, "warehouse": known, "collection": "", "load": 0}])
        return known

    def _own_id(self) -> str | None:
        ((known,),) = self.ask(f"SELECT max(warehouse) FROM {self.name('_syncer_receipts')}")
        return str(known) if known else None

    @_saying
    def hubs(self) -> Sequence[str]:
        if not self._is_ours("_syncer_receipts", _RECEIPTS.keys() - _LATER):
            return []
        return [str(hub) for (hub,) in self.ask(f"SELECT DISTINCT hub FROM {self.name('_syncer_receipts')} ORDER BY 1")]

    @_saying
    def seen(self, hub: str, table: Table) -> Seen:
        columns = {self.fold(name): kind for name, kind in self._known(table.name).columns.items()}
        self._check_kind(table, columns)
        renames = any(self._there(column, columns) != column.name for column in table.columns)
        fits = all(columns.get(self.fold(self._there(column, columns))) == self.kind(column.type) for column in table.columns)
        hubs, sources = self._received(table)
        strangers = bool(columns) and self._has_strangers(table, hub, hubs)
        prints = f"CAST(properties AS {self.kind('VARCHAR')})"
        rows = self._last(hub, table.name, f"{prints}, gone_since, coalesce(held_back, 0), coalesce(told_until, 0)")
        if not rows:
            return Seen(there=bool(columns), fits=fits, renames=renames, strangers=strangers, sources=sources)
        ((load, prints, gone, held_back, told),) = rows
        known = None if gone is None else int(gone)
        there, names = bool(columns), json.loads(prints or "{}")
        return Seen(int(load), names, there, fits, renames, strangers, known, int(held_back), sources, int(told))

    def _check_kind(self, table: Table, columns: Container[str]) -> None:
        """Raises WarehouseError where the table keeps versions and should not, or the other way round."""
        if columns and ("_version" in columns) != table.keeps_versions:
            what = ("keeps no versions", "does") if table.keeps_versions else ("keeps all versions", "does not")
            place = f"{self.where}: {self.schema}.{table.name}"
            raise WarehouseError(f"{place} {what[0]}, and `mode: history` {what[1]}; drop the table, and it is filled anew from the hub")

    def _received(self, table: Table) -> tuple[set[str], tuple[str, ...]]:
        """The hubs and the specs that a table was loaded from."""
        receipts = f"{self.name('_syncer_receipts')} WHERE collection = {self.text(table.name)}"
        found = self.ask(f"SELECT DISTINCT hub, source FROM {receipts}")
        return {str(hub) for hub, _ in found}, tuple(sorted({str(source) for _, source in found if source is not None}))

    def _there(self, column: Column, columns: Container[str]) -> str:
        """What a column is called in the table: as it was before, where it has not been renamed yet."""
        names = [column.name, *column.was]
        return next((name for name in names if self.fold(name) in columns), column.name)

    def commit(self, batch: Batch) -> Receipt:
        """As every warehouse; where its connection was lost, it is tried again, whole: its number tells whether it had been committed."""
        for pause in self.pauses:
            try:
                return self._commit(batch)
            except WarehouseError:
                if not self.lost:
                    raise
            self.close()
            time.sleep(pause)
        return self._commit(batch)

    def _commit(self, batch: Batch) -> Receipt:
        if not self.shapes_apart:
            with self._ready():
                return self._receipt(batch) or self._take(self._prepared(batch))
        with self._tidy():
            self._make_ours()
            if done := self._receipt(batch):
                return done
            load = self._prepared(batch)
            self.prepare(load)
            with self._transaction():
                # where nothing else keeps loaders apart: whoever writes the same rows waits, or fails
                self.ask(f"UPDATE {self.name('_syncer_receipts')} SET committed_at = {self.instant(batch.synced_at)} WHERE load = 0")
                return self._receipt(batch) or self._take(load)

    def _prepared(self, batch: Batch) -> Upsert:
        """A batch that can be taken: its rows are in the warehouse, and its table has the shape for them."""
        told, lists = (batch.told.files, batch.told.lists) if batch.told else ((), ())
        columns = {
            "keys": (batch.table.key_types | KEYS, batch.keys if batch.marks_gone or lists else ()),
            "left_out": (batch.table.key_types | KEYS, batch.left_out),
            "told": (batch.table.key_types | TOLD, told),
            "lists": (batch.table.parent_types | LISTS, lists),
        }
        put = {"rows": self.put(batch)} if batch.files else {}
        put |= {name: self.put_columns(name, types, files) for name, (types, files) in columns.items() if files}
        self._shape(batch.table, batch.hub, batch.named)
        way = Versions if batch.table.keeps_versions else self.upsert
        return way(self, batch, put, self._kept(batch.table))

    def _take(self, load: Upsert) -> Receipt:
        """A batch's rows, rejects and receipt."""
        batch = load.batch
        self._add_rejects(batch)
        has_rejects = bool(self.ask(f"SELECT 1 FROM {self.name('_syncer_rejects')} WHERE {self._of_table(batch)} LIMIT 1"))
        receipt = load.run(self._refused(batch) if has_rejects else None)
        if not batch.marks_gone:
            receipt = replace(receipt, held_back=batch.held_back + receipt.held_back)
        if has_rejects:
            self._prune_rejects(batch)
        row = {
            "source": batch.source,
            "gone_since": batch.gone_known if receipt.held_back or batch.gone_since is None else batch.gone_since,
            "told_until": batch.told and (batch.told.known if receipt.held_back else batch.told.until),
            "hub": batch.hub,
            "collection": batch.table.name,
            "committed_at": batch.synced_at,
            "properties": json.dumps(batch.prints),
        }
        self._add("_syncer_receipts", [{**row, "warehouse": self._own_id(), **asdict(receipt)}])
        return receipt

    @_saying
    def books(self, hub: str, collection: str) -> Mapping[int, Receipt]:
        rows = self.ask(
            f"SELECT load, {', '.join(map(self.quoted, BOOK))} FROM {self.name('_syncer_receipts')} "
            f"WHERE hub = {self.text(hub)} AND collection = {self.text(collection)} AND load > 0"
        )
        return {int(row[0]): Receipt(*(int(value or 0) for value in row)) for row in rows}

    @_saying
    def rejects(self, samples: int = 5) -> Sequence[Rejected]:
        if not self._is_ours("_syncer_rejects", _REJECTS):
            return []
        found = []
        for collection, name, type_, whole, count, reason, segment in self.ask(
            f"SELECT collection, property, type, whole_record, count(*), min(reason), min(segment) FROM {self.name('_syncer_rejects')} "
            "GROUP BY collection, property, type, whole_record ORDER BY count(*) DESC, collection, property"
        ):
            mine = f"collection = {self.text(collection)} AND coalesce(property, '') = {self.text(name or '')}"
            mine += f" AND whole_record = {bool(whole)}"
            raws = self.ask(f"SELECT DISTINCT raw FROM {self.name('_syncer_rejects')} WHERE {mine} ORDER BY raw LIMIT {samples}")
            found.append(Rejected(collection, name, type_, bool(whole), int(count), reason, segment, [raw for (raw,) in raws]))
        return found

    @_saying
    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with self._ready():
            self._add("_syncer_runs", rows)

    def _last(self, hub: str, collection: str, words: str) -> list[tuple[Any, ...]]:
        """Of the last receipt for a hub's collection, its number and these words; nothing where there is none."""
        return self.ask(
            f"SELECT load, {words} FROM {self.name('_syncer_receipts')} "
            f"WHERE hub = {self.text(hub)} AND collection = {self.text(collection)} ORDER BY load DESC LIMIT 1"
        )

    def _receipt(self, batch: Batch) -> Receipt | None:
        """The receipt of a batch that was committed before. Raises WarehouseError where the batch is not the next one."""
        rows = self._last(batch.hub, batch.table.name, ", ".join(map(self.quoted, BOOK)))
        last = int(rows[0][0]) if rows else 0
        if last == batch.load:
            return Receipt(*(int(value or 0) for value in rows[0]))
        if last + 1 != batch.load:
            raise WarehouseError(f"{self.where}: load {batch.load} of {batch.table.name} is not the next; another loader was here")
        return None

    def _shape(self, table: Table, hub: str, named: Iterable[str]) -> None:
        """Make the table what the spec declares. A retyped column is made anew: the load fills it."""
        there, declared = self._known(table.name), table.types
        self._require_own(table, named)
        if not there.columns:
            added = {**OF_VERSIONS, **ADDED} if table.keeps_versions else ADDED
            self._unsettle(table)
            self._create(table.name, {**declared, **added}, [*table.key, "_version"] if table.keeps_versions else table.key)
        else:
            self._rename(table)
            kinds = {self.fold(column): kind for column, kind in self._known(table.name).columns.items()}
            odd = {column: self.kind(type_) for column, type_ in declared.items() if kinds.get(self.fold(column)) != self.kind(type_)}
            retyped = [column for column in odd if self.fold(column) in kinds]
            for column in retyped:
                self._may_retype(table, hub, column, f"{kinds[self.fold(column)]}, the spec says {odd[column]}")
            if odd:
                self._unsettle(table)
                self._tables = None
            if retyped:
                self.alter(table.name, [f"DROP COLUMN {self.quoted(column)}" for column in retyped])
            if odd:
                self.alter(table.name, [f"ADD COLUMN {self.quoted(column)} {kind}" for column, kind in odd.items()])
        self._comment(table.name, table.comment, {column.name: column.comment for column in table.columns} | _ADDED_COMMENTS)

    def _require_own(self, table: Table, named: Iterable[str]) -> None:
        """Raises WarehouseError where a column is there that the spec names, or was to have before, for the first time: somebody else made
        it."""
        there = {self.fold(name) for name in self._known(table.name).columns}
        taken = (self._there(column, there) for column in table.columns)  # by the names of before, where these are to be renamed
        declared = {self.fold(name): name for name in taken if self.fold(name) in there}
        if declared.keys() <= {self.fold(name) for name in named}:
            return
        known = self._ever_named(table)
        if known and (foreign := sorted(declared.keys() - known)):
            columns = ", ".join(declared[name] for name in foreign)
            raise WarehouseError(
                f"{self.where}: {self.schema}.{table.name} has {columns}, which syncer did not make; rename that there, or give the "
                "property another name (`from` says where its values are)"
            )

    def _ever_named(self, table: Table) -> set[str]:
        """The columns that a table was ever declared to have, folded; none where that is not known."""
        prints, receipts = f"CAST(properties AS {self.kind('VARCHAR')})", self.name("_syncer_receipts")
        found = self.ask(f"SELECT DISTINCT {prints} FROM {receipts} WHERE collection = {self.text(table.name)}")
        return {self.fold(name) for (one,) in found for name in json.loads(one or "{}") if not name.startswith(" ")}

    def _unsettle(self, table: Table) -> None:
        """Before a table's shape changes apart from its load: should that die in between, the next one fills every column anew."""
        if self.shapes_apart:
            names = self._ever_named(table) | set(table.types)
            changed = f"properties = {self.text(json.dumps(dict.fromkeys(sorted(names), '')))}"
            self.ask(f"UPDATE {self.name('_syncer_receipts')} SET {changed} WHERE collection = {self.text(table.name)}")

    def _rename(self, table: Table) -> None:
        """Give columns that were called otherwise before the names of today."""
        there = {self.fold(name) for name in self._known(table.name).columns}
        for column in table.columns:
            old = self._there(column, there)
            if old != column.name and self.fold(old) in there:
                self._unsettle(table)
                self.ask(
                    f"UPDATE {self.name('_syncer_rejects')} SET property = {self.text(column.name)} "
                    f"WHERE collection = {self.text(table.name)} AND property = {self.text(old)}"
                )
                self.ask(f"ALTER TABLE {self.name(table.name)} RENAME COLUMN {self.quoted(old)} TO {self.quoted(column.name)}")
                self._tables = None

    def _create(self, table: str, columns: Mapping[str, str], key: Sequence[str] = ()) -> None:
        kinds = {column: self.kind(type_) for column, type_ in columns.items()}
        listed = [f"{self.quoted(column)} {kind}" for column, kind in kinds.items()]
        self.ask(f"CREATE TABLE {self.name(table)} ({', '.join(listed + self.constraints(key))})")
        self._known(table).columns.update(kinds)

    def _may_retype(self, table: Table, hub: str, column: str, difference: str) -> None:
        """Raises WarehouseError where the hub could not fill the column anew for every row."""
        why = "it is of the key" if column in table.key else None
        if self._has_strangers(table, hub):
            why = "rows came from another hub"
        if why:
            place = f"{self.where}: {self.schema}.{table.name}.{column}"
            raise WarehouseError(f"{place} is {difference}, but {why}; drop the table, or name another --schema")

    def _is_ours(self, table: str, columns: Iterable[str]) -> bool:
        """Whether a table is there. Raises WarehouseError where it is another one than syncer makes, with these columns."""
        there = self._known(table).columns
        if missing := there and set(columns).difference(there):
            place = f"{self.where}: {self.schema}.{table}"
            raise WarehouseError(f"{place} is not syncer's (it has no column {min(missing)}); name another --schema")
        return bool(there)

    def _has_strangers(self, table: Table, hub: str, hubs: Collection[str] = ()) -> bool:
        """Whether there are rows of another hub; they are looked at only where something of others was received, or nothing of this one.

        Raises WarehouseError where the table is not syncer's at all.
        """
        self._is_ours(table.name, ADDED)
        return {*hubs} != {hub} and bool(
            self.ask(f"SELECT 1 FROM {self.name(table.name)} WHERE NOT (_segment LIKE {self.text(hub + '/%')}) LIMIT 1")
        )

    def _comment(self, table: str, comment: str | None, columns: Mapping[str, str | None]) -> None:
        """Keep what the warehouse says of the table and its columns as the spec has it."""
        known, comment = self._known(table), self.words(comment, of_table=True)
        columns = {name: self.words(said, of_table=False) for name, said in columns.items()}
        told: dict[str | None, str | None] = {None: comment} if known.comment != comment else {}
        told |= {name: words for name, words in columns.items() if name in known.columns and known.comments.get(name) != words}
        if told:
            self.describe(table, told)
        known.comment = comment
        known.comments |= {name: words for name, words in told.items() if name is not None}

    def _kept(self, table: Table) -> list[str]:
        """Columns that the spec no longer names: what they hold stays."""
        declared = {self.fold(column.name) for column in table.columns} | ADDED.keys() | OF_VERSIONS.keys()
        known = self._known(table.name)
        return [name for name in known.columns if self.fold(name) not in declared and name not in known.computed]

    def _of_table(self, batch: Batch) -> str:
        """Whether a row of syncer's own tables is of a batch's table."""
        return f"collection = {self.text(batch.table.name)}"

    def _add_rejects(self, batch: Batch) -> None:
        """Write down what the batch's records had that could not be read."""
        name, mine = self.name("_syncer_rejects"), self._of_table(batch)
        if batch.clear_rejects:
            self.ask(f"DELETE FROM {name} WHERE {mine}")
        rows = [
            {
                "collection": batch.table.name,
                "property": reject.property or None,
                "type": reject.type or None,
                "raw": reject.raw,
                "reason": reject.reason,
                "whole_record": reject.whole,
                "spec_file": batch.spec_file,
                "spec_line": batch.reject_lines.get(reject.property),
                "run": run_of(reject.segment.rpartition("/")[2]),
                "segment": f"{batch.hub}/{reject.segment}#{reject.line}",
                "load": batch.load,
                "rejected_at": batch.synced_at,
            }
            for reject in batch.rejects
        ]
        self._add("_syncer_rejects", rows)
        if rows:  # what was told of the same records before
            again = f"SELECT segment FROM {name} WHERE {mine} AND load = {batch.load}"
            self.ask(f"DELETE FROM {name} WHERE {mine} AND load <> {batch.load} AND segment IN ({again})")

    def _refused(self, batch: Batch) -> str | None:
        """A table expression of what was rejected of each version, by `_segment`; None where nothing was."""
        named = ", ".join(self.text(column.name) for column in batch.table.columns)
        where = f"{self._of_table(batch)} AND NOT whole_record AND property IN ({named})"
        mine = f"FROM {self.name('_syncer_rejects')} WHERE {where}"
        if not self.ask(f"SELECT 1 {mine} LIMIT 1"):
            return None
        words = self.joined("property || chr(31) || raw || chr(31) || reason || chr(30)", ["property", "raw", "reason"])
        return f"(SELECT segment AS _segment, {words} AS told {mine} GROUP BY segment)"

    def _prune_rejects(self, batch: Batch) -> None:
        """Keep the rejects that explain today's rows: of the very versions that rows show, and of whole records since the last pass.

        A key that could not be read is told once, however often it came; of records without any, each is told.
        """
        name, mine = self.name("_syncer_rejects"), self._of_table(batch)
        shown = f"SELECT 1 FROM {self.name(batch.table.name)} AS t WHERE t._segment = r.segment"
        self.ask(f"DELETE FROM {name} AS r WHERE {mine} AND NOT whole_record AND NOT EXISTS ({shown})")
        run, last_pass = self.place("segment")[0], max(batch.starts, default=0)
        self.ask(f"DELETE FROM {name} WHERE {mine} AND whole_record AND {run} < {last_pass}")
        again = "n.whole_record AND n.collection = r.collection AND n.raw = r.raw AND n.reason = r.reason AND n.segment > r.segment"
        self.ask(f"DELETE FROM {name} AS r WHERE whole_record AND raw <> 'null' AND EXISTS (SELECT 1 FROM {name} AS n WHERE {again})")

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """A transaction, with the schema and syncer's own tables there."""
        with self._tidy():
            if self.shapes_apart:
                self._make_ours()
            with self._transaction():
                if not self.shapes_apart:
                    self._make_ours()
                yield

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction. Inside of `_tidy`, which rolls it back."""
        self.ask("BEGIN")
        yield
        self.ask("COMMIT")

    def _make_ours(self) -> None:
        """The schema, and syncer's own tables in it, where they are not there."""
        self.make_schema()
        for table, (comment, columns) in OURS.items():
            if not self._is_ours(table, columns.keys() - _LATER):
                self._create(table, columns)
                self._comment(table, comment, {})
            if lacking := {column: self.kind(type_) for column, type_ in columns.items() if column not in self._known(table).columns}:
                self.alter(table, [f"ADD COLUMN {self.quoted(column)} {kind}" for column, kind in lacking.items()])
                self._known(table).columns.update(lacking)

    @contextlib.contextmanager
    def _tidy(self) -> Iterator[None]:
        """Leave nothing behind: a transaction is rolled back on any error, which is told as one of ours, and temporary tables go."""
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(*self.errors, WarehouseError):
                self.ask("ROLLBACK")
            self._tables = None  # what was known of them may have been rolled back
            with contextlib.suppress(*self.errors, WarehouseError):
                self._drop_temporary()
            if isinstance(error, self.errors):
                cause, way_out = self.told(error)
                raise WarehouseError(f"{self.where}: the load was rolled back ({cause}); {way_out}") from error
            raise
        self._drop_temporary()

    def _drop_temporary(self) -> None:
        while self._made:
            self.ask(f"DROP TABLE IF EXISTS {self.temporary(self._made.pop())}")

    def _add(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            columns = {name: kind for name, kind in OURS[table][1].items() if any(row.get(name) is not None for row in rows)}
            self.add(table, columns, rows)

    def _known(self, table: str) -> Known:
        """What is known of a table. It is looked up once for all of a schema."""
        if self._tables is None:
            self._tables = self.look()
        return self._tables.setdefault(self.fold(table), Known())


def cut(value: Any, most: int) -> Any:
    """A value of syncer's own tables: a rejected one may be longer than a column, of so many bytes, and is shown in part."""
    is_long = isinstance(value, str) and len(value.encode()) > most
    return value[:LONGEST_SHOWN] + "…" if is_long else value


def stepwise(one: Sequence[str], other: Sequence[str]) -> str:
    """`SqlWarehouse.before`, for dialects that cannot compare rows."""
    first = f"{one[0]} < {other[0]}"
    return first if len(one) == 1 else f"({first} OR ({one[0]} = {other[0]} AND {stepwise(one[1:], other[1:])}))"
