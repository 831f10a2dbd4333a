"""The hub: everything an API ever answered, in exact records, append-only. I/O.

    DIR/<source>/hub.json                               whose it is
    DIR/<source>/moves/000001.json                      that it is the same account after a move
    DIR/<source>/plans/000003.json                      what run 3 set out to do, and the fold of all before it, or where that is
    DIR/<source>/segments/<collection>/<name>.ndjson.zst               thinned: <name>.1.ndjson.zst, and so on; the highest counts
    DIR/<source>/damaged/<collection>/<name>.json       that a segment is damaged or missing
    DIR/<source>/loads/<warehouse>/<schema>/<collection>/000002.json   which segments load 2 takes
    DIR/<source>/acks/<warehouse>/<schema>/<collection>/000002.json    that load 2 was committed
    DIR/<source>/account/                               what processes of one account share: locks, and tokens that were got for others
    DIR/<source>/stage/                                 what a load has in hand; swept when it is over
    DIR/<source>/trial                                  in a bucket: by which it is tried that no name is put twice

But for account and stage nothing is ever changed or overwritten, and nothing removed but what something newer replaces (a thinned
segment, a later ack), notes of damage that was mended, and warehouses that are forgotten; the listing is the only truth.
`segment` is the file's format, `fold` what all heads say together, `store` what lies beneath: a folder, or a bucket. Those two lie
on the machine at hand.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct, field, to_builtins

from ..errors import Damaged, HubError, UsageError
from .fold import CollectionState, Damage, HubState, fold, gaps
from .loads import Ack, Loading, Loads, Manifest
from .segment import (
    SEGMENT,
    Head,
    Moved,
    Slice,
    StoredPage,
    check,
    decode_head,
    decode_moved,
    decode_pages,
    decode_records,
    decode_slices,
    encode,
    leg_name,
    lines,
    place_of,
    run_of,
    thinned,
)  # fmt: skip
from .store import decoded, encoded, store_of

_HEAD_GUESS = 4096
_NUMBERED = r"\d{6,}\.json"
_FILE = re.compile(rf"({SEGMENT})(?:\.(\d+))?\.ndjson\.zst")
MISSING = "it is missing"
FOLD_EVERY = 32
"""How many heads are read one by one at most before a fold is worth its bytes; in a large hub, an eighth of it."""

T = TypeVar("T")

__all__ = [
    "Ack", "CollectionState", "Damage", "Found", "Head", "Hub", "HubState", "Identity", "Loading", "Manifest", "Moved", "Slice",
    "StoredPage",
]  # fmt: skip


class Identity(Struct, frozen=True):
    """Whose data a hub holds: made at random once, and the origin and account it was first filled from."""

    id: str
    source: str
    origin: str
    account: dict[str, str]
    format: int = 1


class Found(Struct, frozen=True):
    """Something in a hub that is not as it was written."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class Hub:
    """One source's hub."""

    def __init__(self, where: Path | str, source: str) -> None:
        self.store = store_of(where, source)
        self.source = source
        self.loads = Loads(self.store)
        self._last: dict[str, _Listing] = {}
        """How each collection's segments were listed last."""

    def __str__(self) -> str:
        return f"hub {self.store.name}"

    @property
    def local(self) -> Path:
        """A folder of this machine, for locks and for what is in hand."""
        return self.store.local

    def identity(self) -> Identity | None:
        """Whose it is; None where nothing was ever pulled. Raises HubError where that is lost."""
        moves = self._named("moves", r"\d{6}\.json")
        if self.store.has("hub.json"):
            return decoded(self.store, moves[-1] if moves else "hub.json", Identity)
        if any(map(self._listed, self._collections())):
            raise HubError(f"{self}: hub.json is missing, which says whose its segments are; restore that file")
        return None

    def claim(self, origin: str, account: Mapping[str, str], same_account: bool = False) -> Identity:
        """Open the hub for a pull from an origin and account; the first to come names it.

        Raises UsageError where it was filled from another, unless the user says that it is the same. Where nothing came yet,
        from a mistyped URL say, the name is mended.
        """
        mine = Identity(secrets.token_hex(4), self.source, origin, dict(account))
        if self.identity() is None:
            self.store.put("hub.json", encoded(mine))
        known = self.identity() or mine
        if (known.origin, known.account) == (origin, dict(account)):
            return known
        if not same_account and any(map(self.segments, self._collections())):
            was, now = {"origin": known.origin, **known.account}, {"origin": origin, **account}
            differing = [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]
            differences = [f"{name} {was.get(name, 'not given')}, now {now.get(name, 'not given')}" for name in differing]
            raise UsageError(
                f"{self}: was filled from another account ({'; '.join(differences)}); give this one a hub of its own "
                "with --hub DIR (and --schema NAME), or say --same-account if it is the same one after a move"
            )
        renamed = Identity(known.id, self.source, origin, dict(account))
        self.store.put(f"moves/{len(self._named('moves', r'.*')) + 1:06}.json", encoded(renamed))
        return renamed

    def state(self, *only: str) -> HubState:
        """The fold of everything in the hub, or of some collections: the last plan's, and the heads of all later segments.

        What is damaged or missing is passed over, and told.
        """
        plans = self._named("plans", _NUMBERED)
        last = decoded(self.store, plans[-1], _Plan) if plans else _Plan()
        folded = decoded(self.store, _plan(last.folded), _Plan) if last.folded else last
        known = folded.fold or HubState()
        collections, damage, behind, run = dict(known.collections), dict[str, dict[str, Damage]](), 0, last.run
        for name in only or {**known.collections, **last.segments, **dict.fromkeys(self._collections())}:
            noted, heads, listed, before = self.damage(name), list[Head](), self._listed(name), known.of(name)
            run = max([run, *map(run_of, {*listed, *noted})])  # a plan may be lost: its number is not given twice
            for segment in listed:
                if segment not in noted and not before.has(segment):
                    try:
                        heads.append(self.head(name, segment))
                    except Damaged as error:
                        noted[segment] = Damage(error.why)
            noted = self._missing(name, listed, before, heads, noted, last) | noted
            collections[name], behind = reduce(fold, heads, before), behind + len(heads)
            damage |= {name: noted} if noted else {}
        return HubState(run, collections, damage, folded.run, behind)

    def _missing(
        self,
        collection: str,
        listed: Iterable[str],
        known: CollectionState,
        later: Sequence[Head],
        noted: Mapping[str, Damage],
        last: _Plan,
    ) -> dict[str, Damage]:
        """The segments that are not there, but known, or between others, or counted by the last plan: those have its number, and a zero."""
        there = set(listed)
        named = {*known.names, *gaps(known, later, noted)}.difference(there)
        accounted = {*there, *named, *noted}
        nameless = last.segments.get(collection, 0) - sum(1 for name in accounted if run_of(name) < last.run)
        counted = [f"{leg_name(last.run, 0)}-{number:06}" for number in range(nameless)]
        some = Damage(f"one is missing that was there before run {last.run}")
        return {**dict.fromkeys(sorted(named), Damage(MISSING)), **dict.fromkeys(counted, some)}

    def damage(self, collection: str) -> dict[str, Damage]:
        """The segments that were found damaged or missing."""
        notes = self._named(f"damaged/{collection}", SEGMENT + r"\.json")
        return {Path(note).stem: decoded(self.store, note, Damage) for note in notes}

    def note(self, collection: str, segment: str, damage: Damage) -> None:
        """Remember that a segment is damaged: nothing reads it from now on, and the next pull asks for what it held."""
        self.store.put(f"damaged/{collection}/{segment}.json", encoded(damage))

    def check(self, collection: str, segment: str) -> str | None:
        """What is wrong with a segment; None where every byte is as it was written."""
        try:
            check(self.data(collection, segment), f"{collection}/{segment}")
        except Damaged as error:
            return error.why
        return None

    def damaged_among(self, collection: str, segments: Iterable[str]) -> list[str]:
        """Those of some segments that turn out to be damaged: it is noted."""
        found = {segment: why for segment in segments if (why := self.check(collection, segment))}
        for segment, why in found.items():
            self.note(collection, segment, Damage(why))
        return list(found)

    def verify(self) -> list[Found]:
        """Read everything that the hub holds: what is damaged is noted, and what was noted and is whole is struck from the notes."""
        found, state, runs = list[Found](), self.state(), set[int]()
        for collection in state.collections:
            noted, listed = state.damage.get(collection, {}), self._listed(collection)
            runs |= set(map(run_of, listed))
            for segment in sorted({*listed, *noted}):
                why = self.check(collection, segment) if segment in listed else noted[segment].why
                if why and self._is_back(collection, segment, listed, noted):
                    self.store.remove(f"damaged/{collection}/{segment}.json")
                elif why:
                    self.note(collection, segment, noted.get(segment) or Damage(why))
                    found.append(Found(f"segment {collection}/{segment}", why))
                elif segment in noted:
                    self.store.remove(f"damaged/{collection}/{segment}.json")
        kinds: dict[str, type] = {"plans": _Plan, "loads": Manifest, "acks": Ack, "moves": Identity}
        plans = self._named("plans", _NUMBERED)
        for file in (*plans, *self._named("moves", r"\d{6}\.json"), *self.store.tree("loads"), *self.store.tree("acks")):
            try:
                decoded(self.store, file, kinds[file.partition("/")[0]])
            except HubError:
                if self.store.has(file):  # an ack is replaced by the next one
                    found.append(Found(file, "cannot be read"))
        found += [Found(plan, MISSING) for plan in sorted(set(map(_plan, runs)).difference(plans))]
        return found

    def _is_back(self, collection: str, segment: str, listed: Sequence[str], noted: Mapping[str, Damage]) -> bool:
        """Whether a segment that only a plan's count told of is there again: as many as it counted are."""
        run, ordinal, _ = place_of(segment)
        if ordinal or not self.store.has(_plan(run)):
            return False
        others = sum(1 for name in {*listed, *noted} if run_of(name) < run)
        return others >= decoded(self.store, _plan(run), _Plan).segments.get(collection, 0)

    def begin(self, plan: Callable[[int], Mapping[str, Any]], state: HubState, carries: bool = False) -> int:
        """Put the next plan, made for the number that it gets, and give that: the run's. Two runs at once get two numbers.

        A plan `carries` the fold when enough has come since the last one that did, and else names that: if each did, all plans
        together would grow with the square of the runs.
        """
        run = state.run + 1
        while True:
            carries = carries or not state.folded or state.behind >= max(FOLD_EVERY, state.size // 8)
            its = {"fold": {"collections": to_builtins(state.collections)}} if carries else {"folded": state.folded}
            counted = {name: sum(1 for segment in known.names if run_of(segment) < run) for name, known in state.collections.items()}
            if self.store.put(_plan(run), encoded({**plan(run), "run": run, "segments": counted, **its})):
                return run
            run += 1

    def append(self, head: Head, records: list[bytes], envelopes: list[dict[str, Any]], slices: Sequence[Slice] = ()) -> Head:
        """Store one more segment; durable when this returns. Who lost the race for its name reads what is stored."""
        name = self._file(head.collection, head.name)
        if self.store.put(name, encode(head, records, envelopes, slices)):
            return head
        return self.head(head.collection, head.name)

    def segments(self, collection: str) -> list[str]:
        """The names of all segments of a collection, in the hub's order, but for those that are noted as damaged."""
        damaged = {Path(note).stem for note in self._named(f"damaged/{collection}", SEGMENT + r"\.json")}
        return [name for name in self._listed(collection) if name not in damaged]

    def _listed(self, collection: str) -> list[str]:
        return list(self._listing(collection).segments)

    def _listing(self, collection: str) -> _Listing:
        files, last = self.store.names(f"segments/{collection}"), self._last.get(collection)
        if last is None or last.files != files:  # of many thousands, all but the new ones would be taken apart again and again
            last = self._last[collection] = _Listing(files)
        return last

    def size(self, collection: str, name: str) -> int:
        """A segment's bytes on the disk."""
        return self.store.size(self._file(collection, name))

    def thin(self, collection: str, name: str, gone: Moved) -> None:
        """Put a segment's next generation, without the records at some lines; of each, the place of a newer version. Raises Damaged."""
        data = self.data(collection, name)
        generations = self._last[collection].generations
        generation = generations.get(name, 0) + 1
        self.store.put(_segment_file(collection, name, generation), thinned(data, f"{collection}/{name}", gone))
        generations[name] = generation

    def drop_replaced(self, collection: str) -> None:
        """Remove the files of segments that thinner ones have replaced. Only for one who knows that nobody reads them."""
        listing = self._listing(collection)
        for file, name, generation in _taken_apart(listing.files):
            if generation < listing.generations[name]:
                self.store.remove(file)

    def moved(self, collection: str, name: str) -> Moved:
        """What a segment has no more, for newer versions of it lie elsewhere."""
        return self._start(collection, name, decode_moved) if self.head(collection, name).moved else {}

    def record(self, collection: str, name: str, line: int) -> tuple[bytes, str]:
        """The exact record at a place, or the newest version of it, and where that lies. Raises HubError where there is none."""
        place = f"{name}#{line}"
        while True:
            name, _, number = place.rpartition("#")
            if name not in self._listed(collection):
                raise HubError(f"{self}: there is no segment {collection}/{name}")
            moved = self.moved(collection, name)
            if int(number) not in moved:
                break
            place = moved[int(number)]
        there = lines(self.head(collection, name), moved)
        if int(number) not in there:
            raise HubError(f"{self}: segment {collection}/{name} has no line {number}")
        return self.records(collection, name)[there.index(int(number))], place

    def head(self, collection: str, name: str) -> Head:
        return self._start(collection, name, decode_head)

    def slices(self, collection: str, name: str) -> list[Slice]:
        """Which of a segment's records belong to which parent."""
        return self._start(collection, name, decode_slices) if self.head(collection, name).slices else []

    def _start(self, collection: str, name: str, decode: Callable[[bytes, str], tuple[T | None, int]]) -> T:
        """What stands at a segment's start: as much of it is read as is needed."""
        file, length = self._file(collection, name), _HEAD_GUESS
        while True:
            found, needed = decode(self.store.start_of(file, length), f"{collection}/{name}")
            if found is not None:
                return found
            if length >= needed:
                raise Damaged(f"{collection}/{name}", "it is cut off")
            length = needed

    def data(self, collection: str, name: str) -> bytes:
        """A segment as it lies there. Raises HubError."""
        return self.store.get(self._file(collection, name))

    def records(self, collection: str, name: str) -> list[bytes]:
        """A segment's exact records, checked. Raises Damaged."""
        return decode_records(self.data(collection, name), f"{collection}/{name}")

    def pages(self, collection: str, name: str) -> tuple[list[StoredPage], list[bytes]]:
        """What is kept of a segment's answers, and all their records, checked. Raises Damaged."""
        return decode_pages(self.data(collection, name), f"{collection}/{name}")

    def began(self) -> Iterator[tuple[int, int]]:
        """The runs, and when each began, by the clock of its machine (microseconds)."""
        for file in self._named("plans", _NUMBERED):
            plan = decoded(self.store, file, _Begun)
            yield plan.run, plan.at

    def _collections(self) -> list[str]:
        return [Path(name).name for name in self._named("segments", r"[\w.]+")]

    def _named(self, folder: str, form: str) -> list[str]:
        """The files of a folder whose names have a form: what else lies there is not ours."""
        return [name for name in self.store.names(folder) if re.fullmatch(form, name.rpartition("/")[2])]

    def _file(self, collection: str, name: str) -> str:
        listing = self._last.get(collection) or self._listing(collection)
        return _segment_file(collection, name, listing.generations.get(name, 0))


class _Plan(Struct, frozen=True):
    run: int = 0
    fold: HubState | None = None
    folded: int = 0
    """The plan that carries the fold, where this one does not."""
    segments: dict[str, int] = field(default_factory=dict)
    """How many segments of earlier runs each collection had."""


class _Begun(Struct, frozen=True):
    run: int
    at: int = 0


class _Listing:
    """A collection's files as they were listed, its segments in the hub's order, and the newest generation of each."""

    def __init__(self, files: list[str]) -> None:
        self.files, self.generations = files, dict[str, int]()
        for _, name, generation in _taken_apart(files):
            self.generations[name] = max(generation, self.generations.get(name, 0))
        self.segments = sorted(self.generations)


def _taken_apart(files: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """Of each file of a segment, the segment's name and generation."""
    for file in files:
        if found := _FILE.fullmatch(file, file.rindex("/") + 1):
            yield file, found[1], int(found[2] or 0)


def _segment_file(collection: str, name: str, generation: int) -> str:
    return f"segments/{collection}/{name}{f'.{generation}' if generation else ''}.ndjson.zst"


def _plan(run: int) -> str:
    return f"plans/{run:06}.json"
