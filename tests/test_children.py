"""Parents and children: each parent's list is read, for itself, as often as it must be, and every value of a parent arrives."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from rest_syncer.engine.hub.segment import decode_records
from rest_syncer.engine.outcome import Summary
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import given_settings
from tests.ducks import opened
from tests.test_run import DATE, Still

SPEC = """
syncer: 1
name: shop
api: {base_url: https://api.example.com, records: data, retry: {attempts: 1}, paginate: {kind: number, total: total}}
collections:
  items:
    parent: orders
    path: /orders/{{ parent.id }}/items
    key: [order_id, id]
    properties:
      order_id: {type: string, parent: id}
      placed: {type: timestamp, parent: at}
      id: integer
      name: string
  orders:
    key: id
    properties: {id: string, at: timestamp}
"""


class Noon(Still):
    """No answer takes any time."""

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Shop:
    """An API of orders, each with its items, in pages of two; `broken` are paths (and pages) that answer 500."""

    folder: Path
    orders: dict[str, dict[int, str]] = field(default_factory=dict)
    changed_at: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    spec: str = SPEC
    since: dict[tuple[str, int], int] = field(default_factory=dict)

    def answer(self, request: httpx.Request) -> httpx.Response:
        raw = request.url.raw_path.decode()
        self.asked.append(raw)
        path = raw.partition("?")[0]
        if raw in self.broken or path in self.broken:
            return httpx.Response(500, headers=DATE)
        rows: list[dict[str, Any]]
        if path == "/orders":
            rows = [{"id": one, "at": self.changed_at.get(one, "2016-11-22T10:00:00Z")} for one in sorted(self.orders)]
        else:
            order = unquote(path.removeprefix("/orders/").removesuffix("/items"))
            rows = [{"id": id_, "name": name} for id_, name in sorted(self.orders[order].items())]
            if since := request.url.params.get("since"):
                rows = [row for row in rows if self.since.get((order, row["id"]), 0) >= int(since)]
        page = int(request.url.params.get("page", 1))
        return httpx.Response(200, headers=DATE, json={"data": rows[page * 2 - 2 : page * 2], "total": len(rows)})

    def run(self, *select: str, full: bool = False, concurrency: int = 1) -> Summary:
        self.asked.clear()
        source = parse_spec(self.spec.replace("retry:", f"concurrency: {concurrency}, retry:"))
        options = Options(hub=str(self.folder / "hub"), to=f"duckdb:{self.folder / 'shop.db'}", full=full, select=select)
        settings = given_settings(source.spec, (), str(self.folder))
        return run(source, settings, options, clock=Noon(), transport=httpx.MockTransport(self.answer))

    def table(self, name: str = "items", columns: str = "order_id, id, name", where: str = "_deleted_at IS NULL") -> list[tuple[Any, ...]]:
        with opened(self.folder / "shop.db") as con:
            return con.execute(f"SELECT {columns} FROM w.shop.{name} WHERE {where} ORDER BY ALL").fetchall()

    @property
    def items(self) -> list[tuple[str, int, str]]:
        return sorted((order, id_, name) for order, items in self.orders.items() for id_, name in items.items())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    orders = {"a": {1: "pen"}, "b": {1: "ink", 2: "pad", 3: "cup"}, "c": {}}
    return Shop(tmp_path, orders)


def error_of(summary: Summary, name: str = "items") -> str:
    return "; ".join(summary.collections[name].errors)


def test_each_parents_list_is_read_with_its_own_pages(shop: Shop) -> None:
    summary = shop.run()
    assert summary.status == "complete", error_of(summary)
    assert shop.table() == shop.items
    assert [one for one in shop.asked if "items" in one] == [
        "/orders/a/items?page=1", "/orders/b/items?page=1", "/orders/b/items?page=2", "/orders/c/items?page=1",
    ]  # fmt: skip
    book = summary.collections["items"].book()
    assert (book["stop"], book["api_total"], book["received"], book["proof"]) == ("all_parents", 4, 4, "checked")


def test_values_of_the_parent_become_columns(shop: Shop) -> None:
    shop.changed_at["b"] = "2016-11-22T10:00:00.250+01:00"
    shop.run()
    assert shop.table(columns="DISTINCT order_id, epoch_ms(placed)") == [("a", 1479808800000), ("b", 1479805200250)]


@pytest.mark.parametrize("name", ["a/b?x=1", "../../admin", "a b", "a\nb", "ü&é#", "%2F", "a'\"b", "{{ settings.x }}"])
def test_a_parents_value_is_one_segment_of_the_path_whatever_it_holds(shop: Shop, name: str) -> None:
    shop.orders = {name: {7: "pen"}}
    assert shop.run().status == "complete"
    assert shop.table() == [(name, 7, "pen")]


@pytest.mark.parametrize("name", [".", "..", ""])
def test_a_value_that_no_path_can_carry_is_told_and_the_others_are_read(shop: Shop, name: str) -> None:
    shop.orders = {name: {7: "pen"}, "z": {1: "ink"}}
    summary = shop.run()
    assert summary.status == "incomplete"
    assert "one of the orders has an empty id, or one of dots, which no path can carry, which a request takes from it" in error_of(summary)
    assert shop.table() == [("z", 1, "ink")]


def test_a_list_that_fails_keeps_none_from_the_others_and_goes_on_where_it_was(shop: Shop) -> None:
    shop.broken = {"/orders/b/items?page=2"}
    summary = shop.run()
    assert (summary.status, "status 500" in error_of(summary)) == ("incomplete", True), error_of(summary)
    assert "the others are complete, and the next run tries these again" in error_of(summary)
    assert shop.table() == [("a", 1, "pen"), ("b", 1, "ink"), ("b", 2, "pad")]
    shop.broken = set()
    assert shop.run().status == "complete"
    assert [one for one in shop.asked if "items" in one] == ["/orders/b/items?page=2"]
    assert shop.table() == shop.items


def test_so_many_lists_fail_at_most(shop: Shop) -> None:
    shop.orders = {f"{number:02}": {1: "pen"} for number in range(30)}
    shop.broken = {f"/orders/{number:02}/items" for number in range(5, 30)}
    assert shop.run().status == "incomplete"
    assert len([one for one in shop.asked if "items" in one]) == 26
    shop.broken = set()
    assert shop.run().status == "complete"
    assert shop.table() == shop.items
    assert len([one for one in shop.asked if "items" in one]) == 25


def test_children_that_are_gone_are_marked_where_every_list_proves_it(shop: Shop) -> None:
    shop.run()
    del shop.orders["a"][1]
    del shop.orders["b"][3]
    shop.run()
    assert shop.table() == shop.items == [("b", 1, "ink"), ("b", 2, "pad")]


def test_children_that_a_list_of_several_pages_lacks_are_gone_when_a_second_reading_lacks_them_too(shop: Shop) -> None:
    shop.orders["b"] |= {4: "jar", 5: "mug"}
    shop.run()
    del shop.orders["b"][1]
    assert shop.run().status == "complete"
    assert shop.table() == shop.items
    assert [one for one in shop.asked if "/b/" in one] == [f"/orders/b/items?page={page}" for page in (1, 2, 1, 2)]
    shop.run()
    assert len([one for one in shop.asked if "/b/" in one]) == 2, "what is known to be gone is not looked for"


def test_children_of_a_parent_that_is_gone_are_gone_too(shop: Shop) -> None:
    del shop.orders["b"][3]
    shop.run()
    del shop.orders["b"]
    shop.run()
    shop.run()
    assert shop.table() == shop.items == [("a", 1, "pen")]
    assert not any("/orders/b" in one for one in shop.asked)


def test_a_parent_that_went_before_its_list_was_read_keeps_the_others_from_nothing(shop: Shop) -> None:
    """Between the reading of the parents and that of its list; no rule of the spec says what its 404 means."""
    usual = shop.answer

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/orders/b/items":
            shop.orders.pop("b", None)
            return httpx.Response(404)
        return usual(request)

    shop.answer = answer  # type: ignore[method-assign]
    assert shop.run().status == "incomplete"
    shop.orders["a"][1] = "quill"
    for _ in range(3):
        summary = shop.run()
    assert (summary.status, shop.table()) == ("complete", shop.items)


def test_a_parent_that_was_never_read_is_told(shop: Shop) -> None:
    summary = shop.run("items")
    assert (summary.status, shop.asked) == ("incomplete", [])
    assert error_of(summary) == "items: no orders were ever read, whose lists these are; select them, too"


def test_parents_come_from_the_hub_where_they_are_not_selected(shop: Shop) -> None:
    shop.run("orders")
    shop.run("items")
    assert (shop.table(), "/orders?page=1" in shop.asked) == (shop.items, False)


CURSOR = "    cursor: {property: at, param: since, lag: 0s, format: epoch_s}\n"
CHANGING = SPEC.replace("    parent: orders\n", "    parent: orders\n" + CURSOR).replace(
    "      name: string\n", "      name: string\n      at: timestamp\n"
)


def test_a_new_parents_children_are_asked_for_from_the_beginning(shop: Shop) -> None:
    """Between passes only changes are asked for; but of a parent that was not there before, everything is new."""
    shop.spec = CHANGING
    shop.run()
    shop.orders["bb"] = {1: "old", 2: "older", 3: "oldest"}
    shop.since = {("a", 2): 1_479_816_000}
    shop.orders["a"][2] = "gum"
    assert shop.run().status == "complete"
    assert shop.table() == shop.items
    lists = [one.partition("?")[2] for one in shop.asked if "/bb/" in one]
    assert lists == ["page=1", "page=2"]
    assert [one for one in shop.asked if "/a/" in one] == ["/orders/a/items?since=1479816000&page=1"]
    shop.run()
    assert [one for one in shop.asked if "/bb/" in one] == ["/orders/bb/items?since=1479816000&page=1"]


def test_a_parent_that_came_back_is_asked_for_everything(shop: Shop) -> None:
    shop.spec = CHANGING
    shop.run()
    gone = shop.orders.pop("a")
    shop.run("orders", full=True)
    shop.run("orders", full=True)
    shop.run("items")
    assert not any("/a/" in one for one in shop.asked)
    shop.orders["a"] = gone | {5: "tea"}
    assert shop.run().status == "complete"
    assert [one for one in shop.asked if "/a/" in one] == ["/orders/a/items?page=1"]
    assert shop.table() == shop.items


ONLY_CHANGED = SPEC.replace("parent: orders", "parent: {collection: orders, only_changed: true}")


def test_only_lists_of_parents_that_changed_are_asked_for_where_the_spec_says_so(shop: Shop) -> None:
    shop.spec = ONLY_CHANGED
    shop.run()
    shop.run()
    assert [one for one in shop.asked if "items" in one] == []
    shop.orders["b"][4] = "jar"
    shop.changed_at["b"] = "2016-11-22T11:00:00Z"
    shop.orders["d"] = {9: "new"}
    assert shop.run().status == "complete"
    assert shop.table() == shop.items
    assert [one for one in shop.asked if "items" in one] == [
        "/orders/b/items?page=1", "/orders/b/items?page=2", "/orders/d/items?page=1",
    ]  # fmt: skip


def test_a_parent_that_changed_back_has_changed(shop: Shop) -> None:
    shop.spec = ONLY_CHANGED
    shop.run()
    for instant in ("2016-11-22T11:00:00Z", "2016-11-22T10:00:00Z"):
        shop.changed_at["a"] = instant
        shop.run()
        assert [one for one in shop.asked if "items" in one] == ["/orders/a/items?page=1"]


def test_a_changed_parent_whose_list_failed_is_asked_for_again(shop: Shop) -> None:
    shop.spec = ONLY_CHANGED
    shop.run()
    shop.changed_at["b"] = "2016-11-22T11:00:00Z"
    shop.orders["b"][4] = "jar"
    shop.broken = {"/orders/b/items?page=2"}
    assert shop.run().status == "incomplete"
    shop.broken = set()
    assert shop.run().status == "complete"
    assert shop.table() == shop.items


GRAND = (
    SPEC
    + """
  notes:
    parent: items
    path: /orders/{{ parent.order_id }}/items/{{ parent.id }}/notes
    paginate: {kind: single}
    records: notes
    key: [order_id, item_id, n]
    properties:
      order_id: {type: string, parent: order_id}
      item_id: {type: integer, parent: id}
      n: integer
"""
)


def test_children_have_children(shop: Shop) -> None:
    """To any depth: a child's columns that come from its parent are the grandchild's to use."""
    shop.spec = GRAND
    usual = shop.answer

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("notes"):
            return httpx.Response(200, headers=DATE, json={"notes": [{"n": int(request.url.path.split("/")[4]) * 10}]})
        return usual(request)

    shop.answer = answer  # type: ignore[method-assign]
    assert shop.run().status == "complete"
    assert shop.table("notes", "order_id, item_id, n") == [(order, id_, id_ * 10) for order, id_, _ in shop.items]


@pytest.mark.parametrize("concurrency", [2, 5])
def test_requests_side_by_side_change_nothing(shop: Shop, concurrency: int) -> None:
    shop.orders |= {f"x{number}": dict.fromkeys(range(number), "pen") for number in range(9)}
    shop.broken = {"/orders/x5/items?page=2"}
    first = shop.run(concurrency=concurrency)
    shop.broken = set()
    second = shop.run(concurrency=concurrency)
    assert (first.status, second.status) == ("incomplete", "complete")
    assert shop.table() == shop.items


def test_what_changes_in_a_list_that_was_read_ahead_is_asked_for_next_time(shop: Shop) -> None:
    """The first list is answered at its second try, ten seconds after the second list; in between, a record of that one changes."""
    shop.spec = CHANGING.replace("attempts: 1", "attempts: 2")
    shop.orders = {"a": {1: "pen"}, "b": {1: "ink"}}
    usual, ahead_is_read = shop.answer, Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/orders/a/items":
            answered = usual(request)
            if request.url.path == "/orders/b/items":
                ahead_is_read.set()
            return answered
        assert ahead_is_read.wait(10), "lists are not asked for side by side"
        if shop.orders["b"][1] == "ink":
            shop.orders["b"][1], shop.since["b", 1] = "sea", 1_479_816_005
            return httpx.Response(503)
        return httpx.Response(200, headers={"Date": "Tue, 22 Nov 2016 12:00:10 GMT"}, json=usual(request).json())

    shop.answer = answer  # type: ignore[method-assign]
    assert shop.run(concurrency=2).status == "complete"
    shop.answer = usual  # type: ignore[method-assign]
    assert shop.run().status == "complete"
    assert shop.table() == shop.items


def test_a_child_with_a_path_and_a_parameter_and_a_number(shop: Shop) -> None:
    shop.spec = SPEC.replace("path: /orders/{{ parent.id }}/items", "path: /items\n    params: {order: '{{ parent.id }}', x: '1'}")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/items":
            return httpx.Response(200, json={"data": [{"id": 1, "name": request.url.params["order"]}], "total": 1})
        return httpx.Response(200, json={"data": [{"id": "a&b=c"}], "total": 1})

    shop.answer = answer  # type: ignore[method-assign]
    assert shop.run().status == "complete"
    assert shop.table() == [("a&b=c", 1, "a&b=c")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("parent: orders", "parent: order"), "there is no collection 'order'; did you mean 'orders'?"),
        (("parent: orders", "parent: items"), "is its own ancestor; a line of parents has a first"),
        (("parent.id }}", "parent.ib }}"), "'ib' is no property of orders; known: at, id"),
        (("parent: at", "parent: att"), "'att' is no property of orders; did you mean 'at'?"),
        (("{{ parent.id }}", "x"), "neither `path`, `params` nor `body` uses it, so all lists would be one; write {{ parent.id }}"),
        (("id: string, at: timestamp", "id: string, at: json"), "'at' of orders is a json, no plain value; take one that is"),
        (
            ("parent: orders\n", "description: x\n"),
            "uses `parent`, which only a collection with a `parent:` knows",
        ),
        (("{type: string, parent: id}", "{type: string, parent: id, from: x}"), "not both; leave out `from` or `parent`"),
        (
            ("https://api.example.com", "'https://{{ parent.id }}'"),
            "uses `parent`, which only a collection with a `parent:` knows",
        ),
    ],
)
def test_what_is_wrong_with_a_parent_is_told(change: tuple[str, str], told: str) -> None:
    from rest_syncer.engine.errors import SpecError

    assert change[0] in SPEC
    with pytest.raises(SpecError) as caught:
        parse_spec(SPEC.replace(*change, 1))
    assert told in str(caught.value)


def test_collections_are_read_side_by_side_and_parents_before_their_children(shop: Shop) -> None:
    shop.spec = SPEC + "".join(f"  c{number}: {{path: /orders, key: id, properties: {{id: string}}}}\n" for number in range(4))
    together, usual, lock = [0, 0], shop.answer, threading.Barrier(4, timeout=20)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/orders" and together[0] < 4:
            together[0] += 1
            lock.wait()  # four requests are under way at once, or this breaks
            together[1] += 1
        return usual(request)

    shop.answer = answer  # type: ignore[method-assign]
    summary = shop.run(concurrency=4)
    assert (summary.status, together) == ("complete", [4, 4])
    assert list(summary.collections) == ["items", "orders", "c0", "c1", "c2", "c3"]
    assert shop.table() == shop.items
    assert all(shop.table(f"c{number}", "id") == [("a",), ("b",), ("c",)] for number in range(4))


def test_one_collection_that_fails_does_not_hold_up_those_beside_it(shop: Shop) -> None:
    shop.spec = SPEC + "  c: {path: /broken, key: id, properties: {id: string}}\n"
    shop.broken = {"/broken"}
    summary = shop.run(concurrency=3)
    assert {name: outcome.status for name, outcome in summary.collections.items()} == {
        "items": "complete",
        "orders": "complete",
        "c": "failed",
    }
    assert shop.table() == shop.items


def test_pages_that_are_known_by_the_total_are_asked_for_side_by_side(shop: Shop) -> None:
    """And taken in their order: the hub is the same as if they had come one by one."""
    shop.orders = {f"{number:02}": {} for number in range(20)}
    usual, together = shop.answer, threading.Barrier(4, timeout=20)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params["page"] in "2345":
            together.wait()  # four requests are under way at once, or this breaks
        return usual(request)

    shop.answer = answer  # type: ignore[method-assign]
    assert shop.run("orders", concurrency=4).status == "complete"
    assert sorted(shop.asked) == sorted(f"/orders?page={number}" for number in range(1, 11))
    segments = sorted((shop.folder / "hub").rglob("segments/orders/*.zst"))
    lines = [line for segment in segments for line in decode_records(segment.read_bytes(), segment.name)]
    assert [json.loads(line)["id"] for line in lines] == sorted(shop.orders)


def test_an_interruption_waits_for_no_answer_and_keeps_what_came(shop: Shop) -> None:
    shop.orders = {f"{number:02}": {} for number in range(20)}
    usual, released, told = shop.answer, threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if int(request.url.params["page"]) > 3:
            if not told.is_set():
                told.set()
                os.kill(os.getpid(), signal.SIGINT)
            released.wait(20)  # an answer that takes longer than anybody would wait
        return usual(request)

    shop.answer = answer  # type: ignore[method-assign]
    summary = shop.run("orders", concurrency=3)
    released.set()
    assert summary.status == "incomplete"
    assert "interrupted; what was received is kept" in error_of(summary, "orders")
    assert len(shop.table("orders", "id")) == 6
    shop.answer = usual  # type: ignore[method-assign]
    assert shop.run("orders").status == "complete"
    assert (len(shop.table("orders", "id")), "/orders?page=1" in shop.asked) == (20, False)


# What once lost a list, or asked for it twice.


def test_a_parent_that_is_another_collection_now_has_its_lists_read_anew(shop: Shop) -> None:
    """A chain that was broken off goes on by the place among the parents; with other parents, or another order, it begins anew."""
    shop.orders = {str(number): {number: "pen"} for number in range(8, 13)}
    assert shop.run().status == "complete"
    usual = shop.answer

    def breaks_off(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/orders/8/items":
            raise KeyboardInterrupt
        return usual(request)

    shop.answer = breaks_off  # type: ignore[method-assign]
    with suppress(KeyboardInterrupt):
        shop.run(full=True)
    shop.answer = usual  # type: ignore[method-assign]
    shop.spec = SPEC.replace("  orders:\n", "  sales:\n    path: orders\n").replace("parent: orders", "parent: sales")
    summary = shop.run()
    assert summary.status == "complete", error_of(summary)
    assert shop.table() == shop.items


@pytest.mark.parametrize("then", ["skip", "ignore"])
@pytest.mark.parametrize("spec", ["only_changed", "cursor"])
def test_a_list_that_a_rule_left_out_is_asked_for_by_the_next_run(shop: Shop, then: str, spec: str) -> None:
    text = CHANGING if spec == "cursor" else SPEC.replace("parent: orders", "parent: {collection: orders, only_changed: true}")
    shop.spec = text.replace("retry:", f"errors: {{status: 500, then: {then}}}, retry:")
    assert shop.spec != text
    shop.broken = {"/orders/b/items"}
    assert (shop.run().status, len(shop.table())) == ("complete", 1)
    assert shop.run().status == "complete"
    shop.broken.clear()
    assert shop.run().status == "complete"
    assert shop.table() == shop.items
    shop.run()
    assert not any("/b/" in one and "since" not in one for one in shop.asked)


def test_lists_that_fail_for_ever_do_not_keep_others_from_being_read(shop: Shop) -> None:
    shop.orders = {f"o{number:02}": {number: "pen"} for number in range(50)}
    shop.broken = {f"/orders/o{number:02}/items" for number in range(5, 30)}
    assert shop.run().status == "incomplete"
    assert shop.run().status == "incomplete"
    assert shop.table() == [row for row in shop.items if not 5 <= row[1] < 30]
    shop.broken = {"/orders/o29/items"}
    shop.run()
    assert shop.table() == [row for row in shop.items if row[1] != 29]


@pytest.mark.parametrize("concurrency", [2, 5])
def test_nothing_is_asked_twice_because_of_concurrency(shop: Shop, concurrency: int) -> None:
    shop.orders = {f"o{number:02}": dict.fromkeys(range(number * 9, number * 9 + 3 + number % 3), "pen") for number in range(12)}
    shop.run(concurrency=concurrency)
    assert len(shop.asked) == len(set(shop.asked))


def test_lists_that_are_all_empty_at_once_prove_nothing_gone(shop: Shop) -> None:
    shop.run()
    items, shop.orders = shop.items, {name: {} for name in shop.orders}
    summary = shop.run(full=True)
    assert (summary.status, summary.collections["items"].book()["proof"]) == ("complete", "open")
    assert shop.table() == items


def test_a_record_that_could_move_between_parents_is_no_proof(shop: Shop) -> None:
    shop.orders = {"a": {1: "pen"}, "b": {2: "ink"}}
    assert shop.run().collections["items"].book()["proof"] == "proven"
    shop.spec = SPEC.replace("[order_id, id]", "id")
    shop.folder = shop.folder / "other"
    shop.folder.mkdir()
    assert shop.run().collections["items"].book()["proof"] == "checked"


def test_keys_that_parents_share_are_told(shop: Shop) -> None:
    shop.spec = SPEC.replace("[order_id, id]", "id")
    shop.orders = {name: {1: "pen", 2: "ink"} for name in "abcde"}
    notes = " ".join(shop.run().collections["items"].notes)
    assert "8 records came with a key (id) that another has; if it tells records apart only within one of orders, add" in notes


@pytest.mark.parametrize("most", [0, 10_000])
def test_keys_are_counted_in_memory_as_they_are_in_the_hub(shop: Shop, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of several pages are checked by their keys; short ones need no segment of their own for that."""
    monkeypatch.setattr("rest_syncer.engine.keys.MOST_IN_HAND", most)
    shop.orders |= {f"x{number}": dict.fromkeys(range(4), "pen") for number in range(9)}
    usual, lies = shop.answer, [True]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.raw_path == b"/orders/x5/items?page=2" and lies:
            lies.pop()
            return httpx.Response(200, headers=DATE, json={"data": [{"id": 1, "name": "pen"}, {"id": 3, "name": "pen"}], "total": 4})
        return usual(request)

    shop.answer = answer  # type: ignore[method-assign]
    summary = shop.run()
    assert (summary.status, summary.collections["items"].book()["proof"]) == ("complete", "checked")
    assert shop.asked.count("/orders/x5/items?page=1") == 2, "a key came twice, so the list was read again"
    assert shop.table() == shop.items
    segments = len(list((shop.folder / "hub").rglob("items/*")))
    assert (segments > 10) is (most == 0), segments
