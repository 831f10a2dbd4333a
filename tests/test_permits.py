"""All budgets hold at once, whoever waits longest is next, and who does not come back is left behind."""

from __future__ import annotations

import pytest

from rest_syncer.engine.budget import Budget
from rest_syncer.engine.fields import Duration
from rest_syncer.engine.permits import Permits

BUDGETS = (Budget(requests=2, per=Duration(1)), Budget(requests=3, per=Duration(60)))
NAMED = (Budget(requests=2, per=Duration(1), remaining_header="X-Left"),)
OPEN = Permits.opened((), 0.0)


def stored(permits: Permits, now: float) -> Permits:
    return Permits.parse(permits.text(now), permits.budgets, now)


def test_all_budgets_hold_at_once() -> None:
    permits, waits = Permits.opened(BUDGETS, 0.0), []
    for now in (0.0, 0.0, 1.0):
        waits.append(permits.wait(1, now))
        permits = stored(permits.spent(1, now), now)
    assert [wait for wait, _ in waits] == [0.0, 0.0, 0.0]
    assert permits.wait(1, 1.0) == (59.0, "the budget is spent")
    assert permits.remaining(1.0) == (0, 61.0)


def test_who_waits_longest_is_next_whoever_asks_more_often() -> None:
    permits = OPEN.queued("modest", 5.0, 0.0).queued("greedy", 5.0, 0.0).queued("modest", 5.0, 1.0)
    assert [stored(permits, 5.0).is_next(who, 5.0) for who in ("modest", "greedy", "new")] == [True, False, False]
    permits = permits.left_by("modest")
    assert [permits.is_next(who, 5.0) for who in ("modest", "greedy", "new")] == [False, True, False]
    assert OPEN.is_next("anyone", 0.0)


@pytest.mark.parametrize(
    ("mine", "cost", "may_pass"),
    [
        pytest.param((Budget(requests=9, per=Duration(1)),), 1, True, id="who-spends-of-another-budget"),
        pytest.param((Budget(requests=9, per=Duration(60)),), 1, False, id="who-spends-what-he-waits-for"),
        pytest.param((Budget(requests=9, per=Duration(60)), Budget(requests=9, per=Duration(1))), 1, False, id="who-spends-of-both"),
    ],
)
def test_only_who_makes_nobody_wait_longer_may_pass(mine: tuple[Budget, ...], cost: int, may_pass: bool) -> None:
    hour = (Budget(requests=9, per=Duration(60)),)
    others = Permits.opened(hour, 0.0).spent(1, 0.0)
    others = others.queued("large", others.wait(9, 1.0)[0] + 1.0, 1.0, 9)
    me = Permits.parse(others.text(1.0), mine, 1.0)
    assert (me.wait(cost, 1.0)[0], me.is_next("small", 1.0, cost)) == (0.0, may_pass)


def test_who_does_not_come_back_is_left_behind_a_second_after_his_time() -> None:
    permits = OPEN.queued("dead", 5.0, 0.0).queued("living", 5.0, 0.0)
    assert [permits.is_next("living", now) for now in (5.0, 6.0, 6.1)] == [False, False, True]
    assert [place.who for place in permits.queued("living", 9.0, 4.0).queued("late", 9.0, 6.1).queue] == ["living", "late"]


def test_who_waits_for_an_hour_and_is_killed_is_left_behind_soon() -> None:
    hour = (Budget(requests=9, per=Duration(3600)),)
    permits = Permits.opened(hour, 0.0).spent(1, 0.0).queued("dead", 3600.0, 1.0, 9)
    assert [permits.is_next("small", now) for now in (6.9, 7.1)] == [False, True]


def test_usual_headers_hold_requests_back_only_when_nothing_is_left() -> None:
    told = OPEN.told({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "30"}, 200, 0.0, 0.0)
    assert (told.wait(1, 1.0), told.remaining(1.0)) == ((0.0, "the budget is spent"), (1, 30.0))
    told = stored(told.told({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, 200, 2.0, 0.0), 2.0)
    assert (told.wait(1, 4.0), told.wait(1, 32.0)[0]) == ((28.0, "the API says that nothing is left"), 0.0)
    assert told.told({}, 200, 3.0, 0.0) == told, "an answer that says nothing changes nothing"


def test_a_refusal_holds_requests_back_until_its_reset_if_it_has_one() -> None:
    assert OPEN.told({"x-ratelimit-remaining": "7", "x-ratelimit-reset": "9"}, 429, 0.0, 0.0).wait(1, 0.0)[0] == 9.0
    assert OPEN.told({"x-ratelimit-remaining": "7"}, 429, 0.0, 0.0).wait(1, 0.0)[0] == 0.0


def test_usual_headers_hold_requests_back_for_an_hour_at_most_and_the_wait_says_so() -> None:
    told = OPEN.told({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "72000"}, 200, 0.0, 0.0)
    assert told.wait(1, 0.0) == (3600.0, "the API says that nothing is left for 72,000 s; it is asked again before")
    assert told.remaining(0.0) == (0, 72000.0)


def test_names_in_the_spec_win_over_usual_ones() -> None:
    told = Permits.opened(NAMED, 0.0).told({"x-left": "2", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, 200, 0.0, 0.0)
    assert told.wait(1, 0.0)[0] == 0.0


def test_usual_headers_hold_beside_budgets_that_name_none() -> None:
    told = Permits.opened(BUDGETS, 0.0).told({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, 200, 0.0, 0.0)
    assert told.wait(1, 0.0)[0] == 30.0


def test_budgets_of_another_spec_stay_as_long_as_they_matter() -> None:
    other = Permits.opened(NAMED, 0.0).spent(2, 0.0)
    mine = Permits.parse(other.text(0.0), BUDGETS[1:], 0.5).spent(3, 0.5)
    assert Permits.parse(mine.text(0.5), NAMED, 0.6).wait(1, 0.6)[0] == pytest.approx(0.4)
    assert Permits.parse(mine.text(0.5), BUDGETS[1:], 2.0).others == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"at": 0}',
        '{"at":"x","budgets":{},"hold":null,"queue":[]}',
        '{"at":0,"budgets":{"2/1s":[1]},"hold":null,"queue":[]}',
        '{"at":0,"budgets":[],"hold":null,"queue":[]}',
        '{"at":0,"budgets":{"x":1},"hold":null,"queue":[]}',
        '{"at":0,"budgets":{},"hold":["x",1,1],"queue":[]}',
        '{"at":0,"budgets":{"2/1s":[Infinity,2,1,[]]},"hold":null,"queue":[]}',
        "[" * 100_000,
    ],
)
def test_a_text_that_says_nothing_begins_anew(text: str) -> None:
    assert Permits.parse(text, BUDGETS, 7.0) == Permits.opened(BUDGETS, 7.0)


def test_after_a_restart_of_the_machine_all_begins_anew() -> None:
    text = Permits.opened(BUDGETS, 5000.0).spent(3, 5000.0).queued("dead", 5040.0, 5000.0).text(5000.0)
    assert Permits.parse(text, BUDGETS, 60.0) == Permits.opened(BUDGETS, 60.0)
