"""What a run does next, and why: Spec + hub state -> steps. Pure.

A run's plan is its first step for each collection, stored before any work. What follows a step (changes after a pass that
took long, say) comes out of the same function while running, so a plan that is shown cannot drift from what is done.
"""

from __future__ import annotations

from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from . import times
from .hub.fold import CollectionState, OpenChain, Pass, epoch, unmended
from .hub.segment import leg_name, number_of, run_of, segment_name
from .spec import Collection, Purpose


class Run(Struct, frozen=True):
    """The run that the steps belong to: its number, its instant by our clock, and whether complete passes were asked for."""

    number: int
    at: int
    full: bool = False


class Step(Struct, frozen=True):
    """Begin a chain, or go on with one: the unit of fetching."""

    collection: str
    purpose: Purpose
    leg: str
    chain: str
    reason: str
    began: int
    since: int | None = None
    until: int | None = None
    covered: int | None = None
    """The run whose parents all have their lists read, up to `since`; None where none have."""
    after: str | None = None
    """The segment to go on from."""
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def first_name(self) -> str:
        """The name of the first segment that the step will write."""
        return segment_name(self.leg, number_of(self.after) + 1 if self.after else 0)

    @property
    def is_new(self) -> bool:
        return self.after is None

    def as_json(self) -> dict[str, Any]:
        return dict(to_builtins(self))


def next_step(
    name: str,
    collection: Collection,
    state: CollectionState,
    routes: Mapping[Purpose, str],
    run: Run,
    begun: Sequence[Step],
    scope: str = "",
    damaged: Some[str] = (),
) -> Step | None:
    """The next step of a run for a collection, after those it has already begun; None where nothing is left to do.

    `routes` are the fingerprints of today's ways of reading: a chain that was begun another way is begun anew. `scope` is that
    of the records that are asked for: where it was another at the last pass, there are some that were never asked for. What
    `damaged` segments held is asked for by a complete pass.
    """
    leg = leg_name(run.number, len(begun) + 1)

    def begin(purpose: Purpose, reason: str, since: int | None = None) -> Step:
        covered = state.parents if collection.parent and purpose == "changed" else None
        return Step(name, purpose, leg, leg, reason, run.at, since, covered=covered, state=state.owed if purpose == "changed" else {})

    def resume(purpose: Purpose, chain: OpenChain) -> Step:
        reason = f"goes on after segment {chain.after} of run {run_of(chain.chain)}"
        return Step(
            name, purpose, leg, chain.chain, reason, chain.began, chain.since, chain.until,
            after=chain.after, state=chain.state,
        )  # fmt: skip

    passes = [step for step in begun if step.purpose == "full"]
    if not passes:
        if run.full:
            return begin("full", "a complete pass was asked for")
        open_pass = state.open.get("full")
        lost = unmended(state, damaged)
        if lost and not (open_pass and all(run_of(name) < run_of(open_pass.chain) for name in lost)):
            return begin("full", f"segment {lost[0]} is damaged: what it held is asked for again")
        if open_pass and open_pass.route == routes["full"]:
            return resume("full", open_pass)
        if why := _why_full(collection, state, run, scope):
            return begin("full", why + (", anew, for the spec asks another way now" if open_pass else ""))
    if not collection.can_ask_changes or any(step.is_new for step in passes):
        return None
    windows = [step for step in begun if step.purpose == "changed"]
    open_window = state.open.get("changed")
    if open_window and open_window.route == routes["changed"] and not windows:
        return resume("changed", open_window)
    if any(step.is_new for step in windows):
        return None
    if not collection.asks_since:
        return begin("changed", "the lists of parents that are new or changed")
    since = state.cursor
    return begin("changed", f"changes since {times.show(since)}" if since is not None else "changes since the start", since)


def _why_full(collection: Collection, state: CollectionState, run: Run, scope: str) -> str | None:
    has_start = collection.cursor is not None and collection.cursor.start is not None
    if not state.passes and not has_start:
        return "the first complete pass"
    if not collection.can_ask_changes:
        return "changes cannot be asked for"
    if collection.asks_since and state.cursor is None and not has_start:
        return "no pass has told since when changes are to be asked for"
    if scope and state.passes and state.passes[-1].scope not in ("", scope):
        return "the spec asks for other records now"
    every = collection.full.every
    last = state.passes[-1].began if state.passes else None
    if every and (last is None or run.at - last >= every.seconds * times.SECOND):
        return f"a complete pass is due (every {every})"
    if every and last is not None and last > run.at:
        return "a complete pass is due, for the last one is in the future: a clock was wrong"
    return None


