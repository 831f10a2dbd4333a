"""Segments -> typed rows in Parquet files: carries out a projection in a DuckDB that can reach nothing else. I/O.

The connection has no warehouse attached, no network, no settings to change, and no files but the hub's segments and its own
temporary folder. Work is cut into pieces of some megabytes, so that memory does not grow with what is loaded.
"""

from __future__ import annotations

import re
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .columns import Property, Reject
from .errors import HubError
from .hub import Head, Hub
from .hub.segment import run_of
from .project import AT, ODD, Projection, key_projection, quoted, row_projection, text
from .record import raw_at, reader
from .spec import Collection

if TYPE_CHECKING:
    from types import TracebackType

    from duckdb import DuckDBPyConnection

PIECE_BYTES = 48 * 2**20
MEMORY = "400MB"
_SMALLEST_OBJECT_LIMIT = 16 * 2**20
_MAYBE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

ORDER_COLUMNS = ("_syncer_epoch", "_syncer_run", "_syncer_ordinal", "_syncer_number", "_syncer_line")
"""With the cursor after the first of them, the order in which versions of a record are newer."""


@dataclass(frozen=True)
class RejectedValue:
    """A value that its type could not hold, or that a key could not do without: what lands in the rejects table."""

    segment: str
    line: int
    property: str
    type: str
    raw: str
    reason: str
    whole: bool
    """Whether the record was rejected with it."""


@dataclass
class Staged:
    """Rows ready for a warehouse: Parquet files with the properties' columns, `_segment`, the order columns and `_syncer_counted`."""

    files: list[str] = field(default_factory=list)
    read: int = 0
    """Counted records, rejected ones included."""
    rejected: int = 0
    """Counted records rejected as a whole."""
    rejected_values: int = 0
    rejects: list[RejectedValue] = field(default_factory=list)
    unreadable_since: int | None = None
    """The latest run of which some record's key could not be read: what is gone since then cannot be told."""


class Stage:
    """A folder of temporary files and a locked DuckDB, for one load. Use it as a context manager."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._folder = tempfile.TemporaryDirectory(prefix="syncer-")
        self.folder = Path(self._folder.name)
        self._made = 0
        self._con = _locked_connection([hub.root.resolve() / "segments", self.folder])

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._con.close()
        self._folder.cleanup()

    def rows(
        self, name: str, collection: Collection, segments: Sequence[str], epoch: Callable[[str], int], counted: bool, into: Staged
    ) -> None:
        """Project segments, in the hub's order, and add them to what is staged. Raises HubError for a damaged segment."""
        projection = row_projection(collection)
        for heads in self._pieces(name, segments):
            piece = _Piece(self._con, self.hub, self.folder, projection, name, heads)
            odd = piece.read()
            file = str(self.folder / f"rows-{self._next():06}.parquet")
            kept = piece.write_rows(collection.key, epoch, counted, file)
            into.files.append(file)
            whole = piece.unreadable | {value.place for value in odd if value.property in collection.key}
            if kept < piece.records:
                keyless = [value for value in piece.keyless(collection) if value.place not in whole]
                odd, whole = odd + keyless, whole | {value.place for value in keyless}
                runs = [run_of(piece.head_of(place)[0].name) for place in whole] or [run_of(heads[-1].name)]
                into.unreadable_since = max([into.unreadable_since or 0, *runs])
            if counted:
                into.read += piece.records
                into.rejected += piece.records - kept
                into.rejected_values += sum(1 for value in odd if value.place not in whole)
            for value in odd:
                head, line = piece.head_of(value.place)
                segment = f"{name}/{head.name}"
                into.rejects.append(
                    RejectedValue(segment, line, value.property, value.type, value.raw, value.reason, value.place in whole)
                )

    def count_keys(self, name: str, collection: Collection, segments: Sequence[str]) -> tuple[int, int]:
        """How many records have a readable key, and how many different keys there are."""
        keys = self._keys(name, collection, segments)
        row = self._con.execute(f"SELECT count(*), count(DISTINCT k) FROM (SELECT {_tuple(collection)} AS k FROM {keys})").fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def count_missing(self, name: str, collection: Collection, held: Sequence[str], met: Sequence[str]) -> int:
        """How many keys of the segments `held` are in none of the segments `met`."""
        if not held:
            return 0
        had, has = self._keys(name, collection, held), self._keys(name, collection, met)
        columns = ", ".join(quoted(key) for key in collection.key)
        row = self._con.execute(f"SELECT count(*) FROM (SELECT {columns} FROM {had} EXCEPT SELECT {columns} FROM {has})").fetchone()
        return int(row[0]) if row else 0

    def _keys(self, name: str, collection: Collection, segments: Sequence[str]) -> str:
        """A table of the keys in some segments."""
        projection, table = key_projection(collection), f"keys_{self._next()}"
        columns = ", ".join(f"{quoted(key)} {collection.properties[key].column_type.duckdb}" for key in collection.key)
        self._con.execute(f"CREATE TEMP TABLE {table} ({columns})")
        wanted = ", ".join(quoted(key) for key in collection.key)
        for heads in self._pieces(name, segments):
            piece = _Piece(self._con, self.hub, self.folder, projection, name, heads)
            piece.read()
            self._con.execute(f"INSERT INTO {table} SELECT {wanted} FROM ({piece.sql()}) WHERE {_there(collection.key)}")
        return table

    def _pieces(self, name: str, segments: Sequence[str]) -> Iterator[list[Head]]:
        """Segments to read in one go: as many as make some megabytes; those without records are passed over."""
        heads: list[Head] = []
        for segment in segments:
            head = self.hub.head(name, segment)
            if heads and sum(one.raw_bytes for one in heads) + head.raw_bytes > PIECE_BYTES:
                yield heads
                heads = []
            if head.records:
                heads.append(head)
        if heads:
            yield heads

    def _next(self) -> int:
        self._made += 1
        return self._made


