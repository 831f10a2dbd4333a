"""`syncer hub compact`: what newer versions have replaced goes, and nothing that any table is made of."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine import load
from rest_syncer.engine.account import locked
from rest_syncer.engine.compact import compact
from rest_syncer.engine.errors import HubError, UsageError
from rest_syncer.engine.hub import CollectionState, Hub, HubState, Loading, Manifest
from rest_syncer.engine.hub.fold import OpenChain, Pass
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.plan import load_step
from rest_syncer.engine.retention import base, too_young
from rest_syncer.engine.run import Options
from tests.ducks import opened
from tests.farm import LATEST, MANY, SPEC, Farm, Hours, Row, row, spec, thin, told
from tests.support import segment_file
from tests.test_deleted import BIN, SILENT, TIMED, went
from tests.test_lists import BY_CURSOR, go, order

FIRST = "000001-01-000000"


def hub_of(farm: Farm) -> Hub:
    return Hub(farm.folder / "hub", "shop")


def held(farm: Farm) -> list[Row]:
    hub = hub_of(farm)
    return [json.loads(record) for segment in hub.segments("orders") for record in hub.records("orders", segment)]


def test_the_newest_version_of_each_record_stays_also_of_one_that_is_gone(farm: Farm) -> None:
    farm.run([row(1), row(2), row(3)])
    farm.run([row(1, "2.00"), row(2)])
    farm.run([row(1, "3.00"), row(2)])
    before = farm.table("id, sum, _deleted_at::VARCHAR, _segment, _synced_at::VARCHAR")
    done = thin(farm)
    assert (done.records, done.records_left, done.segments, done.held_by) == (7, 3, 3, None)
    assert held(farm) == [row(3), row(1, "3.00"), row(2)]
    assert hub_of(farm).verify() == []
    assert farm.run([], verb="load").status == "complete"
    assert farm.table("id, sum, _deleted_at::VARCHAR, _segment, _synced_at::VARCHAR") == before
    assert thin(farm).records == 3


def test_a_new_warehouse_a_replay_and_a_new_column_find_all_they_need(farm: Farm) -> None:
    farm.run([row(1, state="new"), row(2), row(3)])
    farm.run([row(1, "2.00", state="paid"), row(2)])
    farm.run([row(1, "3.00", state="sent"), row(2), row(4)])
    thin(farm)
    shown = farm.table()
    farm.run([], verb="replay")
    assert farm.table() == shown
    more = LATEST.replace("state: string", "state: string, status: {type: string, from: state}")
    assert farm.book([], more, "load") == {}
    assert farm.table("id, status") == [(1, "sent"), (2, None), (3, None), (4, None)]
    assert farm.asked == ["/orders"] * 3
    other = farm.folder / "other.duckdb"
    assert farm.book([], verb="load", to=f"duckdb:{other}") == {"inserted": 4, "deleted": 1}
    with opened(other) as con:
        assert con.execute("SELECT id, sum, _deleted_at IS NOT NULL FROM shop.orders ORDER BY id").fetchall() == shown


def test_a_row_leads_to_its_record_before_and_after(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that did not change points to where its values came first; when that is thinned, the way goes on to the newest."""
    farm.run([row(1), row(2)])
    (farm.folder / "shop.yaml").write_text(LATEST)
    monkeypatch.chdir(farm.folder)
    ((place,),) = farm.client.ask("SELECT _segment FROM shop.orders WHERE id = 2")

    def record() -> tuple[Row, str]:
        found = CliRunner().invoke(app, ["hub", "record", "shop.yaml", place, "--hub", "hub"])
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout), found.stderr

    assert record() == (row(2), "")
    for number in range(3):
        farm.run([row(1, f"{number}.00"), row(2)])
        if number != 1:
            thin(farm)
    assert farm.client.ask("SELECT _segment FROM shop.orders WHERE id = 2") == [(place,)]
    found, said = record()
    assert found == row(2)
    assert f"was thinned; the newest version of this record is {place.split('/')[0]}/orders/000005-01-000000#2" in said


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("orders", "is no place of a record"),
        ("abcd/orders/000001-01-000000#1", "is of another hub than hub/shop"),
        ("HUB/orders/000009-01-000000#1", "there is no segment orders/000009-01-000000"),
        ("HUB/orders/000001-01-000000#9", "segment orders/000001-01-000000 has no line 9"),
    ],
)
def test_a_place_that_is_none_is_said(farm: Farm, monkeypatch: pytest.MonkeyPatch, place: str, sentence: str) -> None:
    farm.run([row(1)])
    (farm.folder / "shop.yaml").write_text(LATEST)
    monkeypatch.chdir(farm.folder)
    identity = hub_of(farm).identity()
    found = CliRunner().invoke(app, ["hub", "record", "shop.yaml", place.replace("HUB", identity.id if identity else ""), "--hub", "hub"])
    assert (found.exit_code != 0, sentence in found.stderr, found.stdout) == (True, True, ""), found.output


