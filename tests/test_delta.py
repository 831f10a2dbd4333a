"""A lake of Delta tables: loads that end in their midst or meet another one, buckets, and how much of a table is written anew."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from os import utime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from msgspec.structs import replace

from rest_syncer.engine.destinations import Column, Receipt, Table, delta, warehouse
from rest_syncer.engine.destinations.delta import DeltaLake, Mirror
from rest_syncer.engine.errors import UsageError, WarehouseError
from rest_syncer.engine.piece import RejectedValue
from tests.buckets import ENVIRONMENT, made, serving_apart
from tests.farm import Farm, row
from tests.shop import HUB, ORDERS, Lake, Shop, V, v

HARD = replace(ORDERS, deletes="hard")
WIDER = replace(ORDERS, columns=[*ORDERS.columns, Column("note", "VARCHAR", "What was said")])


def shop(folder: Path, name: str = "lake") -> Shop:
    client = Lake(folder / name)
    target = client.open("shop")
    target.identity(HUB)
    return Shop(folder, target, client)


def reject(line: int, run: int, raw: str) -> RejectedValue:
    return RejectedValue(f"orders/{run:06}-01-000000", line, "sum", "decimal(9,2)", raw, "is no number", False)


class Killed(BaseException):
    """As if the process were gone."""


@contextmanager
def deadly(at: int) -> Iterator[list[str]]:
    """Death comes before the commit of that number, or after it: each is two steps."""
    steps: list[str] = []
    write = delta.write_deltalake

    def step(name: str) -> None:
        steps.append(name)
        if len(steps) > at:
            raise Killed(name)

    def mortal(there: Any, *arguments: Any, **more: Any) -> None:
        name = there.table_uri if isinstance(there, DeltaTable) else str(there)
        step(f"before the commit of {name.rstrip('/').rpartition('/')[2]}")
        write(there, *arguments, **more)
        step(f"after the commit of {name.rstrip('/').rpartition('/')[2]}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta, "write_deltalake", mortal)
        yield steps


def wide(id_: int, note: str, run: int) -> V:
    return V({"id": id_, "sum": "1.00", "at": 10, "note": note}, line=id_, run=run, counted=False)


STORY: list[tuple[tuple[V, ...], dict[str, Any]]] = [
    ((v(1), v(2, None), v(3)), {"table": HARD, "rejects": [reject(2, 1, '"two"')], "rejected_values": 1}),
    ((v(1, "2.00", 20, run=2), v(2, None, run=2), v(4, run=2)), {"table": HARD, "rejects": [reject(2, 2, '"zwei"')], "rejected_values": 1}),
    ((v(1, "2.00", 20, run=3), v(2, "5", 30, run=3)), {"table": HARD, "starts": (3,), "gone_since": 3, "marks_gone": True}),
    ((wide(1, "a", 4), wide(2, "b", 4)), {"table": WIDER, "complete": True, "clear_rejects": True}),
]
"""Rows that come, change and go, values that do not fit and are healed, and a new column."""


def shown(one: Shop) -> tuple[object, ...]:
    return (
        one.ask("SELECT * FROM shop.orders ORDER BY id"),
        one.comments(),
        one.ask("SELECT raw, segment, load FROM shop._syncer_rejects ORDER BY ALL"),
        one.ask("SELECT load, read, inserted, updated, unchanged, deleted FROM shop._syncer_receipts ORDER BY load"),
    )


@pytest.mark.parametrize("number", range(len(STORY)))
def test_dead_before_or_after_any_commit_and_loaded_again_a_lake_is_the_same(tmp_path: Path, number: int) -> None:
    *earlier, (versions, more) = STORY[: number + 1]
    before = shop(tmp_path, "before")
    for others, words in earlier:
        before.load(*others, **words)
    batch = before.batch(*versions, **more)

    def told(name: str, at: int) -> tuple[tuple[object, ...], list[str]]:
        shutil.copytree(tmp_path / "before", tmp_path / name)
        client = Lake(tmp_path / name)
        one = Shop(tmp_path, client.open("shop"), client, {(HUB, "orders"): batch.load}, made=len(STORY))
        try:
            with deadly(at) as steps:
                one.target.commit(batch)
        except Killed:
            seen = one.target.seen(HUB, batch.table)
            assert seen.load in (number, number + 1)
            if seen.load == number:
                assert one.target.commit(batch).balances
        one.load(V({"id": 9, "sum": "1.00", "at": 10, "note": "last"}, run=7), table=WIDER if number == 3 else HARD)
        return shown(one), steps

    expected, steps = told("alive", 10**9)
    assert len(steps) >= 4
    for at in range(len(steps)):
        found, _ = told(f"dead-{at}", at)
        assert found == expected, (at, steps[at])


@pytest.mark.parametrize("when", ["take", "commit"])
def test_of_two_loaders_without_a_lock_the_later_one_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """As in a bucket: the other one's load comes while the lake is mirrored, or between that and the commit."""
    one = shop(tmp_path)
    one.load(v(1))
    mine, theirs = one.batch(v(2), v(1, "2.00", 20)), one.batch(v(2), v(1, "2.00", 20))
    monkeypatch.setattr(DeltaLake, "_alone", lambda self: nullcontext())
    other, ask = one.client.open("shop"), getattr(Mirror, when)
    waiting = [theirs]

    def interrupted(self: Mirror, what: Any, *more: Any, **words: Any) -> Any:
        if waiting and (when == "commit" or what == "orders"):
            assert other.commit(waiting.pop()) == Receipt(2, read=2, inserted=1, updated=1)
        return ask(self, what, *more, **words)

    monkeypatch.setattr(Mirror, when, interrupted)
    with pytest.raises(WarehouseError, match=r"the load was rolled back \(another loader was here\); run again"):
        one.target.commit(mine)
    assert one.orders() == [(1, "2.00", 20, 2, None), (2, "1.00", 10, 2, None)]
    assert one.target.commit(mine) == Receipt(2, read=2, inserted=1, updated=1)


