"""The first rule that an answer matches decides; what a rule says of an answer must all hold."""

from __future__ import annotations

import pytest

from rest_syncer.engine.fields import Expression, Path, Text
from rest_syncer.engine.rules import Rule, first_match

ERROR = Path.parse("error.code")


@pytest.mark.parametrize(
    ("rule", "status", "body", "covers"),
    [
        pytest.param(Rule(status=(404, 410), then="end"), 410, b"", True, id="one-of-the-statuses"),
        pytest.param(Rule(status=(404, 410), then="end"), 400, b"", False, id="another-status"),
        pytest.param(Rule(text="quota é", then="retry"), 200, "the quota é is spent".encode(), True, id="text"),
        pytest.param(Rule(text="Quota", then="retry"), 200, b"the quota", False, id="text-letter-for-letter"),
        pytest.param(Rule(status=(400,), text="quota", then="retry"), 200, b"quota", False, id="text-but-another-status"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": "E1"}}', True, id="value"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": 0}}', True, id="zero-is-a-value"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'\xef\xbb\xbf{"error": {"code": 1}}', True, id="behind-a-byte-order-mark"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": 1}, "x": "\\ud800"}', True, id="beside-a-lone-surrogate"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": null}}', False, id="null"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": false}}', False, id="false"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": ""}}', False, id="empty-text"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": [ ]}}', False, id="empty-list"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": {}}}', False, id="empty-object"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {}}', False, id="no-value"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b"<html>error.code</html>", False, id="no-json"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": 1}', False, id="half-a-json"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b'{"error": {"code": 1}} and more', False, id="json-and-more"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b"", False, id="nothing"),
        pytest.param(Rule(body=ERROR, then="fail"), 200, b"[" * 100_000, False, id="nested-too-deeply"),
        pytest.param(Rule(body=ERROR, equals=Text("7"), then="fail"), 200, b'{"error": {"code": 7}}', True, id="equals-a-number"),
        pytest.param(Rule(body=ERROR, equals=Text("7"), then="fail"), 200, b'{"error": {"code": "7"}}', True, id="equals-a-text"),
        pytest.param(Rule(body=ERROR, equals=Text("7"), then="fail"), 200, b'{"error": {"code": 70}}', False, id="equals-not"),
        pytest.param(Rule(body=ERROR, equals=Text("false"), then="fail"), 200, b'{"error": {"code": false}}', True, id="equals-false"),
        pytest.param(
            Rule(body=ERROR, equals=Text("null"), then="fail"), 200, b'{"error": {"code": null}}', False, id="null-equals-nothing"
        ),
        pytest.param(Rule(body=ERROR, matches=Expression("^rate_"), then="retry"), 400, b'{"error":{"code":"rate_x"}}', True, id="matches"),
        pytest.param(Rule(body=ERROR, matches=Expression("^ate_"), then="retry"), 400, b'{"error":{"code":"rate_x"}}', False, id="not"),
    ],
)
def test_a_rule_covers_an_answer_if_all_that_it_says_holds(rule: Rule, status: int, body: bytes, covers: bool) -> None:
    assert rule.covers(status, body) is covers


def test_the_first_rule_that_covers_an_answer_decides() -> None:
    rules = [Rule(status=(404,), then="end"), Rule(status=(400, 404), then="fail"), Rule(text="x", then="retry")]
    assert [first_match(rules, *answer) for answer in ((404, b"x"), (400, b"x"), (500, b"x"), (500, b"y"))] == [*rules, None]
