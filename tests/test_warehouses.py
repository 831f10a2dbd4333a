"""Every warehouse keeps the contract: a batch whole or not at all, each number once, the newest version of each row."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rest_syncer.engine.destinations import Column, InDoubt, Receipt, Seen, Table, Warehouse
from rest_syncer.engine.destinations.sql import SqlWarehouse
from rest_syncer.engine.destinations.upsert import Upsert
from rest_syncer.engine.errors import WarehouseError
from rest_syncer.engine.piece import RejectedValue
from rest_syncer.engine.project import quoted
from tests.shop import HUB, IMPOSSIBLE, ORDERS, OTHER_HUB, Client, Shop, V, kind_of, v


@pytest.fixture
def shop(client: Client, tmp_path: Path) -> Iterator[Shop]:
    target = client.open("shop")
    target.identity(HUB)
    yield Shop(tmp_path, target, client)
    target.close()


# Each number once.


def test_a_batch_is_committed_with_its_receipt(shop: Shop) -> None:
    assert shop.target.seen(HUB, ORDERS) == Seen(load=0, prints={}, there=False)
    assert shop.load(v(1), v(2)) == Receipt(1, read=2, inserted=2)
    assert shop.target.seen(HUB, ORDERS) == Seen(load=1, prints=dict.fromkeys(ORDERS.types, "p"), there=True, fits=True, sources=("shop",))
    assert shop.orders() == [(1, "1.00", 10, 1, None), (2, "1.00", 10, 1, None)]


def test_a_number_that_was_committed_gives_its_receipt_again_and_changes_nothing(shop: Shop) -> None:
    batch = shop.batch(v(1), v(2))
    first = shop.target.commit(batch)
    found = shop.orders()
    assert shop.target.commit(batch) == first
    assert shop.target.commit(replace(shop.batch(v(3), v(1, "9.00", 99)), load=1)) == first
    assert shop.orders() == found
    assert shop.ask("SELECT count(*) FROM shop._syncer_receipts WHERE load = 1") == [(1,)]


@pytest.mark.parametrize("number", [1, 4])
def test_a_number_that_is_not_the_next_is_refused(shop: Shop, number: int) -> None:
    shop.load(v(1))
    shop.load(v(2))
    found = shop.orders()
    with pytest.raises(WarehouseError, match=rf"load {number} of orders is not the next; another loader was here"):
        shop.target.commit(shop.batch(v(3), load=number))
    assert shop.orders() == found


@pytest.mark.shows("two loaders at once, and none loads twice")
def test_of_two_loaders_at_once_one_takes_the_number_and_none_takes_it_twice(shop: Shop, client: Client) -> None:
    shop.load(v(1))
    other, batch = client.open("shop"), shop.batch(v(2), v(1, "2.00", 20))
    gate = threading.Barrier(2)

    def commit(target: Warehouse) -> Receipt:
        gate.wait()
        return target.commit(batch)

    with closing(other), ThreadPoolExecutor(2) as pool:
        both = [pool.submit(commit, target) for target in (shop.target, other)]
        done = [one.result() if one.exception() is None else one.exception() for one in both]
    receipts = [one for one in done if isinstance(one, Receipt)]
    assert receipts and {(one.inserted, one.updated) for one in receipts} == {(1, 1)}
    assert all(isinstance(one, Receipt | WarehouseError) for one in done)
    assert shop.orders() == [(1, "2.00", 20, 2, None), (2, "1.00", 10, 2, None)]
    assert shop.ask("SELECT count(*) FROM shop._syncer_receipts WHERE load = 2") == [(1,)]


def test_hubs_and_collections_are_numbered_apart(shop: Shop) -> None:
    lines = replace(ORDERS, name="lines")
    assert [shop.load(v(1)).load, shop.load(v(1), table=lines).load, shop.load(v(2), table=lines).load] == [1, 1, 2]
    assert shop.load(v(1), hub=OTHER_HUB).load == 1
    assert list(shop.target.hubs()) == [HUB, OTHER_HUB]


@pytest.mark.shows("rows and receipt together, or nothing")
def test_what_fails_in_its_midst_leaves_nothing(shop: Shop) -> None:
    shop.load(v(1))
    found, columns = shop.orders(), shop.columns()
    wider = replace(ORDERS, columns=[*ORDERS.columns, Column("note", "VARCHAR", None)])
    rows = [V({"id": id_, "sum": "2", "at": 50, "note": "x"}, line=id_, run=2) for id_ in (2, 1)]
    batch = shop.batch(*rows, table=wider)
    with pytest.raises(WarehouseError, match="the load was rolled back"):
        shop.target.commit(replace(batch, files=[*batch.files, str(shop.folder / "nosuch.parquet")]))
    assert (shop.orders(), shop.columns()) == (found, columns)
    assert shop.target.seen(HUB, ORDERS).load == 1
    assert shop.target.commit(batch) == Receipt(2, read=2, inserted=1, updated=1)


@pytest.mark.parametrize("is_new", [False, True], ids=["a column more", "a table that was dropped"])
def test_a_load_that_ends_before_its_rows_come_leaves_nothing_that_is_taken_for_filled(shop: Shop, is_new: bool) -> None:
    """Some warehouses change a table's shape apart from the load; all know that it is to be filled."""
    if not isinstance(shop.target, SqlWarehouse):
        pytest.skip("makes its tables in the commit itself")
    shop.load(v(1))
    if is_new:
        shop.change("DROP TABLE shop.orders")
    wider = replace(ORDERS, columns=[*ORDERS.columns, Column("note", "VARCHAR", None)])
    batch = shop.batch(V({"id": 1, "sum": "1.00", "at": 10, "note": "x"}, run=2), table=wider)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shop.target, "_take", ended)
        shop.target.commit(batch)
    shop.target.close()
    seen = shop.target.seen(HUB, wider)
    assert (seen.load, seen.fits and seen.prints == {"id": "p"}) == (1, False)
    assert shop.target.commit(batch).load == 2
    assert shop.target.seen(HUB, wider).fits