class WholeList(Struct, frozen=True):
    """One parent's list, from the segment in which it began to that in which it ended: what it lacks is gone."""

    parent: Mapping[str, Any]
    first: str
    last: str
    began: int
    """When its chain began (microseconds)."""


class AsOf(Struct, frozen=True):
    """A collection as it was when a run had read it: the segments that tell, and the runs at which their epochs began."""

    segments: tuple[str, ...]
    starts: tuple[int, ...]
    told: tuple[str, ...] = ()
    """The segments of its delete feed."""
    lists: tuple[WholeList, ...] = ()
    """The lists that tell what is gone of single parents."""

    def epoch(self, name: str) -> int:
        return epoch(name, self.starts)


def as_of(state: CollectionState, segments: Sequence[str], run: int) -> AsOf:
    """What of a collection's segments tells which records were alive after a run: those since the last pass that proved the rest gone.

    It depends on nothing that is written by later runs, so that a chain which many runs walk sees the same parents.
    """
    passes = [one for one in state.passes if run_of(one.ended) <= run]
    gone = max((one.run for one in passes if one.gone), default=0)
    there = tuple(name for name in segments if gone <= run_of(name) <= run)
    return AsOf(there, tuple(sorted({one.run for one in passes})))


def every_pass_tells(state: CollectionState) -> CollectionState:
    """The state of a snapshot: what a complete pass lacks does not belong to it, however weak the proof."""
    return replace(state, passes=tuple(replace(one, gone=True) for one in state.passes))


def up_to_last_pass(state: CollectionState, segments: Sequence[str]) -> list[str]:
    """The segments, in the hub's order, up to the one that ended the last complete pass."""
    ends = {one.ended for one in state.passes}
    return list(segments[: max((place for place, name in enumerate(segments, 1) if name in ends), default=0)])


def up_to_first_gone(state: CollectionState, segments: Sequence[str]) -> list[str]:
    """The first of some segments, up to the first that ended a pass which proved what is gone."""
    ends = {one.ended for one in state.passes if one.gone}
    return list(segments[: next((place for place, name in enumerate(segments, 1) if name in ends), len(segments))])


class LoadStep(Struct, frozen=True):
    """What one load does: which segments it counts, which it reads again, and from which pass on the rest is gone."""

    load: int
    new: tuple[str, ...]
    again: tuple[str, ...]
    starts: tuple[int, ...]
    """The runs at which the passes began that have ended by now: they open the epochs."""
    complete: bool
    """Whether `new` and `again` are together all there is since their oldest epoch, so that no row outranks them."""
    gone_since: int | None
    """The run at which the last pass began that proved what is gone: what no segment since then holds; None: no pass did."""
    marks_gone: bool
    """Whether this load finds out what is gone: `new`, `again` and `keys` hold every key since `gone_since`."""
    keys: tuple[str, ...] = ()
    """Of which segments the keys are enough."""

    lacks: bool = False
    """Whether segments are damaged, so that rows may be newer than all that is left."""
    finds_from: int | None = None
    """The run from which on passes are found out by this load; None: none is."""

    def epoch(self, name: str) -> int:
        return epoch(name, self.starts)

    def without(self, damaged: Some[str]) -> LoadStep:
        """The step without damaged segments: what they held may be there still, so nothing since then is taken for gone."""
        if not damaged:
            return self
        new, again, keys = (tuple(name for name in names if name not in damaged) for names in (self.new, self.again, self.keys))
        return replace(self, new=new, again=again, keys=keys, lacks=True)

    def told_by(self, gone_since: int | None, before: Sequence[str]) -> LoadStep:
        """The step that takes another pass for the last one that proved what is gone, after loads of `before`."""
        finds = gone_since is not None and self.finds_from is not None and gone_since >= self.finds_from
        keys = tuple(name for name in before if finds and run_of(name) >= (gone_since or 0) and name not in self.again)
        return replace(self, gone_since=gone_since, marks_gone=finds, keys=keys)


class Telling(Struct, frozen=True):
    """How far a load takes a delete feed: its segments up to the run `until`, of which those up to `known` were taken before."""

    segments: tuple[str, ...]
    known: int
    until: int
    rereads: bool
    """Whether all records have to be read again, to tell which of them are newer than what is told."""

    def split(self, everything: bool) -> tuple[list[str], list[str]]:
        """The segments whose deletions count: those that are new, or everything; and those that only tell what is not new."""
        new = [name for name in self.segments if everything or run_of(name) > self.known]
        return new, [name for name in self.segments if name not in new]


