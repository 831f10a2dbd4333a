"""What is staged is what the slow, obviously right model reads: the fast SQL never differs from it, for no JSON and no type."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rest_syncer.engine.columns import ColumnType, List, Property, Reject, TypeName
from rest_syncer.engine.fields import Path as JsonPath
from rest_syncer.engine.fields import Pattern
from rest_syncer.engine.hub import Head, Hub
from rest_syncer.engine.spec import Collection
from rest_syncer.engine.stage import Stage, Staged

EXAMPLES = int(os.environ.get("SYNCER_EXAMPLES", "15"))

thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

# --- a hub by hand, and what comes out of it -------------------------------------------------------------------------------


def prop(kind: str, source: str | Sequence[str] | None = None, match: str | None = None, **more: Any) -> Property:
    """A property as a spec would declare it."""
    paths = [source] if isinstance(source, str) else source
    parsed = None if paths is None else tuple(JsonPath.parse(path) for path in paths)
    return Property(type=TypeName.parse(kind), source=parsed, match=None if match is None else Pattern.parse(match), **more)


def collection(properties: Mapping[str, Property], key: Sequence[str] = ("id",)) -> Collection:
    return Collection(key=tuple(key), properties=dict(properties))


def head_of(name: str, records: Sequence[bytes]) -> Head:
    return Head(
        collection="things", name=name, chain=name.rpartition("-")[0], purpose="full", began=0, since=None, until=None, route="",
        records=len(records), longest=max(map(len, records), default=0), raw_bytes=sum(map(len, records)),
    )  # fmt: skip


def hub_with(folder: Path, segments: Mapping[str, Sequence[bytes]]) -> Hub:
    """A hub that holds these segments of the collection `things`."""
    hub = Hub(folder, "source")
    hub.claim("https://api.example.com", {})
    for name, records in segments.items():
        hub.append(head_of(name, records), list(records), [{}])
    return hub


FIRST = "000001-01-000000"


def staged(shape: Collection, records: Sequence[bytes], hub_folder: Path | None = None) -> tuple[dict[int, dict[str, Any]], Staged]:
    """The rows by line, and the rest of what is staged, of one segment that holds these records."""
    with tempfile.TemporaryDirectory() as folder:
        hub = hub_with(hub_folder or Path(folder), {FIRST: records})
        with Stage(hub) as stage:
            into = Staged()
            stage.rows("things", shape, [FIRST], lambda name: 0, True, into)
            return {row["_syncer_line"]: row for row in rows_of(shape, into)}, into


def rows_of(shape: Collection, into: Staged) -> list[dict[str, Any]]:
    """All staged rows, with instants as microseconds and dates as ISO texts."""
    if not into.files:
        return []
    columns = [f"{_read_back(one.column_type, _quoted(name))} AS {_quoted(name)}" for name, one in shape.properties.items()]
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        found = con.execute(
            f"SELECT {', '.join(columns)}, _segment, _syncer_epoch, _syncer_run, _syncer_ordinal, _syncer_number, _syncer_line, "
            "_syncer_counted FROM read_parquet($files) ORDER BY _syncer_run, _syncer_ordinal, _syncer_number, _syncer_line",
            {"files": into.files},
        )
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _read_back(kind: ColumnType, column: str) -> str:
    if isinstance(kind, List):
        return f"list_transform({column}, lambda one: {_read_back(kind.of, 'one')})"
    return {"TIMESTAMPTZ": f"epoch_us({column})", "DATE": f"CAST({column} AS VARCHAR)", "JSON": f"CAST({column} AS VARCHAR)"}.get(
        kind.duckdb, column
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- the model ------------------------------------------------------------------------------------------------------------


def value_of(kind: ColumnType, text: str | None) -> Any:
    """The Python value that a canonical text stands for, as `rows_of` reads it back."""
    if text is None:
        return None
    if isinstance(kind, List):
        return [value_of(kind.of, one) for one in json.loads(text)]
    plain: dict[str, Any] = {"BIGINT": int, "DOUBLE": float, "TIMESTAMPTZ": int, "BOOLEAN": lambda word: word == "true"}
    if kind.duckdb.startswith("DECIMAL"):
        return Decimal(text)
    return plain.get(kind.duckdb, str)(text)


def model(shape: Collection, record: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """What the slow reading makes of a record: values by property, and reasons of rejects by property."""
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, one in shape.properties.items():
        try:
            values[name] = value_of(one.column_type, one.read(name, record.decode("utf-8", "surrogateescape")))
        except Reject as reject:
            values[name], reasons[name] = None, str(reject)
    return values, reasons


def assert_as_the_model_says(shape: Collection, records: Sequence[bytes]) -> None:
    rows, into = staged(shape, records)
    expected_rows: dict[int, dict[str, Any]] = {}
    expected_rejects: dict[tuple[int, str], str] = {}
    for line, record in enumerate(records, start=1):
        values, reasons = model(shape, record)
        keyless = [name for name in shape.key if values[name] is None]
        if not keyless:
            expected_rows[line] = values
        elif not any(name in reasons for name in shape.key):
            reasons[keyless[0]] = "is the key, or part of it, and has no value"
        expected_rejects |= {(line, name): reason for name, reason in reasons.items()}
    found_rows = {line: {name: row[name] for name in shape.properties} for line, row in rows.items()}
    for line, record in enumerate(records, start=1):
        assert _comparable(found_rows.get(line)) == _comparable(expected_rows.get(line)), record[:300]
    assert {(one.line, one.property): one.reason for one in into.rejects} == expected_rejects
    assert (into.read, into.rejected) == (len(records), len(records) - len(expected_rows))
    assert into.rejected_values == sum(1 for line, _ in expected_rejects if line in expected_rows)
    assert {one.line for one in into.rejects if one.whole}.isdisjoint(expected_rows)


def _comparable(value: Any) -> Any:
    """-0.0 and 0.0, 1 and True are not the same."""
    if isinstance(value, dict):
        return {name: _comparable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    return (type(value).__name__, repr(value)) if isinstance(value, (float, bool)) else value


# --- arbitrary JSON, aimed at trouble: exact texts, not Python values ------------------------------------------------------

NUMBERS = [
    "0", "-0", "1", "-1", "1.0", "-0.0", "1e3", "1E3", "1.5e+3", "1.5", "0.1", "1.10", "100.00", "1e-2", "12345.678", "1.239",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "9007199254740993", "9007199254740993.0", "123456789012345678901234567890", "1e18", "1e19", "1e40",
    "9" * 38, "9" * 39, "9" * 30 + ".5", "0." + "3" * 38, "12345678901234567.89", "1." + "0" * 60, "1." + "0" * 60 + "1",
    "1e308", "1.7976931348623157e308", "1.7976931348623159e308", "1e400", "-1e400", "1e-400", "4.9e-324", "2.2250738585072011e-308",
    "1e999999999999", "-1e999999999999", "1e-999999999999", "0e999999999999", "0e-999999999999", "1e99999999999999999999999", "0.0",
    "1479855068", "1479855068123", "1479855068123456", "1479855068.123", "1479855068.1234567", "-62135596800", "-62135596801",
    "253402300799", "253402300800", "253402300799999", "253402300800000", "253402300799999999", "1e10", "1" * 400,
]  # fmt: skip
TEXTS = [
    "", " ", "1", "-1", "03", "1.0", "-0", "+1", " 1", "1 ", "1e3", "1_000", "٣", "NaN", "nan", "Infinity", "-Infinity", "inf", "0x10",
    "true", "false", "True", "yes", "no", "on", "t", "1.5", "0.50", ".5", "5.", "1,5", "1e400", "null", "None", "9223372036854775808",
    "9" * 38, "0." + "3" * 38, "2016-11-22", "2016-11-22T23:21:08Z", "2016-11-22 23:21:08Z", "2016-11-22T23:21:08z",
    "2016-11-22t23:21:08Z", "2016-11-22T23:21:08", "2016-11-22 23:21:08", "2016-11-22T23:21:08+02:00", "2016-11-22T23:21:08+0530",
    "2016-11-22T23:21:08-00:00", "2016-11-22T23:21:08+14:00", "2016-11-22T23:21:08+14:59", "2016-11-22T23:21:08+15:00",
    "2016-11-22T23:21:08+02", "2016-11-22T23:21:08.1Z", "2016-11-22T23:21:08.123456Z", "2016-11-22T23:21:08.1234567Z",
    "2016-11-22T23:21:08.1234560Z", "2016-11-22T23:21:08.123456789Z", "2016-11-22T23:21:08.Z", "2016-11-22T23:21:08,5Z",
    "2016-11-22T23:21Z", "2016-11-22T23Z", "2016-12-31T23:59:60Z", "2016-12-31T24:00:00Z", "2016-13-01T00:00:00Z", "2016-13-01",
    "2016-02-30", "2015-02-29", "2016-02-29", "2016-02-30T00:00:00Z", "0000-01-01", "0000-01-01T00:00:00Z", "0001-01-01",
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-01-02T00:00:00+14:00", "0001-01-01T13:59:59+14:00",
    "9999-12-31", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00", "9999-12-31T09:00:00-14:59", "10000-01-01",
    "10000-01-01T00:00:00Z", "-0001-01-01", "2016-11-22T00:00:00Z", "2016-11-22 00:00:00", "2016-1-2", "2016-11-22 ", " 2016-11-22",
    "2016-11-22\n", "2016-11-22T23:21:08Z\n", "20161122", "infinity", "epoch", "today", "2016-03-27 02:30:00", "2016-10-30 02:30:00",
    "2016-07-01T12:00:00", "1883-11-18 12:00:00", "22.11.2016 13:00", "22.11.2016 13:00:05", "2.1.2016 1:02", "27.03.2016 02:30",
    "22.11.2016", "1479855068", "1479855068.000200", "1479855068123", "-1", "253402300800", "/api/v2/customers/12", "/customers/012",
    "/customers/12\n", "/customers/", "/customers/99999999999999999999", "12/customers/34", "a\u0000b", "\u0000", "\u2028", "\u2029",
    "é", "e\u0301", "😀", "\ufeff", "\u007f", "\u0085", "a\tb", "a\nb", "a\rb", 'a"b', "a\\b", "a/b", "{}", "[]", "[1]", '{"a":1}', "NULL",
]  # fmt: skip
ODD = [
    "NaN", "Infinity", "-Infinity", '"\\ud800"', '"a\\udc00b"', '"\\ud83d\\ude00"', '"\\u00e9"', '"\\u0000"', '"\\/"', '"a\\u0062"',
    "[]", "[null]", "[1,2]", "[1, 2]", "[1,1.5]", '["a",null,"b"]', '["a",1]', "[true,false,null]", "[[1],[2]]", "[{}]", "[1.0,2]",
    "[-0]", "[-0.0]", '["1","2"]', '["2016-11-22"]', '["2016-11-22T23:21:08Z",null]', "[1.5,null,2]", "[1479855068]", "[1e400]",
    '["\\ud800"]', "[9223372036854775808]", '["0.50"]', "[0.50]", '[""]', "[ ]", '["a\\nb","\\u0000"]', "[NaN]", '[{"a": 1.10}]',
    "{}", '{"a":1}', '{"a": 1.10 }', '{"b":1,"b":2}', '{"x":"\\ud800"}', '{"a":NaN}', '{"a":1e400}', "{ }", '{"a":[1,{"b":null}]}',
    "true", "false", "null", '"x\x01y"', '"x\ty"',
]  # fmt: skip
LONG = ["[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200, json.dumps("x" * 100_000), json.dumps(["é" * 50_000]), "1" * 5000]
UNREADABLE = ("\\ud800", "\\udc00b", "\x01", "\t")
"""What DuckDB's JSON reader refuses."""