def ended(load: Upsert) -> Receipt:
    raise KeyboardInterrupt


# Which version wins, and what is counted.


def test_of_several_versions_in_one_batch_the_newest_is_kept(shop: Shop) -> None:
    assert shop.load(v(1, "old", 10, line=1), v(1, "new", 20, line=2), v(1, "older", 5, line=3)) == Receipt(
        1, read=3, inserted=1, duplicates=2
    )
    assert shop.orders() == [(1, "new", 20, 1, None)]


@pytest.mark.shows("the newest wins, and what is the same is not written")
def test_the_same_values_again_write_nothing(shop: Shop) -> None:
    shop.load(v(1), v(2))
    assert shop.load(v(1, run=2), v(2, run=2)) == Receipt(2, read=2, unchanged=2)
    assert shop.orders() == [(1, "1.00", 10, 1, None), (2, "1.00", 10, 1, None)]


@pytest.mark.shows("the newest wins, and what is the same is not written")
@pytest.mark.parametrize(
    ("later", "verdict", "row"),
    [
        pytest.param(v(1, "b", 11, run=2), "updated", (1, "b", 11, 2, None), id="a-higher-cursor-wins"),
        pytest.param(v(1, "b", 10, run=2), "updated", (1, "b", 10, 2, None), id="an-equal-cursor-at-a-later-place-wins"),
        pytest.param(v(1, "b", 9, run=2), "stale", (1, "a", 10, 1, None), id="a-lower-cursor-loses"),
        pytest.param(v(1, "b", None, run=2), "stale", (1, "a", 10, 1, None), id="no-cursor-is-the-lowest"),
        pytest.param(v(1, "a", 10, run=2), "unchanged", (1, "a", 10, 1, None), id="the-same-is-unchanged"),
    ],
)
def test_in_one_epoch_the_cursor_decides_then_the_place(shop: Shop, later: V, verdict: str, row: tuple[Any, ...]) -> None:
    shop.load(v(1, "a", 10))
    assert shop.load(later) == Receipt(2, read=1, **{verdict: 1})
    assert shop.orders() == [row]


def test_without_a_cursor_the_place_decides(shop: Shop) -> None:
    plain = replace(ORDERS, cursor=None)
    shop.load(v(1, "a", 10), table=plain)
    assert shop.load(v(1, "b", 5, run=2), table=plain) == Receipt(2, read=1, updated=1)
    assert shop.orders() == [(1, "b", 5, 2, None)]


