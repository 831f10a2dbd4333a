"""How far back a hub may be thinned: Collection + hub state + what warehouses have -> segments. Pure.

Of the segments in the base, and of these alone, only the newest version of each record needs to stay: their order is settled
for good, and every warehouse that is known has them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from .hub import CollectionState, Loading
from .hub.segment import run_of
from .spec import Collection


class Base(Struct, frozen=True):
    """The first of a collection's segments, as many as may be thinned, and why the one behind them may not (None: there is none)."""

    segments: tuple[str, ...]
    held_by: str | None


def base(
    state: CollectionState,
    segments: Sequence[str],
    loadings: Sequence[Loading],
    children: Mapping[str, tuple[Collection, CollectionState]],
    too_young: int | None = None,
) -> Base:
    """`segments` are all of the collection, in the hub's order; what runs from `too_young` on have brought is kept as it is.

    A pass that has not ended may still outrank what came since it began, and a child's chain walks the parents as they were
    when it began. A pass that a warehouse has only loaded in part is to it as one that has not ended.
    """
    begun = [run_of(chain.chain) for chain in state.open.values()]
    limits = [(run, f"the chain that run {run} began has not ended") for run in begun]
    limits += [(too_young, "it is younger than `keep`")] if too_young is not None else []
    for child, (collection, known) in children.items():
        walked = [run_of(chain.chain) for chain in known.open.values()]
        walked += [known.parents] if known.parents is not None and collection.parent and collection.parent.only_changed else []
        limits += [(run + 1, f"{child} has read the lists of these parents as of run {run}") for run in walked]
    found, held_by = len(segments), None
    place = {name: at for at, name in enumerate(segments)}

    def cut(at: int, why: str) -> None:
        nonlocal found, held_by
        if at < found:
            found, held_by = at, why

    for run, why in limits:
        cut(_first(segments, run), why)
    for one in loadings:
        missing = next((at for at, name in enumerate(segments) if not one.last.has(name)), len(segments))
        cut(missing, f"warehouse {one.warehouse} (schema {one.schema}) has not loaded it, as far as is known")
    for one_pass in sorted(state.passes, key=lambda one: one.run, reverse=True):
        if place.get(one_pass.ended, found) < found:
            break  # it outranks all that came before it
        cut(_first(segments, one_pass.run), f"the end of the pass that run {one_pass.run} began has to come first")
    return Base(tuple(segments[:found]), held_by)


def taken(loading: Loading, feed: CollectionState) -> Loading:
    """What a warehouse has of a delete feed, from what it has of the collection: all up to the last run whose records it has."""
    last = max(map(run_of, loading.last.through), default=0)
    return replace(loading, last=replace(loading.last, through={leg: tip for leg, tip in feed.tips.items() if run_of(leg) <= last}))


def too_young(began: Sequence[tuple[int, int]], before: int) -> int:
    """The first run of which some segment may have come after an instant; `began` are the runs, and when each began.

    A run's segments came before the next run began, and no run began before the one it follows: clocks that were wrong only make it an
    earlier one.
    """
    runs = sorted(began)
    latest = accumulate((at for _, at in runs), max)
    younger = next((run for (run, _), at in zip(runs, latest, strict=True) if at > before), runs[-1][0] + 1 if runs else 1)
    return younger - 1


def _first(segments: Sequence[str], run: int) -> int:
    """The place of the first segment of a run or of a later one."""
    return next((at for at, name in enumerate(segments) if run_of(name) >= run), len(segments))
