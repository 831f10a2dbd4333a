"""An API need not send again what has not changed: and what it need not send is in the next pass all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import httpx
import pytest

from rest_syncer.engine.earlier import conditions
from tests.test_run import DATE, SPEC, Zoo, error_of, page, zoo

__all__ = ["zoo"]

PAGED = SPEC.replace("records: data", "records: data, paginate: {kind: number, total: total}")


@dataclass
class Tagged:
    """An API of pages of two records with an ETag each; `sent` says of each answer whether it had a body."""

    ids: list[int]
    header: str = "ETag"
    sent: list[int] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("page", 1))
        found = page(*self.ids[number * 2 - 2 : number * 2], total=len(self.ids))
        tag = f'"{sha256(found.content).hexdigest()[:8]}"'
        status = 304 if request.headers.get("if-none-match") == tag else 200
        self.sent.append(status)
        return httpx.Response(status, headers={**DATE, self.header: tag}, content=b"" if status == 304 else found.content)


def test_pages_that_have_not_changed_are_not_sent_again(zoo: Zoo) -> None:
    api = Tagged([1, 2, 3, 4, 5])
    assert zoo.run(api, PAGED).status == "complete"
    second = zoo.run(api, PAGED)
    assert (second.status, api.sent) == ("complete", [200, 200, 200, 304, 304, 304])
    book = second.collections["animals"].book()
    assert (book["received"], book["unchanged"], book["proof"], book["bytes"]) == (5, 5, "checked", 0)
    assert [id_ for id_, _ in zoo.table()] == [1, 2, 3, 4, 5]


def test_a_page_that_has_not_changed_proves_itself_and_not_the_list(zoo: Zoo) -> None:
    api = Tagged([1, 2, 3, 4, 5])
    zoo.run(api, PAGED)
    api.ids, api.sent = [1, 2, 3, 5], []
    assert zoo.run(api, PAGED).status == "complete"
    assert api.sent == [200, 200, 200, 200], "the total is in each page, so each has changed; and what lacks is read for twice"
    assert [id_ for id_, _ in zoo.table()] == [1, 2, 3, 5]


def test_what_lies_behind_an_unchanged_page_is_asked_for(zoo: Zoo) -> None:
    spec = SPEC.replace("records: data", "records: data, paginate: {kind: number}")
    api = Tagged([1, 2, 3])

    def tag(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page"])
        rows = [{"id": one} for one in api.ids[number * 2 - 2 : number * 2]]
        value = f'"{rows}"'
        status = 304 if request.headers.get("if-none-match") == value else 200
        api.sent.append(status)
        return httpx.Response(status, headers={**DATE, "ETag": value}, json={"data": rows} if status == 200 else None)

    zoo.run(tag, spec)
    api.ids, api.sent = [1, 2, 3, 4, 5], []
    assert zoo.run(tag, spec).status == "complete"
    assert (api.sent, [id_ for id_, _ in zoo.table()]) == ([304, 200, 200, 200], [1, 2, 3, 4, 5])


def test_three_passes_in_a_row_may_be_unchanged(zoo: Zoo) -> None:
    api = Tagged([1, 2, 3])
    for _ in range(3):
        assert zoo.run(api, PAGED).status == "complete"
    assert api.sent == [200, 200, 304, 304, 304, 304]


def test_an_answer_in_which_a_secret_stood_is_asked_for_whole(zoo: Zoo) -> None:
    """What is kept of it is not all that it said."""
    conditional = []

    def answer(request: httpx.Request) -> httpx.Response:
        conditional.append("if-none-match" in request.headers)
        found = page(1, self_url="https://api.example.com/animals?k=abcdef123456")
        found.headers["ETag"] = '"1"'
        return found

    for _ in range(2):
        zoo.run(answer, SPEC, flags=("--set", "key=abcdef123456")[1:])
    assert conditional == [False, False]


def test_a_304_that_was_not_asked_for_is_no_answer(zoo: Zoo) -> None:
    assert zoo.run(lambda request: httpx.Response(304)).status == "failed"


def test_the_spec_may_forbid_it(zoo: Zoo) -> None:
    api = Tagged([1])
    for _ in range(2):
        zoo.run(api, PAGED.replace("retry:", "conditional: false, retry:"))
    assert api.sent == [200, 200]


def test_a_damaged_segment_is_asked_for_anew(zoo: Zoo) -> None:
    api = Tagged([1, 2, 3])
    zoo.run(api, PAGED)
    for segment in (zoo.folder / "hub").rglob("*.zst"):
        data = bytearray(segment.read_bytes())
        data[-3] ^= 1
        segment.write_bytes(bytes(data))
    zoo.run(api, PAGED)
    assert api.sent == [200, 200, 200, 200]


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({}, {}),
        ({"etag": 'W/"1"', "last-modified": DATE["Date"]}, {"If-None-Match": 'W/"1"'}),
        (
            {"last-modified": "Tue, 22 Nov 2016 11:59:00 GMT", "date": "Tue, 22 Nov 2016 12:00:00 GMT"},
            {"If-Modified-Since": "Tue, 22 Nov 2016 11:59:00 GMT"},
        ),
        ({"last-modified": "Tue, 22 Nov 2016 11:59:01 GMT", "date": "Tue, 22 Nov 2016 12:00:00 GMT"}, {}),
        ({"last-modified": "Tue, 22 Nov 2016 11:59:00 GMT"}, {}),
        ({"last-modified": "yesterday", "date": "Tue, 22 Nov 2016 12:00:00 GMT"}, {}),
    ],
)
def test_a_date_is_a_validator_only_where_it_tells_versions_apart(headers: Mapping[str, str], asked: Mapping[str, str]) -> None:
    """Two versions of one second have one date (RFC 9110, 8.8.2.2)."""
    assert conditions(headers) == asked


def test_a_weaker_proof_than_is_required_is_a_failure_and_the_list_is_read_anew(zoo: Zoo) -> None:
    spec = PAGED.replace(", total: total", "").replace("    key: id\n", "    key: id\n    require: checked\n")
    pages = {"1": page(1, 2), "2": page(3), "3": page()}
    summary = zoo.run(lambda request: pages[request.url.params["page"]], spec)
    assert (summary.status, len(zoo.table())) == ("incomplete", 3)
    assert "has ended (empty_page), which is open only, and checked is required" in error_of(summary)
    pages = {"1": page(1, 2), "2": page()}
    assert zoo.run(lambda request: pages[request.url.params["page"]], spec).status == "incomplete"
    assert zoo.asked[0] == "/animals?page=1"
    assert zoo.run(lambda request: page(4, total=1), spec.replace("kind: number", "kind: number, total: total")).status == "complete"


def test_a_page_that_has_moved_is_asked_for_whole(zoo: Zoo) -> None:
    """What a redirect leads to is another resource, though its tag may be the same: only this one's own answer was kept."""
    api, moved = Tagged([1, 2, 3]), False

    def answer(request: httpx.Request) -> httpx.Response:
        if moved and "v2" not in request.url.path:
            return httpx.Response(307, headers={"Location": "/v2" + request.url.raw_path.decode()})
        return api(request)

    zoo.run(answer, PAGED)
    moved, api.sent = True, []
    assert zoo.run(answer, PAGED).status == "complete"
    assert api.sent == [200, 200]


def test_a_page_that_came_under_other_rules_is_asked_for_whole(zoo: Zoo) -> None:
    api = Tagged([1, 2])
    zoo.run(api, PAGED)
    summary = zoo.run(api, PAGED.replace("records: data", "records: data, errors: {text: animal 2, then: fail, message: no animal}"))
    assert (summary.status, api.sent) == ("failed", [200, 200])
    assert "no animal" in error_of(summary)
