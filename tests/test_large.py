"""What is large, in every warehouse: values of a megabyte, tables of 1,600 columns; where one has a limit, that is said at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import md5
from pathlib import Path

import pytest

from rest_syncer.engine.errors import UsageError
from tests.farm import SPEC, Farm, row, told
from tests.postgres import Server
from tests.shop import TEXTS, Database, File, kind_of

MEGABYTE = 2**20


def wide(number: int) -> str:
    properties = "".join(f"\n      c{place}: integer" for place in range(number))
    return SPEC.replace(
        "properties: {id: integer, sum: string, state: string, at: timestamp}", f"properties:\n      id: integer{properties}"
    )


@pytest.mark.shows("values of a megabyte")
def test_values_of_a_megabyte_come_whole(farm: Farm) -> None:
    text = SPEC.replace("state: string", "state: json, list: 'string[]'")
    long = 'x\u00e9"\\\n\U0001f600,' * (MEGABYTE // 8)
    values = {"sum": long, "state": {"of": long}, "list": [long, "", None]}
    assert farm.book([row(1) | values, row(2)], text) == {"inserted": 2}
    first = "list" if kind_of(farm.client) in TEXTS else "list[1]"  # there it is a JSON text
    ((sum_, state, first),) = farm.client.ask(f"SELECT sum, CAST(state AS VARCHAR), CAST({first} AS VARCHAR) FROM shop.orders WHERE id = 1")
    assert (
        sum_ == long,
        json.loads(state)["of"] == long,
        first in (long, json.dumps(values["list"], ensure_ascii=False, separators=(",", ":"))),
    ) == (True, True, True)
    assert farm.book([row(1) | values, row(2)], text) == {"unchanged": 2}
    assert farm.book([row(1) | values | {"sum": long + "!"}, row(2)], text) == {"updated": 1, "unchanged": 1}


def test_a_value_of_50_megabytes_comes_whole(tmp_path: Path) -> None:
    farm = Farm(tmp_path, File(tmp_path / "shop.duckdb"))
    long = 'x\u00e9,"' * (10 * MEGABYTE)
    assert len(long.encode()) == 50 * MEGABYTE
    assert farm.book([row(1) | {"sum": long}, row(2)]) == {"inserted": 2}
    assert farm.table("id, length(sum), md5(sum)") == [(1, len(long), md5(long.encode()).hexdigest()), (2, 4, md5(b"1.00").hexdigest())]  # noqa: S324  # no secret


def test_a_key_of_a_megabyte_is_a_key_or_a_reject(farm: Farm) -> None:
    text = SPEC.replace("{id: integer", "{id: string")
    summary = farm.run([row(1) | {"id": "x" * MEGABYTE}, row(1) | {"id": "short"}], text)
    receipt = summary.collections["orders"].load
    assert summary.status == "complete" and receipt and receipt.balances, told(summary)
    kept = not isinstance(farm.client, Database)
    assert (receipt.inserted, receipt.rejected) == ((2, 0) if kept else (1, 1))
    why = farm.client.ask("SELECT reason, length(raw) FROM shop._syncer_rejects")
    assert why == ([] if kept else [("is longer than 2,000 bytes, which no key of PostgreSQL can be", MEGABYTE + 2)])


@pytest.mark.shows("tables of 1,600 columns")
@pytest.mark.many
def test_a_table_of_1600_columns_is_filled_or_refused_before_any_request(
    farm: Farm, record_property: Callable[[str, object], None]
) -> None:
    rows = [{"id": id_} | {f"c{place}": place for place in range(0, 1599, 5)} for id_ in (1, 2)]
    if not isinstance(farm.client, Database):
        assert farm.book(rows, wide(1599)) == {"inserted": 2}
        assert farm.table("id, c0, c1000, c1595") == [(1, 0, 1000, 1595), (2, 0, 1000, 1595)]
        return
    record_property("but", "refused at once: 1,592 at most")
    with pytest.raises(UsageError, match=r"orders: has 1,600 properties, and a table of PostgreSQL 1,59\d at most"):
        farm.run(rows, wide(1599))
    assert farm.asked == []


def test_a_row_that_is_too_wide_for_postgresql_is_said(postgres: Server, tmp_path: Path) -> None:
    """A row has to fit on a page of 8 KB, but for texts that can be put elsewhere."""
    farm = Farm(tmp_path, Database(postgres.database()))
    summary = farm.run([{"id": 1} | {f"c{place}": place for place in range(1040)}], wide(1040))
    assert "(a row has more than PostgreSQL's 8 KB of columns); leave some properties out" in told(summary)
