"""Durations, paths and patterns mean one thing, and say what is wrong with anything else."""

from __future__ import annotations

import json

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rest_syncer.engine.fields import Duration, Expression, Path, Pattern, Size, Text
from rest_syncer.engine.record import raw_at, text_of

names = st.text(max_size=6) | st.sampled_from(["a", "0", "01", 'a"b', "a.b", "\\", "", "a b", "é"])


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        pytest.param("250ms", 0.25, "250ms", id="milliseconds"),
        pytest.param("30s", 30, "30s", id="seconds"),
        pytest.param("0.5s", 0.5, "500ms", id="half-a-second"),
        pytest.param("5m", 300, "5m", id="minutes"),
        pytest.param("36h", 129_600, "36h", id="hours"),
        pytest.param("7d", 604_800, "7d", id="days"),
        pytest.param("1h30m", 5_400, "90m", id="several-together"),
        pytest.param("0s", 0, "0ms", id="nothing"),
    ],
)
def test_a_duration_is_so_many_seconds_and_shows_in_its_largest_whole_unit(text: str, seconds: float, shown: str) -> None:
    assert Duration.parse(text) == Duration(seconds)
    assert str(Duration.parse(text)) == shown


@given(st.integers(0, 10**8))
def test_a_duration_of_whole_milliseconds_shows_as_itself(milliseconds: int) -> None:
    shown = str(Duration.parse(f"{milliseconds}ms"))
    assert Duration.parse(shown).seconds == pytest.approx(milliseconds / 1000, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "amount", "shown"),
    [
        ("1B", 1, "1B"),
        ("64KB", 65_536, "64KB"),
        ("256MB", 2**28, "256MB"),
        ("2GB", 2**31, "2GB"),
        ("1024KB", 2**20, "1MB"),
        ("1500B", 1500, "1500B"),
    ],
)
def test_a_size_is_so_many_bytes_and_shows_in_its_largest_whole_unit(text: str, amount: int, shown: str) -> None:
    assert (Size.parse(text), str(Size.parse(text))) == (Size(amount), shown)


@pytest.mark.parametrize("text", ["", "64", "64 MB", "64mb", "1.5GB", "0MB", "-1MB", "64MiB", "9999999999B"])
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not an amount of data; write one like 512KB or 64MB$"):
        Size.parse(text)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("quota", "the quota is spent", True),
        ("^quota", "the quota", False),
        (r"a$", "a\n", False),
        ("(?:a|b)+", "xab", True),
        (r"\d", "٣", False),
    ],
)
def test_an_expression_is_looked_for_anywhere(pattern: str, text: str, found: bool) -> None:
    assert Expression.parse(pattern).is_in(text) is found


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is not a regular expression (missing ), unterminated subpattern at position 0)"),
        ("(?=a)", "uses '(?=', which not every warehouse's expressions know; write it without"),
        ("(?:a{100}){100}", "may repeat something more than 1,000 times; write * or +"),
    ],
)
def test_an_expression_that_is_none_of_re2_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Expression.parse(pattern)
    assert str(caught.value) == message


def test_text_is_plain_text_or_a_numbers_text() -> None:
    assert [Text.parse("a"), Text.parse(5)] == [Text("a"), Text("5")]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        pytest.param("id", ("id",), id="one-name"),
        pytest.param("_links.self.href", ("_links", "self", "href"), id="names"),
        pytest.param("items.0", ("items", "0"), id="place-in-a-list"),
        pytest.param('"a.b".c', ("a.b", "c"), id="quoted-dot"),
        pytest.param(r'"a\"b"', ('a"b',), id="quoted-quote"),
        pytest.param('a.""', ("a", ""), id="empty-name"),
        pytest.param("a/b~c", ("a/b~c",), id="slash-and-tilde"),
        pytest.param("a b", ("a b",), id="blank"),
    ],
)
def test_a_path_has_these_steps(text: str, steps: tuple[str, ...]) -> None:
    path = Path.parse(text)
    assert (path.steps, path.text) == (steps, text)


@pytest.mark.parametrize("text", ["", ".", "a..b", ".a", "a.", 'a"b', '"a', '"a""b"', '"a.b"c'])
def test_a_text_that_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'^is not a path; write names joined by dots, and "quote" a name that holds a dot$'):
        Path.parse(text)


@given(st.lists(names, min_size=1, max_size=4).map(tuple))
def test_any_names_have_a_path_that_reads_back(steps: tuple[str, ...]) -> None:
    assert Path.parse(Path(steps).text) == Path(steps)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("a.b", 1, id="member"),
        pytest.param("list.0", 10, id="first"),
        pytest.param("list.1.x", 20, id="member-of-an-item"),
        pytest.param("list.2", None, id="beyond-the-end"),
        pytest.param("list.x", None, id="name-in-a-list"),
        pytest.param("list.²", None, id="superscript-is-no-place"),
        pytest.param("a.b.c", None, id="into-a-number"),
        pytest.param("nothing", None, id="missing"),
        pytest.param("null.x", None, id="into-null"),
    ],
)
def test_of_gives_the_value_there_or_none(path: str, expected: object) -> None:
    assert Path.parse(path).of({"a": {"b": 1}, "list": [10, {"x": 20}], "null": None}) == expected


