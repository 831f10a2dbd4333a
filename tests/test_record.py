"""Records are cut out of a page as the exact bytes that the API sent; what is odd costs time, never its page or its truth."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rest_syncer.engine.fields import Path
from rest_syncer.engine.record import NoRecords, NotJson, _cut_fast, _cut_slow, cut, items, paths_of, raw_at, text_of
from rest_syncer.engine.values import texts_at

ENTRIES = Path.parse("_embedded.entries")

texts = st.text(st.characters(codec="utf-8"), max_size=8)
odd_texts = st.text(st.characters(), max_size=8)  # lone surrogates, too
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def documents(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | numbers | text
    return st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12)


shapes = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "indent": st.sampled_from([None, 0, 2, "\t"]),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", " :\r")]),
    }
)


@settings(max_examples=70)
@given(st.lists(documents(texts), max_size=5), documents(texts), shapes)
def test_the_slices_of_any_page_are_its_records(rows: list[Any], around: Any, shape: dict[str, Any]) -> None:
    page = json.dumps({"before": around, "_embedded": {"entries": rows, "more": 1}, "after": [around]}, **shape).encode()
    records, envelope = cut(page, ENTRIES)
    assert [json.loads(record) for record in records] == rows
    assert envelope == {"before": around, "_embedded": {"more": 1}, "after": [around]}
    assert not any(b"\n" in record or b"\r" in record for record in records)


@settings(max_examples=50)
@given(st.lists(documents(texts), max_size=5), documents(texts), shapes)
def test_the_fast_way_and_the_slow_way_agree(rows: list[Any], around: Any, shape: dict[str, Any]) -> None:
    page = json.dumps({"_embedded": {"entries": rows}, "x": around}, **shape).encode()
    fast, fast_envelope = _cut_fast(page, ENTRIES.steps)
    slow, slow_envelope = _cut_slow(page, ENTRIES)
    assert ([bytes(record) for record in fast], fast_envelope) == (slow, slow_envelope)


@settings(max_examples=50)
@given(st.lists(documents(odd_texts), max_size=5), documents(odd_texts))
def test_lone_surrogates_cost_neither_their_page_nor_their_record(rows: list[Any], around: Any) -> None:
    records, envelope = cut(json.dumps({"_embedded": {"entries": rows}, "x": around}).encode(), ENTRIES)
    assert [json.loads(record) for record in records] == rows
    assert envelope == {"_embedded": {}, "x": around}


@pytest.mark.parametrize(
    ("body", "at", "records", "envelope"),
    [
        pytest.param(b'[{"n": 1.10},{"s":"\\u00e9"}]', None, [b'{"n": 1.10}', b'{"s":"\\u00e9"}'], None, id="bare-list"),
        pytest.param(b"[]", None, [], None, id="empty-list"),
        pytest.param(b" [1 , 2 ] ", None, [b"1", b"2"], None, id="blanks-around"),
        pytest.param(
            b'{"a":[1.50,12345678901234567890.5],"t":2}', "a", [b"1.50", b"12345678901234567890.5"], {"t": 2}, id="numbers-as-sent"
        ),
        pytest.param(b'{\n "a": [\n  {\n   "x": 1\n  }\n ]\n}', "a", [b'{    "x": 1   }'], {}, id="pretty-printed"),
        pytest.param(b'{"a":[{"x":\r\n1}]}', "a", [b'{"x":  1}'], {}, id="windows-newline"),
        pytest.param(b'{"a":[{"x":"\\n"}]}', "a", [b'{"x":"\\n"}'], {}, id="escaped-newline-stays"),
        pytest.param(b'{"a":{"id":1}}', "a", [b'{"id":1}'], {}, id="one-object-is-one-record"),
        pytest.param(b'{"pages":[[1,2],[3]]}', "pages.0", [b"1", b"2"], {"pages": [[1, 2], [3]]}, id="place-in-a-list"),
        pytest.param('{"é":[1]}'.encode(), "é", [b"1"], {}, id="name-beyond-ascii"),
        pytest.param(b'{"\\u00e9":[1]}', "é", [b"1"], {}, id="escaped-name"),
        pytest.param(b'\xef\xbb\xbf{"a":[1]}', "a", [b"1"], {}, id="byte-order-mark"),
        pytest.param(b'{"a":["\\ud800"],"b":1}', "a", [b'"\\ud800"'], {"b": 1}, id="lone-surrogate-in-a-record"),
        pytest.param(b'{"a":[1],"b":"\\udc00"}', "a", [b"1"], {"b": "\udc00"}, id="lone-surrogate-around"),
        pytest.param(b'{"a":["\\ud83d\\ude00"]}', "a", [b'"\\ud83d\\ude00"'], {}, id="surrogate-pair"),
        pytest.param(b'{"a":[{"x":1,"x":2}]}', "a", [b'{"x":1,"x":2}'], {}, id="doubled-name-in-a-record-stays"),
        pytest.param(b'{"a":[NaN]}', "a", [b"NaN"], {}, id="nan-is-kept-as-sent"),
        pytest.param(b'{"a":[1],"n":1e400}', "a", [b"1"], {"n": math.inf}, id="endless-number-around"),
        pytest.param(b'{"a":[1],"b":[2]}', "a", [b"1"], {"b": [2]}, id="another-list-behind"),
        pytest.param(b'{"b":{"a":[9]},"a":[1]}', "a", [b"1"], {"b": {"a": [9]}}, id="a-list-of-its-name-before"),
        pytest.param(b'{"b":{"a":[9]},"a":{"id":1}}', "a", [b'{"id":1}'], {"b": {"a": [9]}}, id="a-list-of-its-name-and-one-object"),
        pytest.param(b'{"b":"\\"a\\":[9]","a":[1]}', "a", [b"1"], {"b": '"a":[9]'}, id="the-list-in-a-text-before"),
        pytest.param(b'{"a":[1],"b":"]"}', "a", [b"1"], {"b": "]"}, id="a-bracket-in-a-text-behind"),
        pytest.param(b'{"a" : [1] , "b":{"a":[]}}', "a", [b"1"], {"b": {"a": []}}, id="a-list-of-its-name-behind"),
        pytest.param(b'{"m":"the list of records stood here","a":[1]}', "a", [b"1"], {"m": "the list of records stood here"}, id="a-mark"),
    ],
)
def test_a_page_is_cut_like_this(body: bytes, at: str | None, records: list[bytes], envelope: Any) -> None:
    assert cut(body, Path.parse(at) if at else None) == (records, envelope)


def test_a_text_that_looks_like_the_lists_mark_is_no_list() -> None:
    with pytest.raises(NoRecords, match="has a text at a"):
        cut(b'{"a":"the list of records stood here","b":{"a":[1]}}', Path.parse("a"))


@pytest.mark.parametrize(
    ("body", "at"),
    [
        pytest.param(b'{"a":[1],"a":[2]}', "a", id="the-list-itself"),
        pytest.param(b'{"a":{"b":[1]},"a":{"b":[2]}}', "a.b", id="around-the-list"),
        pytest.param(b'{"a":{"c":1},"a":{"b":[2]}}', "a.b", id="the-first-lacks-it"),
    ],
)
def test_of_a_doubled_name_the_last_counts_on_both_ways(body: bytes, at: str) -> None:
    """The slow way is taken because of a surrogate that has nothing to do with it: the answer must not depend on that."""
    odd = body[:-1] + b',"odd":"\\ud800"}'
    assert [cut(body, Path.parse(at))[0], cut(odd, Path.parse(at))[0]] == [[b"2"], [b"2"]]


def test_a_raw_newline_in_a_text_stays_a_newline() -> None:
    """No JSON, strictly; but if such a page is read, then without changing the text."""
    records, _ = cut(b'{"a":[{"x":"one\ntwo"}]}', Path.parse("a"))
    assert [json.loads(record, strict=False) for record in records] == [{"x": "one\ntwo"}]
    assert not any(b"\n" in record for record in records)


def test_a_long_integer_costs_neither_its_page_nor_its_digits() -> None:
    digits = b"1" * 5000
    assert cut(b'{"a":[{"n":' + digits + b'},"\\ud800"]}', Path.parse("a"))[0] == [b'{"n":' + digits + b"}", b'"\\ud800"']
    assert items("[" + digits.decode() + "]") == [digits.decode()]
    assert raw_at('{"n":' + digits.decode() + "}", Path.parse("n")) == digits.decode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="html"),
        pytest.param(b'{"a":[1]', id="cut-off"),
        pytest.param(b'{"a":[1,]}', id="comma-at-the-end"),
        pytest.param(b'{"a":[1 2]}', id="no-comma"),
        pytest.param(b'{"a":[01]}', id="leading-zero"),
        pytest.param(b'{"a":["\\x"]}', id="unknown-escape"),
        pytest.param(b'{"a":[tru]}', id="half-a-word"),
        pytest.param(b'{"a":[1]}{"a":[2]}', id="two-documents"),
        pytest.param(b'{"a":[1],"b":"\xff"}', id="not-utf-8-around"),
        pytest.param(b'{"a":["\xff"]}', id="not-utf-8-in-a-record"),
        pytest.param('{"a":[1]}'.encode("utf-16"), id="utf-16"),
        pytest.param(b'{"a":[' + b"[" * 200_000 + b"]" * 200_000 + b"]}", id="endless-nesting"),
        pytest.param(b'{"a":[1],"b":' + b"[" * 200_000 + b"]" * 200_000 + b"}", id="endless-nesting-around"),
    ],
)
def test_what_is_no_json_document_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(NotJson):
        cut(body, Path.parse("a"))


def test_more_behind_a_document_is_said_as_that() -> None:
    with pytest.raises(NotJson, match=r"^has more after its JSON document$"):
        cut(b"[1]x", None)


@pytest.mark.parametrize(
    ("body", "at", "message"),
    [
        pytest.param(
            b'{"data":[{"name":"Ann"}],"meta":{"next":"s3cret"}}',
            "items",
            "has nothing at items, where a list of records should be; it has: data, meta, meta.next",
            id="missing",
        ),
        pytest.param(
            b'{"data":null,"x":"s3cret"}',
            "data",
            "has null at data, where a list of records should be; it has: data, x",
            id="null",
        ),
        pytest.param(b'{"data":"s3cret"}', "data", "has a text at data, where a list of records should be; it has: data", id="text"),
        pytest.param(b'{"data":7}', "data", "has a number at data, where a list of records should be; it has: data", id="number"),
        pytest.param(b'{"data":true}', "data", "has a boolean at data, where a list of records should be; it has: data", id="boolean"),
        pytest.param(
            b'{"a.b":{"c":[1]}}',
            "a.b",
            'has nothing at a.b, where a list of records should be; it has: "a.b", "a.b".c',
            id="quoted-name",
        ),
        pytest.param(b"[1]", "data", "has nothing at data, where a list of records should be; it has: a bare list", id="bare-list"),
        pytest.param(
            b'"s3cret"',
            None,
            "has a text at its root, where a list of records should be; it has: no names at all",
            id="text-at-the-root",
        ),
        pytest.param(
            b'{"data":[],"error":"s3cret"}',
            None,
            "is an object, not a list; give `records`, one of: data, error",
            id="object-at-the-root",
        ),
    ],
)
def test_where_no_list_is_the_paths_that_exist_are_named_and_no_value(body: bytes, at: str | None, message: str) -> None:
    with pytest.raises(NoRecords) as caught:
        cut(body, Path.parse(at) if at else None)
    assert str(caught.value) == message


def test_paths_are_listed_to_a_depth() -> None:
    assert paths_of({"a": {"b": {"c": {"d": 1}}}, "l": [{"x": 1}]}) == ["a", "a.b", "a.b.c", "l"]
    assert paths_of({"a": {"b": {"c": 1}}}, 1) == ["a"]


@pytest.mark.parametrize(
    ("record", "path", "expected"),
    [
        pytest.param('{"a":1.10}', "a", "1.10", id="number-as-sent"),
        pytest.param('{"a": {"b":  [1, 2.50 ]} }', "a.b", "[1, 2.50 ]", id="blanks-inside-stay"),
        pytest.param('{"a": {"b":  [1, 2.50 ]} }', "a.b.1", "2.50", id="place-in-a-list"),
        pytest.param('{"a":"\\u00e9"}', "a", '"\\u00e9"', id="escape-as-sent"),
        pytest.param('{"a":"\\ud800"}', "a", '"\\ud800"', id="lone-surrogate"),
        pytest.param('{"\\u0061":1}', "a", "1", id="escaped-name"),
        pytest.param('{"a":null}', "a", "null", id="null"),
        pytest.param('{"a":"x"}', "a.b", None, id="into-a-text"),
        pytest.param('{"a":[]}', "a.0", None, id="beyond-a-list"),
        pytest.param("{}", "a", None, id="missing"),
        pytest.param("5", "a", None, id="no-object"),
        pytest.param('{"a":1,"a":2}', "a", "2", id="the-last-of-a-doubled-name"),
        pytest.param('{"a":{"b":1},"a":{"c":2}}', "a.b", None, id="the-last-of-a-doubled-name-around"),
    ],
)
def test_the_exact_text_at_a_path_is_this_however_it_is_read(record: str, path: str, expected: str | None) -> None:
    assert raw_at(record, Path.parse(path)) == expected
    assert texts_at(Path.parse(path))([record.encode(), b'{"a":{"b":0}}', record.encode()])[::2] == [expected, expected]


@settings(max_examples=50)
@given(documents(texts), shapes)
def test_the_text_at_a_path_is_the_value_there(value: Any, shape: dict[str, Any]) -> None:
    raw = raw_at(json.dumps({"x": 0, "a": {"b": value}}, **shape), Path.parse("a.b"))
    assert raw is not None
    assert json.loads(raw) == value
    assert raw == raw.strip()


@settings(max_examples=50)
@given(st.lists(documents(texts), max_size=5), shapes)
def test_the_items_of_a_list_are_its_elements_texts(value: list[Any], shape: dict[str, Any]) -> None:
    assert [json.loads(item) for item in items(json.dumps(value, **shape))] == value


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param('"a\\u00e9"', "aé", id="text"),
        pytest.param("1.10", "1.10", id="number-as-sent"),
        pytest.param("true", "true", id="boolean"),
        pytest.param('{"a": 1}', '{"a": 1}', id="object-as-sent"),
        pytest.param('"null"', "null", id="the-word-null"),
        pytest.param("null", None, id="null"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_values_plain_text_is_this(raw: str | None, expected: str | None) -> None:
    assert text_of(raw) == expected
