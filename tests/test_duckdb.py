"""A DuckDB file keeps the contract of a warehouse: a batch whole or not at all, each number once, the newest version of each row.

What every warehouse has to pass stands first; what only a file can do wrong stands at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rest_syncer.engine.destinations import Batch, Column, InDoubt, Receipt, Seen, Table, warehouse
from rest_syncer.engine.destinations.duckdb import DuckDB
from rest_syncer.engine.errors import UsageError, WarehouseError
from rest_syncer.engine.project import quoted
from rest_syncer.engine.stage import RejectedValue
from tests.support import nobody

HUB, OTHER_HUB = "0a0a0a0a", "0b0b0b0b"
OLD_PYTHON = os.environ.get("SYNCER_DUCKDB_15")
"""A Python that has DuckDB 1.5, to see that it reads what a later one writes."""

ORDERS = Table(
    schema="shop",
    name="orders",
    comment="What was ordered.",
    columns=[Column("id", "BIGINT", "Number of the order"), Column("sum", "VARCHAR", None), Column("at", "TIMESTAMPTZ", "Last change")],
    key=["id"],
    cursor="at",
)


@dataclass(frozen=True)
class V:
    """One version of a record: its values, and where it lies."""

    values: Mapping[str, Any]
    run: int = 1
    line: int = 1
    ordinal: int = 1
    number: int = 0
    epoch: int = 0
    counted: bool = True

    @property
    def segment(self) -> str:
        return f"{self.run:06}-{self.ordinal:02}-{self.number:06}"


def v(id_: int, sum_: str | None = "1.00", at: int | None = 10, **place: Any) -> V:
    """A version of an order; `at` is in seconds."""
    return V({"id": id_, "sum": sum_, "at": at}, **{"line": id_, **place})


@dataclass
class Shop:
    """A warehouse under test, and batches for it."""

    folder: Path
    target: DuckDB
    loads: dict[tuple[str, str], int] = field(default_factory=dict)
    made: int = 0

    @property
    def file(self) -> str:
        return self.target.path

    def batch(self, *versions: V, table: Table = ORDERS, hub: str = HUB, **more: Any) -> Batch:
        self.made += 1
        number = self.loads.get((hub, table.name), 0) + 1
        given = {"load": number, "starts": (), "complete": False, "gone_since": None, "marks_gone": False, "rejects": ()} | more
        given = {"rejected": 0, "rejected_values": 0, "reject_lines": {}, "clear_rejects": False, "synced_at": number * 1_000_000} | given
        counted = sum(1 for one in versions if one.counted) + given["rejected"]
        files = [written(self.folder / f"rows-{self.made}.parquet", table, hub, versions)] if versions else []
        return Batch(table=table, hub=hub, files=files, prints={"id": "p"}, read=counted, **given)

    def load(self, *versions: V, table: Table = ORDERS, hub: str = HUB, **more: Any) -> Receipt:
        batch = self.batch(*versions, table=table, hub=hub, **more)
        receipt = self.target.commit(batch)
        assert receipt.balances, receipt
        self.loads[hub, table.name] = batch.load
        return receipt

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """What another client finds in the file."""
        self.target.close()
        with duckdb.connect(":memory:") as con:
            con.execute(f"ATTACH '{self.file}' AS seen (READ_ONLY)")
            con.execute("USE seen")
            return con.execute(sql).fetchall()

    def orders(self) -> list[tuple[Any, ...]]:
        """id, sum, at, when the row was written, when it went (in seconds)."""
        seconds = ", ".join(f"epoch({column})::BIGINT" for column in ('"at"', "_synced_at", "_deleted_at"))
        return self.ask(f"SELECT id, sum, {seconds} FROM shop.orders ORDER BY id")


def written(file: Path, table: Table, hub: str, versions: Sequence[V]) -> str:
    """Rows as `stage` writes them."""
    ours = {
        "_segment": "VARCHAR", "_syncer_epoch": "INTEGER", "_syncer_run": "INTEGER", "_syncer_ordinal": "INTEGER",
        "_syncer_number": "INTEGER", "_syncer_line": "BIGINT", "_syncer_counted": "BOOLEAN",
    }  # fmt: skip
    kinds = {column.name: column.type for column in table.columns} | ours
    with duckdb.connect(":memory:") as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"CREATE TABLE rows ({', '.join(f'{quoted(name)} {kind}' for name, kind in kinds.items())})")
        marks = ", ".join("to_timestamp(?)" if kind == "TIMESTAMPTZ" else "?" for kind in kinds.values())
        for one in versions:
            place = f"{hub}/{table.name}/{one.segment}#{one.line}"
            values = [one.values[column.name] for column in table.columns]
            con.execute(
                f"INSERT INTO rows VALUES ({marks})",
                [*values, place, one.epoch, one.run, one.ordinal, one.number, one.line, one.counted],
            )
        con.execute(f"COPY rows TO '{file}' (FORMAT parquet)")
    return str(file)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    target = DuckDB(str(tmp_path / "shop.duckdb"), "shop")
    target.identity(HUB)
    yield Shop(tmp_path, target)
    target.close()


# Each number once.


def test_a_batch_is_committed_with_its_receipt(shop: Shop) -> None:
    assert shop.target.seen(HUB, ORDERS) == Seen(load=0, prints={}, there=False)
    assert shop.load(v(1), v(2)) == Receipt(1, read=2, inserted=2)
    assert shop.target.seen(HUB, ORDERS) == Seen(load=1, prints={"id": "p"}, there=True, fits=True)
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


def test_hubs_and_collections_are_numbered_apart(shop: Shop) -> None:
    lines = replace(ORDERS, name="lines")
    assert [shop.load(v(1)).load, shop.load(v(1), table=lines).load, shop.load(v(2), table=lines).load] == [1, 1, 2]
    assert shop.load(v(1), hub=OTHER_HUB).load == 1
    assert list(shop.target.hubs()) == [HUB, OTHER_HUB]


def test_an_identity_is_made_once_and_stays_with_the_file(shop: Shop) -> None:
    known = shop.target.identity(HUB)
    shop.load(v(1))
    shop.target.close()
    Path(shop.file).rename(shop.folder / "moved.duckdb")
    moved = DuckDB(str(shop.folder / "moved.duckdb"), "shop")
    assert moved.identity(HUB) == moved.identity(OTHER_HUB) == known
    moved.close()


def test_what_fails_in_its_midst_leaves_nothing(shop: Shop) -> None:
    shop.load(v(1))
    found, columns = shop.orders(), shop.ask("DESCRIBE shop.orders")
    wider = replace(ORDERS, columns=[*ORDERS.columns, Column("note", "VARCHAR", None)])
    batch = shop.batch(V({"id": 2, "sum": "2", "at": 5, "note": "x"}), V({"id": 1, "sum": "2", "at": 50, "note": "x"}), table=wider)
    with pytest.raises(WarehouseError, match="the load was rolled back"):
        shop.target.commit(replace(batch, files=[*batch.files, str(shop.folder / "nosuch.parquet")]))
    assert (shop.orders(), shop.ask("DESCRIBE shop.orders")) == (found, columns)
    assert shop.target.seen(HUB, ORDERS).load == 1
    assert shop.target.commit(batch) == Receipt(2, read=2, inserted=1, updated=1)


# Which version wins, and what is counted.


def test_of_several_versions_in_one_batch_the_newest_is_kept(shop: Shop) -> None:
    assert shop.load(v(1, "old", 10, line=1), v(1, "new", 20, line=2), v(1, "older", 5, line=3)) == Receipt(
        1, read=3, inserted=1, duplicates=2
    )
    assert shop.orders() == [(1, "new", 20, 1, None)]


def test_the_same_values_again_write_nothing(shop: Shop) -> None:
    shop.load(v(1), v(2))
    assert shop.load(v(1, run=2), v(2, run=2)) == Receipt(2, read=2, unchanged=2)
    assert shop.orders() == [(1, "1.00", 10, 1, None), (2, "1.00", 10, 1, None)]


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


def test_a_new_column_is_added_and_filled(shop: Shop) -> None:
    shop.load(v(1))
    again = V({"id": 1, "sum": "1.00", "at": 10, "n": 7}, counted=False)
    assert shop.load(again, table=with_columns(Column("n", "BIGINT", "How many")), complete=True) == Receipt(2)
    assert shop.ask("SELECT id, n, epoch(_synced_at)::BIGINT FROM shop.orders") == [(1, 7, 2)]


def test_a_retyped_column_is_filled_anew(shop: Shop) -> None:
    shop.load(V({"id": 1, "sum": "1.00", "at": 10, "n": 7}), table=with_columns(Column("n", "BIGINT", None)))
    again = V({"id": 1, "sum": "1.00", "at": 10, "n": "7"}, counted=False)
    shop.load(again, table=with_columns(Column("n", "VARCHAR", None)), complete=True)
    assert shop.ask("SELECT n, typeof(n) FROM shop.orders") == [("7", "VARCHAR")]


def test_a_column_that_the_spec_no_longer_names_keeps_what_it_holds(shop: Shop) -> None:
    rows = [V({"id": id_, "sum": "1.00", "at": 10, "n": id_ * 7}, line=id_) for id_ in (1, 2)]
    shop.load(*rows, table=with_columns(Column("n", "BIGINT", None)))
    assert shop.load(v(1, "2.00", 20, run=2), v(3, run=2)) == Receipt(2, read=2, inserted=1, updated=1)
    assert shop.ask("SELECT id, sum, n FROM shop.orders ORDER BY id") == [(1, "2.00", 7), (2, "1.00", 14), (3, "1.00", None)]


def test_a_column_of_the_users_own_is_left_alone(shop: Shop) -> None:
    shop.load(v(1), v(2))
    shop.target.close()
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{shop.file}' AS mine")
        con.execute("ALTER TABLE mine.shop.orders ADD COLUMN verdict VARCHAR")
        con.execute("UPDATE mine.shop.orders SET verdict = 'fine ' || id")
    shop.load(v(1, "2.00", 20, run=2))
    assert shop.ask("SELECT id, sum, verdict FROM shop.orders ORDER BY id") == [(1, "2.00", "fine 1"), (2, "1.00", "fine 2")]


def test_the_type_of_a_key_cannot_change(shop: Shop) -> None:
    shop.load(v(1))
    text_key = replace(ORDERS, columns=[Column("id", "VARCHAR", None), *ORDERS.columns[1:]])
    with pytest.raises(WarehouseError, match=r"shop\.orders\.id is BIGINT, the spec says VARCHAR, but it is of the key; drop the table"):
        shop.target.commit(shop.batch(V({"id": "1", "sum": None, "at": None}, run=2), table=text_key))
    assert shop.orders() == [(1, "1.00", 10, 1, None)]


def test_a_column_cannot_change_under_rows_that_this_hub_cannot_fill(shop: Shop) -> None:
    shop.load(v(1), hub=OTHER_HUB)
    retyped = replace(ORDERS, columns=[ORDERS.columns[0], Column("sum", "BIGINT", None), ORDERS.columns[2]])
    with pytest.raises(WarehouseError, match="rows came from another hub; drop the table, or name another --schema"):
        shop.target.commit(shop.batch(V({"id": 2, "sum": 5, "at": None}), table=retyped))


def test_a_table_that_is_not_ours_is_not_touched(shop: Shop) -> None:
    shop.target.close()
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{shop.file}' AS mine")
        con.execute("CREATE TABLE mine.shop.orders AS SELECT 1 AS id")
    with pytest.raises(WarehouseError, match=r"shop\.orders is not syncer's \(it has no column _deleted_at\); name another --schema"):
        shop.target.seen(HUB, ORDERS)
    assert shop.ask("SELECT * FROM shop.orders") == [(1,)]


def test_a_ledger_that_is_not_ours_is_not_touched(shop: Shop) -> None:
    shop.target.close()
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{shop.file}' AS mine; CREATE SCHEMA mine.theirs; CREATE TABLE mine.theirs._syncer_receipts AS SELECT 1 AS id")
    theirs = DuckDB(str(shop.file), "theirs")
    for ask in (theirs.hubs, lambda: theirs.identity(HUB)):
        with pytest.raises(WarehouseError, match=r"theirs\._syncer_receipts is not syncer's \(it has no column collection\)"):
            ask()


def test_descriptions_are_comments_and_follow_the_spec(shop: Shop) -> None:
    columns = "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'orders' ORDER BY column_index"
    tables = "SELECT comment FROM duckdb_tables() WHERE table_name = 'orders'"
    shop.load(v(1))
    ours = [
        ("_synced_at", "When this row last changed here."),
        ("_deleted_at", "When the record was found to be gone from the source; null while it is there."),
        ("_segment", "Where the record's raw JSON lies: hub/collection/segment#line."),
    ]
    assert shop.ask(columns) == [("id", "Number of the order"), ("sum", None), ("at", "Last change"), *ours]
    assert shop.ask(tables) == [("What was ordered.",)]
    others = [Column("id", "BIGINT", None), Column("sum", "VARCHAR", 'It\'s the sum; "gross" — né'), ORDERS.columns[2]]
    shop.load(table=replace(ORDERS, columns=others, comment=None))
    assert shop.ask(columns) == [("id", None), ("sum", 'It\'s the sum; "gross" — né'), ("at", "Last change"), *ours]
    assert shop.ask(tables) == [(None,)]


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


@pytest.mark.parametrize("name", ODD_NAMES + OUR_WORDS)
def test_a_column_may_have_any_name(shop: Shop, name: str) -> None:
    table = replace(ORDERS, columns=[Column("id", "BIGINT", None), Column(name, "VARCHAR", None), Column("at", "TIMESTAMPTZ", None)])

    def row(id_: int, text: str, at: int, **place: Any) -> V:
        return V({"id": id_, name: text, "at": at}, **{"line": id_, **place})

    assert shop.load(row(1, "a", 1), row(1, "b", 2, line=9), row(2, "a", 1), table=table) == Receipt(1, read=3, inserted=2, duplicates=1)
    assert shop.load(row(1, "c", 3, run=2), row(2, "a", 1, run=2), row(3, "c", 1, run=2), table=table) == Receipt(
        2, read=3, inserted=1, updated=1, unchanged=1
    )
    gone = {"starts": (3,), "gone_since": 3, "marks_gone": True}
    assert shop.load(row(1, "c", 3, run=3, epoch=3), table=table, **gone) == Receipt(3, read=1, unchanged=1, deleted=2)
    found = shop.ask(f"SELECT id, {quoted(name)}, _deleted_at IS NOT NULL FROM shop.orders ORDER BY id")
    assert found == [(1, "c", False), (2, "a", True), (3, "c", True)]


@pytest.mark.parametrize("name", ODD_NAMES + OUR_WORDS)
def test_a_key_may_have_any_name(shop: Shop, name: str) -> None:
    table = Table("shop", "keyed", None, [Column(name, "BIGINT", None), Column("x", "VARCHAR", None)], [name], None)

    def row(key: int, x: str, **place: Any) -> V:
        return V({name: key, "x": x}, **{"line": key, **place})

    assert shop.load(row(5, "a"), row(5, "b", line=9), row(7, "a"), table=table) == Receipt(1, read=3, inserted=2, duplicates=1)
    assert shop.load(row(5, "c", run=2), row(7, "a", run=2), table=table) == Receipt(2, read=2, updated=1, unchanged=1)
    gone = {"starts": (3,), "gone_since": 3, "marks_gone": True}
    assert shop.load(row(5, "c", run=3, epoch=3), table=table, **gone) == Receipt(3, read=1, unchanged=1, deleted=1)
    assert shop.ask(f"SELECT {quoted(name)}, x, _deleted_at IS NOT NULL FROM shop.keyed ORDER BY 1") == [(5, "c", False), (7, "a", True)]


@pytest.mark.parametrize("name", ODD_NAMES + OUR_WORDS)
def test_a_cursor_may_have_any_name(shop: Shop, name: str) -> None:
    table = Table("shop", "timed", None, [Column("id", "BIGINT", None), Column(name, "BIGINT", None)], ["id"], name)
    assert shop.load(V({"id": 1, name: 5}), V({"id": 1, name: 4}, line=2), table=table) == Receipt(1, read=2, inserted=1, duplicates=1)
    assert shop.load(V({"id": 1, name: 3}, run=2), table=table) == Receipt(2, read=1, stale=1)
    assert shop.load(V({"id": 1, name: 6}, run=3), table=table) == Receipt(3, read=1, updated=1)
    assert shop.ask(f"SELECT {quoted(name)} FROM shop.timed") == [(6,)]


@pytest.mark.parametrize("name", ["Odd name", 'quo"te', "warehouse", "main", "temp", "größe", "select", "it's"])
def test_a_schema_may_have_any_name(tmp_path: Path, name: str) -> None:
    target = DuckDB(str(tmp_path / "x.duckdb"), name)
    shop, table = Shop(tmp_path, target), replace(ORDERS, schema=name)
    target.identity(HUB)
    assert shop.load(v(1), table=table) == Receipt(1, read=1, inserted=1)
    assert shop.load(v(1, "b", run=2), table=table) == Receipt(2, read=1, updated=1)
    assert shop.ask(f"SELECT sum FROM seen.{quoted(name)}.orders") == [("b",)]


def test_a_file_may_be_called_like_its_schema(tmp_path: Path) -> None:
    shop = Shop(tmp_path, DuckDB(str(tmp_path / "shop.duckdb"), "shop"))
    shop.target.identity(HUB)
    shop.load(v(1))
    shop.target.close()
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        assert con.execute("SELECT id FROM shop.shop.orders").fetchall() == [(1,)]


def test_names_that_differ_in_case_alone_are_one(tmp_path: Path) -> None:
    """As DuckDB has it: a schema, a table or a column that was respelled is the one that is there."""
    shop = Shop(tmp_path, DuckDB(str(tmp_path / "x.duckdb"), "shop"))
    shop.target.identity(HUB)
    shop.load(v(1))
    shop.target.close()
    shop.target = DuckDB(str(tmp_path / "x.duckdb"), "SHOP")
    assert shop.target.seen(HUB, replace(ORDERS, schema="SHOP")).load == 1
    respelled = [Column("id", "BIGINT", None), Column("Sum", "VARCHAR", None), ORDERS.columns[2]]
    table = replace(ORDERS, schema="SHOP", columns=respelled)
    assert shop.load(V({"id": 1, "Sum": "b", "at": 10}, run=2), table=table) == Receipt(2, read=1, updated=1)
    assert shop.orders() == [(1, "b", 10, 2, None)]


# Rejects and the ledger.


def reject(
    line: int, property_: str = "sum", whole: bool = False, run: int = 1, raw: str = '"x"', reason: str = "is no number"
) -> RejectedValue:
    return RejectedValue(f"orders/{run:06}-01-000000", line, property_, "decimal(9,2)", raw, reason, whole)


REJECTS = "SELECT property, raw, whole_record, segment FROM shop._syncer_rejects ORDER BY ALL"


def test_a_rejected_value_is_kept_with_all_that_explains_it(shop: Shop) -> None:
    shop.load(v(1, None), rejects=[reject(1)], rejected_values=1, reject_lines={"sum": 12})
    found = "SELECT collection, property, type, raw, reason, whole_record, spec_line, segment, load, epoch(rejected_at)::BIGINT"
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
    shop.target.close()
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{shop.file}' AS mine; ALTER TABLE mine.shop.orders DROP COLUMN sum")
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
    words = "run, verb, epoch_ms(started_at), epoch_ms(ended_at), requests, read, error"
    assert shop.ask(f"SELECT {words} FROM shop._syncer_runs ORDER BY ALL") == [
        (3, "run", 1000, 2500, 2, 5, None),
        (None, "run", 1000, 2500, None, None, "it's"),
    ]


# What a file can do wrong.

NO_DATABASE = "cannot be opened (it is no DuckDB database); name another file with --to"

HELD = """
import duckdb, sys
con = duckdb.connect(sys.argv[1])
con.execute("CREATE TABLE IF NOT EXISTS t (x INTEGER)")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_process_has_open_is_said_before_anything_is_done(tmp_path: Path) -> None:
    file = str(tmp_path / "x.duckdb")
    DuckDB(file, "shop").identity(HUB)
    with subprocess.Popen([sys.executable, "-c", HELD, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WarehouseError) as caught:
            DuckDB(file, "shop").check()
        holder.communicate()
    assert str(caught.value) == (
        f"warehouse {file}: cannot be opened (another process has it open); "
        "close that process (it is named by `lsof`), or name another file with --to"
    )
    DuckDB(file, "shop").check()


def test_a_file_that_a_newer_duckdb_made_is_used_as_it_is(tmp_path: Path) -> None:
    """What is written anew is readable by DuckDB 1.5; a file that is there keeps its form, whatever made it."""
    with duckdb.connect(str(tmp_path / "x.duckdb")) as con:
        con.execute("CREATE TABLE mine AS SELECT 1 AS x")
    shop = Shop(tmp_path, DuckDB(str(tmp_path / "x.duckdb"), "shop"))
    shop.target.check()
    shop.target.identity(HUB)
    assert shop.load(v(1)) == Receipt(1, read=1, inserted=1)
    assert shop.ask("SELECT x FROM mine") == [(1,)]


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    DuckDB(str(tmp_path / "x.duckdb"), "shop").check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda file: file.write_text("SELECT 1;\n" * 1000), NO_DATABASE, id="text"),
        pytest.param(lambda file: file.write_bytes(b"SQLite format 3\0" * 1000), NO_DATABASE, id="sqlite"),
        pytest.param(lambda file: file.write_bytes(b""), NO_DATABASE, id="empty"),
        pytest.param(lambda file: file.mkdir(), "is a folder; name a file in it", id="folder"),
    ],
)  # fmt: skip
def test_what_is_no_duckdb_file_is_said_and_left_alone(tmp_path: Path, make: Any, message: str) -> None:
    file = tmp_path / "x.duckdb"
    make(file)
    before = file.is_dir() or file.read_bytes()
    with pytest.raises(WarehouseError) as caught:
        DuckDB(str(file), "shop").check()
    assert str(caught.value) == f"warehouse {file}: {message}"
    assert (file.is_dir() or file.read_bytes()) == before


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError) as caught:
        DuckDB(str(tmp_path / "no" / "x.duckdb"), "shop").check()
    assert str(caught.value) == (
        f"warehouse {tmp_path / 'no' / 'x.duckdb'}: there is no folder {tmp_path / 'no'}; make it, or name another file with --to"
    )


