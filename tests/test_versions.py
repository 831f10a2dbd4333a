"""`mode: history`: each version of a record is a row, with its time; the same after loads one by one, all at once, and a replay."""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from rest_syncer.engine.errors import SpecError
from rest_syncer.engine.hub import Hub
from rest_syncer.engine.hub.segment import place_of
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.plan import epoch
from tests.farm import MANY, NOON, Farm, Row, row, spec, told
from tests.shop import kind_of
from tests.support import segment_file

SEED = int(os.environ.get("SYNCER_SEED", "7"))
STORIES = int(os.environ.get("SYNCER_EXAMPLES", "8"))

PLAIN = "{id: integer, sum: string, state: string}"
NO_CURSOR = spec("mode: history\n    max_delete_share: 100%", PLAIN)
CURSOR = spec("mode: history\n    max_delete_share: 100%\n    cursor: {property: at}")
CHANGES = spec("mode: history\n    max_delete_share: 100%\n    cursor: {property: at, param: since}")

Version = tuple[int, Any, int, int | None, int, bool]


def hour(number: int) -> int:
    """The instant of a run, in seconds."""
    return NOON + 3600 * number


def versions(farm: Farm) -> list[Version]:
    """Key, sum, from and to in seconds, number, and whether it ended with the record."""
    instant = "extract(epoch FROM {})::BIGINT"
    columns = f"id, sum, {instant.format('_valid_from')}, {instant.format('_valid_to')}, _version, _deleted_at IS NOT NULL"
    return farm.client.ask(f"SELECT {columns} FROM shop.orders ORDER BY id, _version")


@pytest.mark.shows("`mode: history`")
def test_a_changed_record_is_a_row_more(farm: Farm) -> None:
    assert farm.book([row(1), row(2)], NO_CURSOR) == {"inserted": 2}
    assert farm.book([row(1, "2.00"), row(2)], NO_CURSOR) == {"updated": 1, "unchanged": 1}
    assert farm.book([row(1, "2.00"), row(2)], NO_CURSOR) == {"unchanged": 2}
    assert versions(farm) == [
        (1, "1.00", hour(1), hour(2), 1, False),
        (1, "2.00", hour(2), None, 2, False),
        (2, "1.00", hour(1), None, 1, False),
    ]


def test_the_cursor_tells_from_when_on_a_version_holds(farm: Farm) -> None:
    farm.run([row(1, at=5)], CURSOR)
    farm.run([row(1, "2.00", at=9)], CURSOR)
    eleven = NOON - 3600
    assert versions(farm) == [(1, "1.00", eleven + 5, eleven + 9, 1, False), (1, "2.00", eleven + 9, None, 2, False)]


@pytest.mark.shows("`mode: history`")
def test_a_gone_record_ends_and_begins_again_when_it_returns(farm: Farm) -> None:
    farm.run([row(1), row(2)], NO_CURSOR)
    assert farm.book([row(2)], NO_CURSOR) == {"unchanged": 1, "deleted": 1}
    farm.run([row(2)], NO_CURSOR)
    assert farm.book([row(1), row(2)], NO_CURSOR) == {"updated": 1, "unchanged": 1}
    assert versions(farm)[:2] == [(1, "1.00", hour(1), hour(2), 1, True), (1, "1.00", hour(4), None, 2, False)]


@pytest.mark.many
def test_what_a_pass_lacks_ends_its_newest_version_whatever_came_after_it(farm: Farm) -> None:
    farm.run([row(1, "9.00", at=9), row(2)], CHANGES)
    assert farm.book([row(1, "5.00", at=5)], CHANGES) == {"stale": 1}
    assert farm.book([row(2)], CHANGES, full=True) == {"unchanged": 1, "deleted": 1}
    shown = versions(farm)
    assert [(sum_, gone) for id_, sum_, _, _, _, gone in shown if id_ == 1] == [("5.00", False), ("9.00", True)]
    farm.book([], CHANGES, "replay")
    assert versions(farm) == shown