@pytest.mark.parametrize("path", ["list.0", "list.01", "list.٠", "list.1.x", "list.9", "a.b", "a.x", "s.0"])
def test_a_path_leads_to_the_same_value_in_a_document_and_in_its_text(path: str) -> None:
    document = {"a": {"b": 1}, "list": [10, {"x": 20}], "s": "text"}
    raw = raw_at(json.dumps(document), Path.parse(path))
    assert (None if raw is None else json.loads(raw)) == Path.parse(path).of(document)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param(r"(\d+)$", "/cases/12", "12", id="at-the-end"),
        pytest.param(r"/customers/(\d+)", "/api/customers/7/x", "7", id="in-the-middle"),
        pytest.param(r"/customers/(\d+)", "/users/7", None, id="no-match-is-none"),
        pytest.param(r"(\d+)$", "12\n", None, id="dollar-is-the-very-end"),
        pytest.param(r"(?:a(b)|c)", "c", "", id="group-took-no-part"),
        pytest.param(r"([$])", "a$", "$", id="dollar-in-a-class"),
        pytest.param(r"\$(\d)", "$5", "5", id="escaped-dollar"),
        pytest.param(r"(\d+)", "٣", None, id="digits-are-ascii"),
    ],
)
def test_a_pattern_finds_its_groups_text(pattern: str, text: str, expected: str | None) -> None:
    assert Pattern.parse(pattern).find(text) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        pytest.param(r"\d+", "has 0 groups; put the part that is the value, and only that, in round brackets", id="no-group"),
        pytest.param(r"(a)(b)", "has 2 groups; put the part that is the value, and only that, in round brackets", id="two-groups"),
        pytest.param("(", "is not a regular expression (missing ), unterminated subpattern at position 0)", id="broken"),
        pytest.param(r"(?=a)(b)", "uses '(?=', which not every warehouse's expressions know; write it without", id="look-ahead"),
        pytest.param(r"(?<!a)(b)", "uses '(?<', which not every warehouse's expressions know; write it without", id="look-behind"),
        pytest.param(r"(a)\1", r"uses '\\1', which not every warehouse's expressions know; write it without", id="back-reference"),
        pytest.param(r"(a)*+", "uses '*+', which not every warehouse's expressions know; write it without", id="possessive"),
    ],
)
def test_a_pattern_that_not_all_can_read_alike_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Pattern.parse(pattern)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        pytest.param(r"^(.)$", "\n", id="dot-and-newline"),
        pytest.param(r"(\d+)$", "12\n", id="dollar-before-a-newline"),
        pytest.param(r"(?m)(a)$", "a\nb", id="multi-line"),
        pytest.param(r"(?s)(.)", "\n", id="dot-all"),
        pytest.param(r"([]$])", "$", id="bracket-first-in-a-class"),
        pytest.param(r"([^]$])", "a", id="bracket-first-in-a-negated-class"),
        pytest.param(r"(\w+)", "é1", id="word-letters-are-ascii"),
        pytest.param(r"(\s)", "\x0b", id="vertical-tab-is-no-blank"),
        pytest.param(r"(?i)(k)", "\u212a", id="kelvin-sign"),
        pytest.param(r"(a){,2}", "a{,2}", id="braces-without-a-first-number"),
        pytest.param(r"(a)\Z", "a", id="Z"),
        pytest.param(r"(a)\z", "a", id="z"),
        pytest.param(r"(?>a)(b)", "ab", id="atomic-group"),
        pytest.param(r"(\u00e9)", "é", id="u-escape"),
        pytest.param(r"(?x)(a )", "a", id="verbose"),
        pytest.param(r"(?#c)(a)", "a", id="comment"),
        pytest.param(r"(a{1001})", "a" * 1001, id="too-many-repeats"),
        pytest.param(r"(?P<x>a)", "a", id="named-group"),
        pytest.param(r"([\d$]+)", "1$2", id="dollar-and-digits-in-a-class"),
        pytest.param(r"(\x41)", "A", id="x-escape"),
    ],
)
def test_a_pattern_that_is_taken_means_the_same_in_duckdb(pattern: str, text: str) -> None:
    """`match` means the same in Python and in RE2: else it is refused when the spec is read."""
    try:
        parsed = Pattern.parse(pattern)
    except ValueError:
        return
    query = "SELECT CASE WHEN regexp_matches($text, $pattern) THEN regexp_extract($text, $pattern, 1) END"
    assert duckdb.execute(query, {"text": text, "pattern": pattern}).fetchall() == [(parsed.find(text),)]


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80)
@given(documents, st.lists(names, min_size=1, max_size=3))
def test_of_and_raw_at_agree_on_any_document(document: object, steps: list[str]) -> None:
    path = Path(tuple(steps))
    found, raw = path.of(document), raw_at(json.dumps(document), path)
    assert (None if raw is None else json.loads(raw)) == found
    if isinstance(found, str):
        assert text_of(raw) == found
