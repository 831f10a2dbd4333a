"""The shape of a schema's tables: what is there, and how it becomes what the spec declares; and syncer's own tables. I/O, by a dialect."""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterable, Mapping, Sequence

from ..errors import WarehouseError
from . import Column, Receipt, Table
from .dialect import Dialect, Known

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
LATER = {"budget_left", "budget_resets_at", "held_back", "source", "gone_since", "told_until", "spec_file", "run"}
"""Columns that tables of an earlier version lack: they are added to them."""
_LEDGER = {
    "run": "BIGINT", "verb": "VARCHAR", "collection": "VARCHAR", "status": "VARCHAR", "started_at": "TIMESTAMPTZ",
    "ended_at": "TIMESTAMPTZ", "requests": "BIGINT", "pages": "BIGINT", "bytes": "BIGINT", "received": "BIGINT",
    "api_total": "BIGINT", "stop": "VARCHAR", "proof": "VARCHAR", "budget_left": "BIGINT",
    "budget_resets_at": "TIMESTAMPTZ", **dict.fromkeys(BOOK, "BIGINT"), "error": "VARCHAR",
}  # fmt: skip
RECEIPTS = {
    "hub": "VARCHAR", "warehouse": "VARCHAR", "collection": "VARCHAR", "load": "BIGINT", "committed_at": "TIMESTAMPTZ",
    **dict.fromkeys(BOOK, "BIGINT"), "properties": "JSON", "source": "VARCHAR", "gone_since": "BIGINT", "told_until": "BIGINT",
}  # fmt: skip
REJECTS = {
    "collection": "VARCHAR", "property": "VARCHAR", "type": "VARCHAR", "raw": "VARCHAR", "reason": "VARCHAR", "whole_record": "BOOLEAN",
    "spec_file": "VARCHAR", "spec_line": "BIGINT", "run": "BIGINT", "segment": "VARCHAR", "load": "BIGINT", "rejected_at": "TIMESTAMPTZ",
}  # fmt: skip
OURS = {
    "_syncer_runs": ("The ledger: what each run asked for, received and wrote.", _LEDGER),
    "_syncer_receipts": ("What was loaded from which hub, committed with the rows.", RECEIPTS),
    "_syncer_rejects": ("Values that their declared type cannot hold; raw is the exact JSON.", REJECTS),
}


class Shapes(Dialect):
    """The tables of one schema. What is known of them is looked up once, and kept until something may have changed it."""

    def __init__(self, where: str, schema: str) -> None:
        super().__init__(where, schema)
        self._tables: dict[str, Known] | None = None

    def _there(self, column: Column, columns: Container[str]) -> str:
        """What a column is called in the table: as it was before, where it has not been renamed yet."""
        names = [column.name, *column.was]
        return next((name for name in names if self.fold(name) in columns), column.name)

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

    def _make_ours(self) -> None:
        """The schema, and syncer's own tables in it, where they are not there."""
        self.make_schema()
        for table, (comment, columns) in OURS.items():
            if not self._is_ours(table, columns.keys() - LATER):
                self._create(table, columns)
                self._comment(table, comment, {})
            if lacking := {column: self.kind(type_) for column, type_ in columns.items() if column not in self._known(table).columns}:
                self.alter(table, [f"ADD COLUMN {self.quoted(column)} {kind}" for column, kind in lacking.items()])
                self._known(table).columns.update(lacking)

    def _known(self, table: str) -> Known:
        """What is known of a table. It is looked up once for all of a schema."""
        if self._tables is None:
            self._tables = self.look()
        return self._tables.setdefault(self.fold(table), Known())
