"""From which instant changes are asked for, and until when an answer is complete. Pure.

A window starts where the unbroken run of closed windows before it ended, never at the highest value seen: a value that
was written while we read, or by a clock that runs ahead, must not hide what comes after it. It ends at the API's own time of
the first answer, less what that answer took, less the declared lag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Struct
from msgspec.structs import replace

from . import times
from .fields import Doc, Duration
from .properties import Property
from .template import Template


class Cursor(Struct, frozen=True, kw_only=True):
    """The property that moves when a record changes: it orders a record's versions, and asks for what changed."""

    property: Annotated[str, Doc("the property; of two versions of a record, the higher is the newer")]
    param: Annotated[str | None, Doc("the parameter that asks for what changed since (default: the API cannot be asked)")] = None
    format: Annotated[str, Doc("how the instant is written there: iso, epoch_s, epoch_ms, epoch_us or a strftime pattern")] = "iso"
    timezone: Annotated[str | None, Doc("the zone in which a strftime pattern is written there (default: the property's, or UTC)")] = None
    lag: Annotated[Duration, Doc("how late a change may become visible in the API's answers")] = Duration(60)
    inclusive: Annotated[bool, Doc("whether a record that changed at exactly the instant is returned")] = True
    start: Annotated[Template | None, Doc("where changes are asked from when nothing was received yet")] = None

    def of(self, properties: Mapping[str, Property]) -> Cursor:
        """The same, with the zone of its property where it names none."""
        return replace(self, timezone=self.timezone or properties[self.property].timezone)

    def bound(self, since: int) -> str:
        """The parameter's value for changes since an instant; one unit earlier where the API leaves out its bound."""
        zone = times.zone(self.timezone)
        if not self.inclusive:
            since = times.floor(since, self.format, zone) - 1
        return times.write(since, self.format, zone)

    def window_end(self, headers: Mapping[str, str], seconds: float, epoch: float | None = None) -> int | None:
        """Until when a chain's answers are complete, from the headers of its first answer and the time it took.

        It is cut to a whole second, as the header is, and as the instants of many APIs are, which look older than they are.
        None where the API does not tell its time, or one that is a day and more ahead of ours (`epoch`, in seconds): then
        changes cannot be asked for from there.
        """
        date = times.http_date(headers.get("date"))
        if date is None or (epoch is not None and date > (epoch + 86_400) * times.SECOND):
            return None
        until = max(date - int((seconds + self.lag.seconds) * times.SECOND), times.FIRST)
        return times.floor(until - until % times.SECOND, self.format)
