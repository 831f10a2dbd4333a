"""What a DuckDB file has of its own; what every warehouse has to pass is in `test_warehouses`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace

from rest_syncer.engine.destinations import Column, Receipt, warehouse
from rest_syncer.engine.destinations.duckdb import DuckDB, _cause, is_out_of_memory
from rest_syncer.engine.errors import UsageError, WarehouseError
from rest_syncer.engine.project import quoted
from tests.shop import HUB, ORDERS, OTHER_HUB, File, Shop, V, v
from tests.support import nobody

OLD_PYTHON = os.environ.get("SYNCER_DUCKDB_15")
"""A Python that has DuckDB 1.5, to see that it reads what a later one writes."""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    target = DuckDB(str(tmp_path / "shop.duckdb"), "shop")
    target.identity(HUB)
    yield Shop(tmp_path, target, File(tmp_path / "shop.duckdb"))
    target.close()


def test_an_identity_is_made_once_and_stays_with_the_file(shop: Shop) -> None:
    known = shop.target.identity(HUB)
    shop.load(v(1))
    shop.target.close()
    Path(str(shop.folder / "shop.duckdb")).rename(shop.folder / "moved.duckdb")
    moved = DuckDB(str(shop.folder / "moved.duckdb"), "shop")
    assert moved.identity(HUB) == moved.identity(OTHER_HUB) == known
    moved.close()


def test_rows_of_its_own_are_the_same_one_by_one_and_together(shop: Shop) -> None:
    columns = dict.fromkeys(("collection", "property", "raw"), "VARCHAR") | {"whole_record": "BOOLEAN", "run": "BIGINT"}
    columns |= {"rejected_at": "TIMESTAMPTZ"}
    rows: list[dict[str, Any]] = [
        {
            "collection": "a'b",
            "property": None,
            "raw": '"\\ud800"',
            "whole_record": True,
            "run": 2**40,
            "rejected_at": 1_700_000_000_123_456,
        },
        {"collection": "é", "property": "p", "raw": None, "whole_record": False, "run": None, "rejected_at": None},
    ]
    for some in (rows, rows[:1], rows[1:]):
        shop.target.add("_syncer_rejects", columns, some)
    found = shop.ask(f"SELECT {', '.join(columns)} FROM w.shop._syncer_rejects ORDER BY collection")
    assert len(found) == 4 and found[0] == found[1] and found[2] == found[3]
    assert found[0][:5] == ("a'b", None, '"\\ud800"', True, 2**40) and found[2] == ("é", "p", None, False, None, None)


def test_what_is_loaded_is_known_by_the_last_receipt_of_this_hub_whatever_else_lies_there(shop: Shop) -> None:
    shop.load(v(1))
    shop.load(v(2, run=2))
    shop.change("UPDATE shop._syncer_receipts SET held_back = 5 WHERE load = 1")
    known = shop.target.seen(HUB, ORDERS)
    assert (known.load, known.held_back) == (2, 0)
    receipts = "shop._syncer_receipts (hub, collection, load, source)"
    shop.change("INSERT INTO shop._syncer_receipts SELECT * FROM shop._syncer_receipts WHERE load = 2")
    shop.change(f"INSERT INTO {receipts} VALUES ('{OTHER_HUB}', 'orders', NULL, NULL), ('{HUB}', 'others', 7, 'x')")
    assert shop.target.seen(HUB, ORDERS) == known


@pytest.mark.parametrize("name", ["Odd name", 'quo"te', "warehouse", "main", "temp", "größe", "select", "it's"])
def test_a_schema_may_have_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest_syncer.engine.destinations.duckdb.VACUUM_EVERY", 2)
    target = DuckDB(str(tmp_path / "x.duckdb"), name)
    shop, table = Shop(tmp_path, target, File(tmp_path / "x.duckdb")), replace(ORDERS, schema=name)
    target.identity(HUB)
    assert shop.load(v(1), table=table) == Receipt(1, read=1, inserted=1)
    assert shop.load(v(1, "b", run=2), table=table) == Receipt(2, read=1, updated=1)
    assert target._used("orders") == 1
    assert shop.ask(f"SELECT sum FROM w.{quoted(name)}.orders") == [("b",)]


def test_in_new_rows_a_column_of_the_users_own_holds_its_default(shop: Shop) -> None:
    shop.load(v(1))
    shop.change("ALTER TABLE shop.orders ADD COLUMN mine VARCHAR DEFAULT 'new'")
    shop.change("UPDATE shop.orders SET mine = 'old'")
    shop.load(v(1, "2.00", 20), v(2))
    assert shop.ask("SELECT id, sum, mine FROM shop.orders ORDER BY id") == [(1, "2.00", "old"), (2, "1.00", "new")]


def test_groups_of_rows_that_small_loads_leave_are_merged_from_time_to_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest_syncer.engine.destinations.duckdb.VACUUM_EVERY", 4)
    groups = []
    for number in range(1, 10):
        shop.load(v(number, run=number))
        shop.target.close()
        groups += shop.ask("SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('w.shop.orders')")
    assert groups == [(1,), (2,), (3,), (1,), (2,), (3,), (4,), (1,), (2,)]


def test_groups_that_cannot_be_merged_cost_no_load(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that runs out, say: what was committed is told, and the file is opened anew."""
    ask = DuckDB.ask

    def asked(self: DuckDB, sql: str) -> list[tuple[Any, ...]]:
        if sql.startswith("CHECKPOINT"):
            raise duckdb.OutOfMemoryException("failed to pin block")
        return ask(self, sql)

    monkeypatch.setattr("rest_syncer.engine.destinations.duckdb.VACUUM_EVERY", 2)
    shop.load(v(1))
    shop.target.close()
    monkeypatch.setattr(DuckDB, "ask", asked)
    assert shop.load(v(2, run=2)) == Receipt(2, read=1, inserted=1)
    assert shop.target._con is None
    assert shop.load(v(3, run=3)) == Receipt(3, read=1, inserted=1)
    assert shop.target.ask("SELECT current_setting('max_vacuum_tasks')") == [(0,)]


