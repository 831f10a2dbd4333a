"""Which version of a record is newer, and which ones a deletion came after, in SQL that the stage and all warehouses share. Pure.

Versions are rows with the key, the cursor, `_segment`, and what `ORDER_COLUMNS` names; deletions are rows `e` with the key,
`_syncer_told_in`, the run that told of it, and `_syncer_gone_by`, from when on a change is later (NULL where that is not known).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

ORDER_COLUMNS = ("_syncer_epoch", "_syncer_run", "_syncer_ordinal", "_syncer_number", "_syncer_line")
"""With the cursor after the first of them, the order in which versions of a record are newer."""


class Newness(Struct, frozen=True):
    """The order of a collection's versions. A dialect says how it writes a name, and a cursor's value as one that can be compared."""

    key: Sequence[str]
    cursor: str | None
    cursor_is_instant: bool
    appends: bool
    """Whether a record never changes: then its first version is the one that counts."""
    quoted: Callable[[str], str]
    comparable: Callable[[str], str] = str

    def newest(self, owner: str) -> str:
        """An ORDER BY of versions, the one that counts first."""
        epoch, *place = (f"{owner}.{column}" for column in ORDER_COLUMNS)
        if self.appends:
            return ", ".join(place)
        cursor = [f"{self.comparable(f'{owner}.{self.quoted(self.cursor)}')} DESC NULLS LAST"] if self.cursor else []
        return ", ".join([f"{epoch} DESC", *cursor, *(f"{column} DESC" for column in place)])

    def was_told(self, owner: str) -> str:
        """Whether the deletion `e` came after a version of its record: each that was received before it was told, but for those that
        have changed since."""
        return f"e._syncer_told_in > {owner}._syncer_run AND NOT {self.changed_since(owner)}"

    def changed_since(self, owner: str) -> str:
        """Whether a version has changed after the deletion `e` of its record, where both times are told."""
        if not (self.cursor and self.cursor_is_instant):
            return "false"
        return f"coalesce({owner}.{self.quoted(self.cursor)} >= e._syncer_gone_by, false)"

    def eras(self, rows: str, deletions: str) -> str:
        """A SELECT of the versions that came after a deletion which is younger than their epoch, and of the run that told of it.

        Where some version from before had changed since, there was no such deletion.
        """
        before = f"{self.same('v', 'e')} AND v._syncer_run < e._syncer_told_in AND {self.changed_since('v')}"
        held = f"(SELECT e.* FROM {deletions} AS e WHERE NOT EXISTS (SELECT 1 FROM {rows} AS v WHERE {before}))"
        after = f"{self.same('b', 'e')} AND e._syncer_told_in <= b._syncer_run AND e._syncer_told_in > b._syncer_epoch"
        return f"SELECT b._segment, max(e._syncer_told_in) AS _syncer_era FROM {rows} AS b JOIN {held} AS e ON {after} GROUP BY b._segment"

    def in_eras(self, rows: str, eras: str, columns: Iterable[str]) -> str:
        """The table expression of versions whose epoch is that of their era: they outrank what was there before the deletion."""
        epoch, *place = ORDER_COLUMNS
        kept = ", ".join(f"b.{column}" for column in [*columns, "_segment", *place])
        raised = f"coalesce(o._syncer_era, b.{epoch}) AS {epoch}"
        return f"(SELECT {kept}, {raised} FROM {rows} AS b LEFT JOIN {eras} AS o ON o._segment = b._segment)"

    def lacking(self, lists: str, parent_key: Sequence[str], known: Iterable[str], met: Iterable[str]) -> str:
        """A SELECT of the deletions that whole lists tell of by what they lack: of the keys that are `known` those that were not `met` in
        the list's runs."""
        columns = ", ".join(f"k.{self.quoted(name)}" for name in self.key)
        runs = "m._syncer_run BETWEEN e._syncer_told_in AND e._syncer_ended_in"
        there = [f"NOT EXISTS (SELECT 1 FROM {rows} AS m WHERE {self.same('m', 'k')} AND {runs})" for rows in met]
        where = f" WHERE {' AND '.join(there)}" if there else ""
        found = [
            f"SELECT {columns}, e._syncer_told_in, e._syncer_gone_at, e._syncer_ended_in "
            f"FROM {lists} AS e JOIN {rows} AS k ON {self.equal('k', 'e', parent_key)}{where}"
            for rows in known
        ]
        return f"SELECT DISTINCT * FROM ({' UNION ALL '.join(found)}) AS n"

    def same(self, one: str, other: str) -> str:
        """Whether two have the same key."""
        return self.equal(one, other, self.key)

    def equal(self, one: str, other: str, names: Iterable[str]) -> str:
        return " AND ".join(f"{one}.{self.quoted(name)} = {other}.{self.quoted(name)}" for name in names)
