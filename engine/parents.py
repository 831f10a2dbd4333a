"""The records whose lists a collection of children is made of: who they are, and who was there when. I/O, through the hub and the stage."""

from __future__ import annotations

import json
from collections.abc import Collection as Some
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from .hub import CollectionState, Hub
from .hub.segment import run_of
from .lists import untold_ends, whole_lists
from .plan import AsOf, WholeList, as_of
from .spec import Spec, feed_name
from .stage import Stage


class Parents:
    """The records of a collection, of which the hub knows `state`, as the parents of others, which take the properties `taken` of them."""

    def __init__(self, hub: Hub, stage: Stage, spec: Spec, name: str, state: CollectionState, taken: Iterable[str]) -> None:
        self.hub, self.stage, self.spec, self.name, self.state = hub, stage, spec, name, state
        self.collection = spec.collections[name]
        self.words = sorted({*taken, *self.collection.key})
        self.parent_key = spec.parent_key(name)

    def key(self, parent: Mapping[str, Any]) -> str:
        """What tells one from the others."""
        return json.dumps([parent.get(word) for word in self.collection.key])

    @property
    def were_read(self) -> bool:
        return bool(self.hub.segments(self.name))

    def alive(self, run: int, covered: int | None = None) -> Iterator[dict[str, Any]]:
        """Those that were alive after a run, in the order of their keys, and what they were when the run `covered` had read them.

        Each has its values (`parent`), and whether it was there then (`known`), and was the same (`same`).
        """
        before = None if covered is None else self._as_of(covered)
        file = self.stage.parents(self.name, self.collection, self.words, self.parent_key, self._as_of(run), before)
        with file.open("rb") as lines:
            yield from map(json.loads, lines)
        file.unlink()

    def still(self, keys: Some[str], run: int) -> set[str]:
        """Those of some keys whose records were alive after a run."""
        return {key for one in self.alive(run) if (key := self.key(one["parent"])) in keys} if keys else set()

    def _as_of(self, run: int) -> AsOf:
        """What they were after a run."""
        then = as_of(self.state, self.hub.segments(self.name), run)
        if self.collection.mode == "append":  # it stays, whatever is told
            return then
        told = [segment for segment in self.hub.segments(feed_name(self.name)) if run_of(segment) <= run]
        lists, damage = list[WholeList](), self.hub.damage(self.name)
        if self.parent_key:
            ends = untold_ends(self.hub, self.name, self.state, then.segments, then.segments)
            lists = whole_lists(self.hub, self.name, ends, then.segments, damage)
        return replace(then, told=tuple(told), lists=tuple(lists))
