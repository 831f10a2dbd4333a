"""What becomes of rows, in every warehouse: modes, deletes and the fuse before them, renamed columns, replays."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from rest_syncer.engine.errors import SpecError
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import Settings
from tests.ducks import opened
from tests.farm import MANY, SPEC, Farm, Hours, row, spec, told
from tests.shop import Client

# Deletes.


@pytest.mark.shows("deletes: soft, hard, by tombstone")
def test_a_soft_delete_is_a_mark_and_comes_off_again(farm: Farm) -> None:
    farm.run([row(1), row(2)])
    assert farm.book([row(1)]) == {"unchanged": 1, "deleted": 1}
    assert farm.table() == [(1, "1.00", False), (2, "1.00", True)]
    assert farm.book([row(1), row(2)]) == {"unchanged": 1, "updated": 1}
    assert farm.table() == [(1, "1.00", False), (2, "1.00", False)]


@pytest.mark.shows("deletes: soft, hard, by tombstone")
def test_a_hard_delete_takes_the_row_out(farm: Farm) -> None:
    text = spec("deletes: hard")
    farm.run([row(1), row(2)], text)
    assert farm.book([row(1)], text) == {"unchanged": 1, "deleted": 1}
    assert farm.table() == [(1, "1.00", False)]
    assert farm.book([row(1), row(2, "2.00")], text) == {"unchanged": 1, "inserted": 1}
    assert farm.table() == [(1, "1.00", False), (2, "2.00", False)]


def test_ignored_deletes_leave_the_row_as_it_was(farm: Farm) -> None:
    text = spec("deletes: ignore")
    farm.run([row(1), row(2)], text)
    assert farm.book([row(1)], text) == {"unchanged": 1}
    assert (farm.table(), farm.written()) == ([(1, "1.00", False), (2, "1.00", False)], {1: 1, 2: 1})


def test_another_word_for_deletes_holds_for_what_went_before_without_a_request(farm: Farm) -> None:
    farm.run([row(1), row(2)])
    farm.run([row(1)])
    farm.asked.clear()
    farm.book([], spec("deletes: hard"), "load")
    assert farm.table() == [(1, "1.00", False)]
    farm.book([], spec("deletes: soft"), "load")
    assert farm.table() == [(1, "1.00", False), (2, "1.00", True)]
    farm.book([], spec("deletes: ignore"), "load")
    assert farm.table() == [(1, "1.00", False), (2, "1.00", False)]
    assert farm.asked == []


@pytest.mark.shows("deletes: soft, hard, by tombstone")
@pytest.mark.parametrize(
    "tombstone",
    [
        "{property: state, values: removed}",
        pytest.param("{property: state, values: [removed, gone]}", marks=pytest.mark.many),
        pytest.param("state", marks=pytest.mark.many),
    ],
)
@pytest.mark.parametrize("deletes", ["soft", pytest.param("hard", marks=pytest.mark.many)])
def test_a_record_may_say_itself_that_it_is_gone(farm: Farm, tombstone: str, deletes: str) -> None:
    text = spec(f"deletes: {deletes}\n    tombstone: {tombstone}")
    live, gone = [row(1), row(2)], [row(1), row(2, state="removed"), row(3, state="removed")]
    farm.run(live, text)
    first = farm.book(gone, text)
    assert first == {"unchanged": 1, "updated": 1, "deleted": 1} | ({"inserted": 1} if deletes == "soft" else {"filtered": 1})
    kept = [(1, "1.00", False), (2, "1.00", True), (3, "1.00", True)]
    assert farm.table() == (kept if deletes == "soft" else kept[:1])
    assert farm.book(gone, text) == ({"unchanged": 3} if deletes == "soft" else {"unchanged": 1, "filtered": 2})
    back = farm.book(live, text)
    assert back == {"unchanged": 1} | ({"updated": 1} if deletes == "soft" else {"inserted": 1})
    assert farm.table()[:2] == [(1, "1.00", False), (2, "1.00", False)]


@pytest.mark.parametrize("deletes", ["soft", "hard"])
def test_a_tombstone_that_the_spec_names_later_tells_of_the_rows_that_are_there(farm: Farm, deletes: str) -> None:
    farm.run([row(1), row(2, state="removed")])
    text = spec(f"deletes: {deletes}\n    tombstone: {{property: state, values: removed}}")
    assert farm.book([], text, "load") == {"deleted": 1}
    kept = [(1, "1.00", False), (2, "1.00", True)]
    assert farm.table() == (kept if deletes == "soft" else kept[:1])


def test_a_boolean_says_so_by_being_true(farm: Farm) -> None:
    text = spec("tombstone: gone", "{id: integer, gone: boolean}")
    farm.run([{"id": 1, "gone": False}, {"id": 2, "gone": True}, {"id": 3}], text)
    assert farm.table("id, _deleted_at IS NOT NULL") == [(1, False), (2, True), (3, False)]


def test_a_pass_that_finds_much_gone_deletes_nothing_until_it_is_told_to(farm: Farm) -> None:
    farm.run(MANY)
    summary = farm.run([*MANY[:15], row(31)])
    assert summary.status == "failed"
    assert told(summary) == (
        "orders: 15 rows are gone from the source, more than `max_delete_share` (10%) of the table, so none is marked as deleted; "
        "if that is right, say --allow-deletes"
    )
    assert [gone for *_, gone in farm.table()] == [False] * 31, "what is new came all the same"
    assert farm.client.ask("SELECT held_back FROM shop._syncer_runs ORDER BY run") == [(0,), (15,)]
    again = farm.run([], verb="load")
    assert (again.status, told(again)) == ("failed", told(summary)), "it stays said"
    assert farm.book([], verb="load", allow_deletes=True) == {"deleted": 15}
    assert [id_ for id_, _, gone in farm.table() if gone] == list(range(16, 31))
    assert farm.run([], verb="load").status == "complete"


def test_where_a_key_cannot_be_read_nothing_is_let_through_and_the_load_ends(farm: Farm) -> None:
    farm.run(MANY)
    farm.run(MANY[:15])
    farm.run([*MANY[:15], {"id": None}], verb="pull")
    summary = farm.run([], verb="load", allow_deletes=True)
    assert (summary.status, farm.client.ask("SELECT count(_deleted_at) FROM shop.orders")) == ("failed", [(0,)])
    assert "records with an unreadable key came, so nothing was marked as deleted" in summary.collections["orders"].notes


def test_what_a_pass_before_it_had_found_gone_goes_all_the_same(farm: Farm) -> None:
    text = spec("max_delete_share: 100%")
    farm.run(MANY, text)
    farm.run(MANY[:15], text, "pull")
    farm.run([*MANY[:10], {"id": None}], text, "pull")
    summary = farm.run([], text, "load")
    assert (summary.status, farm.client.ask("SELECT count(_deleted_at) FROM shop.orders")) == ("complete", [(15,)])
    told_so = "records with an unreadable key came, so what their complete pass lacks was not marked as deleted"
    assert told_so in summary.collections["orders"].notes


@pytest.mark.parametrize("mode", ["deletes: soft", "deletes: hard", "mode: history"])
def test_where_a_key_could_not_be_read_a_replay_and_a_new_warehouse_show_the_same(farm: Farm, mode: str) -> None:
    text = spec(f"{mode}\n    max_delete_share: 100%", "{id: integer, sum: string, state: string}")
    for rows in ([row(1), row(2), row(3)], [row(1), row(2)], [row(1), {"id": None}]):
        farm.run(rows, text)
    shown = [(1, "1.00", False), (2, "1.00", False)] + ([(3, "1.00", True)] if mode != "deletes: hard" else [])
    assert farm.table() == shown
    farm.run([], text, "replay")
    assert farm.table() == shown
    farm.run([], text, "load", to=f"duckdb:{farm.folder / 'other.duckdb'}")
    with opened(farm.folder / "other.duckdb") as con:
        assert con.execute("SELECT id, sum, _deleted_at IS NOT NULL FROM shop.orders ORDER BY id").fetchall() == shown


def test_a_pass_that_finds_the_rows_again_ends_what_was_held_back(farm: Farm) -> None:
    farm.run(MANY)
    farm.run(MANY[:15])
    assert farm.book(MANY) == {"unchanged": 30}
    assert farm.run([], verb="load").status == "complete"


@pytest.mark.parametrize(
    ("share", "kept", "held"),
    [("10%", 19, True), ("10%", 20, False), ("50%", 15, False), ("50%", 14, True), ("100%", 0, False), ("0%", 20, False), ("0%", 19, True)],
)
def test_the_fuse_is_a_share_of_the_rows_and_lets_ten_go_always(farm: Farm, share: str, kept: int, held: bool) -> None:
    text = spec(f"max_delete_share: {share}")
    farm.run(MANY, text)
    farm.run(MANY, text)
    assert (farm.run(MANY[:kept], text).status == "failed") == held


def test_a_new_warehouse_learns_at_once_what_is_gone(farm: Farm, tmp_path: Path) -> None:
    farm.run(MANY, verb="pull")
    farm.run(MANY[:5], verb="pull")
    assert farm.book([], verb="load") == {"inserted": 30, "duplicates": 5, "deleted": 25}


def test_a_spec_that_changes_lets_nothing_through_the_fuse(farm: Farm) -> None:
    farm.run(MANY)
    farm.run(MANY[:15])
    wider = spec(properties="{id: integer, sum: string, state: string, at: timestamp, more: {type: string, from: sum}}")
    assert farm.run([], wider, "load").status == "failed"
    assert farm.client.ask("SELECT count(_deleted_at), count(more) FROM shop.orders") == [(0, 30)]
    both = spec(properties="{id: integer, sum: string, state: string, at: timestamp}")
    assert farm.run(MANY[:5], both).status == "failed"
    assert farm.client.ask("SELECT count(_deleted_at) FROM shop.orders") == [(0,)]


# Modes.


def test_an_appended_record_stays_as_it_first_came(farm: Farm) -> None:
    text = spec("mode: append")
    assert farm.book([row(1), row(2)], text) == {"inserted": 2}
    assert farm.book([row(2), row(3)], text) == {"inserted": 1, "unchanged": 1}, "what is no longer listed is not gone"
    assert farm.book([row(3, "9.00"), row(3, "8.00")], text) == {"duplicates": 1, "stale": 1}
    assert farm.table() == [(1, "1.00", False), (2, "1.00", False), (3, "1.00", False)]
    assert farm.written() == {1: 1, 2: 1, 3: 2}
    assert farm.book([], text.replace("sum: string", "sum: 'decimal(9,2)'"), "load") == {}
    assert [str(sum_) for _, sum_, _ in farm.table()] == ["1.00", "1.00", "1.00"]


@pytest.mark.shows("`mode: snapshot`")
def test_a_snapshot_is_the_last_pass_and_nothing_else(farm: Farm) -> None:
    text = spec("mode: snapshot")
    assert farm.book(MANY, text) == {"inserted": 30}
    assert farm.book([row(1), row(2, "2.00"), row(40)], text) == {"unchanged": 1, "updated": 1, "inserted": 1, "deleted": 28}
    assert farm.table() == [(1, "1.00", False), (2, "2.00", False), (40, "1.00", False)]
    assert farm.written() == {1: 1, 2: 2, 40: 2}
    assert farm.book([], text) == {"deleted": 3}
    assert farm.table() == []


def test_a_snapshot_shows_nothing_of_a_pass_that_has_not_ended(tmp_path: Path, client: Client) -> None:
    pages = spec("mode: snapshot\n    paginate: {kind: number, total: total}\n    params: {per_page: 2}")

    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params.get("page", 1))
        if page == 2 and not up:
            return httpx.Response(404)
        rows = [row(10 * turn + page), row(10 * turn + page + 5)]
        return httpx.Response(200, json={"data": rows, "total": 4}, headers={"Date": "Tue, 22 Nov 2016 12:00:00 GMT"})

    def go(text: str) -> str:
        options = Options(hub=str(tmp_path / "hub"), to=client.url)
        transport = httpx.MockTransport(answer)
        return run(parse_spec(text), Settings({}, frozenset()), options, clock=Hours(turn), transport=transport).status

    farm = Farm(tmp_path, client)
    turn, up = 1, True
    assert go(pages) == "complete"
    before = farm.table()
    turn, up = 2, False
    assert go(pages) == "failed"
    assert farm.table() == before
    up = True
    assert go(pages) == "complete"
    assert [id_ for id_, *_ in farm.table()] == [21, 22, 26, 27]


# Renames and replays.


@pytest.mark.shows("columns added, retyped, renamed (`was`)")
def test_a_renamed_column_keeps_its_values_and_is_not_filled_again(farm: Farm) -> None:
    farm.run([row(1), row(2, "x")])
    renamed = spec(properties="{id: integer, total: {type: string, was: sum, from: sum}, state: string, at: timestamp}")
    assert farm.book([row(1), row(2, "y")], renamed) == {"unchanged": 1, "updated": 1}
    assert farm.table("id, total") == [(1, "1.00"), (2, "y")]
    assert farm.client.ask("SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'sum'") == [(0,)]
    assert farm.written() == {1: 1, 2: 2}
    again = renamed.replace("was: sum", "was: [sum, total]").replace("total:", "amount:")
    farm.book([row(1), row(2, "y")], again)
    assert (farm.table("id, amount"), farm.written()) == ([(1, "1.00"), (2, "y")], {1: 1, 2: 2})


@pytest.mark.many
def test_a_column_is_renamed_without_new_records(farm: Farm) -> None:
    farm.run([row(1)])
    renamed = spec(properties="{id: integer, total: {type: string, was: sum, from: sum}, state: string, at: timestamp}")
    assert farm.book([], renamed, "load") == {}
    assert (farm.table("id, total"), farm.written()) == ([(1, "1.00")], {1: 1})


def test_a_column_of_the_users_own_is_not_taken_for_a_property(farm: Farm) -> None:
    named = spec(properties="{id: integer, sum: string, mine: {type: string, from: state}}")
    farm.run([row(1)])
    farm.client.ask("ALTER TABLE shop.orders ADD COLUMN mine VARCHAR")
    farm.client.ask("UPDATE shop.orders SET mine = 'precious'")
    renamed = spec(properties="{id: integer, sum: string, ours: {type: string, from: state, was: mine}}")
    for verb, text in (("run", named), ("replay", named), ("load", renamed)):
        summary = farm.run([row(1)], text, verb)
        assert "shop.orders has mine, which syncer did not make; rename that there, or give the property another name" in told(summary)
    assert farm.table("id, mine") == [(1, "precious")]
    farm.client.ask("ALTER TABLE shop.orders RENAME COLUMN mine TO ours")
    farm.run([row(1, state="new")], named)
    assert farm.table("id, mine, ours") == [(1, "new", "precious")]
    farm.run([row(1)])
    assert farm.book([], named, "load") == {}, "what it named before is its own"


def test_a_renamed_key_stays_the_key(farm: Farm) -> None:
    farm.run([row(1), row(2)])
    renamed = SPEC.replace("key: id", "key: number").replace("{id: integer", "{number: {type: integer, was: id, from: id}")
    assert farm.book([row(1, "2.00"), row(3)], renamed) == {"updated": 1, "inserted": 1, "deleted": 1}
    assert farm.client.ask("SELECT number, sum FROM shop.orders ORDER BY 1") == [(1, "2.00"), (2, "1.00"), (3, "1.00")]


def test_rejects_follow_a_renamed_column(farm: Farm) -> None:
    typed = SPEC.replace("sum: string", "sum: integer")
    farm.run([row(1, "x")], typed)
    farm.book([], typed.replace("sum: integer", "total: {type: integer, was: sum, from: sum}"), "load")
    farm.book([row(1, "x")], typed.replace("sum: integer", "total: {type: integer, was: sum, from: sum}"))
    assert farm.client.ask("SELECT property, raw FROM shop._syncer_rejects") == [("total", '"x"')]


@pytest.mark.shows("`syncer replay`")
def test_a_replay_makes_the_rows_anew_without_a_request(farm: Farm) -> None:
    farm.run([row(1), row(2), row(3)])
    farm.run([row(1, "2.00"), row(2)])
    farm.client.ask("ALTER TABLE shop.orders ADD COLUMN mine VARCHAR")
    farm.client.ask("UPDATE shop.orders SET sum = 'spoilt', mine = 'note ' || id")
    farm.client.ask("DELETE FROM shop.orders WHERE id = 2")
    farm.client.ask("UPDATE shop.orders SET _deleted_at = NULL WHERE id = 3")
    farm.client.ask("INSERT INTO shop.orders (id, sum, _segment) SELECT 77, sum, _segment FROM shop.orders WHERE id = 1")
    farm.asked.clear()
    assert farm.book([], verb="replay") == {"deleted": 2}
    assert farm.table("id, sum, _deleted_at IS NOT NULL, mine") == [
        (1, "2.00", False, "note 1"), (2, "1.00", False, None), (3, "1.00", True, "note 3"),
    ]  # fmt: skip
    assert farm.asked == []
    assert farm.book([row(1, "3.00"), row(2)]) == {"unchanged": 1, "updated": 1}


def test_a_replay_leaves_alone_what_is_right_and_mends_where_rows_say_that_their_values_lie(farm: Farm) -> None:
    farm.run([row(1), row(2), row(3)])
    farm.run([row(1), row(2), row(3), row(4)])
    places = farm.table("id, _segment")
    farm.client.ask("UPDATE shop.orders SET _segment = replace(_segment, '000001-', '000999-') WHERE id = 2")
    farm.client.ask("UPDATE shop.orders SET _segment = NULL WHERE id = 3")
    farm.book([], verb="replay")
    assert [(id_, place.split("#")[0]) for id_, place in farm.table("id, _segment")][::3] == [(id_, p.split("#")[0]) for id_, p in places][
        ::3
    ]
    assert farm.written() == {1: 1, 2: 3, 3: 3, 4: 2}
    assert farm.book([row(1), row(2, "2.00"), row(3, "3.00"), row(4)]) == {"unchanged": 2, "updated": 2}


def test_a_replay_believes_no_mark_that_no_pass_has_proven(farm: Farm) -> None:
    """The last passes came with keys that nobody can read, so they prove nothing gone; whoever set the mark was not the hub."""
    odd = {"id": "no number", "sum": "9"}
    farm.run([row(1), row(2)])
    farm.run([row(1), odd])
    farm.run([row(1)], verb="load")
    farm.run([row(1), odd])
    farm.client.ask("UPDATE shop.orders SET _deleted_at = _synced_at WHERE id = 2")
    farm.run([], verb="replay")
    assert farm.table() == [(1, "1.00", False), (2, "1.00", False)]


def test_a_replay_takes_in_what_was_not_loaded_yet(farm: Farm) -> None:
    farm.run([row(1)])
    farm.run([row(1), row(2)], verb="pull")
    assert farm.book([], verb="replay") == {"inserted": 1, "unchanged": 1}
    assert farm.table() == [(1, "1.00", False), (2, "1.00", False)]


@pytest.mark.parametrize("mode", ["mode: append", "mode: snapshot", "deletes: hard", "deletes: ignore"])
def test_a_replay_gives_what_the_loads_gave(farm: Farm, mode: str) -> None:
    text = spec(mode)
    for rows in ([row(1), row(2), row(3)], [row(1, "2.00"), row(4)], [row(2, "5.00"), row(4, at=30)], [row(4), row(2), row(5)]):
        farm.run(rows, text)
    before = farm.table('id, sum, state, extract(epoch FROM "at")::BIGINT, _deleted_at IS NULL')
    farm.book([], text, "replay")
    assert farm.table('id, sum, state, extract(epoch FROM "at")::BIGINT, _deleted_at IS NULL') == before


def test_a_replay_lets_nothing_through_the_fuse(farm: Farm) -> None:
    farm.run(MANY)
    farm.run(MANY[:15])
    assert farm.run([], verb="replay").status == "failed"
    assert farm.client.ask("SELECT count(_deleted_at) FROM shop.orders") == [(0,)]
    assert farm.book([], verb="replay", allow_deletes=True)["deleted"] == 15


def test_two_specs_do_not_fill_one_table(farm: Farm) -> None:
    farm.run([row(1)])
    other = SPEC.replace("name: shop", "name: store")
    summary = farm.run([row(7)], other, schema="shop")
    assert told(summary) == "orders: the table shop.orders is filled by another spec, shop; name another --schema for one of the two"
    assert farm.table() == [(1, "1.00", False)]


# What a spec cannot say.


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (spec("mode: append\n    deletes: hard"), "records of `mode: append` are never gone; leave it out"),
        (spec("mode: snapshot\n    max_delete_share: 5%"), "a snapshot's rows are those of the last complete pass; leave it out"),
        (
            spec("mode: snapshot\n    cursor: {property: at, param: since}\n    changed: {path: /x}"),
            "changes cannot be asked for; a snapshot comes as a whole each time, so leave `changed` out",
        ),
        (spec("tombstone: stat"), "'stat' is no property of orders"),
        (spec("tombstone: {property: stat}"), "'stat' is no property of orders"),
        (spec("deletes: ignore\n    tombstone: state"), "leave one of the two out"),
        (spec("max_delete_share: 0.1"), "is no share; write one like 10%"),
        (spec("max_delete_share: 101%"), "is no share; write one like 10%"),
        (spec("deletes: firm"), '"firm" is not one of soft, hard, ignore'),
        (spec(properties="{id: integer, total: {type: string, was: sum}}"), "without `from`, the value is now looked for at 'total'"),
        (spec(properties="{id: integer, total: {type: string, was: id, from: x}}"), "'id' is another property now"),
        (spec(properties="{id: integer, a: {type: string, was: x, from: x}, b: {type: string, was: x, from: x}}"), "name it once"),
    ],
)
def test_what_does_not_go_together_is_told_when_the_spec_is_read(text: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert sentence in str(caught.value)
