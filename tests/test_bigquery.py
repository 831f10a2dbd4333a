"""BigQuery's SQL, which has never been run live, held by golden files. SYNCER_GOLDEN=1 writes them anew; read what is different."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
import sqlglot
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import bigquery
from msgspec.structs import replace
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine.destinations import Column, GonePass, Table, Told, warehouse
from rest_syncer.engine.destinations.bigquery import BigQuery
from rest_syncer.engine.errors import UsageError
from tests.big import StandIn
from tests.farm import SPEC
from tests.shop import HUB, ORDERS, Project, Shop, V, v
from tests.test_warehouses import reject

GOLDEN = Path(__file__).parent / "golden/bigquery"
HISTORY = replace(ORDERS, keeps_versions=True)
EVERY_TYPE = {
    "a": "VARCHAR", "b": "BIGINT", "c": "DOUBLE", "d": "BOOLEAN", "e": "TIMESTAMPTZ", "f": "DATE", "g": "JSON", "h": "DECIMAL(9,2)",
    "i": "DECIMAL(38,20)", "j": "VARCHAR[]", "k": "TIMESTAMPTZ[]",
}  # fmt: skip


@pytest.fixture
def shop(project: StandIn, tmp_path: Path) -> Iterator[Shop]:
    client = Project(project)
    target = client.open("shop")
    target.identity(HUB)
    yield Shop(tmp_path, target, client)
    target.close()


def upsert(shop: Shop) -> None:
    shop.load(v(1), v(2, None), rejects=[reject(2)], rejected_values=1)
    asked(shop).clear()
    shop.load(
        v(1, "2.00", 20, run=2),
        v(1, "1.50", 15, run=2, line=9),
        v(2, run=2),
        v(3, None, run=2),
        rejects=[reject(3, run=2)],
        rejected_values=1,
    )


def deletes(shop: Shop) -> None:
    shop.load(v(1), v(2))
    asked(shop).clear()
    shop.load(v(1, run=2, epoch=2), starts=(2,), gone_since=2, marks_gone=True)


def told(shop: Shop) -> None:
    """A delete feed, and whole lists of single parents."""
    table = replace(ORDERS, key=["id", "sum"], parent_key=["id"])
    shop.load(v(1), v(2), table=table)
    asked(shop).clear()
    time = "TIMESTAMPTZ '2016-11-22 12:00:00Z'"
    key = {"id": "1::BIGINT", "sum": "'1.00'"}
    feed = file(shop, "feed", **key, _syncer_told_in="2::BIGINT", _syncer_gone_at=time, _syncer_gone_by=time)
    lists = file(shop, "lists", id=key["id"], _syncer_told_in="2::BIGINT", _syncer_ended_in="2::BIGINT", _syncer_gone_at=time)
    shop.load(
        v(3, run=2), table=table, told=Told([feed], until=2, lists=[lists]), keys=[file(shop, "keys", **key, _syncer_run="2::BIGINT")]
    )


def file(shop: Shop, name: str, **values: str) -> str:
    """A Parquet file of one row."""
    path = shop.folder / f"{name}.parquet"
    duckdb.sql(f"COPY (SELECT {', '.join(f'{value} AS {word}' for word, value in values.items())}) TO '{path}' (FORMAT parquet)")
    return str(path)


def history(shop: Shop) -> None:
    shop.load(v(1), v(2), table=HISTORY)
    asked(shop).clear()
    shop.load(v(1, "2.00", 20, run=2), table=HISTORY)
    passes = [GonePass(2, (2, 1, 0), 2_000_000), GonePass(3, (3, 1, 0), 3_000_000)]
    everything = [v(1, counted=False), v(2, counted=False), v(1, "2.00", 20, run=2, counted=False), v(1, "2.00", 20, run=3)]
    shop.load(*everything, table=HISTORY, complete=True, anew=True, gone_since=3, marks_gone=True, passes=passes)


def shape(shop: Shop) -> None:
    shop.load(v(1))
    asked(shop).clear()
    columns = [Column("id", "BIGINT", "Number"), Column("total", "VARCHAR", None, was=("sum",)), Column("at", "VARCHAR", None)]
    wider = replace(ORDERS, columns=[*columns, *(Column(name, type_, None) for name, type_ in EVERY_TYPE.items())], cursor=None)
    values = {"id": 1, "total": "1.00", "at": "x", **dict.fromkeys(EVERY_TYPE)}
    shop.load(V(values, run=2), table=wider, complete=True, clear_rejects=True)


def looks(shop: Shop) -> None:
    shop.load(v(1, None), rejects=[reject(1)], rejected_values=1)
    asked(shop).clear()
    shop.target.hubs()
    shop.target.seen(HUB, ORDERS)
    shop.target.books(HUB, "orders")
    shop.target.rejects()
    shop.target.record([{"run": 1, "verb": "run", "collection": "orders", "started_at": 1}])


def asked(shop: Shop) -> list[str]:
    assert isinstance(shop.client, Project)
    return shop.client.behind.asked


@pytest.mark.parametrize("story", [upsert, deletes, told, history, shape, looks])
def test_what_bigquery_is_asked_is_as_the_golden_file_has_it(shop: Shop, story: Callable[[Shop], None]) -> None:
    story(shop)
    said = ";\n".join(asked(shop)) + ";\n"
    file = GOLDEN / f"{story.__name__}.sql"
    if os.environ.get("SYNCER_GOLDEN"):
        file.write_text(said)
    assert said == file.read_text()


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.sql")), ids=lambda file: file.stem)
def test_each_golden_statement_is_one_of_bigquerys_dialect(file: Path) -> None:
    for statement in file.read_text().replace("BEGIN;\n", "").replace("COMMIT;\n", "").split(";\n"):
        trees = sqlglot.parse(statement, read="bigquery")
        assert not re.search(r"\b(VARCHAR|BIGINT|INTEGER|DOUBLE|BOOLEAN|TIMESTAMPTZ)\b|::|USING", statement), "is of another dialect"
        assert all(not isinstance(tree, sqlglot.exp.Command) for tree in trees if tree), statement


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.sql")), ids=lambda file: file.stem)
def test_no_join_has_a_condition_that_asks_a_table(file: Path) -> None:
    """BigQuery has no subqueries there."""
    for statement in file.read_text().split(";\n"):
        for tree in filter(None, sqlglot.parse(statement, read="bigquery")):
            conditions = [join.args.get("on") for join in tree.find_all(sqlglot.exp.Join)]
            assert not any(condition.find(sqlglot.exp.Select) for condition in conditions if condition), statement


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.sql")), ids=lambda file: file.stem)
def test_no_shape_changes_inside_of_a_transaction(file: Path) -> None:
    """BigQuery allows it for temporary tables alone."""
    is_open = False
    for statement in file.read_text().split(";\n"):
        is_open = statement == "BEGIN" or (is_open and statement != "COMMIT")
        if is_open and statement.startswith(("CREATE", "ALTER", "DROP", "--")):
            assert statement.startswith(("CREATE TEMP TABLE", "DROP TABLE _SESSION.")), statement


def test_a_list_keeps_its_nulls_and_digits_as_a_json_text(shop: Shop) -> None:
    table = Table("shop", "lists", None, [Column("id", "BIGINT", None), Column("n", "DECIMAL(38,2)[]", None)], ["id"], None)
    long = "123456789012345678901234567890123456.78"
    shop.load(V({"id": 1, "n": [long, None]}), V({"id": 2, "n": []}, line=2), V({"id": 3, "n": None}, line=3), table=table)
    assert shop.ask("SELECT id, n FROM shop.lists ORDER BY id") == [(1, f"[{long},null]"), (2, "[]"), (3, None)]


def test_a_description_is_cut_where_it_is_too_long_and_not_said_again(shop: Shop) -> None:
    table = replace(ORDERS, columns=[replace(ORDERS.columns[0], comment="x" * 1025), *ORDERS.columns[1:]])
    shop.load(v(1), table=table)
    assert dict(shop.comments()[1])["id"] == "x" * 1023 + "…"
    said = len(asked(shop))
    shop.load(v(2), table=table)
    assert not [one for one in asked(shop)[said:] if "tables.patch" in one]


def test_a_number_can_be_no_key() -> None:
    with pytest.raises(UsageError, match=r"orders\.rate: of type number, by which BigQuery groups nothing"):
        warehouse("bigquery://p", "shop").check([Table("shop", "orders", None, [Column("rate", "DOUBLE", None)], ["rate"], None)])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("_TABLE_x", "can be called _TABLE_x"),
        ("_CHANGE_x", "can be called _CHANGE_x"),
        ("a.b", "can be called a.b"),
        ("x" * 301, "longer than 300 characters"),
    ],
)
def test_a_name_that_bigquery_cannot_have_is_told_before_any_request(project: StandIn, name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        BigQuery("//my-project", "shop").check([replace(ORDERS, columns=[*ORDERS.columns, Column(name, "BIGINT", None)])])
    assert project.asked == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("bigquery://p/other", "names the dataset other, and the schema is shop; say --schema other"),
        ("bigquery://p/a/b", "is no URL of BigQuery; write bigquery://PROJECT"),
        ("bigquery://p?key=1", "is no URL of BigQuery"),
    ],
)
def test_a_url_that_says_something_else_is_refused(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        warehouse(url, "shop")
    assert isinstance(warehouse("bigquery://p/shop", "shop"), BigQuery)


def test_without_credentials_a_sentence_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(project: str) -> None:
        raise DefaultCredentialsError("none were found")  # type: ignore[no-untyped-call]  # it says nothing of its types

    monkeypatch.setattr(bigquery, "Client", refuse)
    (tmp_path / "shop.yaml").write_text(SPEC)
    done = CliRunner().invoke(app, ["run", str(tmp_path / "shop.yaml"), "--to", "bigquery://p", "--hub", str(tmp_path / "hub"), "--json"])
    assert (done.exit_code, "there are no credentials" in done.output, "Traceback" in done.output) == (1, True, False)


def test_rejects_go_in_pieces_that_a_request_can_hold(shop: Shop) -> None:
    long = json.dumps("x" * 3_000_000)
    shop.load(v(1, None), v(2, None), rejects=[reject(1, raw=long), reject(2, raw=long)], rejected_values=2)
    assert sum(1 for one in asked(shop) if one.startswith("INSERT INTO `my-project`.`shop`.`_syncer_rejects`")) == 2
    assert shop.ask("SELECT count(*), min(length(raw)) FROM shop._syncer_rejects") == [(2, 3_000_002)]
