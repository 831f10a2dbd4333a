"""Whatever the order of changes, pulls, kills and loads: every table is what the hub alone says it is, after each load.

Small histories are made up at random, and those that fail are shortened. What a table should hold is worked out here from
the hub's raw files, by the rule of the design and with none of the engine's code.

SYNCER_EXAMPLES scales how many histories are tried (4), SYNCER_SEED tries others than the usual ones.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import shutil
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.ducks import idle
from tests.model import LISTS, Api, Death, carry_out, compacted, small_pieces, source
from tests.shop import WHOLE

EXAMPLES = int(os.environ.get("SYNCER_EXAMPLES", "16" if WHOLE else "4"))
SEED = os.environ.get("SYNCER_SEED", "1")
SECONDS_TO_SHORTEN = float(os.environ.get("SYNCER_SHORTEN", "60"))

KEYS = (1, 2, 3, 4, 5, 6)
LOWEST = -1
OUT = ("deletes: hard", "mode: snapshot")
"""The ways to keep rows in which those of what is gone are taken out."""


# What the hub says, read without the engine.


@dataclass(frozen=True)
class Version:
    """One record as it was received, and how new it is."""

    epoch: int
    cursor: int
    place: tuple[int, int, int, int]
    row: dict[str, Any]

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.epoch, self.cursor, self.place)


def read_segment(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A segment's head and its records: a skippable frame of JSON, then lines in zstd."""
    data = file.read_bytes()
    _, length = struct.unpack("<II", data[:8])
    start = 8 + length
    while (frame := struct.unpack("<II", data[start : start + 8]))[0] == 0x184D2A53:  # what was thinned
        start += 8 + frame[1]
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(data[start:]) if frame[0] == 0xFD2FB528 else b""
    return json.loads(data[8 : 8 + length]), [json.loads(line) for line in lines.splitlines()]


def shown(raw: dict[str, Any], with_size: bool) -> dict[str, Any]:
    """A record as its row shows it; an instant that is none is NULL."""
    row = {word: raw[word] for word in ("id", "name", "size", "updated_at") if with_size or word != "size"}
    return row if isinstance(row["updated_at"], int) else row | {"updated_at": None}


def era(version: Version, known: Sequence[Version], told: Sequence[tuple[float, int]]) -> int:
    """The run that told the last deletion before a version: none of which some version from before it was newer."""
    held = [run for at, run in told if not any(one.place[0] < run and one.cursor > at for one in known)]
    return max((run for run in held if run <= version.place[0]), default=0)


def place_of(name: str, line: int = 0) -> tuple[int, int, int, int]:
    run, ordinal, number = name.split("-")
    return int(run), int(ordinal), int(number), line


def _generation(file: str) -> int:
    """How often a segment was thinned: `000001-01-000000.2.ndjson.zst` twice, `000001-01-000000.ndjson.zst` never."""
    word = file.split(".")[1]
    return int(word) if word.isdecimal() else 0


