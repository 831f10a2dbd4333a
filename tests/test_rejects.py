"""Values that their types cannot hold: what becomes of them, who hears of it, and what the spec could say instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine.errors import SpecError
from rest_syncer.engine.look import rejects
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options
from rest_syncer.engine.suggest import Misfit, form, merged, suggestion, worst
from tests.farm import MANY, SPEC, Farm, row, spec, told

NUMBERS = "{id: integer, sum: integer, state: string}"
STRICT = spec("on_reject: record", NUMBERS)


def notes(summary: object) -> str:
    return "; ".join(summary.collections["orders"].notes)  # type: ignore[attr-defined]  # a Summary


def test_by_default_the_row_is_kept_without_the_value(farm: Farm) -> None:
    summary = farm.run([row(1, "5"), row(2, "five"), row(3, "six")], spec(properties=NUMBERS))
    assert farm.table("id, sum") == [(1, 5), (2, None), (3, None)]
    assert "2 values of `sum` (integer) did not fit: a text of 4 characters " in notes(summary)
    assert notes(summary).endswith("; perhaps `type: string`")
    assert "five" not in notes(summary), "a note does not say what records do"


@pytest.mark.parametrize("words", ["null", '"null"'])
def test_null_may_be_written_bare(words: str) -> None:
    source = parse_spec(spec(f"on_reject: {words}", "{id: integer, sum: {type: integer, on_reject: record}}"))
    collection = source.spec.collections["orders"]
    assert (collection.on_reject_of("id"), collection.on_reject_of("sum")) == ("null", "record")


def test_another_word_is_refused() -> None:
    with pytest.raises(SpecError, match="null, record, fail"):
        parse_spec(spec("on_reject: drop"))


def test_record_leaves_the_record_out_and_does_not_take_its_row_for_gone(farm: Farm) -> None:
    assert farm.book([row(1, "1"), row(2, "two"), row(3, "3")], STRICT) == {"inserted": 2, "rejected": 1}
    assert farm.table("id, sum, _deleted_at IS NULL") == [(1, 1, True), (3, 3, True)]
    assert farm.book([row(1, "1"), row(2, "2"), row(3, "three")], STRICT) == {"inserted": 1, "unchanged": 1, "rejected": 1}
    assert farm.table("id, sum, _deleted_at IS NULL") == [(1, 1, True), (2, 2, True), (3, 3, True)], "3 is there, as it last fitted"
    assert farm.client.ask("SELECT property, raw, whole_record FROM shop._syncer_rejects") == [("sum", '"three"', True)]
    assert farm.book([row(1, "1"), row(2, "2")], STRICT) == {"unchanged": 2, "deleted": 1}
    assert farm.client.ask("SELECT count(*) FROM shop._syncer_rejects") == [(0,)]


def test_what_was_left_out_comes_from_the_hub_when_the_spec_lets_it(farm: Farm) -> None:
    farm.run([row(1, "1"), row(2, "two")], STRICT)
    farm.asked.clear()
    farm.book([], spec(properties=NUMBERS), "load")
    assert farm.table("id, sum") == [(1, 1), (2, None)]
    farm.book([], spec(), "load")
    assert farm.table("id, sum") == [(1, "1"), (2, "two")]
    assert farm.client.ask("SELECT count(*) FROM shop._syncer_rejects") == [(0,)], "what is healed is no reject any more"
    assert farm.asked == []


@pytest.mark.many
def test_what_is_left_out_from_now_on_goes_unless_that_is_much(farm: Farm) -> None:
    farm.run([*MANY[:28], row(29, "x"), row(30, "y")], SPEC)
    farm.client.ask("ALTER TABLE shop.orders ADD COLUMN mine VARCHAR")
    farm.client.ask("UPDATE shop.orders SET mine = 'precious'")
    typed = spec("on_reject: record", "{id: integer, sum: {type: 'decimal(9,2)'}, state: string}")
    assert farm.book([], typed, "load") == {"deleted": 2}
    assert len(farm.table("id")) == 28
    summary = farm.run([], spec("on_reject: record", "{id: integer, sum: boolean, state: string}"), "load")
    assert "28 rows would go, for their records do not fit, and `on_reject: record` leaves these out" in told(summary)
    assert farm.client.ask("SELECT DISTINCT mine FROM shop.orders") == [("precious",)], "nothing has happened"
    assert farm.book([], typed, "load") == {}


@pytest.mark.many
def test_what_has_no_key_any_more_takes_no_row_away(farm: Farm) -> None:
    """Whose record that is, nobody knows; a row that someone made by hand is nobody's business either."""
    farm.run([row(1), row(2)])
    farm.client.ask("INSERT INTO shop.orders (id, sum, _segment) SELECT 77, sum, _segment FROM shop.orders WHERE id = 1")
    farm.run([], spec(properties="{id: {type: integer, match: '([1])'}, sum: string, state: string}"), "load")
    assert farm.table("id") == [(1,), (2,), (77,)]


def test_only_the_property_that_says_so_is_strict(farm: Farm) -> None:
    text = spec(properties="{id: integer, sum: {type: integer, on_reject: record}, state: integer}")
    farm.run([row(1, "1", "x"), row(2, "two", "2")], text)
    assert farm.table("id, sum, state") == [(1, 1, None)]