@dataclass(frozen=True)
class _OddValue:
    place: int
    property: str
    type: str
    raw: str
    reason: str


class _Piece:
    """One projection over some segments: the table `plain`, and the table `mended` where records were odd.

    A record's place is counted through all of the segments, from 0.
    """

    def __init__(
        self, con: DuckDBPyConnection, hub: Hub, folder: Path, projection: Projection, collection: str, heads: Sequence[Head]
    ) -> None:
        self.con, self.hub, self.folder = con, hub, folder
        self.projection, self.collection, self.heads = projection, collection, heads
        self.records = sum(head.records for head in heads)
        self.starts = list(accumulate((head.records for head in heads[:-1]), initial=0))
        self.unreadable: set[int] = set()
        self.mended: list[int] = []
        self._lines: list[bytes] | None = None

    def head_of(self, place: int) -> tuple[Head, int]:
        """The segment of a record, and its line there (from 1)."""
        at = bisect_right(self.starts, place) - 1
        return self.heads[at], place - self.starts[at] + 1

    def read(self) -> list[_OddValue]:
        """Fill the tables; gives what had to be rejected. Raises HubError where the files are not as they were written."""
        import duckdb

        files = [str(self.hub.path(self.collection, head.name).resolve()) for head in self.heads]
        try:
            self._project(self._source(files, "zstd"))
        except duckdb.Error:
            cleaned = self._without_unreadable()
            try:
                self._project(self._source([cleaned], "none"))
            except duckdb.Error as error:
                raise HubError(f"{self._named()}: cannot be read ({type(error).__name__})") from None
        (found,) = self.con.execute("SELECT count(*) FROM plain").fetchone() or (0,)
        if found != self.records:
            raise HubError(f"{self._named()}: holds {found:,} records where its head says {self.records:,}; restore it")
        return self._mend()

    def write_rows(self, key: Sequence[str], epoch: Callable[[str], int], counted: bool, file: str) -> int:
        """Write the rows that have a key, with where each lies and how new it is; gives how many they are."""
        identity = self.hub.identity()
        prefix = f"{identity.id if identity else ''}/{self.collection}/"
        places = ", ".join(
            f"({start}, {text(prefix + head.name + '#')}, {epoch(head.name)}, {run_of(head.name)}, "
            f"{int(head.leg.partition('-')[2])}, {head.number})"
            for start, head in zip(self.starts, self.heads, strict=True)
        )
        columns = ", ".join(f"r.{quoted(name)}" for name in self.projection.properties)
        written = self.con.execute(
            f"COPY (SELECT {columns}, p.segment || (r.{AT} - p.{AT} + 1) AS _segment, p._syncer_epoch, p._syncer_run, "
            f"p._syncer_ordinal, p._syncer_number, r.{AT} - p.{AT} + 1 AS _syncer_line, {counted} AS _syncer_counted "
            f"FROM ({self.sql()}) AS r ASOF JOIN (VALUES {places}) "
            f"AS p({AT}, segment, _syncer_epoch, _syncer_run, _syncer_ordinal, _syncer_number) ON r.{AT} >= p.{AT} "
            f"WHERE {_there(key)}) TO {text(file)} (FORMAT parquet, COMPRESSION lz4)"
        ).fetchone()
        return int(written[0]) if written else 0

    def keyless(self, collection: Collection) -> list[_OddValue]:
        """The records in which some property of the key has no value."""
        key = collection.key
        rows = self.con.execute(f"SELECT {AT} FROM ({self.sql()}) WHERE NOT ({_there(key)}) ORDER BY {AT}").fetchall()
        why = "is the key, or part of it, and has no value"
        return [_OddValue(place, key[0], collection.properties[key[0]].type.text, "null", why) for (place,) in rows]

    def sql(self) -> str:
        """The rows with what was mended in them."""
        if not self.mended:
            return "SELECT * FROM plain"
        columns = [AT]
        for name, prop in self.projection.properties.items():
            mended = prop.column_type.literal(f"mended.{quoted(name)}")
            value = f"CASE WHEN mended.{AT} IS NULL THEN plain.{quoted(name)} WHEN mended.{quoted(name)} IS NOT NULL THEN {mended} END"
            columns.append(f"{value} AS {quoted(name)}")
        return f"SELECT {', '.join(columns)} FROM plain LEFT JOIN mended USING ({AT})"

    def _source(self, files: Sequence[str], compression: str) -> str:
        listed = ", ".join(text(file) for file in files)
        limit = max(_SMALLEST_OBJECT_LIMIT, 2 * max(head.longest for head in self.heads))
        return f"read_ndjson_objects([{listed}], compression = '{compression}', maximum_object_size = {limit})"

    def _project(self, source: str) -> None:
        if self.projection.exact:
            self._take_exact()
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE plain AS {self.projection.select(source)}")

    def _take_exact(self) -> None:
        """The table `exact`: what DuckDB would write anew (numbers, escapes), as the bytes that the API sent."""
        properties = {name: self.projection.properties[name] for name in self.projection.exact}
        paths = [path for name, prop in properties.items() for path in prop.paths(name)]
        read = reader(paths)
        columns: list[list[str | None]] = [[] for _ in properties]
        for place, line in enumerate(self.lines()):
            raws = [None] * len(paths) if place in self.unreadable else read(line)
            at = 0
            for column, (name, prop) in zip(columns, properties.items(), strict=True):
                width = len(prop.paths(name))
                column.append(prop.pick(raws[at : at + width]))
                at += width
        _fill(self.con, "exact", list(range(len(self.lines()))), dict(zip(properties, columns, strict=True)))

    def _mend(self) -> list[_OddValue]:
        """Read the odd records the slow exact way, into the table `mended`."""
        odd = [place for (place,) in self.con.execute(f"SELECT {AT} FROM plain WHERE {ODD} ORDER BY {AT}").fetchall()]
        rejects: list[_OddValue] = [
            _OddValue(place, "", "", self._shown(place), "the record holds text that no warehouse can: half a surrogate pair, or no JSON")
            for place in sorted(self.unreadable)
        ]
        self.mended = [place for place in odd if place not in self.unreadable]
        if not self.mended:
            return rejects
        columns: dict[str, list[str | None]] = {name: [] for name in self.projection.properties}
        for place in self.mended:
            record = self.lines()[place].decode("utf-8", "surrogatepass")
            for name, prop in self.projection.properties.items():
                value, reject = _slow(place, name, prop, record)
                columns[name].append(value)
                if reject:
                    rejects.append(reject)
        _fill(self.con, "mended", self.mended, columns)
        return rejects

    def lines(self) -> list[bytes]:
        if self._lines is None:
            self._lines = [line for head in self.heads for line in self.hub.records(self.collection, head.name)]
        return self._lines

    def _without_unreadable(self) -> str:
        """A copy of the records in which those that DuckDB cannot take at all are empty objects."""
        for place, line in enumerate(self.lines()):
            if not _is_readable(line, self.con):
                self.unreadable.add(place)
        file = self.folder / "cleaned.ndjson"
        with file.open("wb") as out:
            for place, line in enumerate(self.lines()):
                out.write((b"{}" if place in self.unreadable else line) + b"\n")
        return str(file)

    def _named(self) -> str:
        others = f" or one of the {len(self.heads) - 1} after it" if len(self.heads) > 1 else ""
        return f"segment {self.collection}/{self.heads[0].name}{others}"

    def _shown(self, place: int) -> str:
        return self.lines()[place].decode("utf-8", "backslashreplace").replace("\x00", "\\u0000")


