"""The JSON Schema and the parser come from the same declarations, and agree on every spec."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Struct, field

from rest_syncer.engine.auth import Auth
from rest_syncer.engine.fields import Doc, Duration, Path, Text
from rest_syncer.engine.fits import fits
from rest_syncer.engine.kinds import Kind
from rest_syncer.engine.paginate import KeySet, NextLink, Paginator, Single, TieBreaker
from rest_syncer.engine.properties import Property, TypeName
from rest_syncer.engine.schema import Broken, Notes, build, doc_of, fields_of, spec_schema
from rest_syncer.engine.spec import Api, Collection, Spec
from rest_syncer.engine.template import Template
from rest_syncer.engine.window import Cursor

SCHEMA = spec_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_valid_by_its_own_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (SCHEMA["type"], SCHEMA["additionalProperties"]) == ("object", False)


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for member in schema.values():
            yield from nodes(member)
    elif isinstance(schema, list):
        for item in schema:
            yield from nodes(item)


def test_every_reference_leads_to_a_definition_and_every_definition_is_used() -> None:
    used = {node["$ref"].removeprefix("#/$defs/") for node in nodes(SCHEMA) if "$ref" in node}
    assert used == set(SCHEMA["$defs"])


def test_no_union_answers_every_mistake_with_the_same_sentence() -> None:
    assert [node for node in nodes(SCHEMA) if "oneOf" in node or "anyOf" in node] == []


@pytest.mark.parametrize("family", [pytest.param(Paginator, id="paginate"), pytest.param(Auth, id="auth")])
def test_each_kind_has_one_rule_with_exactly_its_fields(family: type[Kind]) -> None:
    definition = SCHEMA["$defs"][family.__name__]
    assert definition["properties"] == {"kind": {"enum": sorted(family.alternatives)}}
    assert definition["required"] == ["kind"]
    rules = {rule["if"]["properties"]["kind"]["const"]: rule["then"] for rule in definition["allOf"]}
    assert {name: set(then["properties"]) for name, then in rules.items()} == {
        name: {"kind", *(one.encode_name for one in fields_of(kind))} for name, kind in family.alternatives.items()
    }
    assert all(then["additionalProperties"] is False and then["description"] for then in rules.values())


def test_a_small_class_has_this_whole_schema() -> None:
    assert SCHEMA["$defs"]["TieBreaker"] == {
        "description": "How to go on inside a group of records that share one value and fill more than a page.",
        "type": "object",
        "properties": {
            "on": {"type": "string", "description": "the property that tells such records apart: unique, and never changing"},
            "param": {"type": "string", "description": "the parameter that takes its last value; the API must return from it upwards"},
            "params": {
                "type": "object",
                "additionalProperties": {"type": ["string", "integer"], "description": "Plain text, or a number that stands for its text."},
                "description": "parameters that make the API sort by it",
            },
        },
        "required": ["on", "param"],
        "additionalProperties": False,
    }


def test_a_kind_has_this_whole_rule() -> None:
    rules = {rule["if"]["properties"]["kind"]["const"]: rule for rule in SCHEMA["$defs"]["Paginator"]["allOf"]}
    assert rules["single"] == {
        "if": {"properties": {"kind": {"const": "single"}}, "required": ["kind"]},
        "then": {
            "description": "The whole list comes in one answer.",
            "type": "object",
            "properties": {
                "kind": {"const": "single"},
                "total": {
                    "type": "string",
                    "description": "the path in the answer of the number of records that the query has in all",
                },
            },
            "required": [],
            "additionalProperties": False,
        },
    }


def test_what_may_be_one_word_may_be_a_list_too() -> None:
    statuses = SCHEMA["$defs"]["Retry"]["properties"]["statuses"]
    assert (statuses["type"], statuses["items"]) == (["integer", "array"], {"type": "integer"})


@pytest.mark.parametrize(
    "cls", [Spec, Api, Collection, Property, Cursor, TieBreaker, *Paginator.alternatives.values(), *Auth.alternatives.values()]
)
def test_every_field_says_what_it_means(cls: type[Struct]) -> None:
    assert [one.name for one in fields_of(cls) if not doc_of(one).text] == []


class Tiny(Struct, frozen=True, kw_only=True):
    """A class as a spec could have one."""

    name: Annotated[str, Doc("a name")]
    size: Annotated[int, Doc("a number", {"minimum": 1})] = 10
    quiet: Annotated[bool, Doc("a switch")] = False
    mode: Annotated[Literal["a", "b"], Doc("one of two")] = "a"
    every: Annotated[Duration | None, Doc("a time")] = None
    paths: Annotated[tuple[Path, ...], Doc("some paths")] = ()
    params: Annotated[Mapping[str, Text], Doc("some texts")] = field(default_factory=dict)
    inner: Annotated[Paginator, Doc("a kind")] = field(default_factory=Single)
    word: Annotated[str | None, Doc("a word that Python has taken")] = field(default=None, name="from")


def test_a_mapping_becomes_its_class_with_every_default_filled_in() -> None:
    assert build(Tiny, {"name": "x"}, (), Notes()) == Tiny(name="x")


def test_each_kind_of_field_is_built() -> None:
    given = {
        "name": "x",
        "size": 5,
        "quiet": True,
        "mode": "b",
        "every": "5m",
        "paths": ["a.b", "c"],
        "params": {"p": 1, "q": "r"},
        "inner": {"kind": "next_link", "link": "next"},
        "from": "here",
    }
    assert build(Tiny, given, (), Notes()) == Tiny(
        name="x",
        size=5,
        quiet=True,
        mode="b",
        every=Duration(300),
        paths=(Path(("a", "b")), Path(("c",))),
        params={"p": Text("1"), "q": Text("r")},
        inner=NextLink(link=Path(("next",))),
        word="here",
    )


def test_one_word_stands_for_a_list_of_one_and_for_a_whole_property() -> None:
    assert build(Tiny, {"name": "x", "paths": "a.b"}, (), Notes()).paths == (Path(("a", "b")),)
    assert build(Property, "integer", (), Notes()) == Property(type=TypeName("integer"))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="missing"),
        pytest.param({"name": 5}, id="number-for-a-text"),
        pytest.param({"name": "x", "size": "5"}, id="text-for-a-number"),
        pytest.param({"name": "x", "size": True}, id="boolean-for-a-number"),
        pytest.param({"name": "x", "quiet": 1}, id="number-for-a-boolean"),
        pytest.param({"name": "x", "mode": "c"}, id="none-of-the-words"),
        pytest.param({"name": "x", "inner": {"kind": "nosuch"}}, id="unknown-kind"),
        pytest.param({"name": "x", "inner": {"link": "next"}}, id="no-kind"),
        pytest.param({"name": "x", "inner": {"kind": "next_link"}}, id="kind-without-its-field"),
        pytest.param({"name": "x", "params": ["a"]}, id="list-for-a-mapping"),
        pytest.param("x", id="text-for-a-mapping"),
        pytest.param(None, id="null"),
    ],
)
def test_what_is_not_of_its_type_is_broken(given: Any) -> None:
    with pytest.raises(Broken):
        build(Tiny, given, (), Notes())


def test_mistakes_and_templates_are_noted_with_their_place() -> None:
    notes = Notes()
    given = {"base_url": "https://{{ settings.site }}", "params": {"a": "{{ nope }}", "b": "{{ settings.b }}"}, "records": "a..b"}
    with pytest.raises(Broken):
        build(Api, given, ("api",), notes)
    assert notes.mistakes == [
        (("api", "params", "a"), "uses 'nope', which no template knows; write {{ settings.nope }}"),
        (("api", "records"), 'is not a path; write names joined by dots, and "quote" a name that holds a dot'),
    ]
    assert notes.templates == [
        (("api", "base_url"), Template("https://{{ settings.site }}")),
        (("api", "params", "b"), Template("{{ settings.b }}")),
    ]


RICH: dict[str, Any] = {
    "syncer": 1,
    "name": "shop",
    "settings": {"site": {"type": "string", "default": "acme", "pattern": "^[a-z]+$"}, "key": {"secret": True}},
    "api": {
        "base_url": "https://{{ settings.site }}.example.com",
        "headers": {"Accept": "application/json"},
        "auth": {"kind": "choice", "among": [{"kind": "bearer", "token": "{{ settings.key }}"}, {"kind": "none"}]},
        "budgets": [{"requests": 300, "per": "60s", "reset": "epoch"}],
        "retry": {"statuses": [429, 500], "attempts": 3, "first_wait": "1s"},
        "params": {"per_page": 50},
        "records": "data.items",
        "paginate": {"kind": "number", "start": 0, "total": "data.total"},
    },
    "collections": {
        "orders": {
            "description": "Every order.",
            "path": "/orders",
            "key": ["id"],
            "cursor": {"property": "at", "param": "since", "format": "epoch_s", "inclusive": True, "lag": "5m", "start": 0},
            "full": {"every": "7d", "params": {"sort": "id"}, "paginate": {"kind": "key_set", "on": "id", "param": "after", "start": 0}},
            "changed": {
                "path": "/orders/search",
                "paginate": {
                    "kind": "key_set",
                    "on": "at",
                    "param": "since",
                    "tie_breaker": {"on": "id", "param": "f", "params": {"s": 1}},
                },
            },
            "properties": {
                "id": "integer",
                "at": {"type": "timestamp", "format": "iso", "timezone": "UTC", "required": True},
                "sum": {"type": "decimal(18,2)", "from": ["a.sum", "sum"], "match": "(\\d+)"},
                "tags": "string[]",
            },
        },
    },
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    for name, member in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(member, (*at, name))


def members(value: Any) -> Any:
    """A spec's own mappings, by their names: a member that is left out in silence shows as a difference."""
    if isinstance(value, Mapping):
        return {name: members(member) for name, member in value.items()}
    if isinstance(value, tuple):
        return [members(item) for item in value]
    if isinstance(value, Struct):
        return {one.encode_name: members(getattr(value, one.name)) for one in fields_of(type(value))}
    return None


