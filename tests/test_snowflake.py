"""Snowflake's own: what it is asked, in which order, how it is reached, and what is said where that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine.destinations import Column, Table, warehouse
from rest_syncer.engine.destinations.snowflake import Snowflake
from rest_syncer.engine.errors import UsageError
from tests.farm import SPEC, Farm, row
from tests.shop import HUB, ORDERS, Cloud, Shop, V, v
from tests.snow import Account

SECRET = "hush-hush"


@pytest.fixture
def shop(snowflake: Account, tmp_path: Path) -> Iterator[Shop]:
    client = Cloud(snowflake.database())
    target = client.open("shop")
    target.identity(HUB)
    yield Shop(tmp_path, target, client)
    target.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of all connections."""
    execute, found = Snowflake._execute, list[str]()

    def told(self: Snowflake, sql: str, *rows: list[list[object]]) -> list[tuple[object, ...]]:
        found.append(sql)
        return execute(self, sql, *rows)

    monkeypatch.setattr(Snowflake, "_execute", told)
    return found


def test_nothing_that_would_commit_stands_between_begin_and_commit(shop: Shop, asked: list[str]) -> None:
    """Snowflake commits what is open before each statement that makes or changes a table; fakesnow does not."""
    wider = replace(ORDERS, columns=[*ORDERS.columns, Column("note", "VARCHAR", "A note.")])
    history = replace(ORDERS, name="versions", keeps_versions=True)
    shop.load(v(1), v(1, line=2), v(2))
    row = V({"id": 1, "sum": "1.00", "at": 10, "note": "x"}, run=2)
    shop.load(row, table=wider, starts=(2,), gone_since=2, marks_gone=True, complete=True)
    shop.load(row, table=wider, anew=True, complete=True)
    shop.load(v(1), table=history)
    shop.load(v(1, "2.00", 20, run=2), table=history)
    shop.load(v(1, counted=False), v(1, "2.00", 20, run=2, counted=False), table=history, anew=True, complete=True)
    is_open = False
    for sql in asked:
        is_open = sql == "BEGIN" or (is_open and sql != "COMMIT")
        assert not is_open or sql.partition(" ")[0] in ("BEGIN", "SELECT", "INSERT", "UPDATE", "DELETE"), sql
    assert asked.count("BEGIN") == asked.count("COMMIT") == 6


def test_descriptions_are_set_where_they_are_not_as_the_spec_has_them(shop: Shop, asked: list[str]) -> None:
    others = [Column("id", "BIGINT", 'It\'s a "number" \\ é'), *ORDERS.columns[1:]]
    shop.load(v(1), table=replace(ORDERS, columns=others))
    told = [sql for sql in asked if "COMMENT" in sql and '"ORDERS"' in sql]
    assert told[:2] == [
        'COMMENT ON TABLE "SHOP"."ORDERS" IS \'What was ordered.\'',
        'ALTER TABLE "SHOP"."ORDERS" ALTER COLUMN "ID" COMMENT \'It\'\'s a "number" \\\\ é\'',
    ]


def test_names_are_stored_as_those_without_quotes_but_where_they_need_them(shop: Shop) -> None:
    columns = [Column(name, "BIGINT", None) for name in ("customerId", "größe", "a.b")]
    shop.load(V({"customerId": 1, "größe": 2, "a.b": 3}), table=Table("shop", "sizes", None, columns, ["customerId"], None))
    shop.change('ALTER TABLE shop.sizes ADD COLUMN "Mine" VARCHAR')
    shop.load(V({"customerId": 2, "größe": 2, "a.b": 3}), table=Table("shop", "sizes", None, columns, ["customerId"], None), anew=True)
    there = shop.ask("SELECT column_name FROM information_schema.columns WHERE table_name = 'SIZES' ORDER BY ordinal_position")
    assert [name for (name,) in there] == ["CUSTOMERID", "größe", "a.b", "_SYNCED_AT", "_DELETED_AT", "_SEGMENT", "Mine"]
    assert shop.ask('SELECT customerid, "größe", "a.b", "Mine" FROM shop.sizes') == [(2, 2, 3, None)]


def test_what_is_too_long_is_rejected(snowflake: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest_syncer.engine.destinations.snowflake.LONGEST_TEXT", 999)
    farm = Farm(tmp_path, Cloud(snowflake.database()))
    assert farm.book([row(1, "x" * 1000), row(2, "é" * 499)]) == {"inserted": 2}
    assert farm.table("id, sum") == [(1, None), (2, "é" * 499)]
    reason = "is longer than 16 MB, which no value of Snowflake's can be"
    assert farm.client.ask("SELECT property, reason FROM shop._syncer_rejects") == [("sum", reason)]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("snowflake://account/DB", "is no URL of Snowflake; write snowflake://USER@ACCOUNT/DATABASE"),
        ("snowflake://me@account", "is no URL of Snowflake"),
        ("snowflake://me@account/DB/SCHEMA", "is no URL of Snowflake"),
        ("snowflake://me@account/DB?wharehouse=x", "there is no parameter wharehouse; did you mean 'warehouse'?"),
        ("snowflake://me@account/DB?port=x", "port is a number"),
        ("snowflake://me@account/DB?protocol=http&host=example.com", "protocol=http would send the password for all to read"),
        (f"snowflake://me:{SECRET}@account/DB", "the URL holds a password"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        warehouse(url, "shop")
    assert told in str(caught.value) and SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "there is no password; set SNOWFLAKE_PASSWORD, or SNOWFLAKE_PRIVATE_KEY_PATH for a key pair"),
        ({"SNOWFLAKE_PASSWORD": SECRET}, "cannot be opened (nobody"),
        ({"SNOWFLAKE_PRIVATE_KEY_PATH": "/no/such.p8"}, "cannot be opened (the private key cannot be read)"),
    ],
)
def test_where_it_cannot_be_reached_a_sentence_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: str
) -> None:
    for name in ("SNOWFLAKE_PASSWORD", "SNOWFLAKE_PRIVATE_KEY_PATH", "SNOWFLAKE_AUTHENTICATOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "shop.yaml").write_text(SPEC)
    url = "snowflake://me@account/DB?host=127.0.0.1&port=1&protocol=http&network_timeout=1"
    done = CliRunner().invoke(app, ["run", str(tmp_path / "shop.yaml"), "--to", url, "--hub", str(tmp_path / "hub"), "--json"])
    assert (done.exit_code, told in done.output, SECRET in done.output, "Traceback" in done.output) == (1, True, False, False), done.output


def test_a_name_that_is_too_long_is_told_before_any_request() -> None:
    with pytest.raises(UsageError, match="is longer than 255 characters, which none of Snowflake's can be; shorten it"):
        Snowflake("//me@account/DB", "shop").check([replace(ORDERS, columns=[*ORDERS.columns, Column("x" * 256, "BIGINT", None)])])
