"""How far a pass over a list can be trusted, and whether what it lacks is gone. Pure.

A stable way of paging needs no more than its proven end. Any other may lose a row between two pages while every page looks
right, so it is checked: against the API's total, against keys that came twice, against what the hub holds. Evidence of a slip
means one more reading; where that confirms the first, what both lack is gone, and what is still short of the total is said to
be incomplete.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import Incomplete
from .hub.segment import Ended


@dataclass(frozen=True)
class Reading:
    """One walk over a list that has come to its end."""

    pages: int
    keys: int
    """Records with a readable key."""
    distinct: int
    first_total: int | None
    last_total: int | None
    missing: int = 0
    """Keys that the hub holds and this pass has not met."""
    unreadable: int = 0
    """Records whose key cannot be read: they count towards the total."""


@dataclass(frozen=True)
class ReadAgain:
    """The list has to be read once more, and why."""

    why: str


def snapshot(reason: str) -> Ended:
    """The end of a list that came in one answer, or over a stable way of paging."""
    return Ended(reason, "proven", gone=True)


def grade(reason: str, reading: Reading) -> Ended | ReadAgain:
    """The verdict on the first reading of a list whose pages can shift."""
    total, came = reading.last_total, reading.distinct + reading.unreadable
    if total is not None and came != total:
        return ReadAgain(f"{came:,} of {total:,} records came")
    if reading.keys > reading.distinct:
        return ReadAgain(f"{reading.keys - reading.distinct:,} records came twice")
    if reading.first_total != total:
        return ReadAgain("the total changed on the way")
    if reading.missing:
        return ReadAgain(f"{reading.missing:,} records that the hub holds did not come")
    return Ended(reason, "checked" if total is not None else "open", whole=True)


def grade_again(reason: str, second: Reading, both: int) -> Ended:
    """The verdict on the second reading; `both` is how many distinct keys the two met together. Raises Incomplete.

    It confirms the first where no key came twice, and it has as many as the total says, or, without a total, all that the
    first had.
    """
    total = second.last_total
    if total is not None and both + second.unreadable < total:
        raise Incomplete(f"read twice, {both:,} of {total:,} records came; page by a key that does not move, if the API can")
    told = both if total is None else total - second.unreadable
    confirmed = second.keys == second.distinct == told
    return Ended(reason, "checked", gone=True) if confirmed else Ended(reason, "open")
