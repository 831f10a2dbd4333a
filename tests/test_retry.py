"""Waits double up to a longest one and are spread by dice; what the API asks for is read exactly, and nonsense not at all."""

from __future__ import annotations

from typing import Literal

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
    assert RETRY.wait(attempt, dice) == expected


@pytest.mark.parametrize("attempt", [1, 2, 50])
def test_a_constant_wait_is_always_the_first_and_leaves_nothing_to_chance(attempt: int) -> None:
    constant = Retry(backoff="constant", first_wait=Duration(7), longest_wait=Duration(5))
    assert [constant.wait(attempt, dice) for dice in (0.0, 0.9)] == [7.0, 7.0]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("5", 5.0, id="seconds"),
        pytest.param("7200", 7200.0, id="longer-than-our-longest"),
        pytest.param("Tue, 15 Nov 1994 08:12:31 GMT", 11.0, id="date"),
        pytest.param("0", None, id="zero"),
        pytest.param("Mon, 14 Nov 1994 08:12:20 GMT", None, id="yesterday"),
        pytest.param("soon", None, id="a-word"),
        pytest.param("-1", None, id="negative"),
        pytest.param("", None, id="empty"),
        pytest.param("9" * 12, None, id="beyond-a-century"),
        pytest.param("9" * 400, None, id="beyond-all-numbers"),
        pytest.param("99999999999999999 Nov 1994 08:12:31 GMT", None, id="no-date"),
    ],
)
def test_the_wait_that_the_api_asks_for_is_this(header: str, expected: float | None) -> None:
    assert RETRY.asked({"retry-after": header}, NOW) == expected


@pytest.mark.parametrize(
    ("form", "header", "expected"),
    [
        ("seconds", "2.5", 2.5), ("seconds", "-2", None), ("seconds", "nan", None), ("seconds", "inf", None),
        ("epoch", "784887145", 5.0), ("epoch", "784887135", None), ("epoch_ms", "784887141500", 1.5),
        ("date", "Tue, 15 Nov 1994 08:12:21 GMT", 1.0), ("date", "5", None), ("seconds", "Tue, 15 Nov 1994 08:12:21 GMT", None),
    ],
)  # fmt: skip
def test_another_header_asks_in_its_own_form(form: Literal["seconds", "epoch", "epoch_ms", "date"], header: str, expected: float) -> None:
    retry = Retry(wait_header="X-Wait", wait_format=form)
    assert retry.asked({"x-wait": header}, NOW) == expected
    assert retry.asked({"x-wait": header, "retry-after": "9"}, NOW) == 9.0


@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_between_half_and_the_whole_of_its_step(attempt: int, dice: float) -> None:
    step = min(2.0 * 2 ** (attempt - 1), 60.0)
    assert step / 2 <= RETRY.wait(attempt, dice) <= step


def test_what_may_pass_is_tried_again_by_default() -> None:
    assert (Retry().statuses, Retry().attempts) == ((408, 425, 429, 500, 502, 503, 504), 6)