class HubFiles:
    """The segments of one collection, as they lie in their folder."""

    def __init__(self, folder: Path, collection: str, feed: bool = True) -> None:
        places = [folder / where / collection for where in ("hub/model/segments", "archive")]
        files = {file.name: file for place in places for file in place.glob("*.zst")}
        names = sorted({file.partition(".")[0] for file in files})
        generations = {name: [file for file in files if file.partition(".")[0] == name] for name in names}
        self.segments = {name: read_segment(files[f"{name}.ndjson.zst"]) for name in names}
        """As they came."""
        self.left = {name: read_segment(files[max(generations[name], key=_generation)])[1] for name in names}
        """The records that each has by now."""
        self.is_thinned = any(len(known) > 1 for known in generations.values())
        self.feed = HubFiles(folder, f"{collection}.deleted", False) if feed else None

    def record(self, segment: str) -> dict[str, Any]:
        """The raw record to which a row's `_segment` points."""
        name, _, line = segment.rpartition("/")[2].partition("#")
        return self.segments[name][1][int(line) - 1]

    def passes(self, loaded: Sequence[str]) -> list[tuple[int, bool]]:
        """Of each complete pass whose end was loaded: the run at which it began, and whether it proved what is gone."""
        heads = [self.segments[name][0] for name in loaded]
        return [(place_of(head["chain"] + "-0")[0], head["ended"]["gone"]) for head in heads if head["ended"] and head["purpose"] == "full"]

    def table(self, loaded: Sequence[str], with_size: bool, rows: str = "") -> dict[int, tuple[dict[str, Any], bool]]:
        """What the rows must be, by key: the version that counts of each, and whether it is deleted."""
        passes = self.passes(loaded)
        versions = defaultdict[int, list[Version]](list)
        for name in loaded:
            for line, raw in enumerate(self.segments[name][1], start=1):
                place = place_of(name, line)
                epoch = max((run for run, _ in passes if run <= place[0]), default=0)
                row = shown(raw, with_size)
                cursor = LOWEST if row["updated_at"] is None else row["updated_at"]
                versions[raw["id"]].append(Version(epoch, cursor, place, row))
        told = self.feed.told(max((place_of(name)[0] for name in loaded), default=0)) if self.feed else {}
        if rows == "mode: append":
            return {key: (min(known, key=lambda one: one.place).row, False) for key, known in sorted(versions.items())}
        proven = max((run for run, gone in passes if gone or rows == "mode: snapshot"), default=0)
        table = {}
        for key, known in sorted(versions.items()):
            last = max(known, key=lambda one: (max(one.epoch, era(one, known, told.get(key, ()))), *one.order[1:]))
            went = any(run > last.place[0] and last.cursor <= at for at, run in told.get(key, ()))
            table[key] = (last.row, went or max(one.place[0] for one in known) < proven)
        return {key: row for key, row in table.items() if not row[1]} if rows.startswith(OUT) else table

    def told(self, until: int) -> dict[int, list[tuple[float, int]]]:
        """Of each key its deletions up to a run: the time, and the run in which it was told first; without times, all that told it."""
        runs = defaultdict[tuple[int, float], list[int]](list)
        for name, (_, raws) in self.segments.items():
            for raw in raws if place_of(name)[0] <= until else ():
                runs[raw["id"], raw.get("gone_at", math.inf)].append(place_of(name)[0])
        told = defaultdict[int, list[tuple[float, int]]](list)
        for (key, at), known in runs.items():
            told[key] += [(at, run) for run in (known if at == math.inf else [min(known)])]
        return told

    def loadable(self, rows: str) -> list[str]:
        """The segments that a load takes when it takes all it can."""
        names = list(self.segments)
        if rows != "mode: snapshot":
            return names
        heads = [self.segments[name][0] for name in names]
        return names[: max((place for place, head in enumerate(heads, 1) if head["ended"] and head["purpose"] == "full"), default=0)]


# What a warehouse says.


@dataclass
class Found:
    """One collection's table and receipts, as anyone may read them."""

    rows: dict[int, tuple[dict[str, Any], bool]]
    stamps: dict[int, tuple[int, int | None, str]]
    """Of each row: when it was written, when it was found deleted, and where its raw record lies."""
    receipts: list[dict[str, Any]]
    rejects: list[tuple[str, str]]
    """Where each rejected value lies, and its raw JSON."""
    loaded: list[str]
    """The segments that its manifests list, up to the last load."""
    with_size: bool
    versions: list[tuple[Any, ...]]
    """All rows of a table that keeps versions; `rows` are the last ones then."""

    segments: list[str]
    """Where the raw records of all of them lie."""

    def versions_of(self, key: int) -> list[tuple[Any, ...]]:
        return [one for one in self.versions if one[0] == key]


def nothing() -> Found:
    return Found({}, {}, [], [], [], False, [], [])