@pytest.mark.parametrize("existing", [False, True], ids=["a-new-file", "a-file-that-is-there"])
def test_a_file_that_may_not_be_written_is_said(existing: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="duckdb-") as folder:
        file = Path(folder) / "x.duckdb"
        if existing:
            duckdb.connect(str(file)).close()
            file.chmod(0o444)
        Path(folder).chmod(0o555)
        with nobody(), pytest.raises(WarehouseError) as caught:
            DuckDB(str(file), "shop").check()
        Path(folder).chmod(0o755)
    assert str(caught.value) == f"warehouse {file}: cannot be opened (permission denied); correct it, or name another file with --to"


ASKED = """
import duckdb, sys
con = duckdb.connect(sys.argv[1], read_only=True)
print(duckdb.__version__, con.execute("SELECT id, sum FROM shop.shop.orders ORDER BY id").fetchall())
"""


@pytest.mark.skipif(OLD_PYTHON is None, reason="needs a Python with DuckDB 1.5, named by SYNCER_DUCKDB_15")
def test_duckdb_1_5_reads_what_is_written(shop: Shop) -> None:
    shop.load(v(1), v(2, None))
    shop.load(v(1, "2.00", 20, run=2))
    shop.target.close()
    told = subprocess.run([str(OLD_PYTHON), "-c", ASKED, shop.file], capture_output=True, text=True, check=False)
    assert told.stdout.startswith("1.5"), told.stderr
    assert told.stdout.split(" ", 1)[1] == "[(1, '2.00'), (2, None)]\n"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("shop.duckdb", "--to shop.duckdb: names no warehouse; write duckdb:PATH", id="no-kind"),
        pytest.param("duckdb:", "--to duckdb:: names no warehouse; write duckdb:PATH", id="no-path"),
        pytest.param("ducdb:x", "--to ducdb:x: there is no warehouse kind 'ducdb'; did you mean 'duckdb'?", id="a-slip"),
    ],
)
def test_a_url_that_names_no_warehouse_is_said(url: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        warehouse(url, "shop")
    assert str(caught.value) == message