def test_fail_lets_nothing_of_the_load_through_and_names_the_place(farm: Farm) -> None:
    text = spec("on_reject: fail", NUMBERS)
    summary = farm.run([row(1, "1"), row(2, "two")], text)
    assert summary.status == "failed"
    assert "orders: 1 value does not fit, and `on_reject: fail` lets nothing of its load through" in told(summary)
    assert "a text of 3 characters for `sum`" in told(summary) and "two" not in told(summary)
    assert farm.book([], spec(), "load") == {"inserted": 2}, "nothing was there"


def test_a_replay_leaves_out_the_same_records(farm: Farm) -> None:
    farm.run([row(1, "1"), row(2, "two")], STRICT)
    farm.run([row(1, "one"), row(2, "2")], STRICT)
    before = farm.table("id, sum, _deleted_at IS NULL")
    farm.run([], STRICT, "replay")
    assert farm.table("id, sum, _deleted_at IS NULL") == before == [(1, 1, True), (2, 2, True)]


def test_the_list_has_counts_samples_places_and_a_proposal(farm: Farm) -> None:
    text = spec(properties="{id: integer, sum: integer, state: string, at: date}")
    summary = farm.run([row(1, "1.50"), row(2, "2.5"), {"sum": "3"}], text)
    found = {one["property"]: one for one in rejects(parse_spec(text), Options(to=farm.client.url))}
    assert found["sum"]["count"] == 2 and found["sum"]["samples"] == ['"1.50"', '"2.5"']
    assert found["sum"]["perhaps"] == "type: decimal(5,2)"
    assert found["sum"]["place"] == f"spec.yaml:{1 + text[: text.index('sum')].count(chr(10))}"
    assert found["at"]["perhaps"] == "type: timestamp"
    assert found["id"]["whole"] is True and found["id"]["count"] == 1
    assert "did not fit" in notes(summary)
    places = farm.client.ask("SELECT spec_file, spec_line, run FROM shop._syncer_rejects WHERE property = 'sum'")
    assert {f"{file}:{line}" for file, line, _ in places} == {found["sum"]["place"]} and {run for _, _, run in places} == {1}


def test_the_verb_prints_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, farm: Farm) -> None:
    if not farm.client.url.startswith("duckdb:"):
        pytest.skip("the verb is the same for all")
    text = spec(properties=NUMBERS)
    farm.run([row(1, "1"), row(2, "two")], text)
    file = tmp_path / "shop.yaml"
    file.write_text(text)
    result = CliRunner().invoke(app, ["rejects", str(file), "--to", farm.client.url])
    assert result.exit_code == 0, result.output
    assert f"orders.sum (integer), {file}:" in result.output and '"two"' in result.output and "perhaps `type: string`" in result.output
    given = json.loads(CliRunner().invoke(app, ["rejects", str(file), "--to", farm.client.url, "--json"]).output)
    assert [one["property"] for one in given] == ["sum"]
    farm.run([row(2, "2")], text)
    none = CliRunner().invoke(app, ["rejects", str(file), "--to", farm.client.url])
    assert (none.exit_code, none.output) == (0, "every value fits\n")
    nowhere = CliRunner().invoke(app, ["rejects", str(file), "--to", f"duckdb:{tmp_path / 'none.duckdb'}"])
    assert (nowhere.exit_code, "nothing was ever loaded there" in nowhere.output) == (2, True)
    assert not (tmp_path / "none.duckdb").exists()


@pytest.mark.parametrize(
    ("declared", "raws", "expected"),
    [
        ("integer", ['"12.50"', "1.5"], "type: decimal(6,2)"),
        ("integer", ['"a"'], "type: string"),
        ("integer", ["12345678901234567890123"], "type: decimal(25,0)"),
        ("decimal(5,2)", ["123456.789"], "type: decimal(11,3)"),
        ("boolean", ["3", "4"], "type: integer"),
        ("date", ['"2016-11-22T10:00:00Z"'], "type: timestamp"),
        ("date", ['"22.11.2016"'], 'format: "%d.%m.%Y"'),
        ("timestamp", ["1479816000"], "format: epoch_s"),
        ("timestamp", ["1479816000000"], "format: epoch_ms"),
        ("timestamp", ['"2016-11-22 10:00:00 uhr"'], "type: string"),
        ("timestamp", ['"11/22/2016 10:00:00"'], 'format: "%m/%d/%Y %H:%M:%S"'),
        ("string", ['{"a": 1}'], "type: json"),
        ("string[]", ['"a"'], "type: json"),
        ("integer", ["null"], None),
    ],
)
def test_the_smallest_type_that_would_hold_all_samples_is_proposed(declared: str, raws: list[str], expected: str | None) -> None:
    assert suggestion(declared, raws) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("null", "null"), ("true", "a boolean"), ('""', "an empty text"), ('"x"', "a text of 1 character"), ("12", "a number"),
        ("1.5", "a number with decimals"), ("{}", "an object"), ("[1]", "a list"), ("{", "no JSON"),
    ],
)  # fmt: skip
def test_a_form_says_nothing_of_the_content(raw: str, expected: str) -> None:
    assert form(raw) == expected


def test_misfits_of_two_loads_are_counted_together() -> None:
    one, two, three = (
        Misfit("a", "integer", "why", 2, ['"x"', '"y"']),
        Misfit("a", "integer", "why", 1, ['"z"']),
        Misfit("b", "date", "why", 9, ["1"]),
    )
    both = merged(merged({}, [one]), [two, three])
    assert [(found.property, found.count) for found in worst(both.values())] == [("b", 9), ("a", 3)]
    assert both["a"].raws == ['"x"', '"y"', '"z"']
