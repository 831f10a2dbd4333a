"""What the heads of all segments say together: resume points, closed windows, passes. Pure.

State is derived, never kept twice: plans carry the fold of all before them, and only later heads are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from .segment import Head, number_of, run_of, segment_name


class OpenChain(Struct, frozen=True):
    """A chain that has not ended: where the next run goes on."""

    chain: str
    after: str
    began: int
    since: int | None
    until: int | None
    route: str
    state: dict[str, Any]


class Pass(Struct, frozen=True):
    """A complete pass that ended. It opened an epoch at `run`: what was received from then on outranks all before."""

    run: int
    chain: str
    began: int
    ended: str
    """The segment that ended it."""
    gone: bool
    """Whether what it lacks is gone from the API."""
    whole: bool = False
    """Whether it lacked nothing that the hub held."""
    scope: str = ""
    """Which records it asked for."""


class CollectionState(Struct, frozen=True):
    """One collection's fold."""

    tips: dict[str, int] = field(default_factory=dict)
    """For each leg, the number of its last segment."""
    firsts: dict[str, int] = field(default_factory=dict)
    """For each leg that goes on with another's chain, the number of its first segment; all others begin with 0."""
    open: dict[str, OpenChain] = field(default_factory=dict)
    """By purpose: the chain to go on with."""
    passes: tuple[Pass, ...] = ()
    cursor: int | None = None
    """The end of the unbroken run of closed windows: changes are asked for from here. A pass begins the run anew, so that it
    mends what a wrong clock did."""

    parents: int | None = None
    """The run whose parents the last chain that ended has walked; None where none has."""
    owed: dict[str, Any] = field(default_factory=dict)
    """What that chain left out of it, for the next to begin with."""

    @property
    def names(self) -> Iterator[str]:
        """All segments that are folded in."""
        return (segment_name(leg, number) for leg, last in self.tips.items() for number in range(self.firsts.get(leg, 0), last + 1))

    def without(self, purpose: str) -> CollectionState:
        """The state as if no chain of this purpose were open."""
        return replace(self, open={other: chain for other, chain in self.open.items() if other != purpose})

    def has(self, name: str) -> bool:
        return number_of(name) <= self.tips.get(name.rpartition("-")[0], -1)


class Damage(Struct, frozen=True):
    """What is wrong with a segment."""

    why: str


class HubState(Struct, frozen=True):
    """Everything a plan needs to know of a hub."""

    run: int = 0
    """The number of the last run: of the last plan, or of a later segment whose plan is lost."""
    collections: dict[str, CollectionState] = field(default_factory=dict)
    damage: dict[str, dict[str, Damage]] = field(default_factory=dict)
    """By collection, the segments that cannot be read: nothing of them is in `collections`, unless it was known before."""
    folded: int = 0
    """The plan that carries the fold from which this was made."""
    behind: int = 0
    """How many heads were read behind it."""

    @property
    def size(self) -> int:
        return sum(len(state.tips) + len(state.passes) for state in self.collections.values())

    def of(self, collection: str) -> CollectionState:
        return self.collections.get(collection, CollectionState())


def fold(state: CollectionState, head: Head) -> CollectionState:
    """The state with one more segment in it. Segments come in the order of their names."""
    if head.leg not in state.tips and head.number:
        state = replace(state, firsts={**state.firsts, head.leg: head.number})
    tips = {**state.tips, head.leg: max(head.number, state.tips.get(head.leg, -1))}
    if head.ended is None:
        chain = OpenChain(head.chain, head.name, head.began, head.since, head.until, head.route, head.state)
        return replace(state, tips=tips, open={**state.open, head.purpose: chain})
    ends = {head.purpose, "changed"}  # a pass has seen, too, what an older window was to bring
    open_chains = {purpose: chain for purpose, chain in state.open.items() if purpose not in ends or chain.chain > head.chain}
    state = replace(state, tips=tips, open=open_chains, parents=_later(state.parents, run_of(head.chain)), owed=head.state)
    if head.purpose == "full":
        done = Pass(run_of(head.chain), head.chain, head.began, head.name, head.ended.gone, head.ended.whole, head.scope)
        known = any(one.chain == head.chain for one in state.passes)
        passes = state.passes if known else tuple(sorted((*state.passes, done), key=lambda one: one.chain))
        return replace(state, passes=passes, cursor=state.cursor if head.until is None else head.until)
    if head.since is not None and state.cursor is not None and head.since > state.cursor:
        return state
    return replace(state, cursor=_later(state.cursor, head.until))


def gaps(state: CollectionState, heads: Sequence[Head], damaged: Iterable[str]) -> list[str]:
    """The segments that are missing between those of a state and the last of some later heads: a chain's numbers have no gaps.

    A damaged segment does not tell of which chain it is: it may be the one that lacks its number.
    """
    there = set(map(number_of, damaged))
    known = {chain.chain: number_of(chain.after) + 1 for chain in state.open.values()}
    chains: dict[str, dict[int, str]] = {}
    for head in heads:
        chains.setdefault(head.chain, {})[head.number] = head.leg
    missing = []
    for chain, legs in chains.items():
        leg = ""
        for number in range(max(legs), known.get(chain, 0) - 1, -1):
            leg = legs.get(number, leg)
            missing += [segment_name(leg, number)] if number not in legs and number not in there else []
    return sorted(missing)


def unmended(state: CollectionState, damaged: Iterable[str]) -> list[str]:
    """The damaged segments that no complete pass came after: what they held may be lacking."""
    last = max((one.run for one in state.passes), default=0)
    return sorted(name for name in damaged if run_of(name) >= last)


def epoch(name: str, starts: Iterable[int]) -> int:
    """The run at which a segment's epoch was opened, of the runs at which passes began; 0 before the first."""
    run = run_of(name)
    return max((start for start in starts if start <= run), default=0)


def _later(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
