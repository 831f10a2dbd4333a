"""Instants are exact, or refused: nothing is rounded, re-zoned or guessed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine import times

NOON = 1_479_816_000_000_000  # 2016-11-22T12:00:00Z
BERLIN = ZoneInfo("Europe/Berlin")
instants = st.integers(times.parse("0001-01-02T00:00:00Z"), times.parse("9999-12-30T00:00:00Z"))
modern = st.integers(times.parse("1000-01-01T00:00:00Z"), times.parse("9999-12-30T00:00:00Z"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2016-11-22T12:00:00Z", NOON, id="utc"),
        pytest.param("2016-11-22 12:00:00Z", NOON, id="blank-for-T"),
        pytest.param("2016-11-22t12:00:00z", NOON, id="lower-case"),
        pytest.param("2016-11-22T13:00:00+01:00", NOON, id="offset"),
        pytest.param("2016-11-22T13:00:00+0100", NOON, id="offset-without-colon"),
        pytest.param("2016-11-22T02:30:00-09:30", NOON, id="negative-half-hour-offset"),
        pytest.param("2016-11-22T12:00:00.5Z", NOON + 500_000, id="tenths"),
        pytest.param("2016-11-22T12:00:00.000001Z", NOON + 1, id="microsecond"),
        pytest.param("2016-11-22T12:00:00.120000000Z", NOON + 120_000, id="zeros-beyond-microseconds"),
        pytest.param("1969-12-31T23:59:59.999999Z", -1, id="before-the-epoch"),
        pytest.param("2016-02-29T00:00:00Z", 1_456_704_000_000_000, id="leap-day"),
    ],
)
def test_an_iso_text_names_this_instant(text: str, expected: int) -> None:
    assert times.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2016-11-22T12:00:00.1234567Z", id="finer-than-a-microsecond"),
        pytest.param("2016-11-22T23:59:60Z", id="leap-second"),
        pytest.param("2016-11-22T24:00:00Z", id="hour-24"),
        pytest.param("2016-13-22T12:00:00Z", id="month-13"),
        pytest.param("2015-02-29T12:00:00Z", id="no-leap-day"),
        pytest.param("2016-11-22T12:00:00", id="no-offset-and-no-zone"),
        pytest.param("2016-11-22T12:00Z", id="no-seconds"),
        pytest.param("2016-11-22", id="a-day"),
        pytest.param("2016-11-22T12:00:00Z\n", id="newline-behind"),
        pytest.param(" 2016-11-22T12:00:00Z", id="blank-before"),
        pytest.param("2016-11-22T12:00:00,5Z", id="decimal-comma"),
        pytest.param("2016-11-22T12:00:00+15:00", id="offset-beyond-14-hours"),
        pytest.param("٢٠١٦-11-22T12:00:00Z", id="digits-of-another-script"),
        pytest.param("1479816000", id="epoch"),
        pytest.param("", id="empty"),
    ],
)
def test_a_text_that_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        times.parse(text)


def test_a_text_without_offset_is_read_in_the_zone_that_the_spec_names() -> None:
    assert times.parse("2016-11-22T13:00:00", zone=BERLIN) == NOON
    assert times.parse("2016-07-22T14:00:00", zone=BERLIN) == times.parse("2016-07-22T12:00:00Z")


def test_an_offset_in_the_text_wins_over_the_zone() -> None:
    assert times.parse("2016-11-22T12:00:00Z", zone=BERLIN) == NOON


def test_a_local_time_that_a_clock_change_left_out_names_no_instant() -> None:
    with pytest.raises(ValueError, match=r".+"):
        times.parse("2016-03-27T02:30:00", zone=BERLIN)


@pytest.mark.parametrize(
    ("text", "format", "expected"),
    [
        pytest.param("1479816000", "epoch_s", NOON, id="seconds"),
        pytest.param("1479816000.000001", "epoch_s", NOON + 1, id="seconds-with-microseconds"),
        pytest.param("1479816000000", "epoch_ms", NOON, id="milliseconds"),
        pytest.param("1479816000000.001", "epoch_ms", NOON + 1, id="milliseconds-with-a-fraction"),
        pytest.param("1479816000000000", "epoch_us", NOON, id="microseconds"),
        pytest.param("1.479816e9", "epoch_s", NOON, id="with-an-exponent"),
        pytest.param("-1", "epoch_s", -1_000_000, id="before-the-epoch"),
        pytest.param("1479816000.00000000000000000000000000", "epoch_s", NOON, id="zeros-say-nothing"),
        pytest.param("22.11.2016 12:00 +0000", "%d.%m.%Y %H:%M %z", NOON, id="pattern"),
    ],
)
def test_a_format_names_this_instant(text: str, format: str, expected: int) -> None:
    assert times.parse(text, format) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("abc", id="text"),
        pytest.param("", id="empty"),
        pytest.param("NaN", id="nan"),
        pytest.param("sNaN", id="signalling-nan"),
        pytest.param("Infinity", id="infinity"),
        pytest.param("1479816000.0000001", id="finer-than-a-microsecond"),
        pytest.param("1479816000.0000000000000000000000000001", id="finer-than-any-precision"),
        pytest.param("1_479_816_000", id="underscores"),
        pytest.param(" 1479816000 ", id="blanks"),
        pytest.param("١٤٧٩٨١٦٠٠٠", id="digits-of-another-script"),
    ],
)
def test_an_epoch_that_is_no_exact_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        times.parse(text, "epoch_s")


@pytest.mark.parametrize("text", ["1e12", "-1e12", "1e30", "1e400", "1e999999", "1e999999999"])
def test_an_epoch_beyond_the_years_1_to_9999_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a time of the years 1 to 9999$"):
        times.parse(text, "epoch_s")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_offset_cannot_carry_an_instant_out_of_the_years_1_to_9999(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a time of the years 1 to 9999$"):
        times.parse(text)


def test_a_pattern_without_offset_is_read_in_the_zone_or_refused() -> None:
    assert times.parse("22.11.2016 13:00", "%d.%m.%Y %H:%M", BERLIN) == NOON
    with pytest.raises(ValueError, match=r"^has no offset, and the spec names no timezone$"):
        times.parse("22.11.2016 13:00", "%d.%m.%Y %H:%M")


def test_a_zone_name_in_the_text_is_never_read_as_another_zone() -> None:
    """strptime takes `%Z` and forgets it: 12:00 GMT must not become 12:00 of Berlin."""
    try:
        found = times.parse("2016-11-22 12:00 GMT", "%Y-%m-%d %H:%M %Z", BERLIN)
    except ValueError:
        return
    assert found == NOON


@pytest.mark.parametrize(
    ("instant", "format", "expected"),
    [
        pytest.param(NOON, "iso", "2016-11-22T12:00:00Z", id="iso"),
        pytest.param(NOON + 120_000, "iso", "2016-11-22T12:00:00.12Z", id="iso-fraction"),
        pytest.param(NOON + 10_000_000, "iso", "2016-11-22T12:00:10Z", id="iso-keeps-the-zero-of-a-second"),
        pytest.param(NOON + 999_999, "epoch_s", "1479816000", id="seconds-are-cut-not-rounded"),
        pytest.param(-1, "epoch_s", "-1", id="cut-towards-the-past"),
        pytest.param(NOON + 1_999, "epoch_ms", "1479816000001", id="milliseconds-are-cut"),
        pytest.param(NOON + 1, "epoch_us", "1479816000000001", id="microseconds"),
        pytest.param(NOON + 1, "%Y-%m-%dT%H:%M:%S+00:00", "2016-11-22T12:00:00+00:00", id="pattern-in-utc"),
    ],
)
def test_an_instant_is_written_as_the_format_says(instant: int, format: str, expected: str) -> None:
    assert times.write(instant, format) == expected


@given(instants)
def test_a_moment_is_the_reverse_of_its_instant(instant: int) -> None:
    assert times.instant(times.moment(instant)) == instant


@given(instants, st.sampled_from(["iso", "epoch_s", "epoch_ms", "epoch_us"]))
def test_what_is_written_reads_back_as_the_floor(instant: int, format: str) -> None:
    assert times.parse(times.write(instant, format), format) == times.floor(instant, format) <= instant


@given(modern, st.sampled_from(["%Y-%m-%d %z", "%Y-%m-%d %H %z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S.%f%z"]))
def test_the_floor_of_a_pattern_is_what_the_pattern_can_say(instant: int, format: str) -> None:
    assert times.floor(instant, format) == times.parse(times.write(instant, format), format)


@given(st.datetimes(timezones=st.builds(timezone, st.integers(-14 * 60, 14 * 60).map(lambda minutes: timedelta(minutes=minutes)))))
def test_pythons_own_spelling_of_a_datetime_reads_as_its_instant(value: datetime) -> None:
    assert times.parse(value.isoformat()) == times.instant(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Tue, 22 Nov 2016 12:00:00 GMT", NOON, id="imf-fixdate"),
        pytest.param("Tuesday, 22-Nov-16 12:00:00 GMT", NOON, id="rfc850"),
        pytest.param("Tue Nov 22 12:00:00 2016", NOON, id="asctime"),
        pytest.param("Tue, 22 Nov 2016 12:00:00 -0000", NOON, id="unknown-zone-is-utc"),
        pytest.param("Tue, 22 Nov 2016 13:00:00 +0100", NOON, id="offset"),
        pytest.param(None, None, id="none"),
        pytest.param("", None, id="empty"),
        pytest.param("yesterday", None, id="words"),
        pytest.param("Tue, 32 Nov 2016 12:00:00 GMT", None, id="day-32"),
        pytest.param("Tue, 22 Nov 2016", None, id="no-time"),
        pytest.param("99999999999999999 Nov 2016 12:00:00 GMT", None, id="endless-day"),
    ],
)
def test_an_http_date_is_an_instant_or_none(text: str | None, expected: int | None) -> None:
    assert times.http_date(text) == expected


@pytest.mark.parametrize(
    ("text", "format", "expected"),
    [
        pytest.param("2016-11-22", "iso", date(2016, 11, 22), id="iso"),
        pytest.param("22.11.2016", "%d.%m.%Y", date(2016, 11, 22), id="pattern"),
        pytest.param("22.11.2016 00:00", "%d.%m.%Y %H:%M", date(2016, 11, 22), id="midnight"),
    ],
)
def test_a_text_names_this_day(text: str, format: str, expected: date) -> None:
    assert times.parse_date(text, format) == expected


@pytest.mark.parametrize(
    ("text", "format"),
    [
        pytest.param("2016-2-2", "iso", id="no-leading-zeros"),
        pytest.param("20161122", "iso", id="no-dashes"),
        pytest.param("2016-02-30", "iso", id="no-such-day"),
        pytest.param("2016-11-22T00:00:00", "iso", id="a-time-behind"),
        pytest.param("22.11.2016 00:01", "%d.%m.%Y %H:%M", id="a-time-of-day"),
    ],
)
def test_a_text_that_is_no_whole_day_is_refused(text: str, format: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        times.parse_date(text, format)


def test_show_writes_utc_with_as_many_digits_as_needed() -> None:
    assert [times.show(NOON), times.show(NOON + 1), times.show(times.instant(datetime(2016, 11, 22, 12, 0, 0, 500_000, UTC)))] == [
        "2016-11-22T12:00:00Z",
        "2016-11-22T12:00:00.000001Z",
        "2016-11-22T12:00:00.5Z",
    ]