def test_a_place_is_a_number_and_no_text(shop: Shop) -> None:
    shop.load(v(1, "later", 10, number=1_000_000, line=9))
    assert shop.load(v(1, "earlier", 10, number=999_999, line=10)) == Receipt(2, read=1, stale=1)
    assert shop.load(v(1, "last", 10, number=1_000_000, line=10)) == Receipt(3, read=1, updated=1)
    assert shop.orders() == [(1, "last", 10, 3, None)]


def test_a_later_epoch_outranks_higher_cursors_when_all_of_it_is_there(shop: Shop) -> None:
    shop.load(v(1, "a", 10))
    assert shop.load(v(1, "b", 5, run=2, epoch=2), starts=(2,), complete=True) == Receipt(2, read=1, updated=1)
    assert shop.orders() == [(1, "b", 5, 2, None)]


def test_a_lower_cursor_in_a_later_epoch_is_in_doubt_and_leaves_nothing(shop: Shop) -> None:
    """The row's values may have been met again since that epoch began, without a trace here."""
    shop.load(v(1, "a", 10))
    batch = shop.batch(v(1, "b", 5, run=3, epoch=2), v(2), starts=(2,))
    with pytest.raises(InDoubt):
        shop.target.commit(batch)
    assert shop.orders() == [(1, "a", 10, 1, None)]
    again = shop.batch(v(1, "b", 5, run=3, epoch=2), v(2), v(1, "a", 10, run=2, epoch=2, counted=False), starts=(2,), complete=True)
    assert shop.target.commit(again) == Receipt(2, read=2, inserted=1, stale=1)
    assert shop.orders() == [(1, "a", 10, 1, None), (2, "1.00", 10, 2, None)]


def test_an_older_epoch_loses_whatever_its_cursor(shop: Shop) -> None:
    shop.load(v(1, "a", 10, run=2, epoch=2), starts=(2,))
    assert shop.load(v(1, "b", 99, run=1, epoch=0), starts=(2,)) == Receipt(2, read=1, stale=1)


def test_what_is_read_again_is_not_counted(shop: Shop) -> None:
    shop.load(v(1, "a", 10), v(2, "a", 10))
    receipt = shop.load(v(1, "b", 5, counted=False, run=2, epoch=2), v(2, "c", 30, run=3, epoch=2), starts=(2,), complete=True)
    assert receipt == Receipt(2, read=1, updated=1)
    assert shop.orders() == [(1, "b", 5, 2, None), (2, "c", 30, 2, None)]


def test_a_counted_version_that_one_read_again_outranks_is_stale(shop: Shop) -> None:
    shop.load(v(1, "a", 10))
    versions = [v(1, "b", 20, run=2, epoch=2, counted=False), v(1, "c", 15, run=3, epoch=2), v(1, "d", 12, run=3, epoch=2, line=2)]
    assert shop.load(*versions, starts=(2,), complete=True) == Receipt(2, read=2, stale=1, duplicates=1)
    assert shop.orders() == [(1, "b", 20, 2, None)]


def test_another_hubs_rows_are_outranked_by_whatever_comes(shop: Shop) -> None:
    shop.load(v(1, "theirs", 99, run=7))
    assert shop.load(v(1, "ours", 5), hub=OTHER_HUB) == Receipt(1, read=1, updated=1)
    assert shop.target.seen(OTHER_HUB, ORDERS).strangers is False
    assert shop.target.seen(HUB, ORDERS).strangers is True


def test_an_empty_batch_moves_the_number_alone(shop: Shop) -> None:
    assert shop.load() == Receipt(1)
    assert shop.load(v(1)) == Receipt(2, read=1, inserted=1)
    assert shop.load() == Receipt(3)
    assert shop.orders() == [(1, "1.00", 10, 2, None)]


# What is gone.


def test_rows_that_no_version_since_the_pass_names_are_marked(shop: Shop) -> None:
    shop.load(v(1), v(2), v(3))
    receipt = shop.load(v(1, run=2, epoch=2), v(3, "new", run=2, epoch=2), starts=(2,), complete=True, gone_since=2, marks_gone=True)
    assert receipt == Receipt(2, read=2, unchanged=1, updated=1, deleted=1)
    assert shop.orders() == [(1, "1.00", 10, 1, None), (2, "1.00", 10, 2, 2), (3, "new", 10, 2, None)]


def test_a_pass_over_an_empty_list_marks_everything(shop: Shop) -> None:
    shop.load(v(1), v(2))
    assert shop.load(starts=(2,), gone_since=2, marks_gone=True) == Receipt(2, deleted=2)
    assert shop.orders() == [(1, "1.00", 10, 2, 2), (2, "1.00", 10, 2, 2)]


