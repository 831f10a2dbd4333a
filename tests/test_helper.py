"""`helper`: another process extracts what this one would, and what it cannot do is left to this one."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest

from rest_syncer.engine import helper as helper_module
from rest_syncer.engine.errors import Damaged
from rest_syncer.engine.extract import Extracted, Extraction, Stored, extract
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


def segment(records: list[bytes]) -> bytes:
    head = Head(
        collection="animals", name=FIRST, chain="000001-01", purpose="full", began=0, since=None, until=None, route="",
        records=len(records), longest=max(map(len, records)), raw_bytes=sum(map(len, records)),
    )  # fmt: skip
    return encode(head, records, [])


def wanted(records: list[bytes] = RECORDS, spoilt: bool = False) -> Extraction:
    """Two segments, of which some records have parents; the second is cut off where it is `spoilt`."""
    data, many = segment(records), len(records)
    parents = [(1, b'{"zoo": 7}'), (many - 1, b"null")]
    segments = [Stored(FIRST, many, data, parents), Stored(FIRST, many, data[:-9] if spoilt else data, parents)]
    return Extraction("animals", segments, (("id",), ("name",), ("of", "x")), (("zoo",),), True)


def here(of: Extraction) -> tuple[Extracted, bytes]:
    out = BytesIO()
    return extract(of, out), out.getvalue()


def there(helper: Helper, of: Extraction) -> tuple[Extracted | None, bytes]:
    with tempfile.TemporaryFile() as out:
        found = helper.extract(of, out)
        out.seek(0)
        return found, out.read()


def test_it_gives_what_is_extracted_here(helper: Helper) -> None:
    expected = here(wanted())
    assert there(helper, wanted()) == expected
    assert expected[0].refused == [3, 3 + len(RECORDS)] and expected[1].count(b"\n") == 2 * len(RECORDS)


def test_each_of_many_threads_gets_its_own_answer(helper: Helper) -> None:
    jobs = [wanted([b'{"id": %d}' % number] * (number + 2)) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda job: there(helper, job), jobs)) == [here(job) for job in jobs]


def test_a_damaged_segment_is_left_to_who_asks(helper: Helper) -> None:
    with pytest.raises(Damaged, match="is damaged"):
        here(wanted(spoilt=True))
    assert there(helper, wanted(spoilt=True)) == (None, b"")
    assert there(helper, wanted()) == here(wanted())


def test_so_is_all_when_it_died(helper: Helper) -> None:
    assert there(helper, wanted()) == here(wanted())
    assert helper._process is not None
    helper._process.kill()
    assert there(helper, wanted()) == (None, b"")
    assert there(helper, wanted()) == (None, b"")


def test_so_is_all_when_it_dies_in_the_midst_of_writing(helper: Helper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    serve, written = 'import_module(package + ".engine.helper").serve', tmp_path / "written"
    dying = f"""
helper = import_module(package + ".engine.helper")
def die(wanted, out):
    out.write(b"x" * 100_000)
    out.flush()
    open({str(written)!r}, "w").close()
    raise SystemExit
helper.extract = die
helper.serve"""
    monkeypatch.setattr(helper_module, "_BEGIN", helper_module._BEGIN.replace(serve, dying))
    assert there(helper, wanted()) == (None, b"")
    assert written.exists()


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/true", "/bin/cat"])
def test_so_is_all_when_no_helper_begins(helper: Helper, monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    monkeypatch.setattr("sys.executable", python)
    assert there(helper, wanted()) == (None, b"")


@pytest.mark.parametrize("says", [b"", b"x", b"x" * 1000])
def test_so_is_all_when_what_begins_is_another_program(
    helper: Helper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: bytes
) -> None:
    another = tmp_path / "another"
    another.write_text(f"#!{sys.executable}\nimport os, signal, sys\nos.write(int(sys.argv[6]), {says!r})\nsignal.pause()\n")
    another.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(another))
    monkeypatch.setattr(helper_module, "_SECONDS_TO_BEGIN", 0.2)
    assert there(helper, wanted()) == (None, b"")


def test_a_helper_with_other_files_is_none(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_module, "_sources", lambda: b"x" * 32)
    assert there(helper, wanted()) == (None, b"")


def test_it_runs_these_files_whatever_else_is_installed(helper: Helper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "rest_syncer"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit(1)")
    (tmp_path / "sitecustomize.py").write_text("print('hello'); raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert there(helper, wanted()) == here(wanted())


def test_an_answer_that_was_not_waited_for_is_nobody_elses(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*of: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(helper_module, "_message", interrupted)
        there(helper, wanted())
    assert there(helper, wanted([b"{}", b"{}"])) == (None, b"")


def test_closed_it_is_not_asked_again(helper: Helper) -> None:
    assert there(helper, wanted()) == here(wanted())
    helper.close()
    assert there(helper, wanted()) == (None, b"")


def test_whoever_waits_when_it_is_closed_gets_nothing(helper: Helper) -> None:
    assert there(helper, wanted()) == here(wanted())
    assert helper._process is not None
    os.kill(helper._process._process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(there, helper, wanted())
        helper.close()
        assert waiting.result(30) == (None, b"")


def test_it_ends_when_nobody_can_ask_any_more(helper: Helper) -> None:
    assert there(helper, wanted()) == here(wanted())
    assert helper._process is not None
    process = helper._process._process
    assert os.getpgid(process.pid) != os.getpgrp(), "the keyboard's interruption would reach it"
    helper._process._socket.close()
    assert process.wait(30) == 0
