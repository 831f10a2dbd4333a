"""The hub's store: a name is put once and whole, whatever happens meanwhile; the listing is the only truth."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rest_syncer.engine.account import locked
from rest_syncer.engine.errors import HubError, UsageError
from rest_syncer.engine.hub import Hub, Identity, Manifest
from rest_syncer.engine.hub.fold import CollectionState, fold
from rest_syncer.engine.hub.folder import Folder
from rest_syncer.engine.hub.segment import Ended, Head
from tests.model import Api, Killed, carry_out, small_pieces
from tests.support import nobody, segment_file

END = Ended("total_reached", "proven", gone=True)


def head(name: str, purpose: Any = "full", ended: Ended | None = None, **more: Any) -> Head:
    given = {
        "chain": name[:9],
        "collection": "orders",
        "since": None,
        "until": None,
        "began": 0,
        "records": 2,
        "raw_bytes": 16,
        "longest": 8,
    }
    return Head(name=name, purpose=purpose, route="r", ended=ended, **given | more)


RECORDS = [b'{"id":1}', b'{"id":2}']


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


# Put if absent.


def test_a_name_is_put_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.put("a/b/c", b"first") is True
    assert folder.put("a/b/c", b"second") is False
    assert (folder.get("a/b/c"), folder.names("a/b"), folder.start_of("a/b/c", 3)) == (b"first", ["a/b/c"], b"fir")
    assert tree(tmp_path) == {"a/b/c": b"first"}


def test_names_come_in_order_without_what_is_in_the_making(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name in ("x/000010", "x/000009", "x/000100"):
        folder.put(name, b"")
    (tmp_path / "x" / ".part-abc").write_bytes(b"half")
    assert folder.names("x") == ["x/000009", "x/000010", "x/000100"]
    assert folder.names("nosuch") == []


STEPS = ("mkdir", "open", "write", "fsync", "link", "unlink")
"""The calls by which a put reaches the disk."""


class Script:
    """Stops at one of the calls that a put makes: just before it, or just after."""

    def __init__(self, at: int, after: bool) -> None:
        self.at, self.after = at, after
        self.calls: list[str] = []
        self.dead = False

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            if self.dead:
                raise Killed
            mine = len(self.calls) == self.at
            self.calls.append(name)
            if mine and not self.after:
                self.dead = True
                raise Killed
            result = call(*args, **more)
            if mine:
                self.dead = True
                raise Killed
            return result

        return wrapped


@contextmanager
def stopped(script: Script) -> Iterator[None]:
    """A process that dies at one call: what comes after it, clean-up too, does not happen."""
    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, script.around(name, getattr(os, name)))
        yield


def calls_of_a_put(folder: Path) -> list[str]:
    script = Script(-1, after=False)
    with stopped(script):
        Folder(folder).put("a/b", b"x" * 10_000)
    return script.calls


def test_a_put_reaches_the_disk_in_this_order(tmp_path: Path) -> None:
    """The file before its name, the name before its folder counts as written; each new folder in the one around it."""
    made = ["mkdir", "open", "fsync"]
    assert calls_of_a_put(tmp_path) == [*made, "open", "fsync", "link", "unlink", "open", "fsync"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(9))
def test_a_crash_at_any_call_leaves_all_or_nothing(tmp_path: Path, at: int, after: bool) -> None:
    data = b"x" * 10_000
    with stopped(Script(at, after)), pytest.raises(Killed):
        Folder(tmp_path).put("a/b", data)
    folder = Folder(tmp_path)
    new = folder.has("a/b")
    assert new is ((at, after) >= (5, True))
    assert folder.names("a") == (["a/b"] if new else [])
    assert not new or folder.get("a/b") == data
    assert folder.put("a/b", b"other") is not new
    swept(folder)
    assert tree(tmp_path) == {"a/b": data if new else b"other"}


@pytest.mark.parametrize("at", range(9))
def test_a_crash_beside_a_name_that_is_taken_changes_nothing(tmp_path: Path, at: int) -> None:
    Folder(tmp_path).put("a/b", b"first")
    with stopped(Script(at, after=False)), suppress(Killed):
        Folder(tmp_path).put("a/b", b"second")
    swept(Folder(tmp_path))
    assert tree(tmp_path) == {"a/b": b"first"}


def swept(folder: Folder) -> None:
    """What may still be in the making stays; when it is old, it goes."""
    for file in folder.root.rglob(".part-*"):
        folder.sweep()
        assert file.exists()
        os.utime(file, (0, 0))
    folder.sweep()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        (tmp_path / "a").mkdir()
        with pytest.raises(HubError) as caught:
            Folder(tmp_path).put("a/b", b"x")
    assert str(caught.value) == f"hub {tmp_path}: cannot write a/b (No space left on device); free space, or correct its permissions"
    assert tree(tmp_path) == {}


def test_what_crashed_writers_left_is_swept_by_the_next_pull(tmp_path: Path) -> None:
    api = Api()
    api.add("things", 1)
    carry_out(api, tmp_path, "pull")
    leftovers = [tmp_path / "hub/model" / place / ".part-x1" for place in ("segments/things", "plans", "")]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
        os.utime(leftover, (0, 0))
    carry_out(api, tmp_path, "pull")
    assert [leftover.exists() for leftover in leftovers] == [False, False, False]


def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    api = Api()
    api.add("things", 1)
    before = os.umask(0)
    try:
        carry_out(api, tmp_path / "new", "pull")
        carry_out(api, tmp_path / "new", "load", to="../w")
    finally:
        os.umask(before)
    modes = {str(path.relative_to(tmp_path / "new")): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")}
    assert {path: mode for path, mode in modes.items() if mode not in (0o600, 0o700)} == {}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


# Whose it is.


def test_the_first_pull_names_the_hub(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    assert hub.identity() is None
    mine = hub.claim("https://a:443", {"site": "acme"})
    assert mine == Identity(mine.id, "shop", "https://a:443", {"site": "acme"}, 1)
    assert len(mine.id) == 8
    assert Hub(tmp_path, "shop").claim("https://a:443", {"site": "acme"}) == mine == Hub(tmp_path, "shop").identity()
    assert Hub(tmp_path, "other").claim("https://a:443", {"site": "acme"}).id != mine.id


@pytest.mark.parametrize(
    ("origin", "account", "differences"),
    [
        pytest.param("https://b:443", {"site": "acme"}, "origin https://a:443, now https://b:443", id="origin"),
        pytest.param("https://a:443", {"site": "ajax"}, "site acme, now ajax", id="account"),
        pytest.param("https://a:443", {}, "site acme, now not given", id="missing"),
        pytest.param(
            "https://b:443", {"site": "acme", "x": "1"}, "origin https://a:443, now https://b:443; x not given, now 1", id="several"
        ),
    ],
)
def test_a_pull_from_another_account_is_refused(tmp_path: Path, origin: str, account: dict[str, str], differences: str) -> None:
    hub = Hub(tmp_path, "shop")
    hub.claim("https://a:443", {"site": "acme"})
    hub.append(head("000001-01-000000"), RECORDS, [])
    before = tree(tmp_path)
    with pytest.raises(UsageError) as caught:
        Hub(tmp_path, "shop").claim(origin, account)
    assert str(caught.value) == (
        f"hub {tmp_path / 'shop'}: was filled from another account ({differences}); give this one a hub of its own "
        "with --hub DIR (and --schema NAME), or say --same-account if it is the same one after a move"
    )
    assert tree(tmp_path) == before


def test_an_account_that_moved_keeps_its_hub(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    mine = hub.claim("https://a:443", {"site": "acme"})
    hub.append(head("000001-01-000000"), RECORDS, [])
    moved = hub.claim("https://b:443", {"site": "ajax"}, same_account=True)
    assert moved == replace(mine, origin="https://b:443", account={"site": "ajax"})
    assert hub.claim("https://b:443", {"site": "ajax"}) == moved
    with pytest.raises(UsageError, match="origin https://b:443, now https://a:443"):
        hub.claim("https://a:443", {"site": "acme"})
    assert hub.claim("https://a:443", {"site": "acme"}, same_account=True) == mine
    assert hub.claim("https://a:443", {"site": "acme"}) == mine


def test_who_looks_at_a_moved_hub_sees_where_it_is_now(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    hub.claim("https://a:443", {})
    moved = hub.claim("https://b:443", {}, same_account=True)
    assert hub.identity() == moved


def test_a_mistyped_account_that_gave_nothing_names_no_hub(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    mine = hub.claim("https://a:443", {"site": "amce"})
    mended = hub.claim("https://a:443", {"site": "acme"})
    assert (mended.id, mended.account, hub.identity()) == (mine.id, {"site": "acme"}, mended)


# Plans and their fold.


def nothing(run: int) -> dict[str, Any]:
    return {}


def test_two_runs_at_once_get_two_numbers(tmp_path: Path) -> None:
    hub, other = Hub(tmp_path, "shop"), Hub(tmp_path, "shop")
    state, same = hub.state(), other.state()
    assert (hub.begin(lambda run: {"at": 1, "for": run}, state), other.begin(lambda run: {"at": 2, "for": run}, same)) == (1, 2)
    plans = [json.loads((tmp_path / "shop/plans" / f"{number:06}.json").read_text()) for number in (1, 2)]
    assert [(plan["at"], plan["run"], plan["for"]) for plan in plans] == [(1, 1, 1), (2, 2, 2)]
    assert hub.state().run == 2


def test_a_plans_fold_and_later_heads_say_the_same_as_all_heads(tmp_path: Path) -> None:
    """Whatever plans were written between, and whichever of two runs at once wrote a segment late."""
    hub = Hub(tmp_path, "shop")
    heads = [
        head("000001-01-000000", until=50, state={"walk": {}}),
        head("000002-01-000001", chain="000001-01", until=50, ended=END),
        head("000002-02-000000", "changed", since=50, until=60, ended=END),
        head("000003-01-000000", "changed", since=60, until=70),
        head("000004-01-000001", "changed", chain="000003-01", since=60, until=70, ended=END),
        head("000004-02-000000", "changed", since=70, until=80, ended=END),
        head("000005-01-000000", until=90),
        head("000006-01-000000", until=95, ended=END),
    ]
    for number, one in enumerate(heads):
        if number in (1, 3, 4, 6):
            hub.begin(nothing, hub.state())
        hub.append(one, RECORDS, [])
        assert hub.state().collections == {"orders": reduce(fold, heads[: number + 1], CollectionState())}
    hub.begin(nothing, hub.state())
    late = head("000005-01-000001", until=90)
    hub.append(late, RECORDS, [])
    assert hub.state().of("orders").passes == reduce(fold, heads, CollectionState()).passes
    assert hub.state().of("orders").tips == reduce(fold, [*heads, late], CollectionState()).tips


def test_a_fold_reads_only_the_heads_after_the_last_plan(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    hub.append(head("000001-01-000000", until=50, ended=END), RECORDS, [])
    before = hub.state()
    run = hub.begin(nothing, before)
    segment_file(hub, "orders", "000001-01-000000").write_bytes(b"damaged, and nobody looks")
    assert hub.state() == replace(before, run=run, folded=run, behind=0)


# Segments.


def test_a_segment_is_appended_and_read_exactly(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    stored = hub.append(head("000001-01-000000"), RECORDS, [{"status": 200}])
    assert hub.segments("orders") == ["000001-01-000000"]
    assert hub.records("orders", "000001-01-000000") == RECORDS
    assert replace(hub.head("orders", "000001-01-000000"), sha256="") == stored == head("000001-01-000000")


def test_a_head_longer_than_the_first_glance_is_read_whole(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    long = head("000001-01-000000", state={"token": "x" * 100_000})
    hub.append(long, RECORDS, [])
    assert hub.head("orders", long.name).state == long.state


def test_who_loses_the_race_for_a_name_takes_what_is_stored(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    hub.append(head("000001-01-000000", until=1), RECORDS, [])
    stored = hub.append(head("000001-01-000000", until=2), [b'{"id":3}'], [])
    assert stored.until == 1
    assert hub.records("orders", "000001-01-000000") == RECORDS


def cut_off(data: bytes) -> bytes:
    return data[:100]


def one_bit(data: bytes) -> bytes:
    """Of the records: they begin behind the head, which tells its own length."""
    place = 8 + int.from_bytes(data[4:8], "little") + 20
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(one_bit, "segment orders/000001-01-000000: is damaged (its checksum does not fit)", id="one-bit"),
        pytest.param(cut_off, "segment orders/000001-01-000000: is ", id="cut-off"),
        pytest.param(lambda data: b"", "segment orders/000001-01-000000: is damaged (it is cut off)", id="empty"),
        pytest.param(lambda data: b"{}\n" * 50, "segment orders/000001-01-000000: is damaged (it is no segment)", id="foreign"),
    ],
)
def test_a_segment_that_is_not_as_it_was_written_is_named(tmp_path: Path, damage: Callable[[bytes], bytes], sentence: str) -> None:
    hub = Hub(tmp_path, "shop")
    hub.append(head("000001-01-000000"), RECORDS, [{"status": 200}])
    file = segment_file(hub, "orders", "000001-01-000000")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(HubError) as caught:
        hub.records("orders", "000001-01-000000")
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "damage", [one_bit, cut_off, lambda data: b"", lambda data: b"{}\n" * 50], ids=["one-bit", "cut-off", "empty", "foreign"]
)
def test_a_load_names_the_segment_that_it_cannot_read(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """All but the bad segment is loaded; its collection is incomplete, and nothing of it is loaded as if it were empty."""
    api = Api()
    for key in range(1, 8):
        api.add("things", key)
        api.add("pages", key)
    with small_pieces(1, 10**9):
        carry_out(api, tmp_path, "pull")
        file = sorted((tmp_path / "hub/model/segments/things").iterdir())[1]
        file.write_bytes(damage(file.read_bytes()))
        summary = carry_out(api, tmp_path, "load")
    assert summary is not None
    things, pages = summary.collections["things"], summary.collections["pages"]
    assert (things.status, pages.status) == ("incomplete", "complete")
    assert things.errors[0].startswith("segment things/000001-01-000001: is damaged (")
    assert 0 < things.load.inserted < 7  # type: ignore[union-attr]
    assert pages.load.inserted == 7  # type: ignore[union-attr]


def test_a_plan_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    hub.begin(nothing, hub.state())
    (tmp_path / "shop/plans/000001.json").write_bytes(b'{"fold":')
    with pytest.raises(HubError, match=r"plans/000001\.json cannot be read; restore the file"):
        hub.state()


def test_plans_and_manifests_grow_with_the_runs_and_not_with_their_square(tmp_path: Path) -> None:
    """A hub of a few hundred runs, each a complete pass in a leg of its own, and each loaded."""
    hub, taken = Hub(tmp_path, "shop"), Manifest(0, ())
    sizes: dict[int, int] = {}
    for run in range(1, 301):
        state = hub.state()
        assert hub.begin(nothing, state) == run
        assert len(state.of("orders").passes) == run - 1
        one = head(f"{run:06}-01-000000", until=run, ended=END)
        hub.append(one, [], [])
        through = {**taken.through, one.leg: 0}
        taken = hub.loads.plan_load("w", "s", "orders", replace(taken, load=run, segments=(one.name,), through=through))
        assert (taken.load, taken.through) == (run, through)
        sizes[run] = sum(len(data) for file, data in tree(tmp_path).items() if "segments" not in file) if run in (150, 300) else 0
    assert hub.state().collections["orders"] == reduce(fold, map(partial(hub.head, "orders"), hub.segments("orders")), CollectionState())
    assert sizes[300] < 2.7 * sizes[150]


# Manifests.


def test_a_loads_manifest_is_planned_once(tmp_path: Path) -> None:
    hub = Hub(tmp_path, "shop")
    first = Manifest(1, ("000001-01-000000",), {"000001-01": 0})
    assert hub.loads.manifest("w", "s", "orders", 0) == Manifest(0, (), {})
    assert hub.loads.manifest("w", "s", "orders", 1) is None
    assert hub.loads.plan_load("w", "s", "orders", first) == replace(first, carried=1)
    assert hub.loads.plan_load("w", "s", "orders", Manifest(1, (), {})) == replace(first, carried=1)
    assert hub.loads.manifest("w", "other", "orders", 1) is None
    assert [first.has(name) for name in ("000001-01-000000", "000001-01-000001", "000001-02-000000")] == [True, False, False]


# Locks.

HOLDER = """
import sys
from pathlib import Path
from rest_syncer.engine.account import locked
with locked(Path(sys.argv[1]), "pull"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_refused_with_a_sentence_and_dies_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HubError) as caught, locked(tmp_path, "pull"):
            pass
        with locked(tmp_path, "load into shop"):
            pass
        holder.kill()
        holder.wait()
    assert str(caught.value) == f"hub {tmp_path}: another process is at a pull of it; wait until that has ended"
    with locked(tmp_path, "pull"):
        pass


