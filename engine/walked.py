"""How far a chain has come: the lists of it that were read, are in hand, failed or were left out. Pure; kept with each segment."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from .hub.segment import Proof


class Place(Struct):
    """How far one list has come: kept with each segment, so that any run can go on."""

    slice: int = 0
    """The parent's place among those of the chain; 0 where there is none."""
    parent: dict[str, Any] | None = None
    since: int | None = None
    walk: dict[str, Any] = field(default_factory=dict)
    """The paginator's own state."""
    reading: int = 1
    first_reading: int = 1
    """The first reading that was not broken off."""
    pages: int = 0
    records: int = 0
    last_total: int | None = None
    moved: bool = False
    """Whether the total was not always the same."""
    began: str = ""
    """The segment in which the list begins."""
    next: dict[str, Any] | None = None

    def again(self) -> Place:
        """The same list from its first page on, to confirm what was read."""
        return Place(self.slice, self.parent, self.since, reading=self.reading + 1, first_reading=self.first_reading, began=self.began)

    def anew(self, now: str) -> Place:
        """The same list from its first page on, in the segment `now`: what was read of it counts for nothing."""
        return replace(self.again(), first_reading=self.reading + 1, began=now)


class Owed(Struct):
    """A list that a rule has left out: the next chain asks for it again, as the last one did."""

    parent: dict[str, Any]
    since: int | None


class Walked(Struct):
    """How far a chain has come."""

    place: Place | None = None
    """The list in hand; None between two."""
    slices: int = 0
    """How many lists were begun."""
    failed: list[Place] = field(default_factory=list)
    """The lists that could not be read; the next run tries them again."""
    covered: int | None = None
    """The run whose parents all had their lists read when the chain began."""
    owed: list[Owed] = field(default_factory=list)
    """Those whose lists had not, for a rule left them out."""
    left: list[Owed] = field(default_factory=list)
    """The lists that rules left out of this chain."""
    proof: Proof = "proven"
    """The weakest of them."""
    gone: bool = True
    whole: bool = True
    total: int | None = None
    """What the API declares of all of them."""
