"""How far a pass over a list can be trusted, and whether what it lacks is gone. Pure.

A stable way of paging needs no more than its proven end. Any other may lose a row between two pages while every page looks
right, so it is checked: against the API's total, against keys that came twice, against what the hub holds. Evidence of a slip
means one more reading; what both readings lack is gone, and what is still short of the total is said to be incomplete.
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
    missing: int
    """Keys that the hub holds and this pass has not met."""


@dataclass(frozen=True)
class ReadAgain:
    """The list has to be read once more, and why."""

    why: str


def snapshot(reason: str) -> Ended:
    """The end of a list that came in one answer, or over a stable way of paging."""
    return Ended(reason, "proven", gone=True)


def grade(reason: str, reading: Reading) -> Ended | ReadAgain:
    """The verdict on the first reading of a list whose pages can shift."""
    total = reading.last_total
    if total is not None and reading.distinct != total:
        return ReadAgain(f"{reading.distinct:,} of {total:,} records came")
    if reading.keys > reading.distinct:
        return ReadAgain(f"{reading.keys - reading.distinct:,} records came twice")
    if reading.first_total != total:
        return ReadAgain("the total changed on the way")
    if reading.missing:
        return ReadAgain(f"{reading.missing:,} records that the hub holds did not come")
    return Ended(reason, "checked" if total is not None else "open")


def grade_again(reason: str, second: Reading, both: int) -> Ended:
    """The verdict on the second reading; `both` is how many distinct keys the two met together. Raises Incomplete."""
    total = second.last_total
    if total is not None and both < total:
        raise Incomplete(f"read twice, {both:,} of {total:,} records came; page by a key that does not move, if the API can")
    quiet = second.first_total == total == second.distinct == second.keys
    return Ended(reason, "checked" if quiet else "open", gone=True)
