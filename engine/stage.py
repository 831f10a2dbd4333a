"""Segments -> typed rows in Parquet files: carries out projections in a DuckDB that can reach nothing, and counts keys in another. I/O.

Values are taken out of records here, or, of many, in a process beside this one. Neither DuckDB has a warehouse attached, network, settings
that can be changed, or files but those of the stage's own temporary folder. Work is cut into pieces of some megabytes, so that memory does
not grow with what is loaded.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock, RLock, Semaphore
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec.structs import replace

from . import spec
from .columns import Boolean, Integer, Reject, Timestamp
from .errors import HubError
from .extract import Extracted, Extraction, extract
from .helper import Helper
from .hub import Head, Hub
from .hub.folder import make_folder
from .hub.segment import run_of
from .lists import Part, readable
from .newness import ORDER_COLUMNS, Newness
from .piece import Piece, Staged, fill
from .plan import AsOf, WholeList
from .project import DIGEST, Projection, Unfit, key_projection, lines_of, quoted, row_projection, text, version_projection
from .properties import Property
from .spare import duckdb_in_memory

if TYPE_CHECKING:
    from types import TracebackType

    from duckdb import DuckDBPyConnection

T = TypeVar("T")

PIECE_BYTES = 12 * 2**20
WORKERS = min(4, os.cpu_count() or 1)
MEMORY = "400MB"
HELPED_FROM = 2 * 2**20
"""How many bytes of (compressed) segments are extracted here before another process is begun for the others: that takes 0.1 s."""
COUNTING_MEMORY = "40MB"
"""For keys that are counted and compared, which may be many millions: what is more spills, and takes no longer."""
_CAUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
"""What may keep a file from being written: DuckDB says it in the system's words, with more around them."""


