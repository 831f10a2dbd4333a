"""A batch's rows into their table: which version wins, and what is counted, in SQL that warehouses have in common. I/O, through one.

The batch's values stay where they were put; temporary tables hold keys and verdicts only, so that memory stays small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from ..project import quoted, text
from . import Batch, InDoubt, Receipt

TEMPORARY = ("losers", "verdicts", "gone", "aside", "lasts", "alive", "sequence")
"""The temporary tables that are made."""


class Dialect(Protocol):
    """What a warehouse says in its own way; `sql` has the promises."""

    temporary: str

    def ask(self, sql: str) -> list[tuple[Any, ...]]: ...
    def name(self, table: str) -> str: ...
    def instant(self, micros: int | str) -> str: ...
    def place(self, column: str) -> list[str]: ...
    def comparable(self, value: str, type_: str) -> str: ...
    def digest(self, values: Sequence[str]) -> str: ...


class Upsert:
    """The rows of one batch into its table, inside of a transaction that the caller holds.

    `rows` is a table expression of them, `keys` one of further keys that are not gone, `told` one of what a delete feed tells (each
    empty where there is none), `kept` are the table's columns that the spec does not name, and `refused` is a table expression of
    what was rejected of each version.
    """

    def __init__(self, sql: Dialect, batch: Batch, rows: str, keys: str, told: str, kept: Sequence[str], refused: str | None) -> None:
        self.sql, self.batch, self.all, self.keys, self.told, self.kept, self.refused = sql, batch, rows, keys, told, kept, refused
        table = batch.table
        self.name = sql.name(table.name)
        self.types = {column.name: column.type for column in table.columns}
        self.columns = list(self.types)
        self.key = ", ".join(quoted(name) for name in table.key)
        self.same_key = " AND ".join(f"t.{quoted(name)} = b.{quoted(name)}" for name in table.key)
        self.best = self.all
        """The rows of which no other in the batch is a newer version."""
        self.shown = self.all
        """Those that the table shows now."""
        self.now = sql.instant(batch.synced_at)

    def run(self) -> Receipt:
        batch, deletes = self.batch, self.batch.table.deletes
        book = Counter[str]()
        if batch.anew:
            self._empty()
        if self.all:
            book.update(self._find_losers())
            self.shown = self.best
            if deletes != "hard" and self._are_new():
                self._insert_all()
                book["inserted"] += self._number(f"SELECT count(*) FROM {self.best} AS b WHERE _syncer_counted")
            else:
                book.update(self._merge())
        if (batch.marks_gone or self.told) and deletes != "ignore":
            book.update(self._mark_gone())
        if deletes == "hard" and (book["deleted"] or batch.clear_rejects):
            self.sql.ask(f"DELETE FROM {self.name} WHERE _deleted_at IS NOT NULL")
        if batch.anew:
            del book["deleted"]  # it was told when it was found out
        if deletes == "ignore" and batch.clear_rejects:
            self.sql.ask(f"UPDATE {self.name} SET _deleted_at = NULL WHERE _deleted_at IS NOT NULL")
        return Receipt(batch.load, read=batch.read, rejected=batch.rejected, rejected_values=batch.rejected_values, **book)

    def _empty(self) -> None:
        """Take out all rows; what the spec does not name is set aside in the table `aside`."""
        if self.kept:
            columns = ", ".join(quoted(name) for name in [*self.batch.table.key, *self.kept])
            self.sql.ask(f"CREATE TEMP TABLE aside AS SELECT {columns} FROM {self.name}")
        self.sql.ask(f"DELETE FROM {self.name}")

    def _insert_all(self) -> None:
        source, kept = self.best, list[str]()
        if self.batch.anew and self.kept:
            kept = list(self.kept)
            columns = ", ".join(["b.*", *(f"t.{quoted(name)}" for name in kept)])
            source = f"(SELECT {columns} FROM {self.best} AS b LEFT JOIN {self.sql.temporary}.aside AS t ON {self.same_key})"
        self.insert(source, f"CASE WHEN {self._is_gone('s')} THEN {self.now} END" if self.batch.table.tombstone else "NULL", kept)

    def _find_losers(self) -> dict[str, int]:
        """The table `losers`: versions that another one of this batch outranks. Most batches have none."""
        twice = f"SELECT {self.key} FROM {self.all} AS a GROUP BY {self.key} HAVING count(*) > 1"
        if not self.sql.ask(f"{twice} LIMIT 1"):
            return {}
        keys = ", ".join(f"b.{quoted(name)}" for name in self.batch.table.key)
        self.sql.ask(
            f"CREATE TEMP TABLE losers AS SELECT _segment, {self.key}, _syncer_counted, _syncer_beaten FROM ("
            f"SELECT b._segment, {keys}, b._syncer_counted, row_number() OVER newest AS _syncer_place, "
            f"first_value(b._syncer_counted) OVER newest AS _syncer_beaten "
            f"FROM {self.all} AS b WHERE EXISTS (SELECT 1 FROM ({twice}) AS t WHERE {self.same_key}) "
            f"WINDOW newest AS (PARTITION BY {keys} ORDER BY {self._newest()})) AS ranked WHERE _syncer_place > 1"
        )
        losers = f"{self.sql.temporary}.losers"
        self.best = f"(SELECT a.* FROM {self.all} AS a WHERE NOT EXISTS (SELECT 1 FROM {losers} AS l WHERE a._segment = l._segment))"
        beaten = f"SELECT DISTINCT {self.key} FROM {losers} WHERE _syncer_counted AND NOT _syncer_beaten"
        stale = self._number(f"SELECT count(*) FROM ({beaten}) AS n")
        return {"stale": stale, "duplicates": self._number(f"SELECT count(*) FROM {losers} WHERE _syncer_counted") - stale}

    def _newest(self) -> str:
        """The order of versions, the one that counts first."""
        if self.batch.table.appends:
            return "_syncer_run, _syncer_ordinal, _syncer_number, _syncer_line"
        cursor = self.batch.table.cursor
        by_cursor = f"{self._ordered(cursor, 'b')} DESC NULLS LAST, " if cursor else ""
        return f"_syncer_epoch DESC, {by_cursor}_syncer_run DESC, _syncer_ordinal DESC, _syncer_number DESC, _syncer_line DESC"

    def _ordered(self, name: str, owner: str) -> str:
        return self.sql.comparable(f"{owner}.{quoted(name)}", self.types[name])

    def _are_new(self) -> bool:
        """Whether the table has none of the batch's keys: then there is nothing to compare."""
        return not self.sql.ask(
            f"SELECT 1 FROM {self.all} AS b WHERE EXISTS (SELECT 1 FROM {self.name} AS t WHERE {self.same_key}) LIMIT 1"
        )

    def _merge(self) -> dict[str, int]:
        """The best versions against the rows that are there; how many counted ones got which verdict. Raises InDoubt."""
        differs = " OR ".join(f"{self._ordered(name, 't')} IS DISTINCT FROM {self._ordered(name, 'b')}" for name in self.columns)
        batch, table = self.batch, self.batch.table
        is_told, joined = "false", ""
        if self.told:
            later = f"e._syncer_told_in > b._syncer_run AND NOT {self.changed_since('b')}"
            went = f"SELECT DISTINCT b._segment FROM {self.best} AS b JOIN {self.told} AS e ON {self._same('b', 'e')} WHERE {later}"
            is_told, joined = "(went._segment IS NOT NULL)", f" LEFT JOIN ({went}) AS went ON went._segment = b._segment"
        if batch.told and batch.told.lacks:  # what was received before may have gone by what is lost
            is_told = f"({is_told} OR NOT b._syncer_counted)"
        gone = f"({self._is_gone('b')} OR b._syncer_run < {batch.gone_since or 0} OR {is_told})"
        back = f"(t._deleted_at IS NOT NULL AND NOT {gone})"
        none = gone if table.deletes == "hard" else "false"
        kept = "".join(f", t.{quoted(name)}" for name in self.kept)
        if self.refused:  # of two versions with one NULL, the API may have sent different values that could not be read
            differs += " OR is_refused.told IS DISTINCT FROM was_refused.told"
            joined += (
                f" LEFT JOIN {self.refused} AS is_refused ON is_refused._segment = b._segment"
                f" LEFT JOIN {self.refused} AS was_refused ON was_refused._segment = t._segment"
            )
        older, doubt = "false", "false"
        if table.appends:
            older = f"({self._later()} AND ({differs}))"
        elif batch.lacks or not batch.complete:
            older, doubt = self._older(table.cursor)
            doubt = "false" if batch.complete else doubt
        self.sql.ask(
            f"CREATE TEMP TABLE verdicts AS SELECT b._segment, b._syncer_run, b._syncer_counted, {is_told} AS _syncer_told, "
            f"{', '.join('b.' + quoted(name) for name in self.batch.table.key)}{kept}, t._deleted_at AS _syncer_gone_at, "
            f"CASE WHEN t._segment IS NULL AND {none} THEN 'filtered' WHEN t._segment IS NULL THEN 'inserted' "
            f"WHEN {doubt} THEN 'doubt' WHEN {older} THEN 'stale' "
            f"WHEN {back} OR {differs} THEN 'updated' ELSE 'unchanged' END AS _syncer_verdict "
            f"FROM {self.best} AS b LEFT JOIN {self.name} AS t ON {self.same_key}{joined}"
        )
        verdicts = f"{self.sql.temporary}.verdicts"
        self.shown = f"(SELECT * FROM {verdicts} WHERE _syncer_verdict NOT IN ('stale', 'filtered'))"
        found = {
            str(verdict): int(number)
            for verdict, number in self.sql.ask(
                f"SELECT _syncer_verdict, count(*) FILTER (WHERE _syncer_counted) FROM {verdicts} GROUP BY 1"
            )
        }
        if "doubt" in found:
            raise InDoubt
        if found.keys() & {"inserted", "updated"}:
            self.write("updated" in found, verdicts)
        if table.tombstone:
            both = f"{self.best} AS b JOIN {verdicts} AS v ON b._segment = v._segment AND v._syncer_verdict = 'updated'"
            found["deleted"] = self._number(f"SELECT count(*) FROM {both} WHERE {self._is_gone('b')} AND v._syncer_gone_at IS NULL")
        return found

    def _is_gone(self, owner: str) -> str:
        """Whether a version says of itself that its record is gone."""
        tombstone = self.batch.table.tombstone
        if tombstone is None:
            return "false"
        value = f"{owner}.{quoted(tombstone.property)}"
        if tombstone.values:
            return f"coalesce(CAST({value} AS VARCHAR) IN ({', '.join(text(one.text) for one in tombstone.values)}), false)"
        return f"coalesce({value}, false)" if self.types[tombstone.property] == "BOOLEAN" else f"({value} IS NOT NULL)"

    def changed_since(self, owner: str) -> str:
        """Whether a version has changed after a deletion `e` of its record: where both times are told."""
        cursor = self.batch.table.cursor
        is_time = cursor is not None and self.types[cursor] == "TIMESTAMPTZ"
        return f"coalesce({owner}.{quoted(cursor)} >= e._syncer_gone_by, false)" if cursor and is_time else "false"

    def _same(self, one: str, other: str) -> str:
        """Whether two have the same key."""
        return " AND ".join(f"{one}.{quoted(name)} = {other}.{quoted(name)}" for name in self.batch.table.key)

    def _later(self) -> str:
        """Whether the incoming version was received after the row's."""
        place = ", ".join(self.sql.place("t._segment"))
        mine = f"starts_with(t._segment, {text(self.batch.hub + '/')})"
        return f"(NOT {mine} OR row({place}) < row(b._syncer_run, b._syncer_ordinal, b._syncer_number, b._syncer_line))"

    def write(self, replaces: bool, verdicts: str) -> None:
        """Put the accepted versions into the table: those that are new, and, where it `replaces`, those that are updated."""
        if replaces:
            changed = f"SELECT * FROM {verdicts} WHERE _syncer_verdict = 'updated'"
            self.sql.ask(f"DELETE FROM {self.name} AS t USING ({changed}) AS b WHERE {self.same_key}")
        columns = ", ".join(["b.*", f"{self.gone_at} AS _syncer_went_at", *(f"v.{quoted(name)}" for name in self.kept)])
        accepted = "b._segment = v._segment AND v._syncer_verdict IN ('inserted', 'updated')"
        self.insert(f"(SELECT {columns} FROM {self.best} AS b JOIN {verdicts} AS v ON {accepted})", "_syncer_went_at", self.kept)

    @property
    def gone_at(self) -> str:
        """When a row went, of a version `b` with the verdict `v`: a version since the last pass is there, unless it denies it."""
        return (
            f"CASE WHEN {self._is_gone('b')} THEN coalesce(v._syncer_gone_at, {self.now}) "
            f"WHEN b._syncer_run < {self.batch.gone_since or 0} OR v._syncer_told THEN v._syncer_gone_at END"
        )

    def _older(self, cursor: str | None) -> tuple[str, str]:
        """Whether the incoming version is older than the row, and whether only the hub can tell.

        The row's place is where its values were first received; its epoch may have been raised since, by a pass that met the
        same values again. That matters only where the incoming version has a lower cursor.
        """
        mine = f"starts_with(t._segment, {text(self.batch.hub + '/')})"
        place = self.sql.place("t._segment")
        since = " ".join(f"WHEN {place[0]} >= {start} THEN {start}" for start in sorted(self.batch.starts[-200:], reverse=True))
        epoch = f"CASE WHEN NOT {mine} THEN -1 {since} ELSE 0 END"
        t, b = (self._ordered(cursor, "t"), self._ordered(cursor, "b")) if cursor else ("NULL", "NULL")
        lower = f"({t} IS NOT NULL AND ({b} IS NULL OR {b} < {t}))"
        equal = f"({t} IS NOT DISTINCT FROM {b})" if cursor else "true"
        earlier = f"row({', '.join(place)}) > row(b._syncer_run, b._syncer_ordinal, b._syncer_number, b._syncer_line)"
        same_epoch_older = f"({epoch}) = b._syncer_epoch AND ({lower if cursor else 'false'} OR ({equal} AND {earlier}))"
        older = f"(({epoch}) > b._syncer_epoch OR ({same_epoch_older}))"
        doubt = f"(({epoch}) BETWEEN 0 AND b._syncer_epoch - 1 AND {lower})" if cursor else "false"
        return older, doubt

    def insert(self, source: str, gone_at: str, kept: Sequence[str] = ()) -> None:
        columns = ", ".join(quoted(name) for name in [*self.columns, *kept])
        self.sql.ask(
            f"INSERT INTO {self.name} ({columns}, _synced_at, _deleted_at, _segment) "
            f"SELECT {columns}, {self.now}, {gone_at}, _segment FROM {source} AS s"
        )

    def _mark_gone(self) -> dict[str, int]:
        """Mark the rows that are gone, unless they are too many. Their keys are in the table `gone`."""
        batch, found = self.batch, list[str]()
        keys = ", ".join(f"t.{quoted(name)}" for name in batch.table.key)
        if batch.marks_gone:
            found.append(f"SELECT {keys} FROM {self.name} AS t WHERE t._deleted_at IS NULL AND {self.is_missing()}")
        if self.told:
            found.append(f"SELECT DISTINCT {keys} FROM {self.name} AS t JOIN {self.went()} WHERE t._deleted_at IS NULL")
        self.sql.ask(f"CREATE TEMP TABLE gone AS {' UNION '.join(found)}")
        lost = f"{self.sql.temporary}.gone"
        number = self._number(f"SELECT count(*) FROM {lost} AS b")
        if not number:
            return {}
        if batch.most_gone and batch.most_gone.exceeded_by(
            number, self._number(f"SELECT count(*) FROM {self.name} WHERE _deleted_at IS NULL")
        ):
            return {"held_back": number}
        self.sql.ask(
            f"UPDATE {self.name} AS t SET _deleted_at = {self.now}, _synced_at = {self.now} FROM {lost} AS b WHERE {self.same_key}"
        )
        return {"deleted": number}

    def is_missing(self) -> str:
        """Whether no version since the last pass that proved what is gone is of a row."""
        there = [f"SELECT 1 FROM {self.all} AS b WHERE b._syncer_run >= {self.batch.gone_since} AND {self.same_key}"] if self.all else []
        there += [f"SELECT 1 FROM {self.keys} AS b WHERE {self.same_key}"] if self.keys else []
        return " AND ".join(f"NOT EXISTS ({one})" for one in there) or "true"

    def went(self) -> str:
        """The deletions `e` of rows that a feed tells, but for those that what the table shows of this batch is newer than."""
        newer = f"SELECT 1 FROM {self.shown} AS b WHERE b._syncer_run >= e._syncer_told_in AND {self._same('b', 'e')}"
        last = f" AND NOT EXISTS ({newer})" if self.shown else ""
        return f"{self.told} AS e ON {self._same('t', 'e')} AND NOT {self.changed_since('t')}{last}"

    def _number(self, sql: str) -> int:
        ((number,),) = self.sql.ask(sql)
        return int(number)
