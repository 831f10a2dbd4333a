"""One projection over some segments -> rows in a Parquet file, and what did not fit. I/O, in the stage's DuckDB and folder.

SQL reads what is plain; what it finds odd is read again here, record by record, the slow exact way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from .columns import Reject
from .errors import Damaged, HubError
from .extract import Extracted, Extraction, Stored
from .hub import Head, Hub, Slice
from .hub.segment import lines, run_of
from .lists import Part
from .project import AT, DIGEST, ODD, Projection, quoted, text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SMALLEST_OBJECT_LIMIT = 2**20
_NOT_JSON = "the record is not JSON, or nested too deeply"
_NO_KEY = "is the key, or part of it, and has no value"


class RejectedValue(Struct, frozen=True):
    """A value that its type could not hold, or that a key could not do without: what lands in the rejects table."""

    segment: str
    line: int
    property: str
    type: str
    raw: str
    reason: str
    whole: bool
    """Whether the record was rejected with it."""


class Staged(Struct):
    """Rows ready for a warehouse: Parquet files with the properties' columns, `_segment`, the order columns and `_syncer_counted`."""

    files: list[str] = field(default_factory=list)
    read: int = 0
    """Counted records, rejected ones included."""
    rejected: int = 0
    """Counted records rejected as a whole."""
    rejected_values: int = 0
    rejects: list[RejectedValue] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """Files of the keys of records that were rejected as a whole although these can be read."""
    unreadable_in: set[int] = field(default_factory=set)
    """The runs of which some record's key could not be read: what was gone then cannot be told."""

    def add(self, part: Staged) -> None:
        """Take in what another piece brought."""
        self.files += part.files
        self.read += part.read
        self.rejected += part.rejected
        self.rejected_values += part.rejected_values
        self.rejects += part.rejects
        self.keys += part.keys
        self.unreadable_in |= part.unreadable_in


class _OddValue(Struct, frozen=True):
    place: int
    property: str
    type: str
    raw: str
    reason: str


class _Span(Struct, frozen=True):
    """Records that follow each other in their segment: their places, the first one's line, and which of the segments it is."""

    first: int
    behind: int
    line: int
    head: int