def test_what_was_gone_before_the_first_load_is_marked_in_it(shop: Shop) -> None:
    receipt = shop.load(v(1), v(2), v(1, run=2, epoch=2), starts=(2,), complete=True, gone_since=2, marks_gone=True)
    assert receipt == Receipt(1, read=3, inserted=2, duplicates=1, deleted=1)
    assert shop.orders() == [(1, "1.00", 10, 1, None), (2, "1.00", 10, 1, 1)]


def test_a_row_that_comes_back_is_updated_even_with_the_same_values(shop: Shop) -> None:
    shop.load(v(1))
    shop.load(starts=(2,), gone_since=2, marks_gone=True)
    assert shop.load(v(1, run=3, epoch=2), starts=(2,), gone_since=2) == Receipt(3, read=1, updated=1)
    assert shop.orders() == [(1, "1.00", 10, 3, None)]


def test_a_row_stays_deleted_when_older_versions_are_read_again(shop: Shop) -> None:
    """A new column is filled in it all the same; when it went does not change."""
    shop.load(v(1))
    shop.load(starts=(2,), gone_since=2, marks_gone=True)
    wider = replace(ORDERS, columns=[*ORDERS.columns, Column("note", "VARCHAR", None)])
    again = V({"id": 1, "sum": "1.00", "at": 10, "note": "filled"}, counted=False)
    assert shop.load(again, table=wider, starts=(2,), complete=True, gone_since=2, marks_gone=True) == Receipt(3)
    assert shop.orders() == [(1, "1.00", 10, 3, 2)]
    assert shop.ask("SELECT note FROM shop.orders") == [("filled",)]


# The table's shape.


def with_columns(*columns: Column) -> Table:
    return replace(ORDERS, columns=[*ORDERS.columns, *columns])


@pytest.mark.shows("columns added, retyped, renamed (`was`)")
def test_a_new_column_is_added_and_filled(shop: Shop) -> None:
    shop.load(v(1))
    again = V({"id": 1, "sum": "1.00", "at": 10, "n": 7}, counted=False)
    assert shop.load(again, table=with_columns(Column("n", "BIGINT", "How many")), complete=True) == Receipt(2)
    assert shop.ask("SELECT id, n, extract(epoch FROM _synced_at)::BIGINT FROM shop.orders") == [(1, 7, 2)]


@pytest.mark.shows("columns added, retyped, renamed (`was`)")
def test_a_retyped_column_is_filled_anew(shop: Shop) -> None:
    shop.load(V({"id": 1, "sum": "1.00", "at": 10, "n": 7}), table=with_columns(Column("n", "BIGINT", None)))
    again = V({"id": 1, "sum": "1.00", "at": 10, "n": "7"}, counted=False)
    shop.load(again, table=with_columns(Column("n", "VARCHAR", None)), complete=True)
    assert shop.ask("SELECT n FROM shop.orders") == [("7",)]


def test_a_column_that_the_spec_no_longer_names_keeps_what_it_holds(shop: Shop) -> None:
    rows = [V({"id": id_, "sum": "1.00", "at": 10, "n": id_ * 7}, line=id_) for id_ in (1, 2)]
    shop.load(*rows, table=with_columns(Column("n", "BIGINT", None)))
    assert shop.load(v(1, "2.00", 20, run=2), v(3, run=2)) == Receipt(2, read=2, inserted=1, updated=1)
    assert shop.ask("SELECT id, sum, n FROM shop.orders ORDER BY id") == [(1, "2.00", 7), (2, "1.00", 14), (3, "1.00", None)]


@pytest.mark.shows("columns of your own stay")
def test_a_column_of_the_users_own_is_left_alone(shop: Shop) -> None:
    shop.load(v(1), v(2))
    shop.change("ALTER TABLE shop.orders ADD COLUMN verdict VARCHAR")
    shop.change("UPDATE shop.orders SET verdict = 'fine ' || id")
    shop.load(v(1, "2.00", 20, run=2))
    assert shop.ask("SELECT id, sum, verdict FROM shop.orders ORDER BY id") == [(1, "2.00", "fine 1"), (2, "1.00", "fine 2")]


