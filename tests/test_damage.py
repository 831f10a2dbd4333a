"""A hub whose files are not as they were written: what is bad is named and never loaded, the rest is, and the next pull mends it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine.errors import HubError
from rest_syncer.engine.hub import Hub
from rest_syncer.engine.outcome import Summary
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options, run
from rest_syncer.engine.settings import Settings
from tests.farm import SPEC, Farm, Hours, row, spec, told
from tests.model import Api, carry_out, small_pieces
from tests.support import segment_file
from tests.test_history import look

pytestmark = pytest.mark.many  # it is the hub that is damaged, whatever the warehouse

FIRST, SECOND = "000001-01-000000", "000002-01-000000"


def hub_of(farm: Farm) -> Hub:
    return Hub(farm.folder / "hub", "shop")


def harm(farm: Farm, segment: str, change: Callable[[bytes], bytes | None]) -> bytes:
    """Change a segment's bytes (None: there is no file any more); gives what they were."""
    file = segment_file(hub_of(farm), "orders", segment)
    data = file.read_bytes()
    file.unlink()
    if (changed := change(data)) is not None:
        file.write_bytes(changed)
    return data


def flip(place: float) -> Callable[[bytes], bytes]:
    """One bit, at a part of the file's length."""

    def flipped(data: bytes) -> bytes:
        at = min(len(data) - 1, int(len(data) * place))
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]

    return flipped


