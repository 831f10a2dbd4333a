"""PostgreSQL's own troubles: connections that are lost, and passwords."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine.destinations import Column, Receipt, Warehouse
from rest_syncer.engine.destinations.postgresql import PostgreSQL
from rest_syncer.engine.errors import HubError, UsageError, WarehouseError
from tests.farm import SPEC, Farm, row, spec, told
from tests.postgres import Server
from tests.shop import HUB, ORDERS, Database, Shop, V, v

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


@contextmanager
def received(target: Warehouse, files: Sequence[str]) -> Iterator[None]:
    """While it goes on, a warehouse is given files before their batch comes."""
    with target.receiving(ORDERS) as receive:
        for file in files:
            receive(file)
        assert isinstance(target, PostgreSQL) and target._coming
        yield


BOTH = [(1, "1.00", 10, 1, None), (2, "1.00", 10, 1, None)]


def test_rows_that_came_before_their_batch_are_not_sent_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = shop.batch(v(1), v(2))
    monkeypatch.setattr(PostgreSQL, "_put", None)
    with received(shop.target, batch.files):
        assert shop.target.commit(batch) == Receipt(1, read=2, inserted=2)
    assert shop.orders() == BOTH


def test_a_connection_that_is_lost_while_rows_come_before_their_batch_costs_nothing_else(shop: Shop) -> None:
    batch = shop.batch(v(1), v(2))
    assert isinstance(shop.target, PostgreSQL)
    with received(shop.target, batch.files):
        with psycopg.connect(shop.target.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (shop.target._connection().info.backend_pid,))
        assert shop.target.commit(batch) == Receipt(1, read=2, inserted=2)
    assert shop.orders() == BOTH


@pytest.mark.parametrize("odd", ["missing", "more", "fewer"])
def test_a_batch_is_its_files_whatever_came_before_it(shop: Shop, odd: str) -> None:
    files = [shop.batch(v(number)).files[0] for number in (1, 2, 3)]
    batch = replace(shop.batch(v(1), v(2)), files=files[:2])
    with received(shop.target, {"missing": [str(shop.folder / "nosuch.parquet"), *files], "more": files, "fewer": files[:1]}[odd]):
        assert shop.target.commit(batch) == Receipt(1, read=2, inserted=2)
    assert shop.orders() == BOTH


def failing(monkeypatch: pytest.MonkeyPatch, *tries: bool) -> None:
    """Let the temporary table of rows not be made in those of its tries that are True."""
    ask, left = PostgreSQL.ask, list(tries)

    def asked(self: PostgreSQL, sql: str) -> list[tuple[object, ...]]:
        if sql.startswith("CREATE TEMP TABLE rows") and left and left.pop(0):
            raise psycopg.errors.DiskFull
        return ask(self, sql)

    monkeypatch.setattr(PostgreSQL, "ask", asked)


def test_rows_that_cannot_come_before_their_batch_come_with_it_alone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [shop.batch(v(number)).files[0] for number in (1, 2)]
    failing(monkeypatch, True)
    with shop.target.receiving(ORDERS) as receive:
        for file in files:
            receive(file)
        assert isinstance(shop.target, PostgreSQL) and not shop.target._coming
        assert shop.target.commit(replace(shop.batch(v(1), v(2)), files=files)) == Receipt(1, read=2, inserted=2)
    assert shop.orders() == BOTH


def test_where_rows_can_come_neither_before_their_batch_nor_with_it_nothing_stays(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, False, True)
    with pytest.raises(WarehouseError, match="the disk is full"), received(shop.target, ["nosuch.parquet"]):
        shop.target.commit(shop.batch(v(1), v(2)))
    assert shop.target.ask("SELECT to_regclass('pg_temp.rows')") == [(None,)]
    assert shop.load(v(1), v(2)) == Receipt(1, read=2, inserted=2)


def test_nothing_stays_of_rows_whose_batch_never_came(shop: Shop) -> None:
    files = [shop.batch(v(number)).files[0] for number in (1, 2, 3)]
    with pytest.raises(HubError), received(shop.target, files):
        raise HubError("a segment is damaged")
    assert shop.target.ask("SELECT to_regclass('pg_temp.rows')") == [(None,)]
    assert shop.load(v(2)) == Receipt(1, read=1, inserted=1)


def test_whatever_else_is_asked_leaves_off_the_rows_that_come_before_their_batch(shop: Shop) -> None:
    batch = shop.batch(v(1), v(2))
    with received(shop.target, batch.files):
        assert shop.target.seen(HUB, ORDERS).load == 0
        assert shop.target.commit(batch) == Receipt(1, read=2, inserted=2)


def test_texts_come_through_copy_as_they_are(shop: Shop) -> None:
    texts = ["", None, "NULL", r"\.", r"\N", "\\", '"', '""', "a,b", "a\rb", "a\nb", "\n\\.\n", " a ", "\t", "#", "'", "é\u2028", "{}"]
    shop.load(*(V({"id": number, "sum": one, "at": 1}, line=number) for number, one in enumerate(texts)))
    assert [sum_ for (sum_,) in shop.ask("SELECT sum FROM shop.orders ORDER BY id")] == texts


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


# What a database, a role, or the environment has set.


def test_texts_come_right_whatever_the_clients_encoding_is_set_to(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.target.close()
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    shop.load(v(1, "Zürich é"))
    monkeypatch.delenv("PGCLIENTENCODING")
    assert shop.ask("SELECT sum FROM shop.orders") == [("Zürich é",)]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_all_texts_is_refused(postgres: Server, encoding: str) -> None:
    name = f"old_{encoding.lower()}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as con:
        con.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'".encode())
    with pytest.raises(WarehouseError, match=f"its encoding is {encoding}, which cannot hold all texts"):
        PostgreSQL(postgres.url(name).removeprefix("postgresql:"), "shop").check()


def test_what_digests_and_locks_depend_on_is_the_same_in_each_session(shop: Shop) -> None:
    (database,) = shop.ask("SELECT current_database()")[0]
    for setting in ("extra_float_digits = 0", "default_transaction_isolation = 'repeatable read'", "standard_conforming_strings = off"):
        shop.change(f"ALTER DATABASE {database} SET {setting}")
    asks = [shop.target.ask(f"SHOW {word}") for word in ("extra_float_digits", "transaction_isolation", "standard_conforming_strings")]  # type: ignore[attr-defined]
    assert asks == [[("3",)], [("read committed",)], [("on",)]]


# What no table or key of it can be.


def test_names_and_keys_that_it_cannot_have_are_told_before_any_request(shop: Shop) -> None:
    odd = replace(ORDERS, columns=[Column("id", "JSON", None), Column("xmin", "VARCHAR", None)], cursor=None)
    with pytest.raises(UsageError) as caught:
        shop.target.check([odd])
    assert str(caught.value).splitlines() == [
        "orders.id: of type json, which no key of PostgreSQL can be; make it a string",
        "orders.xmin: each table of PostgreSQL has a column xmin of its own; give the property another name, with `from: xmin`",
    ]


@pytest.fixture
def there(postgres: Server, tmp_path: Path) -> Farm:
    return Farm(tmp_path, Database(postgres.database()))


def rejects(farm: Farm) -> list[tuple[object, ...]]:
    return farm.client.ask("SELECT property, type, raw, whole_record FROM shop._syncer_rejects ORDER BY segment, property")


def test_a_key_of_texts_that_are_too_long_together_is_rejected_and_hides_no_deletion(there: Farm) -> None:
    text = spec("max_delete_share: 100%", "{id: string, more: string}").replace("key: id", "key: [id, more]")
    long, short = ({"id": word * size, "more": word * size} for word, size in (("x", 1500), ("y", 500)))
    assert there.book([long, short, {"id": "z", "more": "z"}], text) == {"inserted": 2, "rejected": 1}
    assert there.book([long, short], text) == {"unchanged": 1, "rejected": 1, "deleted": 1}
    assert [(name, whole) for name, _, _, whole in rejects(there)] == [("id", True)]


def test_what_only_the_database_cannot_hold_is_rejected_as_the_spec_says(there: Farm) -> None:
    odd = [row(1), row(2, "a\0b"), row(3, state="\0")]
    assert there.book(odd) == {"inserted": 3}
    assert there.table("id, sum, state") == [(1, "1.00", None), (2, None, None), (3, "1.00", None)]
    assert rejects(there) == [("sum", "string", '"a\\u0000b"', False), ("state", "string", '"\\u0000"', False)]
    strict = spec("on_reject: record")
    assert there.book([], strict, "load") == {"deleted": 2}
    assert there.table("id") == [(1,)], "what came before it was rejected goes, too"
    assert there.book([row(1), row(2, "a\0b"), row(3)], strict) == {"inserted": 1, "unchanged": 1, "rejected": 1}
    assert there.table("id, _deleted_at IS NOT NULL") == [(1, False), (3, False)]
    assert "values do not fit, and `on_reject: fail` lets" in told(there.run([row(1, "\0")], spec("on_reject: fail")))


def test_a_replay_leaves_alone_what_refers_to_the_rows(there: Farm) -> None:
    there.run([row(1), row(2)])
    there.run([row(1, "2.00"), row(2)])
    there.client.ask("CREATE TABLE shop.notes (order_id bigint REFERENCES shop.orders ON DELETE CASCADE)")
    there.client.ask("CREATE TABLE shop.bills (order_id bigint REFERENCES shop.orders)")
    there.client.ask("INSERT INTO shop.notes VALUES (1), (2)")
    there.client.ask("INSERT INTO shop.bills VALUES (1)")
    there.client.ask("UPDATE shop.orders SET sum = 'spoilt' WHERE id = 1")
    assert there.book([], verb="replay") == {}
    assert there.table() == [(1, "2.00", False), (2, "1.00", False)]
    assert there.client.ask("SELECT * FROM shop.notes ORDER BY 1") == [(1,), (2,)]
    there.client.ask("INSERT INTO shop.orders SELECT 9, sum, state, at, _synced_at, _deleted_at, _segment FROM shop.orders WHERE id = 1")
    there.client.ask("INSERT INTO shop.bills VALUES (9)")
    assert "rows of another table refer to" in told(there.run([], verb="replay"))


def test_versions_that_others_refer_to_are_not_made_anew(there: Farm) -> None:
    text = spec("mode: history")
    there.run([row(1)], text)
    refers = "FOREIGN KEY (id, version) REFERENCES shop.orders ON DELETE CASCADE"
    there.client.ask(f"CREATE TABLE shop.notes (id bigint, version bigint, {refers})")
    there.client.ask("INSERT INTO shop.notes VALUES (1, 1)")
    summary = there.run([], text, "replay")
    assert "shop.orders have to be made anew, and rows of shop.notes refer to them; drop the constraint notes_id_" in told(summary)
    assert there.client.ask("SELECT * FROM shop.notes") == [(1, 1)]
    assert there.book([row(1, "2.00")], text) == {"updated": 1}, "what is added to the end touches nothing"


def test_a_deletion_of_a_key_that_no_row_can_have_is_nothing(farm: Farm) -> None:
    text = spec("max_delete_share: 100%\n    deleted: /bin", "{id: string, sum: string}")
    farm.lists["/bin"] = [{"id": "a\0b"}, {"id": "2"}]
    farm.book([{"id": "1", "sum": "1.00"}, {"id": "2", "sum": "1.00"}], text)
    farm.lists["/bin"] = [{"id": "a\0b"}, {"id": "2"}]
    farm.book([{"id": "1", "sum": "1.00"}], text)
    assert farm.table("id, _deleted_at IS NOT NULL") == [("1", False), ("2", True)]


def test_columns_that_the_database_computes_stay_so(shop: Shop) -> None:
    shop.load(v(1))
    shop.change("ALTER TABLE shop.orders ADD COLUMN double text GENERATED ALWAYS AS (sum || sum) STORED")
    shop.load(v(1, counted=False), v(1, "2.00", 20, run=2), complete=True, anew=True)
    assert shop.ask("SELECT id, double FROM shop.orders") == [(1, "2.002.00")]


def test_what_is_lost_outside_of_a_load_is_a_sentence_too(shop: Shop) -> None:
    shop.load(v(1))
    shop.target.hubs()
    shop.client.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncer'")
    with pytest.raises(WarehouseError, match="the connection was lost or refused"):
        shop.target.books(HUB, "orders")