def test_the_type_of_a_key_cannot_change(shop: Shop) -> None:
    shop.load(v(1))
    text_key = replace(ORDERS, columns=[Column("id", "VARCHAR", None), *ORDERS.columns[1:]])
    with pytest.raises(
        WarehouseError,
        match=r"shop\.orders\.id is (BIGINT|bigint|NUMBER\(19,0\)|INT64), the spec says (VARCHAR|text|STRING), but it is of the key; drop",
    ):
        shop.target.commit(shop.batch(V({"id": "1", "sum": None, "at": None}, run=2), table=text_key))
    assert shop.orders() == [(1, "1.00", 10, 1, None)]


def test_a_column_cannot_change_under_rows_that_this_hub_cannot_fill(shop: Shop) -> None:
    shop.load(v(1), hub=OTHER_HUB)
    retyped = replace(ORDERS, columns=[ORDERS.columns[0], Column("sum", "BIGINT", None), ORDERS.columns[2]])
    with pytest.raises(WarehouseError, match="rows came from another hub; drop the table, or name another --schema"):
        shop.target.commit(shop.batch(V({"id": 2, "sum": 5, "at": None}), table=retyped))


def test_a_table_that_is_not_ours_is_not_touched(shop: Shop) -> None:
    shop.change("CREATE TABLE shop.orders AS SELECT 1 AS id")
    with pytest.raises(WarehouseError, match=r"shop\.orders is not syncer's \(it has no column _deleted_at\); name another --schema"):
        shop.target.seen(HUB, ORDERS)
    assert shop.ask("SELECT * FROM shop.orders") == [(1,)]


def test_a_ledger_that_is_not_ours_is_not_touched(shop: Shop) -> None:
    shop.change("CREATE SCHEMA theirs; CREATE TABLE theirs._syncer_receipts AS SELECT 1 AS id")
    theirs = shop.client.open("theirs")
    with closing(theirs):
        for ask in (theirs.hubs, lambda: theirs.identity(HUB)):
            with pytest.raises(WarehouseError, match=r"theirs\._syncer_receipts is not syncer's \(it has no column collection\)"):
                ask()


@pytest.mark.shows("descriptions as comments")
def test_descriptions_are_comments_and_follow_the_spec(shop: Shop) -> None:
    if kind_of(shop.client) == "snowflake":
        pytest.skip("fakesnow forgets what columns are; test_snowflake looks at the statements")
    shop.load(v(1))
    ours = [
        ("_synced_at", "When this row last changed here."),
        ("_deleted_at", "When the record was found to be gone from the source; null while it is there."),
        ("_segment", "Where the record's raw JSON lies: hub/collection/segment#line."),
    ]
    assert shop.comments() == ("What was ordered.", [("id", "Number of the order"), ("sum", None), ("at", "Last change"), *ours])
    others = [Column("id", "BIGINT", None), Column("sum", "VARCHAR", 'It\'s the sum; "gross" — né'), ORDERS.columns[2]]
    shop.load(table=replace(ORDERS, columns=others, comment=None))
    assert shop.comments() == (None, [("id", None), ("sum", 'It\'s the sum; "gross" — né'), ("at", "Last change"), *ours])


@pytest.mark.parametrize(
    ("kinds", "keys"),
    [
        pytest.param(["BIGINT"], [[1], [2**63 - 1], [-5], [0]], id="integers"),
        pytest.param(["VARCHAR"], [["a"], ["A"], [""], ["é"], ["e\u0301"], ["it's"], ["01"], ["1"]], id="texts"),
        pytest.param(["VARCHAR", "BIGINT"], [["a", 1], ["a", 2], ["b", 1]], id="several"),
        pytest.param(["DATE", "BOOLEAN"], [["2016-11-22", True], ["2016-11-22", False]], id="day-and-boolean"),
        pytest.param(["DECIMAL(9,2)"], [["1.10"], ["1.11"]], id="decimals"),
    ],
)
def test_keys_of_any_type_tell_rows_apart(shop: Shop, kinds: list[str], keys: list[list[Any]]) -> None:
    names = [f"k{place}" for place in range(len(kinds))]
    columns = [Column(name, kind, None) for name, kind in zip(names, kinds, strict=True)]
    table = Table("shop", "keyed", None, [*columns, Column("x", "VARCHAR", None)], names, None)

    def rows(x: str, run: int) -> list[V]:
        return [V({**dict(zip(names, key, strict=True)), "x": x}, run=run, line=line) for line, key in enumerate(keys, 1)]

    assert shop.load(*rows("a", 1), table=table) == Receipt(1, read=len(keys), inserted=len(keys))
    assert shop.load(*rows("a", 2), table=table) == Receipt(2, read=len(keys), unchanged=len(keys))
    assert shop.load(*rows("b", 3), *rows("c", 4), table=table) == Receipt(3, read=2 * len(keys), updated=len(keys), duplicates=len(keys))
    gone = shop.load(rows("c", 5)[0], table=table, starts=(5,), gone_since=5, marks_gone=True)
    assert gone == Receipt(4, read=1, unchanged=1, deleted=len(keys) - 1)
    assert shop.ask("SELECT x, count(*) FROM shop.keyed GROUP BY x") == [("c", len(keys))]