letters = st.sampled_from(list('abAé/\\"\u0000\u2028\n\t1 .:,{}[]😀')) | st.characters(codec="utf-8")
digits = st.text("0123456789", min_size=1, max_size=40).map(lambda text: text.lstrip("0") or "0")
numbers = st.builds(
    lambda sign, whole, part, exponent: sign + whole + part + exponent,
    st.sampled_from(["", "-"]),
    digits,
    st.just("") | st.text("0123456789", min_size=1, max_size=40).map(lambda text: "." + text),
    st.just("") | st.sampled_from(["e", "E", "e+", "e-"]).flatmap(lambda e: st.integers(0, 420).map(lambda power: f"{e}{power}")),
)
moments = st.builds(
    "{}-{}-{}{}{}:{}:{}{}{}".format,
    *(st.sampled_from(choice.split(",")) for choice in (
        "0000,0001,1582,1969,2016,9999", "01,02,12,13", "01,02,29,31", "T, ,t", "00,02,23,24", "00,30,59,60", "00,59,60",
        ",.0,.5,.123,.123456,.1234567,.1234560", ",Z,z,+00:00,-00:00,+14:00,-14:00,+0530,+05:30,+15:00, Z",
    )),
)  # fmt: skip
plain_texts = st.sampled_from(TEXTS) | st.text(letters, max_size=12) | moments | numbers
strings = st.builds(lambda text, ascii_only: json.dumps(text, ensure_ascii=ascii_only), plain_texts, st.booleans())
scalars = st.sampled_from(NUMBERS) | numbers | strings | st.sampled_from(ODD)
blanks = st.sampled_from(["", "", "", " ", "\t"])
lists = st.builds(
    lambda items, blank: f"[{blank}" + f",{blank}".join(items) + f"{blank}]", st.lists(scalars, max_size=4), blanks
)  # fmt: skip
raw_values = scalars | lists