def test_a_tombstone_ends_a_version_and_is_none(farm: Farm) -> None:
    text = NO_CURSOR.replace("mode: history", "mode: history\n    tombstone: {property: state, values: removed}")
    farm.run([row(1), row(2, state="removed")], text)
    assert farm.book([row(1, state="removed"), row(2, state="removed")], text) == {"updated": 1, "filtered": 1}
    farm.run([row(1), row(2, state="removed")], text)
    assert versions(farm) == [(1, "1.00", hour(1), hour(2), 1, True), (1, "1.00", hour(3), None, 2, False)]


def test_ignored_deletes_end_nothing(farm: Farm) -> None:
    text = NO_CURSOR.replace("mode: history", "mode: history\n    deletes: ignore")
    farm.run([row(1), row(2)], text)
    farm.run([row(2)], text)
    farm.run([], text, "replay")
    assert [one[3] for one in versions(farm)] == [None, None]


def test_a_new_property_is_filled_in_every_version(farm: Farm) -> None:
    farm.run([row(1, state="a")], spec("mode: history", "{id: integer, sum: string}"))
    farm.run([row(1, "2.00", state="b")], spec("mode: history", "{id: integer, sum: string}"))
    farm.run([row(1, "2.00", state="c")], spec("mode: history", "{id: integer, sum: string}"))
    farm.asked.clear()
    assert len(versions(farm)) == 2
    farm.book([], NO_CURSOR, "load")
    assert farm.client.ask("SELECT sum, state FROM shop.orders ORDER BY _version") == [("1.00", "a"), ("2.00", "b"), ("2.00", "c")]
    assert farm.asked == []


def test_columns_of_the_users_own_stay_with_their_versions(farm: Farm) -> None:
    farm.run([row(1)], NO_CURSOR)
    farm.run([row(1, "2.00")], NO_CURSOR)
    farm.client.ask("ALTER TABLE shop.orders ADD COLUMN mine VARCHAR")
    farm.client.ask("UPDATE shop.orders SET mine = 'x' WHERE _version = 1")
    farm.run([row(1, "3.00")], NO_CURSOR)
    farm.run([], NO_CURSOR, "replay")
    assert farm.client.ask("SELECT sum, mine FROM shop.orders ORDER BY _version") == [("1.00", "x"), ("2.00", None), ("3.00", None)]


def test_the_fuse_holds_for_versions_too(farm: Farm) -> None:
    text = spec("mode: history", PLAIN)
    farm.run(MANY, text)
    farm.run(MANY, text)
    summary = farm.run(MANY[:5], text)
    assert (summary.status, "25 rows are gone" in told(summary)) == ("failed", True)
    assert farm.run([], text, "replay").status == "failed"
    assert farm.client.ask("SELECT count(_valid_to) FROM shop.orders") == [(0,)]
    assert farm.book([], text, "load", allow_deletes=True) == {"deleted": 25}
    before = versions(farm)
    assert {one[3] for one in before if one[5]} == {hour(3)}
    farm.run([], text, "replay")
    assert versions(farm) == before


def test_a_damaged_segment_takes_no_version_with_it(farm: Farm) -> None:
    """What was loaded from it cannot be made anew, so nothing is."""
    farm.run([row(1)], NO_CURSOR)
    farm.run([row(1, "2.00")], NO_CURSOR)
    before = versions(farm)
    segment_file(Hub(farm.folder / "hub", "shop"), "orders", "000001-01-000000").write_bytes(b"")
    more = NO_CURSOR.replace("state: string", "state: string, at: timestamp")
    summary = farm.run([row(1, "2.00")], more)
    assert (summary.status, "its versions have to be made anew, and 000001-01-000000" in told(summary)) == ("failed", True), told(summary)
    assert farm.run([], NO_CURSOR, "replay").status != "complete"
    assert versions(farm) == before