@pytest.mark.parametrize(("full", "groups"), [(0.7, 4), (0.8, 3)])
def test_groups_that_are_mostly_full_are_left_as_they_are(shop: Shop, monkeypatch: pytest.MonkeyPatch, full: float, groups: int) -> None:
    for name, value in (("VACUUM_EVERY", 4), ("ROW_GROUP", 2048), ("FULL", full)):
        monkeypatch.setattr(f"rest_syncer.engine.destinations.duckdb.{name}", value)
    for number in range(4):
        shop.target.close()
        shop.load(*(v(number * 2048 + row, run=number) for row in range(1536)))
    assert shop.ask("SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('w.shop.orders')") == [(groups,)]


def test_what_duckdb_keeps_of_tables_is_let_go_of_before_a_batch_is_staged(shop: Shop) -> None:
    held = "SELECT sum(memory_usage_bytes) > 10_000_000 FROM duckdb_memory() WHERE tag = 'BASE_TABLE'"
    shop.change("CREATE TABLE big AS SELECT md5(i::VARCHAR) AS x FROM range(1_000_000) AS r(i)")
    shop.target.ask("SELECT max(x) FROM warehouse.main.big")
    shop.target.commit(shop.batch(v(1)))
    before = shop.target.ask(held)
    with shop.target.receiving(ORDERS):
        assert (before, shop.target.ask(held)) == ([(True,)], [(False,)])
    assert shop.target.ask("SELECT current_setting('memory_limit')") == [("286.1 MiB",)]


