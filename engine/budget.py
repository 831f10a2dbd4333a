"""How many requests may be sent, and when the next one may. Pure: the clock is the caller's.

An API's own headers, where the spec names them, are believed over the declared numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from typing import Annotated, Any, Literal

from msgspec import Struct

from .fields import HEADER, MOST, Doc, Duration

_FINE = 100
"""From how many requests on they are counted together, by the hundredth of a window: a day's 100,000 would fill the memory."""


class Budget(Struct, frozen=True, kw_only=True):
    """At most so many requests in so much time."""

    requests: Annotated[int, Doc("how many", {"minimum": 1})]
    per: Annotated[Duration, Doc("in how much time")]
    limit_header: Annotated[str | None, Doc("the header that says how many are allowed", HEADER)] = None
    remaining_header: Annotated[str | None, Doc("the header that says how many are left", HEADER)] = None
    reset_header: Annotated[
        str | None, Doc("the header that says when all are allowed again; it is believed for ten windows, then asked anew", HEADER)
    ] = None
    reset: Annotated[Literal["seconds", "epoch"], Doc("whether that is in so many seconds, or at a time (epoch seconds)")] = "seconds"

    def mistakes(self) -> list[str]:
        """What no schema can see, for the one who writes the spec."""
        return [] if self.per.seconds else ["allows requests in no time at all; write one like `per: 1m`"]

    @property
    def key(self) -> str:
        """What tells it from the other budgets of an account."""
        return f"{self.requests}/{self.per}"

    @property
    def names_headers(self) -> bool:
        return any((self.limit_header, self.remaining_header, self.reset_header))

    def opened(self, now: float) -> Allowance:
        return Allowance(self.requests, self.requests, now + self.per.seconds)

    def restored(self, data: Any, now: float) -> Allowance:
        """What was stored of it; a new one where that is of another time. Raises ValueError or TypeError."""
        left, limit, until, sent = data
        found = Allowance(int(left), int(limit), float(until), tuple((float(stamp), int(count)) for stamp, count in sent))
        return found if found.until <= now + 10 * self.per.seconds else self.opened(now)

    def wait(self, allowance: Allowance, now: float, cost: int = 1) -> float:
        """How many seconds to wait before the next request, which counts for `cost`."""
        cost = min(cost, allowance.limit)
        wait = allowance.until - now if allowance.left < cost else 0.0
        counted = 0
        for stamp, count in reversed(allowance.sent):
            counted += count
            if counted + cost > allowance.limit:
                wait = max(wait, stamp + self.per.seconds - now)
                break
        return max(wait, 0.0)

    def spent(self, allowance: Allowance, now: float, cost: int = 1) -> Allowance:
        """What is left after one request is sent now."""
        per = self.per.seconds
        if now >= allowance.until:
            allowance = replace(allowance, left=allowance.limit, until=now + per)
        sent = tuple(one for one in allowance.sent if one[0] > now - per)
        stamp = ceil(now * _FINE / per) * per / _FINE if allowance.limit > _FINE else now
        counted, before = 0, list(sent)
        if before and stamp <= before[-1][0]:
            stamp, counted = before.pop()
        return replace(allowance, left=allowance.left - cost, sent=(*before, (stamp, counted + cost)))

    def told(self, allowance: Allowance, headers: Mapping[str, str], status: int, now: float, epoch: float) -> Allowance:
        """What is left by an answer's headers, their names in lower case; `now` is a monotonic clock's, `epoch` the wall's.

        A refusal (429) leaves nothing, and its window lasts a second at least, whatever the API says.
        """
        limit = _number(headers, self.limit_header)
        left = _number(headers, self.remaining_header)
        reset = _number(headers, self.reset_header)
        if limit is not None and limit >= 1:
            allowance = replace(allowance, limit=min(int(limit), MOST))
        if left is not None:
            allowance = replace(allowance, left=max(min(int(left), MOST), -MOST), sent=())
        if reset is not None:
            seconds = reset - epoch if self.reset == "epoch" else reset
            allowance = replace(allowance, until=now + min(max(seconds, 0.0), 10 * self.per.seconds))
        if status == 429:
            allowance = replace(allowance, left=0, until=max(allowance.until, now + 1.0))
        return allowance

    def remaining(self, allowance: Allowance, now: float) -> tuple[int, float]:
        """How many requests are left, and when (by the clock of `now`) it is all of them again."""
        per = self.per.seconds
        left = allowance.left if now < allowance.until else allowance.limit
        recent = [(stamp, count) for stamp, count in allowance.sent if stamp > now - per]
        left = min(left, allowance.limit - sum(count for _, count in recent))
        return max(left, 0), max(allowance.until, now, *(stamp + per for stamp, _ in recent))


@dataclass(frozen=True)
class Allowance:
    """What is left of a budget until its window ends (in the caller's monotonic seconds)."""

    left: int
    limit: int
    until: float
    sent: tuple[tuple[float, int], ...] = field(default=(), compare=False)
    """When the last requests were sent, and for how many each counts, while the API does not tell what is left: no stretch of time
    may hold too many."""

    def as_json(self) -> list[Any]:
        return [self.left, self.limit, self.until, self.sent]


def _number(headers: Mapping[str, str], name: str | None) -> float | None:
    try:
        number = float(headers.get(name.lower(), "")) if name else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None