def look(folder: Path, warehouse: str, collection: str) -> Found:
    """A warehouse's side of a collection; nothing where it was never loaded."""
    file, found, con = folder / f"{warehouse}.duckdb", nothing(), idle()
    if not file.exists():
        return found
    con.execute(f"ATTACH '{file}' AS seen (READ_ONLY)")
    try:
        tables = {name for (name,) in con.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'seen'").fetchall()}
        if "_syncer_receipts" not in tables:
            return found
        receipts = con.execute("SELECT * EXCLUDE committed_at FROM seen.model._syncer_receipts WHERE load > 0 ORDER BY load")
        words = [column[0] for column in receipts.description or ()]
        found.receipts = [dict(zip(words, values, strict=True)) for values in receipts.fetchall()]
        assert (collection in tables) == (found.receipts != [])
        if not found.receipts:
            return found
        words = [name for name, *_ in con.execute(f"DESCRIBE seen.model.{collection}").fetchall() if not name.startswith("_")]
        found.with_size = "size" in words
        read = ", ".join(words).replace("updated_at", "epoch_us(updated_at) // 1000000")
        stamps = "epoch_us(_synced_at), epoch_us(_deleted_at), _segment"
        table = f"seen.model.{collection}"
        if con.execute(f"SELECT 1 FROM (DESCRIBE {table}) WHERE column_name = '_version'").fetchall():
            instants = "epoch_us(_valid_from), epoch_us(_valid_to), epoch_us(updated_at)"
            size = ", size" if found.with_size else ""
            columns = f"id, _version, name{size}, _segment, _deleted_at IS NOT NULL, {instants}"
            found.versions = con.execute(f"SELECT {columns} FROM {table} ORDER BY id, _version").fetchall()
            found.segments = [segment for (segment,) in con.execute(f"SELECT _segment FROM {table}").fetchall()]
            table = f"(FROM {table} QUALIFY _version = max(_version) OVER (PARTITION BY id))"
        rows = con.execute(f"SELECT {stamps}, {read} FROM {table} ORDER BY id")
        for synced, deleted, segment, *values in rows.fetchall():
            row = dict(zip(words, values, strict=True))
            assert row["id"] not in found.rows, f"{collection} holds {row['id']} twice"
            found.rows[row["id"]], found.stamps[row["id"]] = (row, deleted is not None), (synced, deleted, segment)
        rejects = con.execute("SELECT segment, raw FROM seen.model._syncer_rejects WHERE property = 'updated_at' ORDER BY ALL")
        found.rejects = rejects.fetchall()
    finally:
        con.execute("DETACH seen")
    for receipt in found.receipts:
        manifest = folder / "hub/model/loads" / receipt["warehouse"] / "model" / collection / f"{receipt['load']:06}.json"
        found.loaded += json.loads(manifest.read_text())["segments"]
    return found


def _check_versions(versions: Sequence[tuple[Any, ...]]) -> None:
    """One after the other, of each record: none overlaps with the next."""
    for one, following in itertools.pairwise(versions):
        if one[0] == following[0]:
            assert one[-2] is not None and one[-3] <= one[-2] <= following[-3], (one, following)


# One history.


class History:
    """Plays the history of one list, and looks after each load."""

    def __init__(self, folder: Path, collection: str, rows: str = "") -> None:
        self.folder, self.collection, self.rows = folder, collection, rows
        self.api = Api()
        self.sized = False
        self.known: dict[str, Found] = defaultdict(nothing)
        self.told: set[str] = set()
        """The warehouses that were waited for when the hub was thinned: even in the midst of their loads they show what they would have."""

    def play(self, event: Sequence[Any]) -> None:
        word, *rest = event
        if word in ("pull", "load", "run", "replay", "compact", "put_back"):
            getattr(self, f"_{word}")(*rest)
        else:
            self._happen(event)

    def finish(self) -> None:
        """The healing end: a quiet run gets all honest changes; a complete pass makes every table what the API holds."""
        self._pull(full=False)
        self._pull(full=True, warehouse="one")
        self._check_healed("one")
        self.sized = True
        self._load("one")
        self._check_healed("one")
        with small_pieces(load_bytes=10**9):
            self._load("late")
        self._check_healed("late")
        if self.rows.startswith("mode: history"):
            self._check_replay("one")
            assert self.known["one"].versions == self.known["late"].versions

    def _check_healed(self, warehouse: str) -> None:
        if self.rows == "mode: append":
            return
        rows = {key: shown(one, self.sized) for key, one in sorted(self.api.lists[self.collection].items())}
        found = self.known[warehouse]
        assert {key: row for key, (row, deleted) in found.rows.items() if not deleted} == rows
        assert {key for key, (_, deleted) in found.rows.items() if deleted} <= self.api.gone[self.collection] - rows.keys()

    def _carry_out(self, verb: str, **options: Any) -> Any:
        return carry_out(self.api, self.folder, verb, source=source(self.sized, self.rows), select=(self.collection,), **options)

    def _happen(self, event: Sequence[Any]) -> None:
        match event:
            case ("wait", seconds):
                self.api.now += seconds
            case ("mend", seconds):
                self.api.mend_clock(seconds)
            case ("declare",):
                self.sized = True
            case ("add", key):
                self.api.add(self.collection, key)
            case ("update", key):
                self.api.update(self.collection, key)
            case ("silent", key):
                self.api.change_silently(self.collection, key)
            case ("shift", key, seconds):
                self.api.shift(self.collection, key, seconds)
            case ("mangle", key, value):
                self.api.mangle(self.collection, key, value)
            case ("delete", key):
                self.api.delete(self.collection, key)
            case _:
                raise AssertionError(event)

    def _pull(self, full: bool, fault: tuple[str, int] | None = None, during: Sequence[Any] = (), warehouse: str | None = None) -> None:
        kind, at = fault or ("", 0)
        api, before = self.api, self.api.changes
        api.down_from = api.requests + 1 + at if kind == "outage" else None
        api.interrupt_at = api.requests + 1 + at if kind == "interrupt" else None
        api.during = defaultdict(list)
        for number, event in during:
            api.during[api.requests + 1 + number].append(lambda event=event: self._happen(event))
        verb = "run" if warehouse else "pull"
        summary = self._carry_out(verb, to=warehouse or "one", full=full, death=Death(at) if kind == "kill" else None)
        api.during, api.down_from, api.interrupt_at = {}, None, None
        mended = any(event[0] == "mend" for _, event in during)  # in the midst of an answer, whose date tells nothing then
        api.went_back |= mended
        if summary is None:
            return
        self._check_pull(summary)
        if not fault and (self.collection == "things" or (full and not during)):
            assert summary.status == "complete", summary.as_json()
            if full:
                self.api.went_back = mended
            if not self.api.went_back and self.rows != "mode: snapshot":  # whose pass may go on where an older run broke off
                self._check_newest(before)
        if warehouse:
            self._check(warehouse, summary, everything=True)

    def _run(self, warehouse: str, full: bool, fault: tuple[str, int] | None = None, during: Sequence[Any] = ()) -> None:
        self._pull(full, fault, during, warehouse)

    def _load(self, warehouse: str, kill: int | None = None, verb: str = "load") -> None:
        if (self.folder / "hub/model/hub.json").exists():
            summary = self._carry_out(verb, to=warehouse, death=None if kill is None else Death(kill))
            assert summary is None or summary.status == "complete", summary.as_json()
            self._check(warehouse, summary, everything=summary is not None, anew=verb == "replay")

    def _compact(self, keep: str, kill: int | None = None) -> None:
        """Thin the hub; what it held before stays in the archive, so that the model still knows all that ever came."""
        segments = self.folder / "hub/model/segments"
        if not (segments / self.collection).exists() or self.rows.startswith(("mode: append", "mode: history")):
            return
        for file in segments.glob(f"{self.collection}*/*.zst"):
            archive = self.folder / "archive" / file.parent.name
            archive.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, archive / file.name)
        self.told = {warehouse for warehouse, found in self.known.items() if found.receipts}
        death = None if kill is None else Death(kill)
        compacted(self.api, self.folder, source(self.sized, self.rows, keep), death, (self.collection,))

    def _put_back(self, warehouse: str) -> None:
        """The warehouse is again what it was when this last happened."""
        file, copy = self.folder / f"{warehouse}.duckdb", self.folder / f"{warehouse}.copy"
        if copy.exists():
            shutil.copy(copy, file)
            self.known[warehouse] = look(self.folder, warehouse, self.collection)
            self.told -= {warehouse}
        elif file.exists():
            shutil.copy(file, copy)

    def _replay(self, warehouse: str, kill: int | None = None) -> None:
        self._load(warehouse, kill, "replay")

    def _check_pull(self, summary: Any) -> None:
        """The pull's book is the sum of what it stored."""
        book = summary.collections[self.collection].pull
        segments = HubFiles(self.folder, self.collection).segments.items()
        heads = [head for name, (head, _) in segments if place_of(name)[0] == summary.run]
        found = {word: sum(head[word] for head in heads) for word in ("requests", "pages", "bytes", "records")}
        assert found == {"requests": book.requests, "pages": book.pages, "bytes": book.bytes, "records": book.received}

    def _check_newest(self, change: int) -> None:
        """What was changed before a pull that ended well is in the hub: the newest version of every honest record."""
        files = HubFiles(self.folder, self.collection)
        table = files.table(list(files.segments), True)
        for key, raw in self.api.lists[self.collection].items():
            if self.api.plain[self.collection, key] and self.api.changed[self.collection, key] <= change:
                assert table.get(key) == (raw, False), f"the hub lacks the newest version of {key}"

    def _check(self, warehouse: str, summary: Any, everything: bool, anew: bool = False) -> None:
        files, before = HubFiles(self.folder, self.collection), self.known[warehouse]
        found = self.known[warehouse] = look(self.folder, warehouse, self.collection)
        is_right = found.loaded == files.loadable(self.rows) or not files.is_thinned or self.told >= set(self.known)
        assert found.rows == files.table(found.loaded, found.with_size, self.rows) or not (is_right or warehouse in self.told)
        assert not everything or found.loaded == files.loadable(self.rows)
        for key, (_, _, segment) in sorted(found.stamps.items()):
            assert shown(files.record(segment), found.with_size) == found.rows[key][0], "_segment is another's"
        places = found.segments or [segment for _, _, segment in found.stamps.values()]
        odd = [(place, files.record(place)["updated_at"]) for place in places]
        assert found.rejects == sorted((place, json.dumps(raw)) for place, raw in odd if isinstance(raw, str))
        _check_versions(found.versions)
        self._check_books(files, before, found, summary and summary.collections[self.collection].load)
        if len(found.receipts) <= len(before.receipts) + 1 and not anew:
            for key in found.rows.keys() & before.rows.keys():
                same = found.rows[key] == before.rows[key] and found.versions_of(key) == before.versions_of(key)
                assert not same or found.stamps[key] == before.stamps[key], "a row was written for nothing"
                stayed = found.rows[key][1] and before.rows[key][1] and found.rows[key][0]["name"] == before.rows[key][0]["name"]
                assert not stayed or found.stamps[key][1] == before.stamps[key][1], "a record went twice"
        for other in self.known.values():
            both = (other.loaded, other.with_size) == (found.loaded, found.with_size)
            assert not both or not is_right or other.rows == found.rows

    def _check_replay(self, warehouse: str) -> None:
        """A table that keeps versions is the same when it is made anew."""
        before = look(self.folder, warehouse, self.collection).versions
        self._replay(warehouse)
        assert look(self.folder, warehouse, self.collection).versions == before

    def _check_books(self, files: HubFiles, before: Found, found: Found, told: Any) -> None:
        assert found.loaded == list(files.segments)[: len(found.loaded)], "a segment was loaded twice, or left out"
        assert [receipt["load"] for receipt in found.receipts] == list(range(1, len(found.receipts) + 1))
        assert found.receipts[: len(before.receipts)] == before.receipts
        parts = ("inserted", "updated", "unchanged", "duplicates", "stale", "filtered", "rejected")
        for receipt in found.receipts:
            assert receipt["read"] == sum(receipt[part] for part in parts)
        new = found.receipts[len(before.receipts) :]
        total = {word: sum(receipt[word] for receipt in new) for word in ("read", *parts, "deleted", "rejected_values")}
        raws = [raw for name in found.loaded[len(before.loaded) :] for raw in files.left[name]]
        assert total["read"] == len(raws)
        assert total["rejected"] == 0
        assert total["filtered"] == 0 or self.rows.startswith(OUT)
        assert total["rejected_values"] == sum(1 for raw in raws if isinstance(raw["updated_at"], str))
        assert total["inserted"] - (total["deleted"] if self.rows.startswith(OUT) else 0) == len(found.rows) - len(before.rows)
        assert told is None or {word: getattr(told, word) for word in total} == total


