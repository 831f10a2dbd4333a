"""The hub: everything an API ever answered, in exact records, append-only. I/O.

    DIR/<source>/hub.json                               whose it is
    DIR/<source>/moves/000001.json                      that it is the same account after a move
    DIR/<source>/plans/000003.json                      what run 3 set out to do, and the fold of all before it, or where that is
    DIR/<source>/segments/<collection>/<name>.ndjson.zst
    DIR/<source>/damaged/<collection>/<name>.json       that a segment is damaged or missing
    DIR/<source>/loads/<warehouse>/<schema>/<collection>/000002.json   which segments load 2 takes
    DIR/<source>/account/                               locks: what processes of one account share
    DIR/<source>/stage/                                 what a load has in hand; swept when it is over

But for the last two, and for notes of damage that was mended, nothing is ever changed or overwritten; the listing is the only
truth. `segment` is the file's format, `fold` what all heads say together, `folder` the store beneath.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import Damaged, HubError, UsageError
from .fold import CollectionState, Damage, HubState, fold, gaps
from .folder import Folder
from .segment import Head, Slice, StoredPage, check, decode_head, decode_pages, decode_records, decode_slices, encode, leg_name, run_of

_HEAD_GUESS = 4096
_SEGMENT = r"\d{6,}-\d{2,}-\d{6,}"
MISSING = "it is missing"
FOLD_EVERY = 32
"""How many heads, or manifests, are read one by one at most before a fold is worth its bytes; in a large hub, an eighth of it."""

T = TypeVar("T")

__all__ = ["CollectionState", "Damage", "Found", "Head", "Hub", "HubState", "Identity", "Manifest", "Slice", "StoredPage"]


@dataclass(frozen=True)
class Identity:
    """Whose data a hub holds: made at random once, and the origin and account it was first filled from."""

    id: str
    source: str
    origin: str
    account: dict[str, str]
    format: int = 1


@dataclass(frozen=True)
class Found:
    """Something in a hub that is not as it was written."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True)
class Manifest:
    """What one load takes: new segments, and, with them, everything up to `through` (leg -> last number)."""

    load: int
    segments: tuple[str, ...]
    through: dict[str, int] = field(default_factory=dict)
    carried: int = 0
    """The load whose file carries `through`; 0 in that file itself."""
    skipped: tuple[str, ...] = ()
    """Segments that were passed over, up to this load, for they are damaged."""

    def has(self, name: str) -> bool:
        leg, _, number = name.rpartition("-")
        return int(number) <= self.through.get(leg, -1) and name not in self.skipped


