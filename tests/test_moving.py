"""A list that changes while it is read: what is lost, what is found out, and what is said of it.

Stories are made up at random for each kind of pagination and each way of asking for changes, and `tests.moving` holds each
pull against what the API really had. How a row escapes where nothing that the API showed could have told is written down
first; then short stories that were once lost, or never healed.

SYNCER_DEEP is how many stories are tried of each kind (16), SYNCER_SEED tries others than the usual ones.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.moving import CURSORS, KINDS, TURNS, Pull, Story, World, play

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


# What is easily lost, or never healed.

ONCE_WRONG = {
    "total-that-went-and-came-back": Story("number_total", [Pull(during=[(), [INSERT], (), [("delete", 1)]])], rows=5),
    "total-that-changes-in-the-second-reading": Story(
        "number_total", [Pull(during=[(), [("delete", 7)], (), (), (), (), [INSERT], [("delete", 8)]])], rows=7, order="-id"
    ),
    "second-reading-that-shows-a-slip": Story(
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
    "page-that-seems-to-repeat": Story("number_total", [Pull(during=[(), [INSERT, INSERT]])], rows=4, order="-id"),
    "read-twice-and-short": Story("number_total", [Pull(during=[(), [INSERT], (), (), (), [INSERT]])], rows=4, order="-id", size=3),
    "links-that-end-short-of-the-total": Story("link_newest_total", [Pull(during=[(), [INSERT]])], rows=3),
    "more-ties-than-a-page-and-a-total": Story(
        "key_set_time_whole", [Pull(during=[(), [("update", 1, 2), ("update", 4, 3)]])], rows=6, size=3
    ),
    "total-of-more-than-the-bound": Story("key_set_exclusive_whole", [Pull(during=[(), (), (), [("fill", 1)]])], rows=4, step=2),
    "ties-and-a-total-of-the-whole": Story("key_set_time_whole", [Pull(before=[INSERT, INSERT, INSERT])], rows=1),
    "two-requests-too-many": Story("key_set_time", [Pull()], rows=3),
    "half-seconds": Story("single", [Pull(), Pull(during=[(), [INSERT]]), Pull()], cursor="iso_no_lag"),
}


@pytest.mark.parametrize("story", [pytest.param(story, id=name) for name, story in ONCE_WRONG.items()])
def test_what_an_earlier_engine_lost_or_never_read_again(story: Story) -> None:
    play(story)


# Nothing changes.


SIZES = [(rows, size) for rows in (0, 1, 2, 3, 4, 5, 9) for size in (2, 3)]


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_quiet_list_is_complete_with_its_grade_and_the_fewest_requests(kind: str, concurrency: int) -> None:
    """Side by side, too, nothing is asked for in vain."""
    for rows, size in SIZES:
        world = play(Story(kind, [Pull(), Pull()], rows, size=size, order="-id", concurrency=concurrency))
        requests, proof = KINDS[kind].requests(rows, size), KINDS[kind].proof(rows, size)
        assert summed_up(world) == (["complete"] * 3, [proof] * 3, [requests] * 3, []), (rows, size)


@pytest.mark.parametrize("kind", KINDS)
def test_that_nothing_changed_takes_one_request(kind: str) -> None:
    for cursor, style in CURSORS.items():
        if style is None:
            continue
        world = play(Story(kind, [Pull(before=[("wait", 5)]), Pull(before=[("wait", 9)])], 3, cursor, size=4), settles=False)
        proof = KINDS[style.kind or kind].proof(0, 4)
        assert (world.statuses[1], world.requests[1], world.proofs[1]) == ("complete", 1, proof), cursor


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
        concurrency=st.sampled_from([1, 3]),
        turns=st.sampled_from(TURNS),
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
        play(story)

    print(f"SYNCER_SEED={SEED or '(the usual stories)'}, SYNCER_DEEP={EXAMPLES}")
    (holds if SEED is None else seed(int(SEED))(holds))()
