"""What is staged is what the slow, obviously right model reads: the fast SQL never differs from it, for no JSON and no type."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rest_syncer.engine import stage as stage_module
from rest_syncer.engine.columns import ColumnType, List, Reject
from rest_syncer.engine.errors import HubError
from rest_syncer.engine.extract import Extracted, Extraction, extract
from rest_syncer.engine.fields import Path as JsonPath
from rest_syncer.engine.fields import Pattern
from rest_syncer.engine.hub import Head, Hub, Slice
from rest_syncer.engine.hub.segment import encode
from rest_syncer.engine.lists import Part
from rest_syncer.engine.piece import RejectedValue, Staged
from rest_syncer.engine.project import ODD as ODD_ONES
from rest_syncer.engine.project import Projection
from rest_syncer.engine.properties import Property, TypeName
from rest_syncer.engine.spec import Collection
from rest_syncer.engine.stage import Stage
from rest_syncer.engine.values import SEPARATOR
from tests.support import segment_file

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


PLAIN = {
    "integer": ["1", "-9223372036854775808", '"12"'],
    "number": ["1", "-1.5e3", "0", '"2.50"'],
    "string": ['"x"', '"\\u00e9\\n"', '""', "1.10", "-0", "true"],
    "boolean": ["true", "false"],
    "date": ['"2016-11-22"'],
    "timestamp": ['"2016-11-22T23:21:08Z"', '"2016-11-22 23:21:08.5+02:00"'],
    "timestamp_utc": ['"2016-11-22T23:21:08"'],
    "epoch_ms": ["1479855068123", '"1479855068123"'],
    "decimal_9_2": ["1.5", '"1.50"', "-3"],
    "decimal_38_0": ["1.0", "12"],
    "json": ['{"a": 1.10 }', '"x"', "[1,2]", "-0.0"],
    "match": ['"/customers/12"'],
    "match_decimal": ['"EUR -1.50"'],
    "integer[]": ["[1,null,-2]", "[]"],
    "number[]": ["[1,2.5]"],
    "string[]": ['["a","\\u00e9",null]'],
    "boolean[]": ["[true,null]"],
    "date[]": ['["2016-11-22",null]'],
    "timestamp[]": ['["2016-11-22T23:21:08Z"]'],
    "decimal(9,2)[]": ['["1.50",3]'],
}


@pytest.mark.parametrize(("kind", "raw"), [pytest.param(kind, raw, id=f"{kind}-{raw}") for kind, raws in PLAIN.items() for raw in raws])
def test_what_is_plain_is_read_fast(tmp_path: Path, kind: str, raw: str) -> None:
    """Else all would be read one by one, and as right as before."""
    projection = Projection({"v": {**KINDS, **LISTS}[kind]})
    ((line,), _) = projection.own.of_lines(f'{{"v":{raw}}}\n'.encode())
    file = tmp_path / "values.csv"
    file.write_bytes(line + SEPARATOR + b"\n")
    with duckdb.connect() as con:
        assert con.execute(f"SELECT {ODD_ONES}, v IS NULL FROM ({projection.select(str(file), 100)})").fetchall() == [("", False)]


@thorough
@given(st.lists(raw_values, min_size=1, max_size=25))
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
    | {f"json {place}": prop("json", path) for place, path in enumerate(PATHS)}
    | {f"string {place}": prop("string", path) for place, path in enumerate(PATHS[:4])}
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


# --- keys, books, pieces ----------------------------------------------------------------------------------------------------

TWO_KEYS = collection({"a": prop("integer"), "b": prop("string"), "n": prop("number")}, key=("a", "b"))


@pytest.mark.parametrize(
    ("record", "property_", "raw", "reason"),
    [
        pytest.param('{"b":"x"}', "a", "null", "is the key, or part of it, and has no value", id="missing"),
        pytest.param('{"a":1,"b":null}', "b", "null", "is the key, or part of it, and has no value", id="null"),
        pytest.param('{"a":1.5,"b":"x"}', "a", "1.5", "has a fraction", id="rejected"),
        pytest.param('{"a":"1.5"}', "a", '"1.5"', "is a text that is not exactly an integer", id="rejected-and-missing"),
        pytest.param("{}", "a", "null", "is the key, or part of it, and has no value", id="empty"),
        pytest.param("5", "a", "null", "is the key, or part of it, and has no value", id="a-number"),
        pytest.param('["a","b"]', "a", "null", "is the key, or part of it, and has no value", id="a-list"),
        pytest.param("null", "a", "null", "is the key, or part of it, and has no value", id="null-itself"),
    ],
)
def test_a_record_without_its_whole_key_is_rejected_as_a_whole(record: str, property_: str, raw: str, reason: str) -> None:
    rows, into = staged(TWO_KEYS, [b'{"a":1,"b":"x"}', record.encode(), b'{"a":2,"b":"x"}'])
    assert sorted(rows) == [1, 3]
    assert into.rejects == [RejectedValue(f"things/{FIRST}", 2, property_, TWO_KEYS.properties[property_].type.text, raw, reason, True)]
    assert (into.read, into.rejected, into.rejected_values, into.unreadable_in) == (3, 1, 0, {1})


def test_other_rejects_of_a_record_that_goes_as_a_whole_go_with_it() -> None:
    rows, into = staged(TWO_KEYS, [b'{"a":true,"b":"x","n":"y"}', b'{"a":1,"b":"x","n":"y"}'])
    assert sorted(rows) == [2]
    assert [(one.line, one.property, one.whole) for one in into.rejects] == [(1, "a", True), (1, "n", True), (2, "n", False)]
    assert (into.read, into.rejected, into.rejected_values) == (2, 1, 1)


def test_where_every_key_can_be_read_nothing_is_unreadable() -> None:
    _, into = staged(TWO_KEYS, [b'{"a":1,"b":"x","n":"y"}'])
    assert not into.unreadable_in


def test_what_is_required_and_missing_is_told_and_its_row_stays() -> None:
    shape = collection({"id": prop("integer"), "n": prop("number", required=True)})
    rows, into = staged(shape, [b'{"id":1}', b'{"id":2,"n":null}', b'{"id":3,"n":"x"}', b'{"id":4,"n":0}'])
    assert [row["n"] for row in rows.values()] == [None, None, None, 0.0]
    assert [(one.line, one.raw, one.reason, one.whole) for one in into.rejects] == [
        (1, "null", "is required, and not there", False),
        (2, "null", "is required, and not there", False),
        (3, '"x"', "is not a number", False),
    ]
    assert (into.read, into.rejected, into.rejected_values) == (4, 0, 3)


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        pytest.param(b'"\\ud800"', '"\\ud800"', id="half-a-surrogate-pair"),
        pytest.param(b'"\xff"', '"\\udcff"', id="no-utf-8"),
        pytest.param(b'"\xed\xa0\x80"', '"\\udced\\udca0\\udc80"', id="a-surrogate-in-utf-8"),
    ],
)
def test_a_poisoned_value_is_rejected_alone(value: bytes, raw: str) -> None:
    shape = collection({"id": prop("integer"), "s": prop("string"), "j": prop("json"), "n": prop("decimal(9,2)"), "other": prop("string")})
    plain = b'{"id":%d,"s":"x","j":{"a": 1.10},"n":1.10,"other":"\\u00e9"}'
    rows, into = staged(shape, [plain % 1, plain.replace(b'"x"', value) % 2, plain % 3])
    whole = {"s": "x", "j": '{"a": 1.10}', "n": Decimal("1.10"), "other": "é"}
    assert [{name: row[name] for name in shape.properties} for row in rows.values()] == [
        {"id": 1, **whole},
        {"id": 2, **whole, "s": None},
        {"id": 3, **whole},
    ]
    assert [(one.line, one.property, one.raw, one.whole) for one in into.rejects] == [(2, "s", raw, False)]
    assert (into.read, into.rejected, into.rejected_values) == (3, 0, 1)


def test_a_record_that_is_no_json_at_all_is_rejected_alone() -> None:
    rows, into = staged(TWO_KEYS, [b'{"a":1,"b":"x"}', b'{"a":2,"b":', b"[" * 100_000, b'{"a":3,"b":"x"}'])
    assert [row["a"] for row in rows.values()] == [1, 3]
    assert [(one.line, one.property, one.whole) for one in into.rejects] == [(2, "", True), (3, "", True)]
    assert {one.reason for one in into.rejects} == {"the record is not JSON, or nested too deeply"}
    assert (into.read, into.rejected, into.rejected_values) == (4, 2, 0)


def test_a_raw_control_character_costs_nothing_but_time() -> None:
    """No page that `record.cut` took holds one; if a segment does, its value is right all the same."""
    rows, into = staged(TWO_KEYS, [b'{"a":1,"b":"x\x01y"}', b'{"a":2,"b":"x\ty"}'])
    assert [row["b"] for row in rows.values()] == ["x\x01y", "x\ty"]
    assert into.rejects == []


def test_what_is_read_again_is_staged_and_not_counted(tmp_path: Path) -> None:
    with Stage(hub_with(tmp_path, {FIRST: [b'{"a":1,"b":"x"}', b'{"b":"x"}', b'{"a":2,"b":"x","n":"y"}']})) as stage:
        into = Staged()
        stage.rows("things", TWO_KEYS, [FIRST], lambda name: 0, False, into)
        assert [(row["a"], row["_syncer_counted"]) for row in rows_of(TWO_KEYS, into)] == [(1, False), (2, False)]
    assert (into.read, into.rejected, into.rejected_values) == (0, 0, 0)
    assert [(one.line, one.whole) for one in into.rejects] == [(2, True), (3, False)]


def test_a_key_may_have_any_name() -> None:
    names = ("first", "place", "line", "number", "segment", "plain", "mended", "json", "r", "p", "select", "a.b", 'a"b', "é", "columns")
    shape = collection({name: prop("integer", "k") for name in names}, key=names)
    rows, into = staged(shape, [b'{"k":1.0}', b'{"k":2}', b"{}"])
    assert [{name: row[name] for name in names} for row in rows.values()] == [dict.fromkeys(names, 1), dict.fromkeys(names, 2)]
    assert [(one.line, one.property) for one in into.rejects] == [(3, "first")]


SEGMENTS = {
    "000001-01-000000": [b'{"id":1}', b'{"id":2}'],
    "000001-01-000001": [],
    "000001-01-000002": [b'{"id":3,"n":"x"}'],
    "000002-01-000000": [b'{"id":4,"n":"\\ud800"}', b'{"id":null}', b'{"id":5,"n":1}'],
    "000002-02-000000": [b'{"id":6}', b'{"id":"x"}'],
    "000012-01-000000": [b'{"id":%d,"n":0}' % number for number in range(7, 40)],
}
NUMBERED = collection({"id": prop("integer"), "n": prop("integer")})


@pytest.mark.parametrize("piece", [1, 30, 60, 10_000])
def test_rows_keep_their_segments_places_however_the_work_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(stage_module, "PIECE_BYTES", piece)
    hub = hub_with(tmp_path, SEGMENTS)
    into = Staged()
    with Stage(hub) as stage:
        stage.rows("things", NUMBERED, list(SEGMENTS), lambda name: int(name[:6]) // 2, True, into)
        rows = rows_of(NUMBERED, into)
        assert sorted(one.name for one in stage.folder.iterdir()) == sorted(Path(file).name for file in into.files)
    identity = hub.identity()
    assert identity is not None
    expected = [
        {
            "id": record["id"],
            "n": record.get("n") if isinstance(record.get("n"), int) else None,
            "_segment": f"{identity.id}/things/{name}#{line}",
            "_syncer_epoch": int(name[:6]) // 2,
            "_syncer_run": int(name[:6]),
            "_syncer_ordinal": int(name[7:9]),
            "_syncer_number": int(name[10:]),
            "_syncer_line": line,
            "_syncer_counted": True,
        }
        for name, records in SEGMENTS.items()
        for line, record in enumerate(map(json.loads, records), start=1)
        if isinstance(record["id"], int)
    ]
    assert rows == expected
    assert [(one.segment, one.line, one.property, one.whole) for one in into.rejects] == [
        ("things/000001-01-000002", 1, "n", False),
        ("things/000002-01-000000", 1, "n", False),
        ("things/000002-01-000000", 2, "id", True),
        ("things/000002-02-000000", 2, "id", True),
    ]
    assert (into.read, into.rejected, into.rejected_values, into.unreadable_in) == (41, 2, 2, {2})
    assert len(into.files) == {1: 5, 30: 5, 60: 4, 10_000: 1}[piece]


@pytest.mark.parametrize(("python", "here"), [(sys.executable, 1), ("/nowhere", 5)])
def test_of_many_bytes_another_process_extracts_the_rest_where_one_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, here: int
) -> None:
    hub, expected, into, done = hub_with(tmp_path, SEGMENTS), Staged(), Staged(), list[Extraction]()

    def extracted(wanted: Extraction, out: IO[bytes]) -> Extracted:
        done.append(wanted)
        return extract(wanted, out)

    monkeypatch.setattr(stage_module, "PIECE_BYTES", 1)
    monkeypatch.setattr(stage_module, "extract", extracted)
    with Stage(hub) as stage:
        stage.rows("things", NUMBERED, list(SEGMENTS), lambda name: 0, True, expected)
        rows = rows_of(NUMBERED, expected)
        assert len(done) == 5
    done.clear()
    monkeypatch.setattr(stage_module, "HELPED_FROM", 0)
    monkeypatch.setattr("sys.executable", python)
    with Stage(hub, workers=1) as stage:
        stage.rows("things", NUMBERED, list(SEGMENTS), lambda name: 0, True, into)
        assert rows_of(NUMBERED, into) == rows
    assert (into.rejects, into.read, into.unreadable_in) == (expected.rejects, expected.read, expected.unreadable_in)
    assert len(done) == here


def test_no_segments_are_no_rows(tmp_path: Path) -> None:
    with Stage(hub_with(tmp_path, {FIRST: []})) as stage:
        into = Staged()
        stage.rows("things", NUMBERED, [FIRST], lambda name: 0, True, into)
        assert into == Staged()
        assert stage.count_keys("things", NUMBERED, [Part(FIRST)]) == (0, 0)
        assert stage.count_missing("things", NUMBERED, [Part(FIRST)], []) == 0


@pytest.mark.parametrize("piece", [1, 10_000])
def test_keys_are_counted_and_compared_over_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(stage_module, "PIECE_BYTES", piece)
    one, two = "000001-01-000000", "000002-01-000000"
    segments = {
        one: [b'{"a":1,"b":"x"}', b'{"a":1.0,"b":"x"}', b'{"a":2,"b":"\\u0078"}', b'{"a":3}'],
        two: [b'{"a":1,"b":"x"}', b'{"a":2,"b":"X"}', b'{"a":4,"b":"\\ud800"}'],
    }
    with Stage(hub_with(tmp_path, segments)) as stage:
        assert stage.count_keys("things", TWO_KEYS, [Part(one)]) == (3, 2)
        assert stage.count_keys("things", TWO_KEYS, [Part(one), Part(two)]) == (5, 3)
        assert stage.count_missing("things", TWO_KEYS, [Part(one)], [Part(two)]) == 1
        assert stage.count_missing("things", TWO_KEYS, [Part(one)], []) == 2
        assert stage.count_missing("things", TWO_KEYS, [], [Part(two)]) == 0


def test_keys_are_counted_that_may_be_too_long_for_what_counting_takes(tmp_path: Path) -> None:
    with Stage(hub_with(tmp_path, {FIRST: []})) as stage:
        file = stage.lasting("keys")
        stage.append(file, b"".join(b'["%s"]\n' % (letter * 12 * 2**20) for letter in (b"a", b"b", b"a")))
        assert stage.count_lines([file], longest=13 * 2**20) == 2


# --- damage, and the lock ---------------------------------------------------------------------------------------------------

GOOD, BAD = "000001-01-000000", "000001-01-000001"


def staging_of_damaged(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Stage two segments, the bytes of the second of which were changed after it was written."""
    hub = hub_with(folder, {GOOD: [b'{"id":1}'] * 50, BAD: [b'{"id":%d,"n":"%d"}' % (one, one**9) for one in range(50)]})
    file = segment_file(hub, "things", BAD)
    file.write_bytes(change(file.read_bytes()))
    with Stage(hub) as stage:
        stage.rows("things", NUMBERED, [GOOD, BAD], lambda name: 0, True, Staged())


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: _flipped(data, data.index(b"\x28\xb5\x2f\xfd") + 60), id="a-bit-in-the-records"),
        pytest.param(lambda data: _flipped(data, data.index(b"\x28\xb5\x2f\xfd")), id="a-bit-in-the-magic-number"),
        pytest.param(lambda data: data[: data.index(b"\x28\xb5\x2f\xfd") + 100], id="cut-off-in-the-records"),
        pytest.param(lambda data: data[: data.index(b"\x28\xb5\x2f\xfd")], id="cut-off-behind-the-head"),
    ],
)
def test_a_damaged_segment_is_named(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(HubError, match=rf"^segment things/{BAD}: is damaged \(its checksum does not fit\)"):
        staging_of_damaged(tmp_path, change)


@pytest.mark.parametrize(("said", "held"), [(3, 2), (1, 2)])
def test_a_segment_that_holds_another_number_of_records_than_it_says_is_named(tmp_path: Path, said: int, held: int) -> None:
    def lying(data: bytes) -> bytes:
        return encode(replace(head_of(BAD, [b"{}"] * held), records=said), [b'{"id":2}'] * held, [])

    with pytest.raises(HubError, match=rf"^segment things/{BAD}: is damaged \(it holds {held} records, and its head says {said}\)"):
        staging_of_damaged(tmp_path, lying)


@pytest.mark.parametrize("in_lists", [1, 3])
def test_a_segment_whose_lists_hold_another_number_of_records_is_named(tmp_path: Path, in_lists: int) -> None:
    hub, records = hub_with(tmp_path, {}), [b'{"id":1}', b'{"id":2}']
    hub.append(head_of(FIRST, records), records, [{}], [Slice(0, 1, in_lists, {"name": "x"})])
    shape = collection({"id": prop("integer"), "of": prop("string", parent="name")})
    with Stage(hub) as stage, pytest.raises(HubError, match=rf"^segment things/{FIRST}: is damaged \(its lists have {in_lists} records"):
        stage.rows("things", shape, [FIRST], lambda name: 0, True, Staged())


def test_the_folder_is_gone_when_the_stage_is_closed(tmp_path: Path) -> None:
    with Stage(hub_with(tmp_path, {FIRST: [b'{"id":1}']})) as stage:
        stage.rows("things", NUMBERED, [FIRST], lambda name: 0, True, Staged())
        assert stage.folder.exists()
    assert not stage.folder.exists()


def test_what_is_staged_is_gone_when_its_work_is_done_or_at_the_latest_with_the_next_stage_of_its_name(tmp_path: Path) -> None:
    hub, staged = hub_with(tmp_path, {FIRST: [b'{"id":1}']}), Staged()
    killed = Stage(hub, "load").__enter__()
    with killed.work():
        killed.rows("things", NUMBERED, [FIRST], lambda name: 0, True, Staged())
    assert not list(killed.folder.glob("*.*"))
    killed.rows("things", NUMBERED, [FIRST], lambda name: 0, True, staged)
    assert all(Path(file).exists() for file in staged.files)
    with Stage(hub, "load"):
        assert not any(Path(file).exists() for file in staged.files)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The connection on which projections run."""
    with Stage(hub_with(tmp_path_factory.mktemp("hub"), {})) as stage, stage._connection().cursor() as con:
        yield con


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_text('/etc/passwd')",
        "FROM read_csv('/etc/passwd')",
        "FROM read_blob('/proc/self/environ')",
        "FROM '/etc/passwd'",
        "FROM glob('/etc/*')",
        "FROM read_json('https://example.com/x.json')",
        "COPY (SELECT 1) TO '/tmp/syncer-test.csv'",
        "EXPORT DATABASE '/tmp/syncer-test'",
        "ATTACH '/tmp/syncer-test.duckdb' AS other",
        "ATTACH 'https://example.com/x.duckdb' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET memory_limit = '100GB'",
        "SET GLOBAL threads = 64",
        "SET TimeZone = 'Asia/Tokyo'",
        "RESET lock_configuration",
        "SELECT getenv('HOME')",
        "FROM local_variable",
    ],
)
def test_a_projection_reaches_nothing(locked: duckdb.DuckDBPyConnection, sql: str) -> None:
    local_variable = [1]  # DuckDB likes to find tables in the caller's variables
    with pytest.raises(duckdb.Error):
        locked.execute(sql)
    assert local_variable == [1]


def test_instants_do_not_depend_on_where_the_machine_stands(locked: duckdb.DuckDBPyConnection) -> None:
    assert locked.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
