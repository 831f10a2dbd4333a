"""A table that keeps each version of a record as a row of its own (slowly changing dimensions, type 2), as SQL. I/O: it asks the warehouse.

The versions of a record are what the hub holds of it, in the order of newness; equal neighbours are one. A version holds from
the instant of its cursor, or else from when the reading that brought it began, up to where the next one begins or the record
was found gone; one that would begin before its predecessor begins with that. A load adds to the end of what is there; where
that is not the end by the hub's order, all rows are made anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from . import GonePass, InDoubt, Receipt
from .upsert import Upsert

_PASS = ("_syncer_pass", "_syncer_ended_run", "_syncer_ended_ordinal", "_syncer_ended_number", "_syncer_began")
_BESIDES = ("_segment", "_syncer_epoch", "_syncer_run", "_syncer_ordinal", "_syncer_number", "_syncer_line", "_syncer_counted")


class Versions(Upsert):
    """The versions of one batch into a table that keeps all, inside of a transaction that the caller holds."""

    def temporaries(self) -> Mapping[str, str]:
        batch, kept = self.batch, self._of_told()
        if batch.anew:
            kept |= {"alive": self._alive(), "aside": self._aside()}
            if self.all:
                kept["sequence"] = self._sequence(self._whole(self._known_passes, "false"))
        elif self.all:
            kept |= {"lasts": self._lasts(), "sequence": self._sequence(self._behind())}
        return kept

    def run(self, refused: str | None = None) -> Receipt:
        batch, book = self.batch, Counter[str]()
        self._find_told()
        if batch.anew:
            book.update(self._make_anew())
        elif self.all:
            book.update(self._add_to_the_end())
        if (batch.marks_gone or self.told) and not batch.anew and batch.table.deletes != "ignore":
            book.update(self._close_gone())
        return Receipt(batch.load, read=batch.read, rejected=batch.rejected, rejected_values=batch.rejected_values, **book)

    def _add_to_the_end(self) -> Counter[str]:
        """The batch behind each record's last version. Raises InDoubt where some of it belongs further to the front."""
        if self.told:
            self._close_returning()
        self.sql.keep("lasts", self._lasts())
        lasts, (older, doubt) = self.sql.temporary("lasts"), self._older(self.batch.table.cursor)
        late = f"(t._valid_to IS NOT NULL AND b._syncer_run < {self.batch.gone_since or 0})"
        if self.sql.ask(f"SELECT 1 FROM {self.all} AS b JOIN {lasts} AS t ON {self.same_key} WHERE {older} OR {doubt} OR {late} LIMIT 1"):
            raise InDoubt
        return self._put_in_order(self._behind())

    def _lasts(self) -> str:
        """The last versions of the records that the batch has any of."""
        backwards = f"row_number() OVER (PARTITION BY {self.key} ORDER BY _version DESC)"
        return (
            f"SELECT * FROM (SELECT t.*, {backwards} AS _syncer_back FROM {self.name} AS t "
            f"WHERE EXISTS (SELECT 1 FROM {self.all} AS b WHERE {self.same_key})) AS n WHERE _syncer_back = 1"
        )

    def _behind(self) -> str:
        """The batch, and the last versions before it."""
        lasts = self.sql.temporary("lasts")
        new = self._in_order("b", list(_BESIDES), self._own_instant("b"), self._none, self._never)
        gone = f"CASE WHEN t._deleted_at IS NOT NULL THEN t._valid_to ELSE {self._never} END"
        old = self._in_order("t", ["t._segment", "-1", "-1", "-1", "-1", "-1", "false"], "t._valid_from", "t._version", gone)
        return f"SELECT {new} FROM {self.all} AS b UNION ALL SELECT {old} FROM {lasts} AS t"

    def _make_anew(self) -> Counter[str]:
        """All rows from the batch, which holds every version there is."""
        batch, alive = self.batch, self.sql.temporary("alive")
        self.sql.keep("alive", self._alive())
        self._empty()
        until, known = (batch.told.until, batch.told.known) if batch.told else (0, 0)
        all_told = f"(e._syncer_told_in <= {until} OR e._syncer_ended_in IS NOT NULL)"
        book = self._from_all(batch.passes if batch.marks_gone else self._known_passes, all_told)
        still = f"SELECT 1 FROM {self.name} AS t WHERE t._valid_to IS NULL AND {self.same_key}"
        gone = self._number(f"SELECT count(*) FROM {alive} AS b WHERE NOT EXISTS ({still})")
        tells = batch.marks_gone or self.told
        if tells and batch.most_gone and batch.most_gone.exceeded_by(gone, self._number(f"SELECT count(*) FROM {alive} AS b")):
            self.sql.ask(f"DELETE FROM {self.name} WHERE true")
            self.sql.discard("sequence")
            return self._from_all(self._known_passes, f"coalesce(e._syncer_ended_in, e._syncer_told_in) <= {known}") + Counter(
                held_back=gone
            )
        return book + Counter(deleted=gone)

    def _alive(self) -> str:
        return f"SELECT {self.key} FROM {self.name} WHERE _valid_to IS NULL"

    @property
    def _known_passes(self) -> list[GonePass]:
        return [one for one in self.batch.passes if one.run <= (self.batch.gone_known or 0)]

    def _from_all(self, passes: Sequence[GonePass], told: str) -> Counter[str]:
        return self._put_in_order(self._whole(passes, told)) if self.all else Counter()

    def _whole(self, passes: Sequence[GonePass], told: str) -> str:
        """All versions of the batch, each ended by the first of these passes that came upon none after it, or by a deletion `e` before it
        that is `told`."""
        source, ended, digest = f"{self.all} AS b", self._never, None
        if passes and self.batch.table.deletes != "ignore":
            source, ended, digest = *self._ended_by(passes), "b._syncer_digest"
        if self.told and self.batch.table.deletes != "ignore":
            source += f" LEFT JOIN ({self._ends_told(told)}) AS went ON went._syncer_of = b._segment"
            first = f"({ended}) IS NULL" + (" OR went._syncer_told_in <= _syncer_ended_run" if passes else "")
            ended = f"CASE WHEN went._syncer_went_at IS NOT NULL AND ({first}) THEN went._syncer_went_at ELSE {ended} END"
        columns = self._in_order("b", list(_BESIDES), self._own_instant("b"), self._none, ended, digest)
        return f"SELECT {columns} FROM {source}"

    def _ended_by(self, passes: Sequence[GonePass]) -> tuple[str, str]:
        """The batch's versions `b` with their digests, and when the first of these passes found each gone.

        A pass ends a record of which no version came after it; what ends is the newest of those received before it. So, with A of
        12:00 received first, then B of 11:00, and then a pass that meets neither, A ends, though B came last.
        """
        listed = self.sql.values("p", _PASS, [(one.run, *one.ended, one.began) for one in passes])
        place = ("_syncer_run", "_syncer_ordinal", "_syncer_number")
        received = f"PARTITION BY {self.key} ORDER BY {', '.join(place)}, _syncer_line"
        following = ", ".join(f"lead({word}) OVER ({received}) AS _next{word}" for word in place)
        rank = f"row_number() OVER (PARTITION BY {self.key} ORDER BY {self.newness.newest('b')})"  # the smaller, the newer
        first = (
            f"SELECT r._syncer_run AS _syncer_of, min(p._syncer_pass) AS _syncer_first FROM (SELECT DISTINCT _syncer_run FROM {self.all} "
            f"AS a) AS r JOIN {listed} ON p._syncer_pass > r._syncer_run GROUP BY r._syncer_run"
        )
        needed = f"{self.listed(self._read, 'b')}, {', '.join(_BESIDES)}, _syncer_at"
        met = self.sql.before(_PASS[1:4], [f"_next{word}" for word in place])
        found = f"_syncer_pass IS NOT NULL AND (_next_syncer_run IS NULL OR {met})"
        by_then = f"min(_syncer_rank) OVER ({received} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        ranked = f"SELECT {needed}, {self._digest('b')} AS _syncer_digest, {following}, {rank} AS _syncer_rank FROM {self.all} AS b"
        ended = (
            f"SELECT n.*, {by_then} AS _syncer_by_then, CASE WHEN {found} THEN p._syncer_ended_run END AS _syncer_end_run, "
            f"CASE WHEN {found} THEN p._syncer_began END AS _syncer_end FROM ({ranked}) AS n "
            f"LEFT JOIN ({first}) AS f ON f._syncer_of = n._syncer_run LEFT JOIN {listed} ON p._syncer_pass = f._syncer_first"
        )
        group = f"(PARTITION BY {self.key}, _syncer_by_then)"
        source = (
            f"(SELECT n.*, min(_syncer_end_run) OVER {group} AS _syncer_ended_run, min(_syncer_end) OVER {group} AS _syncer_ended_at "
            f"FROM ({ended}) AS n) AS b"
        )
        is_ended = "_syncer_rank = _syncer_by_then AND _syncer_ended_at IS NOT NULL"
        return source, f"CASE WHEN {is_ended} THEN {self.sql.instant('_syncer_ended_at')} ELSE {self._never} END"

    def _ends_told(self, told: str) -> str:
        """The versions that deletions `e` ended which are `told`: each the newest one that had been received by then."""
        keys = self.listed(self.batch.table.key, "e")
        received = f"{self.newness.same('b', 'e')} AND b._syncer_run < e._syncer_told_in AND {told}"
        of_deletion = f"PARTITION BY {keys}, e._syncer_told_in, e._syncer_gone_at ORDER BY {self.newness.newest('b')}"
        newest = (
            f"SELECT b._segment AS _syncer_of, e._syncer_told_in, e._syncer_gone_at AS _syncer_went_at, "
            f"{self.newness.changed_since('b')} AS _syncer_later, "
            f"row_number() OVER ({of_deletion}) AS _syncer_place "
            f"FROM {self.told} AS e JOIN {self.all} AS b ON {received}"
        )
        return (
            f"SELECT * FROM (SELECT n.*, row_number() OVER (PARTITION BY _syncer_of ORDER BY _syncer_told_in, _syncer_went_at) "
            f"AS _syncer_first FROM ({newest}) AS n WHERE _syncer_place = 1 AND NOT _syncer_later) AS f WHERE _syncer_first = 1"
        )

    @property
    def _read(self) -> list[str]:
        """The columns that tell versions apart and put them in order; of all others the digest is enough."""
        others = [self.batch.table.cursor, self.batch.table.tombstone and self.batch.table.tombstone.property]
        return list(dict.fromkeys([*self.batch.table.key, *(name for name in others if name)]))

    def _in_order(self, owner: str, besides: Sequence[str], at: str, old: str, ended: str, digest: str | None = None) -> str:
        """The columns of a version that is to be put in order."""
        named = zip(_BESIDES, besides, strict=True)
        return ", ".join(
            [
                *(f"{owner}.{self.sql.quoted(name)} AS {self.sql.quoted(name)}" for name in self._read),
                f"{digest or self._digest(owner)} AS _syncer_digest",
                *(f"{value} AS {name}" for name, value in named),
                f"{at} AS _syncer_at, {old} AS _syncer_old, {ended} AS _syncer_ended",
            ]
        )

    def _digest(self, owner: str) -> str:
        """What tells whether two versions have the same values. The values themselves would make the sequence as large as the table."""
        return self.sql.digest({self._ordered(name, owner): type_ for name, type_ in self.types.items()})

    def _put_in_order(self, rows: str) -> Counter[str]:
        """Versions, and the last ones that are there, as rows behind each other. Gives the book of the counted ones."""
        self.sql.keep("sequence", self._sequence(rows))
        keys, sequence = self.listed(self.batch.table.key, "s"), self.sql.temporary("sequence")
        of_group = f"(PARTITION BY {keys}, s._syncer_group)"
        ends = f"SELECT s.*, max(s._syncer_ended) OVER {of_group} AS _syncer_gone FROM {sequence} AS s"
        w = f"(PARTITION BY {keys} ORDER BY s._syncer_place)"
        versions = (
            f"SELECT s.*, lead(s._syncer_from) OVER {w} AS _syncer_next, lead(s._syncer_dead) OVER {w} AS _syncer_dies "
            f"FROM ({ends}) AS s WHERE s._syncer_starts OR s._syncer_old IS NOT NULL"
        )
        self._insert_versions(f"({versions})")
        self._close_followed(f"({versions})")
        return self._booked(sequence, keys)

    def _sequence(self, rows: str) -> str:
        """Versions in their order: which of them begin a row, from when on, and with which number."""
        keys, cursor = self.listed(self.batch.table.key, "s"), self.batch.table.cursor
        by_cursor = f"{self._ordered(cursor, 's')} NULLS FIRST, " if cursor else ""
        w = (
            f"(PARTITION BY {keys} ORDER BY CASE WHEN s._syncer_old IS NULL THEN 1 ELSE 0 END, s._syncer_epoch, {by_cursor}"
            "s._syncer_run, s._syncer_ordinal, s._syncer_number, s._syncer_line)"
        )
        starts = (
            f"s._syncer_old IS NULL AND (row_number() OVER {w} = 1 OR lag(s._syncer_ended) OVER {w} IS NOT NULL "
            f"OR lag(s._syncer_digest) OVER {w} IS DISTINCT FROM s._syncer_digest)"
        )
        first = (
            f"SELECT s.*, row_number() OVER {w} AS _syncer_place, {starts} AS _syncer_starts, {self._is_gone('s')} AS _syncer_dead, "
            f"lag(s._syncer_ended) OVER {w} AS _syncer_before FROM ({rows}) AS s"
        )
        w = f"(PARTITION BY {keys} ORDER BY s._syncer_place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        began = f"max(CASE WHEN s._syncer_starts OR s._syncer_old IS NOT NULL THEN s._syncer_at END) OVER {w}"
        group = f"sum(CASE WHEN s._syncer_starts THEN 1 ELSE 0 END) OVER {w}"
        new = f"sum(CASE WHEN s._syncer_starts AND NOT s._syncer_dead THEN 1 ELSE 0 END) OVER {w}"
        return (
            f"SELECT s.*, {group} AS _syncer_group, coalesce(max(s._syncer_old) OVER {w}, 0) + {new} AS _syncer_version, "
            f"{self.sql.later(began, f'max(s._syncer_before) OVER {w}')} AS _syncer_from FROM ({first}) AS s"
        )

    def _insert_versions(self, versions: str) -> None:
        """New rows. Where all are made anew, those that are as they were keep their stamps, and what the spec does not name."""
        words = ("from", "version", "gone", "next", "dies")
        placed = ", ".join(f"s._syncer_{word}" for word in words)
        source = (
            f"(SELECT r.*, {placed} FROM {versions} AS s JOIN {self.all} AS r ON r._segment = s._segment "
            "WHERE s._syncer_starts AND NOT s._syncer_dead) AS b"
        )
        gone = self.sql.later("b._syncer_gone", "b._syncer_from")
        ended = f"CASE WHEN b._syncer_gone IS NOT NULL THEN {gone} ELSE b._syncer_next END"
        dies = "(b._syncer_gone IS NOT NULL OR (b._syncer_next IS NOT NULL AND b._syncer_dies))"
        kept, synced, went = self.kept[:0], self.now, self.now
        if self.batch.anew:
            source += f" LEFT JOIN {self.sql.temporary('aside')} AS t ON {self.same_key} AND t._segment = b._segment"
            kept, went = self.kept, f"coalesce(t._deleted_at, {self.now})"
            same = [f"{self._ordered(name, 't')} IS NOT DISTINCT FROM {self._ordered(name, 'b')}" for name in self.columns]
            same += ["t._version = b._syncer_version", "t._valid_from = b._syncer_from", f"t._valid_to IS NOT DISTINCT FROM {ended}"]
            synced = f"CASE WHEN {' AND '.join(same)} AND (t._deleted_at IS NOT NULL) = {dies} THEN t._synced_at ELSE {self.now} END"
        columns = self.listed([*self.columns, *kept])
        chosen = ", ".join(filter(None, [self.listed(self.columns, "b"), self.listed(kept, "t")]))
        self.sql.ask(
            f"INSERT INTO {self.name} ({columns}, _valid_from, _valid_to, _version, _synced_at, _deleted_at, _segment) "
            f"SELECT {chosen}, b._syncer_from, {ended}, b._syncer_version, {synced}, CASE WHEN {dies} THEN {went} END, b._segment "
            f"FROM {source}"
        )

    def _close_followed(self, versions: str) -> None:
        """The versions that were the last ones, where others follow."""
        followed = f"SELECT * FROM {versions} AS s WHERE s._syncer_old IS NOT NULL AND s._syncer_next IS NOT NULL"
        self.sql.ask(
            f"UPDATE {self.name} AS t SET _valid_to = b._syncer_next, _synced_at = {self.now}, "
            f"_deleted_at = CASE WHEN b._syncer_dies THEN {self.now} END FROM ({followed}) AS b "
            f"WHERE {self.same_key} AND t._version = b._syncer_old AND t._valid_to IS NULL"
        )

    def _booked(self, sequence: str, keys: str) -> Counter[str]:
        """What became of the counted versions. One is stale where versions that were loaded before come behind it."""
        behind = f"max(CASE WHEN NOT s._syncer_counted AND s._syncer_old IS NULL THEN s._syncer_place END) OVER (PARTITION BY {keys})"
        leads = f"first_value(s._syncer_counted) OVER (PARTITION BY {keys}, s._syncer_group ORDER BY s._syncer_place)"
        verdict = (
            "CASE WHEN s._syncer_behind > s._syncer_place THEN 'stale' "
            "WHEN NOT s._syncer_starts AND (s._syncer_group = 0 OR NOT s._syncer_leads) THEN 'unchanged' "
            "WHEN NOT s._syncer_starts THEN 'duplicates' "
            "WHEN s._syncer_place > 1 THEN 'updated' WHEN s._syncer_dead THEN 'filtered' ELSE 'inserted' END"
        )
        rows = f"SELECT s.*, {behind} AS _syncer_behind, {leads} AS _syncer_leads FROM {sequence} AS s"
        found = self.sql.ask(f"SELECT {verdict}, count(*) FROM ({rows}) AS s WHERE s._syncer_counted GROUP BY 1")
        return Counter({str(word): int(number) for word, number in found})

    def _close_returning(self) -> None:
        """End what a feed told to be gone before its record came again with this batch. Raises InDoubt where that lies in its midst."""
        span = "min(_syncer_run) AS _syncer_first, max(_syncer_run) AS _syncer_last"
        runs = f"SELECT {self.key}, {span} FROM {self.all} AS a GROUP BY {self.key}"
        both = f"{self.told} AS e JOIN ({runs}) AS b ON {self.newness.same('b', 'e')} AND b._syncer_last >= e._syncer_told_in"
        if self.sql.ask(f"SELECT 1 FROM {both} AND b._syncer_first < e._syncer_told_in LIMIT 1"):
            raise InDoubt
        went = f"{both} JOIN {self.name} AS t ON {self.newness.same('t', 'e')} AND NOT {self.newness.changed_since('t')}"
        self._close(f"SELECT {self._ending()}, 0 AS _syncer_after FROM {went} WHERE t._valid_to IS NULL")

    def _close_gone(self) -> dict[str, int]:
        """The last versions of records that are gone; unless they are too many."""
        batch, found = self.batch, list[str]()
        if self.told:
            found.append(f"SELECT {self._ending()}, 0 AS _syncer_after FROM {self.name} AS t JOIN {self.went()} AND t._valid_to IS NULL")
        if batch.marks_gone:
            began = next(one.began for one in batch.passes if one.run == batch.gone_since)
            ending = self._ending(self.sql.instant(began), "0")
            found.append(f"SELECT {ending}, 1 AS _syncer_after FROM {self.name} AS t WHERE t._valid_to IS NULL AND {self.is_missing()}")
        gone = " UNION ALL ".join(found)
        number = self._number(f"SELECT count(*) FROM (SELECT DISTINCT {self.key} FROM ({gone}) AS n) AS n")
        if not number:
            return {}
        if batch.most_gone and batch.most_gone.exceeded_by(number, self.sql.standing(batch.table.name, "_valid_to IS NULL")):
            return {"held_back": number}
        self._close(gone)
        return {"deleted": number}

    def _ending(self, instant: str = "e._syncer_gone_at", told_in: str = "e._syncer_told_in") -> str:
        """How `_close` wants to know that a row `t` ends."""
        return f"{self.listed(self.batch.table.key, 't')}, {instant} AS _syncer_went_at, {told_in} AS _syncer_told_in"

    def _close(self, gone: str) -> None:
        """End the last versions of some keys, each by the first that ends it."""
        order = "_syncer_after, _syncer_told_in, _syncer_went_at"
        first = f"SELECT n.*, row_number() OVER (PARTITION BY {self.key} ORDER BY {order}) AS _syncer_place FROM ({gone}) AS n"
        ended = self.sql.later("b._syncer_went_at", "t._valid_from")
        self.sql.ask(
            f"UPDATE {self.name} AS t SET _valid_to = {ended}, _deleted_at = {self.now}, _synced_at = {self.now} "
            f"FROM ({first}) AS b WHERE {self.same_key} AND b._syncer_place = 1 AND t._valid_to IS NULL"
        )

    def _empty(self) -> None:
        self.sql.keep("aside", self._aside())
        self.sql.ask(f"DELETE FROM {self.name} WHERE true")

    def _aside(self) -> str:
        return f"SELECT * FROM {self.name}"

    def _own_instant(self, owner: str) -> str:
        """From when on a version holds, by itself."""
        cursor, received = self.batch.table.cursor, self.sql.instant(f"{owner}._syncer_at")
        if cursor and self.types[cursor] in ("TIMESTAMPTZ", "DATE"):
            return f"coalesce(CAST({owner}.{self.sql.quoted(cursor)} AS {self.sql.kind('TIMESTAMPTZ')}), {received})"
        return received

    @property
    def _none(self) -> str:
        return f"CAST(NULL AS {self.sql.kind('BIGINT')})"

    @property
    def _never(self) -> str:
        return f"CAST(NULL AS {self.sql.kind('TIMESTAMPTZ')})"
