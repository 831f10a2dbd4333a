"""Keys are counted alike in memory and in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine import keys
from rest_syncer.engine.errors import HubError
from rest_syncer.engine.hub import Hub
from rest_syncer.engine.keys import Key, Keys
from rest_syncer.engine.stage import Stage

parts = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
pages = st.lists(st.tuples(st.integers(1, 2), st.lists(st.tuples(parts, st.sampled_from([1, "1", "b\n"])), max_size=6)), max_size=6)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(Hub(tmp_path_factory.mktemp("hub"), "shop")) as stage:
        yield stage


def counted(stage: Stage, came: Sequence[tuple[int, list[Key]]], most: int) -> list[tuple[int, int, int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "MOST_IN_HAND", most)
        patch.setattr(keys, "TOGETHER", most)
        some = Keys(stage)
        for reading, page in came:
            some.add(reading, page)
        found = [some.counted(1), some.counted(2), some.counted(1, 2)]
        some.drop()
        return found


@given(pages)
def test_keys_in_files_are_counted_like_those_in_memory(stage: Stage, came: list[tuple[int, list[Key]]]) -> None:
    assert counted(stage, came, 2) == counted(stage, came, 10_000)


def test_what_came_is_told_from_what_can_be_read_and_what_is_different(stage: Stage) -> None:
    came: list[tuple[int, list[Key]]] = [(1, [(1,), (2,), (1,), (None,)]), (2, [("1",), (2,)])]
    assert counted(stage, came, 10_000) == counted(stage, came, 0) == [(4, 3, 2), (2, 2, 2), (6, 5, 3)]


def test_a_key_may_be_long(stage: Stage) -> None:
    came: list[tuple[int, list[Key]]] = [(1, [("x" * 5_000_000,), ("x" * 5_000_000,), ("y",)])]
    assert counted(stage, came, 0)[0] == (3, 3, 2)


def test_files_of_keys_are_gone_when_they_are_not_needed(stage: Stage) -> None:
    counted(stage, [(1, [(1,), (2,)])], 0)
    assert list((stage.folder / "keys").iterdir()) == []


def test_keys_that_cannot_be_written_are_an_error_that_says_so(stage: Stage) -> None:
    with pytest.raises(HubError, match="cannot be staged"):
        stage.append(Path("/nowhere/keys.ndjson"), b"[1]\n")
