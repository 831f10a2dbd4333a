"""What records hold that the spec does not name: counted from the hub, and written into the spec with all else left as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rest_syncer.cli import app
from rest_syncer.engine.document import Document, with_members
from rest_syncer.engine.drift import Drift
from rest_syncer.engine.look import drift
from rest_syncer.engine.parse import parse_spec
from rest_syncer.engine.run import Options
from tests.farm import Farm, spec


def seen(properties: str, *records: str) -> Drift:
    found = Drift(parse_spec(spec(properties=properties)).spec.collections["orders"])
    for number, record in enumerate(records):
        found.see(record.encode(), number)
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2"], "integer"),
        (["1", "null", "2.5"], "number"),
        (["12345678901234567890123"], '"decimal(38,0)"'),
        (["1" * 60], "json"),
        (["true"], "boolean"),
        (['"a"', '""'], "string"),
        (['"1"'], "string"),
        (['"2016-11-22"'], "date"),
        (['"2016-11-22T10:00:00Z"', '"2016-11-22T10:00:00+01:00"'], "timestamp"),
        (['"2016-11-22T10:00:00Z"', '""'], "string"),
        (['"2016-13-22"'], "string"),
        (['["a", "b"]', "[]"], '"string[]"'),
        (["[1]", "[2, 3]"], '"integer[]"'),
        (['[1, "a"]'], "json"),
        (["[[1]]"], "json"),
        (["[]"], "json"),
        (['{"a": 1}'], "json"),
        (["1", '"a"'], "json"),
    ],
)
def test_the_type_is_the_narrowest_that_holds_what_was_seen(values: list[str], expected: str) -> None:
    found = seen("{id: integer}", *(f'{{"id": 1, "x": {value}}}' for value in values))
    assert found.proposed() == {"x": expected}


def test_what_is_proposed_is_a_spec_that_reads_what_was_seen() -> None:
    names = ["plain", "a.b", 'qu"ote', "back\\slash", "no", "12", "ID", "_segment", "_syncer_x", "x y", "ü", "a: b", "- c", "#d", "<<"]
    names += ["tab\tin", "line\nend", "\x7f", "\0"]
    record = json.dumps({"id": 1, "in": {"known": 1, "new": 2, "plain": 3}} | dict.fromkeys(names, "v"))
    found = seen("{id: integer, in_known: {type: integer, from: in.known}}", record)
    text = spec(properties="{id: integer, in_known: {type: integer, from: in.known}}")
    extended = parse_spec(with_members(text, ("collections", "orders", "properties"), found.proposed())).spec.collections["orders"]
    assert len(extended.properties) == 2 + len(names) + 2
    again = Drift(extended)
    again.see(record.encode(), 0)
    assert (again.fields, again.never) == ({}, [])


def test_only_objects_of_which_the_spec_names_a_part_are_looked_into() -> None:
    found = seen("{id: integer, a: {type: string, from: a.b.c}, first: {type: string, from: l.0}}",
                 '{"id": 1, "a": {"b": {"c": "x", "d": 1}, "e": {"f": 1}}, "l": ["x", "y"]}')  # fmt: skip
    assert {one.path.text: one.type for one in found.fields.values()} == {"a.b.d": "integer", "a.e": "json"}


def test_what_is_named_as_a_whole_is_named_in_all_its_parts() -> None:
    assert seen("{id: integer, a: json, b: {type: string, from: a.b}}", '{"id": 1, "a": {"b": "x", "c": 1}}').fields == {}


def test_counts_first_times_and_properties_that_never_come() -> None:
    found = seen("{id: integer, sum: string, other: {type: string, from: [b, c]}}",
                 '{"id": 1, "new": null}',
                 '{"id": 2, "new": 1, "c": "x"}', '{"id": 3, "sum": null, "later": null}', "[1]", "{")  # fmt: skip
    assert (found.records, found.never) == (5, ["sum"])
    new, later = found.fields.values()
    assert (new.path.text, new.there, new.first_seen, dict(new.kinds), list(new.samples)) == ("new", 1, 0, {"integer": 1}, ["1"])
    assert (later.path.text, later.there, later.first_seen, later.type) == ("later", 0, 2, None)
    assert found.proposed() == {"new": "integer"}, "of what was always null, no type is known"


STYLES = {
    "block": "properties:\n      id: integer  # the id\n      sum: string\n\n  # the end\n",
    "block with a nested last one": "properties:\n      id: integer\n      sum:\n        type: string\n        # why\n        from:\n"
    "          - sum\n          - total  # old\n    # after\n",
    "block with a text last": "properties:\n      id: integer\n      sum:\n        type: string\n        description: |\n"
    "          some\n\n          words\n\n\n# after\n",
    "flow": "properties: {id: integer, sum: string}  # both\n",
    "flow over lines": "properties: {\n      id: integer,\n      sum: string,  # with a comma\n    }\n",
    "quoted": '"properties":\n      \'id\': integer\n      "sum": "string"  # s\n',
    "no end of line": "properties:\n      id: integer\n      sum: string",
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("style", STYLES)
def test_a_text_gains_members_and_stays_as_it_is_in_all_else(style: str, newline: str) -> None:
    head = "# my spec\nsyncer: 1\nname: shop\napi: {base_url: https://api.example.com}\ncollections:\n  orders:\n    key: id\n    "
    text = (head + STYLES[style]).replace("\n", newline)
    new = with_members(text, ("collections", "orders", "properties"), {"x": "integer", "a b": '{type: string, from: "a b"}'})
    properties = Document("").read(new)["collections"]["orders"]["properties"]
    assert list(properties)[2:] == ["x", "a b"]
    added = [line for line in new.split(newline) if line not in text.split(newline)]
    assert len(added) <= 2 and all("x" in line or "a b" in line for line in added), added
    assert parse_spec(new).spec.collections["orders"].properties["x"].type.text == "integer"


def test_an_alias_is_left_alone() -> None:
    text = "a: &some\n  x: 1\nb: *some\n"
    with pytest.raises(ValueError, match="alias"):
        with_members(text, ("b",), {"y": "2"})
    with pytest.raises(ValueError, match="no mapping"):
        with_members(text, ("c",), {"y": "2"})


def test_the_verb_shows_applies_and_the_next_load_fills_without_a_request(farm: Farm, tmp_path: Path) -> None:
    text = "# mine\n" + spec(properties="\n      id: integer  # key\n      gone: string\n")
    farm.run([{"id": 1, "sum": "5", "links": {"a": 1}}, {"id": 2}], text)
    farm.asked.clear()
    file = tmp_path / "shop.yaml"
    file.write_text(text)
    flags = [str(file), "--hub", str(farm.folder / "hub")]
    shown = CliRunner().invoke(app, ["drift", *flags])
    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    assert 'sum string 50.0% 2016-11-22T13:00:00Z "5"' in lines
    assert "orders: no record has gone, as the spec has it" in lines
    assert shown.output.endswith("collections:\n  orders:\n    properties:\n      sum: string\n      links: json\n")
    assert file.read_text() == text
    assert json.loads(CliRunner().invoke(app, ["drift", *flags, "--json"]).output)["orders"]["fields"][0]["filled"] == 1
    assert CliRunner().invoke(app, ["drift", *flags, "--apply"]).exit_code == 0
    assert file.read_text() == text.replace("gone: string\n", "gone: string\n      sum: string\n      links: json\n")
    farm.book([], file.read_text(), "load")
    shown = farm.table("id, sum, CAST(links AS VARCHAR)")
    assert [(id_, sum_, links and json.loads(links)) for id_, sum_, links in shown] == [(1, "5", {"a": 1}), (2, None, None)]
    assert farm.asked == []
    source = parse_spec(file.read_text())
    assert drift(source, Options(hub=str(farm.folder / "hub")))["orders"].fields == {}
