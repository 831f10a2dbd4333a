"""When a request that failed is sent again. Pure: the clock and the dice are the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Literal

from msgspec import Struct

from . import times
from .fields import HEADER, Doc, Duration


class Retry(Struct, frozen=True, kw_only=True):
    """Which answers are worth a second try, how many, and how long to wait between.

    A wait that the API itself asks for, in its header Retry-After or in `wait_header`, is waited for exactly, and is no failed try.
    """

    statuses: Annotated[tuple[int, ...], Doc("the statuses that may pass; every other status of 400 and more fails at once")] = (
        408, 425, 429, 500, 502, 503, 504,
    )  # fmt: skip
    attempts: Annotated[int, Doc("how often a request is sent at most; waits that the API asks for are not counted", {"minimum": 1})] = 6
    backoff: Annotated[
        Literal["exponential", "constant"], Doc("whether the wait doubles from try to try, spread by chance, or is always the first one")
    ] = "exponential"
    first_wait: Annotated[Duration, Doc("the wait before the second try")] = Duration(0.5)
    longest_wait: Annotated[Duration, Doc("the longest wait between two tries, unless the API asks for more")] = Duration(60)
    wait_header: Annotated[str | None, Doc("a header, besides Retry-After, in which the API asks to wait", HEADER)] = None
    wait_format: Annotated[
        Literal["seconds", "epoch", "epoch_ms", "date"],
        Doc("how it says until when: in so many seconds, at a time (epoch seconds or milliseconds), or at a date as HTTP writes them"),
    ] = "seconds"
    total_wait: Annotated[
        Duration, Doc("how long one request may wait in all, waits for a budget not counted; who asks for more is taken for a failure")
    ] = Duration(3600)
    timeout: Annotated[Duration, Doc("how long an answer may take, to its last byte")] = Duration(90)

    def mistakes(self) -> list[str]:
        """What no schema can see, for the one who writes the spec."""
        unfit = [status for status in self.statuses if status != 202 and not 400 <= status <= 599]
        found = [f"{status} is no status that may pass; write some of 202 and 400 to 599" for status in unfit]
        return found if self.timeout.seconds else [*found, "lets no answer take any time; write one like `timeout: 90s`"]

    def wait(self, attempt: int, dice: float) -> float:
        """Seconds before the try after failed attempt number `attempt` (from 1); `dice` is a random number in [0, 1)."""
        if self.backoff == "constant":
            return self.first_wait.seconds
        doubled = min(self.first_wait.seconds * 2.0 ** min(attempt - 1, 60), self.longest_wait.seconds)
        return doubled * (0.5 + dice / 2)

    def asked(self, headers: Mapping[str, str], epoch: float) -> float | None:
        """The seconds that the API asks to wait, by headers with names in lower case; None where it asks for none that can be.

        Retry-After is a number or a date (RFC 9110, 10.2.3). What is no time, past, or a century away is as if absent.
        """
        text = headers.get("retry-after", "")
        waits = [_seconds(text, "seconds", epoch) if text.isdecimal() else _seconds(text, "date", epoch)]
        if self.wait_header:
            waits.append(_seconds(headers.get(self.wait_header.lower(), ""), self.wait_format, epoch))
        return max((wait for wait in waits if 0 < wait <= Duration.longest), default=None)


def _seconds(text: str, form: str, epoch: float) -> float:
    """Seconds from a header's text; 0 for what is none."""
    if form == "date":
        date = times.http_date(text)
        return 0.0 if date is None else date / times.SECOND - epoch
    try:
        number = float(text)
    except ValueError:
        return 0.0
    if not isfinite(number):
        return 0.0
    return {"seconds": number, "epoch": number - epoch, "epoch_ms": number / 1000 - epoch}[form]
