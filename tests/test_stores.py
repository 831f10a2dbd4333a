"""Wherever a hub lies, it is the same hub: one suite for every kind of store, and what a bucket alone can meet."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from rest_syncer.engine import run as runs
from rest_syncer.engine.compact import compact
from rest_syncer.engine.errors import HubError, UsageError
from rest_syncer.engine.hub import Hub
from rest_syncer.engine.hub.store import Store, store_of
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options
from tests.buckets import Buckets
from tests.ducks import opened
from tests.farm import SPEC, Farm, Hours, row, told
from tests.model import Api, Death, carry_out, compacted, small_pieces, source
from tests.shop import File

FIRST = "000001-01-000000"


@pytest.fixture
def store(where: str) -> Store:
    return store_of(where, "shop")


@pytest.fixture
def yard(where: str, tmp_path: Path) -> Farm:
    """A project whose hub lies there."""
    return Farm(tmp_path, File(tmp_path / "shop.duckdb"), where=where)


def test_what_is_put_stays_and_who_comes_second_learns_it(store: Store) -> None:
    assert store.put("a/b/c", b"first")
    assert not store.put("a/b/c", b"second")
    assert (store.get("a/b/c"), store.start_of("a/b/c", 3), store.size("a/b/c"), store.has("a/b/c")) == (b"first", b"fir", 5, True)
    assert not store.has("a/b") and not store.has("a/b/d")
    assert store.put("empty", b"") and store.get("empty") == b""


def test_of_many_at_once_one_wins_and_all_read_what_that_wrote(store: Store) -> None:
    for number in range(5):
        gate = threading.Barrier(8)

        def put(who: int, name: str = f"x/{number}", gate: threading.Barrier = gate) -> bool:
            gate.wait()
            return store.put(name, b"%d" % who * 1000)

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(put, range(8)))
        assert won.count(True) == 1
        assert store.get(f"x/{number}") == b"%d" % won.index(True) * 1000


def test_names_come_in_order_a_folder_among_them(store: Store) -> None:
    for name in ("x/000010", "x/000009", "x/000100", "x/y/1", "xy/1", "x/000010.1"):
        store.put(name, b"1")
    assert store.names("x") == ["x/000009", "x/000010", "x/000010.1", "x/000100", "x/y"]
    assert store.tree("x") == ["x/000009", "x/000010", "x/000010.1", "x/000100", "x/y/1"]
    assert store.names("nosuch") == store.tree("nosuch") == []


def test_what_is_removed_is_gone_and_may_be_gone_already(store: Store) -> None:
    store.put("a/b", b"1")
    store.remove("a/b")
    store.remove("a/b")
    assert not store.has("a/b")


def test_what_is_not_there_is_said(store: Store) -> None:
    store.put("a", b"1")
    for read in (lambda: store.get("b"), lambda: store.start_of("b", 1), lambda: store.size("b")):
        with pytest.raises(HubError, match=r"hub .*cannot (read|look for) b"):
            read()


def test_a_start_longer_than_the_file_is_the_file(store: Store) -> None:
    store.put("a", b"12345")
    assert store.start_of("a", 4096) == b"12345"


def test_a_large_file_comes_whole(store: Store) -> None:
    data = bytes(range(256)) * 40_000
    store.put("large", data)
    assert store.get("large") == data


def rows(folder: Path, warehouse: str) -> list[tuple[Any, ...]]:
    with opened(folder / f"{warehouse}.duckdb") as con:
        return con.execute("SELECT id, name, _deleted_at IS NOT NULL FROM model.things ORDER BY id").fetchall()


# A source, from its first pull on.


def test_a_source_is_pulled_loaded_changed_thinned_and_replayed(yard: Farm) -> None:
    text = SPEC + "keep: latest\n"
    assert yard.book([row(1), row(2), row(3)], text) == {"inserted": 3}
    assert yard.book([row(1, "2.00"), row(2)], text) == {"updated": 1, "unchanged": 1, "deleted": 1}
    assert yard.book([row(1, "3.00"), row(2)], text) == {"updated": 1, "unchanged": 1}
    more = text.replace("state: string", "state: string, amount: {type: 'decimal(9,2)', from: sum}")
    yard.book([], more, "load")
    shown = yard.table("id, sum, amount, _deleted_at IS NOT NULL")
    assert [one[:2] for one in shown] == [(1, "3.00"), (2, "1.00"), (3, "1.00")]
    done = compact(parse_spec(more), Options(hub=yard.where or ""), Hours(9))["orders"]
    assert (done.records, done.records_left) == (7, 3)
    hub = Hub(yard.where or "", "shop")
    assert hub.verify() == []
    yard.run([], more, "replay")
    assert yard.table("id, sum, amount, _deleted_at IS NOT NULL") == shown
    assert not list(hub.local.glob("stage/*/*")), "nothing is left in hand"


def test_what_is_missing_or_damaged_is_named_and_asked_for_again(yard: Farm) -> None:
    text = SPEC.replace("key: id", "key: id\n    cursor: {property: at, param: since}")
    yard.run([row(1), row(2)], text, "pull")
    yard.run([row(3)], text, "pull")
    hub = Hub(yard.where or "", "shop")
    name = hub._file("orders", FIRST)
    data = hub.store.get(name)
    hub.store.remove(name)
    hub.store.put(name, data[:-9] + b"x" + data[-8:])
    summary = yard.run([], text, "load")
    assert summary.status == "incomplete"
    assert told(summary).startswith(f"segment orders/{FIRST}: is damaged (its checksum does not fit)")
    assert [str(one) for one in Hub(yard.where or "", "shop").verify()] == [f"segment orders/{FIRST}: its checksum does not fit"]
    assert yard.run([row(1), row(2), row(3)], text).status == "complete"
    assert [one[0] for one in yard.table()] == [1, 2, 3]


@pytest.mark.parametrize("verb", ["run", "compact"])
def test_dead_behind_any_step_and_started_again_it_ends_the_same(where: str, tmp_path: Path, verb: str) -> None:
    spec = source(False, keep="latest")

    def story(at: int) -> tuple[object, Death]:
        api, death, folder, place = Api(), Death(at), tmp_path / str(at), f"{where}/{at}"
        folder.mkdir()

        def carry_on(verb: str, death: Death | None = None) -> None:
            if verb == "compact":
                compacted(api, folder, spec, death, where=place)
            else:
                carry_out(api, folder, verb, source=spec, select=("things",), death=death, where=place)

        for key in range(1, 5):
            api.add("things", key)
        carry_on("run")
        for key in (1, 3):
            api.now += 10
            api.update("things", key)
        carry_on("run")
        carry_on(verb, death)
        carry_on(verb)
        ended = carry_out(api, folder, source=spec, select=("things",), full=True, where=place)
        assert ended and ended.status == "complete"
        carry_out(api, folder, "load", to="late", source=spec, select=("things",), where=place)
        return (rows(folder, "one"), rows(folder, "late")), death

    with small_pieces(load_bytes=300):
        expected, alive = story(10**9)
        assert len(alive.steps) > 4
        for at in range(1, len(alive.steps), 3 if ":" not in where else 11):
            assert story(at)[0] == expected, alive.steps[at]


def test_two_pulls_at_once_without_the_lock_end_in_one_right_hub(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of two machines: each answer of the API waits for the other pull's, so that they are in each other's way throughout."""
    api, gate, lock = Api(), threading.Barrier(2), threading.Lock()
    for key in range(1, 9):
        api.add("things", key)
    answer = api.answer

    def together(request: Any) -> Any:
        with suppress(threading.BrokenBarrierError):  # the other has come to its end
            gate.wait(2)
        with lock:
            return answer(request)

    monkeypatch.setattr(api, "answer", together)
    monkeypatch.setattr(runs, "locked", lambda *_, **__: nullcontext("pull"))
    with small_pieces():
        for full in (False, False, True):
            gate.reset()
            with ThreadPoolExecutor(2) as pool:
                both = [pool.submit(carry_out, api, tmp_path, "pull", select=("things",), where=where, full=full) for _ in range(2)]
            summaries = [one.result() for one in both]
            assert [summary and summary.status for summary in summaries] == ["complete", "complete"]
            assert len({summary.run for summary in summaries if summary}) == 2
            api.now += 10
            api.update("things", 3)
            api.delete("things", 1 if full else 2)
    monkeypatch.setattr(api, "answer", answer)
    summary = carry_out(api, tmp_path, "run", select=("things",), where=where, full=True)
    assert summary and summary.status == "complete"
    assert Hub(where, "model").verify() == []
    found = rows(tmp_path, "one")
    assert {key: name for key, name, deleted in found if not deleted} == {key: one["name"] for key, one in api.lists["things"].items()}
    assert {key for key, _, deleted in found if deleted} == {1, 2}