ODD_NAMES = ["select", "with space", 'quo"te', "it's", "größe", "数", "a.b", "semi;colon", "--", "{x}", "%s", "$1", "?"]
OUR_WORDS = [
    "place", "verdict", "gone_at", "beaten_by_counted", "hub", "load", "segment", "losers", "verdicts", "counted", "number",
    "t", "b", "a", "l", "v", "r", "n", "k",
]  # fmt: skip
"""What a query may be tempted to call something of its own."""


NAMES = [[*ODD_NAMES, *OUR_WORDS][first::4] for first in range(4)]
"""All at once would be more than a key may have in some warehouse."""


def possible(client: Client, names: list[str]) -> list[str]:
    """Those names that a warehouse can have: its `check` refuses the others."""
    return [name for name in names if name not in IMPOSSIBLE.get(kind_of(client), ())]


@pytest.mark.many
@pytest.mark.parametrize("names", NAMES)
def test_columns_may_have_any_names(shop: Shop, names: list[str]) -> None:
    names = possible(shop.client, names)
    table = replace(
        ORDERS,
        columns=[Column("id", "BIGINT", None), *(Column(name, "VARCHAR", None) for name in names), Column("at", "TIMESTAMPTZ", None)],
    )

    def row(id_: int, text: str, at: int, **place: Any) -> V:
        return V({"id": id_, **dict.fromkeys(names, text), "at": at}, **{"line": id_, **place})

    assert shop.load(row(1, "a", 1), row(1, "b", 2, line=9), row(2, "a", 1), table=table) == Receipt(1, read=3, inserted=2, duplicates=1)
    assert shop.load(row(1, "c", 3, run=2), row(2, "a", 1, run=2), row(3, "c", 1, run=2), table=table) == Receipt(
        2, read=3, inserted=1, updated=1, unchanged=1
    )
    gone = {"starts": (3,), "gone_since": 3, "marks_gone": True}
    assert shop.load(row(1, "c", 3, run=3, epoch=3), table=table, **gone) == Receipt(3, read=1, unchanged=1, deleted=2)
    found = shop.ask(f"SELECT id, {', '.join(map(quoted, names))}, _deleted_at IS NOT NULL FROM shop.orders ORDER BY id")
    assert found == [(1, *("c" for _ in names), False), (2, *("a" for _ in names), True), (3, *("c" for _ in names), True)]


@pytest.mark.many
@pytest.mark.parametrize("names", NAMES)
def test_keys_may_have_any_names(shop: Shop, names: list[str]) -> None:
    names = possible(shop.client, names)
    table = Table("shop", "keyed", None, [*(Column(name, "BIGINT", None) for name in names), Column("x", "VARCHAR", None)], names, None)

    def row(key: int, x: str, **place: Any) -> V:
        return V({**dict.fromkeys(names, 3), names[0]: key, "x": x}, **{"line": key, **place})

    assert shop.load(row(5, "a"), row(5, "b", line=9), row(7, "a"), table=table) == Receipt(1, read=3, inserted=2, duplicates=1)
    assert shop.load(row(5, "c", run=2), row(7, "a", run=2), table=table) == Receipt(2, read=2, updated=1, unchanged=1)
    gone = {"starts": (3,), "gone_since": 3, "marks_gone": True}
    assert shop.load(row(5, "c", run=3, epoch=3), table=table, **gone) == Receipt(3, read=1, unchanged=1, deleted=1)
    found = shop.ask(f"SELECT {', '.join(map(quoted, names))}, x, _deleted_at IS NOT NULL FROM shop.keyed ORDER BY 1")
    assert found == [(5, *(3 for _ in names[1:]), "c", False), (7, *(3 for _ in names[1:]), "a", True)]