def _slow(place: int, name: str, prop: Property, record: str) -> tuple[str | None, _OddValue | None]:
    try:
        return prop.read(name, record), None
    except Reject as reject:
        raw = next((raw for raw in (raw_at(record, path) for path in prop.paths(name)) if raw not in (None, "null")), None) or "null"
        shown = raw.encode("utf-8", "backslashreplace").decode()
        return None, _OddValue(place, name, prop.type.text, shown, str(reject))


def _there(key: Sequence[str]) -> str:
    return " AND ".join(f"{quoted(name)} IS NOT NULL" for name in key)


def _tuple(collection: Collection) -> str:
    return "row(" + ", ".join(quoted(key) for key in collection.key) + ")"


def _fill(con: DuckDBPyConnection, table: str, places: list[int], columns: dict[str, list[str | None]]) -> None:
    """A temporary table of texts by place. Lists go in whole: a row at a time takes a hundred times as long."""
    names = list(columns)
    listed = ", ".join(f"unnest($c{number}::VARCHAR[]) AS {quoted(name)}" for number, name in enumerate(names))
    values: dict[str, Any] = {f"c{number}": columns[name] for number, name in enumerate(names)}
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT unnest($places::BIGINT[]) AS {AT}, {listed}",
        {"places": places, **values},
    )


def _is_readable(line: bytes, con: DuckDBPyConnection) -> bool:
    """Whether DuckDB takes a record. Only called for a piece that it refused."""
    import duckdb

    if not _MAYBE_SURROGATE.search(line):
        try:
            line.decode()
        except UnicodeDecodeError:
            return False
    try:
        con.execute("SELECT json_type($1::JSON)", [line.decode()]).fetchone()
    except (duckdb.Error, UnicodeDecodeError):
        return False
    return True


def _locked_connection(folders: Sequence[Path]) -> DuckDBPyConnection:
    import duckdb

    con = duckdb.connect(":memory:")
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"SET memory_limit = '{MEMORY}'")
    con.execute(f"SET temp_directory = {text(str(folders[-1]))}")
    con.execute("SET preserve_insertion_order = true")
    listed = ", ".join(text(str(folder.resolve()) + "/") for folder in folders)
    con.execute(f"SET allowed_directories = [{listed}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con
