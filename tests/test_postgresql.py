"""PostgreSQL's own troubles: connections that are lost, and passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine.destinations import Receipt
from rest_syncer.engine.destinations.postgresql import PostgreSQL
from rest_syncer.engine.errors import WarehouseError
from tests.farm import SPEC
from tests.postgres import Server
from tests.shop import HUB, Database, Shop, v

SECRET = "hush-hush"


@pytest.fixture
def shop(postgres: Server, tmp_path: Path) -> Iterator[Shop]:
    client = Database(postgres.database())
    target = PostgreSQL(client.url.removeprefix("postgresql:"), "shop", pauses=(0, 0))
    target.identity(HUB)
    yield Shop(tmp_path, target, client)
    target.close()


def cut_off(target: PostgreSQL, before: str, times: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the server end the connection before (or right after) each of some statements; gives what was cut off."""
    ask, cut = PostgreSQL.ask, list[str]()

    def asked(self: PostgreSQL, sql: str) -> list[tuple[object, ...]]:
        is_after = before == "after COMMIT"
        hit = sql.startswith(before.removeprefix("after ")) and len(cut) < times
        found = ask(self, sql) if hit and is_after else []
        if hit:
            cut.append(sql)
            with psycopg.connect(self.url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (self._connection().info.backend_pid,))
            return ask(self, "SELECT 1")  # it is only now that a client learns it
        return found if hit else ask(self, sql)

    monkeypatch.setattr(PostgreSQL, "ask", asked)
    return cut


STATEMENTS = ["BEGIN", "CREATE TEMP TABLE rows", "ANALYZE", "UPDATE", 'INSERT INTO "shop"."orders"', "COMMIT", "after COMMIT"]


@pytest.mark.parametrize("before", STATEMENTS)
def test_a_load_whose_connection_is_lost_is_tried_again_whole(shop: Shop, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.load(v(1), v(2))
    batch = shop.batch(v(1, "2.00", 20), v(3))
    cut = cut_off(shop.target, before, 2, monkeypatch)  # type: ignore[arg-type]  # the fixture's own
    assert shop.target.commit(batch) == Receipt(2, read=2, inserted=1, updated=1)
    assert len(cut) == 2
    assert shop.orders() == [(1, "2.00", 20, 2, None), (2, "1.00", 10, 1, None), (3, "1.00", 10, 2, None)]
    assert shop.ask("SELECT count(*) FROM shop._syncer_receipts WHERE load = 2") == [(1,)]


def test_one_that_is_lost_again_and_again_is_said_and_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.load(v(1))
    cut_off(shop.target, "ANALYZE", 99, monkeypatch)  # type: ignore[arg-type]  # the fixture's own
    with pytest.raises(WarehouseError, match="the connection was lost or refused"):
        shop.target.commit(shop.batch(v(1, "2.00", 20)))
    assert shop.orders() == [(1, "1.00", 10, 1, None)]


@pytest.mark.parametrize(
    "url", [f"postgresql://me:{SECRET}@nosuch.invalid/db", f"postgresql://nosuch.invalid/db?user=me&password={SECRET}"]
)
def test_a_password_in_the_url_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(SPEC)
    for verb in ("run", "load", "rejects"):
        found = CliRunner().invoke(app, [verb, "shop.yaml", "--to", url])
        assert (found.exit_code, "the URL holds a password" in found.output, SECRET in found.output) == (2, True, False)
    assert [file.name for file in tmp_path.iterdir()] == ["shop.yaml"]


def test_a_password_of_the_environment_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    Path("shop.yaml").write_text(SPEC)
    found = CliRunner().invoke(app, ["run", "shop.yaml", "--to", "postgresql://me@127.0.0.1:1/db", "--json"])
    assert (found.exit_code, "nobody listens there" in found.output, SECRET in found.output) == (1, True, False)
