"""The hub: everything an API ever answered, in exact records, append-only. I/O.

    DIR/<source>/hub.json                               whose it is
    DIR/<source>/plans/000003.json                      what run 3 set out to do, and the fold of all before it
    DIR/<source>/segments/<collection>/<name>.ndjson.zst
    DIR/<source>/loads/<warehouse>/<schema>/<collection>/000002.json   which segments load 2 takes
    DIR/<source>/account/                               locks: what processes of one account share

Nothing is ever changed or overwritten; the listing is the only truth. `segment` is the file's format, `fold` what all heads
say together, `folder` the store beneath.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import HubError, UsageError
from .fold import CollectionState, HubState, fold
from .folder import Folder
from .segment import Head, decode_head, decode_records, encode

_HEAD_GUESS = 4096

T = TypeVar("T")

__all__ = ["CollectionState", "Head", "Hub", "HubState", "Identity", "Manifest"]


@dataclass(frozen=True)
class Identity:
    """Whose data a hub holds: made at random once, and the origin and account it was first filled from."""

    id: str
    source: str
    origin: str
    account: dict[str, str]
    format: int = 1


@dataclass(frozen=True)
class Manifest:
    """What one load takes: new segments, and, with them, everything up to `through` (leg -> last number)."""

    load: int
    segments: tuple[str, ...]
    through: dict[str, int] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        leg, _, number = name.rpartition("-")
        return int(number) <= self.through.get(leg, -1)


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

        Raises UsageError where it was filled from another, unless the user says that it is the same.
        """
        mine = Identity(secrets.token_hex(4), self.source, origin, dict(account))
        self.folder.put("hub.json", _encoded(mine))
        known = self.identity() or mine
        if (known.origin, known.account) == (origin, dict(account)):
            return known
        if not same_account:
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
        """The fold of everything in the hub, or of some collections: the last plan's, and the heads of all later segments."""
        plans = self._named("plans", r"\d{6,}\.json")
        known = self._decoded(plans[-1], _Plan).fold if plans else HubState()
        collections, broken = dict(known.collections), dict[str, str]()
        for name in only or {**known.collections, **dict.fromkeys(self._collections())}:
            try:
                collections[name] = self._folded(name, known.of(name))
            except HubError as error:
                broken[name] = str(error)
        return HubState(int(Path(plans[-1]).stem) if plans else 0, collections, broken)

    def _folded(self, collection: str, state: CollectionState) -> CollectionState:
        """The state with all later segments in it. Raises HubError where one cannot be read, or is no longer there."""
        there = self.segments(collection)
        if gone := sorted(set(state.names).difference(there)):
            more = f" (and {len(gone) - 1:,} more)" if len(gone) > 1 else ""
            raise HubError(f"segment {collection}/{gone[0]}: is missing{more}; restore the file, or begin anew with another --hub")
        return reduce(fold, (self.head(collection, name) for name in there if not state.has(name)), state)

    def begin(self, plan: Mapping[str, Any], state: HubState) -> int:
        """Put the next plan, and give its number: the run's. Two runs at once get two numbers."""
        run = state.run + 1
        while not self.folder.put(f"plans/{run:06}.json", _encoded({**plan, "run": run, "fold": asdict(replace(state, broken={}))})):
            run += 1
        return run

    def append(self, head: Head, records: list[bytes], envelopes: list[dict[str, Any]]) -> Head:
        """Store one more segment; durable when this returns. Who lost the race for its name reads what is stored."""
        name = self._file(head.collection, head.name)
        if self.folder.put(name, encode(head, records, envelopes)):
            return head
        return self.head(head.collection, head.name)

    def segments(self, collection: str) -> list[str]:
        """The names of all segments of a collection, in the hub's order."""
        found = self._named(f"segments/{collection}", r"\d{6,}-\d{2,}-\d{6,}\.ndjson\.zst")
        return [Path(name).name.removesuffix(".ndjson.zst") for name in found]

    def path(self, collection: str, name: str) -> Path:
        """The file in which a segment lies: the only place that knows."""
        return self.root / self._file(collection, name)

    def head(self, collection: str, name: str) -> Head:
        file, length = self._file(collection, name), _HEAD_GUESS
        while True:
            start = self.folder.start_of(file, length)
            head, needed = decode_head(start, f"{collection}/{name}")
            if head is not None:
                return head
            if length >= needed:
                raise HubError(f"segment {collection}/{name}: is cut off; restore the file")
            length = needed

    def records(self, collection: str, name: str) -> list[bytes]:
        """A segment's exact records, checked. Raises HubError where it is damaged."""
        return decode_records(self.folder.get(self._file(collection, name)), f"{collection}/{name}")

    def manifest(self, warehouse: str, schema: str, collection: str, load: int) -> Manifest | None:
        """What a load takes; None where that load was never planned. Load 0 took nothing."""
        if load == 0:
            return Manifest(0, ())
        name = f"loads/{warehouse}/{schema}/{collection}/{load:06}.json"
        return self._decoded(name, Manifest) if self.folder.has(name) else None

    def plan_load(self, warehouse: str, schema: str, collection: str, manifest: Manifest) -> Manifest:
        """Put a load's manifest; where its number is taken, the one that is there holds."""
        self.folder.put(f"loads/{warehouse}/{schema}/{collection}/{manifest.load:06}.json", _encoded(manifest))
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
    fold: HubState


def _encoded(value: Any) -> bytes:
    plain = value if isinstance(value, Mapping) else asdict(value)
    return json.dumps(plain, indent=1).encode()
