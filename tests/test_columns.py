"""The written table of each type: a JSON form -> its value, or the exact reason why it is rejected."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_syncer.engine.columns import Reject
from rest_syncer.engine.fields import Path, Pattern
from rest_syncer.engine.properties import Property, TypeName

NOON = "1479816000000000"  # 2016-11-22T12:00:00Z


def read(kind: str, raw: str, **more: Any) -> str | None:
    """The canonical text of a JSON value, read as a property of this type."""
    return Property(type=TypeName.parse(kind), **more).read("v", f'{{"v":{raw}}}')


def reason(kind: str, raw: str, **more: Any) -> str:
    with pytest.raises(Reject) as caught:
        read(kind, raw, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    "kind", ["string", "integer", "number", "decimal(9,2)", "boolean", "timestamp", "date", "json", "string[]", "json[]"]
)
def test_null_and_what_is_missing_are_null_in_every_type(kind: str) -> None:
    assert read(kind, "null") is None
    assert Property(type=TypeName.parse(kind)).read("other", '{"v":1}') is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('""', ""),
        ('" a "', " a "),
        ('"\\u00e9"', "é"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"a\\u0000b"', "a\x00b"),
        ('"\u2028"', "\u2028"),
        ('"null"', "null"),
        ("0", "0"),
        ("-0", "-0"),
        ("1.0", "1.0"),
        ("1.10", "1.10"),
        ("1E3", "1E3"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1e400", "1e400"),
        ("true", "true"),
        ("false", "false"),
    ],
)
def test_a_string_takes(raw: str, text: str) -> None:
    assert read("string", raw) == text


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("{}", "is an object or a list, not a text; declare it json"),
        ('["a"]', "is an object or a list, not a text; declare it json"),
        ('"\\ud800"', "holds half a surrogate pair, which no text can"),
        ('"a\\udc00b"', "holds half a surrogate pair, which no text can"),
        ("NaN", "is not JSON"),
        ("-Infinity", "is not JSON"),
    ],
)
def test_a_string_rejects(raw: str, why: str) -> None:
    assert reason("string", raw) == why


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("0e999999999999", "0"),
        ("1", "1"),
        ("1.0", "1"),
        ("1e3", "1000"),
        ("12.50e1", "125"),
        ("1000e-3", "1"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775807." + "0" * 50, "9223372036854775807"),
        ('"12"', "12"),
        ('"-12"', "-12"),
        ('"0"', "0"),
        ('"9223372036854775807"', "9223372036854775807"),
    ],
)
def test_an_integer_takes(raw: str, text: str) -> None:
    assert read("integer", raw) == text


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("1.5", "has a fraction"),
        ("1e-3", "has a fraction"),
        ("1e-999999999999", "has a fraction"),
        ("9223372036854775807.5", "has a fraction"),
        ("9223372036854775808", "is too large for 64 bits"),
        ("-9223372036854775809", "is too large for 64 bits"),
        ("18446744073709551615", "is too large for 64 bits"),
        ("1e19", "is too large for 64 bits"),
        ("1e400", "is too large for 64 bits"),
        ("1e999999999999", "is too large for 64 bits"),
        ("1" * 5000, "is too large for 64 bits"),
        ("1e99999999999999999999999", "has an exponent out of all bounds"),
        ('"9223372036854775808"', "is too large for 64 bits"),
        ('""', "is a text that is not exactly an integer"),
        ('"03"', "is a text that is not exactly an integer"),
        ('"-0"', "is a text that is not exactly an integer"),
        ('"+1"', "is a text that is not exactly an integer"),
        ('" 1"', "is a text that is not exactly an integer"),
        ('"1\\n"', "is a text that is not exactly an integer"),
        ('"1.0"', "is a text that is not exactly an integer"),
        ('"1e3"', "is a text that is not exactly an integer"),
        ('"1_000"', "is a text that is not exactly an integer"),
        ('"٣"', "is a text that is not exactly an integer"),
        ("true", "is not a number"),
        ("[1]", "is not a number"),
        ("NaN", "is not a number"),
    ],
)
def test_an_integer_rejects(raw: str, why: str) -> None:
    assert reason("integer", raw) == why


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("0", "0.0"),
        ("-0", "0.0"),
        ("-0.0", "0.0"),
        ("1.5", "1.5"),
        ("1e3", "1000.0"),
        ("0.1", "0.1"),
        ("9007199254740993", "9007199254740992.0"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("4.9e-324", "5e-324"),
        ("1e-400", "0.0"),
        ("1" * 300, "1.1111111111111112e+299"),
        ('"1.5"', "1.5"),
        ('"-1e3"', "-1000.0"),
    ],
)
def test_a_number_takes_the_nearest_double(raw: str, text: str) -> None:
    assert read("number", raw) == text


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("1e400", "is too large for a double"),
        ("-1e999999999999", "is too large for a double"),
        ("1" * 400, "is too large for a double"),
        ('"1e400"', "is too large for a double"),
        ("NaN", "is not a number"),
        ("-Infinity", "is not a number"),
        ('"NaN"', "is not a number"),
        ('"Infinity"', "is not a number"),
        ('""', "is not a number"),
        ('"03"', "is not a number"),
        ('"1,5"', "is not a number"),
        ('" 1"', "is not a number"),
        ('"0x10"', "is not a number"),
        ("true", "is not a number"),
        ("{}", "is not a number"),
    ],
)
def test_a_number_rejects(raw: str, why: str) -> None:
    assert reason("number", raw) == why


@pytest.mark.parametrize(
    ("kind", "raw", "text"),
    [
        ("decimal(9,2)", "0", "0"),
        ("decimal(9,2)", "-0.000", "0"),
        ("decimal(9,2)", "0e999999999999", "0"),
        ("decimal(9,2)", "1.1", "1.10"),
        ("decimal(9,2)", "1.2300", "1.23"),
        ("decimal(9,2)", "-9999999.99", "-9999999.99"),
        ("decimal(9,2)", "1e3", "1000.00"),
        ("decimal(9,2)", "125e-2", "1.25"),
        ("decimal(9,2)", '"0.50"', "0.50"),
        ("decimal(9,2)", '"5e-2"', "0.05"),
        ("decimal(18,0)", "12.0", "12"),
        ("decimal(38,0)", "9" * 38, "9" * 38),
        ("decimal(38,38)", "0." + "3" * 38, "0." + "3" * 38),
        ("decimal(38,38)", "1e-38", "0." + "0" * 37 + "1"),
        ("decimal(38,10)", "12345678901234567890.1234567891", "12345678901234567890.1234567891"),
    ],
)
def test_a_decimal_takes(kind: str, raw: str, text: str) -> None:
    assert read(kind, raw) == text


@pytest.mark.parametrize(
    ("kind", "raw", "why"),
    [
        ("decimal(9,2)", "1.239", "has 3 digits after the point, the type holds 2"),
        ("decimal(9,2)", "1e-999999999999", "has 999999999999 digits after the point, the type holds 2"),
        ("decimal(9,2)", '"1.2301"', "has 4 digits after the point, the type holds 2"),
        ("decimal(9,2)", "10000000", "is too large for 7 digits before the point"),
        ("decimal(9,2)", "1e400", "is too large for 7 digits before the point"),
        ("decimal(9,2)", "1e999999999999", "is too large for 7 digits before the point"),
        ("decimal(9,2)", "1e99999999999999999999999", "has an exponent out of all bounds"),
        ("decimal(38,0)", "9" * 39, "is too large for 38 digits before the point"),
        ("decimal(38,38)", "1", "is too large for 0 digits before the point"),
        ("decimal(9,2)", '"03"', "is not a number"),
        ("decimal(9,2)", '"NaN"', "is not a number"),
        ("decimal(9,2)", '"sNaN"', "is not a number"),
        ("decimal(9,2)", '""', "is not a number"),
        ("decimal(9,2)", "NaN", "is not a number"),
        ("decimal(9,2)", "true", "is not a number"),
        ("decimal(9,2)", "[1]", "is not a number"),
    ],
)
def test_a_decimal_rejects(kind: str, raw: str, why: str) -> None:
    assert reason(kind, raw) == why


def test_a_boolean_takes_true_and_false_and_nothing_else() -> None:
    assert [read("boolean", raw) for raw in ("true", "false")] == ["true", "false"]
    for raw in ("1", "0", '"true"', '"yes"', '""', "[]", "{}", "[true]"):
        assert reason("boolean", raw) == "is not true or false"


@pytest.mark.parametrize(
    ("raw", "more", "text"),
    [
        ('"2016-11-22T12:00:00Z"', {}, NOON),
        ('"2016-11-22 12:00:00z"', {}, NOON),
        ('"2016-11-22T13:00:00+01:00"', {}, NOON),
        ('"2016-11-22T17:30:00+0530"', {}, NOON),
        ('"2016-11-23T02:00:00+14:00"', {}, NOON),
        ('"2016-11-22T12:00:00-00:00"', {}, NOON),
        ('"2016-11-22T12:00:00.000001Z"', {}, "1479816000000001"),
        ('"2016-11-22T12:00:00.1230000Z"', {}, "1479816000123000"),
        ('"0001-01-01T00:00:00Z"', {}, "-62135596800000000"),
        ('"9999-12-31T23:59:59.999999Z"', {}, "253402300799999999"),
        ('"2016-11-22T12:00:00"', {"timezone": "UTC"}, NOON),
        ('"2016-11-22T13:00:00"', {"timezone": "Europe/Berlin"}, NOON),
        ('"2016-11-22T12:00:00Z"', {"timezone": "Europe/Berlin"}, NOON),
        ("1479816000", {"format": "epoch_s"}, NOON),
        ("1479816000.5", {"format": "epoch_s"}, "1479816000500000"),
        ("1.479816e9", {"format": "epoch_s"}, NOON),
        ('"1479816000"', {"format": "epoch_s"}, NOON),
        ("1479816000000", {"format": "epoch_ms"}, NOON),
        ("1479816000000000", {"format": "epoch_us"}, NOON),
        ("-1", {"format": "epoch_us"}, "-1"),
        ("-0.0", {"format": "epoch_s"}, "0"),
        ('"22.11.2016 13:00"', {"format": "%d.%m.%Y %H:%M", "timezone": "Europe/Berlin"}, NOON),
        ('"Tue Nov 22 12:00:00 UTC 2016"', {"format": "%a %b %d %H:%M:%S %Z %Y"}, NOON),
        ('"22/11/16 05:00 -0700"', {"format": "%d/%m/%y %H:%M %z"}, NOON),
    ],
)
def test_a_timestamp_takes(raw: str, more: dict[str, str], text: str) -> None:
    assert read("timestamp", raw, **more) == text


@pytest.mark.parametrize(
    ("raw", "more", "why"),
    [
        ('"2016-11-22T12:00:00"', {}, "has no offset, and the spec names no timezone"),
        ('"2016-11-22T12:00:00.1234567Z"', {}, "is not an ISO 8601 date and time to the microsecond"),
        ('"2016-12-31T23:59:60Z"', {}, "is not an ISO 8601 date and time to the microsecond"),
        ('"2016-11-22T24:00:00Z"', {}, "is not an ISO 8601 date and time to the microsecond"),
        ('"2016-11-22"', {}, "is not an ISO 8601 date and time to the microsecond"),
        ('"2016-11-22T12:00:00+15:00"', {}, "is not an ISO 8601 date and time to the microsecond"),
        ('""', {}, "is not an ISO 8601 date and time to the microsecond"),
        ('"1479816000"', {}, "is not an ISO 8601 date and time to the microsecond"),
        ('"2016-13-01T00:00:00Z"', {}, "is no instant of its format"),
        ('"2016-02-30T00:00:00Z"', {}, "is no instant of its format"),
        ('"0000-01-01T00:00:00Z"', {}, "is no instant of its format"),
        ('"0001-01-01T00:00:00+14:00"', {}, "is not a time of the years 1 to 9999"),
        ('"9999-12-31T23:59:59-14:00"', {}, "is not a time of the years 1 to 9999"),
        (
            '"2016-03-27T02:30:00"',
            {"timezone": "Europe/Berlin"},
            "is an hour that a change of clocks left out or repeated, and has no offset",
        ),
        (
            '"2016-10-30T02:30:00"',
            {"timezone": "Europe/Berlin"},
            "is an hour that a change of clocks left out or repeated, and has no offset",
        ),
        ("1479816000", {}, "is not a text; name its `format` if it is an epoch"),
        ("true", {}, "is not a text; name its `format` if it is an epoch"),
        ("[]", {"format": "epoch_s"}, "is not a text or a number"),
        ("NaN", {"format": "epoch_s"}, "is not a text or a number"),
        ('"NaN"', {"format": "epoch_s"}, "is not a number of seconds or milliseconds"),
        ('" 1479816000"', {"format": "epoch_s"}, "is not a number of seconds or milliseconds"),
        ('"2016-11-22T12:00:00Z"', {"format": "epoch_s"}, "is not a number of seconds or milliseconds"),
        ("1479816000.1234567", {"format": "epoch_s"}, "is finer than a microsecond"),
        ("1479816000000000.5", {"format": "epoch_us"}, "is finer than a microsecond"),
        ("1e-999999999999", {"format": "epoch_s"}, "is finer than a microsecond"),
        ("253402300800", {"format": "epoch_s"}, "is not a time of the years 1 to 9999"),
        ("-62135596801", {"format": "epoch_s"}, "is not a time of the years 1 to 9999"),
        ("1e999999999999", {"format": "epoch_s"}, "is not a time of the years 1 to 9999"),
        ('"22.11.2016"', {"format": "%d.%m.%Y %H:%M", "timezone": "UTC"}, "is no instant of its format"),
        ('"22.11.2016 12:00"', {"format": "%d.%m.%Y %H:%M"}, "has no offset, and the spec names no timezone"),
        (
            '"2016-11-22 12:00 CET"',
            {"format": "%Y-%m-%d %H:%M %Z"},
            "is not of its format, or in a zone by name that is not UTC or GMT",
        ),
    ],
)
def test_a_timestamp_rejects(raw: str, more: dict[str, str], why: str) -> None:
    assert reason("timestamp", raw, **more) == why


@pytest.mark.parametrize(
    ("raw", "more", "text"),
    [
        ('"2016-11-22"', {}, "2016-11-22"),
        ('"2016-02-29"', {}, "2016-02-29"),
        ('"0001-01-01"', {}, "0001-01-01"),
        ('"9999-12-31"', {}, "9999-12-31"),
        ('"22.11.2016"', {"format": "%d.%m.%Y"}, "2016-11-22"),
        ('"22.11.2016 00:00"', {"format": "%d.%m.%Y %H:%M"}, "2016-11-22"),
    ],
)
def test_a_date_takes(raw: str, more: dict[str, str], text: str) -> None:
    assert read("date", raw, **more) == text


@pytest.mark.parametrize(
    ("raw", "more", "why"),
    [
        ('"2016-11-22T00:00:00Z"', {}, "is not a date like 2016-11-22"),
        ('"2016-11-22 "', {}, "is not a date like 2016-11-22"),
        ('"20161122"', {}, "is not a date like 2016-11-22"),
        ('"2016-1-2"', {}, "is not a date like 2016-11-22"),
        ('"2016-13-01"', {}, "is no day of its format"),
        ('"2015-02-29"', {}, "is no day of its format"),
        ('"0000-01-01"', {}, "is no day of its format"),
        ('""', {}, "is not a date like 2016-11-22"),
        ("20161122", {}, "is not a text"),
        ("true", {}, "is not a text"),
        ('"22.11.2016 12:00"', {"format": "%d.%m.%Y %H:%M"}, "holds a time of day, which a date cannot"),
        ('"2016-11-22"', {"format": "%d.%m.%Y"}, "is no day of its format"),
        ('"epoch_s"', {"format": "epoch_s"}, "is no day of its format"),
    ],
)
def test_a_date_rejects(raw: str, more: dict[str, str], why: str) -> None:
    assert reason("date", raw, **more) == why


@pytest.mark.parametrize(
    "raw",
    [
        '{"a": 1.10 , "b":"\\u00e9"}', "[1,  2]", '"x"', '"\\/"', "1.10", "-0", "true", "1e400", '{"a":1,"a":2}', '{"a":NaN}',
        '"\\ud83d\\ude00"', "[" * 200 + "]" * 200, "1" * 5000, '"\u2028"', '"\\u0000"',
    ],
)  # fmt: skip
def test_json_is_kept_byte_for_byte(raw: str) -> None:
    assert read("json", raw) == raw


@pytest.mark.parametrize(
    "raw", ['"\\ud800"', '{"a":["\\udc00"]}', '{"\\ud800":1}', '{"a":"\\ud800","a":1}', '"a\x01b"', '"a\tb"', '"\udcff"']
)
def test_json_rejects_what_no_warehouse_can_hold(raw: str) -> None:
    assert reason("json", raw) == "holds half a surrogate pair, or a raw control character, which JSON cannot"


@pytest.mark.parametrize(
    ("kind", "raw", "elements"),
    [
        ("string[]", "[]", []),
        ("string[]", "[ ]", []),
        ("string[]", '["a",null,"",1.10,true]', ["a", None, "", "1.10", "true"]),
        ("integer[]", '[1,"2",3.0,null]', ["1", "2", "3", None]),
        ("number[]", "[1,0.5]", ["1.0", "0.5"]),
        ("decimal(9,2)[]", '["0.50",1]', ["0.50", "1.00"]),
        ("boolean[]", "[true,null]", ["true", None]),
        ("timestamp[]", '["2016-11-22T12:00:00Z"]', [NOON]),
        ("date[]", '["2016-11-22"]', ["2016-11-22"]),
        ("json[]", '[{"a": 1.10}, [1 ],null]', ['{"a": 1.10}', "[1 ]", None]),
    ],
)
def test_a_list_takes_a_list_of_its_type(kind: str, raw: str, elements: list[str | None]) -> None:
    canonical = read(kind, raw)
    assert canonical is not None
    assert json.loads(canonical) == elements


@pytest.mark.parametrize(
    ("kind", "raw", "why"),
    [
        ("string[]", '"a"', "is not a list"),
        ("string[]", "{}", "is not a list"),
        ("string[]", '["a",["b"]]', "has an element, number 2, that is an object or a list, not a text; declare it json"),
        ("integer[]", "[1,null,1.5]", "has an element, number 3, that has a fraction"),
        ("boolean[]", "[1]", "has an element, number 1, that is not true or false"),
        ("date[]", '["2016-13-01"]', "has an element, number 1, that is no day of its format"),
    ],
)
def test_a_list_rejects(kind: str, raw: str, why: str) -> None:
    assert reason(kind, raw) == why


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("string", '"a\\u0000é"', "a\0é"),
        ("integer", "-9223372036854775808", -(2**63)),
        ("number", "1.7976931348623157e308", 1.7976931348623157e308),
        ("decimal(38,38)", "1e-38", Decimal("1E-38")),
        ("boolean", "false", False),
        ("date", '"0001-01-01"', date(1, 1, 1)),
        ("json", '{"a": 1.10}', '{"a": 1.10}'),
        ("string[]", '["a\\"",null]', ['a"', None]),
        ("decimal(9,2)[]", "[1,null]", [Decimal("1.00"), None]),
        ("json[]", '[{"a": 1.10}]', ['{"a": 1.10}']),
    ],
)
def test_a_canonical_text_becomes_its_value_in_sql(kind: str, raw: str, value: Any) -> None:
    column_type = TypeName.parse(kind)
    literal = Property(type=column_type).column_type.literal("$text")
    with duckdb.connect() as con:
        found = con.execute(f"SELECT {literal}, typeof({literal})", {"text": read(kind, raw)}).fetchall()
    assert found == [(value, Property(type=column_type).column_type.duckdb)]


def test_an_instant_becomes_its_value_in_sql() -> None:
    literal = Property(type=TypeName.parse("timestamp")).column_type.literal("$text")
    with duckdb.connect() as con:
        assert con.execute(f"SELECT epoch_us({literal}), typeof({literal})", {"text": "-62135596800000000"}).fetchall() == [
            (-62135596800000000, "TIMESTAMP WITH TIME ZONE")
        ]


@given(st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_every_number_that_an_integer_takes_is_that_number(number: Any) -> None:
    raw = str(number)
    try:
        text = read("integer", raw)
    except Reject:
        assert number != int(number) or not -(2**63) <= number < 2**63
    else:
        assert text is not None
        assert int(text) == number


# --- where the value stands -------------------------------------------------------------------------------------------------


def _paths(*paths: str) -> tuple[Path, ...]:
    return tuple(Path.parse(path) for path in paths)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        pytest.param('{"a":{"b":"x"},"v":"y"}', "x", id="first"),
        pytest.param('{"a":{"b":null},"v":"y"}', "y", id="null-is-no-value"),
        pytest.param('{"a":5,"v":"y"}', "y", id="parent-is-no-object"),
        pytest.param('{"a":null,"v":"y"}', "y", id="parent-is-null"),
        pytest.param('{"v":"y"}', "y", id="missing"),
        pytest.param('{"a":{"b":""},"v":"y"}', "", id="empty-is-a-value"),
        pytest.param('{"a":{"b":false},"v":"y"}', "false", id="false-is-a-value"),
        pytest.param("{}", None, id="nothing"),
        pytest.param("[1]", None, id="no-object"),
        pytest.param('{"a":{"b":"x"},"a":{"b":"z"}}', "z", id="of-a-doubled-name-the-last"),
        pytest.param('{"a":{"b":"z"},"a":{"c":1},"v":"y"}', "y", id="of-a-doubled-parent-the-last"),
        pytest.param('{"A":{"b":"x"},"V":"y"}', None, id="case-matters"),
    ],
)
def test_of_several_paths_the_first_that_has_a_value_counts(record: str, text: str | None) -> None:
    assert Property(type=TypeName("string"), source=_paths("a.b", "v")).read("any", record) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param('"/customers/12"', "12", id="found"),
        pytest.param('"/customers/x"', None, id="no-match-is-no-value"),
        pytest.param('"/customers/12\\n"', None, id="dollar-is-the-very-end"),
        pytest.param("null", None, id="null"),
        pytest.param('{"href":"/customers/12"}', None, id="an-object-is-its-text"),
    ],
)
def test_match_cuts_the_value_out_of_its_text(raw: str, text: str | None) -> None:
    assert read("integer", raw, match=Pattern.parse(r"/customers/(\d+)$")) == text


def test_what_match_found_must_convert_too() -> None:
    assert reason("integer", '"/customers/012"', match=Pattern.parse(r"/customers/(\d+)$")) == "is a text that is not exactly an integer"
    assert reason("integer", '"x"', match=Pattern.parse(r"(\d*)")) == "is a text that is not exactly an integer"
    assert read("string", '"x"', match=Pattern.parse(r"(\d*)")) == ""


def test_what_is_required_is_rejected_where_it_has_no_value() -> None:
    for raw in ("null", '"x"'):
        assert reason("integer", raw, required=True, match=Pattern.parse(r"(\d+)")) == "is required, and not there"
    assert read("integer", "0", required=True) == "0"


def test_the_first_that_is_there_is_the_first_that_is_not_null() -> None:
    prop = Property(type=TypeName.parse("integer"), source=(Path(("a",)), Path(("b",)), Path(("c",))))
    records = [b'{"b":null,"c":0}', b'{"a":null}', b'{"a":1,"c":2}', b'{"b":3}']
    assert prop.reader("v")(records) == ["0", None, "1", "3"]
    assert [prop.read("v", record.decode()) for record in records] == ["0", None, "1", "3"]


# --- names of types ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "duckdb_type"),
    [
        ("string", "VARCHAR"),
        ("integer", "BIGINT"),
        ("number", "DOUBLE"),
        ("decimal(9,2)", "DECIMAL(9,2)"),
        ("decimal(38,38)", "DECIMAL(38,38)"),
        ("boolean", "BOOLEAN"),
        ("timestamp", "TIMESTAMPTZ"),
        ("date", "DATE"),
        ("json", "JSON"),
        ("decimal(9,2)[]", "DECIMAL(9,2)[]"),
        ("timestamp[]", "TIMESTAMPTZ[]"),
    ],
)
def test_a_type_is_this_in_the_warehouse(text: str, duckdb_type: str) -> None:
    assert Property(type=TypeName.parse(text)).column_type.duckdb == duckdb_type
    assert str(TypeName.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strng", "'strng' is not a type; did you mean 'string'?"),
        ("", "'' is not a type; known: boolean, date, decimal, integer, json, number, string, timestamp"),
        ("string[][]", "'string[][]' is not a type; did you mean 'string'?"),
        ("decimal", "'decimal' is not a type; a decimal, and only a decimal, has its digits: decimal(18,2)"),
        ("integer(3,2)", "'integer(3,2)' is not a type; a decimal, and only a decimal, has its digits: decimal(18,2)"),
        ("decimal(39,2)", "'decimal(39,2)' is not a type; a decimal has 38 digits at most, and no more of them after the point"),
        ("decimal(2,3)", "'decimal(2,3)' is not a type; a decimal has 38 digits at most, and no more of them after the point"),
        ("decimal(0,0)", "'decimal(0,0)' is not a type; a decimal has 38 digits at most, and no more of them after the point"),
    ],
)
def test_what_is_no_type_is_told_with_what_is(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        TypeName.parse(text)
    assert str(caught.value) == message