class Hub:
    """One source's hub."""

    def __init__(self, directory: Path, source: str) -> None:
        self.folder = Folder(directory / source)
        self.source = source

    @property
    def root(self) -> Path:
        return self.folder.root

    def identity(self) -> Identity | None:
        """Whose it is; None where nothing was ever pulled."""
        moves = self._named("moves", r"\d{6}\.json")
        return self._decoded(moves[-1] if moves else "hub.json", Identity) if self.folder.has("hub.json") else None

    def claim(self, origin: str, account: Mapping[str, str], same_account: bool = False) -> Identity:
        """Open the hub for a pull from an origin and account; the first to come names it.

        Raises UsageError where it was filled from another, unless the user says that it is the same. Where nothing came yet,
        from a mistyped URL say, the name is mended.
        """
        mine = Identity(secrets.token_hex(4), self.source, origin, dict(account))
        self.folder.put("hub.json", _encoded(mine))
        known = self.identity() or mine
        if (known.origin, known.account) == (origin, dict(account)):
            return known
        if not same_account and any(map(self.segments, self._collections())):
            was, now = {"origin": known.origin, **known.account}, {"origin": origin, **account}
            differing = [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]
            differences = [f"{name} {was.get(name, 'not given')}, now {now.get(name, 'not given')}" for name in differing]
            raise UsageError(
                f"hub {self.root}: was filled from another account ({'; '.join(differences)}); give this one a hub of its own "
                "with --hub DIR (and --schema NAME), or say --same-account if it is the same one after a move"
            )
        renamed = Identity(known.id, self.source, origin, dict(account))
        self.folder.put(f"moves/{len(self._named('moves', r'.*')) + 1:06}.json", _encoded(renamed))
        return renamed

    def state(self, *only: str) -> HubState:
        """The fold of everything in the hub, or of some collections: the last plan's, and the heads of all later segments.

        What is damaged or missing is passed over, and told.
        """
        plans = self._named("plans", r"\d{6,}\.json")
        last = self._decoded(plans[-1], _Plan) if plans else _Plan()
        folded = self._decoded(_plan(last.folded), _Plan) if last.folded else last
        known = folded.fold or HubState()
        collections, damage, behind = dict(known.collections), dict[str, dict[str, Damage]](), 0
        for name in only or {**known.collections, **dict.fromkeys(self._collections())}:
            noted, heads = self.damage(name), list[Head]()
            for segment in self.segments(name):
                if not known.of(name).has(segment):
                    try:
                        heads.append(self.head(name, segment))
                    except Damaged as error:
                        noted[segment] = Damage(error.why)
            noted = self._missing(name, known.of(name), heads, noted, last) | noted
            collections[name], behind = reduce(fold, heads, known.of(name)), behind + len(heads)
            damage |= {name: noted} if noted else {}
        return HubState(last.run, collections, damage, folded.run, behind)

    def _missing(
        self, collection: str, known: CollectionState, later: Sequence[Head], noted: Mapping[str, Damage], last: _Plan
    ) -> dict[str, Damage]:
        """The segments that are not there, but known, or between others, or counted by the last plan: those have its number, and a zero."""
        there = set(self._listed(collection))
        named = {*known.names, *gaps(known, later, noted)}.difference(there)
        accounted = {*there, *named, *noted}
        nameless = last.segments.get(collection, 0) - sum(1 for name in accounted if run_of(name) < last.run)
        counted = [f"{leg_name(last.run, 0)}-{number:06}" for number in range(nameless)]
        some = Damage(f"one is missing that was there before run {last.run}")
        return {**dict.fromkeys(sorted(named), Damage(MISSING)), **dict.fromkeys(counted, some)}

    def damage(self, collection: str) -> dict[str, Damage]:
        """The segments that were found damaged or missing."""
        notes = self._named(f"damaged/{collection}", _SEGMENT + r"\.json")
        return {Path(note).stem: self._decoded(note, Damage) for note in notes}

    def note(self, collection: str, segment: str, damage: Damage) -> None:
        """Remember that a segment is damaged: nothing reads it from now on, and the next pull asks for what it held."""
        self.folder.put(f"damaged/{collection}/{segment}.json", _encoded(damage))

    def check(self, collection: str, segment: str) -> str | None:
        """What is wrong with a segment; None where every byte is as it was written."""
        try:
            check(self.folder.get(self._file(collection, segment)), f"{collection}/{segment}")
        except Damaged as error:
            return error.why
        return None

    def verify(self) -> list[Found]:
        """Read everything that the hub holds: what is damaged is noted, and what was noted and is whole is struck from the notes."""
        found, state = list[Found](), self.state()
        for collection in state.collections:
            noted, listed = state.damage.get(collection, {}), self._listed(collection)
            for segment in sorted({*listed, *noted}):
                why = self.check(collection, segment) if segment in listed else noted[segment].why
                if why:
                    self.note(collection, segment, noted.get(segment) or Damage(why))
                    found.append(Found(f"segment {collection}/{segment}", why))
                elif segment in noted:
                    self.folder.remove(f"damaged/{collection}/{segment}.json")
        for file in (*self._named("plans", r"\d{6,}\.json"), *self.folder.tree("loads")):
            try:
                self._decoded(file, Manifest if file.startswith("loads/") else _Plan)
            except HubError:
                found.append(Found(file, "cannot be read"))
        return found

    def begin(self, plan: Callable[[int], Mapping[str, Any]], state: HubState) -> int:
        """Put the next plan, made for the number that it gets, and give that: the run's. Two runs at once get two numbers.

        A plan carries the fold when enough has come since the last one that did, and else names that: if each did, all plans
        together would grow with the square of the runs.
        """
        run = state.run + 1
        while True:
            carries = not state.folded or state.behind >= max(FOLD_EVERY, state.size // 8)
            its = {"fold": {"collections": asdict(state)["collections"]}} if carries else {"folded": state.folded}
            counted = {name: sum(1 for segment in known.names if run_of(segment) < run) for name, known in state.collections.items()}
            if self.folder.put(_plan(run), _encoded({**plan(run), "run": run, "segments": counted, **its})):
                return run
            run += 1

    def append(self, head: Head, records: list[bytes], envelopes: list[dict[str, Any]], slices: Sequence[Slice] = ()) -> Head:
        """Store one more segment; durable when this returns. Who lost the race for its name reads what is stored."""
        name = self._file(head.collection, head.name)
        if self.folder.put(name, encode(head, records, envelopes, slices)):
            return head
        return self.head(head.collection, head.name)

    def segments(self, collection: str) -> list[str]:
        """The names of all segments of a collection, in the hub's order, but for those that are noted as damaged."""
        damaged = {Path(note).stem for note in self._named(f"damaged/{collection}", _SEGMENT + r"\.json")}
        return [name for name in self._listed(collection) if name not in damaged]

    def _listed(self, collection: str) -> list[str]:
        found = self._named(f"segments/{collection}", _SEGMENT + r"\.ndjson\.zst")
        return [Path(name).name.removesuffix(".ndjson.zst") for name in found]

    def path(self, collection: str, name: str) -> Path:
        """The file in which a segment lies: the only place that knows."""
        return self.root / self._file(collection, name)

    def size(self, collection: str, name: str) -> int:
        """A segment's bytes on the disk."""
        return self.folder.size(self._file(collection, name))

    def head(self, collection: str, name: str) -> Head:
        return self._start(collection, name, decode_head)

    def slices(self, collection: str, name: str) -> list[Slice]:
        """Which of a segment's records belong to which parent."""
        return self._start(collection, name, decode_slices) if self.head(collection, name).slices else []

    def _start(self, collection: str, name: str, decode: Callable[[bytes, str], tuple[T | None, int]]) -> T:
        """What stands at a segment's start: as much of it is read as is needed."""
        file, length = self._file(collection, name), _HEAD_GUESS
        while True:
            found, needed = decode(self.folder.start_of(file, length), f"{collection}/{name}")
            if found is not None:
                return found
            if length >= needed:
                raise Damaged(f"{collection}/{name}", "it is cut off")
            length = needed

    def records(self, collection: str, name: str) -> list[bytes]:
        """A segment's exact records, checked. Raises Damaged."""
        return decode_records(self.folder.get(self._file(collection, name)), f"{collection}/{name}")

    def pages(self, collection: str, name: str) -> tuple[list[StoredPage], list[bytes]]:
        """What is kept of a segment's answers, and all their records, checked. Raises Damaged."""
        return decode_pages(self.folder.get(self._file(collection, name)), f"{collection}/{name}")

    def manifest(self, warehouse: str, schema: str, collection: str, load: int) -> Manifest | None:
        """What a load takes; None where that load was never planned. Load 0 took nothing."""
        if load == 0:
            return Manifest(0, ())
        folder = f"loads/{warehouse}/{schema}/{collection}"
        if not self.folder.has(f"{folder}/{load:06}.json"):
            return None
        found = self._decoded(f"{folder}/{load:06}.json", Manifest)
        taken = [self._decoded(f"{folder}/{number:06}.json", Manifest) for number in range(found.carried or load, load)]
        through = dict(taken[0].through if taken else found.through)
        for segment in (segment for one in [*taken[1:], found] for segment in one.segments):
            leg, _, number = segment.rpartition("-")
            through[leg] = max(int(number), through.get(leg, -1))
        return replace(found, through=through, carried=found.carried or load)

    def taken(self, warehouse: str, schema: str, collection: str, load: int) -> tuple[str, ...]:
        """The segments that a load took."""
        return self._decoded(f"loads/{warehouse}/{schema}/{collection}/{load:06}.json", Manifest).segments

    def plan_load(self, warehouse: str, schema: str, collection: str, manifest: Manifest) -> Manifest:
        """Put a load's manifest; where its number is taken, the one that is there holds.

        Like the fold, `through` is carried by some, and else follows from the manifest that carried it and those since.
        """
        carries = not manifest.carried or manifest.load - manifest.carried >= max(FOLD_EVERY, len(manifest.through) // 8)
        stored = replace(manifest, carried=0) if carries else replace(manifest, through={})
        self.folder.put(f"loads/{warehouse}/{schema}/{collection}/{manifest.load:06}.json", _encoded(stored))
        return self.manifest(warehouse, schema, collection, manifest.load) or manifest

    def _collections(self) -> list[str]:
        return [Path(name).name for name in self._named("segments", r"\w+")]

    def _named(self, folder: str, form: str) -> list[str]:
        """The files of a folder whose names have a form: what else lies there is not ours."""
        return [name for name in self.folder.names(folder) if re.fullmatch(form, Path(name).name)]

    def _file(self, collection: str, name: str) -> str:
        return f"segments/{collection}/{name}.ndjson.zst"

    def _decoded(self, name: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(self.folder.get(name), type=kind)
        except msgspec.MsgspecError:
            raise HubError(f"hub {self.root}: {name} cannot be read; restore the file") from None


@dataclass(frozen=True)
class _Plan:
    run: int = 0
    fold: HubState | None = None
    folded: int = 0
    """The plan that carries the fold, where this one does not."""
    segments: dict[str, int] = field(default_factory=dict)
    """How many segments of earlier runs each collection had."""


def _plan(run: int) -> str:
    return f"plans/{run:06}.json"


def _encoded(value: Any) -> bytes:
    plain = value if isinstance(value, Mapping) else asdict(value)
    return json.dumps(plain, separators=(",", ":")).encode()