class Piece:
    """One projection over some segments: the table `plain`, and the table `mended` of what was odd in it.

    A record's place is counted through all of the segments, from 0. Its files' names begin with `stem`.
    """

    def __init__(
        self,
        con: DuckDBPyConnection,
        hub: Hub,
        stem: Path,
        projection: Projection,
        collection: str,
        heads: Sequence[Head],
        extract: Callable[[Extraction, Path], Extracted],
    ) -> None:
        self.con, self.hub, self.stem, self.extract = con, hub, stem, extract
        self.projection, self.collection, self.heads = projection, collection, heads
        self.records = sum(head.records for head in heads)
        self.starts = list(accumulate((head.records for head in heads[:-1]), initial=0))
        self.spans = list(self._spans())
        self.refused: set[int] = set()
        """The records that have to be read the slow way as a whole."""
        self.unreadable: set[int] = set()
        self.unheld: set[int] = set()
        """The records with a key that can be read, and that the warehouse cannot hold: no row is of them."""
        self.mended: list[str] = []
        self._lines: list[bytes] | None = None

    def stage(self, key: Sequence[str], epoch: Callable[[str], int], counted: bool, strict: Collection[str] = frozenset()) -> Staged:
        """The rows in a file, and what was rejected: with a value of a `strict` property, the whole record."""
        odd = sorted([*self._read(), *self._take_out(key)], key=attrgetter("place"))
        file = str(self.stem.with_suffix(".parquet"))
        left_out = {value.place for value in odd if value.property in strict and value.property not in key} - self.unreadable
        kept = self._write_rows(key, epoch, counted, file, left_out)
        whole = self.unreadable | {value.place for value in odd if value.property in key}
        if left_out:
            there = f"{AT} IN ({', '.join(map(str, sorted(left_out)))}) AND {_there(key)}"
            left_out = {place for (place,) in self.con.execute(f"SELECT {AT} FROM ({self._sql()}) WHERE {there}").fetchall()}
        runs = set[int]()
        if kept + len(left_out) + len(self.unheld) < self.records:
            keyless = [value for value in self._keyless(key) if value.place not in whole]
            odd, whole = sorted(odd + keyless, key=attrgetter("place")), whole | {value.place for value in keyless}
            runs = {run_of(self._head_of(place)[0].name) for place in whole - self.unheld} or {run_of(head.name) for head in self.heads}
        return Staged(
            files=[file],
            read=self.records if counted else 0,
            rejected=self.records - kept if counted else 0,
            rejected_values=sum(1 for value in odd if value.place not in whole | left_out) if counted else 0,
            rejects=[self._reject(value, value.place in whole | left_out) for value in odd],
            keys=[self._write_places(key, left_out)] if left_out else [],
            unreadable_in=runs,
        )

    def write_keys(self, key: Sequence[str], wanted: Mapping[str, Sequence[Part]]) -> str:
        """A file of the keys that can be read, of the records that are wanted, and of the run that brought each."""
        self._read()
        file, columns = str(self.stem.with_suffix(".parquet")), ", ".join([*map(quoted, key), self._run])
        spans = []
        for start, head in zip(self.starts, self.heads, strict=True):
            for part in wanted[head.name]:
                behind = head.records if part.behind is None else part.behind
                spans.append(f"({AT} >= {start + part.first} AND {AT} < {start + behind})")
        self.con.execute(
            f"COPY (SELECT {columns} FROM ({self._sql()}) WHERE {_there(key)} AND ({' OR '.join(spans)})) TO {text(file)} (FORMAT parquet)"
        )
        return file

    def _write_places(self, key: Sequence[str], places: Collection[int]) -> str:
        """A file of the keys at some places, and of the run that brought each."""
        file, columns = str(self.stem.with_suffix(".keys.parquet")), ", ".join([*map(quoted, key), self._run])
        listed = ", ".join(map(str, sorted(places)))
        self.con.execute(f"COPY (SELECT {columns} FROM ({self._sql()}) WHERE {AT} IN ({listed})) TO {text(file)} (FORMAT parquet)")
        return file

    @property
    def _run(self) -> str:
        """The run of a record."""
        later = zip(reversed(self.starts[1:]), reversed(self.heads[1:]), strict=True)
        cases = " ".join(f"WHEN {AT} >= {start} THEN {run_of(head.name)}" for start, head in later)
        first = run_of(self.heads[0].name)
        return f"CAST({f'CASE {cases} ELSE {first} END' if cases else first} AS BIGINT) AS _syncer_run"

    def _head_of(self, place: int) -> tuple[Head, int]:
        """The segment of a record, and its line there (from 1)."""
        span = self.spans[bisect_right(self.spans, place, key=attrgetter("first")) - 1]
        return self.heads[span.head], place - span.first + span.line

    def _spans(self) -> Iterator[_Span]:
        """The records in rows that have no gap: of an unthinned segment, all."""
        for number, (start, head) in enumerate(zip(self.starts, self.heads, strict=True)):
            there = lines(head, self.hub.moved(self.collection, head.name)) if head.moved else range(1, head.records + 1)
            edges = [at for at in range(len(there)) if at == 0 or there[at] != there[at - 1] + 1] if head.moved else [0]
            for first, behind in pairwise([*edges, len(there)]):
                yield _Span(start + first, start + behind, there[first], number)

    def _read(self) -> list[_OddValue]:
        """Fill the tables; gives what had to be rejected. Raises HubError where a segment is not as it was written, and names it."""
        import duckdb

        file = self.stem.with_suffix(".values.csv")
        try:
            found = self.extract(self._wanted(), file)
            self.refused.update(found.refused)
            self.con.execute(f"CREATE OR REPLACE TEMP TABLE plain AS {self.projection.select(str(file), found.longest)}")
        except (duckdb.IOException, duckdb.OutOfMemoryException):
            raise
        except duckdb.Error as error:
            raise HubError(f"{self._named()}: cannot be read ({type(error).__name__})") from error
        finally:
            file.unlink(missing_ok=True)
        (read,) = self.con.execute("SELECT count(*) FROM plain").fetchone() or (0,)
        if read != self.records:
            raise HubError(f"{self._named()}: {read:,} of {self.records:,} records were read; report this with the hub")
        return self._mend()

    def _wanted(self) -> Extraction:
        own, parents = self.projection.own_paths, self.projection.parents_paths
        segments = [
            Stored(head.name, head.records, self.hub.data(self.collection, head.name), list(self._slices(head)) if parents else ())
            for head in self.heads
        ]
        return Extraction(self.collection, segments, own, parents, self.projection.digested)

    def _write_rows(self, key: Sequence[str], epoch: Callable[[str], int], counted: bool, file: str, left_out: Collection[int]) -> int:
        """Write the rows that have a key, but for those left out, with where each lies and how new it is; gives how many they are."""
        there = _there(key) + (f" AND {AT} NOT IN ({', '.join(map(str, sorted(left_out)))})" if left_out else "")
        identity = self.hub.identity()
        prefix = f"{identity.id if identity else ''}/{self.collection}/"
        spans = ", ".join(f"({span.first}, {span.behind}, {span.line}, {span.head})" for span in self.spans)
        segments = ", ".join(
            f"({number}, {text(prefix + head.name + '#')}, {epoch(head.name)}, {run_of(head.name)}, "
            f"{int(head.leg.partition('-')[2])}, {head.number}, {head.began})"
            for number, head in enumerate(self.heads)
        )
        columns = ", ".join(f"r.{quoted(name)}" for name in [*self.projection.properties, *self._digest])
        written = self.con.execute(
            f"COPY (SELECT {columns}, p.segment || p.line AS _segment, p.epoch AS _syncer_epoch, p.run AS _syncer_run, "
            f"p.ordinal AS _syncer_ordinal, p.number AS _syncer_number, p.line AS _syncer_line, {counted} AS _syncer_counted, "
            f"p.began AS _syncer_at "
            f"FROM (SELECT * FROM ({self._sql()}) WHERE {there}) AS r "
            f"JOIN (SELECT s.*, unnest(range(first, behind)) AS place, place - first + first_line AS line "
            f"FROM (VALUES {spans}) AS l(first, behind, first_line, head) "
            f"JOIN (VALUES {segments}) AS s(head, segment, epoch, run, ordinal, number, began) USING (head)) AS p ON r.{AT} = p.place) "
            f"TO {text(file)} (FORMAT parquet)"
        ).fetchone()
        return int(written[0]) if written else 0

    def _keyless(self, key: Sequence[str]) -> list[_OddValue]:
        """The records in which some property of the key has no value, by the first of them."""
        first = "CASE " + " ".join(f"WHEN {quoted(name)} IS NULL THEN {text(name)}" for name in key) + " END"
        rows = self.con.execute(f"SELECT {AT}, {first} FROM ({self._sql()}) WHERE NOT ({_there(key)}) ORDER BY {AT}").fetchall()
        return [_OddValue(place, name, self.projection.properties[name].type.text, "null", _NO_KEY) for place, name in rows]

    def _reject(self, value: _OddValue, whole: bool) -> RejectedValue:
        head, line = self._head_of(value.place)
        return RejectedValue(f"{self.collection}/{head.name}", line, value.property, value.type, value.raw, value.reason, whole)

    @property
    def _digest(self) -> list[str]:
        return [DIGEST] if self.projection.digested else []

    def _sql(self) -> str:
        """The rows with what was mended in them; what is odd is NULL in `plain`."""
        if not self.mended:
            return "SELECT * FROM plain"
        columns = [f"plain.{AT}", *(f"plain.{name}" for name in self._digest)]
        for name, prop in self.projection.properties.items():
            mended = f", {prop.column_type.literal(f'mended.{quoted(name)}')}" if name in self.mended else ""
            columns.append(f"coalesce(plain.{quoted(name)}{mended}) AS {quoted(name)}")
        return f"SELECT {', '.join(columns)} FROM plain LEFT JOIN mended ON plain.{AT} = mended.{AT}"

    def _mend(self) -> list[_OddValue]:
        """Read what is odd the slow exact way, into the table `mended`; gives what had to be rejected, in the records' order."""
        properties = list(self.projection.properties.items())
        odd: dict[int, list[int]] = {ordinal: list(self.refused) for ordinal in range(len(properties)) if self.refused}
        for place, ordinals in self.con.execute(f"SELECT {AT}, {ODD} FROM plain WHERE {ODD} <> ''").fetchall():
            for ordinal in map(int, () if place in self.refused else ordinals.split()):
                odd.setdefault(ordinal, []).append(place)
        if not odd:
            return []
        rejects: list[_OddValue] = []
        columns: dict[str, dict[int, str | None]] = {}
        for ordinal, places in sorted(odd.items()):
            name, prop = properties[ordinal]
            columns[name] = {}
            for place, raw in self._raws(prop.reader(name), places, self._parents() if prop.parent else self._records()):
                try:
                    columns[name][place] = prop.value(raw)
                except Reject as reject:
                    rejects.append(_OddValue(place, name, prop.type.text, _shown(raw or "null"), str(reject)))
        mended = sorted(set().union(*odd.values()) - self.unreadable)
        fill(self.con, self.stem, "mended", mended, {name: list(map(values.get, mended)) for name, values in columns.items()})
        self.mended = list(columns)
        lines = {place: self._records()[place].decode("utf-8", "surrogateescape") for place in self.unreadable}
        rejects = [reject for reject in rejects if reject.place not in lines]
        rejects += [_OddValue(place, "", "", _shown(line), _NOT_JSON) for place, line in lines.items()]
        return sorted(rejects, key=attrgetter("place"))

    def _take_out(self, key: Sequence[str]) -> list[_OddValue]:
        """What the warehouse cannot hold is rejected, and NULL from now on: `plain` is made anew, with what was mended in it."""
        unfit, found = self.projection.unfit, list[_OddValue]()
        is_unfit = [f"coalesce({one.condition}, false)" for one in unfit]
        if not unfit or not self.con.execute(f"SELECT 1 FROM ({self._sql()}) WHERE {' OR '.join(is_unfit)} LIMIT 1").fetchall():
            return []
        conditions: dict[str, list[str]] = {}
        for one, condition in zip(unfit, is_unfit, strict=True):
            conditions.setdefault(one.property, []).append(condition)
            prop = self.projection.properties[one.property]
            places = [place for (place,) in self.con.execute(f"SELECT {AT} FROM ({self._sql()}) WHERE {condition}").fetchall()]
            raws = self._raws(prop.reader(one.property), places, self._parents() if prop.parent else self._records()) if places else []
            found += [_OddValue(place, one.property, prop.type.text, _shown(raw or "null"), one.why) for place, raw in raws]
            self.unheld |= set(places) if one.property in key else set()
        fit = (f"CASE WHEN NOT ({' OR '.join(odd)}) THEN {quoted(name)} END AS {quoted(name)}" for name, odd in conditions.items())
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE plain AS SELECT * REPLACE ({', '.join(fit)}) FROM ({self._sql()})")
        self.mended = []
        return found

    def _raws(
        self, read: Callable[[Sequence[bytes]], list[str | None]], places: Sequence[int], documents: Sequence[bytes]
    ) -> list[tuple[int, str | None]]:
        """What a reader reads of the documents at these places; those that it cannot read are left out, and noted as unreadable."""
        there = [place for place in places if place not in self.unreadable]
        try:
            return list(zip(there, read([documents[place] for place in there]), strict=True))
        except (ValueError, LookupError, RuntimeError):
            if len(there) > 1:
                return [found for place in there for found in self._raws(read, [place], documents)]
            self.unreadable |= set(there)
            return []

    def _records(self) -> list[bytes]:
        """All records, from checked segments. Raises HubError."""
        if self._lines is None:
            self._lines = [line for head in self.heads for line in self.hub.records(self.collection, head.name)]
        return self._lines

    def _slices(self, head: Head) -> Iterator[tuple[int, bytes]]:
        """Of each slice, how many records it has, and the parent's values as JSON; null where none are kept."""
        slices = self.hub.slices(self.collection, head.name) or [Slice(0, 1, head.records, None)]
        if (records := sum(one.records for one in slices)) != head.records:
            raise Damaged(f"{self.collection}/{head.name}", f"its lists have {records:,} records, and its head says {head.records:,}")
        for one in slices:
            yield one.records, msgspec.json.encode(one.parent)

    def _parents(self) -> list[bytes]:
        """The parent's values, for each record."""
        return [parent for head in self.heads for records, parent in self._slices(head) for _ in range(records)]

    def _named(self) -> str:
        others = f" or one of the {len(self.heads) - 1} after it" if len(self.heads) > 1 else ""
        return f"segment {self.collection}/{self.heads[0].name}{others}"


