"""A window starts and ends where nothing can be missed, in the words of the API."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rest_syncer.engine import times
from rest_syncer.engine.fields import Duration
from rest_syncer.engine.properties import Property, TypeName
from rest_syncer.engine.window import Cursor

SINCE = times.parse("2016-11-22T12:00:30.250000Z")
FORMATS = ["iso", "epoch_s", "epoch_ms", "epoch_us", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M %z", "%Y-%m-%d %z"]


@pytest.mark.parametrize(
    ("format", "inclusive", "expected"),
    [
        pytest.param("iso", True, "2016-11-22T12:00:30.25Z", id="iso"),
        pytest.param("epoch_s", True, "1479816030", id="seconds"),
        pytest.param("epoch_ms", True, "1479816030250", id="milliseconds"),
        pytest.param("epoch_us", True, "1479816030250000", id="microseconds"),
        pytest.param("%Y-%m-%d", True, "2016-11-22", id="days"),
        pytest.param("iso", False, "2016-11-22T12:00:30.249999Z", id="iso-exclusive"),
        pytest.param("epoch_s", False, "1479816029", id="seconds-exclusive"),
        pytest.param("epoch_ms", False, "1479816030249", id="milliseconds-exclusive"),
        pytest.param("epoch_us", False, "1479816030249999", id="microseconds-exclusive"),
        pytest.param("%Y-%m-%dT%H:%M:%S", False, "2016-11-22T12:00:29", id="pattern-of-seconds-exclusive"),
        pytest.param("%Y-%m-%d %H:%M", False, "2016-11-22 11:59", id="pattern-of-minutes-exclusive"),
        pytest.param("%Y-%m-%d", False, "2016-11-21", id="pattern-of-days-exclusive"),
    ],
)
def test_changes_since_an_instant_are_asked_for_like_this(format: str, inclusive: bool, expected: str) -> None:
    assert Cursor(property="at", param="since", format=format, inclusive=inclusive).bound(SINCE) == expected


def test_a_pattern_is_written_in_the_zone_of_its_property() -> None:
    cursor = Cursor(property="at", param="since", format="%Y-%m-%d %H:%M:%S")
    at = Property(type=TypeName.parse("timestamp"), timezone="America/New_York")
    assert cursor.of({"at": at}).bound(SINCE) == "2016-11-22 07:00:30"
    assert replace(cursor, timezone="Asia/Tokyo").of({"at": at}).bound(SINCE) == "2016-11-22 21:00:30"
    assert replace(cursor, format="%Y-%m-%d", timezone="Asia/Tokyo", inclusive=False).bound(SINCE) == "2016-11-21"


@given(st.integers(times.parse("1990-01-01T00:00:00Z"), times.parse("2200-01-01T00:00:00Z")), st.sampled_from(FORMATS), st.booleans())
def test_a_bound_never_leaves_out_a_record_of_the_window(since: int, format: str, inclusive: bool) -> None:
    """An API compares what it can see of the bound; a record of the very first instant of the window must come."""
    bound = times.parse(Cursor(property="at", param="since", format=format, inclusive=inclusive).bound(since), format)
    seen = times.parse(times.write(since, format), format)
    assert bound <= seen if inclusive else bound < seen


@pytest.mark.parametrize(
    ("date", "seconds", "format", "expected"),
    [
        pytest.param("Tue, 22 Nov 2016 12:00:30 GMT", 0.0, "iso", "2016-11-22T11:59:30Z", id="less-the-lag"),
        pytest.param("Tue, 22 Nov 2016 12:00:30 GMT", 2.5, "iso", "2016-11-22T11:59:27Z", id="less-what-the-answer-took"),
        pytest.param("Tue, 22 Nov 2016 12:00:30 GMT", 2.5, "epoch_s", "2016-11-22T11:59:27Z", id="in-the-cursors-unit"),
    ],
)
def test_a_window_ends_at_the_apis_own_time(date: str, seconds: float, format: str, expected: str) -> None:
    end = Cursor(property="at", format=format, lag=Duration(60)).window_end({"date": date}, seconds)
    assert end is not None
    assert times.show(end) == expected


@pytest.mark.parametrize("headers", [pytest.param({}, id="no-date"), pytest.param({"date": "today"}, id="no-date-that-can-be-read")])
def test_without_the_apis_time_a_window_has_no_end(headers: dict[str, str]) -> None:
    assert Cursor(property="at").window_end(headers, 0.1) is None
