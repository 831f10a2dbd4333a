"""Thins a hub: what newer versions have replaced goes, as far as the spec's `keep` and what warehouses have loaded allow. I/O.

Any step may be the last: each segment is replaced whole, and whoever reads it finds the old one or the new one.
"""

from __future__ import annotations

import contextlib

from msgspec import Struct

from .account import COMPACTION, locked
from .clock import Clock
from .errors import Damaged, UsageError
from .hub import Damage, Hub, HubState
from .hub.fold import epoch
from .parse import Source
from .retention import Base, base, taken, too_young
from .run import Options, selected
from .spec import Spec, collection_of, is_feed
from .stage import Stage
from .times import SECOND


class Compacted(Struct):
    """What became of one collection: how many of its segments were looked through, and what the hub held before and holds now."""

    keep: str
    segments: int
    held_by: str | None
    """Why the segments behind them stay as they are."""
    records: int
    bytes: int
    records_left: int = 0
    bytes_left: int = 0


def compact(source: Source, options: Options, clock: Clock) -> dict[str, Compacted]:
    """Thin what a hub holds of some collections. Raises HubError where others are at work in it, and UsageError for an empty hub."""
    hub, names = Hub(options.hub, source.spec.name.text), source.spec.lists_of(selected(source, options.select))
    if hub.identity() is None:
        raise UsageError(f"{hub}: is empty; there is nothing to compact")
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(hub.local, *options.lock_of("pull", hub.source)))
        stack.enter_context(locked(hub.local, COMPACTION))
        hub.store.sweep()
        state, now = hub.state(), int(clock.time() * SECOND)
        for name, damage in state.damage.items():
            for segment, one in damage.items():
                hub.note(name, segment, one)
        hub.begin(lambda run: {"format": 1, "at": now, "compacts": names}, state, carries=True)
        stage = stack.enter_context(Stage(hub, COMPACTION))
        return {name: _compact(source.spec, hub, state, stage, name, now) for name in names}


def _compact(spec: Spec, hub: Hub, state: HubState, stage: Stage, name: str, now: int) -> Compacted:
    thinnable = _base(spec, hub, state, name, now)
    done = Compacted(str(spec.keep_of(name)), len(thinnable.segments), thinnable.held_by, *_size(hub, name))
    starts = [one.run for one in state.of(name).passes]
    lost = hub.damaged_among(name, thinnable.segments)
    sound = [segment for segment in thinnable.segments if segment not in lost]
    if hub.store.is_shared:  # another machine may read what this one replaces: it stays until the next time
        hub.drop_replaced(name)
    try:
        for segment, gone in stage.replaced(name, spec.lists[name], sound, lambda one: epoch(one, starts)):
            hub.thin(name, segment, gone)
    except Damaged as error:  # the next time passes it over
        hub.note(name, error.segment.partition("/")[2], Damage(error.why))
        raise
    if not hub.store.is_shared:
        hub.drop_replaced(name)
    done.records_left, done.bytes_left = _size(hub, name)
    return done


def _base(spec: Spec, hub: Hub, state: HubState, name: str, now: int) -> Base:
    """What of a collection may be thinned."""
    age = spec.keep_of(name).age
    if age is None:
        return Base((), "`keep: all`")
    young = too_young(list(hub.began()), now - int(age.seconds * SECOND)) if age.seconds else None
    children = {
        child: (collection, state.of(child))
        for child, collection in spec.lists.items()
        if collection.parent and collection.parent.collection == collection_of(name)
    }
    known = hub.loads.loadings(name)
    if is_feed(name):
        known = [taken(one, state.of(name)) for one in hub.loads.loadings(collection_of(name))]
    there = [segment for segment in hub.segments(name) if state.of(name).has(segment)]  # others may come from elsewhere meanwhile
    return base(state.of(name), there, known, children, young)


def _size(hub: Hub, name: str) -> tuple[int, int]:
    """How many records of a collection a hub holds, and in how many bytes."""
    segments = hub.segments(name)
    return sum(hub.head(name, segment).records for segment in segments), sum(hub.size(name, segment) for segment in segments)
