"""Instants and durations as specs and APIs write them. Pure.

An instant is an integer: microseconds since 1970-01-01T00:00:00Z. A format is one of `iso` (RFC 3339), `epoch_s`,
`epoch_ms`, `epoch_us`, or a strptime pattern (anything with a `%`).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Context, Decimal, InvalidOperation

SECOND = 1_000_000
UNITS = {"epoch_s": SECOND, "epoch_ms": 1_000, "epoch_us": 1}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1
"""The first and last instant of the years 1 to 9999."""

_FINEST = {"%f": 1, "%S": SECOND, "%X": SECOND, "%c": SECOND, "%M": 60 * SECOND, "%H": 3600 * SECOND, "%I": 3600 * SECOND}
"""What a pattern can say: its finest word's unit, or a day."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,6})0*)?(Z|[+-](?:0\d|1[0-4]):?[0-5]\d)?",
    re.ASCII | re.IGNORECASE,
)


def instant(moment: datetime) -> int:
    """The instant of an aware datetime, exact to the microsecond."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(instant: int) -> datetime:
    return EPOCH + timedelta(microseconds=instant)


def show(instant: int) -> str:
    """`2016-11-22T23:21:08Z`, with as many digits of a second as it needs."""
    text = moment(instant).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def parse(text: str, format: str = "iso", zone: tzinfo | None = None) -> int:
    """The instant that a text names, exactly; a text without an offset is read in `zone`.

    Raises ValueError, with what is wrong with it, where the text is not of the format, names no instant (month 13, leap
    second, an hour that a change of clocks left out) or two (an hour that it repeated), has no offset and no zone, or has more
    digits than microseconds.
    """
    if format in UNITS:
        return _epoch(text, UNITS[format])
    if "%" in format:
        return _within(instant(_zoned(_by_pattern(text, format), zone)))
    match = _ISO.fullmatch(text)
    if not match:
        raise ValueError("is not an ISO 8601 date and time to the microsecond")
    day, time, digits, offset = match.groups()
    value = datetime.fromisoformat(f"{day}T{time}.{(digits or '0').ljust(6, '0')}{(offset or '').upper()}")
    return _within(instant(_zoned(value, zone)))


def write(instant: int, format: str = "iso", zone: tzinfo = UTC) -> str:
    """An instant as the API wants it in a parameter; what is finer than the format's unit is cut, towards the past.

    A pattern is written in the zone's time; the hour that a change of clocks repeats is then read as the earlier one.
    """
    if format in UNITS:
        return str(instant // UNITS[format])
    if "%" in format:
        return moment(instant).astimezone(zone).strftime(format)
    return show(instant)


def floor(instant: int, format: str = "iso", zone: tzinfo = UTC) -> int:
    """The instant cut towards the past to what a format can say, in the zone's time."""
    if format in UNITS:
        return instant // UNITS[format] * UNITS[format]
    if "%" in format:
        unit = next((unit for word, unit in _FINEST.items() if word in format), 24 * 3600 * SECOND)
        ahead = int((moment(instant).astimezone(zone).utcoffset() or timedelta()).total_seconds()) * SECOND
        return (instant + ahead) // unit * unit - ahead
    return instant


def parse_date(text: str, format: str = "iso") -> date:
    """A calendar day. Raises ValueError where the text is none, or holds a time of day besides."""
    if format == "iso":
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            raise ValueError("is not a date like 2016-11-22")
        return date.fromisoformat(text)
    if "%" not in format:
        raise ValueError("is no day of its format")
    value = datetime.strptime(text, format)  # noqa: DTZ007 - a day has no zone
    if value.time() != datetime.min.time():
        raise ValueError("holds a time of day, which a date cannot")
    return value.date()


def zone(name: str | None) -> tzinfo:
    """A time zone by its name in the IANA database; UTC where none is named. Raises ValueError for any other name."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name) if name else UTC
    except (OSError, KeyError):
        raise ValueError(f"{name!r} is no time zone") from None


def http_date(text: str | None) -> int | None:
    """The instant of an HTTP `Date` header (RFC 9110, 5.6.7); None where there is none that can be read."""
    from email.utils import parsedate_to_datetime

    try:
        value = parsedate_to_datetime(text or "")
        return _within(instant(value if value.tzinfo else value.replace(tzinfo=UTC)))
    except (ValueError, OverflowError):
        return None


def _epoch(text: str, unit: int) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number of seconds or milliseconds")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("is not a time of the years 1 to 9999") from None
    if number and number.adjusted() > 18:
        raise ValueError("is not a time of the years 1 to 9999")
    if not number:
        return 0
    exact = Context(prec=len(text) + 8).multiply(number, Decimal(unit))
    if number.adjusted() < -6 or exact != exact.to_integral_value():
        raise ValueError("is finer than a microsecond")
    return _within(int(exact))


def _by_pattern(text: str, format: str) -> datetime:
    """strptime, but for `%Z`: strptime takes the machine's own zones there, and forgets them. Here it is UTC, or refused."""
    if "%Z" not in format.replace("%%", ""):
        return datetime.strptime(text, format)  # noqa: DTZ007 - `_zoned` sees to the zone
    for name in ("UTC", "GMT", "Z"):
        try:
            return datetime.strptime(text, format.replace("%Z", name)).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ValueError("is not of its format, or in a zone by name that is not UTC or GMT")


def _within(instant: int) -> int:
    """The instant, if it has a date in UTC. Raises ValueError for what an offset carries out of the years 1 to 9999."""
    try:
        moment(instant)
    except OverflowError:
        raise ValueError("is not a time of the years 1 to 9999") from None
    return instant


def _zoned(value: datetime, zone: tzinfo | None) -> datetime:
    if value.tzinfo is not None:
        return value
    if zone is None:
        raise ValueError("has no offset, and the spec names no timezone")
    first, second = value.replace(tzinfo=zone, fold=0), value.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        raise ValueError("is an hour that a change of clocks left out or repeated, and has no offset")
    return first