# Histories at random.


def invented(seed: str) -> dict[str, Any]:
    """A small history: again and again some changes, often a pull, often a load."""
    dice = random.Random(seed)
    history: list[Any] = [("add", key) for key in KEYS if dice.random() < 0.8]
    for _ in range(dice.randint(3, 7)):
        history += [a_change(dice) for _ in range(dice.randint(0, 3))]
        if dice.random() < 0.85:
            history.append(a_pull(dice))
        if dice.random() < 0.6:
            kill = dice.randint(0, 12) if dice.random() < 0.25 else None
            history.append((dice.choice(["load", "load", "load", "replay"]), dice.choice(["one", "one", "two"]), kill))
        if dice.random() < 0.05:
            history.append(("declare",))
        if dice.random() < 0.25:
            kill = dice.randint(0, 9) if dice.random() < 0.3 else None
            history.append(("compact", dice.choice(["latest", "latest", "20s"]), kill))
        if dice.random() < 0.1:
            history.append(("put_back", "one"))
    return {
        "collection": dice.choice(["things", "things", "pages"]),
        "rows": dice.choice(["", "", "", "", *ROWS]),
        "history": history,
        "segment_bytes": dice.choice([1, 150, 600]),
        "load_bytes": dice.choice([300, 1000, 10**9]),
    }