def lacks(built: Any, given: Any) -> list[str]:
    if isinstance(given, dict) and isinstance(built, dict):
        missing = [name for name in given if name not in built and name != "kind"]
        return missing + [deeper for name in given if name in built for deeper in lacks(built[name], given[name])]
    if isinstance(given, list) and isinstance(built, list):
        return [deeper for one, other in zip(built, given, strict=True) for deeper in lacks(one, other)]
    return []


def check_agreement(data: dict[str, Any]) -> None:
    notes = Notes()
    try:
        built = build(Spec, data, (), notes)
    except Broken:
        built = None
    assert fits(SCHEMA, data) == VALIDATOR.is_valid(data)
    if VALIDATOR.is_valid(data):
        assert notes.mistakes or (built is not None and lacks(members(built), data) == [])
    else:
        whole = built is not None and not notes.mistakes and lacks(members(built), data) == []
        assert not whole or unseen(data)


def unseen(data: dict[str, Any]) -> bool:
    """What only the schema refuses, and may: limits, forms, unknown keys. Nothing of it is lost by building."""
    rules = {error.validator for error in VALIDATOR.iter_errors(data)}
    return rules <= {"minimum", "minItems", "minProperties", "pattern", "additionalProperties", "type"}


def test_a_spec_with_everything_in_it_is_valid_and_builds_whole() -> None:
    assert list(VALIDATOR.iter_errors(RICH)) == []
    notes = Notes()
    built = build(Spec, RICH, (), notes)
    assert notes.mistakes == []
    assert lacks(members(built), RICH) == []
    assert built.collections["orders"].full.paginate == KeySet(on="id", param="after", start=Text("0"))