@pytest.mark.parametrize("most", [0, 1_000])
def test_few_rows_are_replaced_and_many_written_anew_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(delta, "MOST_NAMED", most)
    one = shop(tmp_path)
    one.load(*(v(id_) for id_ in range(1, 9)))
    assert one.load(v(3, "9", 20, run=2), v(20, run=2)) == Receipt(2, read=2, inserted=1, updated=1)
    expected = [(id_, "1.00", 10, 1, None) for id_ in range(1, 9)] + [(20, "1.00", 10, 2, None)]
    expected[2] = (3, "9", 20, 2, None)
    assert one.orders() == expected


def test_a_load_of_new_rows_leaves_the_files_that_are_there(tmp_path: Path) -> None:
    one = shop(tmp_path)
    one.load(v(1))
    before = set(DeltaTable(tmp_path / "lake" / "shop" / "orders").file_uris())
    one.load(v(2, run=2))
    assert before < set(DeltaTable(tmp_path / "lake" / "shop" / "orders").file_uris())


@pytest.mark.parametrize("what", ["memory", "taking", "giving"])
def test_long_texts_that_do_not_go_with_little_memory_go_with_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    lake = shop(tmp_path)
    lake.load(*(v(number, f"{number}" + "x" * 100_000) for number in range(300)))
    monkeypatch.setattr(Mirror, what, "24MB")
    receipt = lake.load(*(v(number, f"{number % 299}" + "x" * 100_000, 20) for number in range(300)))
    assert (receipt.updated, receipt.inserted, lake.target._tries.need_more) == (300, 0, {"orders"})
    ((rows, size),) = lake.ask("SELECT count(*), sum(length(sum)) FROM shop.orders")
    assert (rows, size) == (300, 300 * 100_000 + sum(len(f"{number % 299}") for number in range(300)))
    assert lake.ask("SELECT load FROM shop._syncer_receipts ORDER BY load") == [(0,), (1,), (2,)]


