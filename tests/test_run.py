"""What several runs of one spec come to, against an API that is a function from a request to its answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from rest_syncer.engine.clock import Clock
from rest_syncer.engine.outcome import Summary
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import given_settings
from rest_syncer.engine.show import remarks
from tests.ducks import opened

Answer = Callable[[httpx.Request], httpx.Response]

SPEC = """
syncer: 1
name: zoo
settings: {key: {secret: true, default: none}}
api: {base_url: https://api.example.com, records: data, retry: {attempts: 1}}
collections:
  animals:
    key: id
    properties: {id: integer, name: string}
"""
CHANGING = SPEC.replace("name: string", "name: string, at: timestamp").replace(
    "    key: id\n", "    key: id\n    cursor: {property: at, param: since}\n"
)
DATE = {"Date": "Tue, 22 Nov 2016 12:00:00 GMT"}


LATER = {"Date": "Tue, 22 Nov 2016 12:30:00 GMT"}


class Still(Clock):
    """Nobody waits, and it is always the same noon."""

    def time(self) -> float:
        return 1_479_816_000.0

    def sleep(self, seconds: float) -> None:
        pass


@dataclass
class Zoo:
    """A project and its API; `asked` are the paths and queries that came."""

    folder: Path
    asked: list[str] = field(default_factory=list)

    def run(self, answer: Answer, spec: str = SPEC, full: bool = False, flags: tuple[str, ...] = ()) -> Summary:
        def noted(request: httpx.Request) -> httpx.Response:
            self.asked.append(request.url.raw_path.decode())
            return answer(request)

        self.asked.clear()
        source = parse_spec(spec)
        options = Options(hub=str(self.folder / "hub"), to=f"duckdb:{self.folder / 'zoo.db'}", full=full)
        settings = given_settings(source.spec, flags, str(self.folder))
        return run(source, settings, options, clock=Still(), transport=httpx.MockTransport(noted))

    def table(self, columns: str = "id, name") -> list[tuple[Any, ...]]:
        with opened(self.folder / "zoo.db") as con:
            return con.execute(f"SELECT {columns} FROM w.zoo.animals WHERE _deleted_at IS NULL ORDER BY id").fetchall()


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    return Zoo(tmp_path)


def page(*ids: int, **around: Any) -> httpx.Response:
    rows = [{"id": one, "name": f"animal {one}", "at": "2016-11-22T11:00:00Z"} for one in ids]
    return httpx.Response(200, headers=DATE, json={"data": rows, **around})


def error_of(summary: Summary) -> str:
    return "; ".join(summary.collections["animals"].errors)


# An answer that is not the whole list.


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        pytest.param(page(1, next="https://api.example.com/animals?page=2"), "incomplete", "says at next that more follow", id="url"),
        pytest.param(page(1, meta={"has_more": True}), "incomplete", "says at meta.has_more that more follow", id="flag"),
        pytest.param(page(1, links=[{"rel": "next", "href": "/a?p=2"}]), "incomplete", "says at links.0.next.href that", id="relation"),
        pytest.param(
            httpx.Response(200, headers={"Link": '</animals?page=2>; rel="next"'}, json={"data": [{"id": 1}]}),
            "incomplete",
            "says at the header Link that more follow",
            id="header",
        ),
        pytest.param(httpx.Response(206, json={"data": [{"id": 1}]}), "failed", "only a part of the answer came", id="206"),
        pytest.param(httpx.Response(202, json={"data": []}), "failed", "the answer is not ready", id="202"),
        pytest.param(httpx.Response(204), "failed", "nothing came, not even an empty list", id="204"),
        pytest.param(httpx.Response(304), "failed", "status 304", id="304"),
    ],
)
def test_what_is_not_the_whole_list_is_no_success_and_deletes_nothing(zoo: Zoo, answer: httpx.Response, status: str, told: str) -> None:
    assert zoo.run(lambda request: page(1, 2)).status == "complete"
    summary = zoo.run(lambda request: answer)
    assert (summary.status, told in error_of(summary)) == (status, True), error_of(summary)
    assert len(zoo.table()) == 2
    assert zoo.asked == ["/animals"]


def test_a_next_link_that_is_renamed_on_the_way_is_incomplete(zoo: Zoo) -> None:
    spec = SPEC.replace("records: data", "records: data, paginate: {kind: next_link, link: next}")
    pages = {None: page(1, next="?p=2"), "2": page(2, next_page="?p=3"), "3": page(3)}
    summary = zoo.run(lambda request: pages[request.url.params.get("p")], spec)
    assert (summary.status, "no next link at next, but says at next_page that more follow" in error_of(summary)) == ("incomplete", True)


def test_an_empty_list_is_read_twice_before_all_is_taken_for_deleted(zoo: Zoo) -> None:
    zoo.run(lambda request: page(1, 2))
    answers = iter([page(), page(1, 2)])
    assert zoo.run(lambda request: next(answers)).status == "complete"
    assert zoo.table() == [(1, "animal 1"), (2, "animal 2")]
    assert zoo.run(lambda request: page()).status == "complete"
    assert (zoo.asked, zoo.table()) == (["/animals", "/animals"], [])
    zoo.run(lambda request: page())
    assert zoo.asked == ["/animals"], "what was empty before may stay so"


def test_a_pass_whose_last_page_is_empty_is_not_an_empty_list_because_another_run_read_the_rest(zoo: Zoo) -> None:
    spec = SPEC.replace("records: data", "records: data, paginate: {kind: number}")
    zoo.run(lambda request: httpx.Response(500) if request.url.params["page"] == "2" else page(1, 2), spec)
    assert zoo.run(lambda request: page(), spec).status == "complete"
    assert (zoo.asked, len(zoo.table())) == (["/animals?page=2"], 2)


# Where a chain goes on.


@pytest.mark.parametrize("purpose", ["full", "changed"])
def test_a_page_token_that_the_api_has_forgotten_wedges_nothing(zoo: Zoo, purpose: str) -> None:
    spec = CHANGING.replace("records: data", "records: data, paginate: {kind: next_link, link: next}")
    if purpose == "changed":
        zoo.run(lambda request: page(1, next=None), spec)

    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500) if "token" in request.url.params else page(2, next="?token=T1")

    def mended(request: httpx.Request) -> httpx.Response:
        return httpx.Response(410) if "token" in request.url.params else page(1, 2, 3, next=None)

    assert zoo.run(broken, spec).status == "failed"
    assert zoo.run(mended, spec).status == "complete"
    assert zoo.asked[0].endswith("?token=T1")
    assert [name for _, name in zoo.table()] == ["animal 1", "animal 2", "animal 3"]
    zoo.run(mended, spec)
    assert not any("token" in asked for asked in zoo.asked)


def test_a_list_that_is_gone_on_with_does_not_end_by_a_refusal(zoo: Zoo) -> None:
    """The rule is for the page past the end; the token has expired between two runs."""
    rule = "records: data, errors: {status: 400, then: end}, paginate: {kind: token, token: next, param: t}"
    spec = SPEC.replace("records: data", rule)
    pages = {"": page(1, 2, next="b"), "b": httpx.Response(500), "c": page(4, next=None)}

    def answer(request: httpx.Request) -> httpx.Response:
        return pages[request.url.params.get("t", "")]

    assert zoo.run(answer, spec).status == "failed"
    pages |= {"": page(1, 2, next="x"), "b": httpx.Response(400), "x": page(3, next="c")}
    assert zoo.run(answer, spec).status == "complete"
    assert [id_ for id_, _ in zoo.table()] == [1, 2, 3, 4]


def test_a_list_that_ends_before_it_began_ends_no_window(zoo: Zoo) -> None:
    spec = CHANGING.replace("records: data", "records: data, errors: {status: 404, then: end}")
    zoo.run(lambda request: page(1), spec)
    zoo.run(lambda request: page(), spec)
    before = list(zoo.asked)
    for status in (404, 200):
        assert zoo.run(lambda request, status=status: httpx.Response(status, headers=LATER, json={"data": []}), spec).status == "complete"
        assert zoo.asked == before
    zoo.run(lambda request: page(), spec)
    assert zoo.asked != before


def test_a_total_below_what_came_is_no_proof(zoo: Zoo) -> None:
    spec = SPEC.replace("records: data", "records: data, paginate: {kind: number, total: total}")
    zoo.run(lambda request: page(1, 2, 3, total=3) if request.url.params["page"] == "1" else page(total=3), spec)
    summary = zoo.run(lambda request: page(1, 2, total=0), spec)
    assert summary.status == "incomplete"
    assert "read twice, and still 2 of 0 records came" in error_of(summary)
    assert [id_ for id_, _ in zoo.table()] == [1, 2, 3]


def test_a_complete_pass_closes_the_windows_that_were_open(zoo: Zoo) -> None:
    spec = CHANGING.replace("records: data", "records: data, paginate: {kind: next_link, link: next}")
    zoo.run(lambda request: page(1, next=None), spec)
    zoo.run(lambda request: httpx.Response(500) if "token" in request.url.params else page(2, next="?token=T1"), spec)
    assert zoo.run(lambda request: page(1, 2, next=None), spec, full=True).status == "complete"
    zoo.run(lambda request: page(next=None), spec)
    assert not any("token" in asked for asked in zoo.asked)


# A spec that changes.


def test_a_spec_that_asks_for_more_gets_what_it_never_asked_for(zoo: Zoo) -> None:
    """Changes alone would never bring the records that were left out at first."""

    def answer(request: httpx.Request) -> httpx.Response:
        if "since" in request.url.params:
            return page()
        return page(1) if request.url.params.get("status") == "open" else page(1, 2, 3)

    zoo.run(answer, CHANGING.replace("    key: id\n", "    key: id\n    params: {status: open}\n"))
    assert len(zoo.table()) == 1
    zoo.run(answer, CHANGING)
    assert (zoo.asked[0], len(zoo.table())) == ("/animals", 3)
    zoo.run(answer, CHANGING)
    assert [asked.partition("=")[0] for asked in zoo.asked] == ["/animals?since"]


def test_a_column_that_was_dropped_in_the_warehouse_is_filled_again(zoo: Zoo) -> None:
    answers = iter([page(1, 2), page(3)])
    zoo.run(lambda request: next(answers), CHANGING)
    with duckdb.connect(str(zoo.folder / "zoo.db")) as con:
        con.execute('USE zoo.zoo; ALTER TABLE animals DROP COLUMN name; ALTER TABLE animals ALTER "at" TYPE VARCHAR')
    zoo.run(lambda request: next(answers), CHANGING)
    assert zoo.table('id, name, typeof("at")') == [(one, f"animal {one}", "TIMESTAMP WITH TIME ZONE") for one in (1, 2, 3)]


# Secrets.


@pytest.mark.parametrize("spelling", ["abc%2Fdef%2Bghi%3D%3D", "abc/def+ghi==", "abc%2fdef%2bghi%3d%3d"])
def test_a_secret_that_an_answer_echoes_is_sent_on_and_stored_nowhere(zoo: Zoo, spelling: str) -> None:
    spec = SPEC.replace("records: data", "records: data, params: {k: '{{ settings.key }}'}, paginate: {kind: next_link, link: next}")

    def answer(request: httpx.Request) -> httpx.Response:
        found = page(2, next=None) if "/key/" in request.url.raw_path.decode() else page(1, next=f"/key/{spelling}/x?page=2")
        found.headers["ETag"] = f'"{spelling}"'
        return found

    assert zoo.run(answer, spec, flags=("--set", "key=abc/def+ghi==")[1:]).status == "complete"
    assert [spelling.lower() in asked.lower() for asked in zoo.asked[1:]] == [True]
    kept = [path for path in zoo.folder.rglob("*") if path.is_file() and b"def" in _plain(path) and b"ghi" in _plain(path)]
    assert kept == []


def _plain(path: Path) -> bytes:
    """A file's bytes, and what its compressed frames hold."""
    import zstandard

    data = path.read_bytes()
    for start in range(len(data) - 4):
        if data[start : start + 4] == b"\x28\xb5\x2f\xfd":
            data += zstandard.ZstdDecompressor().decompressobj().decompress(data[start:])
    return data


# What is told.


def test_a_remark_names_its_collection_once(zoo: Zoo) -> None:
    told = remarks(zoo.run(lambda request: httpx.Response(200, text="<html>")))
    assert [(line.startswith("animals, page 1"), line.count("animals, ")) for line in told] == [(True, 1)]
    assert json.dumps(told).count("ask for JSON") == 1
