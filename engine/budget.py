"""How many requests may be sent, and when the next one may. Pure: the clock is the caller's.

An API's own headers, where the spec names them, are believed over the declared numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Annotated, Literal

from .fields import Doc, Duration


@dataclass(frozen=True, kw_only=True)
class Budget:
    """At most so many requests in so much time."""

    requests: Annotated[int, Doc("how many", {"minimum": 1})]
    per: Annotated[Duration, Doc("in how much time")]
    limit_header: Annotated[str | None, Doc("the header that says how many are allowed")] = None
    remaining_header: Annotated[str | None, Doc("the header that says how many are left")] = None
    reset_header: Annotated[str | None, Doc("the header that says when all are allowed again")] = None
    reset: Annotated[Literal["seconds", "epoch"], Doc("whether that is in so many seconds, or at a time (epoch seconds)")] = "seconds"

    def opened(self, now: float) -> Allowance:
        return Allowance(self.requests, self.requests, now + self.per.seconds)

    def wait(self, allowance: Allowance, now: float) -> float:
        """How many seconds to wait before the next request."""
        wait = allowance.until - now if allowance.left <= 0 else 0.0
        if len(allowance.sent) >= allowance.limit:
            wait = max(wait, allowance.sent[-allowance.limit] + self.per.seconds - now)
        return max(wait, 0.0)

    def spent(self, allowance: Allowance, now: float) -> Allowance:
        """What is left after one request is sent now."""
        if now >= allowance.until:
            allowance = replace(allowance, left=allowance.limit, until=now + self.per.seconds)
        return replace(allowance, left=allowance.left - 1, sent=(*allowance.sent[1 - allowance.limit :], now))

    def told(self, allowance: Allowance, headers: Mapping[str, str], status: int, now: float, epoch: float) -> Allowance:
        """What is left by an answer's headers; `now` is a monotonic clock's, `epoch` the wall's.

        A refusal (429) leaves nothing, and its window lasts a second at least, whatever the API says.
        """
        limit = _number(headers, self.limit_header)
        left = _number(headers, self.remaining_header)
        reset = _number(headers, self.reset_header)
        if limit is not None and limit >= 1:
            allowance = replace(allowance, limit=int(limit))
        if left is not None:
            allowance = replace(allowance, left=int(left), sent=())
        if reset is not None:
            seconds = reset - epoch if self.reset == "epoch" else reset
            allowance = replace(allowance, until=now + min(max(seconds, 0.0), 10 * self.per.seconds))
        if status == 429:
            allowance = replace(allowance, left=0, until=max(allowance.until, now + 1.0))
        return allowance


@dataclass(frozen=True)
class Allowance:
    """What is left of a budget until its window ends (in the caller's monotonic seconds)."""

    left: int
    limit: int
    until: float
    sent: tuple[float, ...] = field(default=(), compare=False)
    """When the last requests were sent, while the API does not tell what is left: no stretch of time may hold too many."""


def _number(headers: Mapping[str, str], name: str | None) -> float | None:
    try:
        number = float(headers.get(name.lower(), "")) if name else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None
