"""Values of many records at once are the exact texts that the API sent, at however many paths; what cannot be read so is told."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rest_syncer.engine import values as module
from rest_syncer.engine.fields import Path
from rest_syncer.engine.record import raw_at, split
from rest_syncer.engine.values import SEPARATOR, Values, chunks, integers_at, texts_at

from .test_record import numbers, odd_texts, shapes

names = st.sampled_from(["a", "b", "id", "a.b", "", "0", "1", "found", 'a"b', "a\\b", "a\tb", "class", "é", "\ud800"])
beneath = st.dictionaries(names, numbers | odd_texts, max_size=3) | st.lists(numbers, max_size=3) | odd_texts | st.none()
records = st.lists(st.dictionaries(names, beneath, max_size=5) | st.lists(numbers | st.none(), max_size=3) | numbers, max_size=4)
paths = st.lists(names, min_size=1, max_size=3).map(tuple).map(Path)


def written(rows: list[Any], shape: dict[str, Any]) -> list[str]:
    """As a hub has them, each a line, and as JSON: a lone surrogate is there as an escape."""
    lines = [json.dumps(row, **shape).replace("\r", " ").replace("\n", " ") for row in rows]
    return [re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found.group()):04x}", line) for line in lines]


@settings(max_examples=150)
@given(records, paths, shapes)
def test_many_records_read_at_once_give_what_each_gives_alone(rows: list[Any], path: Path, shape: dict[str, Any]) -> None:
    lines = written(rows, shape)
    assert texts_at(path)([line.encode() for line in lines]) == [raw_at(line, path) for line in lines]


@settings(max_examples=200)
@given(records, st.lists(paths, max_size=5), shapes)
def test_many_paths_read_at_once_give_what_each_gives_alone(rows: list[Any], wanted: list[Path], shape: dict[str, Any]) -> None:
    lines, values = written(rows, shape), Values(wanted)
    found, refused = values.of_lines("".join(f"{line}\n" for line in lines).encode())
    assert sorted(map(str, values.paths)) == sorted(set(map(str, wanted)))
    for at, (line, joined) in enumerate(zip(lines, found, strict=True)):
        expected = [raw_at(line, path) or "" for path in values.paths] or [""]
        assert joined.decode().split(SEPARATOR.decode()) == (expected if at not in refused else [""] * len(expected))
    assert all("\\ud800" in lines[at] or re.search(r"\\u[dD][89a-fA-F]", lines[at]) for at in refused)


@pytest.mark.parametrize(
    ("lines", "values", "refused"),
    [
        pytest.param(b'{"a":1}{"a":2}\n\n{"a":3}\n', [b"", b"", b"3"], [0], id="two-and-none"),
        pytest.param(b'{"a":1},{"a":2}\n{"a":3}\n', [b"", b"3"], [0], id="two-with-a-comma"),
        pytest.param(b'{"a":[1,\r2]}\n{"a":3}\n', [b"", b"3"], [0], id="a-carriage-return"),
        pytest.param(b"\n", [b""], [], id="nothing"),
    ],
)
def test_a_line_that_is_not_one_text_keeps_others_in_their_places(lines: bytes, values: list[bytes], refused: list[int]) -> None:
    """No hub of ours has such lines."""
    assert Values([Path.parse("a")]).of_lines(lines) == (values, refused)


def test_places_of_lists_are_digits() -> None:
    values = Values([Path((step,)) for step in ("0", "2", "02", "²", "x")])
    assert values.of([b'["a",1,[2]]', b"[]"]) == [b'"a"\x1f[2]\x1f\x1f\x1f', b"\x1f\x1f\x1f\x1f"]


whole = st.sampled_from([0, 1, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30]) | st.integers()
members = st.dictionaries(
    names, whole | st.dictionaries(names, whole | odd_texts, max_size=2) | odd_texts | st.none() | st.booleans(), max_size=3
)


@settings(max_examples=150)
@given(st.lists(members, max_size=3), paths, shapes)
def test_whole_numbers_read_at_once_are_those_of_their_texts(rows: list[Any], path: Path, shape: dict[str, Any]) -> None:
    lines = [line.encode() for line in written(rows, shape)]
    found = integers_at(path)(lines)
    assert found is None or found == [int(text or "") for text in texts_at(path)(lines)]
    assert found is None or all(-(2**63) <= number < 2**63 for number in found)


def test_whole_numbers_are_read_at_once_where_all_are_such() -> None:
    read = integers_at(Path.parse("a.b"))
    assert read([b'{"a":{"b":7,"c":1},"b":2}', b'{"x":[],"a":{"b":-0,"b":9223372036854775807}}']) == [7, 2**63 - 1]
    for odd in (b'{"a":{"b":"7"}}', b'{"a":{"b":7.0}}', b'{"a":{}}', b'{"a":{"b":9223372036854775808}}', b"{", b"[]"):
        assert read([b'{"a":{"b":7}}', odd]) is None


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(b'{"a":"\\ud800"}', id="lone-surrogate"),
        pytest.param(b'{"a":"\xff"}', id="no-utf-8"),
        pytest.param(b'{"a":"\x1f"}', id="raw-control-character"),
        pytest.param(b'{"a":1', id="cut-off"),
        pytest.param(b'{"a":01}', id="no-number"),
        pytest.param(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", id="nested-too-deeply"),
    ],
)
def test_what_cannot_be_read_is_told_and_costs_no_other(odd: bytes) -> None:
    values = Values([Path.parse("b"), Path.parse("a")])
    found, refused = values.of_lines(b'{"a":1}\n' + odd + b'\n{"a":3,"b":"x"}\n')
    assert (found, refused) == ([b"\x1f1", b"\x1f", b'"x"\x1f3'], [1])


def test_a_record_that_is_no_json_is_not_read() -> None:
    with pytest.raises((ValueError, LookupError, RuntimeError)):
        texts_at(Path.parse("a"))([b'{"a":1}', b'{"a"'])


def test_a_value_and_what_lies_beneath_it_may_both_be_wanted() -> None:
    values = Values([Path.parse("a"), Path.parse("a.b"), Path.parse("a.c.0"), Path.parse("a")])
    assert list(map(str, values.paths)) == ["a", "a.b", "a.c.0"]
    assert values.of([b'{"a": {"b" : 1.0, "c": [2 ,3]} }']) == [b'{"b" : 1.0, "c": [2 ,3]}\x1f1.0\x1f2']


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30).map(lambda size: b"x" * size)), st.integers(1, 40))
def test_chunks_are_whole_lines_and_all_of_them(lines: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", size)
        found = list(chunks(b"".join(line + b"\n" for line in lines)))
    assert [line for chunk in found for line in split(chunk)] == lines
    assert all(len(chunk) <= size + 31 for chunk in found)
