"""`deleted`: an API's own list of what was deleted, in every warehouse and mode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rest_syncer.engine.errors import SpecError
from rest_syncer.engine.hub import Hub
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.plan import Telling, telling
from tests.ducks import opened
from tests.farm import MANY, NOON, Farm, Row, row, spec, thin, told
from tests.support import segment_file
from tests.test_versions import hour, versions

BIN = "/orders/deleted"
SHARE = "max_delete_share: 100%\n    "
LISTED = spec(f"{SHARE}deleted: {BIN}")
"""The list names what is deleted now, without a time; the records come as a whole in each run."""
CHANGES = f"{SHARE}cursor: {{property: at, param: since}}\n    "
SILENT = spec(f"{CHANGES}deleted: {BIN}")
"""Records are asked for changes alone; the list has no times."""
TIMED = spec(f"{CHANGES}deleted: {{path: {BIN}, cursor: {{property: gone, param: since}}, properties: {{gone: timestamp}}}}")
"""And a time of deletion, by which the list is asked for what was deleted since."""
WHOLE = TIMED.replace("gone, param: since", "gone")
"""A time of deletion; the list comes as a whole each time."""
HISTORY = {name: text.replace("key: id", "key: id\n    mode: history") for name, text in (("silent", SILENT), ("whole", WHOLE))}


def went(id_: int, at: int = 0, hour: int = 11) -> Row:
    """A deletion, at so many seconds after an hour of the day (the records' own is 11)."""
    return {"id": id_, "gone": f"2016-11-22T{hour:02}:00:{at:02}Z"}


def go(farm: Farm, text: str, gone: list[Row] | int, *rows: Row, **more: Any) -> dict[str, int]:
    farm.lists[BIN] = gone
    return farm.book(list(rows), text, **more)


def alive(farm: Farm) -> list[int]:
    return [id_ for id_, _, gone in farm.table() if not gone]


@pytest.mark.shows("deletes that a feed tells (`deleted`)")
@pytest.mark.parametrize("deletes", ["soft", "hard"])
def test_a_row_goes_when_the_list_names_it_and_returns_with_its_record(farm: Farm, deletes: str) -> None:
    text = SILENT.replace("deleted:", f"deletes: {deletes}\n    deleted:")
    assert go(farm, text, [], row(1), row(2)) == {"inserted": 2}
    assert go(farm, text, [went(2)]) == {"deleted": 1}
    kept = [(1, "1.00", False), (2, "1.00", True)]
    assert farm.table() == (kept if deletes == "soft" else kept[:1])
    assert go(farm, text, [went(2)]) == {}, "it is not deleted twice"
    assert go(farm, text, [], row(2)) == {"updated" if deletes == "soft" else "inserted": 1}
    assert farm.table() == [(1, "1.00", False), (2, "1.00", False)]


@pytest.mark.many
def test_it_is_a_list_of_its_own_in_the_hub_the_books_and_the_ledger(farm: Farm) -> None:
    go(farm, TIMED, [], row(1), row(2))
    farm.lists[BIN] = [went(2)]
    summary = farm.run([], TIMED)
    book, own = (summary.collections[name].book() for name in ("orders.deleted", "orders"))
    words = ("requests", "received", "stop", "proof", "read", "deleted")
    assert {word: book[word] for word in words} == dict.fromkeys(words) | {
        "requests": 1, "received": 1, "stop": "one_answer", "proof": "proven",
    }  # fmt: skip
    assert (own["received"], own["read"], own["deleted"]) == (0, 0, 1)
    assert farm.asked == [BIN, "/orders", f"{BIN}?since=2016-11-22T12%3A58%3A59Z", "/orders?since=2016-11-22T12%3A58%3A59Z"]
    ledger = farm.client.ask("SELECT collection, received, deleted FROM shop._syncer_runs WHERE run = 2 ORDER BY collection")
    assert ledger == [("orders", 0, 1), ("orders.deleted", 1, None)]
    hub = Hub(farm.folder / "hub", "shop")
    assert [json.loads(one) for name in hub.segments("orders.deleted") for one in hub.records("orders.deleted", name)] == [went(2)]
    assert hub.verify() == []


def test_what_is_in_both_lists_of_one_run_is_there(farm: Farm) -> None:
    """The list of deletions is read first, so the record is the newer of the two."""
    go(farm, LISTED, [], row(1), row(2))
    assert go(farm, LISTED, [went(2)], row(1), row(2)) == {"unchanged": 2}
    assert alive(farm) == [1, 2]
    farm.book([], LISTED, "replay")
    assert alive(farm) == [1, 2]


@pytest.mark.many
def test_what_came_and_went_in_several_runs_may_be_loaded_at_once(farm: Farm) -> None:
    go(farm, SILENT, [], row(1), row(2), row(3), row(4))
    go(farm, SILENT, [went(2), went(3), went(4)], verb="pull")
    go(farm, SILENT, [], row(2), row(3, "3.00"), verb="pull")
    go(farm, SILENT, [went(3)], verb="pull")
    assert farm.book([], SILENT, "load") == {"unchanged": 1, "updated": 1, "deleted": 2}
    assert farm.table() == [(1, "1.00", False), (2, "1.00", False), (3, "3.00", True), (4, "1.00", True)]


@pytest.mark.many
def test_a_deletion_counts_once_however_often_it_is_told(farm: Farm) -> None:
    """A record that was restored without being changed is found by a complete pass; the old deletion is told again behind it."""
    go(farm, WHOLE, [], row(1), row(2))
    assert go(farm, WHOLE, [went(2, 30)]) == {"deleted": 1}
    assert go(farm, WHOLE, [went(2, 30)], row(1), row(2), full=True) == {"unchanged": 1, "updated": 1}
    for verb in ("run", "run", "replay"):
        go(farm, WHOLE, [went(2, 30)], verb=verb)
        assert alive(farm) == [1, 2]
    assert go(farm, WHOLE, [went(2, 30), went(2, 40)]) == {"deleted": 1}, "another deletion is another one"


@pytest.mark.many
def test_a_record_that_changed_after_its_deletion_is_there(farm: Farm) -> None:
    """Whenever that is told: a list that is read for the first time tells of years."""
    within = row(2) | {"at": "2016-11-22T11:00:10.7Z"}  # of the very second of its deletion: which of the two was first is not told
    go(farm, spec(CHANGES.strip()), [], row(1, at=10), within, row(3, at=20))
    assert go(farm, TIMED, [went(1, 9), went(2, 10), went(3, 30)]) == {"deleted": 2}
    assert alive(farm) == [1]
    assert go(farm, TIMED, [], within) == {"updated": 1}, "it came again after it was told"
    farm.book([], TIMED, "replay")
    assert alive(farm) == [1, 2]


BACK = (
    ([], (row(1), row(2, at=30))),
    ([2], ()),
    ([], (row(2, "3.00", at=10),)),
    ([], (row(2, "2.50", at=5),)),
    ([2], ()),
    ([], (row(2, at=1),)),
)
"""A record that comes back twice after its deletion, each time as an older backup of it; in between, a version comes late."""


@pytest.mark.parametrize("mode", ["deletes: soft", "deletes: hard", "mode: history"])
def test_what_returns_outranks_what_was_there_before_it_was_deleted(farm: Farm, mode: str) -> None:
    text = SILENT.replace("deleted:", f"{mode}\n    deleted:")
    ends = ", _valid_to IS NOT NULL, _version, extract(epoch FROM _valid_from)::BIGINT, extract(epoch FROM _valid_to)::BIGINT"
    columns = f"id, sum{ends if 'history' in mode else ', _deleted_at IS NOT NULL'}"
    select, other = f"SELECT {columns} FROM shop.orders", farm.folder / "other.duckdb"
    seen = []
    for gone, rows in BACK:
        go(farm, text, [went(id_) for id_ in gone], *rows)
        found = sorted(farm.client.ask(select), key=repr)
        seen.append([sum_ for id_, sum_, gone, *_ in found if id_ == 2 and not gone])
        farm.book([], text, "replay")
        assert sorted(farm.client.ask(select), key=repr) == found
        farm.book([], text, "load", to=f"duckdb:{other}")
        with opened(other) as con:
            assert sorted(con.execute(select).fetchall(), key=repr) == found
        other.unlink()
    assert seen == [["1.00"], [], ["3.00"], ["3.00"], [], ["1.00"]]


@pytest.mark.many
def test_a_pass_that_goes_on_for_days_does_not_bring_back_what_went_meanwhile(farm: Farm) -> None:
    """One record of it was received before the deletions were told, the others after that."""
    paged = f"deleted: {{path: {BIN}, paginate: {{kind: single}}}}\n    paginate: {{kind: number}}"
    text = SILENT.replace(f"deleted: {BIN}", paged)
    farm.lists |= {"/orders?page=1": [row(1), row(2), row(3)], "/orders?page=2": []}
    go(farm, text, [])
    farm.lists |= {"/orders?page=1": [row(1)], "/orders?page=2": 404}
    assert farm.run([], text, full=True).status == "failed"
    farm.lists |= {BIN: [went(1), went(2)], "/orders?page=2": [row(2), row(3)], "/orders?page=3": []}
    assert farm.run([], text).status == "complete"
    assert alive(farm) == [2, 3]


@pytest.mark.many
def test_what_a_new_warehouse_or_a_new_column_shows_is_the_same(farm: Farm) -> None:
    go(farm, TIMED, [], row(1, at=1), row(2, at=2), row(3, at=3))
    go(farm, TIMED, [went(2, 30), went(3, 30)])
    go(farm, TIMED, [], row(3, at=40))
    shown, written = farm.table(), farm.written()
    other = farm.folder / "other.duckdb"
    assert farm.book([], TIMED, "load", to=f"duckdb:{other}") == {"inserted": 3, "duplicates": 1, "deleted": 1}
    with opened(other) as con:
        assert con.execute("SELECT id, sum, _deleted_at IS NOT NULL FROM shop.orders ORDER BY id").fetchall() == shown
    ((before,),) = farm.client.ask("SELECT extract(epoch FROM _deleted_at)::BIGINT FROM shop.orders WHERE id = 2")
    assert (before - NOON) // 3600 == 2
    farm.book([], TIMED.replace("state: string", "state: string, more: {type: string, from: sum}"), "load")
    assert farm.table("id, more, _deleted_at IS NOT NULL") == shown
    assert farm.client.ask("SELECT extract(epoch FROM _deleted_at)::BIGINT FROM shop.orders WHERE id = 2") == [(before,)]
    assert written[2] == 2


@pytest.mark.many
@pytest.mark.parametrize("deletes", ["soft", "hard"])
def test_what_reads_everything_again_writes_no_row_for_nothing(farm: Farm, deletes: str) -> None:
    text = SILENT.replace("deleted:", f"deletes: {deletes}\n    deleted:")
    go(farm, text, [], row(1), row(2))
    go(farm, text, [went(2)])
    shown, written = farm.table(), farm.written()
    elsewhere = text.replace(f"deleted: {BIN}", f"deleted: {{path: {BIN}, properties: {{id: {{type: integer, from: [number, id]}}}}}}")
    farm.book([], elsewhere, "load")
    assert (farm.table(), farm.written()) == (shown, written)
    other = farm.folder / "other.duckdb"
    found = farm.book([], text, "load", to=f"duckdb:{other}")
    assert found == ({"inserted": 2, "deleted": 1} if deletes == "soft" else {"inserted": 1, "filtered": 1})


@pytest.mark.many
def test_without_the_list_in_the_spec_its_deletions_no_longer_count(farm: Farm) -> None:
    go(farm, SILENT, [], row(1), row(2))
    go(farm, SILENT, [went(2)])
    farm.book([], spec(CHANGES.strip()), "load")
    assert alive(farm) == [1, 2]
    farm.book([], SILENT, "load")
    assert alive(farm) == [1]


@pytest.mark.parametrize("since", ["param: since", "param: since, start: '2016-01-01T00:00:00Z'"], ids=["passes", "no passes"])
def test_the_fuse_holds_for_it_until_it_is_told_to_let_them_go(farm: Farm, since: str) -> None:
    text = SILENT.replace(SHARE, "").replace("param: since", since)
    go(farm, text, [], *MANY)
    farm.lists[BIN] = [went(id_) for id_ in range(1, 16)]
    summary = farm.run([row(31)], text)
    assert (summary.status, told(summary)[:40]) == ("failed", "orders: 15 rows are gone from the source")
    assert len(alive(farm)) == 31, "what is new came all the same"
    farm.lists[BIN] = [went(16)]
    assert (farm.run([], text).status, len(alive(farm))) == ("failed", 31), "what was held back is not forgotten"
    assert farm.run([], text, "load").status == "failed", "and stays said"
    assert farm.book([], text, "load", allow_deletes=True) == {"deleted": 16}
    assert farm.run([], text, "load").status == "complete"
    assert alive(farm) == [*range(17, 31), 31]


@pytest.mark.many
@pytest.mark.parametrize("since", ["param: since", "param: since, start: '2016-01-01T00:00:00Z'"], ids=["passes", "no passes"])
def test_records_that_come_again_end_what_was_held_back(farm: Farm, since: str) -> None:
    text = SILENT.replace(SHARE, "").replace("param: since", since)
    go(farm, text, [], *MANY)
    farm.lists[BIN] = [went(id_) for id_ in range(1, 16)]
    assert farm.run([], text).status == "failed"
    assert go(farm, text, [], *MANY[:10]) == {"unchanged": 10, "deleted": 5}
    assert len(alive(farm)) == 25


@pytest.mark.many
def test_keys_that_no_row_has_are_nothing(farm: Farm) -> None:
    go(farm, SILENT, [went(7)], row(1))
    assert go(farm, SILENT, [went(8), went(9)]) == {}
    assert alive(farm) == [1]
    assert go(farm, SILENT, [], row(8)) == {"inserted": 1}


def test_a_key_of_several_stands_where_the_spec_says(farm: Farm) -> None:
    elsewhere = f"{{path: {BIN}, properties: {{id: {{type: integer, from: order, match: '/(\\d+)$'}}}}}}"
    text = SILENT.replace("key: id", "key: [id, sum]").replace(f"deleted: {BIN}", f"deleted: {elsewhere}")
    go(farm, text, [], row(12, "1.00"), row(12, "2.00"), row(13))
    assert go(farm, text, [{"order": "/orders/12", "sum": "2.00"}, {"order": "/orders/13", "sum": "7.00"}]) == {"deleted": 1}
    assert [(id_, sum_) for id_, sum_, gone in farm.table() if not gone] == [(12, "1.00"), (13, "1.00")]


@pytest.mark.many
def test_a_text_that_is_the_number_is_the_key(farm: Farm) -> None:
    go(farm, SILENT, [], row(12), row(13))
    assert go(farm, SILENT, [{"id": "12"}, {"id": 13.0}]) == {"deleted": 2}


@pytest.mark.many
def test_what_cannot_be_read_is_told_and_deletes_nothing(farm: Farm) -> None:
    go(farm, TIMED, [], row(1), row(2), row(3))
    gone: list[Mapping[str, Any]] = [
        went(1, 30),
        {"id": "two", "gone": went(2)["gone"]},
        {"id": 3, "gone": "soon"},
        {"gone": "x"},
        {"id": 2},
    ]
    farm.lists[BIN] = [dict(one) for one in gone]
    summary = farm.run([], TIMED)
    assert (summary.status, told(summary), alive(farm)) == ("complete", "", [2, 3])
    found = farm.client.ask("SELECT collection, property, raw, whole_record, segment FROM shop._syncer_rejects ORDER BY segment, property")
    assert [(collection, name, raw) for collection, name, raw, whole, _ in found if whole] == [
        ("orders", "id", '"two"'), ("orders", "gone", '"soon"'), ("orders", "gone", '"x"'), ("orders", "gone", "null"),
    ]  # fmt: skip
    assert found[0][-1].endswith("/orders.deleted/000002-01-000000#2")
    farm.lists[BIN] = []
    farm.run([], TIMED)
    assert len(farm.client.ask("SELECT 1 FROM shop._syncer_rejects")) == 4, "they stay told"


@pytest.mark.many
def test_a_list_that_is_not_there_keeps_no_record_from_its_table(farm: Farm) -> None:
    farm.lists[BIN] = 404
    summary = farm.run([row(1)], SILENT)
    assert (summary.status, summary.collections["orders"].status, alive(farm)) == ("failed", "complete", [1])
    assert f"{BIN}: status 404" in summary.collections["orders.deleted"].errors[0]
    skipped = SILENT.replace(f"deleted: {BIN}", f"deleted: {{path: {BIN}, errors: {{status: 404, then: skip}}}}")
    summary = farm.run([row(1)], skipped)
    assert (summary.status, summary.collections["orders.deleted"].book()["proof"]) == ("complete", "open")


@pytest.mark.many
def test_an_answer_without_the_list_is_no_empty_one(farm: Farm) -> None:
    lost = SILENT.replace(f"deleted: {BIN}", f"deleted: {{path: {BIN}, records: gone}}")
    go(farm, SILENT, [], row(1))
    farm.lists[BIN] = [went(1)]
    summary = farm.run([], lost)
    assert (summary.status, alive(farm)) == ("failed", [1])
    assert "correct `records`" in summary.collections["orders.deleted"].errors[0]


@pytest.mark.many
def test_a_bound_that_is_left_out_is_asked_for_a_unit_earlier(farm: Farm) -> None:
    text = TIMED.replace("gone, param: since", "gone, param: since, inclusive: false, format: epoch_s")
    go(farm, text, [], row(1))
    go(farm, text, [])
    assert farm.asked[2] == f"{BIN}?since={NOON + 3600 - 61 - 1}"


@pytest.mark.many
def test_a_damaged_segment_of_it_is_told_and_holds_off_what_follows(farm: Farm) -> None:
    """What was deleted is never undone by it: not by a replay of all rows either."""
    go(farm, WHOLE, [], row(1), row(2), row(3))
    go(farm, WHOLE, [went(1, 30)])
    go(farm, WHOLE, [went(1, 30), went(2, 30)], verb="pull")
    hub = Hub(farm.folder / "hub", "shop")
    segment_file(hub, "orders.deleted", "000003-01-000000").write_bytes(b"gone")
    summary = farm.run([], WHOLE, "load")
    assert (summary.status, alive(farm)) == ("incomplete", [2, 3])
    assert "orders.deleted/000003-01-000000" in told(summary)
    assert go(farm, WHOLE, [went(2, 30)]) == {"deleted": 1}, "the next pull asks for it all again"
    assert alive(farm) == [3]
    segment_file(hub, "orders.deleted", "000002-01-000000").write_bytes(b"gone")
    more = WHOLE.replace("state: string", "state: string, more: {type: string, from: sum}")
    farm.book([], more, "load")
    assert alive(farm) == [3]
    summary = farm.run([], more, "replay")
    assert "a replay would lose what it held" in told(summary)


@pytest.mark.many
def test_what_a_restored_segment_of_it_tells_is_loaded_without_new_records(farm: Farm) -> None:
    go(farm, WHOLE, [], row(1), row(2))
    go(farm, WHOLE, [went(1, 30)], row(3), verb="pull")
    hub = Hub(farm.folder / "hub", "shop")
    file = segment_file(hub, "orders.deleted", "000002-01-000000")
    held = file.read_bytes()
    file.write_bytes(b"gone")
    assert farm.run([], WHOLE, "load").status == "incomplete"
    assert alive(farm) == [1, 2, 3]
    file.write_bytes(held)
    assert hub.verify() == []
    assert go(farm, WHOLE, [], verb="load") == {"deleted": 1}
    assert go(farm, WHOLE, [], verb="load") == {}


@pytest.mark.many
@pytest.mark.parametrize("text", [SILENT, WHOLE])
def test_what_is_thinned_decides_nothing(farm: Farm, text: str) -> None:
    kept = text + "keep: latest\n"
    listed = [went(1, 30), went(2, 30), went(3, 30)]
    go(farm, kept, [], row(1, at=1), row(2, at=1), row(3, at=1), row(4, at=1))
    go(farm, kept, listed)
    go(farm, kept, listed[1:], row(1, at=40), row(4, "4.00", at=40))
    go(farm, kept, listed[1:])
    shown = farm.table()
    assert alive(farm) == [1, 4]
    assert thin(farm, kept).held_by is None
    hub = Hub(farm.folder / "hub", "shop")
    left = [json.loads(one)["id"] for name in hub.segments("orders.deleted") for one in hub.records("orders.deleted", name)]
    assert sorted(left) == ([1, 2, 3] if text == WHOLE else [1, 2, 2, 3, 3]), "without times, where it begins and ends stays"
    farm.book([], kept, "replay")
    assert farm.table() == shown
    other = farm.folder / "other.duckdb"
    farm.book([], kept, "load", to=f"duckdb:{other}")
    with opened(other) as con:
        assert con.execute("SELECT id, sum, _deleted_at IS NOT NULL FROM shop.orders ORDER BY id").fetchall() == shown


@pytest.mark.many
def test_the_lists_of_a_parent_that_went_are_not_asked_for(farm: Farm) -> None:
    """Until it comes again; a chain that goes on walks the parents that were there when it began."""
    child = "\n  items:\n    parent: orders\n    path: /items/{{ parent.id }}\n    key: id\n    properties: {id: integer}\n"
    text = WHOLE.rstrip() + child
    items: dict[str, list[Row] | int] = {f"/items/{id_}": [{"id": id_}] for id_ in (1, 2, 3)}
    farm.lists |= items
    go(farm, text, [], row(1), row(2), row(3))
    farm.lists |= {"/items/2": 404, "/items/3": 404}
    farm.asked.clear()
    farm.lists[BIN] = [went(2, 30)]
    assert farm.run([], text).collections["items"].status == "incomplete"
    assert [path for path in farm.asked if "items" in path] == ["/items/1", "/items/3"]
    farm.lists |= items | {BIN: [went(1, 40), went(2, 30)]}
    farm.asked.clear()
    assert farm.run([row(2)], text).status == "complete"
    assert [path for path in farm.asked if "items" in path] == ["/items/3"]
    farm.asked.clear()
    assert farm.run([], text).status == "complete"
    assert [path for path in farm.asked if "items" in path] == ["/items/2", "/items/3"]


# Histories.


@pytest.mark.parametrize("kind", ["silent", "whole"])
def test_a_deletion_ends_a_version_and_a_return_begins_another(farm: Farm, kind: str) -> None:
    text, eleven = HISTORY[kind], NOON - 3600
    go(farm, text, [], row(1, at=1), row(2, at=1))
    assert go(farm, text, [went(2, 30)]) == {"deleted": 1}
    ended = hour(2) if kind == "silent" else eleven + 30
    assert versions(farm) == [(1, "1.00", eleven + 1, None, 1, False), (2, "1.00", eleven + 1, ended, 1, True)]
    go(farm, text, [], row(2, at=1))
    assert versions(farm)[1:] == [(2, "1.00", eleven + 1, ended, 1, True), (2, "1.00", ended, None, 2, False)]
    farm.book([], text, "replay")
    assert versions(farm)[1:] == [(2, "1.00", eleven + 1, ended, 1, True), (2, "1.00", ended, None, 2, False)]


@pytest.mark.many
@pytest.mark.parametrize("kind", ["silent", "whole"])
def test_all_at_once_is_as_one_by_one(farm: Farm, tmp_path: Path, kind: str) -> None:
    """Before, behind and between the versions of a record, of several loads and of one."""
    text, other = HISTORY[kind], f"duckdb:{tmp_path / 'other.duckdb'}"
    story: list[tuple[list[Row], list[Row]]] = [
        ([], [row(id_, at=1) for id_ in range(1, 6)]),
        ([went(1, 10), went(2, 10), went(3, 10)], [row(4, "2.00", at=12)]),
        ([went(4, 13)], [row(1, "2.00", at=15), row(2, at=1)]),
        ([went(1, 20), went(4, 13)], []),
        ([went(5, 30)], [row(4, "2.00", at=12), row(1, "2.00", at=15)]),
    ]
    for number, (gone, rows) in enumerate(story):
        go(farm, text, gone, *rows, verb="run" if number in (0, 4) else "pull")
    together = versions(farm)
    farm.book([], text, "load", to=other)
    farm.book([], text, "replay")
    assert versions(farm) == together
    assert [one[-1] for one in together if one[3] is None] == [False] * 3


# How far it is taken, and when it is read.


def test_it_is_read_before_its_collection_and_behind_its_parent() -> None:
    child = f"\n  items: {{parent: orders, path: '/{{{{ parent.id }}}}', key: id, properties: {{id: integer}}, deleted: {BIN}}}\n"
    known = parse_spec(SILENT.rstrip() + child).spec
    assert list(known.lists) == ["orders.deleted", "orders", "items.deleted", "items"]
    assert (known.before("orders"), known.before("items")) == (["orders.deleted"], ["orders", "items.deleted"])
    assert known.in_order(["items", "items.deleted", "orders", "orders.deleted"]) == ["orders.deleted", "orders", "items.deleted", "items"]
    assert (known.lists["items"].parent is None, known.lists["items.deleted"].parent) == (False, None)
    own = parse_spec(SILENT.rstrip() + child.replace(BIN, "'/{{ parent.id }}/deleted'")).spec
    assert own.before("items.deleted") == ["orders"]


S = "{:06}-01-000000".format


def test_the_list_is_taken_as_far_as_records_are() -> None:
    feed = [S(run) for run in (1, 2, 3)]
    assert telling(feed, (), 1, [S(2)], [S(1)], False) == Telling((S(1), S(2)), 1, 2, False)
    assert telling(feed, (), 1, [S(2)], [S(1)], False).split(False) == ([S(2)], [S(1)])
    assert telling(feed, (), 1, [S(2)], [S(1)], False).split(True) == ([S(1), S(2)], [])


@pytest.mark.parametrize(
    ("lost", "known", "new", "before", "held_back", "until", "rereads"),
    [
        ([], 0, [1, 1], [], False, 1, False),
        ([], 1, [1], [1], False, 1, False),
        ([], 1, [], [1, 2], False, 2, True),  # records that are newer were loaded before it
        ([], 3, [2], [1, 3], False, 3, True),  # records that are older are loaded after it
        ([], 2, [3], [1, 2], True, 3, True),
        ([2], 1, [3], [1, 2], False, 1, False),  # what was lost has to be mended first
        ([1], 2, [3], [1, 2], False, 3, False),  # or was taken before
    ],
)
def test_what_is_out_of_step_is_told_by_all_records(
    lost: list[int], known: int, new: list[int], before: list[int], held_back: bool, until: int, rereads: bool
) -> None:
    found = telling([S(run) for run in (1, 2, 3)], list(map(S, lost)), known, list(map(S, new)), list(map(S, before)), held_back)
    assert (found.until, found.rereads) == (until, rereads)


# What a spec cannot say.


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (spec(f"mode: append\n    deleted: {BIN}"), "records of `mode: append` are never gone; leave it out"),
        (spec(f"mode: snapshot\n    deleted: {BIN}"), "a snapshot's rows are those of the last complete pass; leave it out"),
        (spec(f"deletes: ignore\n    deleted: {BIN}"), "leave one of the two out"),
        (spec("deleted: {params: {a: b}}"), "'path' is missing"),
        (spec(f"deleted: {{path: {BIN}, cursor: {{property: gone}}}}"), "'gone' is no property of orders.deleted"),
        (spec(f"deleted: {{path: {BIN}, properties: {{id: string}}}}"), "'id' is of another type in the records; write integer"),
        (spec("deleted: {path: '/{{ parent.id }}/deleted'}"), "only a collection with a `parent:` knows"),
        (spec(f"deleted: {{path: {BIN}, properties: {{gone: {{type: timestamp, parent: x}}}}}}"), "the collection has no parent"),
        (spec(f"deleted: {{path: {BIN}, paginate: {{kind: key_set, on: number, param: p}}}}"), "'number' is no property of orders.deleted"),
        (spec(f"deleted: {{path: {BIN}, cursor: {{property: id, format: x}}}}"), "'x' is no format"),
        (spec(f"deleted: {{path: {BIN}, cursor: {{property: id, timezone: x}}}}"), "'x' is no time zone"),
    ],
)
def test_what_does_not_go_together_is_told_when_the_spec_is_read(text: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert sentence in str(caught.value)