def a_change(dice: random.Random) -> tuple[Any, ...]:
    word = dice.choice(["add", "update", "update", "silent", "shift", "shift", "mangle", "delete", "wait", "mend"])
    if word in ("wait", "mend"):
        return (word, dice.randint(1, 30) if word == "wait" else dice.randint(-40, 40))
    rest = {"shift": (dice.randint(-60, 60),), "mangle": (dice.choice([None, "soon"]),)}
    return (word, dice.choice(KEYS), *rest.get(word, ()))


def a_pull(dice: random.Random) -> tuple[Any, ...]:
    during = [(dice.randint(0, 4), a_change(dice)) for _ in range(dice.choice([0, 1, 2, 3]))]
    full = dice.random() < 0.35
    if dice.random() < 0.15:
        return ("run", dice.choice(["one", "two"]), full, dice.choice([None, None, ("outage", dice.randint(0, 3))]), during)
    fault = dice.choice(["", "", "kill", "kill", "outage", "interrupt"])
    return ("pull", full, (fault, dice.randint(0, 15 if fault == "kill" else 3)) if fault else None, during)


def shortened(story: dict[str, Any]) -> dict[str, Any]:
    """A history that fails, without the events that it fails without."""
    deadline, size = time.monotonic() + SECONDS_TO_SHORTEN, len(story["history"])
    while size := size // 2:
        start = 0
        while start < len(story["history"]) and time.monotonic() < deadline:
            shorter = {**story, "history": story["history"][:start] + story["history"][start + size :]}
            if fails(shorter):
                story = shorter
            else:
                start += size
        size = size if size > 1 else 0
    return story