@pytest.mark.many
@pytest.mark.parametrize("name", [*ODD_NAMES, "t", "b", "place", "losers"])
def test_a_cursor_may_have_any_name(shop: Shop, name: str) -> None:
    table = Table("shop", "timed", None, [Column("id", "BIGINT", None), Column(name, "BIGINT", None)], ["id"], name)
    assert shop.load(V({"id": 1, name: 5}), V({"id": 1, name: 4}, line=2), table=table) == Receipt(1, read=2, inserted=1, duplicates=1)
    assert shop.load(V({"id": 1, name: 3}, run=2), table=table) == Receipt(2, read=1, stale=1)
    assert shop.load(V({"id": 1, name: 6}, run=3), table=table) == Receipt(3, read=1, updated=1)
    assert shop.ask(f"SELECT {quoted(name)} FROM shop.timed") == [(6,)]


@pytest.mark.shows("odd names of columns and keys")
def test_columns_and_keys_may_have_any_names_at_once(shop: Shop) -> None:
    names = possible(shop.client, [*ODD_NAMES, *OUR_WORDS])
    columns = [Column(name, "BIGINT", None) for name in names] + [Column("x", "VARCHAR", None)]
    table = Table("shop", "named", None, columns, names[::2], names[1])

    def row(key: int, x: str, **place: Any) -> V:
        return V(dict.fromkeys(names, key) | {"x": x}, **{"line": key, **place})

    assert shop.load(row(5, "a"), row(5, "b", line=9), row(7, "a"), table=table) == Receipt(1, read=3, inserted=2, duplicates=1)
    assert shop.load(row(5, "c", run=2), row(7, "a", run=2), table=table) == Receipt(2, read=2, updated=1, unchanged=1)
    gone = {"starts": (3,), "gone_since": 3, "marks_gone": True}
    assert shop.load(row(5, "c", run=3, epoch=3), table=table, **gone) == Receipt(3, read=1, unchanged=1, deleted=1)
    found = shop.ask(f"SELECT {', '.join(map(quoted, names))}, x, _deleted_at IS NOT NULL FROM shop.named ORDER BY x DESC")
    assert found == [(*[5] * len(names), "c", False), (*[7] * len(names), "a", True)]


# Rejects and the ledger.


def reject(
    line: int, property_: str = "sum", whole: bool = False, run: int = 1, raw: str = '"x"', reason: str = "is no number"
) -> RejectedValue:
    return RejectedValue(f"orders/{run:06}-01-000000", line, property_, "decimal(9,2)", raw, reason, whole)


REJECTS = "SELECT property, raw, whole_record, segment FROM shop._syncer_rejects ORDER BY property, raw, whole_record, segment"


@pytest.mark.shows("rejects with their raw JSON")
def test_a_rejected_value_is_kept_with_all_that_explains_it(shop: Shop) -> None:
    shop.load(v(1, None), rejects=[reject(1)], rejected_values=1, reject_lines={"sum": 12})
    found = (
        "SELECT collection, property, type, raw, reason, whole_record, spec_line, segment, load, extract(epoch FROM rejected_at)::BIGINT"
    )
    assert shop.ask(f"{found} FROM shop._syncer_rejects") == [
        ("orders", "sum", "decimal(9,2)", '"x"', "is no number", False, 12, f"{HUB}/orders/000001-01-000000#1", 1, 1)
    ]
    assert shop.ask("SELECT _segment FROM shop.orders") == [(f"{HUB}/orders/000001-01-000000#1",)]


def test_a_rejected_value_goes_with_the_version_that_it_explains(shop: Shop) -> None:
    shop.load(v(1, None), v(2, None), rejects=[reject(1), reject(2)], rejected_values=2)
    shop.load(v(1, "5", 20, run=2))
    assert shop.ask(REJECTS) == [("sum", '"x"', False, f"{HUB}/orders/000001-01-000000#2")]


def test_a_rejected_value_of_a_version_that_loses_is_not_kept(shop: Shop) -> None:
    shop.load(v(1, "5", 20), v(1, None, 10, line=2), rejects=[reject(2)], rejected_values=1)
    assert shop.ask(REJECTS) == []


