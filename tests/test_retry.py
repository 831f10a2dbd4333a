"""Waits double up to a longest one, are spread by dice, and are never shorter than the API asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine.fields import Duration
from rest_syncer.engine.retry import Retry

NOW = 784_887_140.0  # Tue, 15 Nov 1994 08:12:20 GMT
RETRY = Retry(first_wait=Duration(2), longest_wait=Duration(60))


@pytest.mark.parametrize(
    ("attempt", "dice", "expected"),
    [
        pytest.param(1, 0.0, 1.0, id="first-at-least-half"),
        pytest.param(1, 0.5, 1.5, id="first-in-the-middle"),
        pytest.param(2, 0.5, 3.0, id="second-doubles"),
        pytest.param(5, 0.5, 24.0, id="fifth"),
        pytest.param(6, 0.5, 45.0, id="longest"),
        pytest.param(100, 0.5, 45.0, id="stays-the-longest"),
        pytest.param(5000, 0.5, 45.0, id="attempt-5000"),
    ],
)
def test_the_wait_after_an_attempt_is_this(attempt: int, dice: float, expected: float) -> None:
    assert RETRY.wait(attempt, {}, NOW, dice) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("5", 5.0, id="seconds"),
        pytest.param("120", 120.0, id="longer-than-our-longest"),
        pytest.param("0", 1.5, id="zero-does-not-shorten-ours"),
        pytest.param("Tue, 15 Nov 1994 08:12:31 GMT", 11.0, id="date"),
        pytest.param("Tue, 15 Nov 1994 08:00:00 GMT", 1.5, id="date-in-the-past"),
        pytest.param("soon", 1.5, id="a-word"),
        pytest.param("-5", 1.5, id="negative"),
        pytest.param("", 1.5, id="empty"),
        pytest.param("99999999999999999 Nov 1994 08:12:31 GMT", 1.5, id="no-date"),
    ],
)
def test_the_api_may_ask_for_a_longer_wait(header: str, expected: float) -> None:
    assert RETRY.wait(1, {"retry-after": header}, NOW, 0.5) == expected


def test_an_endless_wait_is_not_asked_for() -> None:
    """A process cannot sleep for infinity: OverflowError."""
    assert RETRY.wait(1, {"retry-after": "9" * 400}, NOW, 0.5) < float("inf")


@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_between_half_and_the_whole_of_its_step(attempt: int, dice: float) -> None:
    step = min(2.0 * 2 ** (attempt - 1), 60.0)
    assert step / 2 <= RETRY.wait(attempt, {}, NOW, dice) <= step


def test_what_may_pass_is_tried_again_by_default() -> None:
    assert (Retry().statuses, Retry().attempts) == ((408, 425, 429, 500, 502, 503, 504), 6)
