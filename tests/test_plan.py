"""What a run does next follows from the spec and the hub alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from rest_syncer.engine import times
from rest_syncer.engine.hub.fold import CollectionState, OpenChain, Pass
from rest_syncer.engine.plan import Loaded, LoadStep, Run, Step, next_step, proving, settled
from rest_syncer.engine.plan import load_step as planned
from rest_syncer.engine.schema import Notes, build
from rest_syncer.engine.spec import Collection, Purpose

DAY = 86_400 * times.SECOND
NOW = times.parse("2016-11-22T12:00:00Z")
MINUTE_AGO = NOW - 60 * times.SECOND
ROUTES: dict[Purpose, str] = {"full": "f1", "changed": "c1"}


def load_step(*given: Any, **more: Any) -> LoadStep:
    """A step without what only another pass would need."""
    return replace(planned(*given, **more), finds_from=None)


def collection(cursor: dict[str, Any] | None = None, **members: Any) -> Collection:
    given = {"key": "id", "properties": {"id": "integer", "at": "timestamp"}, **members}
    built = build(Collection, {**given, "cursor": cursor} if cursor else given, (), Notes())
    assert isinstance(built, Collection)
    return built


ASKABLE = collection({"property": "at", "param": "since"})
STARTED = collection({"property": "at", "param": "since", "start": "2016-01-01T00:00:00Z"})
ORDERED = collection({"property": "at"})
PLAIN = collection()
WEEKLY = collection({"property": "at", "param": "since"}, full={"every": "7d"})
WEEKLY_STARTED = collection({"property": "at", "param": "since", "start": "2016-01-01T00:00:00Z"}, full={"every": "7d"})

EMPTY = CollectionState()


def done(began: int = NOW - DAY, run: int = 1) -> Pass:
    return Pass(run, f"{run:06}-01", began, f"{run:06}-01-000004", gone=True)


def opened(purpose: str, route: str, run: int = 3, since: int | None = None) -> OpenChain:
    return OpenChain(f"{run:06}-01", f"{run:06}-01-000007", NOW - 5, since, NOW - 9, route, {"walk": {"page": 3}})


def passed(cursor: int | None = MINUTE_AGO, **parts: Any) -> CollectionState:
    return CollectionState(passes=(done(),), cursor=cursor, **parts)


def step(of: Collection, state: CollectionState, begun: list[Step] | None = None, full: bool = False) -> Step | None:
    return next_step("orders", of, state, ROUTES, Run(number=9, at=NOW, full=full), begun or [])


def new(purpose: Purpose, reason: str, since: int | None = None, leg: str = "000009-01") -> Step:
    return Step("orders", purpose, leg, leg, reason, NOW, since)


def resumed(purpose: Purpose, chain: OpenChain, leg: str = "000009-01") -> Step:
    reason = f"goes on after segment {chain.after} of run 3"
    return Step("orders", purpose, leg, chain.chain, reason, NOW - 5, chain.since, NOW - 9, after=chain.after, state={"walk": {"page": 3}})


CHANGES = "changes since 2016-11-22T11:59:00Z"


@pytest.mark.parametrize(
    ("of", "state", "expected"),
    [
        pytest.param(PLAIN, EMPTY, new("full", "the first complete pass"), id="first-run"),
        pytest.param(ASKABLE, EMPTY, new("full", "the first complete pass"), id="first-run-of-what-can-be-asked"),
        pytest.param(STARTED, EMPTY, new("changed", "changes since the start"), id="first-run-with-a-start"),
        pytest.param(WEEKLY_STARTED, EMPTY, new("full", "a complete pass is due (every 7d)"), id="first-run-with-a-start-and-passes-due"),
        pytest.param(PLAIN, passed(None), new("full", "changes cannot be asked for"), id="no-cursor"),
        pytest.param(ORDERED, passed(), new("full", "changes cannot be asked for"), id="a-cursor-that-only-orders"),
        pytest.param(ASKABLE, passed(), new("changed", CHANGES, MINUTE_AGO), id="changes"),
        pytest.param(
            ASKABLE,
            passed(None),
            new("full", "no pass has told since when changes are to be asked for"),
            id="api-without-a-clock",
        ),
        pytest.param(STARTED, passed(None), new("changed", "changes since the start"), id="api-without-a-clock-but-a-start"),
        pytest.param(WEEKLY, passed(), new("changed", CHANGES, MINUTE_AGO), id="pass-not-yet-due"),
        pytest.param(
            WEEKLY,
            CollectionState(passes=(done(NOW - 7 * DAY),), cursor=MINUTE_AGO),
            new("full", "a complete pass is due (every 7d)"),
            id="pass-due-to-the-second",
        ),
        pytest.param(
            WEEKLY,
            CollectionState(passes=(done(NOW + 1),), cursor=MINUTE_AGO),
            new("full", "a complete pass is due, for the last one is in the future: a clock was wrong"),
            id="pass-in-the-future",
        ),
        pytest.param(
            WEEKLY,
            CollectionState(passes=(done(NOW - 7 * DAY + 1),), cursor=MINUTE_AGO),
            new("changed", CHANGES, MINUTE_AGO),
            id="pass-due-in-a-microsecond",
        ),
        pytest.param(
            WEEKLY,
            CollectionState(passes=(done(NOW - 9 * DAY), done(NOW - DAY, run=2)), cursor=MINUTE_AGO),
            new("changed", CHANGES, MINUTE_AGO),
            id="the-last-pass-counts",
        ),
        pytest.param(
            PLAIN,
            CollectionState(open={"full": opened("full", "f1")}),
            resumed("full", opened("full", "f1")),
            id="pass-that-broke-off",
        ),
        pytest.param(
            PLAIN,
            CollectionState(open={"full": opened("full", "old")}),
            new("full", "the first complete pass, anew, for the spec asks another way now"),
            id="pass-that-was-begun-another-way",
        ),
        pytest.param(
            ASKABLE,
            passed(open={"changed": opened("changed", "c1", since=5)}),
            resumed("changed", opened("changed", "c1", since=5)),
            id="window-that-broke-off",
        ),
        pytest.param(
            ASKABLE,
            passed(open={"changed": opened("changed", "old", since=5)}),
            new("changed", CHANGES, MINUTE_AGO),
            id="window-that-was-begun-another-way",
        ),
        pytest.param(
            ASKABLE,
            passed(open={"full": opened("full", "f1"), "changed": opened("changed", "c1")}),
            resumed("full", opened("full", "f1")),
            id="pass-before-window",
        ),
    ],
)
def test_a_run_begins_with(of: Collection, state: CollectionState, expected: Step) -> None:
    assert step(of, state) == expected


@pytest.mark.parametrize(
    "state", [pytest.param(EMPTY, id="empty"), pytest.param(passed(open={"full": opened("full", "f1")}), id="with-an-open-pass")]
)
def test_a_complete_pass_that_is_asked_for_is_begun_anew(state: CollectionState) -> None:
    assert step(ASKABLE, state, full=True) == new("full", "a complete pass was asked for")


A_PASS = new("full", "the first complete pass")
AN_OLD_PASS = resumed("full", opened("full", "f1"))
A_WINDOW = new("changed", CHANGES, MINUTE_AGO)
AN_OLD_WINDOW = resumed("changed", opened("changed", "c1"))


@pytest.mark.parametrize(
    ("of", "begun", "expected"),
    [
        pytest.param(PLAIN, [A_PASS], None, id="a-new-pass-is-all"),
        pytest.param(ASKABLE, [A_PASS], None, id="a-new-pass-holds-the-changes"),
        pytest.param(PLAIN, [AN_OLD_PASS], None, id="an-old-pass-of-what-cannot-be-asked"),
        pytest.param(ASKABLE, [AN_OLD_PASS], new("changed", CHANGES, MINUTE_AGO, "000009-02"), id="an-old-pass-is-followed-by-changes"),
        pytest.param(ASKABLE, [A_WINDOW], None, id="a-new-window-is-all"),
        pytest.param(
            ASKABLE, [AN_OLD_WINDOW], new("changed", CHANGES, MINUTE_AGO, "000009-02"), id="an-old-window-is-followed-by-a-new-one"
        ),
        pytest.param(
            ASKABLE, [AN_OLD_PASS, AN_OLD_WINDOW], new("changed", CHANGES, MINUTE_AGO, "000009-03"), id="both-old-are-followed-by-a-new-one"
        ),
        pytest.param(ASKABLE, [AN_OLD_PASS, A_WINDOW], None, id="up-to-date"),
    ],
)
def test_after_what_was_begun_comes(of: Collection, begun: list[Step], expected: Step | None) -> None:
    assert step(of, passed(), begun) == expected


def test_after_an_old_pass_an_open_window_goes_on() -> None:
    chain = opened("changed", "c1", since=5)
    assert step(ASKABLE, passed(open={"changed": chain}), [AN_OLD_PASS]) == resumed("changed", chain, "000009-02")


def test_a_pass_that_was_asked_for_ends_the_run() -> None:
    assert step(ASKABLE, passed(), [new("full", "a complete pass was asked for")], full=True) is None


@pytest.mark.parametrize("of", [PLAIN, ORDERED, ASKABLE, STARTED, WEEKLY, WEEKLY_STARTED])
@pytest.mark.parametrize(
    "state", [EMPTY, passed(None), passed(), passed(open={"full": opened("full", "f1"), "changed": opened("changed", "c1")})]
)
@pytest.mark.parametrize("full", [True, False])
def test_every_run_comes_to_its_end_and_names_its_legs_in_order(of: Collection, state: CollectionState, full: bool) -> None:
    begun: list[Step] = []
    while following := step(of, state, begun, full):
        begun.append(following)
        assert len(begun) < 5
    assert [one.leg for one in begun] == [f"000009-{place:02}" for place in range(1, len(begun) + 1)]
    assert begun


def test_a_step_names_its_first_segment_after_the_one_it_goes_on_from() -> None:
    assert (A_PASS.first_name, A_PASS.is_new) == ("000009-01-000000", True)
    assert (AN_OLD_PASS.first_name, AN_OLD_PASS.is_new) == ("000009-01-000008", False)


def test_a_step_is_plain_json() -> None:
    assert Step(**json.loads(json.dumps(AN_OLD_PASS.as_json()))) == AN_OLD_PASS


# loads


FIRST = ("000001-01-000000", "000001-01-000001")
"""The first pass, in two segments."""
ONE = Pass(1, "000001-01", 0, FIRST[1], gone=True)
WINDOW = "000002-01-000000"
HALF, REST = "000003-01-000000", "000004-01-000001"
"""The second pass, begun by run 3 and ended by run 4."""
TWO = Pass(3, "000003-01", 0, REST, gone=True)
BETWEEN = "000003-02-000000"
LATER = "000005-01-000000"
THREE = Pass(5, "000005-01", 0, LATER, gone=False)


@pytest.mark.parametrize(
    ("passes", "new_ones", "before", "expected"),
    [
        pytest.param([], FIRST[:1], (), LoadStep(7, FIRST[:1], (), (), False, None, False), id="a-pass-that-has-not-ended"),
        pytest.param([ONE], FIRST, (), LoadStep(7, FIRST, (), (1,), False, 1, False), id="the-first-pass-whole"),
        pytest.param(
            [ONE], FIRST[1:], FIRST[:1], LoadStep(7, FIRST[1:], (), (1,), False, 1, False), id="the-first-pass-outranks-nothing-of-its-own"
        ),
        pytest.param([ONE], (WINDOW,), FIRST, LoadStep(7, (WINDOW,), (), (1,), False, 1, False), id="changes"),
        pytest.param([ONE], (), FIRST, LoadStep(7, (), (), (1,), False, 1, False), id="nothing-new"),
        pytest.param(
            [ONE, TWO],
            (HALF,),
            (*FIRST, WINDOW),
            LoadStep(7, (HALF,), (), (1,), False, 1, False),
            id="half-a-pass-that-ended-later",
        ),
        pytest.param(
            [ONE, TWO],
            (REST,),
            (*FIRST, WINDOW, HALF, BETWEEN),
            LoadStep(7, (REST,), (HALF, BETWEEN), (1, 3), True, 3, True),
            id="what-came-since-a-pass-began-is-read-again",
        ),
        pytest.param(
            [ONE, TWO],
            (HALF, BETWEEN, REST),
            (*FIRST, WINDOW),
            LoadStep(7, (HALF, BETWEEN, REST), (), (1, 3), False, 3, True),
            id="a-whole-later-pass",
        ),
        pytest.param(
            [ONE, TWO, THREE],
            (REST, LATER),
            (*FIRST, HALF),
            LoadStep(7, (REST, LATER), (HALF,), (1, 3, 5), True, 3, True),
            id="two-passes-of-which-one-proves-what-is-gone",
        ),
        pytest.param(
            [ONE, TWO, THREE],
            (LATER,),
            (*FIRST, HALF, REST),
            LoadStep(7, (LATER,), (), (1, 3, 5), False, 3, False),
            id="a-later-pass-that-proves-nothing-gone",
        ),
        pytest.param([THREE], (LATER,), (), LoadStep(7, (LATER,), (), (5,), False, None, False), id="no-pass-proves-anything-gone"),
    ],
)
def test_a_load_does_this(passes: list[Pass], new_ones: tuple[str, ...], before: tuple[str, ...], expected: LoadStep) -> None:
    assert load_step(CollectionState(passes=tuple(passes)), 7, new_ones, before, refill=False) == expected


@pytest.mark.parametrize(
    ("new_ones", "before", "expected"),
    [
        pytest.param(FIRST, (), LoadStep(7, FIRST, (), (1,), False, 1, True), id="whole"),
        pytest.param(FIRST[1:], FIRST[:1], LoadStep(7, FIRST[1:], FIRST[:1], (1,), True, 1, True), id="in-two-loads"),
    ],
)
def test_the_first_pass_outranks_what_another_hub_has_brought(
    new_ones: tuple[str, ...], before: tuple[str, ...], expected: LoadStep
) -> None:
    assert load_step(CollectionState(passes=(ONE,)), 7, new_ones, before, refill=False, strangers=True) == expected


def test_a_new_column_reads_everything_again() -> None:
    found = load_step(CollectionState(passes=(ONE,)), 7, (WINDOW,), FIRST, refill=True)
    assert found == LoadStep(7, (WINDOW,), FIRST, (1,), True, 1, True)


def test_rows_in_doubt_read_all_of_their_epoch_again() -> None:
    state = CollectionState(passes=(ONE, TWO))
    found = load_step(state, 7, (LATER,), (*FIRST, WINDOW, HALF, REST), refill=False, in_doubt=True)
    assert found == LoadStep(7, (LATER,), (HALF, REST), (1, 3), True, 3, False)


def test_a_segments_epoch_is_that_of_the_last_pass_begun_before_it() -> None:
    found = load_step(CollectionState(passes=(ONE, TWO)), 7, (REST,), (*FIRST, WINDOW, HALF), refill=False)
    assert [found.epoch(name) for name in (*FIRST, WINDOW, HALF, BETWEEN, REST, LATER)] == [1, 1, 1, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        pytest.param([], True, id="none"),
        pytest.param([Loaded(("000003-01-000001",), 0, 0)], True, id="nothing-lost"),
        pytest.param([Loaded(("000003-01-000001",), 1, 0)], False, id="something-lost-against-a-row"),
        pytest.param([Loaded(("000003-01-000001", "000003-01-000002"), 0, 4)], True, id="duplicates-in-one-epoch"),
        pytest.param([Loaded(("000002-01-000001", "000003-01-000001"), 0, 1)], False, id="duplicates-across-the-begin-of-the-pass"),
        pytest.param([Loaded(("000003-01-000001",), 0, 0), Loaded(("000003-01-000002",), 2, 0)], False, id="in-a-later-load"),
    ],
)
def test_a_pass_is_settled_when_nothing_of_it_lost(loads: list[Loaded], expected: bool) -> None:
    state = CollectionState(passes=(Pass(3, "000003-01", 0, "000003-01-000009", gone=True),))
    assert settled(state, ["000003-01-000009"], loads) == expected


def test_a_settled_pass_reads_nothing_but_keys_again() -> None:
    state = CollectionState(passes=(Pass(2, "000002-01", 0, "000002-01-000002", gone=True),))
    before, new = ["000001-01-000000", "000002-01-000000", "000002-01-000001"], ["000002-01-000002"]
    step = load_step(state, 4, new, before, refill=False, is_settled=True)
    assert (step.again, step.complete, step.marks_gone, step.keys) == ((), False, True, tuple(before[1:]))
    step = load_step(state, 4, new, before, refill=False)
    assert (step.again, step.complete, step.marks_gone, step.keys) == (tuple(before[1:]), True, True, ())


def complete_pass(run: int, ended: str, gone: bool = True) -> Pass:
    return Pass(run=run, chain=f"{run:06}-01", began=NOW, ended=ended, gone=gone)


PASSES = (
    complete_pass(1, "000001-01-000000"),
    complete_pass(2, "000003-01-000001"),
    complete_pass(4, "000004-01-000000", gone=False),
    complete_pass(5, "000005-01-000000"),
)


@pytest.mark.parametrize(
    ("unreadable_in", "damaged", "expected"),
    [
        ((), (), [1, 2, 5]),
        ({5}, (), [1, 2]),
        ({3}, (), [1, 5]),
        ({4}, (), [1, 2, 5]),
        ((), ["000004-01-000000"], [5]),
        ((), ["000006-01-000000"], []),
    ],
)
def test_a_pass_proves_what_is_gone_where_all_of_it_could_be_read(unreadable_in: set[int], damaged: list[str], expected: list[int]) -> None:
    taken = {one.ended for one in PASSES}
    assert [one.run for one in proving(CollectionState(passes=PASSES), taken, unreadable_in, damaged)] == expected


def test_a_step_takes_an_earlier_pass_with_all_the_keys_that_came_since() -> None:
    before = ["000001-01-000000", "000002-01-000000", "000003-01-000000"]
    step = planned(CollectionState(passes=PASSES), 4, ["000003-01-000001", "000005-01-000000"], before, refill=False, is_settled=True)
    assert (step.gone_since, step.marks_gone, step.keys) == (5, True, ())
    earlier = step.told_by(2, before)
    assert (earlier.gone_since, earlier.marks_gone, earlier.keys) == (2, True, tuple(before[1:]))
    known = step.told_by(1, before)
    assert (known.gone_since, known.marks_gone, known.keys) == (1, False, ())