def _shown(raw: str) -> str:
    """A text as one that any warehouse can hold."""
    return raw.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\u0000")


def _there(key: Sequence[str]) -> str:
    return " AND ".join(f"{quoted(name)} IS NOT NULL" for name in key)


def fill(con: DuckDBPyConnection, stem: Path, table: str, places: Sequence[int], columns: Mapping[str, Sequence[str | None]]) -> None:
    """A temporary table of texts by place. It goes through a file: DuckDB 1.5 takes long over Python's lists."""
    file, longest = stem.with_suffix(f".{table}.ndjson"), 0
    with file.open("wb") as out:
        for row in zip(places, *columns.values(), strict=True):
            line = msgspec.json.encode({str(number): value for number, value in enumerate(row)})
            longest = max(longest, len(line))
            out.write(line + b"\n")
    types = ", ".join(f"'{number}': '{'VARCHAR' if number else 'BIGINT'}'" for number in range(len(columns) + 1))
    names = ", ".join(f"{quoted(str(number))} AS {quoted(name)}" for number, name in enumerate([AT, *columns]))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {names} FROM read_json({text(str(file))}, columns = {{{types}}}, "
        f"format = 'newline_delimited', maximum_object_size = {max(_SMALLEST_OBJECT_LIMIT, 2 * longest)})"
    )
    file.unlink()
