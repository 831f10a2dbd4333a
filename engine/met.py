"""What a chain has met of its lists, and what the hub holds of the same collection: what tells whether a list lacks something. I/O.

The keys of a list are kept while it is read, so that most lists need no look into the hub when they end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .exchange import Listing
from .hub import CollectionState, Head, Hub
from .hub.segment import run_of
from .keys import Keys
from .lists import HeldLists, Part
from .read import Reader
from .spec import Collection
from .stage import Stage
from .walked import Place


class Met:
    """Of one chain: `base` is what the hub knew of the collection when its step began, and `key_of` tells parents apart."""

    def __init__(
        self,
        hub: Hub,
        stage: Stage,
        reader: Reader,
        name: str,
        collection: Collection,
        chain: str,
        base: CollectionState,
        key_of: Callable[[Mapping[str, Any]], str],
    ) -> None:
        self.hub, self.stage, self.reader, self.name, self.collection, self.chain = hub, stage, reader, name, collection, chain
        self._key_of = key_of
        self._since = max((one.run for one in base.passes if one.gone or one.whole), default=0)
        """The run of the last pass that all came in: what is alive came since then."""
        self._keys: Keys | None = None
        """Those of all records of the list in hand; None where they were not all met here, or are hardly asked for."""
        self._held_lists: HeldLists | None = None
        """What the hub holds of each parent's list, where that was needed."""

    def begin(self, place: Place) -> None:
        """A list is in hand now."""
        if self._keys:
            self._keys.drop()
        is_new, may_slip = not place.pages and place.reading == 1, not self.reader.route.paginate.stable
        self._keys = Keys(self.stage) if is_new and (may_slip or self.collection.parent) else None

    def take(self, place: Place, listing: Listing) -> None:
        """A page of it came."""
        if self._keys:
            self._keys.add(place.reading, zip(*(listing.values(name) for name in listing.key), strict=True))

    def is_in_hub(self, tells_gone: bool) -> bool:
        """Whether only the hub, and the stage with its work, can tell what the list in hand brought, and, where it `tells_gone`, what it
        lacks."""
        return self._keys is None or self._keys.in_hand is None or (tells_gone and bool(self._held()))

    def counted(self, place: Place, *readings: int) -> tuple[int, int, int]:
        """Of readings of a list: how many records came, how many of them have a readable key, and how many keys there are."""
        if self._keys:
            return self._keys.counted(*readings)
        parts = [part for reading in readings for part in self._parts(place, reading)]
        readable_ones, distinct = self.stage.count_keys(self.name, self.collection, parts)
        return sum((part.behind or 0) - part.first for part in parts), readable_ones, distinct

    def missing(self, place: Place) -> int:
        """How many keys the hub holds that the last reading of the list has not met."""
        return self.stage.count_missing(
            self.name, self.collection, [Part(name) for name in self._held()], self._parts(place, place.reading)
        )

    def missing_of_parent(self, place: Place) -> int:
        """The same, of the keys of one parent's list."""
        if self._held_lists is None:
            self._held_lists = HeldLists(self.hub, self.name, self._held(), self._key_of)
        held = self._held_lists.parts(place.parent or {})
        if self._keys is None or self._keys.in_hand is None:
            return self.stage.count_missing(self.name, self.collection, held, self._parts(place, place.reading))
        keys = {key for part in held for key in self.reader.keys(self._held_lists.records(part), place.parent) if None not in key}
        return len(keys.difference(self._keys.in_hand.get(place.reading, ())))

    def holds_none(self) -> bool:
        """Whether the chain's segments have no record at all, whichever runs walked it, but the hub holds some."""
        if any(head.records for head in self._heads()):
            return False
        return any(self.hub.head(self.name, name).records for name in self._held())

    def lacks_some(self) -> bool:
        """Whether some of what the hub held when the pass began is damaged, so that nobody knows what is missing."""
        return any(run_of(name) >= self._since for name in self.hub.damage(self.name))

    def _parts(self, place: Place, reading: int) -> list[Part]:
        """Where the records of one reading of a list lie."""
        if self.collection.parent is None:
            return [Part(head.name, 0, head.records) for head in self._heads() if head.reading == reading]
        parts = []
        for head in self._heads(place.began):
            first = 0
            for one in self.hub.slices(self.name, head.name):
                if (one.number, one.reading) == (place.slice, reading) and one.records:
                    parts.append(Part(head.name, first, first + one.records))
                first += one.records
        return parts

    def _heads(self, since: str = "") -> list[Head]:
        """The chain's segments, or those from one of them on."""
        names = [name for name in self.hub.segments(self.name) if name >= max(self.chain, since)]
        return [head for head in (self.hub.head(self.name, name) for name in names) if head.chain == self.chain]

    def _held(self) -> list[str]:
        """The segments with all keys that were alive when the pass began; the chain's own are not among them."""
        own = {head.name for head in self._heads()}
        return [name for name in self.hub.segments(self.name) if run_of(name) >= self._since and name not in own]