def test_loads_into_two_warehouses_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with locked(tmp_path, "load into shop", "duckdb:a.duckdb") as one:
        with locked(tmp_path, "load into shop", "duckdb:b.duckdb") as other:
            assert one != other
        with (
            pytest.raises(HubError, match="another process is at a load into shop of it"),
            locked(tmp_path, "load into shop", "duckdb:a.duckdb"),
        ):
            pass


def test_a_second_pull_of_a_hub_is_refused_and_asks_nothing(tmp_path: Path) -> None:
    api = Api()
    carry_out(api, tmp_path, "pull")
    before, asked = tree(tmp_path), api.requests
    with locked(tmp_path / "hub/model", "pull"), pytest.raises(HubError, match="another process is at a pull of it"):
        carry_out(api, tmp_path, "pull")
    assert (tree(tmp_path), api.requests) == (before, asked)


@pytest.mark.parametrize("verb", ["pull", "load"])
def test_a_hub_that_may_not_be_written_is_said(verb: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hub-") as folder:
        place = Path(folder)
        place.chmod(0o777)
        api = Api()
        api.add("things", 1)
        with nobody():
            carry_out(api, place, "pull")
            for path in [place / "hub/model", *(place / "hub/model").rglob("*")]:
                path.chmod(0o500 if path.is_dir() else 0o400)
            try:
                with pytest.raises(HubError, match=r"^hub .*/hub/model: .*permissions"):
                    carry_out(api, place, verb)
            finally:
                for path in [place / "hub/model", *(place / "hub/model").rglob("*")]:
                    path.chmod(0o700)