HARMS = {
    "a bit of the magic number": flip(0),
    "a bit of the head": flip(0.3),
    "a bit of the records": flip(0.85),
    "the last bit": flip(1),
    "half a file": lambda data: data[: len(data) // 2],
    "all but a byte": lambda data: data[:-1],
    "an empty file": lambda data: b"",
    "another file": lambda data: b"{}\n" * 99,
    "no file": lambda data: None,
}


@pytest.mark.parametrize("name", HARMS)
def test_what_is_damaged_is_named_the_rest_is_loaded_and_the_next_pull_mends_it(farm: Farm, name: str) -> None:
    text = spec("cursor: {property: at, param: since}")
    farm.run([row(1), row(2)], text, "pull")
    farm.run([row(1), row(3)], text, "pull")
    harm(farm, FIRST, HARMS[name])
    summary = farm.run([], text, "load")
    assert summary.status == "incomplete"
    assert told(summary).startswith(f"segment orders/{FIRST if name != 'no file' else '000002-00-000000'}: is damaged (")
    assert told(summary).endswith("; restore the file, or let the next pull ask for what it held")
    assert farm.table() == [(1, "1.00", False), (3, "1.00", False)]
    again = farm.run([], text, "load")
    assert (again.status, told(again)) == ("incomplete", told(summary)), "it stays said"
    assert farm.book([row(1), row(3), row(4)], text) == {"unchanged": 2, "inserted": 1}
    assert farm.run([], text, "load").status == "complete"


def test_what_a_later_pass_has_brought_again_is_not_missed(farm: Farm) -> None:
    farm.run([row(1), row(2)])
    farm.run([row(1), row(2), row(3)], verb="pull")
    farm.run([row(1), row(3)], verb="pull")
    harm(farm, SECOND, flip(0.85))
    assert farm.run([], verb="load").status == "complete"
    assert farm.table() == [(1, "1.00", False), (2, "1.00", True), (3, "1.00", False)]


@pytest.mark.parametrize("name", HARMS)
def test_a_pass_that_lost_a_segment_marks_nothing_as_gone(tmp_path: Path, name: str) -> None:
    api = Api()
    for key in range(1, 8):
        api.add("things", key)

    def alive() -> list[int]:
        found = look(tmp_path, "one", "things").rows
        return [key for key, (_, gone) in found.items() if not gone]

    with small_pieces(1, 10**9):
        carry_out(api, tmp_path)
        carry_out(api, tmp_path, "pull", full=True)
        file = sorted((tmp_path / "hub/model/segments/things").glob("000002-01-*"))[1]
        data = HARMS[name](file.read_bytes())
        file.unlink()
        if data is not None:
            file.write_bytes(data)
        summary = carry_out(api, tmp_path, "load")
        assert summary is not None
        assert (summary.collections["things"].status, alive()) == ("incomplete", list(range(1, 8)))
        api.delete("things", 5)
        summary = carry_out(api, tmp_path)
        assert summary is not None
        assert summary.collections["things"].errors == []
        assert alive() == [1, 2, 3, 4, 6, 7]


def test_a_changes_request_is_not_enough_after_damage(farm: Farm) -> None:
    text = spec("cursor: {property: at, param: since}")
    farm.run([row(1), row(2)], text, "pull")
    harm(farm, FIRST, flip(0.85))
    assert farm.run([], text, "load").status == "incomplete"
    farm.asked.clear()
    farm.run([row(1), row(2)], text)
    assert farm.asked == ["/orders"], "a complete pass"
    farm.asked.clear()
    assert farm.run([], text).status == "complete"
    assert "since=" in farm.asked[0]


def test_a_restored_file_is_loaded_without_a_request(farm: Farm) -> None:
    text = spec("cursor: {property: at, param: since}")
    farm.run([row(1), row(2)], text, "pull")
    farm.run([row(1, "2.00", at=9)], text, "pull")
    data = harm(farm, FIRST, HARMS["half a file"])
    farm.run([], text, "load")
    segment_file(hub_of(farm), "orders", FIRST).write_bytes(data)
    assert farm.run([], text, "load").status == "incomplete", "nobody has looked again"
    assert verify(farm)[0] == 0
    farm.asked.clear()
    assert farm.book([], text, "load") == {"inserted": 1, "stale": 1}
    assert farm.table() == [(1, "2.00", False), (2, "1.00", False)]
    assert (farm.run([], text, "load").status, farm.asked) == ("complete", [])


def test_a_column_is_filled_with_what_is_left_and_no_row_becomes_older(farm: Farm) -> None:
    text = spec("cursor: {property: at}")
    farm.run([row(1, "old"), row(2)], text)
    farm.run([row(1, "new", at=5), row(2)], text)
    harm(farm, SECOND, flip(0.85))
    wider = text.replace("state: string", "state: string, more: {type: string, from: sum}")
    farm.run([], wider, "load")
    assert farm.table("id, sum, more") == [(1, "new", None), (2, "1.00", "1.00")]


def test_a_replay_that_would_lose_rows_is_refused(farm: Farm) -> None:
    farm.run([row(1), row(2)])
    farm.run([row(1)])
    harm(farm, FIRST, flip(0.85))
    assert verify(farm)[0] == 1
    summary = farm.run([], verb="replay")
    assert summary.status == "failed"
    assert "and a replay would lose what it held" in told(summary)
    assert [id_ for id_, *_ in farm.table()] == [1, 2]


def test_children_wait_until_their_parents_are_whole_again(farm: Farm) -> None:
    text = SPEC + "  items:\n    parent: orders\n    path: /orders/{{ parent.id }}/items\n    key: id\n    properties: {id: integer}\n"
    asked: list[str] = []

    def pull(up: bool) -> Summary:
        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.path)
            if request.url.path == "/orders":
                return httpx.Response(
                    200 if up else 404, json={"data": [row(1), row(2)]}, headers={"Date": "Tue, 22 Nov 2016 12:00:00 GMT"}
                )
            return httpx.Response(200, json={"data": [{"id": int(request.url.path.split("/")[2])}]})

        options, transport = Options(hub=str(farm.folder / "hub"), to=farm.client.url), httpx.MockTransport(answer)
        return run(parse_spec(text), Settings({}, frozenset()), options, clock=Hours(1), transport=transport)

    assert pull(True).status == "complete"
    harm(farm, FIRST, flip(0.85))
    assert verify(farm)[0] == 1
    asked.clear()
    summary = pull(False)
    assert asked == ["/orders"]
    assert summary.collections["items"].errors == [
        f"items: segment orders/{FIRST}, of its parents, is damaged; run again when they are complete"
    ]
    assert farm.client.ask("SELECT id, _deleted_at IS NULL FROM shop.items ORDER BY id") == [(1, True), (2, True)]
    assert pull(True).status == "complete"


# The commands.


def verify(farm: Farm, *flags: str) -> tuple[int, str]:
    return hub_command(farm, "verify", *flags)


def hub_command(farm: Farm, *words: str) -> tuple[int, str]:
    (farm.folder / "shop.yaml").write_text(SPEC)
    verb = [words[0]] if words and not words[0].startswith("-") else []
    done = CliRunner().invoke(app, ["hub", *verb, str(farm.folder / "shop.yaml"), "--hub", str(farm.folder / "hub"), *words[len(verb) :]])
    return done.exit_code, done.stdout


