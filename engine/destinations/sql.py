"""A warehouse that speaks SQL: how a load goes there. I/O, through the connection of a kind.

A batch's rows are put where the warehouse can read them, and `upsert` does the rest there, in the transaction that the receipt is in.
`dialect` is what kinds say in their own way, `shape` how tables come to be as the spec has them.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from msgspec.structs import asdict, replace

from ..errors import WarehouseError
from ..hub.segment import run_of
from ..project import Unfit
from . import KEYS, LISTS, RECEIVES_NOTHING, TOLD, Batch, Receipt, Rejected, Seen, Table
from .shape import BOOK, LATER, OURS, RECEIPTS, REJECTS, Shapes
from .upsert import Upsert
from .versions import Versions

P = ParamSpec("P")
T = TypeVar("T")


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


class SqlWarehouse(Shapes):
    """One schema of a warehouse that speaks SQL."""

    upsert: type[Upsert] = Upsert

    def __init__(self, where: str, schema: str, pauses: Sequence[float] = ()) -> None:
        super().__init__(where, schema)
        self.pauses = pauses

    # What a kind says in its own way, besides its dialect.

    def unfit(self, table: Table) -> Sequence[Unfit]:
        return ()

    def receiving(self, table: Table) -> AbstractContextManager[Callable[[str], None]]:
        return RECEIVES_NOTHING

    def put(self, batch: Batch) -> str:
        """Put a batch's rows where the warehouse can read them; a table expression."""
        raise NotImplementedError

    def put_columns(self, table: str, types: Mapping[str, str], files: Sequence[str]) -> str:
        """As `put`, some columns of files, for which a temporary table may be called `table`."""
        raise NotImplementedError

    def prepare(self, load: Upsert) -> None:
        """Make what a load needs, for a warehouse that can make no temporary table in a transaction."""

    # What all do alike.

    @_saying
    def identity(self, hub: str) -> str:
        with self._ready():
            ((known,),) = self.ask(f"SELECT max(warehouse) FROM {self.name('_syncer_receipts')}")
            known = str(known or secrets.token_hex(4))
            if not self.ask(f"SELECT 1 FROM {self.name('_syncer_receipts')} WHERE hub = {self.text(hub)} AND load = 0"):
                self._add("_syncer_receipts", [{"hub": hub, "warehouse": known, "collection": "", "load": 0}])
        return known

    @_saying
    def hubs(self) -> Sequence[str]:
        if not self._is_ours("_syncer_receipts", RECEIPTS.keys() - LATER):
            return []
        return [str(hub) for (hub,) in self.ask(f"SELECT DISTINCT hub FROM {self.name('_syncer_receipts')} ORDER BY 1")]

    @_saying
    def seen(self, hub: str, table: Table) -> Seen:
        columns = {self.fold(name): kind for name, kind in self._known(table.name).columns.items()}
        self._check_kind(table, columns)
        renames = any(self._there(column, columns) != column.name for column in table.columns)
        fits = all(columns.get(self.fold(self._there(column, columns))) == self.kind(column.type) for column in table.columns)
        there, (loads, sources) = bool(columns), self._received(table)
        strangers = there and self._has_strangers(table, hub, loads)
        told = f"CAST(properties AS {self.kind('VARCHAR')}), gone_since, coalesce(held_back, 0), coalesce(told_until, 0)"
        last = f"hub = {self.text(hub)} AND collection = {self.text(table.name)} AND load = {loads.get(hub, 0)}"
        rows = self.ask(f"SELECT {told} FROM {self.name('_syncer_receipts')} WHERE {last} LIMIT 1") if hub in loads else []
        if not rows:
            return Seen(there=there, fits=fits, renames=renames, strangers=strangers, sources=sources)
        ((prints, gone, held_back, until),) = rows
        known = None if gone is None else int(gone)
        return Seen(loads[hub], json.loads(prints or "{}"), there, fits, renames, strangers, known, int(held_back), sources, int(until))

    def _check_kind(self, table: Table, columns: Container[str]) -> None:
        """Raises WarehouseError where the table keeps versions and should not, or the other way round."""
        if columns and ("_version" in columns) != table.keeps_versions:
            what = ("keeps no versions", "does") if table.keeps_versions else ("keeps all versions", "does not")
            place = f"{self.where}: {self.schema}.{table.name}"
            raise WarehouseError(f"{place} {what[0]}, and `mode: history` {what[1]}; drop the table, and it is filled anew from the hub")

    def _received(self, table: Table) -> tuple[dict[str, int], tuple[str, ...]]:
        """The hubs that a table was loaded from, with the last load of each, and the specs."""
        receipts = f"{self.name('_syncer_receipts')} WHERE collection = {self.text(table.name)}"
        found = self.ask(f"SELECT hub, source, coalesce(max(load), 0) FROM {receipts} GROUP BY hub, source")
        loads: dict[str, int] = {}
        for hub, _, load in found:
            loads[str(hub)] = max(int(load), loads.get(str(hub), 0))
        return loads, tuple(sorted({str(source) for _, source, _ in found if source is not None}))

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
            "warehouse": batch.warehouse,
            "source": batch.source,
            "gone_since": batch.gone_known if receipt.held_back or batch.gone_since is None else batch.gone_since,
            "told_until": batch.told and (batch.told.known if receipt.held_back else batch.told.until),
            "hub": batch.hub,
            "collection": batch.table.name,
            "committed_at": batch.synced_at,
            "properties": json.dumps(batch.prints),
        }
        self._add("_syncer_receipts", [{**row, **asdict(receipt)}])
        return receipt

    @_saying
    def books(self, hub: str, collection: str) -> Mapping[int, Receipt]:
        return self._receipts(hub, collection, since=1)

    @_saying
    def rejects(self, samples: int = 5) -> Sequence[Rejected]:
        if not self._is_ours("_syncer_rejects", REJECTS):
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

    def _receipts(self, hub: str, collection: str, since: int) -> dict[int, Receipt]:
        """The receipts of a hub's collection, from a load on."""
        rows = self.ask(
            f"SELECT load, {', '.join(map(self.quoted, BOOK))} FROM {self.name('_syncer_receipts')} "
            f"WHERE hub = {self.text(hub)} AND collection = {self.text(collection)} AND load >= {since}"
        )
        return {int(row[0]): Receipt(*(int(value or 0) for value in row)) for row in rows}

    def _receipt(self, batch: Batch) -> Receipt | None:
        """The receipt of a batch that was committed before. Raises WarehouseError where the batch is not the next one."""
        receipts = self._receipts(batch.hub, batch.table.name, since=batch.load - 1)
        last = max(receipts, default=0)
        if last == batch.load:
            return receipts[last]
        if last + 1 != batch.load:
            raise WarehouseError(f"{self.where}: load {batch.load} of {batch.table.name} is not the next; another loader was here")
        return None

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

    def _refused(self, batch: Batch) -> str:
        """A table expression of what was rejected of each version, by `_segment`."""
        named = ", ".join(self.text(column.name) for column in batch.table.columns)
        where = f"{self._of_table(batch)} AND NOT whole_record AND property IN ({named})"
        mine = f"FROM {self.name('_syncer_rejects')} WHERE {where}"
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