def test_what_came_lately_stays(farm: Farm) -> None:
    """An hour goes by with each run; a run's records came before the next one began."""
    for number in range(6):
        farm.run([row(1, f"{number}.00")])
    done = thin(farm, SPEC + "keep: 3h\n")
    assert [one["sum"] for one in held(farm)] == ["2.00", "3.00", "4.00", "5.00"]
    assert done.held_by == "it is younger than `keep`"
    assert thin(farm, SPEC).held_by == "`keep: all`"


def test_it_waits_for_a_warehouse_until_that_is_forgotten(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    other = f"duckdb:{farm.folder / 'other.duckdb'}"
    farm.run([row(1)])
    farm.run([], verb="load", to=other)
    farm.run([row(1, "2.00")])
    farm.run([row(1, "3.00")])
    held_by = thin(farm).held_by or ""
    assert "(schema shop) has not loaded it" in held_by
    assert len(held(farm)) == 3
    (farm.folder / "shop.yaml").write_text(LATEST)
    monkeypatch.chdir(farm.folder)
    shown = json.loads(CliRunner().invoke(app, ["hub", "shop.yaml", "--hub", "hub", "--json"]).stdout)["warehouses"]
    behind = next(one for one in shown if one["segments_to_load"])
    assert (behind["into"], behind["schema"], behind["segments_to_load"], behind["id"] in held_by) == (other, "shop", 2, True)
    assert CliRunner().invoke(app, ["hub", "forget", "shop.yaml", "nobody", "--hub", "hub"]).exit_code == 2
    assert CliRunner().invoke(app, ["hub", "forget", "shop.yaml", behind["id"], "--hub", "hub"]).exit_code == 0
    assert thin(farm).held_by is None
    assert held(farm) == [row(1, "3.00")]
    summary = farm.run([], verb="load", to=other)
    assert "of which hub" in told(summary), "it cannot go on as if nothing had happened"


def test_a_load_whose_word_got_lost_only_delays(farm: Farm) -> None:
    farm.run([row(1)])
    farm.run([row(1, "2.00")])
    shutil.rmtree(farm.folder / "hub/shop/acks")
    assert "has not loaded it" in (thin(farm).held_by or "")
    farm.run([], verb="load")
    assert thin(farm).held_by is None
    assert held(farm) == [row(1, "2.00")]


def test_a_warehouse_that_was_put_back_takes_nothing_for_gone_that_is_there(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its loads took then has lost its older versions: that they are not there proves nothing."""
    file = farm.folder / "mine.duckdb"
    to = f"duckdb:{file}"
    farm.run(MANY[:5], to=to)
    shutil.copy(file, farm.folder / "copy.duckdb")
    for number in (2, 3):
        farm.run([one | {"sum": f"{number}.00"} for one in MANY[:5]], to=to)
    assert thin(farm).records_left == 5
    shutil.copy(farm.folder / "copy.duckdb", file)
    monkeypatch.setattr(load, "LOAD_BYTES", 1)
    summary = farm.run([], verb="load", to=to)
    assert (summary.status, told(summary)) == ("complete", "")
    receipt = summary.collections["orders"].load
    assert receipt and (receipt.updated, receipt.deleted) == (5, 0)


@pytest.mark.parametrize("mode", ["upsert", "history"])
def test_the_first_fill_of_a_table_holds_no_deletions_back(farm: Farm, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pass found gone long ago was there again long ago, or was let through where people looked at it."""
    text = SPEC.replace("key: id", f"key: id\n    mode: {mode}")
    for rows in (MANY, MANY[:15], MANY):
        farm.run(rows, text, "pull")
    monkeypatch.setattr(load, "LOAD_BYTES", 1)
    farm.book([], text, "load")
    assert len(farm.table()) == 30 + 15 * (mode == "history")
    assert farm.run(MANY[:15], text).status == "failed", "later ones are held back"


def test_a_first_fill_that_broke_off_holds_back_what_is_found_gone_since(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = SPEC.replace("key: id", "key: id\n    on_reject: fail")
    for rows in (MANY, [*MANY[1:], row(1) | {"at": "soon"}]):
        farm.run(rows, strict, "pull")
    monkeypatch.setattr(load, "LOAD_BYTES", 1)
    assert farm.run([], strict, "load").status == "failed"
    assert len(farm.table()) == 30
    summary = farm.run(MANY[:3])
    assert (summary.status, len(farm.table())) == ("failed", 30)
    assert "27 rows are gone from the source" in told(summary)


def test_where_the_past_was_thinned_nothing_is_taken_out_for_not_fitting_now(farm: Farm) -> None:
    """An older version that fits might have been there."""
    farm.run([row(1, "1"), row(2, "2")])
    farm.run([row(1, "one"), row(2, "2")])
    thin(farm)
    farm.run([], LATEST.replace("sum: string", "sum: {type: integer, on_reject: record}"), "load")
    assert farm.table("id, sum") == [(1, None), (2, 2)]


def test_a_history_that_was_put_back_knows_what_had_gone_and_come_again(farm: Farm) -> None:
    text, file = SPEC.replace("key: id", "key: id\n    mode: history"), farm.folder / "mine.duckdb"
    to = f"duckdb:{file}"
    farm.run([row(1), row(2)], text, to=to)
    shutil.copy(file, farm.folder / "copy.duckdb")
    for rows in ([row(1)], [row(1), row(2)]):
        farm.run(rows, text, to=to, allow_deletes=True)
    shutil.copy(farm.folder / "copy.duckdb", file)
    farm.run([], text, "load", to=to)
    with opened(file) as con:
        assert con.execute("SELECT id, _version, _valid_to IS NULL FROM shop.orders ORDER BY ALL").fetchall() == [
            (1, 1, True), (2, 1, False), (2, 2, True),
        ]  # fmt: skip


def test_what_has_no_key_or_is_left_out_replaces_nothing(farm: Farm) -> None:
    text = LATEST.replace("key: id", "key: id\n    on_reject: record")
    good, bad = row(1), row(1, "2.00") | {"at": "soon"}
    farm.run([good, {"id": None, "sum": "0.50"}], text)
    farm.run([bad, {"id": None, "sum": "0.50"}], text)
    shown = farm.table()
    thin(farm, text)
    assert [one["sum"] for one in held(farm)] == ["1.00", "0.50", "2.00", "0.50"]
    farm.run([], text, "replay")
    assert farm.table() == shown


def test_a_misfit_is_found_where_it_was(farm: Farm) -> None:
    """Thinning moves no line: not that of a record behind those that went, either."""
    odd = {"at": "soon"}
    farm.run([row(1), row(2) | odd, row(3), row(4) | odd])
    farm.run([row(1, "2.00"), row(2) | odd, row(3, "2.00")], SPEC.replace("  orders:\n", "  orders:\n    full: {every: 1d}\n"))
    assert thin(farm).records_left == 4
    farm.run([], verb="replay")
    places = farm.client.ask("SELECT segment FROM shop._syncer_rejects ORDER BY segment")
    assert [place.partition("orders/")[2] for (place,) in places] == [f"{FIRST}#4", "000002-01-000000#2"]


def test_nobody_else_is_at_the_hub_meanwhile(farm: Farm) -> None:
    farm.run([row(1)])
    root = farm.folder / "hub/shop"
    for what in ("pull", "compaction"):
        with locked(root, what), pytest.raises(HubError, match="wait until that has ended"):
            thin(farm)
    with locked(root, "compaction", shared=True):
        with pytest.raises(HubError, match="another process compacts it, or loads from it"):
            thin(farm)
        assert farm.run([], verb="load").status == "complete", "loads hold off no loads"
    with locked(root, "compaction"), pytest.raises(HubError, match="another process compacts it"):
        farm.run([], verb="load")


def test_an_empty_hub_has_nothing_to_thin(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is empty; there is nothing to compact"):
        compact(parse_spec(LATEST), Options(hub=str(tmp_path)), Hours(1))


@pytest.mark.parametrize(
    ("words", "source_keeps", "sentence"),
    [
        ("mode: append\n    keep: latest", "all", "`mode: append` is made of the first version of a record; write all"),
        ("mode: history\n    keep: 90d", "all", "`mode: history` is made of each version of a record; write all"),
        ("mode: history", "90d", "is made of each version of a record, and the source says `keep: 90d`; add `keep: all` to the collection"),
        ("keep: some", "all", "is not all, latest, or a length of time like 90d"),
    ],
)
def test_a_table_that_needs_the_past_keeps_it(words: str, source_keeps: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(SPEC.replace("key: id", f"key: id\n    {words}") + f"keep: {source_keeps}\n")
    assert sentence in str(caught.value)
    parse_spec(SPEC.replace("key: id", "key: id\n    mode: history\n    keep: all") + "keep: 90d\n")


# How far back, worked out.

SEGMENTS = ["000001-01-000000", "000002-01-000000", "000003-01-000000", "000003-01-000001", "000004-01-000000"]
COLLECTION = parse_spec(SPEC).spec.collections["orders"]


def loading(*segments: str) -> Loading:
    return Loading("w", "s", Manifest(1, (), {name.rpartition("-")[0]: int(name[-6:]) for name in segments}), None)


def chain(run: int) -> OpenChain:
    return OpenChain(f"{run:06}-01", f"{run:06}-01-000000", 0, None, None, "", {})


def one_pass(run: int, ended: str) -> Pass:
    return Pass(run, f"{run:06}-01", 0, ended, gone=True)


@pytest.mark.parametrize(
    ("state", "loadings", "young", "expected"),
    [
        pytest.param(CollectionState(), [], None, 5, id="all"),
        pytest.param(CollectionState(open={"full": chain(3)}), [], None, 2, id="a-pass-goes-on"),
        pytest.param(CollectionState(open={"full": chain(4), "changed": chain(2)}), [], None, 1, id="a-window-is-open"),
        pytest.param(CollectionState(), [loading(*SEGMENTS), loading(*SEGMENTS[:3])], None, 3, id="a-warehouse-is-behind"),
        pytest.param(CollectionState(), [Loading("w", "s", Manifest(0, ()), None)], None, 0, id="a-warehouse-never-told"),
        pytest.param(CollectionState(passes=(one_pass(1, SEGMENTS[0]), one_pass(3, SEGMENTS[3]))), [], None, 5, id="passes-that-ended"),
        pytest.param(CollectionState(passes=(one_pass(2, SEGMENTS[3]),)), [loading(*SEGMENTS[:3])], None, 1, id="an-end-not-loaded"),
        pytest.param(
            CollectionState(passes=(one_pass(1, SEGMENTS[1]), one_pass(2, SEGMENTS[3]))), [loading(*SEGMENTS[:3])], None, 0,
            id="and-so-the-end-before",
        ),
        pytest.param(CollectionState(), [], 3, 2, id="too-young"),
    ],
)  # fmt: skip
def test_the_base_ends_where_the_order_is_not_settled_or_something_is_missing(
    state: CollectionState, loadings: list[Loading], young: int | None, expected: int
) -> None:
    found = base(state, SEGMENTS, loadings, {}, young)
    assert found.segments == tuple(SEGMENTS[:expected])
    assert (found.held_by is None) == (expected == len(SEGMENTS))


LINES = """
  lines:
    path: /o/{{ parent.id }}
    parent: {collection: orders, only_changed: true}
    key: id
    properties: {id: integer}
"""
CHILD = parse_spec(SPEC + LINES).spec.collections["lines"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [(CollectionState(), 5), (CollectionState(parents=3), 4), (CollectionState(parents=3, open={"changed": chain(2)}), 2)],
)
def test_parents_stay_as_their_children_have_seen_them(state: CollectionState, expected: int) -> None:
    assert base(CollectionState(), SEGMENTS, [], {"lines": (CHILD, state)}).segments == tuple(SEGMENTS[:expected])


@pytest.mark.parametrize(
    ("began", "before", "first"),
    [
        ([(1, 10), (2, 20), (3, 30)], 25, 2),
        ([(1, 10), (2, 20), (3, 30)], 30, 3),
        ([(1, 10), (2, 20), (3, 30)], 5, 0),
        ([(1, 10), (2, 99), (3, 30), (4, 40)], 35, 1),  # a clock ran ahead
        ([(1, 10), (2, 20), (3, 1), (4, 40)], 15, 1),  # one was set back
    ],
)
def test_a_run_is_too_young_unless_the_next_one_began_before(began: list[tuple[int, int]], before: int, first: int) -> None:
    assert too_young(began, before) == first


def test_a_load_counts_as_alive_what_its_warehouse_had() -> None:
    state = CollectionState(passes=(one_pass(2, SEGMENTS[1]),))
    assert load_step(state, 2, SEGMENTS[1:2], SEGMENTS[:1], refill=False, had=SEGMENTS[2:]).keys == tuple(SEGMENTS[2:])
    assert load_step(state, 2, SEGMENTS[2:3], SEGMENTS[:2], refill=False, had=SEGMENTS[3:]).keys == ()


# What counts since a deletion, what came meanwhile, and what is damaged.

BACK: tuple[tuple[list[Row], list[Row]], ...] = (
    ([], [row(1, "ten", at=30), row(2)]),
    ([went(1, hour=12)], []),
    ([], [row(1, "seven", at=20)]),
    ([], [row(1, "five", at=15)]),
)
"""A record that was put back with an older cursor, of which then a still older copy comes."""


def same_everywhere(farm: Farm, text: str, columns: str = "id, sum, _deleted_at IS NOT NULL") -> list[tuple[Any, ...]]:
    """What the table shows, as it is before and after compaction, in a new warehouse, and after a replay."""
    shown = sorted(farm.client.ask(f"SELECT {columns} FROM shop.orders"))
    compact(parse_spec(text), Options(hub=str(farm.folder / "hub")), Hours(farm.hour))
    other = farm.folder / "other.duckdb"
    farm.book([], text, "load", to=f"duckdb:{other}")
    with opened(other) as con:
        assert sorted(con.execute(f"SELECT {columns} FROM shop.orders").fetchall()) == shown
    farm.book([], text, "replay")
    assert sorted(farm.client.ask(f"SELECT {columns} FROM shop.orders")) == shown
    return shown


@pytest.mark.many
@pytest.mark.parametrize("text", [SILENT, TIMED])
def test_what_counts_since_a_deletion_stays(farm: Farm, text: str) -> None:
    for gone, rows in BACK:
        farm.lists[BIN] = gone
        farm.book(rows, text + "keep: latest\n")
    assert same_everywhere(farm, text + "keep: latest\n") == [(1, "seven", False), (2, "1.00", False)]


@pytest.mark.many
def test_a_deletion_before_the_last_one_is_remembered(farm: Farm) -> None:
    text = SILENT + "keep: latest\n"
    for gone, rows in (*BACK[:3], ([went(1)], []), ([went(1)], []), ([went(1)], [])):
        farm.lists[BIN] = gone
        farm.book(rows, text)
    assert same_everywhere(farm, text) == [(1, "seven", True), (2, "1.00", False)]
    hub = hub_of(farm)
    assert sum(len(hub.records("orders.deleted", name)) for name in hub.segments("orders.deleted")) == 3


@pytest.mark.many
def test_what_a_list_had_is_not_taken_for_gone(farm: Farm) -> None:
    """Its older version of a later run stays, and so the list of that run does not seem to lack it."""
    text = BY_CURSOR + "keep: latest\n"
    for at, sum_ in ((30, "ten"), (20, "seven"), (20, "seven")):
        go(farm, {1: [order(2, sum_, at=at), order(3, at=1)]}, text)
    assert same_everywhere(farm, text) == [(2, "ten", False), (3, "1.00", False)]


@pytest.mark.many
def test_what_another_machine_brings_meanwhile_is_left_alone(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete pass that began after the hub was looked at outranks what its order is known of."""
    text = spec("cursor: {property: at, param: since}\n    full: {every: 1h}") + "keep: latest\n"
    for _ in range(2):
        farm.run([row(1, "ten", at=30), row(2)], text, "pull")
    sees = Hub.state

    def meanwhile(hub: Hub, *only: str) -> HubState:
        state = sees(hub, *only)
        monkeypatch.setattr(Hub, "state", sees)
        monkeypatch.setattr("rest_syncer.engine.pull.locked", lambda *_, **__: nullcontext(), raising=False)
        monkeypatch.setattr("rest_syncer.engine.run.locked", lambda *_, **__: nullcontext())
        farm.run([row(1, "restored", at=20), row(2)], text, "pull")
        return state

    monkeypatch.setattr(Hub, "state", meanwhile)
    assert thin(farm, text).segments == 2, "the third is of nothing that was known"
    monkeypatch.undo()
    farm.book([], text, "load")
    assert farm.table() == [(1, "restored", False), (2, "1.00", False)]


@pytest.mark.many
def test_nothing_goes_for_a_version_that_is_damaged(farm: Farm) -> None:
    farm.run([row(1), row(2)])
    farm.run([row(1, "2.00"), row(2, "2.00")])
    file = segment_file(hub_of(farm), "orders", "000002-01-000000")
    data = bytearray(file.read_bytes())
    data[-3] ^= 1  # in what is kept of the answers: the records can be read
    file.write_bytes(data)
    thin(farm)
    assert held(farm) == [row(1), row(2)]
    assert [str(one) for one in hub_of(farm).verify()] == ["segment orders/000002-01-000000: its checksum does not fit"]


@pytest.mark.many
def test_a_damaged_end_of_a_pass_holds_up_nothing_that_later_passes_outrank(farm: Farm) -> None:
    for number in range(1, 4):
        farm.run([row(1, f"{number}.00"), row(2)])
    segment_file(hub_of(farm), "orders", "000002-01-000000").unlink()
    hub_of(farm).verify()
    for number in range(4, 6):
        farm.run([row(1, f"{number}.00"), row(2)])
    done = thin(farm)
    assert (done.held_by, done.records_left) == (None, 2)


def test_what_a_clock_that_was_set_back_says_is_not_believed() -> None:
    assert too_young([(1, 100), (2, 200), (3, 50), (4, 60)], 150) == 1
    assert too_young([(1, 100), (2, 120), (3, 50)], 150) == 3