def test_verify_reads_everything_and_names_what_is_bad(farm: Farm) -> None:
    farm.run([row(1)])
    farm.run([row(2)])
    farm.run([row(3)])
    assert verify(farm) == (0, "3 segments are whole\n")
    harm(farm, FIRST, flip(0.85))
    harm(farm, SECOND, HARMS["no file"])
    manifest = min((farm.folder / "hub/shop/loads").rglob("*.json"))
    manifest.write_bytes(b"{")
    code, said = verify(farm)
    assert code == 1
    assert said.splitlines() == [
        f"segment orders/{FIRST}: its checksum does not fit",
        "segment orders/000003-00-000000: one is missing that was there before run 3",
        f"{manifest.relative_to(farm.folder / 'hub/shop')}: cannot be read",
        "1 segments are whole, 3 damages",
    ]
    code, said = verify(farm, "--json")
    assert (code, json.loads(said)["segments"], len(json.loads(said)["damaged"])) == (1, 1, 3)


def test_the_hub_is_shown_with_its_size_and_age(farm: Farm) -> None:
    assert hub_command(farm) == (0, f"{farm.folder / 'hub/shop'}: nothing was pulled yet\n")
    farm.run([row(1), row(2)])
    farm.run([row(1)])
    code, said = hub_command(farm, "--json")
    found = json.loads(said)["collections"]["orders"]
    files = [segment_file(hub_of(farm), "orders", name) for name in (FIRST, SECOND)]
    assert code == 0
    assert (found["segments"], found["damaged"], found["records"]) == (2, 0, 3)
    assert found["bytes"] == sum(file.stat().st_size for file in files)
    assert (found["oldest"], found["newest"]) == ("2016-11-22T13:00:00Z", "2016-11-22T14:00:00Z")
    harm(farm, FIRST, flip(0.3))
    assert json.loads(hub_command(farm, "--json")[1])["collections"]["orders"]["damaged"] == 1
    assert "damaged" in hub_command(farm)[1]


def test_a_hub_that_is_not_there_has_nothing_to_verify(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SPEC)
    done = CliRunner().invoke(app, ["hub", "verify", str(tmp_path / "shop.yaml"), "--hub", str(tmp_path / "none")])
    assert (done.exit_code, done.stdout) == (0, "0 segments are whole\n")
    assert not (tmp_path / "none").exists()


# What is lost beside the segments.


def test_a_number_whose_plan_is_lost_is_not_given_to_another_run(farm: Farm) -> None:
    """A backup that is taken while a run begins has its segments, and may lack its plan."""
    farm.run([row(1)])
    farm.run([row(1), row(2)])
    (farm.folder / "hub/shop/plans/000002.json").unlink()
    assert farm.book([row(1, "2.00"), row(2), row(3)]) == {"inserted": 1, "updated": 1, "unchanged": 1}
    assert [str(one) for one in Hub(farm.folder / "hub", "shop").verify()] == ["plans/000002.json: it is missing"]


def test_all_segments_of_a_young_hub_are_missed(farm: Farm) -> None:
    for rows in ([row(1), row(9)], [row(1), row(2)], [row(1), row(2), row(3)]):
        farm.run(rows)
    shutil.rmtree(farm.folder / "hub/shop/segments/orders")
    assert farm.run([], verb="load").status == "incomplete"
    some = [str(one) for one in Hub(farm.folder / "hub", "shop").verify()]
    assert some == [f"segment orders/000003-00-{number:06}: one is missing that was there before run 3" for number in range(2)]


def test_a_segment_that_only_a_count_told_of_may_come_back(farm: Farm) -> None:
    text = spec("cursor: {property: at, param: since}")
    for number in (1, 2, 3):
        farm.run([row(number)], text)
    hub = Hub(farm.folder / "hub", "shop")
    file = segment_file(hub, "orders", "000002-01-000000")
    data = file.read_bytes()
    file.unlink()
    assert len(hub.verify()) == 1
    file.write_bytes(data)
    assert hub.verify() == []
    farm.book([], text, "replay")
    assert [id_ for id_, *_ in farm.table()] == [1, 2, 3]


def test_a_hub_that_lost_its_name_is_no_empty_one(farm: Farm) -> None:
    farm.run([row(1)])
    (farm.folder / "hub/shop/hub.json").unlink()
    for verb in ("run", "load", "replay"):
        with pytest.raises(HubError, match=r"hub\.json is missing, which says whose its segments are; restore that file"):
            farm.run([row(1)], verb=verb)