def test_a_table_of_another_mode_is_left_alone(farm: Farm) -> None:
    farm.run([row(1)], spec(properties=PLAIN))
    assert "keeps no versions, and `mode: history` does; drop the table" in told(farm.run([row(1)], NO_CURSOR))
    farm.client.ask("DROP TABLE shop.orders")
    farm.run([row(1)], NO_CURSOR)
    assert len(versions(farm)) == 1
    assert "keeps all versions, and `mode: history` does not" in told(farm.run([row(1)], spec(properties=PLAIN)))


@pytest.mark.parametrize(
    ("words", "why"), [("deletes: hard", "a history keeps what was"), ("on_reject: record", "a history needs each version")]
)
def test_what_a_history_cannot_do_is_refused(words: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        parse_spec(spec(f"mode: history\n    {words}"))


def expected(farm: Farm, text: str) -> list[Version]:
    """The slow, obviously right history: from the hub's records, one by one."""
    hub, collection = Hub(farm.folder / "hub", "shop"), parse_spec(text).spec.collections["orders"]
    passes = hub.state("orders").of("orders").passes
    starts = sorted({one.run for one in passes})
    received: dict[int, list[tuple[Any, ...]]] = {}
    for segment in hub.segments("orders"):
        head = hub.head("orders", segment)
        for line, raw in enumerate(hub.records("orders", segment)):
            record = json.loads(raw)
            cursor = int(datetime.fromisoformat(record["at"]).astimezone(UTC).timestamp()) if collection.cursor else None
            instant = cursor if cursor is not None else head.began // 10**6
            values = tuple(record[name] for name in collection.properties)
            received.setdefault(record["id"], []).append((epoch(segment, starts), cursor, (*place_of(segment), line), instant, values))
    found: list[Version] = []
    for key, records in sorted(received.items()):
        ends: dict[tuple[int, ...], int] = {}
        for place, one in enumerate(records):
            later = records[place + 1][2] if place + 1 < len(records) else None
            after = [gone for gone in passes if gone.gone and gone.run > one[2][0]]
            if after and (later is None or later[:3] > place_of(after[0].ended)):
                ends[one[2]] = after[0].began // 10**6
        shown: list[list[Any]] = []
        last: tuple[Any, ...] | None = None
        floor, ended = 0, None
        for one in sorted(records, key=lambda one: (one[0], one[1] or 0, one[2])):
            if last is None or ended is not None or one[4] != last:
                floor = max(floor, one[3], ended or 0)
                if shown and shown[-1][3] is None:
                    shown[-1][3] = floor
                shown.append([key, one[4][1], floor, None, len(shown) + 1, False])
            last, ended = one[4], ends.get(one[2])
            if ended is not None:
                shown[-1][3], shown[-1][5] = max(ended, shown[-1][2]), True
        found += [tuple(one) for one in shown]  # type: ignore[misc]  # a version
    return found


@pytest.mark.many
@pytest.mark.parametrize("text", [NO_CURSOR, CURSOR, CHANGES], ids=["no cursor", "cursor", "changes"])
def test_any_story_ends_as_the_hub_tells_it(farm: Farm, text: str) -> None:
    """Records change, go, return and go back in time, and loads come when they like."""
    for story in range(STORIES if kind_of(farm.client) == "duckdb" else STORIES // 4):
        dice = random.Random(f"{SEED} {story}")
        here = Farm(farm.folder / str(story), farm.client)
        here.folder.mkdir()
        there: dict[int, Row] = {}
        for _ in range(dice.randrange(2, 9)):
            for key in range(4):
                if dice.random() < 0.3:
                    there.pop(key, None)
                elif dice.random() < 0.6:
                    there[key] = row(key, f"{dice.randrange(3)}.00", at=dice.randrange(60))
            verb = dice.choice(["run", "run", "pull", "load"]) if here.hour else "run"
            assert here.run(list(there.values()), text, verb).status == "complete", (SEED, story)
        here.book([], text, "load")
        assert versions(here) == expected(here, text), (SEED, story)
        here.run([], text, "replay")
        assert versions(here) == expected(here, text), (SEED, story)
        farm.client.ask("DROP TABLE shop.orders")
        farm.client.ask("DELETE FROM shop._syncer_receipts")