def fails(story: dict[str, Any]) -> bool:
    try:
        play(**story)
    except Exception:  # whatever it is, it is what we look for
        return True
    return False


def play(collection: str, history: Sequence[Sequence[Any]], segment_bytes: int = 150, load_bytes: int = 500, rows: str = "") -> None:
    with tempfile.TemporaryDirectory(prefix="history-") as folder, small_pieces(segment_bytes, load_bytes):
        world = History(Path(folder), collection, rows)
        for event in history:
            world.play(event)
        world.finish()


BIN = "deleted: /LIST/bin"
FEED = (
    "deleted: {path: /LIST/deleted, paginate: {kind: number, total: total}, cursor: {property: gone_at, param: since, format: epoch_s, "
    "lag: 0s}, properties: {gone_at: {type: timestamp, format: epoch_s}}}"
)
FEEDS = (BIN, FEED, *(f"{mode}\n    {told}" for mode in ("deletes: hard", "mode: history") for told in (BIN, FEED)))
ROWS = (*OUT, "mode: append", "mode: history", *FEEDS)
ALL = [("add", key) for key in KEYS]
PULL, PASS, LOAD, THIN = ("pull", False), ("pull", True), ("load", "one"), ("compact", "latest")
HISTORIES: dict[str, list[Any]] = {
    "a-filled-column-undeletes-nothing": [*ALL, PULL, LOAD, ("delete", 1), PASS, LOAD, ("declare",), LOAD],
    "a-new-warehouse-learns-what-was-deleted-before-it": [*ALL, PULL, ("delete", 1), PASS, LOAD],
    "gone-and-back-and-gone": [*ALL, PULL, LOAD, ("delete", 1), PASS, LOAD, ("add", 1), PULL, LOAD, ("delete", 1), PASS, LOAD],
    "a-lower-instant-loses-to-what-a-pass-met-again-unchanged": [
        *ALL, ("shift", 1, 50), PULL, LOAD, PASS, LOAD, ("shift", 1, 20), PULL, LOAD,
    ],
    "a-pass-outranks-higher-instants-before-it": [*ALL, PULL, LOAD, ("shift", 1, -50), ("silent", 2), PASS, LOAD],
    "a-pass-of-two-runs-outranks-from-its-first-on": [
        *ALL, PULL, LOAD, ("shift", 1, -50), ("pull", True, ("interrupt", 1)), LOAD, ("update", 1), PULL, LOAD,
    ],
    "what-is-read-again-is-rejected-once": [*ALL, ("mangle", 1, "soon"), ("pull", False, ("interrupt", 1)), LOAD, PULL, LOAD, PASS, LOAD],
    "what-a-pass-brings-that-goes-on-is-not-thinned": [
        *ALL, ("shift", 1, 50), PULL, LOAD, ("shift", 1, -50), ("pull", True, ("interrupt", 1)), LOAD, THIN, PULL, LOAD,
    ],
    "what-a-pass-brings-whose-end-was-not-loaded-is-not-thinned": [
        *ALL, ("shift", 1, 50), PULL, LOAD, ("shift", 1, -50), ("pull", True, ("interrupt", 1)), LOAD, PULL, THIN, LOAD,
    ],
    "what-a-warehouse-has-not-loaded-is-not-thinned": [
        *ALL, PULL, ("load", "two"), ("update", 1), PULL, ("update", 1), PULL, LOAD, THIN, ("load", "two", 9), ("load", "two"),
    ],
    "a-column-is-filled-from-what-is-left": [
        *ALL, PULL, LOAD, ("update", 1), ("delete", 2), PASS, ("update", 1), PASS, LOAD, THIN, PULL, THIN, ("declare",), LOAD,
    ],
    "a-complete-pass-mends-what-a-wrong-clock-did": [
        ("mend", 40), *ALL, PULL, ("mend", 0), PASS, ("wait", 5), ("delete", 1), ("add", 7), PULL, LOAD,
    ],
    "gone-and-back-in-one-load-and-gone": [
        *ALL, PULL, LOAD, ("delete", 1), ("wait", 5), PULL, ("add", 1), PULL, LOAD, ("delete", 1), PULL, PULL, LOAD,
    ],
    "gone-and-put-back-as-it-was-earlier": [
        *ALL, ("shift", 1, 50), PULL, LOAD, ("wait", 5), ("delete", 1), PULL, LOAD, ("wait", 5), ("add", 1), PULL, LOAD,
    ],
}  # fmt: skip


def told() -> Iterator[tuple[str, str, str]]:
    """Each history for each collection, and with some ways to keep rows; or, where all is tried, with all."""
    for number, (history, collection) in enumerate(itertools.product(HISTORIES, LISTS)):
        for place, rows in enumerate(("", *ROWS)):
            if WHOLE or not rows or (number + place) % 5 == 0:
                yield history, collection, rows


@pytest.mark.parametrize(("history", "collection", "rows"), list(told()))
def test_a_told_history_ends_right(history: str, collection: str, rows: str) -> None:
    play(collection, HISTORIES[history], rows=rows)


@pytest.mark.parametrize("number", range(EXAMPLES))
def test_after_every_load_each_table_is_what_the_hub_says(number: int) -> None:
    story = invented(f"{SEED}-{number}")
    try:
        play(**story)
    except Exception as error:
        short = shortened(story)
        pytest.fail(f"{type(error).__name__}: {error}\nSYNCER_SEED={SEED}, history {number}, shortened:\nplay(**{short!r})")