def test_a_rejected_value_that_is_read_again_is_there_once(shop: Shop) -> None:
    shop.load(v(1, None), rejects=[reject(1)], rejected_values=1)
    shop.load(v(1, None, counted=False), v(2), rejects=[reject(1)], complete=True)
    assert shop.ask(REJECTS) == [("sum", '"x"', False, f"{HUB}/orders/000001-01-000000#1")]


def test_a_whole_record_is_kept_once_however_often_it_came(shop: Shop) -> None:
    shop.load(v(1), rejects=[reject(2, "id", True, raw='"?"')], rejected=1)
    shop.load(rejects=[reject(2, "id", True, raw='"?"')], complete=True)
    shop.load(v(1, run=3), rejects=[reject(5, "id", True, run=3, raw='"?"')], rejected=1)
    assert shop.ask(REJECTS) == [("id", '"?"', True, f"{HUB}/orders/000003-01-000000#5")]


def test_each_record_without_a_key_is_told_until_a_pass_has_read_them_again(shop: Shop) -> None:
    shop.load(v(1), rejects=[reject(line, "id", True, raw="null") for line in (2, 9, 10)], rejected=3)
    assert [place for *_, place in shop.ask(REJECTS)] == [f"{HUB}/orders/000001-01-000000#{line}" for line in (10, 2, 9)]
    shop.load(v(1, run=3), rejects=[reject(5, "id", True, run=3, raw="null")], rejected=1, starts=(1, 3), complete=True)
    assert shop.ask(REJECTS) == [("id", "null", True, f"{HUB}/orders/000003-01-000000#5")]


def test_the_reject_of_a_row_is_of_the_version_that_was_sent_last(shop: Shop) -> None:
    """Both values are NULL in the table; but not the same one came."""
    shop.load(v(1, None), v(2), rejects=[reject(1, raw='"abc"')], rejected_values=1)
    again = shop.load(v(1, None, run=2), v(2, run=2), rejects=[reject(1, run=2, raw='"abc"')], rejected_values=1)
    assert (again.unchanged, shop.ask(REJECTS)) == (2, [("sum", '"abc"', False, f"{HUB}/orders/000001-01-000000#1")])
    other = shop.load(v(1, None, run=3), v(2, run=3), rejects=[reject(1, run=3, raw='"xyz"')], rejected_values=1)
    assert (other.updated, shop.ask(REJECTS)) == (1, [("sum", '"xyz"', False, f"{HUB}/orders/000003-01-000000#1")])
    mended = shop.load(v(1, None, run=4), v(2, run=4))
    assert (mended.updated, mended.unchanged, shop.ask(REJECTS)) == (1, 1, [])


def test_a_table_without_some_declared_column_does_not_fit(shop: Shop) -> None:
    shop.load(v(1))
    assert shop.target.seen(HUB, ORDERS).fits
    shop.change("ALTER TABLE shop.orders DROP COLUMN sum")
    assert not shop.target.seen(HUB, ORDERS).fits


def test_what_was_all_read_again_leaves_no_older_reject(shop: Shop) -> None:
    shop.load(v(1, None), rejects=[reject(1), reject(7, "id", True)], rejected_values=1, rejected=1)
    shop.load(v(1, "x", counted=False), complete=True, clear_rejects=True)
    assert shop.ask(REJECTS) == []


def test_rejects_of_two_collections_are_kept_apart(shop: Shop) -> None:
    lines = replace(ORDERS, name="lines")
    shop.load(v(1, None), rejects=[reject(1)], rejected_values=1)
    shop.load(v(1), table=lines, clear_rejects=True)
    assert shop.ask("SELECT collection FROM shop._syncer_rejects") == [("orders",)]


def test_the_ledger_takes_what_a_run_says(shop: Shop) -> None:
    row = {"run": 3, "verb": "run", "collection": "orders", "status": "complete", "started_at": 1_000_000, "ended_at": 2_500_000}
    shop.target.record([row | {"requests": 2, "read": 5, "error": None, "unknown": 1}, row | {"run": None, "error": "it's"}])
    words = (
        "run, verb, (extract(epoch FROM started_at) * 1000)::BIGINT, (extract(epoch FROM ended_at) * 1000)::BIGINT, requests, read, error"
    )
    assert shop.ask(f"SELECT {words} FROM shop._syncer_runs ORDER BY run NULLS LAST") == [
        (3, "run", 1000, 2500, 2, 5, None),
        (None, "run", 1000, 2500, None, None, "it's"),
    ]
