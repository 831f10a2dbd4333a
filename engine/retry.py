"""When a request that failed is sent again. Pure: the clock and the dice are the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from . import times
from .fields import Doc, Duration

_LONGEST = 86_400.0
"""A day: what asks for more wants to be left alone, and is asked once more then."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Which answers are worth a second try, how many, and how long to wait between."""

    statuses: Annotated[tuple[int, ...], Doc("the statuses that may pass; every other status of 400 and more fails at once")] = (
        408, 425, 429, 500, 502, 503, 504,
    )  # fmt: skip
    attempts: Annotated[int, Doc("how often a request is sent at most; waiting for a budget is not counted", {"minimum": 1})] = 6
    first_wait: Annotated[Duration, Doc("the wait before the second try; it doubles from try to try")] = Duration(0.5)
    longest_wait: Annotated[Duration, Doc("the longest wait between two tries, unless the API asks for more")] = Duration(60)
    timeout: Annotated[Duration, Doc("how long an answer may take")] = Duration(90)

    def wait(self, attempt: int, headers: Mapping[str, str], epoch: float, dice: float) -> float:
        """Seconds before the try after attempt number `attempt` (from 1); `dice` is a random number in [0, 1)."""
        asked = _retry_after(headers.get("retry-after", ""), epoch)
        doubled = min(self.first_wait.seconds * 2.0 ** min(attempt - 1, 60), self.longest_wait.seconds)
        return max(asked, doubled * (0.5 + dice / 2))


def _retry_after(text: str, epoch: float) -> float:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3): a number, or a date; 0 for what is neither, or past."""
    if text.isdecimal():
        return min(float(text), _LONGEST)
    date = times.http_date(text)
    return min(max(date / times.SECOND - epoch, 0.0), _LONGEST) if date is not None else 0.0
