"""A batch's rows into their table: which version wins, and what is counted, in SQL that warehouses have in common. I/O, through one.

The batch's values stay where they were put; temporary tables hold keys and verdicts only, so that memory stays small. The SQL keeps
to what every dialect reads alike (no `FILTER`, no named windows, no column lists behind an alias); where they differ, `Dialect` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..errors import WarehouseError
from ..newness import Newness
from . import TOLD, Batch, InDoubt, Receipt
from .dialect import Dialect

PUT = ("rows", "keys", "left_out", "told", "lists")
"""What a batch brings: its rows, further keys that are not gone, those of records that it leaves out, what a delete feed tells, and whole
lists."""


_PLACE = ("b._syncer_run", "b._syncer_ordinal", "b._syncer_number", "b._syncer_line")
"""The place of an incoming version."""


class Upsert:
    """The rows of one batch into its table, inside of a transaction that the caller holds.

    `put` are table expressions, by the names of `PUT`, of what there is; `kept` are the table's columns that the spec does not name.
    """

    def __init__(self, sql: Dialect, batch: Batch, put: Mapping[str, str], kept: Sequence[str]) -> None:
        self.sql, self.batch, self.kept = sql, batch, kept
        self.all, self.keys, self.left_out, self.feed, self.lists = (put.get(name, "") for name in PUT)
        table = batch.table
        self.name = sql.name(table.name)
        self.types = table.types
        self.columns = list(self.types)
        self.key = self.listed(table.key)
        is_instant = table.cursor is not None and self.types[table.cursor] == "TIMESTAMPTZ"
        self.newness = Newness(table.key, table.cursor, is_instant, table.appends, sql.quoted, self._comparable_cursor)
        self.same_key = self.newness.same("t", "b")
        self.best = self.all
        """The rows of which no other in the batch is a newer version."""
        self.shown = self.all
        """Those that the table shows now."""
        self.now = sql.instant(batch.synced_at)

    def temporaries(self) -> Mapping[str, str]:
        """What `run` may keep in temporary tables, in the order in which they build on each other, for one that has to make them before."""
        batch, kept = self.batch, self._of_told()
        if self.all:
            kept |= {"losers": self._losers(), "verdicts": self._verdicts(None)}
        if batch.marks_gone or self.told:
            kept["gone"] = self._gone()
        return kept

    def run(self, refused: str | None = None) -> Receipt:
        """Take them in; `refused` is a table expression of what was rejected of each version. Raises InDoubt."""
        batch, deletes = self.batch, self.batch.table.deletes
        book = Counter[str]()
        self._find_told()
        if batch.anew:
            book["deleted"] += self._drop_strays()
        if batch.left_out:
            book["deleted"] += self._drop_left_out()
        if self.all:
            book.update(self._find_losers())
            self.shown = self.best
            if deletes != "hard" and self._are_new():
                self._insert_all()
                book["inserted"] += self._number(f"SELECT count(*) FROM {self.best} AS b WHERE _syncer_counted")
            else:
                book.update(self._merge(refused))
        if (batch.marks_gone or self.told) and deletes != "ignore":
            book.update(self._mark_gone())
        if deletes == "hard" and (book["deleted"] or batch.clear_rejects):
            self.sql.ask(f"DELETE FROM {self.name} WHERE _deleted_at IS NOT NULL")
        if deletes == "ignore" and batch.clear_rejects:
            self.sql.ask(f"UPDATE {self.name} SET _deleted_at = NULL WHERE _deleted_at IS NOT NULL")
        return Receipt(batch.load, read=batch.read, rejected=batch.rejected, rejected_values=batch.rejected_values, **book)

    @property
    def told(self) -> str:
        """The table of the deletions that are told; empty where nothing tells of any."""
        return self.sql.temporary("deletions") if self.feed or self.lists else ""

    def _of_told(self) -> dict[str, str]:
        """The tables `deletions` and `eras`."""
        if not self.told:
            return {}
        return {"deletions": self._deletions()} | ({"eras": self.newness.eras(self.all, self.told)} if self.all else {})

    def _find_told(self) -> None:
        """Find out what is told to be gone; versions that came after that outrank those before. Most batches have none of these."""
        for table, select in self._of_told().items():
            self.sql.keep(table, select)
            if table == "eras" and self.sql.ask(f"SELECT 1 FROM {self.sql.temporary(table)} LIMIT 1"):
                columns = [*map(self.sql.quoted, self.columns), "_syncer_counted", "_syncer_at"]
                self.all = self.best = self.shown = self.newness.in_eras(self.all, self.sql.temporary(table), columns)

    def _deletions(self) -> str:
        """Deletions by key: those that a feed tells, and those that whole lists tell by what they lack, with the run in which the list
        ended."""
        key, found = self.listed(self.batch.table.key), list[str]()
        if self.feed:
            found.append(
                f"SELECT {', '.join([key, *TOLD])}, CAST(NULL AS {self.sql.kind('BIGINT')}) AS _syncer_ended_in FROM {self.feed} AS e"
            )
        if self.lists:
            known, met = ([rows for rows in some if rows] for some in ((self.name, self.all), (self.all, self.keys)))
            lacking = self.newness.lacking(self.lists, self.batch.table.parent_key, known, met)
            never = f"CAST(NULL AS {self.sql.kind('TIMESTAMPTZ')}) AS _syncer_gone_by"
            found.append(f"SELECT {key}, _syncer_told_in, _syncer_gone_at, {never}, _syncer_ended_in FROM ({lacking}) AS n")
        return " UNION ALL ".join(found)

    def _drop_strays(self) -> int:
        """Where the batch has all there is: rows go that it lacks, and those of a key that is there more than once; how many it lacked."""
        gone = self._drop(f"NOT EXISTS (SELECT 1 FROM {self.all} AS b WHERE {self.same_key})" if self.all else "true")
        twice = f"SELECT {self.key} FROM {self.name} AS a GROUP BY {self.key} HAVING count(*) > 1"
        if self.sql.ask(f"{twice} LIMIT 1"):
            self._drop(f"EXISTS (SELECT 1 FROM ({twice}) AS b WHERE {self.same_key})")
        return gone

    def _drop_left_out(self) -> int:
        """Rows go of which the batch, which has all that fits, has nothing, but for what `on_reject: record` leaves out; how many did.

        Raises WarehouseError where they are too many to go without being told to.
        """
        batch = self.batch
        lacks = f" AND NOT EXISTS (SELECT 1 FROM {self.all} AS b WHERE {self.same_key})" if self.all else ""
        which = f"EXISTS (SELECT 1 FROM {self.left_out} AS l WHERE {self.newness.same('t', 'l')}){lacks}"
        number = self._number(f"SELECT count(*) FROM {self.name} AS t WHERE {which}")
        most = batch.most_left_out
        if most and most.exceeded_by(number, self.sql.standing(batch.table.name, "_deleted_at IS NULL")):
            raise WarehouseError(
                f"{batch.table.name}: {number:,} rows would go, for their records do not fit, and `on_reject: record` leaves these out; "
                f"that is more than `max_delete_share` ({most}) of the table; correct the spec, or say --allow-deletes"
            )
        return self._drop(which) if number else 0

    def _drop(self, which: str) -> int:
        """Rows `t` go; how many did."""
        number = self._number(f"SELECT count(*) FROM {self.name} AS t WHERE {which}")
        if number:
            self.sql.ask(f"DELETE FROM {self.name} AS t WHERE {which}")
        return number

    def _insert_all(self) -> None:
        self.insert(self.best, f"CASE WHEN {self._is_gone('s')} THEN {self.now} END" if self.batch.table.tombstone else "NULL")

    def _find_losers(self) -> dict[str, int]:
        """The table `losers`: versions that another one of this batch outranks. Most batches have none."""
        if not self.sql.ask(f"{self._twice} LIMIT 1"):
            return {}
        self.sql.keep("losers", self._losers())
        losers = self.sql.temporary("losers")
        self.best = f"(SELECT a.* FROM {self.all} AS a WHERE NOT EXISTS (SELECT 1 FROM {losers} AS l WHERE a._segment = l._segment))"
        beaten = f"SELECT DISTINCT {self.key} FROM {losers} WHERE _syncer_counted AND NOT _syncer_beaten"
        stale = self._number(f"SELECT count(*) FROM ({beaten}) AS n")
        return {"stale": stale, "duplicates": self._number(f"SELECT count(*) FROM {losers} WHERE _syncer_counted") - stale}

    @property
    def _twice(self) -> str:
        """The keys that the batch has more than one version of."""
        return f"SELECT {self.key} FROM {self.all} AS a GROUP BY {self.key} HAVING count(*) > 1"

    def _losers(self) -> str:
        keys = self.listed(self.batch.table.key, "b")
        newest = f"(PARTITION BY {keys} ORDER BY {self.newness.newest('b')})"
        return (
            f"SELECT _segment, {self.key}, _syncer_counted, _syncer_beaten FROM ("
            f"SELECT b._segment, {keys}, b._syncer_counted, row_number() OVER {newest} AS _syncer_place, "
            f"first_value(b._syncer_counted) OVER {newest} AS _syncer_beaten "
            f"FROM {self.all} AS b WHERE EXISTS (SELECT 1 FROM ({self._twice}) AS t WHERE {self.same_key})"
            ") AS ranked WHERE _syncer_place > 1"
        )

    def _ordered(self, name: str, owner: str) -> str:
        return self.sql.comparable(f"{owner}.{self.sql.quoted(name)}", self.types[name])

    def _comparable_cursor(self, value: str) -> str:
        return self.sql.comparable(value, self.types[self.batch.table.cursor or ""])

    def _are_new(self) -> bool:
        """Whether the table has none of the batch's keys: then there is nothing to compare."""
        return not self.sql.ask(
            f"SELECT 1 FROM {self.all} AS b WHERE EXISTS (SELECT 1 FROM {self.name} AS t WHERE {self.same_key}) LIMIT 1"
        )

    def _merge(self, refused: str | None) -> dict[str, int]:
        """The best versions against the rows that are there; how many counted ones got which verdict. Raises InDoubt."""
        self.sql.keep("verdicts", self._verdicts(refused))
        table, verdicts = self.batch.table, self.sql.temporary("verdicts")
        self.shown = f"(SELECT * FROM {verdicts} WHERE _syncer_verdict NOT IN ('stale', 'filtered'))"
        counted = "sum(CASE WHEN _syncer_counted THEN 1 ELSE 0 END)"
        found = {
            str(verdict): int(number)
            for verdict, number in self.sql.ask(f"SELECT _syncer_verdict, {counted} FROM {verdicts} GROUP BY _syncer_verdict")
        }
        if "doubt" in found:
            raise InDoubt
        if found.keys() & {"inserted", "updated"}:
            self.write("updated" in found, verdicts)
        if table.tombstone:
            both = f"{self.best} AS b JOIN {verdicts} AS v ON b._segment = v._segment AND v._syncer_verdict = 'updated'"
            found["deleted"] = self._number(f"SELECT count(*) FROM {both} WHERE {self._is_gone('b')} AND v._syncer_gone_at IS NULL")
        return found

    def _verdicts(self, refused: str | None) -> str:
        """Of each of the best versions, what is to become of it."""
        differs = " OR ".join(f"{self._ordered(name, 't')} IS DISTINCT FROM {self._ordered(name, 'b')}" for name in self.columns)
        batch, table = self.batch, self.batch.table
        is_told, joined = "false", ""
        if self.told:
            told = f"{self.told} AS e ON {self.newness.same('b', 'e')} WHERE {self.newness.was_told('b')}"
            went = f"SELECT DISTINCT b._segment FROM {self.best} AS b JOIN {told}"
            is_told, joined = "(went._segment IS NOT NULL)", f" LEFT JOIN ({went}) AS went ON went._segment = b._segment"
        if batch.told and batch.told.lacks:  # what was received before may have gone by what is lost
            is_told = f"({is_told} OR NOT b._syncer_counted)"
        gone = f"({self._is_gone('b')} OR b._syncer_run < {batch.gone_since or 0} OR {is_told})"
        back = f"(t._deleted_at IS NOT NULL AND NOT {gone})"
        goes = f"(t._deleted_at IS NULL AND {self._is_gone('b')})"
        none = gone if table.deletes == "hard" else "false"
        if refused:  # of two versions with one NULL, the API may have sent different values that could not be read
            differs += " OR is_refused.told IS DISTINCT FROM was_refused.told"
            joined += (
                f" LEFT JOIN {refused} AS is_refused ON is_refused._segment = b._segment"
                f" LEFT JOIN {refused} AS was_refused ON was_refused._segment = t._segment"
            )
        older, doubt = "false", "false"
        if table.appends and not batch.anew:
            older = f"({self._later()} AND ({differs}))"
        elif batch.lacks or not batch.complete:
            older, doubt = self._older(table.cursor)
            doubt = "false" if batch.complete else doubt
        absent = f"t.{self.sql.quoted(table.key[0])} IS NULL"
        if batch.anew:  # a row has to say where its values lie
            joined += f" LEFT JOIN {self.all} AS p ON p._segment = t._segment AND {self.newness.same('p', 't')}"
            differs += " OR p._segment IS NULL OR t._synced_at IS NULL"
        columns = ", ".join([self.listed(table.key, "b"), *(f"t.{self.sql.quoted(name)}" for name in self.kept)])
        return (
            f"SELECT b._segment, b._syncer_run, b._syncer_counted, {is_told} AS _syncer_told, {columns}, t._deleted_at AS _syncer_gone_at, "
            f"CASE WHEN {absent} AND {none} THEN 'filtered' WHEN {absent} THEN 'inserted' "
            f"WHEN {doubt} THEN 'doubt' WHEN {older} THEN 'stale' "
            f"WHEN {back} OR {goes} OR {differs} THEN 'updated' ELSE 'unchanged' END AS _syncer_verdict "
            f"FROM {self.best} AS b LEFT JOIN {self.name} AS t ON {self.same_key}{joined}"
        )

    def _is_gone(self, owner: str) -> str:
        """Whether a version says of itself that its record is gone."""
        tombstone = self.batch.table.tombstone
        if tombstone is None:
            return "false"
        value = f"{owner}.{self.sql.quoted(tombstone.property)}"
        if tombstone.values:
            words = ", ".join(self.sql.text(one.text) for one in tombstone.values)
            return f"coalesce(CAST({value} AS {self.sql.kind('VARCHAR')}) IN ({words}), false)"
        return f"coalesce({value}, false)" if self.types[tombstone.property] == "BOOLEAN" else f"({value} IS NOT NULL)"

    def _later(self) -> str:
        """Whether the incoming version was received after the row's."""
        return f"(NOT {self._mine} OR {self.sql.before(self.sql.place('t._segment'), _PLACE)})"

    @property
    def _mine(self) -> str:
        """Whether the row came from the batch's hub."""
        return f"(t._segment LIKE {self.sql.text(self.batch.hub + '/%')})"

    def write(self, replaces: bool, verdicts: str) -> None:
        """Put the accepted versions into the table: those that are new, and, where it `replaces`, those that are updated."""
        if replaces:
            changed = f"SELECT * FROM {verdicts} WHERE _syncer_verdict = 'updated'"
            self.sql.ask(f"DELETE FROM {self.name} AS t USING ({changed}) AS b WHERE {self.same_key}")
        parts: list[tuple[str, Sequence[str]]] = [("'inserted', 'updated'", ())]
        if self.kept:  # in new rows, columns of the user's own hold what they hold by default
            parts = [("'inserted'", ()), *([("'updated'", self.kept)] if replaces else [])]
        for accepted, kept in parts:
            columns = ", ".join(["b.*", f"{self.gone_at} AS _syncer_went_at", *(f"v.{self.sql.quoted(name)}" for name in kept)])
            both = f"{self.best} AS b JOIN {verdicts} AS v ON b._segment = v._segment AND v._syncer_verdict IN ({accepted})"
            self.insert(f"(SELECT {columns} FROM {both})", "_syncer_went_at", kept)

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
        same values again. That matters only where the incoming version has a lower cursor. So does what told that the row is gone.
        """
        place = self.sql.place("t._segment")
        since = " ".join(f"WHEN {place[0]} >= {start} THEN {start}" for start in sorted(self.batch.starts[-200:], reverse=True))
        epoch = f"CASE WHEN NOT {self._mine} THEN -1 {since} ELSE 0 END"
        t, b = (self._ordered(cursor, "t"), self._ordered(cursor, "b")) if cursor else ("NULL", "NULL")
        lower = f"({t} IS NOT NULL AND ({b} IS NULL OR {b} < {t}))"
        equal = f"({t} IS NOT DISTINCT FROM {b})" if cursor else "true"
        earlier = self.sql.before(_PLACE, place)
        same_epoch_older = f"({epoch}) = b._syncer_epoch AND ({lower if cursor else 'false'} OR ({equal} AND {earlier}))"
        older = f"(({epoch}) > b._syncer_epoch OR ({same_epoch_older}))"
        raised = f"({epoch}) BETWEEN 0 AND b._syncer_epoch - 1"
        if self.batch.told:
            raised = f"({raised} OR (t._deleted_at IS NOT NULL AND {self._mine} AND {self.sql.before(place, _PLACE)}))"
        return older, f"({raised} AND {lower})" if cursor else "false"

    def insert(self, source: str, gone_at: str, kept: Sequence[str] = ()) -> None:
        columns = self.listed([*self.columns, *kept])
        self.sql.ask(
            f"INSERT INTO {self.name} ({columns}, _synced_at, _deleted_at, _segment) "
            f"SELECT {columns}, {self.now}, {gone_at}, _segment FROM {source} AS s"
        )

    def _mark_gone(self) -> dict[str, int]:
        """Mark the rows that are gone, unless they are too many. Their keys are in the table `gone`."""
        batch, lost = self.batch, self.sql.temporary("gone")
        self.sql.keep("gone", self._gone())
        number = self._number(f"SELECT count(*) FROM {lost} AS b")
        if not number:
            return {}
        if batch.most_gone and batch.most_gone.exceeded_by(number, self.sql.standing(batch.table.name, "_deleted_at IS NULL")):
            return {"held_back": number}
        self.sql.ask(
            f"UPDATE {self.name} AS t SET _deleted_at = {self.now}, _synced_at = {self.now} FROM {lost} AS b WHERE {self.same_key}"
        )
        return {"deleted": number}

    def _gone(self) -> str:
        keys, found = self.listed(self.batch.table.key, "t"), list[str]()
        if self.batch.marks_gone:
            found.append(f"SELECT {keys} FROM {self.name} AS t WHERE t._deleted_at IS NULL AND {self.is_missing()}")
        if self.told:
            found.append(f"SELECT DISTINCT {keys} FROM {self.name} AS t JOIN {self.went()} AND t._deleted_at IS NULL")
        return found[0] if len(found) == 1 else f"SELECT DISTINCT {self.key} FROM ({' UNION ALL '.join(found)}) AS n"

    def is_missing(self) -> str:
        """Whether no version since the last pass that proved what is gone is of a row."""
        there = [f"SELECT 1 FROM {self.all} AS b WHERE b._syncer_run >= {self.batch.gone_since} AND {self.same_key}"] if self.all else []
        there += [f"SELECT 1 FROM {self.keys} AS b WHERE b._syncer_run >= {self.batch.gone_since} AND {self.same_key}"] if self.keys else []
        return " AND ".join(f"NOT EXISTS ({one})" for one in there) or "true"

    def went(self) -> str:
        """The deletions `e` that rows `t` are joined with, but for those that what the table shows of this batch is newer than."""
        newer = f"SELECT 1 FROM {self.shown} AS b WHERE b._syncer_run >= e._syncer_told_in AND {self.newness.same('b', 'e')}"
        last = f" AND NOT EXISTS ({newer})" if self.shown else ""
        return f"{self.told} AS e ON {self.newness.same('t', 'e')} WHERE NOT {self.newness.changed_since('t')}{last}"

    def listed(self, names: Iterable[str], owner: str | None = None) -> str:
        """Columns, as a statement lists them."""
        return ", ".join(f"{owner}.{self.sql.quoted(name)}" if owner else self.sql.quoted(name) for name in names)

    def _number(self, sql: str) -> int:
        ((number,),) = self.sql.ask(sql)
        return int(number)


class InPlace(Upsert):
    """Changed rows are updated in their place: what refers to them, and columns of the user's own, stay as they are."""

    def write(self, replaces: bool, verdicts: str) -> None:
        if replaces:
            values = [f"{self.sql.quoted(name)} = b.{self.sql.quoted(name)}" for name in self.columns]
            ours = f"_synced_at = {self.now}, _deleted_at = {self.gone_at}, _segment = b._segment"
            both = f"{self.best} AS b JOIN {verdicts} AS v ON b._segment = v._segment AND v._syncer_verdict = 'updated'"
            self.sql.ask(f"UPDATE {self.name} AS t SET {', '.join([*values, ours])} FROM {both} WHERE {self.same_key}")
        new = f"{self.best} AS b JOIN {verdicts} AS v ON b._segment = v._segment AND v._syncer_verdict = 'inserted'"
        self.insert(f"(SELECT b.* FROM {new})", f"CASE WHEN {self._is_gone('s')} THEN {self.now} END")