def telling(
    feed: Sequence[str], lost: Some[str], known: int, new: Sequence[str], before: Sequence[str], held_back: bool, lists: bool = False
) -> Telling:
    """How far a load of the records' segments `new`, after loads of `before`, takes a delete feed that was taken up to the run `known`.

    In each run the feed is read first, so it is complete as far as records are loaded, and taken up to there. What came since
    segments were `lost` waits until a complete pass over the feed has mended that. Records and deletions have to come in step,
    for which of the two is newer is known by their runs; where they do not, or deletions were `held_back`, all are read again.
    `lists`: the records' own lists tell of deletions, which come with them.
    """
    loaded, reach = (max(map(run_of, names), default=0) for names in (before, [*before, *new]))
    until = max(known, min([reach, *(run_of(name) - 1 for name in lost if run_of(name) > known)]))
    there = tuple(name for name in feed if run_of(name) <= until)
    earliest = min(map(run_of, new), default=known)
    late = any(known < run_of(name) <= loaded or earliest < run_of(name) <= known for name in there)
    late |= lists and bool(new) and earliest < loaded
    return Telling(there, known, until, held_back or late)


class Loaded(Struct, frozen=True):
    """A load that was made: its segments, and how many of their records lost against others."""

    segments: tuple[str, ...]
    stale: int
    duplicates: int


def overtaken_since(
    state: CollectionState, new: Sequence[str], before: Sequence[str], strangers: bool = False, owed_since: int | None = None
) -> int | None:
    """The run at which the first pass began that ends with a load of `new` and outranks what was loaded `before`; None: none does."""
    loaded, taken = set(before), {*before, *new}
    owed = {one.ended for one in state.passes if one.gone and owed_since is not None and one.run > owed_since}
    ended = [one for one in state.passes if one.ended in taken and (one.ended not in loaded or one.ended in owed)]
    if not strangers:
        ended = [one for one in ended if any(run_of(name) < one.run for name in taken)]
    return min((one.run for one in ended), default=None)


def settled(state: CollectionState, taken: Some[str], loads: Iterable[Loaded]) -> bool:
    """Whether passes that have ended change nothing of what these loads, in the midst of them, found to be the newest versions.

    Records of a pass won against all that they met; what of a load lost to others of it was of the same epoch.
    """
    starts = [one.run for one in state.passes if one.ended in taken]
    return all(not one.stale and (not one.duplicates or len({epoch(name, starts) for name in one.segments}) == 1) for one in loads)


def load_step(
    state: CollectionState,
    load: int,
    new: Sequence[str],
    before: Sequence[str],
    refill: bool,
    strangers: bool = False,
    in_doubt: bool = False,
    owed_since: int | None = None,
    is_settled: bool = False,
    had: Sequence[str] = (),
) -> LoadStep:
    """What a load of the segments `new` does, after loads of `before`.

    A pass that ends with this load outranks all that was received before it began, so what was received since and loaded
    already is read again; unless that is `settled`, or nothing was received before, here or by another hub (`strangers`). A
    new or changed property reads everything again (`refill`). `in_doubt`: rows were met that only the hub's history can rank.
    `owed_since`: what passes after this run's found gone was not marked, and is to be marked now. `had`: what was taken, too,
    until the warehouse was put back; of a hub that was thinned since, the newest versions may lie there, so it counts as alive.
    """
    taken = {*before, *new}
    starts = tuple(sorted({one.run for one in state.passes if one.ended in taken}))
    since_pass = overtaken_since(state, new, before, strangers, owed_since)
    overtaken = since_pass is not None and not is_settled and any(run_of(name) >= since_pass for name in before)
    complete = refill or overtaken or in_doubt
    again: tuple[str, ...] = ()
    if complete:
        oldest = min([epoch(name, starts) for name in new] + ([since_pass] if since_pass is not None else []), default=0)
        again = tuple(before) if refill else tuple(name for name in before if run_of(name) >= oldest)
    gone = max((one.run for one in state.passes if one.gone and one.ended in taken), default=None)
    marks_gone = gone is not None and (refill or (since_pass is not None and gone >= since_pass))
    keys = tuple(name for name in (*before, *had) if marks_gone and run_of(name) >= (gone or 0) and name not in again)
    finds_from = 0 if refill else since_pass
    return LoadStep(load, tuple(new), again, starts, complete, gone, marks_gone, keys=keys, finds_from=finds_from)


def proving(state: CollectionState, taken: Some[str], unreadable_in: Some[int], damaged: Some[str]) -> list[Pass]:
    """The passes that have ended and prove what is gone: not those in whose runs keys could not be read, or since which some is damaged."""
    passes = [one for one in state.passes if one.gone and one.ended in taken]
    passes = [one for one in passes if not any(one.run <= run <= run_of(one.ended) for run in unreadable_in)]
    return [one for one in passes if not any(run_of(name) >= one.run for name in damaged)]
