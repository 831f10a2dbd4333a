"""A list that changes while it is read."""
from __future__ import annotations
import os
import pytest
from hypothesis import HealthCheck, Verbosity, given, note, seed, settings
from hypothesis import strategies as st
from tests.moving import CURSORS, KINDS, Broken, Pull, Story, play, quiet, without_a_database

EXAMPLES = int(os.environ.get("SYNCER_DEEP", "40"))
SEED = os.environ.get("SYNCER_SEED")
KNOWN: dict[str, str] = {}

@pytest.fixture(autouse=True)
def _plain(request):
    with without_a_database():
        yield

ids = st.one_of(st.integers(1, 9), st.integers(1, 26))
events = st.one_of(
    st.just(("insert",)),
    st.tuples(st.just("delete"), ids),
    st.tuples(st.just("update"), ids),
    st.tuples(st.just("replace"), ids),
    st.tuples(st.just("fill"), ids),
    st.tuples(st.just("update"), ids, st.integers(2, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.25, 0.5, 1, 3])),
)
pulls = st.builds(Pull, before=st.lists(events, max_size=2), during=st.lists(st.lists(events, max_size=3), max_size=12), full=st.booleans())

def stories(kind):
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
        segment_bytes=st.sampled_from([1, 150, 600]),
    )

@pytest.mark.parametrize("kind", KINDS)
def test_moving(kind):
    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=SEED is None, suppress_health_check=list(HealthCheck))
    @given(stories(kind))
    def one(story):
        play(story)
    if SEED: one = seed(int(SEED))(one)
    one()