KINDS = {
    "integer": prop("integer", "v"),
    "number": prop("number", "v"),
    "string": prop("string", "v"),
    "boolean": prop("boolean", "v"),
    "date": prop("date", "v"),
    "json": prop("json", "v"),
    "timestamp": prop("timestamp", "v"),
    "timestamp_utc": prop("timestamp", "v", timezone="UTC"),
    "timestamp_berlin": prop("timestamp", "v", timezone="Europe/Berlin"),
    "epoch_s": prop("timestamp", "v", format="epoch_s"),
    "epoch_ms": prop("timestamp", "v", format="epoch_ms"),
    "epoch_us": prop("timestamp", "v", format="epoch_us"),
    "pattern": prop("timestamp", "v", format="%d.%m.%Y %H:%M", timezone="Europe/Berlin"),
    "pattern_offset": prop("timestamp", "v", format="%Y-%m-%dT%H:%M:%S.%f%z"),
    "day_pattern": prop("date", "v", format="%d.%m.%Y"),
    "decimal_9_2": prop("decimal(9,2)", "v"),
    "decimal_38_0": prop("decimal(38,0)", "v"),
    "decimal_38_38": prop("decimal(38,38)", "v"),
    "decimal_38_10": prop("decimal(38,10)", "v"),
    "required": prop("integer", "v", required=True),
    "required_json": prop("json", "v", required=True),
    "match": prop("integer", "v", match=r"/customers/(\d+)$"),
    "match_text": prop("string", "v", match=r"^a?(.*)b?$"),
    "match_empty": prop("string", "v", match=r"(\d*)"),
    "match_decimal": prop("decimal(9,2)", "v", match=r"([-\d.]+)"),
    "match_json": prop("json", "v", match=r"(.+)"),
    "match_timestamp": prop("timestamp", "v", match=r"^(\S+Z)$", required=True),
    "match_list": prop("string[]", "v", match=r"(.)"),
}
LISTS = {
    f"{kind}[]": prop(f"{kind}[]", "v")
    for kind in ("integer", "number", "string", "boolean", "date", "json", "timestamp", "decimal(9,2)", "decimal(38,10)")
} | {
    "epoch[]": prop("timestamp[]", "v", format="epoch_s"),
    "utc[]": prop("timestamp[]", "v", timezone="UTC"),
    "pattern[]": prop("date[]", "v", format="%d.%m.%Y"),
}
EVERY_KIND = collection({"id": prop("integer"), **KINDS, **LISTS})