def test_many_small_files_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "MOST_FILES", 3)
    one = shop(tmp_path)
    for run in range(1, 9):
        one.load(v(run, run=run))
    files = {name: len(DeltaTable(tmp_path / "lake" / "shop" / name).file_uris()) for name in ("orders", "_syncer_receipts")}
    assert max(files.values()) <= 4, files
    assert [row[0] for row in one.orders()] == list(range(1, 9))


def test_a_property_may_be_called_as_the_places_of_rows_are(tmp_path: Path) -> None:
    one = shop(tmp_path)
    table = Table("shop", "orders", None, [Column("ROWID", "BIGINT", None), Column("x", "VARCHAR", None)], ["ROWID"], None)
    rows = [V({"ROWID": id_, "x": "a"}, line=line) for line, id_ in enumerate((-5, 0, 10**12), 1)]
    assert one.load(*rows, table=table).inserted == 3
    assert one.load(V({"ROWID": 0, "x": "b"}, run=2), table=table).updated == 1
    assert one.ask('SELECT "ROWID", x FROM shop.orders ORDER BY 1') == [(-5, "a"), (0, "b"), (10**12, "a")]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving_apart() as url:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        yield made(url, "lakes")


def test_a_lake_may_lie_in_a_bucket(tmp_path: Path, bucket: str) -> None:
    lake = warehouse(f"delta:{bucket}/lake", "shop")
    lake.check()
    lake.identity(HUB)
    one = Shop(tmp_path, lake, Lake(tmp_path / "nowhere"))
    assert one.load(v(1), v(2)) == Receipt(1, read=2, inserted=2)
    again = one.batch(v(1, "2.00", 20, run=2), v(3, run=2))
    assert one.target.commit(again) == one.target.commit(again) == Receipt(2, read=2, inserted=1, updated=1)
    assert (lake.seen(HUB, ORDERS).load, list(lake.hubs()), lake.books(HUB, "orders")[2].updated) == (2, [HUB], 1)


def test_a_missing_package_is_said_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "rest_syncer.engine.destinations.delta")
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(
        UsageError, match=r"--to delta: the package deltalake is not installed; get it with `pip install 'rest-syncer\[delta\]'`"
    ):
        warehouse("delta:lake", "shop")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param("file", "is a file; name a folder", id="a-file"),
        pytest.param("no/such/lake", "there is no folder", id="no-folder"),
    ],
)
def test_a_place_where_no_lake_can_be_is_said(tmp_path: Path, place: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WarehouseError, match=message):
        warehouse(f"delta:{tmp_path / place}", "shop").check()


@pytest.mark.parametrize("by", ["version", "time"])
def test_what_a_restore_took_back_is_loaded_again(tmp_path: Path, by: str) -> None:
    farm = Farm(tmp_path, Lake(tmp_path / "lake"))
    farm.run([row(1), row(2)])
    kept = DeltaTable(str(tmp_path / "lake/shop/orders")).version()
    farm.run([row(1, "2.00"), row(2), row(3)])
    farm.run([row(1, "2.00"), row(3, "3.00")])
    shown = farm.table()
    for version, commit in enumerate(sorted((tmp_path / "lake/shop/orders/_delta_log").glob("*.json"))):
        utime(commit, times=(1_700_000_000 + version,) * 2)  # the time of a version is its file's
    time = datetime.fromtimestamp(1_700_000_000 + kept, UTC)
    DeltaTable(str(tmp_path / "lake/shop/orders")).restore(kept if by == "version" else time)
    assert farm.table() == [(1, "1.00", False), (2, "1.00", False)]
    farm.book([], verb="load")
    assert farm.table() == shown == [(1, "2.00", False), (2, "1.00", True), (3, "3.00", False)]
    assert farm.book([], verb="load") == {}
