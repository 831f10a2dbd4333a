"""When a source is to be refreshed: its pulls and its loads, each by a rhythm of its own. Pure: instants come in, instants go out.

Instants are those of `times`: microseconds. What cron's form means is cronsim's to say, as Debian's cron has it: what a change of
clocks leaves out comes right after it, and what it repeats comes once, but for rhythms within the hour or of every so many hours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from msgspec import Struct, field
from msgspec.structs import asdict

from . import times
from .fields import Doc, Duration, Scalar

Half = Literal["pull", "load"]
HALVES: tuple[Half, Half] = ("pull", "load")

SHORTEST = 60 * times.SECOND
"""The shortest rhythm, and the first wait after a failure."""

_WORD = "(?:[0-9]+|[A-Za-z]{3})"
_PLACE = rf"(?:(?:\*|{_WORD}-{_WORD})(?:/[0-9]+)?|{_WORD})"
_CRON = rf"{_PLACE}(?:,{_PLACE})*(?: {_PLACE}(?:,{_PLACE})*){{4}}"
"""What every cron reads: no seconds, no `L` or `#`."""

_NO_RHYTHM = "write a length of time like 30m or 3h, or minute, hour, day, month and weekday in cron's form, like 0 6 * * 1-5"


class Places(NamedTuple):
    """The minutes, hours, days, months (from 1) and weekdays (from Sunday, 0) of times in cron's form."""

    minutes: list[int]
    hours: list[int]
    days: list[int]
    months: list[int]
    weekdays: list[int]
    both: bool
    """Whether day and weekday must both fit; else one of them is enough."""


class When(Scalar, frozen=True, dict=True):
    """A length of time from one beginning to the next (`30m`, `3h`, `1d`), or times in cron's form (`0 6 * * 1-5`)."""

    text: str
    schema: ClassVar[Mapping[str, Any]] = {"type": "string"}

    @classmethod
    def parse(cls, text: Any) -> When:
        when = cls(" ".join(text.split()))
        if when.every is not None:
            if when.every < SHORTEST:
                raise ValueError(f"{text} is too often; write 1m or more")
        elif not re.fullmatch(_CRON, when.text):
            raise ValueError(f"{text!r} is no rhythm; {_NO_RHYTHM}")
        else:
            from cronsim import CronSimError

            try:
                when.after(0)
            except CronSimError as error:
                what = str(error).lower().removeprefix("bad ")
                raise ValueError(f"{text!r} is no rhythm, for its {what} cannot be; {_NO_RHYTHM}") from None
        return when

    @cached_property
    def every(self) -> int | None:
        """The length of time; None where the times are in cron's form."""
        is_length = re.fullmatch(Duration.schema["pattern"], self.text)
        return round(Duration.parse(self.text).seconds * times.SECOND) if is_length else None

    def after(self, instant: int, zone: tzinfo = UTC) -> int:
        """The first time after an instant; of a length of time, so much later."""
        if self.every is not None:
            return instant + self.every
        from cronsim import CronSim

        # Within an hour that a change of clocks repeats, cronsim's first answers may lie before the instant.
        found = CronSim(self.text, times.moment(instant).astimezone(zone))
        return next(later for later in map(times.instant, found) if later > instant)

    @property
    def places(self) -> Places:
        """What cron's form names, of times that are in it."""
        from cronsim import CronSim

        found = CronSim(self.text, times.EPOCH)
        weekdays = sorted({int(str(day)) % 7 for day in found.weekdays})
        minutes, hours, days, months = (sorted(map(int, one)) for one in (found.minutes, found.hours, found.days, found.months))
        return Places(minutes, hours, days, months, weekdays, found.day_and)

    @property
    def told(self) -> str:
        """Where a sentence says when."""
        return f"every {self.text}" if self.every is not None else f"at {self.text}"

    def __str__(self) -> str:
        return self.text


class Schedule(Struct, frozen=True, kw_only=True):
    """How fresh `syncer serve` keeps the source: it pulls and it loads, each by its own rhythm.

    A rhythm is a length of time (`30m`, `3h`, `1d`) from one beginning to the next, or times in cron's form: minute, hour, day,
    month and weekday. What was missed while the machine was off is made up for once. A failure is tried again sooner.
    """

    pull: Annotated[When, Doc("how often (`3h`), or at which times (`0 6 * * 1-5`), what changed is pulled into the hub")] = When("3h")
    load: Annotated[When, Doc("how often, or at which times, what the hub holds is loaded into the warehouse")] = When("1h")
    timezone: Annotated[str | None, Doc("the zone of such times, by its name in the IANA database (default: UTC)")] = None

    @property
    def zone(self) -> tzinfo:
        return times.zone(self.timezone)

    def of(self, half: Half) -> When:
        return self.pull if half == "pull" else self.load

    def mistakes(self) -> list[str]:
        """What no schema can see."""
        try:
            times.zone(self.timezone)
        except ValueError as error:
            return [f"{error}; write one like UTC or Europe/Berlin"]
        return []


class Turn(Struct, frozen=True, kw_only=True):
    """One time that a half was carried out, as it is remembered. `ended` is None while it goes on, and where it was killed."""

    verb: str
    began: int
    ended: int | None = None
    status: str | None = None
    failures: int = 0
    """How many in a row did not come to a complete end, with this one."""
    figures: Mapping[str, int] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    """What went wrong, a sentence each."""

    def as_json(self) -> dict[str, Any]:
        """As people and programs outside read it: instants as text."""
        ended = None if self.ended is None else times.show(self.ended)
        return {**asdict(self), "began": times.show(self.began), "ended": ended}


def due(when: When, zone: tzinfo, last: Turn | None, since: int, now: int, ready: bool = True) -> int:
    """When a half is to begin next. What is due by `now` is to begin once, however many times were missed.

    `last` is its last turn, if there ever was one; `since`, when somebody began to look after it. The first turn comes at once,
    if its half is `ready` and its rhythm names no times of day. After a failure, it is tried again sooner than its rhythm says.
    """
    if last is None or max(last.began, last.ended or 0) > now:  # a clock was wrong: that turn tells nothing
        since = min(since, now)
        return since if ready and when.every is not None else when.after(since, zone)
    if not last.failures:
        return when.after(last.began, zone)
    ended = last.ended or last.began
    return min(ended + back_off(last.failures), when.after(ended, zone))


def back_off(failures: int) -> int:
    """How long is waited after so many failures in a row: a minute, then twice as long each time. A rhythm is the most."""
    return SHORTEST << min(failures - 1, 30)
