"""How far a pass over a list can be trusted, and whether what it lacks is gone. Pure.

A stable way of paging needs no more than its proven end. Any other may lose a row between two pages while every page looks
right, so it is checked: against the API's total, against keys that came twice, against what the hub holds. Evidence of a slip
means one more reading. Where that confirms the one before, what both lack is gone; where the evidence stays, the list is
incomplete, and the next run reads it once more.
"""

from __future__ import annotations

from msgspec import Struct

from .hub.segment import Ended, Proof


class Reading(Struct, frozen=True):
    """One walk over a list that has come to its end."""

    pages: int
    keys: int
    """Records with a readable key."""
    distinct: int
    last_total: int | None
    moved: bool = False
    """Whether the total was not the same on all pages."""
    missing: int = 0
    """Keys that the hub holds and this pass has not met."""
    unreadable: int = 0
    """Records whose key cannot be read: they count towards the total."""
    overlaps: int = 0
    """Records that were asked for twice, to see that neighbouring pages join."""
    slips: int = 0
    """Pages that did not join the page before."""

    @property
    def came(self) -> int:
        return self.distinct + self.unreadable

    @property
    def twice(self) -> int:
        """Records that came again without being asked for: something moved them between two pages."""
        return max(self.keys - self.distinct - self.overlaps, 0)

    def evidence(self) -> str | None:
        """What shows that a record may have slipped between two pages; None where nothing does."""
        if self.slips:
            return f"{self.slips:,} pages did not join the page before"
        if self.last_total is not None and self.came != self.last_total:
            return f"{self.came:,} of {self.last_total:,} records came"
        if self.twice:
            return f"{self.twice:,} records came twice"
        return "the total changed on the way" if self.moved else None


class ReadAgain(Struct, frozen=True):
    """The list has to be read once more, and why."""

    why: str


def weakest(one: Proof, other: Proof) -> Proof:
    order: tuple[Proof, ...] = ("open", "checked", "proven")
    return min(one, other, key=order.index)


def snapshot(reason: str) -> Ended:
    """The end of a list that came in one answer, or over a stable way of paging."""
    return Ended(reason, "proven", gone=True)


def grade(reason: str, reading: Reading) -> Ended | ReadAgain:
    """The verdict on the first reading of a list whose pages can shift."""
    if why := reading.evidence():
        return ReadAgain(why)
    if reading.missing:
        return ReadAgain(f"{reading.missing:,} records that the hub holds did not come")
    return Ended(reason, "checked" if reading.last_total is not None else "open", whole=True)


def grade_again(reason: str, last: Reading, both: int) -> Ended | ReadAgain:
    """The verdict on a later reading; `both` is how many distinct keys it and the one before met together.

    It confirms the one before, so that what both lack is gone, where nothing shows that anything moved, and, without a total,
    all came again that the one before had.
    """
    if why := last.evidence():
        return ReadAgain(why)
    if last.distinct == (both if last.last_total is None else last.last_total - last.unreadable):
        return Ended(reason, "checked", gone=True)
    return Ended(reason, "open")