def test_long_texts_that_do_not_go_with_little_memory_go_with_more(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.load(*(v(number, f"{number}" + "x" * 100_000) for number in range(400)))
    monkeypatch.setattr(DuckDB, "memory", "40MB")
    shop.target.ask("SET memory_limit = '40MB'")
    receipt = shop.load(*(v(number, f"{number % 399}" + "x" * 100_000, 20) for number in range(400)))
    assert (receipt.updated, receipt.inserted, shop.target._tries.need_more) == (400, 0, {"orders"})
    assert shop.target.ask("SELECT current_setting('memory_limit')") == [("38.1 MiB",)]
    ((rows, size),) = shop.ask("SELECT count(*), sum(length(sum)) FROM shop.orders")
    assert (rows, size) == (400, 400 * 100_000 + sum(len(f"{number % 399}") for number in range(400)))
    assert shop.ask("SELECT load FROM shop._syncer_receipts ORDER BY load") == [(0,), (1,), (2,)]


def test_memory_that_runs_out_behind_a_commit_loads_nothing_twice(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, failures = DuckDB.ask, ["Transaction COMMIT succeeded, but the autocheckpoint failed. Out of Memory Error: failed to pin block"]

    def told_late(self: DuckDB, sql: str) -> list[tuple[Any, ...]]:
        rows = ask(self, sql)
        if sql == "COMMIT" and failures:
            raise duckdb.TransactionException(failures.pop())
        return rows

    monkeypatch.setattr(DuckDB, "ask", told_late)
    assert shop.load(v(1), v(2)).inserted == 2
    assert failures == []
    assert shop.ask("SELECT id FROM shop.orders ORDER BY id") == [(1,), (2,)]
    assert shop.load(v(3)).inserted == 1


@pytest.mark.parametrize(
    ("told", "is_so"),
    [
        ("Out of Memory Error: could not allocate block of size 256.0 KiB (57.1 MiB/57.2 MiB used)", True),
        ("TransactionContext Error: Failed to commit: failed to pin block of size 256.0 KiB", True),
        ("Out of Memory Error: failed to offload data block of size 256.0 KiB", False),
        ("IO Error: No space left on device", False),
    ],
)
def test_memory_that_ran_out_is_told_apart_from_a_full_disk(told: str, is_so: bool) -> None:
    assert is_out_of_memory(duckdb.Error(told)) is is_so
    assert _cause(duckdb.Error(told)) == ("its memory ran out" if is_so else "the disk is full")


def test_a_load_writes_nothing_into_the_folder_in_which_it_is_called(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed and not yet in the file's blocks is not let go of: it would be written out."""
    here = shop.folder / "here"
    here.mkdir(mode=0o500)
    monkeypatch.chdir(here)
    shop.load(*(v(number, "x" * 3_000) for number in range(700)))
    assert list(here.iterdir()) == []
    assert not Path(f"{shop.target.path}.tmp").exists()


def test_the_beginning_of_a_file_is_left_alone_while_another_process_makes_it(tmp_path: Path) -> None:
    file = tmp_path / "shop.duckdb"
    file.write_bytes(b"\0" * 100)
    holds = "import fcntl, sys; file = open(sys.argv[1], 'rb+'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holds, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin and other.stdout and other.stdout.readline()
        with pytest.raises(WarehouseError, match="another process has it open"):
            DuckDB(str(file), "shop").identity(HUB)
        assert file.stat().st_size == 100
        other.stdin.close()
    assert DuckDB(str(file), "shop").identity(HUB)


def test_a_file_may_be_called_like_its_schema(tmp_path: Path) -> None:
    shop = Shop(tmp_path, DuckDB(str(tmp_path / "shop.duckdb"), "shop"), File(tmp_path / "shop.duckdb"))
    shop.target.identity(HUB)
    shop.load(v(1))
    shop.target.close()
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        assert con.execute("SELECT id FROM shop.shop.orders").fetchall() == [(1,)]


def test_names_that_differ_in_case_alone_are_one(tmp_path: Path) -> None:
    """As DuckDB has it: a schema, a table or a column that was respelled is the one that is there."""
    shop = Shop(tmp_path, DuckDB(str(tmp_path / "x.duckdb"), "shop"), File(tmp_path / "x.duckdb"))
    shop.target.identity(HUB)
    shop.load(v(1))
    shop.target.close()
    shop.target = DuckDB(str(tmp_path / "x.duckdb"), "SHOP")
    assert shop.target.seen(HUB, replace(ORDERS, schema="SHOP")).load == 1
    respelled = [Column("id", "BIGINT", None), Column("Sum", "VARCHAR", None), ORDERS.columns[2]]
    table = replace(ORDERS, schema="SHOP", columns=respelled)
    assert shop.load(V({"id": 1, "Sum": "b", "at": 10}, run=2), table=table) == Receipt(2, read=1, updated=1)
    assert shop.orders() == [(1, "b", 10, 2, None)]


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
    shop = Shop(tmp_path, DuckDB(str(tmp_path / "x.duckdb"), "shop"), File(tmp_path / "x.duckdb"))
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
        pytest.param(lambda file: file.write_text("a note"), NO_DATABASE, id="short text"),
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


@pytest.mark.parametrize("length", [0, 12, 3_584, 12_287])
def test_a_file_whose_making_broke_off_is_made_anew(tmp_path: Path, length: int) -> None:
    """As a full disk or a kill leaves it: nothing was ever in it."""
    file = tmp_path / "x.duckdb"
    with duckdb.connect(str(file)):
        pass
    file.write_bytes(file.read_bytes()[:length])
    DuckDB(str(file), "shop").check([])
    warehouse = DuckDB(str(file), "shop")
    assert warehouse.hubs() == []
    warehouse.close()


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
    told = subprocess.run([str(OLD_PYTHON), "-c", ASKED, str(shop.folder / "shop.duckdb")], capture_output=True, text=True, check=False)
    assert told.stdout.startswith("1.5"), told.stderr
    assert told.stdout.split(" ", 1)[1] == "[(1, '2.00'), (2, None)]\n"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("shop.duckdb", "--to shop.duckdb: names no warehouse; write duckdb:PATH or postgresql:", id="no-kind"),
        pytest.param("duckdb:", "--to duckdb:: names no warehouse; write duckdb:PATH or postgresql:", id="no-path"),
        pytest.param("ducdb:x", "--to ducdb: there is no such kind of warehouse; did you mean 'duckdb'?", id="a-slip"),
    ],
)
def test_a_url_that_names_no_warehouse_is_said(url: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        warehouse(url, "shop")
    assert str(caught.value).startswith(message)