class Stage:
    """A folder of temporary files in the hub, and locked DuckDBs. Use it as a context manager, under the lock `name`.

    What is staged is for one piece of `work`: its files are gone when that ends, or, after a crash, when the next stage of
    this name opens.
    """

    def __init__(self, hub: Hub, name: str = "stage", workers: int = WORKERS) -> None:
        self.hub, self._workers = hub, workers
        self._at_work = Semaphore(workers)
        self.folder = hub.local / "stage" / name
        self._made = 0
        self._lock, self._starting = RLock(), Lock()
        self._con: DuckDBPyConnection | None = None
        self._counter: DuckDBPyConnection | None = None
        self._helper, self._extracted = Helper(), 0

    def __enter__(self) -> Stage:
        self._clear()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with ExitStack() as stack:
            stack.callback(self._clear)
            stack.callback(self._helper.close)
            for con in (self._con, self._counter):
                if con is not None:
                    stack.callback(con.close)

    def let_work(self, workers: int) -> None:
        """So many pieces may be at work at once from now on, if they were fewer."""
        if workers > self._workers:
            self._at_work.release(workers - self._workers)
            self._workers = workers

    @contextmanager
    def work(self) -> Iterator[None]:
        """While it goes on, what is staged stays. One piece of work waits for the other."""
        with self._lock:
            try:
                yield
            finally:
                for file in self.folder.glob("*.*"):
                    file.unlink()

    def _clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _connection(self) -> DuckDBPyConnection:
        with self._starting:  # pieces are at work side by side
            if self._con is None:
                self._con = self._started("spill", MEMORY)
            return self._con

    def _counted(self, select: str) -> list[int]:
        """The numbers that a SELECT over keys gives. One piece of `work` asks at a time."""
        import duckdb

        with self._writing():
            self._counter = self._counter or self._started("counting", COUNTING_MEMORY)
            try:
                (row,) = self._counter.execute(select).fetchall()
            except duckdb.OutOfMemoryException:  # keys may be very long
                (row,) = self._connection().execute(select).fetchall()
        return list(map(int, row))

    def _started(self, spill: str, memory: str) -> DuckDBPyConnection:
        with self._writing():
            make_folder(self.folder)
        return _locked_connection(self.folder.resolve(), spill, memory)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Whatever keeps the stage's files from being written is a HubError that says so."""
        import duckdb

        try:
            yield
        except duckdb.OutOfMemoryException as error:
            what = f"{MEMORY} of memory, and the disk space beside them, are too little to stage some records"
            raise HubError(f"{self.hub}: {what}; free space, or declare fewer properties, and none for the longest values") from error
        except (OSError, duckdb.IOException) as error:
            causes = (os.strerror(number) for number in _CAUSES if os.strerror(number) in str(error))
            why = next(causes, type(error).__name__)
            raise HubError(f"{self.hub}: records cannot be staged in it ({why}); free space, or correct its permissions") from error

    def rows(
        self,
        name: str,
        collection: spec.Collection,
        segments: Sequence[str],
        epoch: Callable[[str], int],
        counted: bool,
        into: Staged,
        unfit: Sequence[Unfit] = (),
        receive: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Project segments, in the hub's order, and add them to what is staged; each file is given to `receive` as it is there. Raises
        HubError for a damaged segment."""
        strict = frozenset(word for word in collection.properties if collection.on_reject_of(word) == "record")
        projection = row_projection(collection, unfit)
        for part in self._each(name, projection, segments, lambda piece: piece.stage(collection.key, epoch, counted, strict)):
            into.add(part)
            for file in part.files:
                receive(file)

    def told(
        self, name: str, feed: spec.Collection, key: Sequence[str], new: Sequence[str], before: Sequence[str], into: Staged
    ) -> list[str]:
        """Files of the deletions that a feed tells in the segments `new` and has not told `before`; rejects are added to what is staged.

        Their columns are those that `destinations.Told` names. A deletion with a time is of the run in which it was told first. Without
        times, the list names what is deleted now: a key that comes into it is deleted then, and still when it stood there for the last
        time, for what had come by then is not newer. Times of whole seconds look earlier than they are.
        """
        staged, earlier = Staged(), Staged()
        self.rows(name, feed, new, lambda _: 0, True, staged)
        self.rows(name, feed, before if feed.cursor else (), lambda _: 0, False, earlier)
        into.rejects += staged.rejects
        if not staged.files:
            return []
        rows = _parquet(staged.files + earlier.files)
        found = _timed(feed, key, rows) if feed.cursor else _untimed(key, rows, sorted({run_of(segment) for segment in new}))
        file = str(self.folder.resolve() / f"{self._next():06}.parquet")
        self._connection().execute(f"COPY ({found}) TO {text(file)} (FORMAT parquet)")
        return [file]

    def lists(self, collection: spec.Collection, parent_key: Sequence[str], lists: Sequence[WholeList]) -> list[str]:
        """Files of the parents of some whole lists, with the columns that `destinations.LISTS` names; one without a readable key tells of
        none."""
        properties = {word: collection.properties[word] for word in parent_key}
        readers = {word: prop.reader(word) for word, prop in properties.items()}
        rows = [(values, one) for one in lists if (values := _parents_values(properties, readers, one)) is not None]
        if not rows:
            return []
        stem = self.folder.resolve() / f"{self._next():06}"
        places = {
            "told_in": [str(run_of(one.first)) for _, one in rows],
            "ended_in": [str(run_of(one.last)) for _, one in rows],
            "began": [str(one.began) for _, one in rows],
        }
        texts = {f"p_{word}": [values[word] for values, _ in rows] for word in properties}
        named = ", ".join(f"{prop.column_type.literal(quoted(f'p_{word}'))} AS {quoted(word)}" for word, prop in properties.items())
        with self._writing(), self._connection().cursor() as con:
            fill(con, stem, "lists", range(len(rows)), {**places, **texts})
            con.execute(
                f"COPY (SELECT {named}, told_in::BIGINT AS _syncer_told_in, ended_in::BIGINT AS _syncer_ended_in, "
                f"make_timestamptz(began::BIGINT) AS _syncer_gone_at FROM lists) TO {text(f'{stem}.parquet')} (FORMAT parquet)"
            )
        return [f"{stem}.parquet"]

    def _lacking(self, name: str, collection: spec.Collection, then: AsOf, parent_key: Sequence[str]) -> list[str]:
        """Files like those of `told` of the keys that whole lists lack."""
        staged = Staged()
        keys = self.keys(name, collection, then.segments, staged)
        lists = self.lists(collection, parent_key, readable(then.lists, staged.unreadable_in))
        if not lists or not keys:
            return []
        file, held = str(self.folder.resolve() / f"{self._next():06}.parquet"), _parquet(keys)
        with self._writing():
            self._connection().execute(
                f"COPY (SELECT * EXCLUDE (_syncer_ended_in), NULL::TIMESTAMPTZ AS _syncer_gone_by "
                f"FROM ({_newness(collection).lacking(_parquet(lists), parent_key, [held], [held])})) TO {text(file)} (FORMAT parquet)"
            )
        return [file]

    def keys(self, name: str, collection: spec.Collection, segments: Sequence[str], into: Staged) -> list[str]:
        """Files of the keys in some segments, with the run of each; what is staged learns of which runs some could not be read."""
        parts, files = {segment: [Part(segment)] for segment in segments}, list[str]()
        written = self._each(name, key_projection(collection), segments, lambda piece: piece.write_keys(collection.key, parts))
        for heads, file in zip(self._pieces(name, segments), written, strict=True):
            files.append(file)
            ((found,),) = self._connection().execute(f"SELECT count(*) FROM read_parquet({text(file)})").fetchall()
            if found < sum(head.records for head in heads):
                into.add(Staged(unreadable_in={run_of(head.name) for head in heads}))
        return files

    def count_keys(self, name: str, collection: spec.Collection, parts: Sequence[Part]) -> tuple[int, int]:
        """How many records have a readable key, and how many different keys there are."""
        keys = self._keys(name, collection, parts)
        listed = ", ".join(map(quoted, collection.key))
        readable, distinct = self._counted(f"SELECT count(*), count(DISTINCT k) FROM (SELECT row({listed}) AS k FROM {keys})")
        return readable, distinct

    def count_lines(self, files: Sequence[Path], longest: int) -> int:
        """How many different lines some files have, each a JSON text of at most so many bytes."""
        if not files:
            return 0
        lines = lines_of([str(file.resolve()) for file in files], ["line"], longest)
        (distinct,) = self._counted(f"SELECT count(DISTINCT line) FROM {lines}")
        return distinct

    def lasting(self, what: str) -> Path:
        """A name for a file of lines that stays until the stage closes."""
        folder = self.folder / what
        with self._writing():
            make_folder(folder)
        return folder / f"{self._next():06}.ndjson"

    def append(self, file: Path, lines: bytes) -> None:
        """Write more lines into a file. Raises HubError."""
        with self._writing(), file.open("ab") as out:
            out.write(lines)

    def count_missing(self, name: str, collection: spec.Collection, held: Sequence[Part], met: Sequence[Part]) -> int:
        """How many keys of the parts `held` are in none of the parts `met`."""
        if not held:
            return 0
        had, has = self._keys(name, collection, held), self._keys(name, collection, met)
        keys = ", ".join(map(quoted, collection.key))
        (missing,) = self._counted(f"SELECT count(*) FROM (SELECT {keys} FROM {had} EXCEPT SELECT {keys} FROM {has})")
        return missing

    def parents(
        self, name: str, collection: spec.Collection, words: Sequence[str], parent_key: Sequence[str], now: AsOf, before: AsOf | None
    ) -> Path:
        """A file of the records that were alive, in the order of their keys, a JSON object a line; it stays until the stage closes.

        Each holds the values of the properties `words` as `parent`, and whether the record was there `before` (`known`), and was
        the same then (`same`), byte for byte. `parent_key` names whose list a record itself is of.
        """
        with self.work():
            newest, older = (self._alive(name, collection, some, parent_key, then) for some, then in ((words, now), ((), before)))
            kept = ", ".join(f"{quoted(word)} := {_plain(collection, word)}" for word in words)
            keys, file = ", ".join(map(quoted, collection.key)), self.lasting("parents")
            with self._writing():
                self._connection().execute(
                    f"COPY (SELECT struct_pack({kept}) AS parent, o._segment IS NOT NULL AS known, "
                    f"coalesce(n.{DIGEST} = o.{DIGEST}, false) AS same FROM {newest} AS n LEFT JOIN {older} AS o USING ({keys}) "
                    f"ORDER BY {keys}) TO {text(str(file.resolve()))} (FORMAT json)"
                )
        return file

    def _alive(self, name: str, collection: spec.Collection, words: Sequence[str], parent_key: Sequence[str], then: AsOf | None) -> str:
        """A table expression: the newest version of each record, as a collection was, without those that were told to be gone."""
        told = self._lacking(name, collection, then, parent_key) if then and then.lists else []
        if then and then.told and collection.feed:
            told += self.told(spec.feed_name(name), collection.feed, collection.key, then.told, (), Staged())
        projection, newness = version_projection(collection, words), _newness(collection)
        staged = self._staged(name, collection, projection, then.segments, then.epoch) if then else Staged()
        columns = {quoted(word): prop.column_type.duckdb for word, prop in projection.properties.items()} | {DIGEST: "VARCHAR"}
        if not staged.files:
            typed = (f"NULL::{kind} AS {column}" for column, kind in {**columns, "_segment": "VARCHAR"}.items())
            return f"(SELECT {', '.join(typed)} WHERE false)"
        rows, gone = _parquet(staged.files), ""
        if told:
            deletions = _parquet(told)
            gone = f"WHERE NOT EXISTS (SELECT 1 FROM {deletions} AS e WHERE {newness.same('e', 'n')} AND {newness.was_told('n')})"
            rows = newness.in_eras(rows, f"({newness.eras(rows, deletions)})", columns)
        of_key = f"PARTITION BY {', '.join(map(quoted, collection.key))} ORDER BY {newness.newest('b')}"
        return f"(FROM (FROM {rows} AS b QUALIFY row_number() OVER ({of_key}) = 1) AS n {gone})"

    def replaced(
        self, name: str, collection: spec.Collection, segments: Sequence[str], epoch: Callable[[str], int]
    ) -> Iterator[tuple[str, dict[int, str]]]:
        """The segments that have older versions of records: of each the lines of these, and where the newest ones lie (`segment#line`).

        What has no readable key, or is left out of the table, replaces nothing and is never replaced. What was received after the newest
        version stays: it shows that the record was there, and may be what counts since a deletion. Of a feed without times, each run in
        which a key came into the list stays, and the last one that had it.
        """
        with self.work():
            file = text(str(self.folder.resolve() / f"{self._next():06}.parquet"))
            strict = frozenset(word for word in collection.properties if collection.on_reject_of(word) == "record")
            staged = self._staged(
                name, collection, replace(version_projection(collection, sorted(strict)), digested=False), segments, epoch, strict
            )
            if not staged.files:
                return
            keys, place = ", ".join(map(quoted, collection.key)), f"row({', '.join(ORDER_COLUMNS[1:])})"
            newest = f"OVER (PARTITION BY {keys} ORDER BY {_newness(collection).newest('b')})"
            goes = f"{place} {'<>' if collection.mode == 'append' else '<'} first_value({place}) {newest}"
            if spec.is_feed(name) and not collection.cursor:
                goes = f"NOT ({_comes_or_stays(keys, sorted(set(map(run_of, segments))))})"
            found = f"SELECT *, first_value(_segment) {newest} AS newest, {goes} AS goes FROM {_parquet(staged.files)} AS b"
            with self._writing():
                self._connection().execute(
                    f"COPY (SELECT split_part(string_split(_segment, '/')[-1], '#', 1) AS segment, _syncer_line AS line, "
                    f"string_split(newest, '/')[-1] AS newest FROM ({found}) WHERE goes ORDER BY segment, line) "
                    f"TO {file} (FORMAT parquet)"
                )
            con = self._connection()
            for (segment,) in con.execute(f"SELECT DISTINCT segment FROM read_parquet({file}) ORDER BY segment").fetchall():
                gone = con.execute(
                    f"SELECT line, newest FROM read_parquet({file}) WHERE segment = {text(segment)} ORDER BY line"
                ).fetchall()
                yield segment, dict(gone)

    def _staged(
        self,
        name: str,
        collection: spec.Collection,
        projection: Projection,
        segments: Sequence[str],
        epoch: Callable[[str], int],
        strict: frozenset[str] = frozenset(),
    ) -> Staged:
        """Some segments' rows, of which nothing is counted."""
        staged = Staged()
        for part in self._each(name, projection, segments, lambda piece: piece.stage(collection.key, epoch, False, strict)):
            staged.add(part)
        return staged

    def _keys(self, name: str, collection: spec.Collection, parts: Sequence[Part]) -> str:
        """A table expression: the keys in some parts of segments."""
        wanted: dict[str, list[Part]] = {}
        for part in parts:
            wanted.setdefault(part.segment, []).append(part)
        files = list(self._each(name, key_projection(collection), list(wanted), lambda piece: piece.write_keys(collection.key, wanted)))
        if files:
            return f"read_parquet([{', '.join(map(text, files))}])"
        columns = ", ".join(f"NULL::{collection.properties[key].column_type.duckdb} AS {quoted(key)}" for key in collection.key)
        return f"(SELECT {columns} WHERE false)"

    def _each(self, name: str, projection: Projection, segments: Sequence[str], work: Callable[[Piece], T]) -> Iterator[T]:
        """What a piece of work gives for each piece of the segments, in order. Several are at work at once."""

        def alone(heads: Sequence[Head], stem: Path) -> T:
            with self._at_work, self._writing(), self._connection().cursor() as con:
                return work(Piece(con, self.hub, stem, projection, name, heads, self._extract))

        pieces = list(self._pieces(name, segments))
        stems = [self.folder.resolve() / f"{self._next():06}" for _ in pieces]
        with ThreadPoolExecutor(WORKERS) as pool:
            yield from pool.map(alone, pieces, stems)

    def _extract(self, wanted: Extraction, file: Path) -> Extracted:
        """Into a file; by the other process, when enough was extracted that its start is worth it."""
        is_much = self._extracted > HELPED_FROM
        self._extracted += sum(len(segment.data) for segment in wanted.segments)
        with file.open("wb") as out:
            return (self._helper.extract(wanted, out) if is_much else None) or extract(wanted, out)

    def _pieces(self, name: str, segments: Sequence[str]) -> Iterator[list[Head]]:
        """Segments to read in one go: as many as make some megabytes; those without records are passed over."""
        heads, size = list[Head](), 0
        for segment in segments:
            head = self.hub.head(name, segment)
            if heads and size + head.raw_bytes > PIECE_BYTES:
                yield heads
                heads, size = [], 0
            if head.records:
                heads.append(head)
                size += head.raw_bytes
        if heads:
            yield heads

    def _next(self) -> int:
        self._made += 1
        return self._made


def _parents_values(
    properties: Mapping[str, Property], readers: Mapping[str, Callable[[Sequence[bytes]], list[str | None]]], one: WholeList
) -> dict[str, str] | None:
    """The values that records take from their parent, as texts that their types read; None where one has none that can be read."""
    parent, values = msgspec.json.encode(one.parent), dict[str, str]()
    for word, prop in properties.items():
        try:
            value = prop.value(readers[word]([parent])[0])
        except Reject:
            return None
        if value is None:
            return None
        values[word] = value
    return values


def _plain(collection: spec.Collection, word: str) -> str:
    """A property's value as JSON can say it without loss: whole numbers and booleans as such, all else as text."""
    kind, name = collection.properties[word].column_type, f"n.{quoted(word)}"
    if isinstance(kind, Timestamp):
        return f"regexp_replace(strftime({name}, '%Y-%m-%dT%H:%M:%S.%f'), '\\.?0+$', '') || 'Z'"
    return name if isinstance(kind, Integer | Boolean) else f"CAST({name} AS VARCHAR)"


def _timed(feed: spec.Collection, key: Sequence[str], rows: str) -> str:
    """A SELECT of the deletions that a feed tells with their times: those of which no row was told before."""
    cursor = feed.cursor.property if feed.cursor else ""
    kind = feed.properties[cursor].column_type.duckdb
    time = f"CAST({quoted(cursor) if kind in ('TIMESTAMPTZ', 'DATE') else 'NULL'} AS TIMESTAMPTZ)"
    by = f"{time} + CASE WHEN {time} = date_trunc('second', {time}) THEN INTERVAL 1 SECOND ELSE INTERVAL 1 MICROSECOND END"
    return (
        f"SELECT {', '.join(map(quoted, key))}, min(_syncer_run) AS _syncer_told_in, "
        f"coalesce({time}, make_timestamptz(arg_min(_syncer_at, _syncer_run))) AS _syncer_gone_at, "
        f"{by if kind == 'TIMESTAMPTZ' else 'NULL::TIMESTAMPTZ'} AS _syncer_gone_by FROM {rows} "
        f"GROUP BY {', '.join(map(quoted, feed.key))} HAVING bool_and(_syncer_counted)"
    )


def _untimed(key: Sequence[str], rows: str, runs: Sequence[int]) -> str:
    """A SELECT of the deletions that a feed tells without times, of the `runs` in which it was read: of each key, the runs in which it came
    into the list, and the last one that had it."""
    keys = ", ".join(map(quoted, key))
    return (
        f"SELECT {keys}, _syncer_run AS _syncer_told_in, make_timestamptz(_syncer_at) AS _syncer_gone_at, "
        "NULL::TIMESTAMPTZ AS _syncer_gone_by "
        f"FROM (SELECT {keys}, _syncer_run, min(_syncer_at) AS _syncer_at FROM {rows} GROUP BY {keys}, _syncer_run) "
        f"QUALIFY {_comes_or_stays(keys, runs)}"
    )


def _comes_or_stays(keys: str, runs: Sequence[int]) -> str:
    """Whether a list, read in these runs, has a key in a row's run which it had not the time before, or has it for the last time."""
    nth, of_key = f"list_position([{', '.join(map(str, runs))}], _syncer_run)", f"OVER (PARTITION BY {keys} ORDER BY _syncer_run)"
    return f"coalesce({nth} - lag({nth}) {of_key} > 1, true) OR lead({nth}) {of_key} IS NULL"


def _newness(collection: spec.Collection) -> Newness:
    cursor = collection.cursor.property if collection.cursor else None
    is_instant = cursor is not None and isinstance(collection.properties[cursor].column_type, Timestamp)
    return Newness(collection.key, cursor, is_instant, collection.mode == "append", quoted)


def _parquet(files: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(text, files))}])"


def _locked_connection(folder: Path, spill: str, memory: str) -> DuckDBPyConnection:
    con = duckdb_in_memory()
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    con.execute("SET threads = 1")  # pieces are the threads: within one, DuckDB's own would only wait for each other
    con.execute(f"SET memory_limit = '{memory}'")
    con.execute(f"SET temp_directory = {text(str(folder / spill))}")
    con.execute("SET preserve_insertion_order = true")
    con.execute("SET disabled_optimizers = 'common_subexpressions'")  # it takes a square of the columns, and there are none to share
    con.execute(f"SET allowed_directories = [{text(f'{folder}/')}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con
