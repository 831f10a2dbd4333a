"""A single parent's list that was read whole tells which of its records are gone, in every warehouse and mode."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from rest_syncer.engine.hub import Hub
from tests.ducks import opened
from tests.farm import Farm, Row, thin, told
from tests.support import segment_file
from tests.test_versions import hour

SPEC = """
syncer: 1
name: shop
api: {base_url: https://api.example.com, records: data}
collections:
  shops:
    key: id
    properties: {id: integer, at: string}
  orders:
    parent: {collection: shops, only_changed: true}
    path: /shops/{{ parent.id }}/orders
    key: [shop, id]
    max_delete_share: 100%
    properties: {shop: {type: integer, parent: id}, id: integer, sum: string}
"""
HISTORY = SPEC.replace("max_delete", "mode: history\n    max_delete")


def order(id_: int, sum_: str = "1.00", **more: Any) -> Row:
    return {"id": id_, "sum": sum_, **more}


def go(farm: Farm, lists: dict[int, Sequence[Row] | int], text: str = SPEC, **options: Any) -> dict[str, int]:
    """A run after these shops have changed, and have these orders now."""
    change(farm, lists)
    return farm.book([], text, **options)


def change(farm: Farm, lists: dict[int, Sequence[Row] | int]) -> None:
    known = {int(one["id"]): one for one in farm.lists.get("/shops", ()) or ()}  # type: ignore[union-attr]
    farm.lists["/shops"] = list({**known, **{id_: {"id": id_, "at": str(farm.hour)} for id_ in lists}}.values())
    farm.lists |= {f"/shops/{id_}/orders": rows for id_, rows in lists.items()}


def alive(farm: Farm, ends: str = "_deleted_at") -> list[tuple[int, int]]:
    return farm.client.ask(f"SELECT shop, id FROM shop.orders WHERE {ends} IS NULL ORDER BY shop, id")


@pytest.mark.shows("deletes that a single parent's list tells")
@pytest.mark.parametrize("deletes", ["soft", pytest.param("hard", marks=pytest.mark.many)])
def test_what_a_parents_list_lacks_is_gone_and_no_other_parents_records(farm: Farm, deletes: str) -> None:
    text = SPEC.replace("max_delete", f"deletes: {deletes}\n    max_delete")
    assert go(farm, {1: [order(1), order(2)], 2: [order(1), order(2)]}, text) == {"inserted": 4}
    assert go(farm, {1: [order(2, "2.00")]}, text) == {"updated": 1, "deleted": 1}
    assert alive(farm) == [(1, 2), (2, 1), (2, 2)]
    assert len(farm.client.ask("SELECT 1 FROM shop.orders")) == (4 if deletes == "soft" else 3)
    assert go(farm, {}, text) == {}
    assert go(farm, {1: [order(1), order(2, "2.00")]}, text) == {"updated" if deletes == "soft" else "inserted": 1, "unchanged": 1}
    assert go(farm, {1: [], 2: [order(1)]}, text) == {"unchanged": 1, "deleted": 3}
    assert alive(farm) == [(2, 1)]


STORY: list[dict[int, Sequence[Row] | int]] = [
    {1: [order(1), order(2), order(3)], 2: [order(1), order(2)]},
    {1: [order(1), order(3, "3.00")]},
    {1: [order(2), order(3, "3.00")], 3: [order(9)]},
    {2: [], 3: [order(9, "9.00"), order(8)]},
    {2: [order(2)], 3: []},
]
LEFT = [(1, 2), (1, 3), (2, 2)]


BACK: list[dict[int, Sequence[Row] | int]] = [
    {1: [order(2, "1.00", at=30), order(3, at=1)]},
    {1: [order(3, at=1)]},
    {1: [order(2, "2.00", at=20), order(3, at=1)]},
    {1: [order(2, "1.50", at=15), order(3, at=1)]},
    {1: []},
    {1: [order(3, "0.50", at=0)], 2: [order(2)]},
]
"""Records that come back with cursors from before they went."""
BY_CURSOR = SPEC.replace("max_delete", "cursor: {property: at}\n    max_delete").replace("sum: string", "sum: string, at: integer")


@pytest.mark.parametrize("text", [BY_CURSOR, BY_CURSOR.replace("max_delete", "mode: history\n    max_delete")], ids=["upsert", "history"])
def test_what_returns_to_its_list_outranks_what_was_there_before(farm: Farm, text: str) -> None:
    seen = []
    for lists in BACK:
        go(farm, lists, text)
        ends = "_valid_to" if "history" in text else "_deleted_at"
        now = farm.client.ask(f"SELECT id, sum FROM shop.orders WHERE shop = 1 AND {ends} IS NULL ORDER BY id")
        farm.book([], text, "replay")
        assert farm.client.ask(f"SELECT id, sum FROM shop.orders WHERE shop = 1 AND {ends} IS NULL ORDER BY id") == now
        seen.append([sum_ for _, sum_ in now])
    assert seen == [["1.00", "1.00"], ["1.00"], ["2.00", "1.00"], ["2.00", "1.00"], [], ["0.50"]]


@pytest.mark.parametrize("text", [SPEC, HISTORY], ids=["upsert", "history"])
def test_all_at_once_anew_and_elsewhere_it_is_the_same(farm: Farm, text: str) -> None:
    columns = "shop, id, sum, _deleted_at IS NOT NULL"
    if text == HISTORY:
        columns += ", _version, extract(epoch FROM _valid_from)::BIGINT, extract(epoch FROM _valid_to)::BIGINT"
    select = f"SELECT {columns} FROM shop.orders ORDER BY ALL"

    def shown() -> list[tuple[Any, ...]]:
        return sorted(farm.client.ask(select.replace(" ORDER BY ALL", "")), key=repr)

    for lists in STORY:
        go(farm, lists, text)
    found = shown()
    assert alive(farm, "_valid_to" if text == HISTORY else "_deleted_at") == LEFT
    farm.book([], text, "replay")
    assert shown() == found
    other = farm.folder / "other.duckdb"
    farm.book([], text, "load", to=f"duckdb:{other}")
    with opened(other) as con:
        assert sorted(con.execute(select).fetchall(), key=repr) == found
    more = text.replace("sum: string", "sum: string, more: {type: string, from: sum}")
    farm.book([], more, "load")
    assert shown() == found


@pytest.mark.parametrize("text", [SPEC, HISTORY], ids=["upsert", "history"])
def test_one_load_after_the_other_tells_the_same(farm: Farm, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for lists in STORY:
        go(farm, lists, text, verb="pull")
    monkeypatch.setattr("rest_syncer.engine.load.LOAD_BYTES", 1)
    farm.book([], text, "load")
    assert alive(farm, "_valid_to" if text == HISTORY else "_deleted_at") == LEFT
    assert farm.client.ask("SELECT max(load) FROM shop._syncer_receipts WHERE collection = 'orders'") == [(len(STORY),)]


@pytest.mark.many
def test_a_version_ends_when_the_list_was_read_that_lacks_it(farm: Farm) -> None:
    for lists in STORY[:3]:
        go(farm, lists, HISTORY)
    instants = "extract(epoch FROM _valid_from)::BIGINT, extract(epoch FROM _valid_to)::BIGINT"
    found = farm.client.ask(f"SELECT _version, {instants}, _deleted_at IS NOT NULL FROM shop.orders WHERE shop = 1 AND id = 2 ORDER BY 1")
    assert found == [(1, hour(1), hour(2), True), (2, hour(3), None, False)]


@pytest.mark.many
def test_the_fuse_holds_for_it_too(farm: Farm) -> None:
    text = SPEC.replace("    max_delete_share: 100%\n", "")
    go(farm, {1: [order(id_) for id_ in range(30)], 2: [order(1)]}, text)
    change(farm, {1: [order(1)]})
    summary = farm.run([], text)
    assert (summary.status, told(summary)[:40]) == ("failed", "orders: 29 rows are gone from the source")
    change(farm, {2: [order(2)]})
    assert (farm.run([], text).status, len(alive(farm))) == ("failed", 32), "what was held back is not forgotten"
    assert farm.book([], text, "load", allow_deletes=True) == {"deleted": 30}
    assert alive(farm) == [(1, 1), (2, 2)]
    assert farm.run([], text, "load").status == "complete"


@pytest.mark.many
def test_what_of_a_list_was_loaded_before_its_end_is_there(farm: Farm) -> None:
    def page(after: str, *ids: int) -> None:
        farm.lists[f"/shops/1/orders{after}"] = [order(id_) for id_ in ids]

    text = SPEC.replace("path: /shops", "paginate: {kind: key_set, on: id, param: from}\n    path: /shops")
    page("", 1, 2)
    page("?from=2", 2, 3)
    page("?from=3", 3)
    change(farm, {1: farm.lists["/shops/1/orders"]})
    assert farm.book([], text) == {"inserted": 3, "duplicates": 2}
    page("", 1, 3)
    farm.lists["/shops/1/orders?from=3"] = 404
    change(farm, {1: farm.lists["/shops/1/orders"]})
    assert farm.run([], text).status == "incomplete"
    assert len(alive(farm)) == 3, "nothing is known of the list's end"
    page("?from=3", 3)
    assert farm.book([], text) == {"unchanged": 1, "deleted": 1}
    assert [one for one in farm.asked if "orders" in one][-1:] == ["/shops/1/orders?from=3"]
    assert alive(farm) == [(1, 1), (1, 3)]


@pytest.mark.many
@pytest.mark.parametrize(
    "cursor", ["cursor: {property: sum, param: since, start: '0'}", "cursor: {property: at, param: since}"], ids=["start", "since"]
)
def test_a_list_that_is_asked_for_changes_tells_nothing(farm: Farm, cursor: str) -> None:
    text = SPEC.replace("max_delete", cursor + "\n    max_delete").replace("sum: string", "sum: string, at: timestamp")
    at = {"at": "2016-11-22T11:00:00Z"}
    go(farm, {1: [order(1, **at), order(2, **at)]}, text)
    assert "deleted" not in go(farm, {1: [order(2, "2.00", **at)]}, text)
    assert alive(farm) == [(1, 1), (1, 2)]


@pytest.mark.many
def test_where_the_key_does_not_tell_the_parent_nothing_is_told(farm: Farm) -> None:
    """It may have gone from one parent's list to another's."""
    text = SPEC.replace("key: [shop, id]", "key: id")
    go(farm, {1: [order(1), order(2)], 2: [order(3)]}, text)
    assert go(farm, {1: [order(1)]}, text) == {"unchanged": 1}
    assert alive(farm) == [(1, 1), (1, 2), (2, 3)]


@pytest.mark.many
def test_a_record_without_a_readable_key_keeps_its_lists_others(farm: Farm) -> None:
    go(farm, {1: [order(1), order(2)], 2: [order(1)]})
    change(farm, {1: [order(1), {"id": "two"}]})
    farm.run([], SPEC)
    assert alive(farm) == [(1, 1), (1, 2), (2, 1)]
    assert go(farm, {2: []}) == {"deleted": 1}
    farm.run([], SPEC, "replay")
    assert alive(farm) == [(1, 1), (1, 2)]


@pytest.mark.many
def test_a_list_of_which_some_is_damaged_tells_nothing_and_undoes_nothing(farm: Farm) -> None:
    go(farm, {1: [order(1), order(2), order(3)]})
    go(farm, {1: [order(1), order(2)]})
    change(farm, {1: [order(1)]})
    farm.run([], SPEC, "pull")
    hub = Hub(farm.folder / "hub", "shop")
    segment_file(hub, "orders", "000003-01-000000").write_bytes(b"gone")
    assert farm.run([], SPEC, "load").status == "incomplete"
    assert alive(farm) == [(1, 1), (1, 2)]
    segment_file(hub, "orders", "000002-01-000000").write_bytes(b"gone")
    more = SPEC.replace("sum: string", "sum: string, more: {type: string, from: sum}")
    assert farm.run([], more, "load").status == "incomplete"
    assert alive(farm) == [(1, 1), (1, 2)]
    assert go(farm, {1: [order(1)]}, more)["deleted"] == 1, "a complete pass mends it"
    assert alive(farm) == [(1, 1)]


@pytest.mark.many
def test_in_a_complete_pass_each_list_tells_for_itself_where_another_is_not_certain(farm: Farm) -> None:
    text = SPEC.replace("key: [shop", "errors: [{status: 404, then: skip}]\n    key: [shop")
    go(farm, {1: [order(1), order(2)], 2: [order(1), order(2)]}, text)
    change(farm, {1: [order(1)], 2: 404})
    assert farm.book([], text, full=True) == {"unchanged": 1, "deleted": 1}
    assert alive(farm) == [(1, 1), (2, 1), (2, 2)]
    farm.book([], text, "replay")
    assert alive(farm) == [(1, 1), (2, 1), (2, 2)]


@pytest.mark.many
def test_the_lists_of_a_parent_that_its_own_parents_list_lacks_are_not_asked_for(farm: Farm) -> None:
    child = """
  lines:
    parent: {collection: orders}
    path: /shops/{{ parent.shop }}/orders/{{ parent.id }}/lines
    key: [shop, order, n]
    properties: {shop: {type: integer, parent: shop}, order: {type: integer, parent: id}, n: integer}
"""
    text = SPEC + child
    for id_ in (1, 2):
        farm.lists[f"/shops/1/orders/{id_}/lines"] = [{"n": 1}]
    go(farm, {1: [order(1), order(2)]}, text)
    go(farm, {1: [order(2)]}, text)
    farm.asked.clear()
    go(farm, {}, text)
    assert [one for one in farm.asked if "lines" in one] == ["/shops/1/orders/2/lines"]
    assert farm.client.ask('SELECT "order", _deleted_at IS NULL FROM shop.lines ORDER BY 1') == [(1, False), (2, True)]


@pytest.mark.many
def test_what_is_thinned_decides_nothing(farm: Farm) -> None:
    kept = SPEC + "keep: latest\n"
    for lists in STORY:
        go(farm, lists, kept)
    assert thin(farm, kept).held_by is None
    farm.book([], kept, "replay")
    assert alive(farm) == LEFT
    hub = Hub(farm.folder / "hub", "shop")
    left = [json.loads(one) for name in hub.segments("orders") for one in hub.records("orders", name)]
    assert len(left) == 7
    other = farm.folder / "other.duckdb"
    farm.book([], kept, "load", to=f"duckdb:{other}")
    with opened(other) as con:
        found = con.execute("SELECT shop, id FROM shop.orders WHERE _deleted_at IS NULL ORDER BY ALL").fetchall()
        assert found == LEFT


@pytest.mark.many
@pytest.mark.parametrize(
    "words", ["changed: {path: '/shops/{{ parent.id }}/recent'}", "changed: {params: {state: open}}", "full: {params: {all: '1'}}"]
)
def test_a_list_that_is_asked_for_otherwise_than_in_a_pass_tells_nothing(farm: Farm, words: str) -> None:
    text = SPEC.replace("max_delete", f"{words}\n    max_delete")
    both, one = [order(1), order(2)], [order(2)]
    farm.lists |= {"/shops/1/recent": one, "/shops/1/orders?state=open": one, "/shops/1/orders?all=1": both}
    go(farm, {1: both}, text)
    assert go(farm, {1: one if "full" in words else both}, text) == {"unchanged": 1}
    assert alive(farm) == [(1, 1), (1, 2)]


@pytest.mark.many
@pytest.mark.parametrize(
    ("type_", "more"), [("integer", r", match: '^(\d+)'"), ("decimal(9,1)", r", match: '^(\d+)'"), ("string", r", match: '^(\d+)'")]
)
def test_where_parents_fall_together_in_the_key_nothing_is_told(farm: Farm, type_: str, more: str) -> None:
    text = SPEC.replace("properties: {id: integer, at", "properties: {id: string, at").replace(
        "type: integer, parent: id", f"type: '{type_}', parent: id{more}"
    )

    def lists(**orders: list[Row]) -> None:
        known = {one["id"]: one for one in farm.lists.get("/shops", ())}  # type: ignore[union-attr]
        farm.lists["/shops"] = list({**known, **{f"7-{id_}": {"id": f"7-{id_}", "at": str(farm.hour)} for id_ in orders}}.values())
        farm.lists |= {f"/shops/7-{id_}/orders": rows for id_, rows in orders.items()}

    lists(eu=[order(1), order(2)], us=[order(3)])
    farm.book([], text)
    lists(eu=[order(1)])
    assert farm.book([], text) == {"unchanged": 1}
    assert len(alive(farm)) == 3


@pytest.mark.many
def test_a_value_of_the_parent_that_is_no_part_of_its_key_hides_nothing(farm: Farm) -> None:
    text = SPEC.replace("at: string}", "at: string, area: string}").replace("key: [shop, id]", "key: [shop, area, id]")
    text = text.replace("parent: id},", "parent: id}, area: {type: string, parent: area},")
    farm.lists |= {"/shops": [{"id": 1, "at": "1", "area": "eu"}], "/shops/1/orders": [order(1), order(2)]}
    farm.book([], text)
    farm.lists |= {"/shops": [{"id": 1, "at": "2", "area": "us"}], "/shops/1/orders": [order(1)]}
    assert farm.book([], text) == {"inserted": 1, "deleted": 2}


@pytest.mark.many
@pytest.mark.parametrize("deletes", ["soft", "hard"])
def test_a_segment_that_is_put_back_deletes_nothing_that_came_later(farm: Farm, deletes: str) -> None:
    text = SPEC.replace("max_delete", f"deletes: {deletes}\n    max_delete")
    go(farm, {1: [order(1), order(2)]}, text)
    for rows in ([order(1), order(2, "2.00")], [order(1)], [order(1), order(2, "4.00")]):
        go(farm, {1: rows}, text, verb="pull")
    file = segment_file(Hub(farm.folder / "hub", "shop"), "orders", "000002-01-000000")
    whole = file.read_bytes()
    file.write_bytes(b"gone")
    assert farm.run([], text, "load").status == "incomplete"
    file.write_bytes(whole)
    Hub(farm.folder / "hub", "shop").verify()
    assert "deleted" not in farm.book([], text, "load")
    assert alive(farm) == [(1, 1), (1, 2)]


PAGED = SPEC.replace("path: /shops", "paginate: {kind: next_link, link: next}\n    path: /shops")
SORTED = PAGED.replace("max_delete", "cursor: {property: at}\n    max_delete").replace("sum: string", "sum: string, at: integer")


def pages(farm: Farm, first: list[Row], second: list[Row]) -> None:
    farm.nexts["/shops/1/orders"] = "/shops/1/orders?p=2"
    farm.lists["/shops/1/orders?p=2"] = second
    change(farm, {1: first})


@pytest.mark.many
@pytest.mark.parametrize("keep", ["all", "latest"])
def test_what_slips_between_two_pages_is_looked_for_whatever_is_thinned(farm: Farm, keep: str) -> None:
    text = SORTED + f"keep: {keep}\n"
    pages(farm, [order(1, at=9), order(2, at=9)], [order(3, at=9)])
    farm.book([], text)
    pages(farm, [order(1, at=9), order(2, at=5)], [order(3, at=9)])  # its cursor goes back, so that the older version counts
    farm.book([], text)
    if keep == "latest":
        thin(farm, text)
        other = farm.folder / "other.duckdb"
        farm.book([], text, "load", to=f"duckdb:{other}")
        with opened(other) as con:
            assert con.execute("SELECT id FROM shop.orders WHERE _deleted_at IS NULL ORDER BY id").fetchall() == [(1,), (2,), (3,)]
    pages(farm, [order(1, at=9)], [order(3, at=9)])
    farm.asked.clear()
    assert farm.book([], text)["deleted"] == 1
    assert farm.asked[1:] == ["/shops/1/orders", "/shops/1/orders?p=2"] * 2


@pytest.mark.many
def test_where_a_segment_is_damaged_nobody_knows_what_slipped(farm: Farm) -> None:
    pages(farm, [order(1)], [order(3)])
    farm.book([], PAGED)
    pages(farm, [order(1), order(2)], [order(3)])
    farm.book([], PAGED)
    hub = Hub(farm.folder / "hub", "shop")
    segment_file(hub, "orders", "000002-01-000000").write_bytes(b"gone")
    hub.verify()
    pages(farm, [order(1)], [order(3)])
    assert farm.run([], PAGED).collections["orders"].book()["proof"] == "open"
    assert alive(farm) == [(1, 1), (1, 2), (1, 3)]


@pytest.mark.many
def test_what_a_reading_met_that_broke_off_may_be_gone(farm: Farm) -> None:
    pages(farm, [order(1), order(2)], [order(3)])
    farm.book([], PAGED)
    farm.lists["/shops/1/orders?p=2"] = 404
    change(farm, {1: [order(1), order(2)]})
    assert farm.run([], PAGED).status == "incomplete"
    pages(farm, [order(1)], [])
    farm.nexts["/shops/1/orders"] = "/shops/1/orders?p=3"
    farm.lists |= {"/shops/1/orders?p=2": 410, "/shops/1/orders?p=3": [order(3)]}
    assert farm.book([], PAGED)["deleted"] == 1
    assert alive(farm) == [(1, 1), (1, 3)]


@pytest.mark.many
def test_an_empty_list_tells_in_a_pass_that_brought_others_and_several_empty_ones_tell_nothing(farm: Farm) -> None:
    text = SPEC.replace("key: [shop", "errors: [{status: 404, then: skip}]\n    key: [shop")
    go(farm, {1: [order(1), order(2)], 2: [order(1)], 3: 404}, text)
    change(farm, {1: []})
    assert farm.book([], text, full=True) == {"unchanged": 1, "deleted": 2}
    go(farm, {1: [order(1)]}, text)
    assert go(farm, {1: [], 2: []}, text) == {}
    assert go(farm, {1: []}, text) == {"deleted": 1}


LINES = """
  lines:
    parent: {collection: orders, only_changed: true}
    path: /shops/{{ parent.shop }}/orders/{{ parent.id }}/lines
    full: {every: 1h}
    key: [shop, order, n]
    max_delete_share: 100%
    properties: {shop: {type: integer, parent: shop}, order: {type: integer, parent: id}, n: integer}
"""


@pytest.mark.many
def test_a_parent_that_returns_as_it_was_has_its_list_read(farm: Farm) -> None:
    text = SPEC + LINES
    farm.lists |= {f"/shops/1/orders/{id_}/lines": [{"n": 1}] for id_ in (1, 2)}
    go(farm, {1: [order(1), order(2)]}, text)
    go(farm, {1: [order(2)]}, text)
    farm.asked.clear()
    go(farm, {1: [order(1), order(2)]}, text.replace("every: 1h", "every: 100d"))
    assert farm.asked[2:] == ["/shops/1/orders/1/lines"]
    assert farm.client.ask("SELECT count(*) FROM shop.lines WHERE _deleted_at IS NULL") == [(2,)]


@pytest.mark.many
def test_a_parent_that_is_never_deleted_keeps_its_list(farm: Farm) -> None:
    text = SPEC.replace("max_delete_share: 100%", "mode: append") + LINES
    farm.lists |= {f"/shops/1/orders/{id_}/lines": [{"n": 1}] for id_ in (1, 2)}
    go(farm, {1: [order(1), order(2)]}, text)
    go(farm, {1: [order(2)]}, text)
    assert farm.asked[-2:] == ["/shops/1/orders/1/lines", "/shops/1/orders/2/lines"]


@pytest.mark.shows("deletes that a single parent's list tells")
def test_the_fuse_is_a_share_of_all_rows(farm: Farm) -> None:
    text = SPEC.replace("    max_delete_share: 100%\n", "")
    go(farm, {shop: [order(id_) for id_ in range(20)] for shop in range(1, 11)}, text)
    assert go(farm, {1: [order(id_) for id_ in range(8)]}, text) == {"unchanged": 8, "deleted": 12}


@pytest.mark.many
def test_what_was_held_back_of_a_history_stays_until_it_is_let_through(farm: Farm) -> None:
    """A list that goes on over two runs began before what the warehouse knows, and ended after it."""
    text = HISTORY.replace("    max_delete_share: 100%\n", "").replace(
        "path: /shops", "paginate: {kind: key_set, on: id, param: from}\n    path: /shops"
    )
    farm.lists["/shops/1/orders?from=30"] = [order(30)]
    go(farm, {1: [order(id_) for id_ in range(1, 31)]}, text)
    farm.lists["/shops/1/orders?from=2"] = 404
    change(farm, {1: [order(1), order(2)]})
    assert farm.run([], text).status == "incomplete"
    farm.lists["/shops/1/orders?from=2"] = [order(2)]
    assert farm.run([], text).collections["orders"].book()["held_back"] == 28
    change(farm, {2: [order(1)]})
    assert farm.run([], text).collections["orders"].book()["held_back"] == 28
    assert len(alive(farm, "_valid_to")) == 31
    assert farm.book([], text, "load", allow_deletes=True)["deleted"] == 28


@pytest.mark.many
@pytest.mark.parametrize("mode", ["deletes: soft", "mode: history"])
def test_a_damaged_delete_feed_undoes_nothing_that_lists_told(farm: Farm, mode: str) -> None:
    text = SPEC.replace("max_delete", f"{mode}\n    deleted: {{path: /bin, properties: {{shop: integer}}}}\n    max_delete")
    ends = "_valid_to" if mode == "mode: history" else "_deleted_at"
    farm.lists["/bin"] = []
    go(farm, {1: [order(1), order(2), order(3)]}, text)
    go(farm, {1: [order(1), order(3)]}, text)
    change(farm, {1: [order(1)]})
    farm.run([], text, "pull")
    hub = Hub(farm.folder / "hub", "shop")
    segment_file(hub, "orders.deleted", "000003-01-000000").write_bytes(b"gone")
    for spec in (text, text.replace("sum: string", "sum: string, more: {type: string, from: sum}")):
        assert farm.run([], spec, "load").status == "incomplete"
        assert alive(farm, ends) == [(1, 1)]
