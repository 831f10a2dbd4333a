"""What the hub's segments say together: where to go on, what has ended, and from when changes are asked for."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import msgspec
import pytest
from msgspec import to_builtins

from rest_syncer.engine.hub.fold import CollectionState, HubState, OpenChain, Pass, epoch, fold, unmended
from rest_syncer.engine.hub.segment import Ended, Head

END = Ended("total_reached", "proven", gone=True)


def head(name: str, chain: str | None = None, purpose: Any = "full", ended: Ended | None = None, **more: Any) -> Head:
    given = {"since": None, "until": None, "began": 0, **more}
    return Head(collection="orders", name=name, chain=chain or name[:9], purpose=purpose, route="r", ended=ended, **given)


def state_of(*heads: Head) -> CollectionState:
    return reduce(fold, heads, CollectionState())


def test_a_hub_without_segments_says_nothing() -> None:
    assert HubState().of("orders") == CollectionState(tips={}, open={}, passes=(), cursor=None)


def test_a_chain_that_has_not_ended_is_open_after_its_last_segment() -> None:
    first = head("000001-01-000000", began=5, until=90, state={"page": 2})
    second = head("000001-01-000001", began=5, until=90, state={"page": 3})
    assert state_of(first, second) == CollectionState(
        tips={"000001-01": 1}, open={"full": OpenChain("000001-01", "000001-01-000001", 5, None, 90, "r", {"page": 3})}
    )


def test_a_chain_goes_on_in_the_leg_of_another_run_and_its_pass_counts_from_where_it_began() -> None:
    begun = head("000001-01-000000", began=5, until=90)
    ended = head("000003-01-000001", "000001-01", began=5, until=90, ended=END)
    assert state_of(begun, ended) == CollectionState(
        tips={"000001-01": 0, "000003-01": 1},
        firsts={"000003-01": 1},
        cursor=90,
        passes=(Pass(1, "000001-01", 5, "000003-01-000001", gone=True),),
        parents=1,
    )


def test_a_pass_remembers_whether_it_proved_what_is_gone() -> None:
    passes = state_of(head("000001-01-000000", ended=Ended("empty_page", "open"))).passes
    assert passes == (Pass(1, "000001-01", 0, "000001-01-000000", gone=False),)


def test_a_pass_and_a_window_are_open_side_by_side() -> None:
    state = state_of(head("000001-01-000000"), head("000001-02-000000", purpose="changed", since=5))
    assert {purpose: chain.after for purpose, chain in state.open.items()} == {"full": "000001-01-000000", "changed": "000001-02-000000"}
    state = fold(state, head("000002-01-000001", "000001-02", "changed", END, since=5))
    assert {purpose: chain.after for purpose, chain in state.open.items()} == {"full": "000001-01-000000"}


def test_a_chain_that_is_begun_anew_takes_the_place_of_the_old_one() -> None:
    state = state_of(head("000001-01-000000"), head("000002-01-000000"))
    assert state.open["full"].chain == "000002-01"
    assert fold(state, head("000002-01-000001", ended=END)).open == {}


def test_the_end_of_an_older_chain_leaves_a_newer_one_open() -> None:
    """Two runs at once: the one that began earlier ends later."""
    state = state_of(head("000002-01-000000"), head("000003-01-000000", "000001-01", ended=END))
    assert state.open["full"].chain == "000002-01"


@pytest.mark.parametrize(
    ("windows", "cursor"),
    [
        pytest.param([(None, 10)], 10, id="from-the-beginning"),
        pytest.param([(None, 10), (10, 20)], 20, id="one-after-the-other"),
        pytest.param([(None, 10), (8, 20)], 20, id="overlapping"),
        pytest.param([(None, 10), (12, 20)], 10, id="a-gap-is-not-skipped"),
        pytest.param([(None, 10), (5, 8)], 10, id="a-shorter-one-does-not-go-back"),
        pytest.param([(None, 10), (10, None)], 10, id="an-api-that-lost-its-clock"),
        pytest.param([(None, None)], None, id="an-api-without-a-clock"),
    ],
)
def test_changes_are_asked_for_from_the_end_of_the_unbroken_run_of_windows(
    windows: list[tuple[int | None, int | None]], cursor: int | None
) -> None:
    heads = [
        head(f"{run:06}-01-000000", purpose="changed", ended=END, since=since, until=until) for run, (since, until) in enumerate(windows, 1)
    ]
    assert state_of(*heads).cursor == cursor


def test_a_window_that_has_not_ended_moves_nothing() -> None:
    state = state_of(head("000001-01-000000", ended=END, until=10), head("000002-01-000000", purpose="changed", since=10, until=20))
    assert state.cursor == 10


def test_a_complete_pass_closes_every_window_before_it() -> None:
    assert state_of(head("000001-01-000000", ended=END, until=10), head("000002-01-000000", ended=END, until=50)).cursor == 50


def test_a_pass_that_is_met_twice_is_counted_once() -> None:
    again = head("000001-01-000000", ended=END, until=10)
    assert state_of(again, again) == state_of(again)


def test_the_names_of_all_that_is_in_it_follow_from_the_legs() -> None:
    """A leg that goes on with a chain goes on with its numbers, too."""
    heads = [
        head("000001-01-000000"),
        head("000001-01-000001"),
        head("000002-01-000002", "000001-01"),
        head("000002-01-000003", "000001-01"),
    ]
    assert list(state_of(*heads).names) == [one.name for one in heads]


def test_damage_is_mended_by_a_pass_that_began_later() -> None:
    damaged, passes = ["000002-01-000000"], ("000001-01", "000002-01", "000003-01")
    states = [CollectionState()] + [state_of(head(f"{leg}-000000", ended=END)) for leg in passes]
    assert [unmended(state, damaged) for state in states] == [damaged, damaged, damaged, []]


def test_a_stored_fold_goes_on_as_if_all_had_been_read() -> None:
    """Each run's plan carries the fold of all before it."""
    heads = [
        head("000001-01-000000", until=10),
        head("000001-01-000001", until=10, ended=END),
        head("000002-01-000000", purpose="changed", since=10, until=20),
        head("000003-01-000001", "000002-01", "changed", END, since=10, until=20),
        head("000004-01-000000", until=40),
        head("000005-01-000001", "000004-01", until=40, ended=END),
        head("000005-02-000000", purpose="changed", since=40, until=50, ended=END),
    ]
    whole = state_of(*heads)
    for cut in range(len(heads) + 1):
        stored = msgspec.json.decode(json.dumps(to_builtins(state_of(*heads[:cut]))), type=CollectionState)
        assert reduce(fold, heads[cut:], stored) == whole
    assert (whole.cursor, [one.run for one in whole.passes]) == (50, [1, 4])


@pytest.mark.parametrize(
    ("name", "known"),
    [
        pytest.param("000001-01-000000", True, id="before-the-tip"),
        pytest.param("000001-01-000001", True, id="the-tip"),
        pytest.param("000001-01-000002", False, id="behind-the-tip"),
        pytest.param("000001-02-000000", False, id="another-leg"),
    ],
)
def test_a_state_knows_which_segments_are_in_it(name: str, known: bool) -> None:
    assert CollectionState(tips={"000001-01": 1}).has(name) is known


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("000001-01-000000", 0, id="before-the-first-pass"),
        pytest.param("000002-01-000000", 2, id="of-the-run-that-began-it"),
        pytest.param("000004-09-000000", 2, id="after-it"),
        pytest.param("000005-01-000000", 5, id="of-the-next"),
        pytest.param("000900-01-000000", 5, id="long-after"),
    ],
)
def test_a_segments_epoch_is_the_last_pass_that_began_before_it(name: str, expected: int) -> None:
    assert epoch(name, [5, 2]) == expected
