"""A budget is kept: what is declared, and what the API's own headers say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rest_syncer.engine.budget import Allowance, Budget
from rest_syncer.engine.fields import Duration

MINUTE = Budget(requests=3, per=Duration(60), limit_header="x-limit", remaining_header="x-remaining", reset_header="x-reset")
EPOCH = Budget(requests=3, per=Duration(60), reset_header="x-reset", reset="epoch")


def test_a_budget_opens_with_all_its_requests() -> None:
    allowance = MINUTE.opened(1000.0)
    assert (allowance.left, allowance.limit, MINUTE.wait(allowance, 1000.0)) == (3, 3, 0.0)


def test_the_next_request_waits_once_the_budget_is_spent_until_its_window_ends() -> None:
    allowance, waits = MINUTE.opened(1000.0), []
    for second in (0, 10, 20):
        waits.append(MINUTE.wait(allowance, 1000.0 + second))
        allowance = MINUTE.spent(allowance, 1000.0 + second)
    waits += [
        MINUTE.wait(allowance, 1020.0),
        MINUTE.wait(allowance, 1059.5),
        MINUTE.wait(allowance, 1060.0),
        MINUTE.wait(allowance, 2000.0),
    ]
    assert waits == [0.0, 0.0, 0.0, 40.0, 0.5, 0.0, 0.0]


def test_a_new_window_starts_with_all_but_the_request_that_opens_it() -> None:
    spent = Allowance(left=0, limit=3, until=1060.0)
    assert MINUTE.spent(spent, 1060.0) == Allowance(left=2, limit=3, until=1120.0)


@given(st.lists(st.floats(0, 90), min_size=1, max_size=60))
def test_no_stretch_of_time_sees_more_requests_than_the_budget(pauses: list[float]) -> None:
    """However a run pauses, no 60 seconds hold more than three requests."""
    sent = walked(MINUTE, pauses)
    for place, start in enumerate(sent):
        assert sum(1 for other in sent[place:] if other < start + 60.0 - 1e-6) <= 3


def walked(budget: Budget, pauses: list[float]) -> list[float]:
    """When requests are sent that keep to a budget, with these pauses before them; what is known of it is stored on its way."""
    now, allowance, sent = 0.0, budget.opened(0.0), []
    for pause in pauses:
        now += pause
        now += budget.wait(allowance, now)
        allowance = budget.spent(allowance, now)
        sent.append(now)
        allowance = budget.restored(json.loads(json.dumps(allowance.as_json())), now)
        assert len(allowance.sent) <= 102
    return sent


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 0.5), min_size=300, max_size=600))
def test_a_large_budget_is_kept_too_and_remembered_in_little(pauses: list[float]) -> None:
    """Of 150 a minute not every request is remembered, and still no 60 seconds hold more."""
    sent = walked(Budget(requests=150, per=Duration(60)), pauses)
    for early, late in zip(sent, sent[150:], strict=False):
        assert late >= early + 60.0 - 1e-6


def test_a_large_budget_is_used_but_for_a_hundredth_of_its_window() -> None:
    sent = walked(Budget(requests=150, per=Duration(60)), [0.0] * 301)
    assert 60.0 <= sent[150] <= 60.6
    assert 120.0 <= sent[300] <= 121.2


def test_a_request_that_costs_more_counts_for_more() -> None:
    allowance = MINUTE.spent(MINUTE.opened(0.0), 0.0, cost=2)
    assert (MINUTE.wait(allowance, 10.0, cost=1), MINUTE.wait(allowance, 10.0, cost=2)) == (0.0, 50.0)
    assert MINUTE.spent(allowance, 10.0).left == 0
    assert MINUTE.wait(MINUTE.opened(0.0), 0.0, cost=99) == 0.0, "what costs more than there ever is waits for all there is"


def test_what_was_stored_goes_on_but_not_from_a_time_that_never_was() -> None:
    spent = MINUTE.spent(MINUTE.opened(1000.0), 1000.0, cost=3)
    data = json.loads(json.dumps(spent.as_json()))
    assert MINUTE.wait(MINUTE.restored(data, 1010.0), 1010.0) == 50.0
    assert MINUTE.restored(data, 459.0) == MINUTE.opened(459.0), "more than ten windows ahead: the machine has begun anew"


def test_what_remains_is_told_with_the_time_when_it_is_all_again() -> None:
    allowance = MINUTE.spent(MINUTE.spent(MINUTE.opened(0.0), 0.0), 10.0)
    assert MINUTE.remaining(allowance, 20.0) == (1, 70.0)
    assert MINUTE.remaining(allowance, 65.0) == (2, 70.0)
    assert MINUTE.remaining(allowance, 100.0) == (3, 100.0)


@pytest.mark.parametrize(
    ("budget", "headers", "status", "expected"),
    [
        pytest.param(MINUTE, {}, 200, Allowance(2, 3, 1060.0), id="nothing-said"),
        pytest.param(MINUTE, {"x-remaining": "1"}, 200, Allowance(1, 3, 1060.0), id="remaining"),
        pytest.param(MINUTE, {"x-limit": "100", "x-remaining": "90"}, 200, Allowance(90, 100, 1060.0), id="limit"),
        pytest.param(MINUTE, {"x-remaining": "0", "x-reset": "12"}, 200, Allowance(0, 3, 1022.0), id="reset-in-seconds"),
        pytest.param(EPOCH, {"x-reset": "5030"}, 200, Allowance(2, 3, 1040.0), id="reset-at-a-time"),
        pytest.param(EPOCH, {"x-reset": "4000"}, 200, Allowance(2, 3, 1010.0), id="reset-in-the-past-is-now"),
        pytest.param(MINUTE, {"x-reset": "999999"}, 200, Allowance(2, 3, 1610.0), id="absurd-reset-is-cut-to-ten-windows"),
        pytest.param(MINUTE, {"x-remaining": "many", "x-reset": "soon"}, 200, Allowance(2, 3, 1060.0), id="words-say-nothing"),
        pytest.param(MINUTE, {"x-limit": "0"}, 200, Allowance(2, 3, 1060.0), id="a-limit-of-none-says-nothing"),
        pytest.param(
            MINUTE, {"x-remaining": "nan", "x-reset": "nan", "x-limit": "nan"}, 200, Allowance(2, 3, 1060.0), id="nan-says-nothing"
        ),
        pytest.param(MINUTE, {"x-remaining": "inf", "x-limit": "inf"}, 200, Allowance(2, 3, 1060.0), id="infinity-says-nothing"),
        pytest.param(MINUTE, {}, 429, Allowance(0, 3, 1060.0), id="refused"),
        pytest.param(MINUTE, {"x-remaining": "5", "x-reset": "0"}, 429, Allowance(0, 3, 1011.0), id="refused-with-reset-0-waits-a-second"),
        pytest.param(MINUTE, {"x-reset": "30"}, 429, Allowance(0, 3, 1040.0), id="refused-with-a-reset"),
    ],
)
def test_an_answers_headers_are_believed_over_the_declared_numbers(
    budget: Budget, headers: dict[str, str], status: int, expected: Allowance
) -> None:
    assert budget.told(Allowance(2, 3, 1060.0), headers, status, now=1010.0, epoch=5000.0) == expected


def test_a_larger_limit_that_was_told_holds_in_the_next_window() -> None:
    told = MINUTE.told(Allowance(2, 3, 1060.0), {"x-limit": "100"}, 200, 1010.0, 0.0)
    assert MINUTE.spent(told, 1060.0) == Allowance(99, 100, 1120.0)
