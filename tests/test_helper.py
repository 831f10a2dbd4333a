"""`helper`: another process extracts what this one would, and what it cannot do is left to this one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rest_syncer.engine.errors import Damaged
from rest_syncer.engine.extract import Extraction, Stored, extract
from rest_syncer.engine.helper import Helper
from rest_syncer.engine.hub import Head
from rest_syncer.engine.hub.segment import encode

RECORDS = [
    b'{"id": 1, "name": "\xc3\xa9", "of": {"x": [1, 2]}}', b'{"id": 2, "name": null}', b'{"id": 1e400, "of": "no"}',
    b'{"id": 3,, "name": "odd"}', b"[]", b'{"name": "' + b"x" * 5000 + b'"}',
]  # fmt: skip

FIRST = "000001-01-000000"


@pytest.fixture
def helper() -> Iterator[Helper]:
    made = Helper()
    yield made
    made.close()


def wanted(file: Path, spoilt: bool = False) -> Extraction:
    """Two segments, of which some records have parents; the second is cut off where it is `spoilt`."""
    head = Head(
        collection="animals", name=FIRST, chain="000001-01", purpose="full", began=0, since=None, until=None, route="",
        records=len(RECORDS), longest=max(map(len, RECORDS)), raw_bytes=sum(map(len, RECORDS)),
    )  # fmt: skip
    data = encode(head, RECORDS, [])
    parents = [(2, b'{"zoo": 7}'), (len(RECORDS) - 2, b"null")]
    segments = [Stored(FIRST, len(RECORDS), data, parents), Stored(FIRST, len(RECORDS), data[:-9] if spoilt else data, parents)]
    return Extraction("animals", segments, (("id",), ("name",), ("of", "x")), (("zoo",),), True, str(file))


def test_it_gives_what_is_extracted_here(tmp_path: Path, helper: Helper) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    found = extract(wanted(here))
    assert helper.extract(wanted(there)) == found
    assert there.read_bytes() == here.read_bytes() and found.refused == [3, 3 + len(RECORDS)]


def test_a_damaged_segment_is_left_to_who_asks(tmp_path: Path, helper: Helper) -> None:
    assert helper.extract(wanted(tmp_path / "one", spoilt=True)) is None
    with pytest.raises(Damaged, match="is damaged"):
        extract(wanted(tmp_path / "one", spoilt=True))
    assert helper.extract(wanted(tmp_path / "two")) is not None


def test_so_is_all_when_it_died(tmp_path: Path, helper: Helper) -> None:
    assert helper.extract(wanted(tmp_path / "one")) is not None
    (process,) = [helper._process]
    assert process is not None and process.poll() is None
    process.kill()
    process.wait()
    assert helper.extract(wanted(tmp_path / "two")) is None
    assert helper.extract(wanted(tmp_path / "two")) is None


def test_so_is_all_when_there_is_no_python_to_begin(tmp_path: Path, helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    assert helper.extract(wanted(tmp_path / "one")) is None


def test_an_answer_that_was_not_waited_for_is_nobody_elses(tmp_path: Path, helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*of: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("rest_syncer.engine.helper._received", interrupted)
        helper.extract(wanted(tmp_path / "one"))
    assert helper.extract(wanted(tmp_path / "two")) is None


def test_it_ends_when_nobody_can_ask_any_more(tmp_path: Path, helper: Helper) -> None:
    assert helper.extract(wanted(tmp_path / "one")) is not None
    process = helper._process
    assert process is not None and process.stdin is not None
    assert os.getpgid(process.pid) != os.getpgrp(), "the keyboard's interruption would reach it"
    process.stdin.close()
    assert process.wait() == 0