ODD = [
    None,
    True,
    False,
    0,
    1,
    -1,
    5.0,
    1.5,
    "",
    "x",
    "5m",
    "id",
    "{{ settings.site }}",
    "{{ x }}",
    "a..b",
    "(",
    [],
    ["id"],
    [5.0],
    [[]],
    {},
    {"kind": "none"},
    {"a": 5.0},
]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(places(RICH), key=str)), st.sampled_from(range(len(ODD))))
def test_whatever_the_schema_accepts_is_built_whole_or_its_mistake_is_noted(at: tuple[Any, ...], odd: int) -> None:
    """One part of a good spec gives way to something odd."""
    data = copy.deepcopy(RICH)
    inner: Any = data
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = copy.deepcopy(ODD[odd])
    check_agreement(data)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(("api", "budgets", 0, "requests"), id="a-number"),
        pytest.param(("api", "params", "per_page"), id="a-template"),
        pytest.param(("collections", "orders", "full", "paginate", "start"), id="a-text"),
        pytest.param(("api", "paginate", "start"), id="a-kinds-number"),
    ],
)
def test_a_whole_number_with_a_point_is_not_dropped_in_silence(at: tuple[Any, ...]) -> None:
    """JSON Schema takes 5.0 for an integer."""
    data = copy.deepcopy(RICH)
    inner: Any = data
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = 5.0
    check_agreement(data)
