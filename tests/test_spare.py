"""DuckDBs that are started ahead."""

from __future__ import annotations

from collections import deque

import duckdb
import pytest
from duckdb import DuckDBPyConnection

from rest_syncer.engine import spare
from rest_syncer.engine.spare import begin_duckdbs, duckdb_in_memory


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each start."""
    told: list[str] = []
    start = spare._start

    def counted() -> DuckDBPyConnection:
        told.append("made")
        return start()

    monkeypatch.setattr(spare, "_begun", deque())
    monkeypatch.setattr(spare, "_start", counted)
    return told


def test_so_many_are_begun_as_are_lacking_and_further_ones_are_made_when_they_are_asked_for(starts: list[str]) -> None:
    begin_duckdbs(2)
    begin_duckdbs(2)
    duckdb_in_memory().close()
    duckdb_in_memory().close()
    assert starts == ["made"] * 2
    duckdb_in_memory().close()
    assert starts == ["made"] * 3


@pytest.mark.usefixtures("starts")
def test_each_is_of_its_own() -> None:
    begin_duckdbs(1)
    with duckdb_in_memory() as one, duckdb_in_memory() as other:
        one.execute("CREATE TABLE mine AS SELECT 1")
        assert other.execute("SELECT table_name FROM duckdb_tables()").fetchall() == []


def test_a_start_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start = spare._start

    def failing() -> DuckDBPyConnection:
        raise duckdb.IOException("no thread can be started")

    monkeypatch.setattr(spare, "_begun", deque())
    monkeypatch.setattr(spare, "_start", failing)
    begin_duckdbs(1)
    assert isinstance(spare._begun[0].exception(), duckdb.IOException)
    monkeypatch.setattr(spare, "_start", start)
    with duckdb_in_memory() as con:
        assert con.execute("SELECT 1").fetchall() == [(1,)]
