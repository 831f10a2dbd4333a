"""What warehouses take from a hub: a manifest for each load, and word of those that were committed. I/O, through the store."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from .store import Store, decoded, encoded

FOLD_EVERY = 32
"""How many manifests are read one by one at most before what they took is worth its bytes; in a large hub, an eighth of it."""


class Manifest(Struct, frozen=True):
    """What one load takes: new segments, and, with them, everything up to `through` (leg -> last number)."""

    load: int
    segments: tuple[str, ...]
    through: dict[str, int] = field(default_factory=dict)
    carried: int = 0
    """The load whose file carries `through`; 0 in that file itself."""
    skipped: tuple[str, ...] = ()
    """Segments that were passed over, up to this load, for they are damaged."""
    first_fill: str = ""
    """The last segment that was there when a table began to be filled, as long as loads take what was there then."""

    def has(self, name: str) -> bool:
        leg, _, number = name.rpartition("-")
        return int(number) <= self.through.get(leg, -1) and name not in self.skipped


class Ack(Struct, frozen=True):
    """That a load was committed: when, and into which warehouse, as people know it."""

    at: int
    into: str


class Loading(Struct, frozen=True):
    """What a warehouse has of a collection: its last load that is known to be committed (0: none), and what it had taken by then."""

    warehouse: str
    schema: str
    last: Manifest
    ack: Ack | None


class Loads:
    """The loads of a hub, into whichever warehouse."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def manifest(self, warehouse: str, schema: str, collection: str, load: int) -> Manifest | None:
        """What a load takes; None where that load was never planned. Load 0 took nothing."""
        if load == 0:
            return Manifest(0, ())
        folder = f"loads/{warehouse}/{schema}/{collection}"
        if not self.store.has(f"{folder}/{load:06}.json"):
            return None
        found = decoded(self.store, f"{folder}/{load:06}.json", Manifest)
        taken = [decoded(self.store, f"{folder}/{number:06}.json", Manifest) for number in range(found.carried or load, load)]
        through = dict(taken[0].through if taken else found.through)
        for segment in (segment for one in [*taken[1:], found] for segment in one.segments):
            leg, _, number = segment.rpartition("-")
            through[leg] = max(int(number), through.get(leg, -1))
        return replace(found, through=through, carried=found.carried or load)

    def taken(self, warehouse: str, schema: str, collection: str, load: int) -> tuple[str, ...]:
        """The segments that a load took."""
        return decoded(self.store, f"loads/{warehouse}/{schema}/{collection}/{load:06}.json", Manifest).segments

    def plan_load(self, warehouse: str, schema: str, collection: str, manifest: Manifest) -> Manifest:
        """Put a load's manifest; where its number is taken, the one that is there holds.

        Like the fold, `through` is carried by some, and else follows from the manifest that carried it and those since.
        """
        carries = not manifest.carried or manifest.load - manifest.carried >= max(FOLD_EVERY, len(manifest.through) // 8)
        stored = replace(manifest, carried=0) if carries else replace(manifest, through={})
        self.store.put(f"loads/{warehouse}/{schema}/{collection}/{manifest.load:06}.json", encoded(stored))
        return self.manifest(warehouse, schema, collection, manifest.load) or manifest

    def acknowledge(self, warehouse: str, schema: str, collection: str, load: int, ack: Ack) -> None:
        """Remember that a load was committed, so that what it took may be thinned."""
        folder = f"acks/{warehouse}/{schema}/{collection}"
        known = self._numbered(folder)
        if not known or int(Path(known[-1]).stem) < load:
            self.store.put(f"{folder}/{load:06}.json", encoded(ack))
            for older in known:
                self.store.remove(older)

    def loadings(self, collection: str) -> list[Loading]:
        """What each warehouse that ever loaded a collection has of it."""
        schemas = [schema for warehouse in self.store.names("loads") for schema in self.store.names(warehouse)]
        there = [Path(schema) for schema in schemas if self._numbered(f"{schema}/{collection}")]
        return [self.loading(schema.parent.name, schema.name, collection) for schema in there]

    def loading(self, warehouse: str, schema: str, collection: str) -> Loading:
        """What a warehouse has of a collection."""
        acks = self._numbered(f"acks/{warehouse}/{schema}/{collection}")
        manifest = self.manifest(warehouse, schema, collection, int(Path(acks[-1]).stem) if acks else 0)
        ack = decoded(self.store, acks[-1], Ack) if acks and manifest else None
        return Loading(warehouse, schema, manifest or Manifest(0, ()), ack)

    def forget(self, warehouse: str) -> bool:
        """Remove all that is known of a warehouse; whether anything was."""
        files = [file for kind in ("acks", "loads") for file in self.store.tree(f"{kind}/{warehouse}")]
        for file in files:
            self.store.remove(file)
        return bool(files)

    def _numbered(self, folder: str) -> list[str]:
        """The files of a folder that are called by numbers."""
        return [name for name in self.store.names(folder) if Path(name).stem.isdecimal()]