def records_with(values: Sequence[str]) -> list[bytes]:
    return [f'{{"id":{place},"v":{value}}}'.encode() for place, value in enumerate(values)]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(NUMBERS, id="numbers"),
        pytest.param([json.dumps(text) for text in TEXTS], id="texts-escaped"),
        pytest.param([json.dumps(text, ensure_ascii=False) for text in TEXTS], id="texts-plain"),
        pytest.param([value for value in ODD if not any(word in value for word in UNREADABLE)], id="odd"),
        pytest.param(ODD, id="unreadable"),
        pytest.param(LONG, id="long"),
        pytest.param([f"[{value}]" for value in NUMBERS], id="lists-of-numbers"),
        pytest.param([f"[null,{json.dumps(text)}]" for text in TEXTS], id="lists-of-texts"),
    ],
)
def test_every_troublesome_value_is_read_as_the_model_reads_it_by_every_type(values: list[str]) -> None:
    assert_as_the_model_says(EVERY_KIND, records_with(values))


@thorough
@given(st.lists(raw_values, min_size=1, max_size=12))
def test_every_value_is_read_as_the_model_reads_it_by_every_type(values: list[str]) -> None:
    assert_as_the_model_says(EVERY_KIND, records_with(values))


# --- arbitrary records: names, doubles, blanks, parents that are none -------------------------------------------------------

