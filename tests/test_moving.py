"""A list that changes while it is read: what is lost, what is found out, and what is said of it.

Stories are made up at random for each kind of pagination and each way of asking for changes, and `tests.moving` holds each
pull against what the API really had. How a row escapes where nothing that the API showed could have told is written down
first. Each defect of today has a short story in `KNOWN`: the search passes over its like, and once it is mended, its test
says that it is to be taken out.

SYNCER_DEEP is how many stories are tried of each kind (16), SYNCER_SEED tries others than the usual ones.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.moving import CURSORS, KINDS, Broken, Pull, Story, World, play

EXAMPLES = int(os.environ.get("SYNCER_DEEP", "16"))
SEED = os.environ.get("SYNCER_SEED")
INSERT = ("insert",)


def summed_up(world: World) -> tuple[object, ...]:
    return world.statuses, world.proofs, world.requests, world.escapes


# What cannot be seen.


@pytest.mark.parametrize(
    ("story", "missed"),
    [
        pytest.param(
            Story("number_total", [Pull(during=[(), [("delete", 1), INSERT]])], rows=5),
            [(3, "checked", 1)],
            id="one-goes-from-a-page-that-was-read-and-one-comes-at-the-end",
        ),
        pytest.param(
            Story("link_offset_total", [Pull(during=[(), [("delete", 1), INSERT]])], rows=5),
            [(3, "checked", 1)],
            id="likewise-behind-links",
        ),
        pytest.param(
            Story("number_total", [Pull(during=[(), [("replace", 9)], [("fill", 1)]])], rows=4, order="-id", step=2),
            [],
            id="one-that-is-pushed-back-is-met-again",
        ),
        pytest.param(
            Story("number", [Pull(during=[(), [("delete", 1)]])], rows=5),
            [(3, "open", 1)],
            id="nothing-to-check-against",
        ),
        pytest.param(
            Story("number_pages", [Pull(during=[(), [("delete", 1)]])], rows=6),
            [(3, "open", 1)],
            id="the-number-of-pages-stays",
        ),
        pytest.param(
            Story("link_offset", [Pull(during=[(), [("update", 1)]])], rows=3, order="updated_at"),
            [],
            id="one-that-moves-to-the-end-comes-twice-and-all-is-read-again",
        ),
        pytest.param(
            Story(
                "number_total",
                [Pull(during=[(), [("delete", 14)], (), (), (), (), [INSERT], [("delete", 15), ("fill", 1)]])],
                rows=7,
                order="-id",
                step=2,
            ),
            [(10, "checked", 2)],
            id="both-readings-slip-at-the-same-row-and-the-second-shows-nothing-of-it",
        ),
        pytest.param(
            Story(
                "number",
                [
                    Pull(),
                    Pull(during=[(), [("delete", 2)], (), (), (), (), (), (), [("fill", 2)], [("delete", 2)]]),
                ],
                rows=6,
                step=2,
            ),
            [(6, "checked", 2)],
            id="both-readings-slip-at-a-row-that-the-hub-holds-so-that-it-counts-as-gone",
        ),
        pytest.param(
            Story(
                "key_set",
                [Pull(), Pull(before=[("wait", 5), ("update", 1, 5)], during=[(), [("delete", 1), INSERT]])],
                rows=5,
                cursor="by_number",
            ),
            [(3, "checked", 1)],
            id="in-a-window-that-is-walked-by-numbers",
        ),
    ],
)  # fmt: skip
def test_a_row_escapes_only_where_nothing_shows_it(story: Story, missed: list[tuple[int, str, int]]) -> None:
    assert [(one.id, one.proof, one.readings) for one in play(story).escapes] == missed


@pytest.mark.parametrize(("cursor", "is_new"), [("none", False), ("epoch_s", True)])
def test_a_pass_of_two_runs_is_as_old_as_its_begin_but_for_changes_that_can_be_asked_for(cursor: str, is_new: bool) -> None:
    story = Story("key_set", [Pull(down=2), Pull(before=[("update", 1)])], 6, cursor)
    world = play(story, settles=False)
    assert world.statuses == ["failed", "complete"]
    assert (world.hub.newest(cursor != "none")[1][0] == world.api.rows[1]) is is_new


# What is wrong today.


@dataclass(frozen=True)
class Known:
    """A defect: what is wrong, its shortest story, and how `Broken` tells of it."""

    what: str
    story: Story
    broken: str
    kinds: str = ""
    """Of which kinds, or cursors: a pattern."""

    def is_it(self, story: Story, broken: Broken) -> bool:
        return bool(re.search(self.broken, str(broken)) and re.search(self.kinds, f"{story.kind} {story.cursor}"))


KNOWN = {
    "total-that-went-and-came-back": Known(
        "a total that changed on the way and back is not noticed: only that of the first page and of the last are compared",
        Story("number_total", [Pull(during=[(), [INSERT], (), [("delete", 1)]])], rows=5),
        "the first reading shows is told: the total changed, but",
    ),
    "total-that-changes-in-the-second-reading": Known(
        "a second reading in which the total changed is taken for checked, and what it lacks for gone",
        Story("number_total", [Pull(during=[(), [("delete", 7)], (), (), (), (), [INSERT], [("delete", 8)]])], rows=7, order="-id"),
        "the second reading shows is told: the total changed, but .*'checked'",
    ),
    "second-reading-that-shows-a-slip": Known(
        "a second reading with a key twice ends as complete, and only `open` says that something may be missing",
        Story(
            "number",
            [
                Pull(
                    during=[
                        *[(), [("delete", 7)], (), [INSERT], (), (), (), (), (), ()],
                        *[(), [("delete", 8)], (), [INSERT]],
                    ]
                )
            ],
            rows=7,
            order="-id",
        ),
        "the second reading shows is told: .*'open'",
    ),
    "page-that-seems-to-repeat": Known(
        "a page that rows were pushed to comes to look like one that was read; every later pull asks for it again, and stops there",
        Story("number_total", [Pull(during=[(), [INSERT, INSERT]])], rows=4, order="-id"),
        "a quiet list heals: .*repeats an earlier page",
    ),
    "read-twice-and-short": Known(
        "what was short after two readings stays so: every later pull asks for the last page again, and no other",
        Story("number_total", [Pull(during=[(), [INSERT], (), (), (), [INSERT]])], rows=4, order="-id", size=3),
        "a quiet list heals: .*read twice",
    ),
    "links-that-end-short-of-the-total": Known(
        "one row that comes before those that were read makes the total more than comes; every later pull asks for the last page again",
        Story("link_newest_total", [Pull(during=[(), [INSERT]])], rows=3),
        "a quiet list heals: .*no next link after",
        "link_.*total",
    ),
    "more-ties-than-a-page-and-a-total": Known(
        "rows that were met again count towards the total, so that a key set ends inside a group of one instant, as proven",
        Story("key_set_time_whole", [Pull(during=[(), [("update", 1, 2), ("update", 4, 3)]])], rows=6, size=3),
        "a stable way misses nothing",
        "key_set_time_(whole|rest)",
    ),
    "total-of-more-than-the-bound": Known(
        "a row that comes behind the walk counts towards a total of the whole list; every later pull stops at the same place",
        Story("key_set_exclusive_whole", [Pull(during=[(), (), (), [("fill", 1)]])], rows=4, step=2),
        "a quiet list heals: .*(from here on|share one id)",
        "key_set_(exclusive_)?whole",
    ),
    "ties-and-a-total-of-the-whole": Known(
        "more rows of one instant than a page holds, and the total of the whole list: even a quiet list is never complete",
        Story("key_set_time_whole", [Pull(before=[INSERT, INSERT, INSERT])], rows=1),
        "a quiet list (heals|is complete): .*share one id",
        "key_set_time_whole",
    ),
    "two-requests-too-many": Known(
        "the one row at the bound is taken for a group that fills a page, and its ties are asked for: twice in vain",
        Story("key_set_time", [Pull()], rows=3),
        "no more is asked than it takes",
        "key_set_time",
    ),
    "half-seconds": Known(
        "a window's end is not cut to whole seconds, as Date is and instants often are: what changes in that second is never asked for",
        Story("single", [Pull(), Pull(during=[(), [INSERT]]), Pull()], cursor="iso_no_lag"),
        "what is complete is as new",
        "iso_no_lag",
    ),
}


@pytest.mark.parametrize(
    "known",
    [pytest.param(one, id=name, marks=pytest.mark.xfail(strict=True, raises=Broken, reason=one.what)) for name, one in KNOWN.items()],
)
def test_what_is_wrong_today(known: Known) -> None:
    try:
        play(known.story)
    except Broken as broken:
        assert known.is_it(known.story, broken), str(broken)
        raise


# Nothing changes.


def _but_for_two_requests(kind: str) -> object:
    wrong = pytest.mark.xfail(strict=True, raises=Broken, reason=KNOWN["two-requests-too-many"].what)
    return pytest.param(kind, marks=wrong if kind == "key_set_time" else ())


SIZES = [(rows, size) for rows in (0, 1, 2, 3, 4, 5, 9) for size in (2, 3)]


@pytest.mark.parametrize("kind", [_but_for_two_requests(kind) for kind in KINDS])
def test_a_quiet_list_is_complete_with_its_grade_and_the_fewest_requests(kind: str) -> None:
    for rows, size in SIZES:
        world = play(Story(kind, [Pull(), Pull()], rows, size=size, order="-id"))
        requests, proof = KINDS[kind].requests(rows, size), KINDS[kind].proof(rows, size)
        assert summed_up(world) == (["complete"] * 3, [proof] * 3, [requests] * 3, []), (rows, size)


@pytest.mark.parametrize("kind", KINDS)
def test_that_nothing_changed_takes_one_request(kind: str) -> None:
    for cursor in (name for name, style in CURSORS.items() if style):
        world = play(Story(kind, [Pull(), Pull(before=[("wait", 9)])], 3, cursor, size=4), settles=False)
        assert (world.statuses[1], world.requests[1], world.proofs[1]) == ("complete", 1, "proven"), cursor


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(Story("number_total", [Pull(during=[(), [("delete", 1), INSERT]]), Pull()], rows=5), id="escapes"),
        pytest.param(Story("link_offset", [Pull(), Pull(during=[(), [("update", 1)]])], rows=5, order="updated_at"), id="twice"),
        pytest.param(Story("number", [Pull(), Pull(before=[("delete", 2)])], rows=5), id="gone"),
    ],
)
def test_keys_are_counted_here_as_the_engine_counts_them(story: Story) -> None:
    assert summed_up(play(story)) == summed_up(play(story, database=True))


# Everything changes.

ids = st.one_of(st.integers(1, 9), st.integers(1, 26))
events = st.one_of(
    st.just(INSERT),
    st.tuples(st.just("delete"), ids),
    st.tuples(st.just("update"), ids),
    st.tuples(st.just("replace"), ids),
    st.tuples(st.just("fill"), ids),
    st.tuples(st.just("update"), ids, st.integers(2, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.25, 0.5, 1, 3])),
)
pulls = st.builds(
    Pull,
    before=st.lists(events, max_size=2),
    during=st.lists(st.lists(events, max_size=3), max_size=12),
    full=st.booleans(),
    down=st.one_of(st.none(), st.none(), st.none(), st.integers(0, 6)),
)


def stories(kind: str) -> st.SearchStrategy[Story]:
    return st.builds(
        Story,
        st.just(kind),
        st.lists(pulls, min_size=1, max_size=3),
        rows=st.one_of(st.integers(0, 9), st.integers(0, 25)),
        cursor=st.sampled_from(list(CURSORS)),
        order=st.sampled_from(KINDS[kind].orders),
        size=st.integers(2, 5),
        step=st.sampled_from([1, 2]),
        apart=st.sampled_from([1.0, 0.5, 0.0]),
        latency=st.sampled_from([0.25, 0.0, 0.6]),
        segment_bytes=st.sampled_from([1, 150, 600]),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_promised_of_a_moving_list_holds(kind: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=SEED is None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(stories(kind))
    def holds(story: Story) -> None:
        try:
            play(story)
        except Broken as broken:
            if not any(known.is_it(story, broken) for known in KNOWN.values()):
                raise

    print(f"SYNCER_SEED={SEED or '(the usual stories)'}, SYNCER_DEEP={EXAMPLES}")
    (holds if SEED is None else seed(int(SEED))(holds))()
