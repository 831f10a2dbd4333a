"""The lists of single parents that tell what is gone: those that were read whole, as the hub keeps them. I/O, through the hub.

A complete pass tells of all parents at once, or, where one list of it is not certain, of none; each list tells of its own parent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Some
from typing import Any

from msgspec import Struct

from .hub import CollectionState, Head, Hub
from .hub.segment import run_of
from .plan import WholeList


class Part(Struct, frozen=True):
    """Some records of a segment: from the place `first` on (from 0), as far as `behind`, or as its end."""

    segment: str
    first: int = 0
    behind: int | None = None


def untold_ends(hub: Hub, name: str, state: CollectionState, segments: Iterable[str], taken: Some[str]) -> list[Head]:
    """Of some segments, those that ended chains whose lists tell for themselves: no complete pass tells of them all."""
    told = {one.chain for one in state.passes if one.gone and one.ended in taken}
    heads = (hub.head(name, segment) for segment in segments)
    return [head for head in heads if head.ended is not None and head.chain not in told]


def whole_lists(hub: Hub, name: str, ends: Iterable[Head], taken: Sequence[str], damaged: Some[str]) -> list[WholeList]:
    """The lists of some chains that have ended by which something may be gone of all that was `taken`.

    Left out are those before which there was nothing, those of which some is damaged, and several that are all empty at once. Raises
    Damaged.
    """
    oldest, sound = min(map(run_of, taken), default=0), sorted(segment for segment in taken if segment not in damaged)
    found = [one for end in ends for one in _of_chain(hub, name, end, sound)]
    return [one for one in found if run_of(one.first) > oldest and not any(one.first <= lost <= one.last for lost in damaged)]


def readable(lists: Iterable[WholeList], unreadable_in: Iterable[int]) -> list[WholeList]:
    """The lists without those of runs in which keys could not be read: what they lack is not known."""
    return [one for one in lists if not any(run_of(one.first) <= run <= run_of(one.last) for run in unreadable_in)]


def _of_chain(hub: Hub, name: str, end: Head, segments: Sequence[str]) -> list[WholeList]:
    """The lists of a chain, which lies among some segments in the hub's order."""
    heads = [hub.head(name, segment) for segment in segments[bisect_left(segments, end.chain) : bisect_right(segments, end.name)]]
    slices = [(head, one) for head in heads if head.chain == end.chain for one in hub.slices(name, head.name)]
    found = [WholeList(one.parent or {}, one.gone_since, head.name, head.began) for head, one in slices if one.gone_since]
    return found if len(found) == 1 or any(one.records for _, one in slices) else []


class HeldLists:
    """Where the records of each parent's list lie in some segments: those since it was read whole for the last time."""

    def __init__(self, hub: Hub, name: str, segments: Iterable[str], of: Callable[[Mapping[str, Any]], str]) -> None:
        self._hub, self._name, self._of = hub, name, of
        self._parts: dict[str, list[Part]] = {}
        self._last: tuple[str, Sequence[bytes]] = ("", ())
        for segment in segments:
            first = 0
            for one in hub.slices(name, segment):
                parts = self._parts.setdefault(of(one.parent or {}), [])
                parts += [Part(segment, first, first + one.records)] if one.records else []
                first += one.records
                if one.gone_since:
                    parts[:] = [part for part in parts if part.segment >= one.gone_since]

    def parts(self, parent: Mapping[str, Any]) -> Sequence[Part]:
        return self._parts.get(self._of(parent), ())

    def records(self, part: Part) -> Sequence[bytes]:
        """The records of a part. Parents are walked in the same order each time, so that a segment is read once for many of them."""
        if self._last[0] != part.segment:
            self._last = part.segment, self._hub.records(self._name, part.segment)
        return self._last[1][part.first : part.behind]