NAMES = [
    "v",
    "a",
    "b",
    "A",
    "a.b",
    'q"r',
    "a/b",
    "a~b",
    "a b",
    "é",
    "0",
    "1",
    "01",
    "-",
    "",
    "$",
    "*",
    "#",
    "a~1b",
    "it's",
    "\\",
    "null",
    "\t",
]
PATHS = [
    "v", "a", "a.b", "A", '"a.b"', '"q\\"r"', "a/b", "a~b", "a b", "é", "0", "a.0", "a.1.b", "a.01", "a.-", '""', "$", "*", "#", "a~1b", "it's",  # noqa: E501 - the list reads best in one piece
    "\\", "a.b.v", "v.a", "null",
]  # fmt: skip
SOME = ["a.b", "v", "a.0"]
EVERY_PATH = collection(
    {"id": prop("integer")}
    | {f"string {place}": prop("string", path) for place, path in enumerate(PATHS)}
    | {f"json {place}": prop("json", path) for place, path in enumerate(PATHS)}
    | {
        "first": prop("json", SOME),
        "first_decimal": prop("decimal(9,2)", SOME),
        "first_integer": prop("integer", SOME, required=True),
        "first_match": prop("string", SOME, match=r"^(\D*)"),
        "first_match_integer": prop("integer", SOME, match=r"(\d+)", required=True),
        "first_list": prop("string[]", SOME),
        "exact": prop("decimal(9,2)", "v"),
        "mended": prop("integer", "a.b"),
        "plain": prop("number", "a"),
        "r": prop("boolean", "v"),
        "p": prop("date", "v"),
        "json": prop("integer[]", "a"),
        "place": prop("timestamp", "v", format="epoch_s"),
    }
)


def spelled(name: str, way: int) -> str:
    """One of the ways to write a name in JSON."""
    if way == 2:
        return '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'
    return json.dumps(name, ensure_ascii=way == 1)


def an_object(members: Sequence[tuple[str, int, str]], blank: str) -> str:
    written = [f"{spelled(name, way)}{blank}:{blank}{value}" for name, way, value in members]
    return "{" + blank + f"{blank},{blank}".join(written) + blank + "}"


leaves = st.sampled_from(
    ["1", "1.10", "-0", "1.5", '"x"', '"1.10"', '"v"', '"\\"v\\":1"', '"a\\"b\\":2"', "null", "true", "[]", "{}", '"\ue000"', '"é"', '"\\u00e9"']  # noqa: E501 - the list reads best in one piece
)  # fmt: skip
member_names = st.sampled_from(["v", "a", "b"]) | st.sampled_from(NAMES)
ways = st.sampled_from([0, 0, 0, 1, 2])
nested = st.recursive(
    leaves,
    lambda inner: (
        st.builds(an_object, st.lists(st.tuples(member_names, ways, inner), max_size=4), blanks)
        | st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
    ),
    max_leaves=8,
)
members = st.lists(st.tuples(member_names, ways, nested), max_size=5)


def as_bytes(record: str) -> bytes:
    """A record's bytes; U+E000 stands for a byte that is no UTF-8."""
    return record.encode().replace("\ue000".encode(), b"\xff")


@thorough
@given(st.lists(st.builds(an_object, members, blanks), min_size=1, max_size=8))
def test_every_record_is_read_as_the_model_reads_it_by_every_path(objects: list[str]) -> None:
    records = [as_bytes(f'{{"id":{place},{one[1:]}' if one.strip("{} \t") else f'{{"id":{place}}}') for place, one in enumerate(objects)]
    assert_as_the_model_says(EVERY_PATH, records)