# What a bucket alone can meet.


def test_a_store_that_overwrites_is_refused_before_anything_is_written(buckets: Buckets, tmp_path: Path) -> None:
    yard = Farm(tmp_path, File(tmp_path / "shop.duckdb"), where=buckets.bucket())
    buckets.forgetful = True
    try:
        with pytest.raises(HubError, match=r"overwrites what is there although it is asked not to \(If-None-Match\)"):
            yard.run([row(1)])
    finally:
        buckets.forgetful = False
    assert store_of(yard.where or "", "shop").tree("") == []


def test_what_a_bucket_says_is_told_without_secrets(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError) as caught:
        Hub("s3://nosuch", "shop").claim("https://a", {})
    assert "hub s3://nosuch/shop: cannot" in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_RETRIES", "0")
    with pytest.raises(HubError) as caught:
        Hub(buckets.bucket(), "shop").claim("https://a", {})
    for error in (str(caught.value),):
        assert "hush" not in error and "cannot" in error and "\n" not in error


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("s4://bucket", "there is no such kind of hub; known: az, gs, s3"),
        ("s3://bucket?secret=1", "give credentials in the environment"),
        ("az://me:secret@container", "give credentials in the environment"),
    ],
)
def test_an_address_that_is_none_is_said(address: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        store_of(address, "shop")
    assert sentence in str(caught.value) and "secret" not in str(caught.value)


def test_what_another_machine_may_read_stays_until_the_next_compaction(buckets: Buckets, tmp_path: Path) -> None:
    yard, spec = Farm(tmp_path, File(tmp_path / "shop.duckdb"), where=buckets.bucket()), parse_spec(SPEC + "keep: latest\n")
    yard.run([row(1)])
    yard.run([row(1, "2.00")])
    store, options = store_of(yard.where or "", "shop"), Options(hub=yard.where or "")
    compact(spec, options, Hours(3))
    old, new = f"segments/orders/{FIRST}.ndjson.zst", f"segments/orders/{FIRST}.1.ndjson.zst"
    assert store.has(old) and store.has(new)
    compact(spec, options, Hours(4))
    assert not store.has(old) and store.has(new)
